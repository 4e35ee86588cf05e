//! What travels between a caller and a runnable: tensors, lists, text and bytes, on the host and free of any backend.
//!
//! * [`Array`]: a dense tensor: dtype, shape and one shared buffer of bytes, so that a slice of rows is not a copy.
//! * [`Value`]: one input or output: an array, a list of JSON values, one JSON value, text, or raw bytes.
//! * [`ValueSpec`]: what one input or output must look like; [`Signature`]: those of a whole method.
//!
//! Inputs are positional in the order of the method's signature; names are resolved where a request is decoded.

mod array;
mod buckets;
mod dtype;
pub(crate) mod gather;
mod shape;
mod signature;
mod spec;
#[cfg(test)]
mod tests;
pub(crate) mod texts;

pub use array::{Array, ArrayError};
pub use buckets::Buckets;
pub use dtype::{DType, Element};
pub use shape::Shape;
pub use signature::{Batching, Signature};
pub use spec::{TensorSpec, ValueKind, ValueSpec};
pub use texts::TextsSpec;

use bytes::Bytes;
use smallvec::SmallVec;

/// The inputs of one call, or the outputs of one, in the order of the method's [`Signature`].
pub type Values = SmallVec<[Value; 1]>;

/// One input or output of a method, on the host.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A dense tensor of any rank and dtype.
    Tensor(Array),
    /// A list of serde values; dimension 0 counts its elements, and one element is one row.
    List(Vec<serde_json::Value>),
    /// One serde value that cannot be batched.
    Json(serde_json::Value),
    /// One text.
    Text(String),
    /// Raw bytes.
    Bytes(Bytes),
}

impl Value {
    /// What kind of value this is, for messages and for comparing with a spec.
    pub fn kind(&self) -> ValueKind {
        match self {
            Self::Tensor(_) => ValueKind::Tensor,
            Self::List(_) => ValueKind::List,
            Self::Json(_) => ValueKind::Json,
            Self::Text(_) => ValueKind::Text,
            Self::Bytes(_) => ValueKind::Bytes,
        }
    }

    /// The number of rows along `dim`: an array's size there, a list's length for dimension 0, nothing otherwise.
    pub fn rows(&self, dim: usize) -> Option<usize> {
        match self {
            Self::Tensor(array) => array.shape().dims().get(dim).copied(),
            Self::List(items) if dim == 0 => Some(items.len()),
            _ => None,
        }
    }
}

impl From<Array> for Value {
    fn from(array: Array) -> Self {
        Self::Tensor(array)
    }
}
