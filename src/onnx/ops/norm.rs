//! Normalization.

use burn::backend::Dispatch;
use burn::backend::ops::{FloatTensorOps, ModuleOps};

use super::Family;
use super::reduce::over;
use crate::onnx::error::OpError;
use crate::onnx::node::{Call, Outputs, one};
use crate::onnx::tensor::{Binary, Dims, Reduction, Result, Tensor, resolve_axis};
use crate::value::DType;

pub(super) const OPS: Family = &[
    ("BatchNormalization", batch_norm),
    ("InstanceNormalization", instance_norm),
    ("LayerNormalization", layer_norm),
    ("GroupNormalization", group_norm),
    ("RMSNormalization", rms_norm),
    ("SimplifiedLayerNormalization", rms_norm),
    ("MeanVarianceNormalization", mean_variance_norm),
    ("LpNormalization", lp_norm),
    ("LRN", local_response_norm),
    ("Dropout", dropout),
];

/// A vector of one number per channel, to broadcast over `[n, channels, …]`.
fn per_channel(vector: Tensor, rank: usize) -> Result<Tensor> {
    let channels = vector.elements();
    let mut dims: Dims = smallvec::smallvec![1; rank.max(2)];
    dims[1] = channels;
    vector.reshape(&dims)
}

fn batch_norm(call: &mut Call<'_>) -> Result<Outputs> {
    let (epsilon, momentum) = (call.node.float("epsilon", 1e-5), call.node.float("momentum", 0.9));
    let x = call.tensor(0)?;
    let (scale, bias, mean, variance) = (call.tensor(1)?, call.tensor(2)?, call.tensor(3)?, call.tensor(4)?);
    let (rank, dtype) = (x.rank(), x.dtype());
    if call.node.flag("training_mode", false) {
        let axes: Vec<usize> = (0..rank).filter(|&axis| axis != 1).collect();
        let own_mean = over_each(x.clone(), &axes)?;
        let centred = x.clone().sub(own_mean.clone())?;
        let own_variance = over_each(centred.clone().mul(centred.clone())?, &axes)?;
        let y = normalized(centred, own_variance.clone(), epsilon)?;
        let y = y.mul(per_channel(scale, rank)?)?.add(per_channel(bias, rank)?)?;
        let blend = |old: Tensor, new: Tensor| {
            let dims = old.dims();
            let new = new.reshape(&dims)?.cast(old.dtype());
            old.with_number(Binary::Mul, momentum).add(new.with_number(Binary::Mul, 1.0 - momentum))
        };
        return Ok(smallvec::smallvec![y.into(), blend(mean, own_mean)?.into(), blend(variance, own_variance)?.into()]);
    }
    // One number to multiply with and one to add, per channel.
    let factor = variance.with_number(Binary::Add, epsilon).map(Dispatch::float_sqrt)?;
    let factor = scale.cast(factor.dtype()).div(factor)?;
    let shift = bias.cast(factor.dtype()).sub(mean.mul(factor.clone())?)?;
    let (factor, shift) = (per_channel(factor.cast(dtype), rank)?, per_channel(shift.cast(dtype), rank)?);
    one(x.mul(factor)?.add(shift)?)
}

/// The mean over some axes, which stay with size 1.
fn over_each(x: Tensor, axes: &[usize]) -> Result<Tensor> {
    axes.iter().try_fold(x, |x, &axis| x.reduce(Reduction::Mean, axis))
}

/// `x / sqrt(variance + epsilon)`
fn normalized(x: Tensor, variance: Tensor, epsilon: f64) -> Result<Tensor> {
    x.div(variance.with_number(Binary::Add, epsilon).map(Dispatch::float_sqrt)?)
}

