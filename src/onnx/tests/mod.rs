//! Files as they are exported, against what other runtimes answer; and files as they should not be.

mod conformance;
mod files;
mod models;
mod operators;
mod protos;
mod rows;
mod trees;
