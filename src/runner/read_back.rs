//! What a method returned, on its way back from the device.

use std::collections::BTreeMap;

use burn::tensor::{Tensor, Transaction};
use ekiden_actors::MethodError;
use smallvec::SmallVec;

use crate::device;
use crate::serving::Answer;
use crate::transfer;
use crate::value::{Value, Values};

/// What a method returned, on its way back from the device: everything is read in one synchronization.
#[derive(Default)]
pub struct ReadBack {
    transaction: Transaction,
    values: SmallVec<[Pending; 1]>,
    failed: BTreeMap<usize, MethodError>,
    /// In place of all this, where a method reads its outputs itself.
    later: Option<Later>,
}

/// Reads what a method has come to.
pub(super) type Later = Box<dyn FnOnce() -> Result<Vec<Value>, MethodError>>;

enum Pending {
    /// In the order in which tensors were registered with the transaction.
    Tensor,
    Host(Value),
}

impl ReadBack {
    pub(super) fn tensor<const D: usize, K: burn::tensor::kind::Transaction>(&mut self, tensor: Tensor<D, K>) {
        self.transaction = std::mem::take(&mut self.transaction).register(tensor);
        self.values.push(Pending::Tensor);
    }

    /// What `read` reads, in the end.
    pub(super) fn later(read: Later) -> Self {
        Self { later: Some(read), ..Self::default() }
    }

    pub(super) fn host(&mut self, value: Value) {
        self.values.push(Pending::Host(value));
    }

    /// Fails a row of the batch, whatever its outputs are.
    pub(super) fn fail(&mut self, row: usize, error: MethodError) {
        self.failed.entry(row).or_insert(error);
    }

    /// Waits for the device, and reads everything in one synchronization.
    pub(super) fn finish(self) -> Result<Answer, MethodError> {
        if let Some(read) = self.later {
            return Ok(read()?.into_iter().collect::<Values>().into());
        }
        let any_tensor = self.values.iter().any(|value| matches!(value, Pending::Tensor));
        let read = if any_tensor {
            self.transaction.try_execute().map_err(|error| device::error(&error))?
        } else {
            Vec::new()
        };
        let mut read = read.into_iter();
        let outputs = self
            .values
            .into_iter()
            .map(|value| match value {
                Pending::Host(value) => Ok(value),
                Pending::Tensor => {
                    let data = read.next().ok_or_else(|| MethodError::failed("the device lost an output"))?;
                    transfer::array(data).map(Value::Tensor).map_err(MethodError::failed)
                }
            })
            .collect::<Result<Values, MethodError>>()?;
        Ok(Answer { outputs, failed: self.failed.into_iter().collect() })
    }
}
