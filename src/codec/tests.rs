//! Tests of both formats; what they share.

mod json_decode;
mod json_encode;
mod json_numbers;
mod npy;

use proptest::prelude::*;

use super::json;
use crate::value::{Array, DType, Shape, Signature, TensorSpec, Value, ValueKind, ValueSpec};

/// A method that takes and returns these.
fn signature(specs: impl IntoIterator<Item = ValueSpec>) -> Signature {
    let inputs: Vec<ValueSpec> = specs.into_iter().collect();
    Signature { outputs: inputs.clone(), inputs, batching: None, streams: false }
}

fn sole(spec: impl Into<ValueSpec>) -> Signature {
    signature([spec.into()])
}

fn any_rank(dtype: DType) -> Signature {
    sole(TensorSpec::any_rank("x", dtype))
}

fn of_kind(kind: ValueKind) -> Signature {
    sole(ValueSpec::of_kind(kind, "x"))
}

/// Values in words: dtype, shape and JSON of a tensor, kind and JSON of anything else.
fn describe(values: &[Value]) -> String {
    let describe = |value: &Value| {
        let mut text = Vec::new();
        json::encode(&of_kind(value.kind()), std::slice::from_ref(value), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        match value {
            Value::Tensor(array) => format!("{} {}: {text}", array.dtype(), array.shape()),
            other => format!("{}: {text}", other.kind()),
        }
    };
    values.iter().map(describe).collect::<Vec<_>>().join("; ")
}

/// Any array of these dtypes whose floats are finite.
fn arrays(dtypes: Vec<DType>) -> impl Strategy<Value = Array> {
    (prop::sample::select(dtypes), prop::collection::vec(0_usize..4, 0..5)).prop_flat_map(|(dtype, dims)| {
        let shape = Shape::new(&dims);
        let length = shape.elements().unwrap() * dtype.size();
        prop::collection::vec(any::<u8>(), length).prop_map(move |mut bytes| {
            let highest = if cfg!(target_endian = "little") { dtype.size() - 1 } else { 0 };
            for element in bytes.chunks_exact_mut(dtype.size()) {
                match dtype {
                    DType::Bool => element[highest] &= 1,
                    // Clears a bit of the exponent.
                    dtype if dtype.is_float() => element[highest] &= 0xbf,
                    _ => {}
                }
            }
            Array::from_bytes(dtype, shape.clone(), bytes.into()).unwrap()
        })
    })
}
