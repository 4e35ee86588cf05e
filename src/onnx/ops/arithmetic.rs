//! Arithmetic and functions, element by element.

use burn::backend::Dispatch;
use burn::backend::ops::{FloatTensorOps, IntTensorOps};

use burn::tensor::Scalar;

use super::Family;
use crate::onnx::error::OpError;
use crate::onnx::node::{Call, Outputs, one};
use crate::onnx::tensor::{Binary, Compare, Kind, Result, Tensor};
use crate::value::DType;

pub(super) const OPS: Family = &[
    ("Add", |call| pair(call, Binary::Add)),
    ("Sub", |call| pair(call, Binary::Sub)),
    ("Mul", |call| pair(call, Binary::Mul)),
    ("Div", |call| pair(call, Binary::Div)),
    ("Mod", modulo),
    ("Pow", pow),
    ("Min", |call| all(call, Binary::Min)),
    ("Max", |call| all(call, Binary::Max)),
    ("Sum", |call| all(call, Binary::Add)),
    ("Mean", |call| {
        let count = call.inputs.len() as f64;
        one(folded(call, Binary::Add)?.with_number(Binary::Div, count))
    }),
    ("Neg", |call| one(call.tensor(0)?.neg()?)),
    ("Abs", |call| one(abs(call.tensor(0)?)?)),
    ("Sign", |call| one(call.tensor(0)?.sign()?)),
    ("Exp", |call| one(call.tensor(0)?.map(Dispatch::float_exp)?)),
    ("Log", |call| one(call.tensor(0)?.map(Dispatch::float_log)?)),
    ("Sqrt", |call| one(call.tensor(0)?.map(Dispatch::float_sqrt)?)),
    ("Reciprocal", |call| one(call.tensor(0)?.map(Dispatch::float_recip)?)),
    ("Floor", |call| one(call.tensor(0)?.map(Dispatch::float_floor)?)),
    ("Ceil", |call| one(call.tensor(0)?.map(Dispatch::float_ceil)?)),
    // Halves are rounded to the even neighbour.
    ("Round", |call| one(call.tensor(0)?.map(Dispatch::float_round)?)),
    ("Sin", |call| one(call.tensor(0)?.map(Dispatch::float_sin)?)),
    ("Cos", |call| one(call.tensor(0)?.map(Dispatch::float_cos)?)),
    ("Tan", |call| one(call.tensor(0)?.map(Dispatch::float_tan)?)),
    ("Sinh", |call| one(call.tensor(0)?.map(Dispatch::float_sinh)?)),
    ("Cosh", |call| one(call.tensor(0)?.map(Dispatch::float_cosh)?)),
    ("Asin", |call| one(call.tensor(0)?.map(Dispatch::float_asin)?)),
    ("Acos", |call| one(call.tensor(0)?.map(Dispatch::float_acos)?)),
    ("Atan", |call| one(call.tensor(0)?.map(Dispatch::float_atan)?)),
    ("Asinh", |call| one(call.tensor(0)?.map(Dispatch::float_asinh)?)),
    ("Acosh", |call| one(call.tensor(0)?.map(Dispatch::float_acosh)?)),
    ("Atanh", |call| one(call.tensor(0)?.map(Dispatch::float_atanh)?)),
    ("Clip", clip),
    ("BitShift", shift),
    ("BitwiseAnd", |call| {
        let (a, b) = (call.tensor(0)?, call.tensor(1)?);
        one(a.map_int_pairs(b, Dispatch::bitwise_and)?)
    }),
    ("BitwiseOr", |call| {
        let (a, b) = (call.tensor(0)?, call.tensor(1)?);
        one(a.map_int_pairs(b, Dispatch::bitwise_or)?)
    }),
    ("BitwiseXor", |call| {
        let (a, b) = (call.tensor(0)?, call.tensor(1)?);
        one(a.map_int_pairs(b, Dispatch::bitwise_xor)?)
    }),
    ("BitwiseNot", |call| one(call.tensor(0)?.map_ints(Dispatch::bitwise_not)?)),
];

/// Nothing is left of a number that is shifted by all of its bits, or by more: processors take the remainder instead.
fn shift(call: &mut Call<'_>) -> Result<Outputs> {
    let left = call.node.text("direction", "LEFT") == "LEFT";
    let (a, by) = (call.tensor(0)?, call.tensor(1)?);
    let zero = Tensor::scalar(Scalar::Int(0), a.dtype(), call.device)?;
    let some = by.clone().compare_with(Compare::Less, 8.0 * a.dtype().size() as f64)?;
    let by = zero.clone().mask_where(some.clone(), by)?;
    let shifted =
        a.map_int_pairs(by, if left { Dispatch::bitwise_left_shift } else { Dispatch::bitwise_right_shift })?;
    one(zero.mask_where(some, shifted)?)
}

