//! Bodies to values and values to bodies: JSON and NumPy's `.npy`.
//!
//! Pure functions over bytes and a method's [`Signature`](crate::value::Signature): no HTTP, no backend, no unbounded
//! recursion, and no allocation that the body's own length does not bound. A tensor's numbers go from the text straight
//! into its flat buffer; an `.npy` payload is not even copied.
//!
//! What is decoded has the right kinds and dtypes, in the order of the signature; whether its shapes fit is for
//! [`Signature::check_inputs`](crate::value::Signature::check_inputs) to say.
//!
//! * [`json`]: every kind of value but raw bytes.
//! * [`npy`]: one tensor.
//! * [`Format`]: which of them, or plain text, or raw bytes, by media type.

mod format;
pub mod json;
pub mod npy;

#[cfg(test)]
mod tests;

pub use format::Format;

use crate::value::DType;

/// Dimensions a tensor in a body can have at most, NumPy's own limit until its version 2.
const MAX_RANK: usize = 32;

/// What is wrong with a body: names the input, what was expected, what came, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(String);

impl DecodeError {
    /// With this message.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// Why values cannot be written in a format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The method's signature promises another number of outputs.
    #[error("expected {expected} outputs, found {found}")]
    Count {
        /// Outputs of the signature.
        expected: usize,
        /// Outputs that were given.
        found: usize,
    },
    /// JSON cannot carry raw bytes.
    #[error("output \"{0}\" is bytes, which JSON cannot carry: ask for application/octet-stream")]
    Bytes(String),
    /// A `.npy` file holds exactly one tensor.
    #[error("a .npy body holds one tensor, and the method's output is not just that: ask for application/json")]
    NotOneTensor,
    /// NumPy has no such dtype.
    #[error(".npy has no dtype {0}: ask for application/json")]
    NoDType(DType),
    /// The shape does not fit a version 1.0 header, 65 535 bytes.
    #[error("the output's rank, {0}, is too large for .npy")]
    Rank(usize),
}
