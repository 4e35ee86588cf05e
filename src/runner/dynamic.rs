//! Methods whose inputs and outputs no Rust type describes.

use ekiden_actors::{MethodError, Part};

use super::data::InputBatch;
use super::function::{Place, Run};
use super::read_back::{Later, ReadBack};
use super::tensor;
use crate::onnx::Given;
use crate::serving::CallInput;
use crate::value::{Value, texts};

/// A method whose inputs and outputs are known only when a model has been read; it is told how many rows they have, which
/// is one where it has none.
pub(super) struct Dynamic<F>(pub(super) F);

impl<R, F> Run<R> for Dynamic<F>
where
    F: Fn(&R, Vec<Given>, usize) -> Result<Later, MethodError>,
{
    fn run(&self, runnable: &R, parts: &[Part<'_, CallInput>], at: &Place<'_>) -> Result<ReadBack, MethodError> {
        let Place { device, signature } = *at;
        let given = |index| given(&InputBatch { parts, index, batching: signature.batching, device });
        let inputs: Result<Vec<Given>, MethodError> = (0..signature.inputs.len()).map(given).collect();
        let rows = signature.batching.map_or(1, |_| parts.iter().map(|part| part.rows.len()).sum());
        Ok(ReadBack::later((self.0)(runnable, inputs?, rows)?))
    }
}

/// One input of all calls of a batch as it is, whatever its spec: a tensor, or texts.
fn given(batch: &InputBatch<'_>) -> Result<Given, MethodError> {
    if matches!(batch.values().next(), Some((Value::List(_), _))) {
        let rows = batch.values().flat_map(|(value, rows)| match value {
            Value::List(items) => items.get(rows.clone()).unwrap_or_default(),
            _ => &[],
        });
        let (texts, sizes) = texts::flat(rows).map_err(MethodError::invalid_input)?;
        return Ok(Given::Texts(texts, sizes));
    }
    let dim = batch.batching.map(|batching| batching.input_dim);
    tensor::gathered(&batch.arrays()?, dim).map(Given::Tensor).map_err(MethodError::failed)
}
