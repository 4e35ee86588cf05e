//! Between floats and the integers that stand for them: `x ≈ scale * (q - zero_point)`.

use burn::backend::Dispatch;
use burn::backend::ops::FloatTensorOps;

use super::Family;
use super::conv::{convolve, groups};
use super::matmul::product;
use crate::onnx::error::OpError;
use crate::onnx::node::{Call, Outputs, one};
use crate::onnx::tensor::{Binary, Dims, Kind, Reduction, Result, Tensor, resolve_axis};
use crate::value::DType;

pub(super) const OPS: Family = &[
    ("QuantizeLinear", quantize_linear),
    ("DequantizeLinear", dequantize_linear),
    ("DynamicQuantizeLinear", dynamic_quantize_linear),
    ("QLinearMatMul", q_linear_matmul),
    ("MatMulInteger", matmul_integer),
    ("ConvInteger", conv_integer),
    ("QLinearConv", q_linear_conv),
];

/// The least and the largest integer of a dtype.
fn bounds(dtype: DType) -> Result<(f64, f64)> {
    Ok(match dtype {
        DType::U8 => (0.0, 255.0),
        DType::I8 => (-128.0, 127.0),
        DType::U16 => (0.0, 65_535.0),
        DType::I16 => (-32_768.0, 32_767.0),
        other => return Err(OpError::new(format!("quantization to {other} is not supported"))),
    })
}

/// A scale or zero point laid out to broadcast over `dims`: one for all, one per index of `axis`, or one per block of
/// `block` elements along it.
fn spread(parameter: Tensor, dims: &[usize], axis: i64, block: usize) -> Result<Tensor> {
    if parameter.elements() == 1 {
        return parameter.reshape(&[]);
    }
    let axis = resolve_axis(axis, dims.len())?;
    if parameter.rank() == 1 {
        let mut wide: Dims = smallvec::smallvec![1; dims.len()];
        wide[axis] = parameter.elements();
        return parameter.reshape(&wide);
    }
    if block == 0 || parameter.rank() != dims.len() {
        return Err(OpError::caller(format!("a scale of shape {:?} does not fit shape {dims:?}", parameter.dims())));
    }
    let blocks = parameter.dims();
    let mut apart = blocks.clone();
    apart.insert(axis + 1, 1);
    let mut repeated = apart.clone();
    repeated[axis + 1] = block;
    let mut whole = blocks.clone();
    whole[axis] = whole[axis].saturating_mul(block);
    parameter.reshape(&apart)?.expand(&repeated)?.reshape(&whole)?.slice(axis, 0, dims[axis], 1)
}

/// `saturate(round(x / scale) + zero_point)`, halves rounded to the even neighbour.
fn quantized(x: Tensor, scale: Tensor, zero: Option<Tensor>, to: DType) -> Result<Tensor> {
    let (low, high) = bounds(to)?;
    let rounded = x.div(scale)?.map(Dispatch::float_round)?;
    let shifted = match zero {
        Some(zero) => {
            let dtype = rounded.dtype();
            rounded.add(zero.cast(dtype))?
        }
        None => rounded,
    };
    Ok(shifted.with_number(Binary::Max, low).with_number(Binary::Min, high).cast(DType::I64).cast(to))
}

/// `(q - zero_point) * scale`
fn dequantized(q: Tensor, scale: Tensor, zero: Option<Tensor>) -> Result<Tensor> {
    let dtype = scale.dtype();
    let wide = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let mut x = q.cast(wide);
    if let Some(zero) = zero {
        x = x.sub(zero.cast(wide))?;
    }
    Ok(x.mul(scale.cast(wide))?.cast(dtype))
}

fn block(call: &Call<'_>) -> usize {
    usize::try_from(call.node.int("block_size", 0)).unwrap_or(0)
}

fn quantize_linear(call: &mut Call<'_>) -> Result<Outputs> {
    let x = call.tensor(0)?;
    let (axis, block) = (call.node.int("axis", 1), block(call));
    let dims = x.dims();
    let scale = call.tensor(1)?;
    let zero = call.optional(2)?;
    let to = match (&zero, call.node.try_int("output_dtype").filter(|&dtype| dtype != 0)) {
        (Some(zero), _) => zero.dtype(),
        (None, Some(_)) => call.node.dtype("output_dtype")?.unwrap_or(DType::U8),
        (None, None) => DType::U8,
    };
    let wide = if scale.kind() == Kind::Float { scale.dtype() } else { DType::F32 };
    let scale = spread(scale.cast(wide), &dims, axis, block)?;
    let zero = zero.map(|zero| spread(zero, &dims, axis, block)).transpose()?;
    one(quantized(x.cast(wide), scale, zero, to)?)
}

fn dequantize_linear(call: &mut Call<'_>) -> Result<Outputs> {
    let q = call.tensor(0)?;
    let (axis, block) = (call.node.int("axis", 1), block(call));
    let dims = q.dims();
    let scale = spread(call.tensor(1)?, &dims, axis, block)?;
    let zero = call.optional(2)?.map(|zero| spread(zero, &dims, axis, block)).transpose()?;
    let dtype = call.node.dtype("output_dtype")?;
    let x = dequantized(q, scale, zero)?;
    one(match dtype {
        Some(dtype) => x.cast(dtype),
        None => x,
    })
}

