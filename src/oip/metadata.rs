//! What the server and its models say of themselves.

use serde::Serialize;
use utoipa::ToSchema;

use super::datatype::Datatype;
use super::model::Model;
use super::{EXTENSIONS, MODEL_REPOSITORY, SERVER_NAME};
use crate::value::ValueSpec;

/// What runs all models, where the protocol asks for a framework.
pub const PLATFORM: &str = "ekiden";

/// What the server is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = oip::ServerMetadata)]
pub struct ServerMetadata {
    /// "ekiden".
    pub name: &'static str,
    /// This program's version.
    pub version: &'static str,
    /// The extensions that work.
    pub extensions: Vec<&'static str>,
}

impl ServerMetadata {
    /// Of a listener that takes orders, or of one that does not.
    pub fn new(takes_orders: bool) -> Self {
        let extensions = EXTENSIONS.into_iter().chain(takes_orders.then_some(MODEL_REPOSITORY)).collect();
        Self { name: SERVER_NAME, version: env!("CARGO_PKG_VERSION"), extensions }
    }
}

/// What a model takes and returns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = oip::ModelMetadata)]
pub struct ModelMetadata {
    /// The model's name.
    pub name: String,
    /// The one that is served, where it has one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<String>,
    /// "ekiden".
    pub platform: &'static str,
    /// In the order of the method's parameters.
    pub inputs: Vec<TensorMetadata>,
    /// In the order in which the method returns them.
    pub outputs: Vec<TensorMetadata>,
}

/// An input or output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = oip::TensorMetadata)]
pub struct TensorMetadata {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    pub datatype: Datatype,
    /// -1 is any size. One of any rank says `[-1]`, for which the protocol has no better word.
    pub shape: Vec<i64>,
}

impl TensorMetadata {
    fn new(spec: &ValueSpec) -> Self {
        Self { name: spec.name().to_owned(), datatype: Datatype::of_spec(spec), shape: sizes(spec) }
    }
}

/// The sizes of a value, with the batch dimension; -1 is any.
pub(super) fn sizes(spec: &ValueSpec) -> Vec<i64> {
    let size = |size: &Option<usize>| size.and_then(|size| i64::try_from(size).ok()).unwrap_or(-1);
    match spec {
        ValueSpec::Tensor(_) | ValueSpec::Texts(_) => match spec.shape() {
            Some(shape) => shape.iter().map(size).collect(),
            None => vec![-1],
        },
        ValueSpec::List(_) => vec![-1],
        ValueSpec::Json(_) | ValueSpec::Text(_) | ValueSpec::Bytes(_) => vec![1],
    }
}

impl Model {
    /// What it takes and returns.
    pub fn metadata(&self) -> ModelMetadata {
        let signature = self.method().signature();
        ModelMetadata {
            name: self.name(),
            versions: self.version().map(str::to_owned).into_iter().collect(),
            platform: PLATFORM,
            inputs: signature.inputs.iter().map(TensorMetadata::new).collect(),
            outputs: signature.outputs.iter().map(TensorMetadata::new).collect(),
        }
    }
}
