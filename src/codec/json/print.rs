//! Values to JSON text.

use bytemuck::Pod;
use half::{bf16, f16};
use serde::Serialize;

use super::super::EncodeError;
use crate::value::{Array, DType, Shape, Signature, Value, ValueSpec};

/// Writes the outputs of a method behind `out`: a sole one bare, several as an object, in the signature's order.
///
/// Floats are written with the fewest digits that read back as the same number of their own type, integral ones with
/// `.0`. JSON has neither NaN nor infinities: they are written as `null`, as JavaScript does, since losing one number
/// is better than losing the whole answer.
///
/// # Errors
/// [`EncodeError::Count`] if the signature has another number of outputs, [`EncodeError::Bytes`] for raw bytes. `out`
/// may then end in half an answer.
pub fn encode(signature: &Signature, values: &[Value], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let specs = &signature.outputs;
    if specs.len() != values.len() {
        return Err(EncodeError::Count { expected: specs.len(), found: values.len() });
    }
    if let ([spec], [sole]) = (specs.as_slice(), values) {
        return value(spec, sole, out);
    }
    out.push(b'{');
    for (at, (spec, output)) in specs.iter().zip(values).enumerate() {
        if at > 0 {
            out.push(b',');
        }
        serde(spec.name(), out);
        out.push(b':');
        value(spec, output, out)?;
    }
    out.push(b'}');
    Ok(())
}

fn value(spec: &ValueSpec, value: &Value, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    match value {
        Value::Tensor(array) => tensor(array, out),
        Value::List(items) => serde(items, out),
        Value::Json(json) => serde(json, out),
        Value::Text(text) => serde(text, out),
        Value::Bytes(_) => return Err(EncodeError::Bytes(spec.name().to_owned())),
    }
    Ok(())
}

/// Writes something that serde cannot fail on: neither a vector nor such a value gives it a reason to.
#[inline]
fn serde<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    let written = serde_json::to_writer(out, value);
    debug_assert!(written.is_ok(), "{written:?}");
}

fn tensor(array: &Array, out: &mut Vec<u8>) {
    match array.dtype() {
        DType::Bool => nested::<bool>(array, out),
        DType::U8 => nested::<u8>(array, out),
        DType::U16 => nested::<u16>(array, out),
        DType::U32 => nested::<u32>(array, out),
        DType::U64 => nested::<u64>(array, out),
        DType::I8 => nested::<i8>(array, out),
        DType::I16 => nested::<i16>(array, out),
        DType::I32 => nested::<i32>(array, out),
        DType::I64 => nested::<i64>(array, out),
        DType::F16 => nested::<f16>(array, out),
        DType::BF16 => nested::<bf16>(array, out),
        DType::F32 => nested::<f32>(array, out),
        DType::F64 => nested::<f64>(array, out),
    }
}

/// Writes a tensor's elements in one array, whatever its shape is.
pub(crate) fn flat(array: &Array, out: &mut Vec<u8>) {
    let (dtype, shape, data) = array.clone().into_parts();
    let elements = shape.elements().unwrap_or(0);
    if let Ok(array) = Array::from_bytes(dtype, Shape::new(&[elements]), data) {
        tensor(&array, out);
    }
}

fn nested<T: Print>(array: &Array, out: &mut Vec<u8>) {
    out.reserve(array.data().len() / size_of::<T::Stored>() * T::USUAL_LENGTH + 2);
    arrays::<T>(array.shape().dims(), array.data(), out);
}

/// Writes `data` as arrays of these sizes; as deep as the runnable's own tensor.
fn arrays<T: Print>(dims: &[usize], data: &[u8], out: &mut Vec<u8>) {
    let Some((&size, inner)) = dims.split_first() else {
        elements::<T>(data, out);
        return;
    };
    out.push(b'[');
    if inner.is_empty() {
        elements::<T>(data, out);
    } else {
        let stride = data.len().checked_div(size).unwrap_or(0);
        for at in 0..size {
            if at > 0 {
                out.push(b',');
            }
            arrays::<T>(inner, &data[at * stride..(at + 1) * stride], out);
        }
    }
    out.push(b']');
}

/// Writes elements, separated by commas.
fn elements<T: Print>(data: &[u8], out: &mut Vec<u8>) {
    for (at, bytes) in data.chunks_exact(size_of::<T::Stored>()).enumerate() {
        if at > 0 {
            out.push(b',');
        }
        serde(&T::printed(bytemuck::pod_read_unaligned(bytes)), out);
    }
}

/// An element that has a JSON text.
trait Print {
    /// What an array holds for it.
    type Stored: Pod;
    /// What serde writes for it.
    type Printed: Serialize;
    /// Bytes that an element usually takes, with its comma: only a hint.
    const USUAL_LENGTH: usize;

    fn printed(element: Self::Stored) -> Self::Printed;
}

macro_rules! print {
    ($($type:ty: $stored:ty => $printed:ty, $usual:literal, $convert:expr);+ $(;)?) => {
        $(impl Print for $type {
            type Stored = $stored;
            type Printed = $printed;

            const USUAL_LENGTH: usize = $usual;

            #[inline]
            fn printed(element: $stored) -> $printed {
                let convert: fn($stored) -> $printed = $convert;
                convert(element)
            }
        })+
    };
}

print! {
    bool: u8 => bool, 6, |byte| byte != 0;
    u8: u8 => u8, 4, |same| same;
    u16: u16 => u16, 4, |same| same;
    u32: u32 => u32, 6, |same| same;
    u64: u64 => u64, 6, |same| same;
    i8: i8 => i8, 4, |same| same;
    i16: i16 => i16, 4, |same| same;
    i32: i32 => i32, 6, |same| same;
    i64: i64 => i64, 6, |same| same;
    f16: f16 => f32, 12, f16::to_f32;
    bf16: bf16 => f32, 12, bf16::to_f32;
    f32: f32 => f32, 12, |same| same;
    f64: f64 => f64, 20, |same| same;
}