/// With mean 0 and variance 1 over `axes`; also the mean and the inverse of the standard deviation.
fn standardized(x: Tensor, axes: &[usize], epsilon: f64) -> Result<(Tensor, Tensor, Tensor)> {
    let mean = over(x.clone(), Reduction::Mean, axes)?;
    let centred = x.sub(mean.clone())?;
    let variance = over(centred.clone().mul(centred.clone())?, Reduction::Mean, axes)?;
    let deviation = variance.with_number(Binary::Add, epsilon).map(Dispatch::float_sqrt)?;
    let inverse = deviation.clone().map(Dispatch::float_recip)?;
    Ok((centred.div(deviation)?, mean, inverse))
}

fn instance_norm(call: &mut Call<'_>) -> Result<Outputs> {
    let epsilon = call.node.float("epsilon", 1e-5);
    let (x, scale, bias) = (call.tensor(0)?, call.tensor(1)?, call.tensor(2)?);
    let rank = x.rank();
    let axes: Vec<usize> = (2..rank).collect();
    let (y, ..) = standardized(x, &axes, epsilon)?;
    one(y.mul(per_channel(scale, rank)?)?.add(per_channel(bias, rank)?)?)
}

fn layer_norm(call: &mut Call<'_>) -> Result<Outputs> {
    let epsilon = call.node.float("epsilon", 1e-5);
    let (x, scale, bias) = (call.tensor(0)?, call.tensor(1)?, call.optional(2)?);
    let rank = x.rank();
    let axis = resolve_axis(call.node.int("axis", -1), rank)?;
    let dtype = x.dtype();
    // What "stash_type" asks for: at least singles while it is computed.
    let wide = if matches!(dtype, DType::F16 | DType::BF16) { DType::F32 } else { dtype };
    let last = axis + 1 == rank && call.node.outputs == 1 && scale.rank() == 1 && scale.elements() == x.dim(axis);
    let same = scale.dtype() == dtype && bias.as_ref().is_none_or(|bias| bias.dtype() == dtype);
    if last && same && wide == dtype && bias.as_ref().is_none_or(|bias| bias.dims() == scale.dims()) {
        let (scale, bias) = (scale.raw(), bias.map(Tensor::raw));
        return one(x.map(|x| Dispatch::layer_norm(x, scale, bias, epsilon))?);
    }
    let axes: Vec<usize> = (axis..rank).collect();
    let (y, mean, inverse) = standardized(x.cast(wide), &axes, epsilon)?;
    let y = y.cast(dtype).mul(scale)?;
    let y = match bias {
        Some(bias) => y.add(bias)?,
        None => y,
    };
    Ok(smallvec::smallvec![y.into(), mean.into(), inverse.into()])
}

fn group_norm(call: &mut Call<'_>) -> Result<Outputs> {
    let epsilon = call.node.float("epsilon", 1e-5);
    let groups = usize::try_from(call.node.int("num_groups", 1)).unwrap_or(0);
    let (x, scale, bias) = (call.tensor(0)?, call.tensor(1)?, call.tensor(2)?);
    let dims = x.dims();
    if dims.len() < 2 || groups == 0 || !dims[1].is_multiple_of(groups) {
        return Err(OpError::caller(format!("shape {dims:?} does not consist of {groups} groups of channels")));
    }
    let each = dims[1..].iter().product::<usize>() / groups;
    let (y, ..) = standardized(x.reshape(&[dims[0], groups, each])?, &[2], epsilon)?;
    // Before opset 21, there is one scale and bias per group.
    let spread = |vector: Tensor| -> Result<Tensor> {
        if vector.elements() == dims[1] {
            return per_channel(vector, dims.len());
        }
        let wide = vector.reshape(&[groups, 1])?.expand(&[groups, dims[1] / groups])?.reshape(&[dims[1]])?;
        per_channel(wide, dims.len())
    };
    one(y.reshape(&dims)?.mul(spread(scale)?)?.add(spread(bias)?)?)
}

