//! Ekiden serves models: every runner method is a supervised batching actor.
//!
//! (map to come)

pub mod app;
pub mod codec;
pub mod config;
pub mod device;
pub mod http;
pub mod metrics;
pub mod models;
pub mod runner;
pub mod serving;
pub mod value;

pub use app::{App, AppBuilder, StartError};
pub use ekiden_actors::{CallError, CallOptions, MethodError, OpenError};
pub use runner::{Data, Runnable, Runner};

pub mod prelude {
    //! What most programs import.
    pub use crate::app::App;
    pub use crate::runner::{
        DefaultStrategy, Json, MethodConfig, Methods, OpenContext, ResourceKind, Runnable, Runner,
    };
    pub use crate::value::TensorSpec;
    pub use burn::tensor::{Bool, Device, Float, Int, Tensor};
    pub use ekiden_actors::{CallError, MethodError, OpenError};
}
