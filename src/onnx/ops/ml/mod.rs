//! The domain `ai.onnx.ml`: what classic models are exported to. These operators run on the host.
//!
//! In reading order: `scores` (from scores to probabilities and labels), `linear`, `ensemble` and `tree`, `svm`, then what
//! prepares features: `scale` and `encode`.

mod encode;
mod ensemble;
mod linear;
mod scale;
mod scores;
mod svm;
mod tree;

use self::ensemble::Precision;
use super::Family;
use crate::onnx::data::Constant;
use crate::onnx::error::OpError;
use crate::onnx::graph::host;
use crate::onnx::node::{Call, Node};
use crate::onnx::tensor::{Result, Tensor};
use crate::value::DType;

/// The families of this domain.
pub(super) const OPS: &[Family] = &[encode::OPS, linear::OPS, scale::OPS, svm::OPS, tree::OPS];

/// The first input as rows of features; a vector is one row.
fn matrix(call: &mut Call<'_>) -> Result<Tensor> {
    let x = call.tensor(0)?;
    match x.rank() {
        1 => {
            let features = x.elements();
            x.reshape(&[1, features])
        }
        _ => x.of_rank(2, "the input"),
    }
}

/// Rows of features, on the host.
struct Rows {
    values: Vec<f64>,
    count: usize,
    width: usize,
    precision: Precision,
}

impl Rows {
    /// The rows of the first input.
    fn of(call: &mut Call<'_>) -> Result<Self> {
        let x = matrix(call)?;
        let (count, width) = (x.dim(0), x.dim(1));
        if width == 0 {
            return Err(OpError::caller("the rows have no features"));
        }
        let precision = if x.dtype() == DType::F64 { Precision::Double } else { Precision::Single };
        Ok(Self { values: x.floats()?, count, width, precision })
    }

    fn iter(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.width)
    }
}

/// The numbers of an attribute; or of the tensor that may stand for it, with `_as_tensor` in its name, where they are
/// doubles. None where there is neither.
fn numbers(node: &Node, name: &str) -> Result<Vec<f64>> {
    if let Some(singles) = node.floats(name) {
        return Ok(singles.iter().map(|&single| f64::from(single)).collect());
    }
    let tensor = node.constant(&format!("{name}_as_tensor")).or_else(|| node.constant(name));
    match tensor {
        Some(Constant::Array(array)) => Tensor::from_array(array, &host()).floats(),
        Some(Constant::Strings(_)) => Err(OpError::new(format!("{name} must be numbers, found strings"))),
        None => Ok(Vec::new()),
    }
}

/// The integers of an attribute; none where it is not given.
fn integers<'a>(node: &'a Node, name: &str) -> &'a [i64] {
    node.ints(name).unwrap_or(&[])
}

/// An integer of the file that must be an index.
fn index(value: i64, what: &str) -> Result<usize> {
    usize::try_from(value).map_err(|_| OpError::new(format!("{value} is no {what}")))
}
