//! Integration tests: real servers on port 0, real clients, real models. One binary, since each would link Burn.
//!
//! Nothing here sleeps in order to wait: tests wait for answers, for readiness, or for a [`support::Gate`] in a
//! runnable. The only times are bounds after which a test gives up.

#![allow(
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    reason = "a test says what went wrong by panicking, and is nobody's library"
)]

mod admin;
mod bench;
mod call;
mod chaos;
mod client;
mod config;
mod deadlines;
mod devices;
mod docs;
#[cfg(feature = "wgpu")]
mod gpu;
mod graphs;
mod grpc;
mod grpc_generated;
mod http;
#[path = "../../examples/iris/runnable.rs"]
mod iris;
mod isolation;
mod kit;
mod loose_files;
mod models;
mod onnx;
mod onnx_files;
mod onnx_memory;
mod onnx_strings;
mod orders;
#[allow(dead_code, reason = "some of it is for the unit tests of ONNX alone")]
#[path = "../../src/onnx/tests/protos.rs"]
mod protos;
mod readiness;
mod refusals;
mod reload;
mod resources;
mod rows;
mod service;
mod streams;
mod supervision;
mod support;
mod tidy;
mod typed;
#[path = "../../examples/types/runnable.rs"]
mod types;
mod v2;
mod values;
mod warm_up;
