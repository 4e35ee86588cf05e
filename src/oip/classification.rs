//! The classification extension: instead of an output's scores, the best of them.

use bytes::Bytes;
use half::{bf16, f16};

use super::datatype::Datatype;
use super::tensor::{Data, Tensor};
use crate::value::{Array, DType, Shape, Signature, TensorSpec, ValueSpec};

/// Whether the best of an output can be told, before anything is run for it.
///
/// # Errors
/// Why not.
pub(super) fn check(signature: &Signature, spec: &ValueSpec) -> Result<(), String> {
    let name = spec.name();
    let ValueSpec::Tensor(tensor) = spec else {
        return Err(format!("output \"{name}\": classification takes numbers, and it is {spec}"));
    };
    if tensor.dtype() == DType::Bool {
        return Err(format!("output \"{name}\": classification takes numbers, and it is BOOL"));
    }
    match signature.batching {
        Some(dims) if dims.output_dim > 0 => {
            Err(format!("output \"{name}\": classification takes rows along dimension 0, not {}", dims.output_dim))
        }
        _ => Ok(()),
    }
}

/// The `count` highest scores of each row, or of all of a tensor that has no rows: `BYTES` elements `score:index`, the
/// highest first, those that are equal by their index. Floats have six decimals, as Triton writes them.
pub(super) fn classify(spec: &TensorSpec, array: &Array, count: usize, has_rows: bool) -> Tensor {
    let dims = array.shape().dims();
    let (rows, outer) = match dims {
        [rows, ..] if has_rows => (*rows, Some(*rows)),
        _ => (1, None),
    };
    let each = array.shape().elements().unwrap_or(0).checked_div(rows).unwrap_or(0);
    let count = count.min(each);
    let elements = match array.dtype() {
        DType::Bool => Vec::new(),
        DType::U8 => best::<u8>(array, each, count),
        DType::U16 => best::<u16>(array, each, count),
        DType::U32 => best::<u32>(array, each, count),
        DType::U64 => best::<u64>(array, each, count),
        DType::I8 => best::<i8>(array, each, count),
        DType::I16 => best::<i16>(array, each, count),
        DType::I32 => best::<i32>(array, each, count),
        DType::I64 => best::<i64>(array, each, count),
        DType::F16 => best::<f16>(array, each, count),
        DType::BF16 => best::<bf16>(array, each, count),
        DType::F32 => best::<f32>(array, each, count),
        DType::F64 => best::<f64>(array, each, count),
    };
    let shape = outer.map_or_else(|| Shape::new(&[count]), |rows| Shape::new(&[rows, count]));
    Tensor { name: spec.name().to_owned(), datatype: Datatype::Bytes, shape, data: Data::Elements(elements) }
}

fn best<T: Score>(array: &Array, each: usize, count: usize) -> Vec<Bytes> {
    let scores = array.elements::<T>().unwrap_or_default();
    if count == 0 {
        return Vec::new();
    }
    let mut elements = Vec::with_capacity(scores.len() / each.max(1) * count);
    let mut order: Vec<usize> = Vec::with_capacity(each);
    for row in scores.chunks_exact(each.max(1)) {
        order.clear();
        order.extend(0..row.len());
        let before = |&one: &usize, &other: &usize| T::rank(row[other], row[one]).then(one.cmp(&other));
        if count < order.len() {
            order.select_nth_unstable_by(count, before);
            order.truncate(count);
        }
        order.sort_unstable_by(before);
        elements.extend(order.iter().map(|&index| Bytes::from(format!("{}:{index}", row[index].text()))));
    }
    elements
}

/// A number that can be ranked and written.
trait Score: crate::value::Element {
    /// Not-a-numbers come below everything.
    fn rank(one: Self, other: Self) -> std::cmp::Ordering {
        let is_number = |score: &Self| score.partial_cmp(score).is_some();
        one.partial_cmp(&other).unwrap_or_else(|| is_number(&one).cmp(&is_number(&other)))
    }

    fn text(self) -> String;
}

macro_rules! scores {
    ($($type:ty => $text:expr),+ $(,)?) => {
        $(impl Score for $type {
            fn text(self) -> String {
                let text: fn($type) -> String = $text;
                text(self)
            }
        })+
    };
}

scores! {
    u8 => |score| score.to_string(), u16 => |score| score.to_string(),
    u32 => |score| score.to_string(), u64 => |score| score.to_string(),
    i8 => |score| score.to_string(), i16 => |score| score.to_string(),
    i32 => |score| score.to_string(), i64 => |score| score.to_string(),
    f16 => |score| format!("{:.6}", score.to_f32()), bf16 => |score| format!("{:.6}", score.to_f32()),
    f32 => |score| format!("{score:.6}"), f64 => |score| format!("{score:.6}"),
}
