//! The Open Inference Protocol, version 2, as KServe and Triton speak it: what HTTP and gRPC have in common.
//!
//! ```text
//! request ─► InferRequest ─ prepare ─► Values + CallOptions ─► the method ─► Values ─ Wanted::take ─► output tensors ─► answer
//! ```
//!
//! A method is a model: `{runner}` where the runner has one method, `{runner}.{method}` otherwise ([`Model`]). Tensors keep
//! their dtype; values that are no tensors are of the datatype `BYTES` ([`Tensor`]):
//!
//! | value | shape | an element |
//! |---|---|---|
//! | texts | that of the texts | a text, in UTF-8 |
//! | a list | `[n]` | a JSON value; a text may stand as it is |
//! | one JSON value | `[1]` | its JSON text |
//! | one text | `[1]` | the text, in UTF-8 |
//! | raw bytes | `[1]` | the bytes |
//!
//! Sources: "Open Inference Protocol" of KServe (docs/predict-api/v2 of kserve/open-inference-protocol), and the protocol
//! extensions of Triton Inference Server (docs/protocol of triton-inference-server/server). Nothing here knows HTTP or gRPC;
//! [`json`] and [`binary`] are the bodies of the former.

pub mod binary;
mod classification;
mod config;
mod datatype;
mod elements;
mod inflated;
pub mod json;
mod metadata;
mod model;
mod parameters;
mod repository;
mod request;
mod statistics;
mod tensor;
#[cfg(test)]
mod tests;

pub use config::{BatchPolicy, InstanceGroup, ModelConfig, QueuePolicy, TensorConfig, TransactionPolicy};
pub use datatype::Datatype;
pub use elements::{join, split};
pub use inflated::{Held, Inflated};
pub use metadata::{ModelMetadata, PLATFORM, ServerMetadata, TensorMetadata};
pub use model::Model;
pub use parameters::{Parameter, Parameters};
pub use repository::{IndexEntry, RepositoryError, check_load, index, load, unload};
pub use request::{InferRequest, Output, Prepared, RequestedOutput, Wanted};
pub use statistics::{BatchStatistics, DurationStatistics, InferStatistics, ModelStatistics};
pub use tensor::{Data, Tensor, shape};

use crate::serving::Serving;

/// The most inputs of a request, and the most outputs that it may ask for: no method has nearly as many, and each takes more
/// memory than it takes to be sent.
pub const MOST_TENSORS: usize = 4096;

/// The most parameters of a request, of an input or of an output.
pub const MOST_PARAMETERS: usize = 256;

/// The most `BYTES` elements of a request.
pub const MOST_TEXTS: usize = 1 << 20;

/// The longest name of an input, of an output or of a parameter, in bytes.
pub const LONGEST_NAME: usize = 256;

/// The longest id of a request, in bytes: it is repeated in each answer.
pub const LONGEST_ID: usize = 1 << 10;

/// What the server is called.
pub const SERVER_NAME: &str = "ekiden";

/// The extensions of the protocol that work, by the names that Triton gives them; `model_repository` besides where orders are
/// taken, which is the admin listener.
pub const EXTENSIONS: [&str; 5] =
    ["classification", "schedule_policy", "model_configuration", "statistics", "binary_tensor_data"];

/// The extension that load and unload belong to.
pub const MODEL_REPOSITORY: &str = "model_repository";

/// Why the server is not ready: the runners that it needs, and that take no calls. None, when it is.
pub fn not_ready(serving: &Serving) -> Vec<String> {
    let runners = serving.runners();
    runners.iter().filter(|runner| runner.required).filter_map(|runner| runner.not_ready()).collect()
}