fn pair(call: &mut Call<'_>, op: Binary) -> Result<Outputs> {
    let (a, b) = (call.tensor(0)?, call.tensor(1)?);
    one(a.binary(op, b)?)
}

/// All inputs, one after the other.
fn folded(call: &mut Call<'_>, op: Binary) -> Result<Tensor> {
    let mut tensors = call.tensors()?.into_iter();
    let first = tensors.next().ok_or_else(|| OpError::new("there are no inputs"))?;
    tensors.try_fold(first, |folded, next| folded.binary(op, next))
}

fn all(call: &mut Call<'_>, op: Binary) -> Result<Outputs> {
    one(folded(call, op)?)
}

fn abs(x: Tensor) -> Result<Tensor> {
    let unsigned = matches!(x.dtype(), DType::U8 | DType::U16 | DType::U32 | DType::U64);
    if unsigned { Ok(x) } else { x.abs() }
}

/// The sign is the divisor's, or with `fmod` the dividend's.
fn modulo(call: &mut Call<'_>) -> Result<Outputs> {
    let (a, b) = (call.tensor(0)?, call.tensor(1)?);
    if a.kind() == Kind::Int && b.ints()?.contains(&0) {
        return Err(OpError::caller("an integer is divided by 0"));
    }
    if !call.node.flag("fmod", false) {
        return one(a.binary(Binary::Mod, b)?);
    }
    let quotient = a.clone().div(b.clone())?;
    let whole = if a.kind() == Kind::Float { quotient.map(Dispatch::float_trunc)? } else { quotient };
    one(a.sub(whole.mul(b)?)?)
}

/// The result is of the base's dtype.
fn pow(call: &mut Call<'_>) -> Result<Outputs> {
    let (base, exponent) = (call.tensor(0)?, call.tensor(1)?);
    let dtype = base.dtype();
    if exponent.elements() == 1 && exponent.rank() <= base.rank() && base.kind() == Kind::Float {
        // The powers that models are full of.
        match exponent.float()? {
            2.0 => return one(base.clone().mul(base)?),
            3.0 => return one(base.clone().mul(base.clone())?.mul(base)?),
            0.5 => return one(base.map(Dispatch::float_sqrt)?),
            _ => {}
        }
    }
    let wide = if base.kind() == Kind::Float { dtype } else { DType::F64 };
    let (base, exponent) = (base.cast(wide), exponent.cast(wide));
    let dims = crate::onnx::tensor::broadcast_dims(&base.dims(), &exponent.dims())?;
    let scalar = dims.is_empty();
    let exponent = exponent.expand(&dims)?.raw();
    let power = base.expand(&dims)?.map(|base| Dispatch::float_powf(base, exponent))?.cast(dtype);
    one(if scalar { power.reshape(&[])? } else { power })
}

/// Bounds are inputs since opset 11, and attributes before.
fn clip(call: &mut Call<'_>) -> Result<Outputs> {
    let x = call.tensor(0)?;
    let (low, high) = (call.optional(1)?, call.optional(2)?);
    let whole = |bound: &Option<Tensor>| bound.as_ref().filter(|_| x.kind() == Kind::Int).is_some();
    if whole(&low) || whole(&high) {
        let x = match low {
            Some(low) => x.binary(Binary::Max, low)?,
            None => x,
        };
        return one(match high {
            Some(high) => x.binary(Binary::Min, high)?,
            None => x,
        });
    }
    let number = |bound: Option<Tensor>, name: &str| match bound {
        Some(bound) => bound.float().map(Some),
        None => Ok(call.node.try_float(name)),
    };
    let (low, high) = (number(low, "min")?, number(high, "max")?);
    if let (Some(low), Some(high), Kind::Float) = (low, high, x.kind()) {
        // One pass over the elements; a range that is empty is its upper end.
        let low = low.min(high);
        let (from, to) = (low as f32, high as f32);
        let other = |x: Tensor| x.map(|raw| Dispatch::float_clamp(raw, Scalar::Float(low), Scalar::Float(high)));
        // Neither is what is not a number.
        return one(x.each(
            move |x| {
                if x < from {
                    from
                } else if x > to {
                    to
                } else {
                    x
                }
            },
            other,
        )?);
    }
    let x = low.map_or(x.clone(), |low| x.with_number(Binary::Max, low));
    one(high.map_or(x.clone(), |high| x.with_number(Binary::Min, high)))
}
