//! Activation functions.

use burn::backend::Dispatch;
use burn::backend::ops::{ActivationOps, FloatTensorOps};
use burn::tensor::Scalar;

use super::Family;
use crate::onnx::node::{Call, Outputs, one};
use crate::onnx::tensor::{Binary, Compare, Kind, Result, Tensor, host, resolve_axis};
use crate::value::DType;

pub(super) const OPS: Family = &[
    ("Relu", relu),
    ("Sigmoid", |call| one(call.tensor(0)?.each(host::sigmoid, |x| x.map(Dispatch::sigmoid))?)),
    ("Tanh", |call| one(call.tensor(0)?.map(Dispatch::float_tanh)?)),
    ("Erf", |call| one(call.tensor(0)?.each(host::erf, |x| x.map(Dispatch::float_erf))?)),
    ("LeakyRelu", |call| {
        let slope = call.node.float("alpha", 0.01);
        let own = slope as f32;
        let other = |x: Tensor| x.map(|raw| Dispatch::leaky_relu(raw, Scalar::Float(slope)));
        one(call.tensor(0)?.each(move |x| if x < 0.0 { x * own } else { x }, other)?)
    }),
    ("PRelu", prelu),
    ("Elu", |call| {
        let alpha = call.node.float("alpha", 1.0);
        one(elu(call.tensor(0)?, alpha, 1.0)?)
    }),
    ("Selu", |call| {
        // The defaults are the specification's, as singles.
        let alpha = call.node.float("alpha", 1.673_263_192_176_818_8);
        let gamma = call.node.float("gamma", 1.050_700_902_938_842_8);
        one(elu(call.tensor(0)?, alpha, 1.0)?.with_number(Binary::Mul, gamma))
    }),
    ("Celu", |call| {
        let alpha = call.node.float("alpha", 1.0);
        one(elu(call.tensor(0)?, alpha, alpha)?)
    }),
    ("HardSigmoid", |call| {
        let (alpha, beta) = (call.node.float("alpha", 0.2), call.node.float("beta", 0.5));
        one(hard_sigmoid(call.tensor(0)?, alpha, beta))
    }),
    ("HardSwish", |call| {
        let other = |x: Tensor| hard_sigmoid(x.clone(), 1.0 / 6.0, 0.5).mul(x);
        one(call.tensor(0)?.each(|x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0), other)?)
    }),
    ("Swish", |call| {
        let alpha = call.node.float("alpha", 1.0);
        let x = call.tensor(0)?;
        one(x.clone().with_number(Binary::Mul, alpha).map(Dispatch::sigmoid)?.mul(x)?)
    }),
    ("Softplus", |call| one(softplus(call.tensor(0)?)?)),
    ("Softsign", |call| {
        let x = call.tensor(0)?;
        one(x.clone().div(x.abs()?.with_number(Binary::Add, 1.0))?)
    }),
    ("Mish", |call| {
        let x = call.tensor(0)?;
        one(softplus(x.clone())?.map(Dispatch::float_tanh)?.mul(x)?)
    }),
    ("Gelu", gelu),
    ("ThresholdedRelu", |call| {
        let alpha = call.node.float("alpha", 1.0);
        let x = call.tensor(0)?;
        let keep = x.clone().compare_with(Compare::Greater, alpha)?;
        let zero = call.full(&[], 0.0, x.dtype())?;
        one(zero.mask_where(keep, x)?)
    }),
    ("Shrink", shrink),
    ("Softmax", |call| along(call, Tensor::softmax)),
    ("LogSoftmax", |call| along(call, Tensor::log_softmax)),
    ("Hardmax", |call| along(call, hardmax)),
];

fn relu(call: &mut Call<'_>) -> Result<Outputs> {
    let x = call.tensor(0)?;
    if x.kind() != Kind::Float {
        return one(x.with_number(Binary::Max, 0.0));
    }
    // What is not a number stays so.
    one(x.each(|x| if x < 0.0 { 0.0 } else { x }, |x| x.map(Dispatch::relu))?)
}

fn prelu(call: &mut Call<'_>) -> Result<Outputs> {
    let (x, slope) = (call.tensor(0)?, call.tensor(1)?);
    let negative = x.clone().compare_with(Compare::Less, 0.0)?;
    let scaled = x.clone().mul(slope)?;
    one(x.mask_where(negative, scaled)?)
}

