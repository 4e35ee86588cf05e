//! Constants, ranges, casts: where values come from.

use super::Family;
use crate::onnx::data::{Constant, STRING};
use crate::onnx::error::OpError;
use crate::onnx::graph::{host, upload};
use crate::onnx::node::{Call, Outputs, one, sizes};
use crate::onnx::tensor::{Binary, Compare, Kind, Result, Tensor, count};
use crate::onnx::value::{Strings, Value};
use crate::value::{Array, DType};

pub(super) const OPS: Family = &[
    ("Constant", constant),
    ("ConstantOfShape", constant_of_shape),
    ("Range", range),
    ("EyeLike", eye_like),
    ("Identity", |call| one(call.value(0)?)),
    ("Shape", shape),
    ("Size", |call| {
        let size = match call.value(0)? {
            Value::Tensor(tensor) => tensor.elements(),
            Value::Strings(strings) => strings.items.len(),
            other => return Err(OpError::new(format!("a tensor was expected, found {}", other.name()))),
        };
        one(Tensor::new(vec![size as i64], &[], &host())?)
    }),
    ("Cast", |call| {
        let to = call.node.try_int("to").and_then(|to| i32::try_from(to).ok()).unwrap_or(0);
        if to == STRING {
            return to_strings(call);
        }
        let to = call.node.dtype("to")?.ok_or_else(|| OpError::new("there is no attribute \"to\""))?;
        cast(call, to)
    }),
    ("BitCast", bit_cast),
    ("CastLike", |call| match call.value(1)? {
        Value::Tensor(like) => cast(call, like.dtype()),
        Value::Strings(_) => to_strings(call),
        other => Err(OpError::new(format!("a tensor was expected, found {}", other.name()))),
    }),
];

fn constant(call: &mut Call<'_>) -> Result<Outputs> {
    let node = call.node;
    if let Some(constant) = node.constant("value") {
        return one(upload(constant, call.device));
    }
    if let Some(text) = node.try_text("value_string") {
        return one(Strings::new(vec![text.to_owned()], Vec::new()));
    }
    if let Some(texts) = node.texts("value_strings") {
        return one(Strings::new(texts.to_vec(), vec![texts.len()]));
    }
    let array = if let Some(value) = node.try_float("value_float") {
        Array::new(vec![value as f32], [])
    } else if let Some(values) = node.floats("value_floats") {
        Array::new(values.to_vec(), [values.len()])
    } else if let Some(value) = node.try_int("value_int") {
        Array::new(vec![value], [])
    } else if let Some(values) = node.ints("value_ints") {
        Array::new(values.to_vec(), [values.len()])
    } else {
        return Err(OpError::new("it has no value that is supported"));
    };
    let array = array.map_err(|error| OpError::new(error.to_string()))?;
    one(upload(&Constant::Array(array), call.device))
}

fn constant_of_shape(call: &mut Call<'_>) -> Result<Outputs> {
    let dims = sizes(&call.need_ints(0)?)?;
    count(&dims)?;
    let value = match call.node.constant("value") {
        Some(Constant::Array(array)) => Tensor::from_array(array, call.device),
        Some(Constant::Strings(_)) => return Err(OpError::new("strings cannot fill a tensor")),
        None => call.full(&[1], 0.0, DType::F32)?,
    };
    one(value.reshape(&[])?.expand(&dims)?)
}

/// From the first number to below the second, by the third.
fn range(call: &mut Call<'_>) -> Result<Outputs> {
    let start = call.tensor(0)?;
    let dtype = start.dtype();
    let too_long = || OpError::caller("the range is too long, or its step is 0");
    if start.kind() == Kind::Int {
        let number = |values: Vec<i64>| values.first().copied().ok_or_else(|| OpError::new("a number was expected"));
        let (start, end, step) = (number(start.ints()?)?, number(call.need_ints(1)?)?, number(call.need_ints(2)?)?);
        let span = i128::from(end) - i128::from(start);
        let count = if step == 0 {
            return Err(too_long());
        } else {
            (span + i128::from(step) - i128::from(step.signum())) / i128::from(step)
        };
        let count = usize::try_from(count.max(0)).map_err(|_| too_long())?;
        let counted = Tensor::arange(count, call.device)?;
        let steps = counted.with_number(Binary::Mul, step as f64).with_number(Binary::Add, start as f64);
        return one(steps.cast(dtype));
    }
    let need = |number: Option<f64>| number.ok_or_else(|| OpError::new("a number is missing"));
    let (start, end, step) = (start.float()?, need(call.number(1)?)?, need(call.number(2)?)?);
    let steps = ((end - start) / step).ceil().max(0.0);
    if !steps.is_finite() {
        return Err(too_long());
    }
    let values: Vec<f64> = (0..count(&[steps as usize])?).map(|at| start + at as f64 * step).collect();
    one(Tensor::from_f64s(&values, &[values.len()], dtype, call.device)?)
}

