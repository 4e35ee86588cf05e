//! Along axes: sums, extremes, order.

use burn::backend::Dispatch;
use burn::backend::ops::FloatTensorOps;

use super::Family;
use crate::onnx::error::OpError;
use crate::onnx::node::{Call, Outputs, one};
use crate::onnx::tensor::{Binary, Compare, Dims, Kind, Reduction, Result, Tensor, resolve_axis};
use crate::value::DType;

pub(super) const OPS: Family = &[
    ("ReduceSum", |call| reduce(call, |x, axes| over(x, Reduction::Sum, axes))),
    ("ReduceMean", |call| reduce(call, |x, axes| over(x, Reduction::Mean, axes))),
    ("ReduceProd", |call| reduce(call, |x, axes| over(x, Reduction::Prod, axes))),
    ("ReduceMax", |call| reduce(call, |x, axes| extreme(x, Reduction::Max, axes))),
    ("ReduceMin", |call| reduce(call, |x, axes| extreme(x, Reduction::Min, axes))),
    ("ReduceL1", |call| reduce(call, |x, axes| over(x.abs()?, Reduction::Sum, axes))),
    ("ReduceL2", |call| {
        reduce(call, |x, axes| {
            let dtype = x.dtype();
            let x = if x.kind() == Kind::Float { x } else { x.cast(DType::F64) };
            Ok(over(x.clone().mul(x)?, Reduction::Sum, axes)?.map(Dispatch::float_sqrt)?.cast(dtype))
        })
    }),
    ("ReduceSumSquare", |call| reduce(call, |x, axes| over(x.clone().mul(x)?, Reduction::Sum, axes))),
    ("ReduceLogSum", |call| reduce(call, |x, axes| over(x, Reduction::Sum, axes)?.map(Dispatch::float_log))),
    ("ReduceLogSumExp", |call| reduce(call, log_sum_exp)),
    ("ArgMax", |call| arg(call, true)),
    ("ArgMin", |call| arg(call, false)),
    ("CumSum", |call| cumulative(call, |x, axis| x.cumsum(axis), 0.0)),
    ("CumProd", |call| cumulative(call, |x, axis| x.cumprod(axis), 1.0)),
    ("TopK", top_k),
];

/// Reduces the axes that the call names, which stay with size 1 unless `keepdims` is 0.
fn reduce(call: &mut Call<'_>, by: fn(Tensor, &[usize]) -> Result<Tensor>) -> Result<Outputs> {
    let x = call.tensor(0)?;
    let named = call.ints_or(1, "axes")?.unwrap_or_default();
    if named.is_empty() && call.node.flag("noop_with_empty_axes", false) {
        // Of one element each: what is not a sum is still computed.
        let axes: &[usize] = &[];
        return one(by(x, axes)?);
    }
    let rank = x.rank();
    let mut axes: Vec<usize> = named.iter().map(|&axis| resolve_axis(axis, rank)).collect::<Result<_>>()?;
    if axes.is_empty() {
        axes = (0..rank).collect();
    }
    axes.sort_unstable();
    axes.dedup();
    let reduced = by(x, &axes)?;
    if call.node.flag("keepdims", true) {
        return one(reduced);
    }
    let dims: Dims =
        reduced.dims().iter().enumerate().filter(|(at, _)| !axes.contains(at)).map(|(_, dim)| *dim).collect();
    one(reduced.reshape(&dims)?)
}

/// Axes that follow each other are reduced as one.
pub(super) fn over(x: Tensor, by: Reduction, axes: &[usize]) -> Result<Tensor> {
    let dims = x.dims();
    let (Some(&first), Some(&last)) = (axes.first(), axes.last()) else { return Ok(x) };
    let mut kept = dims.clone();
    axes.iter().for_each(|&axis| kept[axis] = 1);
    if axes.iter().any(|&axis| dims[axis] == 0) {
        let neutral = match by {
            Reduction::Sum => 0.0,
            Reduction::Prod => 1.0,
            Reduction::Mean => f64::NAN,
            Reduction::Max => f64::NEG_INFINITY,
            Reduction::Min => f64::INFINITY,
        };
        return Tensor::from_f64s(&[neutral], &[], x.dtype(), &x.device())?.expand(&kept);
    }
    if last - first + 1 == axes.len() && axes.len() > 1 {
        let merged = dims[first..=last].iter().product();
        let mut flat: Dims = dims[..first].iter().copied().collect();
        flat.push(merged);
        flat.extend_from_slice(&dims[last + 1..]);
        return x.reshape(&flat)?.reduce(by, first)?.reshape(&kept);
    }
    axes.iter().try_fold(x, |x, &axis| x.reduce(by, axis))
}