/// `x` where it is positive, else `alpha (exp(x / beta) - 1)`.
fn elu(x: Tensor, alpha: f64, beta: f64) -> Result<Tensor> {
    let x = x.float_only("the input")?;
    let below = x.clone().with_number(Binary::Min, 0.0).with_number(Binary::Div, beta).map(Dispatch::float_exp)?;
    let below = below.with_number(Binary::Sub, 1.0).with_number(Binary::Mul, alpha);
    let negative = x.clone().compare_with(Compare::Less, 0.0)?;
    x.mask_where(negative, below)
}

fn hard_sigmoid(x: Tensor, alpha: f64, beta: f64) -> Tensor {
    let line = x.with_number(Binary::Mul, alpha).with_number(Binary::Add, beta);
    line.with_number(Binary::Max, 0.0).with_number(Binary::Min, 1.0)
}

/// `ln(1 + exp(x))`, as `max(x, 0) + ln(1 + exp(-|x|))`, which does not overflow.
fn softplus(x: Tensor) -> Result<Tensor> {
    let rest = x.clone().abs()?.neg()?.map(Dispatch::float_exp)?.map(Dispatch::float_log1p)?;
    x.with_number(Binary::Max, 0.0).add(rest)
}

/// `x Φ(x)`: exactly, or by tanh.
fn gelu(call: &mut Call<'_>) -> Result<Outputs> {
    let x = call.tensor(0)?;
    if call.node.text("approximate", "none") != "tanh" {
        let own = |x: f32| 0.5 * x * (1.0 + host::erf(x * std::f32::consts::FRAC_1_SQRT_2));
        return one(x.each(own, |x| x.map(Dispatch::gelu))?);
    }
    let cube = x.clone().mul(x.clone())?.mul(x.clone())?.with_number(Binary::Mul, 0.044_715);
    let inner = cube.add(x.clone())?.with_number(Binary::Mul, (2.0 / std::f64::consts::PI).sqrt());
    let phi = inner.map(Dispatch::float_tanh)?.with_number(Binary::Add, 1.0).with_number(Binary::Mul, 0.5);
    one(phi.mul(x)?)
}

fn shrink(call: &mut Call<'_>) -> Result<Outputs> {
    let (lambda, bias) = (call.node.float("lambd", 0.5), call.node.float("bias", 0.0));
    let x = call.tensor(0)?;
    let dtype = x.dtype();
    let x = if x.kind() == Kind::Float { x } else { x.cast(DType::F64) };
    let zero = call.full(&[], 0.0, x.dtype())?;
    let low = x.clone().compare_with(Compare::Less, -lambda)?;
    let high = x.clone().compare_with(Compare::Greater, lambda)?;
    let shrunk = zero.mask_where(low, x.clone().with_number(Binary::Add, bias))?;
    one(shrunk.mask_where(high, x.with_number(Binary::Sub, bias))?.cast(dtype))
}

/// Along one axis; before opset 13, along that and all that follow it, laid out as one.
fn along(call: &mut Call<'_>, function: fn(Tensor, usize) -> Result<Tensor>) -> Result<Outputs> {
    let x = call.tensor(0)?;
    if x.rank() == 0 {
        return one(function(x.reshape(&[1])?, 0)?.reshape(&[])?);
    }
    if call.node.opset >= 13 {
        let axis = call.axis(-1, x.rank())?;
        return one(function(x, axis)?);
    }
    let dims = x.dims();
    let axis = call.node.int("axis", 1);
    let axis = if axis == dims.len() as i64 { dims.len() } else { resolve_axis(axis, dims.len())? };
    let flat = [dims[..axis].iter().product(), dims[axis..].iter().product()];
    one(function(x.reshape(&flat)?, 1)?.reshape(&dims)?)
}

/// 1 for the first of the largest elements, else 0.
fn hardmax(x: Tensor, axis: usize) -> Result<Tensor> {
    let (size, rank, dtype) = (x.dim(axis), x.rank(), x.dtype());
    let mut dims = vec![1; rank];
    dims[axis] = size;
    let place = Tensor::arange(size, &x.device())?.reshape(&dims)?;
    Ok(x.arg_extreme(axis, true)?.compare(Compare::Equal, place)?.cast(dtype))
}
