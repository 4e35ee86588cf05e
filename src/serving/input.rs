//! What a call brings.

use super::chunks::ChunkSender;
use crate::value::{Batching, Value, Values};

/// The inputs of one call, which fit their method's signature.
#[derive(Debug)]
pub(crate) struct CallInput {
    pub(crate) values: Values,
    pub(crate) batching: Option<Batching>,
    /// Where the chunks go, if the method streams.
    pub(crate) chunks: Option<ChunkSender>,
}

impl CallInput {
    /// Of a call that has one answer.
    pub(crate) fn new(values: Values, batching: Option<Batching>) -> Self {
        Self { values, batching, chunks: None }
    }

    /// How many rows it has, as far as that can be told.
    pub(super) fn rows(&self) -> usize {
        match (self.values.first(), self.batching) {
            (Some(Value::Tensor(array)), Some(batching)) => {
                array.shape().dims().get(batching.input_dim).copied().unwrap_or(1)
            }
            (Some(Value::List(items)), Some(_)) => items.len(),
            _ => 1,
        }
    }
}
