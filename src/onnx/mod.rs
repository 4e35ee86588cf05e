//! ONNX graphs, run on Burn as they are.
//!
//! In reading order: `file` (from bytes to messages), `model` (a graph with its signature), `probe` (what a graph does with
//! batches), `graph` (a graph made ready for one device, and how it runs), `fold` (what it computes of constants), `node` and
//! `value` (what an operator is given), `tensor` (rank and dtype at run time, on Burn's primitives), `limits` (how much a
//! graph may take), `ops` (the operators, one family a file), `data` (constants), `error`.

mod batch;
mod compile;
mod data;
mod error;
mod file;
mod fold;
mod fuse;
mod graph;
mod limits;
mod model;
mod node;
mod ops;
mod probe;
mod tensor;
#[cfg(test)]
mod tests;
mod value;

pub(crate) use error::{Fault, OpError};
pub(crate) use file::external_files;
pub(crate) use limits::SERVED;
pub(crate) use model::{Given, Model, Session};
pub(crate) use probe::{Description, signature};