fn extreme(x: Tensor, by: Reduction, axes: &[usize]) -> Result<Tensor> {
    match x.kind() {
        Kind::Bool => Ok(over(x.cast(DType::I32), by, axes)?.cast(DType::Bool)),
        _ => over(x, by, axes),
    }
}

/// `m + ln Σ exp(x - m)` with `m` the largest, so that nothing overflows.
fn log_sum_exp(x: Tensor, axes: &[usize]) -> Result<Tensor> {
    let largest = over(x.clone(), Reduction::Max, axes)?;
    // What is infinite already must not become inf - inf.
    let finite = largest.clone().abs()?.compare_with(Compare::Less, f64::INFINITY)?;
    let zero = Tensor::scalar(burn::tensor::Scalar::Float(0.0), x.dtype(), &x.device())?;
    let base = zero.mask_where(finite, largest)?;
    let sum = over(x.sub(base.clone())?.map(Dispatch::float_exp)?, Reduction::Sum, axes)?;
    sum.map(Dispatch::float_log)?.add(base)
}

fn arg(call: &mut Call<'_>, largest: bool) -> Result<Outputs> {
    let x = call.tensor(0)?;
    let axis = call.axis(0, x.rank())?;
    let size = x.dim(axis);
    if size == 0 {
        return Err(OpError::caller("there is no largest and no smallest of nothing"));
    }
    let found = if call.node.flag("select_last_index", false) {
        x.flip(axis).arg_extreme(axis, largest)?.neg()?.with_number(Binary::Add, size as f64 - 1.0)
    } else {
        x.arg_extreme(axis, largest)?
    };
    one(if call.node.flag("keepdims", true) { found } else { found.squeeze(axis)? })
}

/// Over all elements up to each, without itself where that is asked for: then `neutral` comes first.
fn cumulative(call: &mut Call<'_>, function: fn(Tensor, usize) -> Result<Tensor>, neutral: f64) -> Result<Outputs> {
    let x = call.tensor(0)?;
    let axis = call.need_ints(1)?.first().copied().unwrap_or(0);
    let axis = resolve_axis(axis, x.rank())?;
    let reverse = call.node.flag("reverse", false);
    let mut x = if reverse { x.flip(axis) } else { x };
    let size = x.dim(axis);
    if call.node.flag("exclusive", false) && size > 0 {
        let mut dims = x.dims();
        dims[axis] = 1;
        let first = call.full(&dims, neutral, x.dtype())?;
        x = Tensor::cat(vec![first, x.slice(axis, 0, size - 1, 1)?], axis)?;
    }
    let result = function(x, axis)?;
    one(if reverse { result.flip(axis) } else { result })
}

/// Equal elements come in the order of their indices.
fn top_k(call: &mut Call<'_>) -> Result<Outputs> {
    let x = call.tensor(0)?;
    let k = match call.ints(1)? {
        Some(k) => k.first().copied().unwrap_or(0),
        None => call.node.int("k", 0),
    };
    let axis = call.axis(-1, x.rank())?;
    let size = x.dim(axis);
    let k = usize::try_from(k).ok().filter(|&k| k <= size);
    let k = k.ok_or_else(|| OpError::caller(format!("k is more than the {size} elements of axis {axis}")))?;
    let dtype = x.dtype();
    let sorted = if x.kind() == Kind::Bool { x.cast(DType::U8) } else { x };
    let (values, indices) = sorted.sort(axis, call.node.flag("largest", true))?;
    let values = values.slice(axis, 0, k, 1)?.cast(dtype);
    Ok(smallvec::smallvec![values.into(), indices.slice(axis, 0, k, 1)?.into()])
}
