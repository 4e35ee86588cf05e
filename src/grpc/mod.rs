//! The Open Inference Protocol over gRPC, on tonic: for KServe's and Triton's clients.
//!
//! | procedure | answers |
//! |---|---|
//! | `ServerLive`, `ServerReady`, `ModelReady` | whether the process lives, all required runners take calls, a model does |
//! | `ServerMetadata`, `ModelMetadata`, `ModelConfig` | what there is |
//! | `ModelStatistics` | what models have done |
//! | `ModelInfer` | one call |
//! | `ModelStreamInfer` | many calls, answered as they are done, by methods that stream more than once; errors are `error_message` |
//! | `RepositoryIndex` | all models, and their states |
//! | `RepositoryModelLoad`, `RepositoryModelUnload` | `PERMISSION_DENIED`, unless [`GrpcOptions::takes_orders`] |
//!
//! What a model is, and what requests mean, is [`oip`](crate::oip)'s affair. Elements come raw or typed, and go raw. A
//! client's deadline is the call's; a client that has cancelled, or gone, cancels its call.

mod codec;
mod contents;
mod describe;
mod door;
mod infer;
#[rustfmt::skip]
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::allow_attributes_without_reason, reason = "generated from inference.proto")]
mod generated;
mod server;
mod service;
mod status;
mod stream;

pub use infer::read;
pub use server::{GrpcOptions, serve};

pub mod inference {
    //! The protocol's messages, and a client for any transport; generated from `src/grpc/inference.proto`.
    pub use super::generated::*;
}
