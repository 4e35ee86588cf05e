//! What a batchable method returns that fails single rows by itself.

use ekiden_actors::MethodError;
use serde::Serialize;

use super::function::{Outputs, Slot};
use super::read_back::ReadBack;
use crate::value::{Value, Values};

/// Outputs of all rows of a batch, of which some may have failed: their calls alone get the errors.
///
/// Lists are collected from a result for each row. Of tensors, rows that failed have to be there, and mean nothing.
///
/// ```
/// use ekiden::prelude::*;
///
/// fn parse(words: &[String]) -> Rows<Vec<f32>> {
///     words.iter().map(|word| word.parse().map_err(MethodError::invalid_input)).collect()
/// }
/// fn classify(probabilities: Tensor<2>) -> Rows<Tensor<2>> {
///     Rows::new(probabilities).fail(3, MethodError::invalid_input("this is no flower"))
/// }
/// ```
#[derive(Debug)]
pub struct Rows<T> {
    outputs: Staged<T>,
    failed: Vec<(usize, MethodError)>,
}

#[derive(Debug)]
enum Staged<T> {
    Whole(T),
    /// One element for each row, `null` where it failed.
    List(Vec<serde_json::Value>),
}

impl<T: Outputs> Rows<T> {
    /// Outputs of which no row has failed.
    pub fn new(outputs: T) -> Self {
        Self { outputs: Staged::Whole(outputs), failed: Vec::new() }
    }

    /// Fails row `row` of the batch, counted from 0. The first error of a row counts; a row that the batch does not have
    /// fails the whole batch.
    #[must_use]
    pub fn fail(mut self, row: usize, error: MethodError) -> Self {
        self.failed.push((row, error));
        self
    }
}

impl<T: Serialize> FromIterator<Result<T, MethodError>> for Rows<Vec<T>> {
    fn from_iter<I: IntoIterator<Item = Result<T, MethodError>>>(rows: I) -> Self {
        let mut failed = Vec::new();
        let item = |(row, result): (usize, Result<T, MethodError>)| {
            let item = result.and_then(|item| serde_json::to_value(item).map_err(MethodError::failed));
            item.unwrap_or_else(|error| {
                failed.push((row, error));
                serde_json::Value::Null
            })
        };
        let items = rows.into_iter().enumerate().map(item).collect();
        Self { outputs: Staged::List(items), failed }
    }
}

impl<T: Outputs> Outputs for Rows<T> {
    fn slots() -> Vec<Slot> {
        T::slots()
    }

    fn stage(self, back: &mut ReadBack) -> Result<(), MethodError> {
        self.failed.into_iter().for_each(|(row, error)| back.fail(row, error));
        match self.outputs {
            Staged::Whole(outputs) => outputs.stage(back),
            Staged::List(items) => {
                back.host(Value::List(items));
                Ok(())
            }
        }
    }

    fn from_values(values: Values) -> Result<Self, String> {
        T::from_values(values).map(Self::new)
    }
}
