//! What the simulation runs. Outputs are a function of the input's rows, so that every mistake in cutting, joining and
//! answering shows.

use crate::{MethodError, Outcomes, Part, RunError, Worker};

pub(crate) struct Toy;

/// How a call behaves when it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nature {
    Good,
    /// The method returns an error for every batch that it is in.
    Refused,
    /// It breaks every executor that it runs on.
    Deadly,
    /// It runs for ever, or nearly so.
    Endless,
}

#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) id: usize,
    /// Only inputs of the same shape may share a batch.
    pub(crate) shape: u8,
    pub(crate) rows: usize,
    pub(crate) nature: Nature,
}

/// One row of an output: where it comes from.
pub(crate) type Row = (usize, usize, usize);

pub(crate) fn expected(method: usize, input: &Input) -> Vec<Row> {
    (0..input.rows).map(|row| (method, input.id, row)).collect()
}

impl Worker for Toy {
    type Input = Input;
    type Output = Vec<Row>;
    type Launched = ();

    fn can_share_batch(one: &Input, other: &Input) -> bool {
        one.shape == other.shape
    }

    fn shape(input: &Input) -> u64 {
        input.shape.into()
    }

    fn launch(&mut self, _: usize, _: &[Part<'_, Input>]) -> Result<(), RunError> {
        Ok(())
    }

    fn finish(&mut self, method: usize, parts: &[Part<'_, Input>], (): ()) -> Result<Outcomes<Vec<Row>>, RunError> {
        if parts.iter().any(|part| part.input.nature == Nature::Refused) {
            return Err(MethodError::invalid_input("refused").into());
        }
        let output = |part: &Part<'_, Input>| part.rows.clone().map(|row| (method, part.input.id, row)).collect();
        Ok(parts.iter().map(output).map(Ok).collect())
    }

    fn join(_: &Input, pieces: Vec<Vec<Row>>) -> Result<Vec<Row>, MethodError> {
        Ok(pieces.concat())
    }
}