/// `x / sqrt(mean(x²) + epsilon) * scale`
fn rms_norm(call: &mut Call<'_>) -> Result<Outputs> {
    let epsilon = call.node.float("epsilon", 1e-5);
    let (x, scale) = (call.tensor(0)?, call.tensor(1)?);
    let rank = x.rank();
    let axes: Vec<usize> = (resolve_axis(call.node.int("axis", -1), rank)?..rank).collect();
    let dtype = x.dtype();
    let wide = if matches!(dtype, DType::F16 | DType::BF16) { x.cast(DType::F32) } else { x };
    let square = over(wide.clone().mul(wide.clone())?, Reduction::Mean, &axes)?;
    one(normalized(wide, square, epsilon)?.cast(dtype).mul(scale)?)
}

fn mean_variance_norm(call: &mut Call<'_>) -> Result<Outputs> {
    let x = call.tensor(0)?;
    let rank = x.rank();
    let named = call.node.ints("axes").map_or_else(|| vec![0, 2, 3], <[i64]>::to_vec);
    let axes: Vec<usize> = named.iter().map(|&axis| resolve_axis(axis, rank)).collect::<Result<_>>()?;
    let mean = over_each(x.clone(), &axes)?;
    let centred = x.sub(mean)?;
    let variance = over_each(centred.clone().mul(centred.clone())?, &axes)?;
    one(normalized(centred, variance, 1e-9)?)
}

fn lp_norm(call: &mut Call<'_>) -> Result<Outputs> {
    let x = call.tensor(0)?;
    let axis = call.axis(-1, x.rank())?;
    let norm = match call.node.int("p", 2) {
        1 => x.clone().abs()?.reduce(Reduction::Sum, axis)?,
        2 => x.clone().mul(x.clone())?.reduce(Reduction::Sum, axis)?.map(Dispatch::float_sqrt)?,
        p => return Err(OpError::new(format!("there is no norm of order {p}"))),
    };
    // Nothing of length 0 is 0.
    let zero = norm.clone().compare_with(crate::onnx::tensor::Compare::Equal, 0.0)?;
    let divisor = norm
        .clone()
        .mask_where(zero, Tensor::full(&norm.dims(), burn::tensor::Scalar::Float(1.0), norm.dtype(), call.device)?)?;
    one(x.div(divisor)?)
}

/// `x / (bias + alpha / size * Σ x²)^beta`, the sum over the neighbouring channels.
fn local_response_norm(call: &mut Call<'_>) -> Result<Outputs> {
    let (alpha, beta) = (call.node.float("alpha", 1e-4), call.node.float("beta", 0.75));
    let (bias, size) = (call.node.float("bias", 1.0), call.node.int("size", 1).max(1) as usize);
    let x = call.tensor(0)?;
    let (rank, channels) = (x.rank(), x.dim(1));
    if rank < 2 {
        return Err(OpError::caller("the input has no channels"));
    }
    let mut pads = vec![(0, 0); rank];
    pads[1] = ((size - 1) / 2, size / 2);
    let squares = x.clone().mul(x.clone())?.pad(&pads, 0.0)?;
    let mut sum = squares.clone().slice(1, 0, channels, 1)?;
    for offset in 1..size {
        sum = sum.add(squares.clone().slice(1, offset, offset + channels, 1)?)?;
    }
    let base = sum.with_number(Binary::Mul, alpha / size as f64).with_number(Binary::Add, bias);
    one(x.div(base.power(beta)?)?)
}

/// Nothing is dropped where a model is served; the mask says so.
fn dropout(call: &mut Call<'_>) -> Result<Outputs> {
    let training = call.number(2)?.is_some_and(|training| training != 0.0);
    let ratio = call.number(1)?.unwrap_or(0.5);
    if training && ratio != 0.0 {
        return Err(OpError::new("dropout in training mode is not supported"));
    }
    let x = call.tensor(0)?;
    let mask = Tensor::full(&x.dims(), burn::tensor::Scalar::Float(1.0), DType::Bool, call.device)?;
    Ok(smallvec::smallvec![x.into(), mask.into()])
}
