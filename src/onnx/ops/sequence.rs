//! Sequences of values, and values that may not be there.

use super::Family;
use crate::onnx::error::OpError;
use crate::onnx::graph::host;
use crate::onnx::node::{Call, Outputs, one};
use crate::onnx::tensor::{Result, Tensor, resolve_axis, work};
use crate::onnx::value::Value;

/// What it takes to make a tensor of its own of a part, in products.
const PART: usize = 1 << 10;

pub(super) const OPS: Family = &[
    ("SequenceConstruct", |call| {
        let values: Result<Vec<Value>> = (0..call.inputs.len()).map(|at| element(call, at)).collect();
        one(Value::Sequence(values?))
    }),
    ("SequenceEmpty", |_| one(Value::Sequence(Vec::new()))),
    ("SequenceLength", |call| {
        let length = call.value(0)?.sequence()?.len();
        one(Tensor::new(vec![length as i64], &[], &host())?)
    }),
    ("SequenceAt", |call| {
        let mut values = call.value(0)?.sequence()?;
        let at = position(call, 1, values.len(), None)?;
        one(values.swap_remove(at))
    }),
    ("SequenceInsert", |call| {
        let mut values = call.value(0)?.sequence()?;
        let at = position(call, 2, values.len() + 1, Some(values.len()))?;
        values.insert(at, element(call, 1)?);
        one(Value::Sequence(values))
    }),
    ("SequenceErase", |call| {
        let mut values = call.value(0)?.sequence()?;
        let at = position(call, 1, values.len(), values.len().checked_sub(1))?;
        values.remove(at);
        one(Value::Sequence(values))
    }),
    ("ConcatFromSequence", concat),
    ("SplitToSequence", split),
    ("Optional", |call| one(call.take(0).unwrap_or(Value::Nothing))),
    ("OptionalHasElement", |call| {
        let there = !matches!(call.take(0), None | Some(Value::Nothing));
        one(Tensor::bools(vec![there], &[], &host())?)
    }),
    ("OptionalGetElement", |call| match call.take(0) {
        None | Some(Value::Nothing) => Err(OpError::caller("the optional value is not there")),
        Some(value) => one(value),
    }),
];

/// An input that a sequence can hold: were sequences of sequences, a few nodes could make them endless.
fn element(call: &mut Call<'_>, at: usize) -> Result<Value> {
    match call.value(at)? {
        value @ (Value::Tensor(_) | Value::Strings(_)) => Ok(value),
        other => {
            Err(OpError::new(format!("a sequence of {}s is not supported", other.name().trim_start_matches("a "))))
        }
    }
}

/// A position among so many; a negative one counts from the end of the sequence.
fn position(call: &mut Call<'_>, input: usize, positions: usize, default: Option<usize>) -> Result<usize> {
    let given = call.ints(input)?.and_then(|positions| positions.first().copied());
    let length = if input == 2 { positions as i64 - 1 } else { positions as i64 };
    let found = match given {
        Some(at) => usize::try_from(if at < 0 { at + length } else { at }).ok(),
        None => default,
    };
    found.filter(|&at| at < positions).ok_or_else(|| {
        let at = given.map_or_else(|| "at the end".to_owned(), |at| format!("at {at}"));
        OpError::caller(format!("there is nothing {at} of a sequence of {length}"))
    })
}

/// Tensors side by side along `axis`, which they have or with `new_axis` get.
fn concat(call: &mut Call<'_>) -> Result<Outputs> {
    let tensors: Result<Vec<Tensor>> = call.value(0)?.sequence()?.into_iter().map(Value::tensor).collect();
    let mut tensors = tensors?;
    let rank = tensors.first().map_or(0, Tensor::rank);
    let fresh = call.node.flag("new_axis", false);
    let axis = call.node.try_int("axis").ok_or_else(|| OpError::new("there is no axis"))?;
    let axis = resolve_axis(axis, rank + usize::from(fresh))?;
    // Where a sequence is, the call does not know: with those of its tensors that are on a device.
    let device = tensors.iter().map(Tensor::device).find(|device| *device != host()).unwrap_or_else(host);
    tensors = tensors.into_iter().map(|tensor| tensor.on_device(&device)).collect();
    if fresh {
        tensors = tensors.into_iter().map(|tensor| tensor.unsqueeze(axis)).collect::<Result<_>>()?;
    }
    one(Tensor::cat(tensors, axis)?)
}

/// Parts of one length, of which the last may be shorter, or of the lengths given.
fn split(call: &mut Call<'_>) -> Result<Outputs> {
    let x = call.tensor(0)?;
    let axis = call.axis(0, x.rank())?;
    let size = x.dim(axis);
    let split = call.optional(1)?;
    let squeezed = split.is_none() && !call.node.flag("keepdims", true);
    let lengths = match &split {
        Some(lengths) if lengths.rank() > 0 => lengths.ints()?,
        split => {
            let length = split.as_ref().map_or(Ok(1.0), Tensor::float)? as i64;
            let step = usize::try_from(length).ok().filter(|&step| step > 0);
            let step = step.ok_or_else(|| OpError::caller(format!("a part cannot have length {length}")))?;
            work(&[size.div_ceil(step), PART])?;
            (0..size).step_by(step).map(|start| step.min(size - start) as i64).collect()
        }
    };
    let mut start = 0;
    let mut parts = Vec::with_capacity(lengths.len());
    for length in &lengths {
        let end = usize::try_from(*length).ok().and_then(|length| length.checked_add(start));
        let end = end.ok_or_else(|| OpError::caller(format!("a part cannot have length {length}")))?;
        let part = x.clone().slice(axis, start, end, 1)?;
        parts.push(if squeezed { part.squeeze(axis)? } else { part }.into());
        start = end;
    }
    if start != size {
        return Err(OpError::caller(format!("parts of lengths {lengths:?} are not the {size} of dimension {axis}")));
    }
    one(Value::Sequence(parts))
}
