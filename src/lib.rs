//! Ekiden serves models: every runner method is a supervised batching actor.
//!
//! ```text
//! HTTP body ─ decode ─► Value ─► Handle (admission) ─► Desk ◄─ pull ─ Executor ─► runnable on its Device
//!                                                       ▲ time           │ gather rows, run once, read back once, split
//!                                                    Batcher             │
//! HTTP body ◄─ encode ─ Value ◄──────── each call's own reply ◄──────────┘
//! ```
//!
//! | word | meaning |
//! |---|---|
//! | runnable | user code: a type with methods ([`Runnable`]), opened once per executor on that executor's device |
//! | runner | a named runnable with its resources, limits and models ([`Runner`]); what `runners.toml` lists |
//! | method | one callable of a runner; batchable along a batch dimension, or not |
//! | call | one request to one method: inputs, deadline, where to answer |
//! | row | one element along the batch dimension; limits count rows, never calls |
//! | batch | the rows dispatched together |
//! | executor | the actor of one worker: owns one opened runnable on one device, and runs batches |
//! | batcher | the actor of one method: keeps the time for latency limits and deadlines |
//! | strategy | turns a runner's resources into executors and their devices |
//!
//! Modules, in reading order:
//!
//! * [`app`]: the embedding API; [`App::builder`] is where to start.
//! * [`runner`]: what people write ([`Runnable`]), build ([`Runner`]) and call ([`runner::Method`]).
//! * [`serving`]: what is being served, by name; values in and values out. HTTP and embedding both stand on it.
//! * [`http`]: the HTTP API on actix-web, to mount or to serve. `page`: the page in front, on which calls are tried.
//! * [`oip`]: the Open Inference Protocol, which KServe and Triton clients speak.
//! * `grpc`: the same protocol over gRPC, on tonic; a feature.
//! * `service`: endpoints of one's own, which prepare input, call runners and shape the answer; `dataframe`: tables for them.
//! * [`value`] and [`codec`]: host values and their specs; bodies to values and back.
//! * `isolation`: executors in child processes, beside those on threads.
//! * [`config`]: the layers of configuration, and who said what.
//! * `onnx`: graphs from files, run on Burn as they are. `transfer`: between host arrays and Burn's data.
//! * [`device`]: which backends this program was built with, which devices are here. [`models`]: the model store. [`metrics`]: numbers.
//!
//! Batching, execution and supervision themselves are the crate `ekiden-actors`, which knows neither tensors nor HTTP.

pub mod app;
pub mod codec;
pub mod config;
#[cfg(feature = "dataframe")]
pub mod dataframe;
pub mod device;
#[cfg(feature = "grpc")]
pub mod grpc;
mod home;
pub mod http;
mod isolation;
pub mod metrics;
pub mod models;
pub mod oip;
mod onnx;
#[cfg(feature = "page")]
pub mod page;
pub mod runner;
#[cfg(feature = "service")]
pub mod service;
pub mod serving;
mod suggest;
mod transfer;
pub mod value;

pub use app::{App, AppBuilder, StartError};
pub use config::Isolation;
pub use ekiden_actors::{CallError, CallOptions, MethodError, OpenError, Priority};
pub use runner::{Data, Runnable, Runner};

pub mod prelude {
    //! What most programs import.
    pub use crate::app::App;
    pub use crate::config::Isolation;
    pub use crate::runner::{
        Chunks, DefaultStrategy, Json, Method, MethodConfig, Methods, OpenContext, ResourceKind, Rows, Runnable, Runner,
    };
    pub use crate::value::TensorSpec;
    pub use burn::tensor::{Bool, Device, Float, Int, Tensor};
    pub use ekiden_actors::{CallError, MethodError, OpenError, Priority};
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
