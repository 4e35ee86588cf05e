//! Losses.

use burn::backend::Dispatch;
use burn::backend::ops::FloatTensorOps;

use super::Family;
use super::index::from_start;
use crate::onnx::error::OpError;
use crate::onnx::node::{Node, one};
use crate::onnx::tensor::{Compare, Dims, Reduction, Result, Tensor};
use crate::value::DType;

pub(super) const OPS: Family = &[
    ("NegativeLogLikelihoodLoss", |call| {
        let (x, target, weight) = (call.tensor(0)?, call.tensor(1)?, call.optional(2)?);
        one(likelihood(call.node, x, target, weight)?)
    }),
    ("SoftmaxCrossEntropyLoss", |call| {
        let (scores, target, weight) = (call.tensor(0)?, call.tensor(1)?, call.optional(2)?);
        if scores.rank() < 2 {
            return Err(misfit(&target.dims(), &scores.dims()));
        }
        let x = scores.log_softmax(1)?;
        let loss = likelihood(call.node, x.clone(), target, weight)?;
        Ok(smallvec::smallvec![loss.into(), x.into()])
    }),
];

fn misfit(target: &[usize], x: &[usize]) -> OpError {
    OpError::caller(format!("targets of shape {target:?} do not fit scores of shape {x:?}"))
}

/// `-weight[target] * x[n, target, …]`, for `x` of `[n, classes, …]` and `target` of `[n, …]`. A mean is taken by weight;
/// a target of `ignore_index` has none.
fn likelihood(node: &Node, x: Tensor, target: Tensor, weight: Option<Tensor>) -> Result<Tensor> {
    let (dims, shape, dtype) = (x.dims(), target.dims(), x.dtype());
    let fits = dims.len() > 1 && shape.len() + 1 == dims.len() && shape[0] == dims[0] && shape[1..] == dims[2..];
    if !fits || shape.contains(&0) {
        return Err(misfit(&shape, &dims));
    }
    let (rows, classes, places) = (dims[0], dims[1], dims[2..].iter().product::<usize>());
    let mut target = target.cast(DType::I64).reshape(&[rows, 1, places])?;
    let zero = |of: &Tensor| Tensor::scalar(burn::tensor::Scalar::Int(0), of.dtype(), &of.device());
    let mut ignored = None;
    if let Some(index) = node.try_int("ignore_index") {
        let mask = target.clone().compare_with(Compare::Equal, index as f64)?;
        let none = zero(&target)?;
        target = target.mask_where(mask.clone(), none)?;
        ignored = Some(mask);
    }
    let target = from_start(target, classes)?;
    let mut weights = match weight {
        Some(weight) if weight.dims().as_slice() == [classes] => {
            weight.cast(dtype).select(0, target.clone().reshape(&[rows * places])?)?.reshape(&[rows, 1, places])?
        }
        Some(weight) => return Err(OpError::caller(format!("{classes} weights expected, found {:?}", weight.dims()))),
        None => Tensor::full(&[rows, 1, places], burn::tensor::Scalar::Int(1), dtype, &x.device())?,
    };
    if let Some(ignored) = ignored {
        let none = zero(&weights)?;
        weights = weights.mask_where(ignored, none)?;
    }
    let picked = x.reshape(&[rows, classes, places])?.gather(1, target);
    // Of no weight is nothing, even where the score is infinite.
    let weightless = weights.clone().compare_with(Compare::Equal, 0.0)?;
    let none = zero(&picked)?;
    let loss = picked.mask_where(weightless, none)?.map(Dispatch::float_neg)?.mul(weights.clone())?;
    match node.text("reduction", "mean") {
        "none" => loss.reshape(&shape),
        "sum" => total(loss),
        "mean" => total(loss)?.div(total(weights)?),
        other => Err(OpError::new(format!("there is no reduction \"{other}\""))),
    }
}

/// The sum of all elements, a scalar.
fn total(x: Tensor) -> Result<Tensor> {
    let elements = x.elements();
    x.reshape(&[elements])?.reduce(Reduction::Sum, 0)?.reshape(&Dims::new())
}