/// To uint8, with the scale and the zero point that the range of the values asks for: 0 is always in it.
fn dynamic_quantize_linear(call: &mut Call<'_>) -> Result<Outputs> {
    let x = call.tensor(0)?;
    let elements = x.elements();
    let flat = x.clone().reshape(&[elements])?;
    let extreme = |by: Reduction| flat.clone().reduce(by, 0)?.float();
    let (low, high) = (extreme(Reduction::Min)?.min(0.0), extreme(Reduction::Max)?.max(0.0));
    let scale = ((high as f32) - (low as f32)) / 255.0;
    let zero = if scale == 0.0 { 0.0 } else { (0.0 - low as f32 / scale).clamp(0.0, 255.0).round_ties_even() };
    let scale = Tensor::new(vec![scale], &[], call.device)?;
    let zero = Tensor::new(vec![zero as u8], &[], call.device)?;
    let q = quantized(x, scale.clone(), Some(zero.clone()), DType::U8)?;
    Ok(smallvec::smallvec![q.into(), scale.into(), zero.into()])
}

/// `q - zero_point` as floats, which hold such integers and the sums of their products exactly up to 2^24 in singles: the
/// products are summed in doubles.
fn centred(q: Tensor, zero: Option<Tensor>, axis: usize) -> Result<Tensor> {
    let (rank, q) = (q.rank(), q.cast(DType::F64));
    let Some(zero) = zero else { return Ok(q) };
    let zero = zero.cast(DType::F64);
    if zero.elements() == 1 {
        return q.sub(zero.reshape(&[])?);
    }
    if zero.rank() > 1 {
        return q.sub(zero);
    }
    let mut dims: Dims = smallvec::smallvec![1; rank.max(1)];
    dims[axis.min(rank.saturating_sub(1))] = zero.elements();
    q.sub(zero.reshape(&dims)?)
}

fn matmul_integer(call: &mut Call<'_>) -> Result<Outputs> {
    let (a, b) = (call.tensor(0)?, call.tensor(1)?);
    let (row, column) = (a.rank().saturating_sub(2), b.rank().saturating_sub(1));
    let a = centred(a, call.optional(2)?, row)?;
    let b = centred(b, call.optional(3)?, column)?;
    one(product(a, b)?.cast(DType::I64).cast(DType::I32))
}

fn q_linear_matmul(call: &mut Call<'_>) -> Result<Outputs> {
    let (a, a_scale, a_zero) = (call.tensor(0)?, call.tensor(1)?, call.optional(2)?);
    let (b, b_scale, b_zero) = (call.tensor(3)?, call.tensor(4)?, call.optional(5)?);
    let (y_scale, y_zero) = (call.tensor(6)?, call.tensor(7)?);
    let (row, column) = (a.rank().saturating_sub(2), b.rank().saturating_sub(1));
    let to = y_zero.dtype();
    // A scale per row of A is a column of the product.
    let column_of = |scale: Tensor| {
        let scale = scale.cast(DType::F64);
        let count = scale.elements();
        if count > 1 && scale.rank() == 1 { scale.reshape(&[count, 1]) } else { Ok(scale) }
    };
    let sum = product(centred(a, a_zero, row)?, centred(b, b_zero, column)?)?;
    let real = sum.mul(column_of(a_scale)?)?.mul(b_scale.cast(DType::F64))?;
    one(quantized(real, y_scale.cast(DType::F64), Some(y_zero), to)?)
}

fn conv_integer(call: &mut Call<'_>) -> Result<Outputs> {
    let (x, w) = (call.tensor(0)?, call.tensor(1)?);
    let x = centred(x, call.optional(2)?, 1)?.cast(DType::F32);
    let w = centred(w, call.optional(3)?, 0)?.cast(DType::F32);
    let groups = groups(call.node)?;
    one(convolve(call.node, x, w, None, groups)?.map(Dispatch::float_round)?.cast(DType::I64).cast(DType::I32))
}

fn q_linear_conv(call: &mut Call<'_>) -> Result<Outputs> {
    let (x, x_scale, x_zero) = (call.tensor(0)?, call.tensor(1)?, call.optional(2)?);
    let (w, w_scale, w_zero) = (call.tensor(3)?, call.tensor(4)?, call.optional(5)?);
    let (y_scale, y_zero, bias) = (call.tensor(6)?, call.tensor(7)?, call.optional(8)?);
    let groups = groups(call.node)?;
    let rank = x.rank();
    let per_channel = |scale: Tensor| {
        let mut dims: Dims = smallvec::smallvec![1; rank];
        dims[1] = scale.elements();
        scale.reshape(&dims)
    };
    let (x, w) = (centred(x, x_zero, 1)?.cast(DType::F32), centred(w, w_zero, 0)?.cast(DType::F32));
    let bias = bias.map(|bias| bias.cast(DType::F32));
    let sum = convolve(call.node, x, w, bias, groups)?;
    let real = sum.mul(per_channel(w_scale.mul(x_scale)?)?)?;
    let to = y_zero.dtype();
    one(quantized(real, y_scale.reshape(&[])?, Some(y_zero.reshape(&[])?), to)?)
}
