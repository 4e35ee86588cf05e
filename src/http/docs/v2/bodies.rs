//! The bodies of inferences, which are read and written without such types.
#![expect(dead_code, reason = "they are here for their schemas alone")]

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::ToSchema;

use crate::oip::Datatype;

/// A request for an inference.
#[derive(ToSchema)]
#[schema(as = oip::InferRequest)]
pub(super) struct Request {
    /// Repeated in the answer.
    #[schema(nullable = false)]
    id: Option<String>,
    #[schema(inline, nullable = false)]
    parameters: Option<CallParameters>,
    /// In any order.
    inputs: Vec<Input>,
    /// The outputs to return, in this order; all, where none are asked for.
    #[schema(nullable = false)]
    outputs: Option<Vec<Wanted>>,
}

/// What is asked of the call.
#[derive(ToSchema)]
#[schema(as = oip::Parameters)]
struct CallParameters {
    /// 1 goes before others, 3 and more after them; 0 and 2 are normal.
    #[schema(nullable = false, format = "uint64")]
    priority: Option<u64>,
    /// How long the call may take, in microseconds; 0 for as long as the model's calls may.
    #[schema(nullable = false, format = "uint64")]
    timeout: Option<u64>,
    /// Whether to return outputs as binary data that do not say otherwise.
    #[schema(nullable = false)]
    binary_data_output: Option<bool>,
}

/// An input.
#[derive(ToSchema)]
#[schema(as = oip::Input)]
struct Input {
    name: String,
    datatype: Datatype,
    shape: Vec<u64>,
    /// In row-major order, flat or nested as its shape is; not where `binary_data_size` says that it follows the JSON.
    #[schema(nullable = false)]
    data: Option<Vec<Value>>,
    #[schema(nullable = false)]
    parameters: Option<BTreeMap<String, Value>>,
}

/// An output that is asked for.
#[derive(ToSchema)]
#[schema(as = oip::RequestedOutput)]
struct Wanted {
    name: String,
    /// `classification` asks for that many of the highest scores of each row; `binary_data`, for the data behind the JSON.
    #[schema(nullable = false)]
    parameters: Option<BTreeMap<String, Value>>,
}

/// The answer to an inference.
#[derive(ToSchema)]
#[schema(as = oip::InferResponse)]
pub(super) struct Answer {
    model_name: String,
    #[schema(nullable = false)]
    model_version: Option<String>,
    #[schema(nullable = false)]
    id: Option<String>,
    outputs: Vec<Output>,
}

/// An output.
#[derive(ToSchema)]
#[schema(as = oip::Output)]
struct Output {
    name: String,
    datatype: Datatype,
    shape: Vec<u64>,
    /// In row-major order; not where `binary_data_size` says that it follows the JSON.
    #[schema(nullable = false)]
    data: Option<Vec<Value>>,
    #[schema(nullable = false)]
    parameters: Option<BTreeMap<String, Value>>,
}