fn eye_like(call: &mut Call<'_>) -> Result<Outputs> {
    let like = call.tensor(0)?.of_rank(2, "the input")?;
    let dtype = call.node.dtype("dtype")?.unwrap_or(like.dtype());
    let diagonal = call.node.int("k", 0);
    let (rows, columns) = (like.dim(0), like.dim(1));
    let row = Tensor::arange(rows, call.device)?.reshape(&[rows, 1])?.with_number(Binary::Add, diagonal as f64);
    let column = Tensor::arange(columns, call.device)?.reshape(&[1, columns])?;
    one(row.compare(Compare::Equal, column)?.cast(dtype))
}

/// The sizes of the dimensions from `start` to below `end`.
fn shape(call: &mut Call<'_>) -> Result<Outputs> {
    let dims = match call.value(0)? {
        Value::Tensor(tensor) => tensor.dims().to_vec(),
        Value::Strings(strings) => strings.dims,
        other => return Err(OpError::new(format!("a tensor was expected, found {}", other.name()))),
    };
    let rank = dims.len() as i64;
    let clamp = |at: i64| (if at < 0 { at + rank } else { at }).clamp(0, rank) as usize;
    let (start, end) = (clamp(call.node.int("start", 0)), clamp(call.node.int("end", rank)));
    let part: Vec<i64> = dims.get(start..end).unwrap_or(&[]).iter().map(|&dim| dim as i64).collect();
    one(Tensor::new(part.clone(), &[part.len()], &host())?)
}

/// Narrow integers wrap, as NumPy's do.
fn cast(call: &mut Call<'_>, to: DType) -> Result<Outputs> {
    if matches!(call.inputs.first(), Some(Some(Value::Strings(_)))) {
        let strings = call.strings(0)?;
        let numbers: Result<Vec<f64>> = strings.items.iter().map(|text| number(text)).collect();
        return one(Tensor::from_f64s(&numbers?, &strings.dims, to, call.device)?);
    }
    let x = call.tensor(0)?;
    let narrow = x.kind() == Kind::Float && crate::onnx::tensor::kind_of(to) == Kind::Int && to != DType::I64;
    // Burn's own casts of floats to narrow integers saturate.
    one(if narrow && to != DType::U64 { x.cast(DType::I64).cast(to) } else { x.cast(to) })
}

/// The same bits, taken for numbers of another dtype that are as wide.
fn bit_cast(call: &mut Call<'_>) -> Result<Outputs> {
    let to = call.node.dtype("to")?.ok_or_else(|| OpError::new("there is no attribute \"to\""))?;
    let array = call.tensor(0)?.to_array()?;
    let (from, shape, bytes) = array.into_parts();
    if from.size() != to.size() {
        return Err(OpError::new(format!("the bits of {from} are not as many as those of {to}")));
    }
    let array = Array::from_bytes(to, shape, bytes).map_err(|error| OpError::new(error.to_string()))?;
    one(Tensor::from_array(&array, call.device))
}

fn number(text: &str) -> Result<f64> {
    let trimmed = text.trim();
    let number = match trimmed.to_ascii_lowercase().as_str() {
        "inf" | "+inf" | "infinity" => Ok(f64::INFINITY),
        "-inf" | "-infinity" => Ok(f64::NEG_INFINITY),
        _ => trimmed.parse(),
    };
    number.map_err(|_| OpError::caller(format!("\"{text}\" is no number")))
}

/// As the shortest text that reads back as the same number.
fn to_strings(call: &mut Call<'_>) -> Result<Outputs> {
    let tensor = match call.value(0)? {
        Value::Tensor(tensor) => tensor,
        strings @ Value::Strings(_) => return one(strings),
        other => return Err(OpError::new(format!("a tensor was expected, found {}", other.name()))),
    };
    let dims = tensor.dims().to_vec();
    Strings::count(&dims, std::iter::empty())?;
    let items = match (tensor.kind(), tensor.dtype()) {
        (Kind::Bool, _) => {
            tensor.ints()?.iter().map(|&bit| if bit != 0 { "True" } else { "False" }.to_owned()).collect()
        }
        (Kind::Int, _) => tensor.ints()?.iter().map(i64::to_string).collect(),
        (Kind::Float, DType::F64) => tensor.floats()?.iter().map(f64::to_string).collect(),
        (Kind::Float, _) => tensor.floats()?.iter().map(|&number| (number as f32).to_string()).collect(),
    };
    one(Strings::new(items, dims))
}
