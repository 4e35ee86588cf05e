//! Elements found by what they are or where they stand.

use super::Family;
use super::index::strides;
use crate::onnx::error::OpError;
use crate::onnx::node::{Call, Outputs, one};
use crate::onnx::tensor::{Binary, Compare, Dims, Result, Tensor, count, resolve_axis, work};
use crate::value::DType;

pub(super) const OPS: Family = &[
    ("OneHot", one_hot),
    ("NonZero", non_zero),
    ("Compress", compress),
    ("ReverseSequence", reverse_sequence),
    ("Trilu", trilu),
    ("Unique", unique),
];

/// Along a new axis, the second of two values at the index, the first elsewhere.
fn one_hot(call: &mut Call<'_>) -> Result<Outputs> {
    let depth = call.need_ints(1)?.first().copied().unwrap_or(0);
    let size = usize::try_from(depth).map_err(|_| OpError::caller(format!("a depth of {depth}")))?;
    let indices = call.tensor(0)?.cast(DType::I64);
    let values = call.tensor(2)?;
    let rank = indices.rank() + 1;
    let axis = call.axis(-1, rank)?;
    let mut result = indices.dims();
    result.insert(axis, size);
    count(&result)?;
    let negative = indices.clone().compare_with(Compare::Less, 0.0)?;
    let indices = indices.clone().mask_where(negative, indices.with_number(Binary::Add, depth as f64))?;
    let mut along: Dims = smallvec::smallvec![1; rank];
    along[axis] = size;
    let hot = indices.unsqueeze(axis)?.compare(Compare::Equal, Tensor::arange(size, call.device)?.reshape(&along)?)?;
    let (off, on) = (values.clone().index(0, 0)?, values.index(0, 1)?);
    one(off.expand(&result)?.mask_where(hot, on)?)
}

/// The indices of the elements that are not 0, one column each.
fn non_zero(call: &mut Call<'_>) -> Result<Outputs> {
    let x = call.tensor(0)?;
    let dims = x.dims();
    let spans = strides(&dims);
    let set = x.cast(DType::Bool).cast(DType::U8).ints()?;
    let places: Vec<usize> = set.iter().enumerate().filter(|(_, bit)| **bit != 0).map(|(at, _)| at).collect();
    count(&[dims.len(), places.len()])?;
    let index = |level: usize, place: &usize| (place / spans[level] % dims[level]) as i64;
    let rows = (0..dims.len()).flat_map(|level| places.iter().map(move |place| (level, place)));
    let indices: Vec<i64> = rows.map(|(level, place)| index(level, place)).collect();
    one(Tensor::new(indices, &[dims.len(), places.len()], call.device)?)
}

/// The first input with the axis that is asked for; where none is, all its elements in one.
fn along_or_flat(call: &mut Call<'_>) -> Result<(Tensor, usize)> {
    let x = call.tensor(0)?;
    match call.node.try_int("axis") {
        Some(axis) => {
            let axis = resolve_axis(axis, x.rank())?;
            Ok((x, axis))
        }
        None => {
            let elements = x.elements();
            Ok((x.reshape(&[elements])?, 0))
        }
    }
}

fn compress(call: &mut Call<'_>) -> Result<Outputs> {
    let condition = call.need_ints(1)?;
    let (x, axis) = along_or_flat(call)?;
    let kept: Vec<i64> =
        (0..x.dim(axis) as i64).zip(&condition).filter(|(_, keep)| **keep != 0).map(|(at, _)| at).collect();
    let length = kept.len();
    one(x.select(axis, Tensor::new(kept, &[length], call.device)?)?)
}

/// In each row, the first so many elements along the time axis, backwards.
fn reverse_sequence(call: &mut Call<'_>) -> Result<Outputs> {
    let lengths = call.need_ints(1)?;
    let x = call.tensor(0)?;
    let rank = x.rank();
    let batch = resolve_axis(call.node.int("batch_axis", 1), rank)?;
    let time = resolve_axis(call.node.int("time_axis", 0), rank)?;
    if batch == time {
        return Err(OpError::new(format!("axis {time} is both the batch's and time's")));
    }
    let (rows, steps) = (x.dim(batch), x.dim(time) as i64);
    if lengths.len() != rows || lengths.iter().any(|&length| length < 0 || length > steps) {
        return Err(OpError::caller(format!("{lengths:?} are no lengths of {rows} sequences of up to {steps}")));
    }
    let reversed: Result<Vec<Tensor>> = lengths
        .iter()
        .enumerate()
        .map(|(row, &length)| {
            let order: Vec<i64> = (0..steps).map(|at| if at < length { length - 1 - at } else { at }).collect();
            let order = Tensor::new(order, &[steps as usize], call.device)?;
            x.clone().slice(batch, row, row + 1, 1)?.select(time, order)
        })
        .collect();
    one(Tensor::cat(reversed?, batch)?)
}

/// The upper or lower triangle of matrices, zeros elsewhere.
fn trilu(call: &mut Call<'_>) -> Result<Outputs> {
    let shift = call.ints(1)?.and_then(|shift| shift.first().copied()).unwrap_or(0);
    let x = call.tensor(0)?;
    let rank = x.rank();
    if rank < 2 {
        return Err(OpError::new("the input must have at least 2 dimensions"));
    }
    let (rows, columns) = (x.dim(rank - 2), x.dim(rank - 1));
    let diagonal = Tensor::arange(rows, call.device)?.with_number(Binary::Add, shift as f64).reshape(&[rows, 1])?;
    let column = Tensor::arange(columns, call.device)?.reshape(&[1, columns])?;
    let upper = call.node.flag("upper", true);
    let keep = column.compare(if upper { Compare::GreaterOrEqual } else { Compare::LessOrEqual }, diagonal)?;
    let zero = call.full(&[], 0.0, x.dtype())?;
    one(zero.mask_where(keep, x)?)
}

/// The distinct slices along an axis, or elements: first where they occur, then for each which it is, and how often each
/// occurs.
fn unique(call: &mut Call<'_>) -> Result<Outputs> {
    let (x, axis) = along_or_flat(call)?;
    let size = x.dim(axis);
    work(&[size, x.elements().max(size)])?;
    let slices: Vec<Vec<f64>> =
        (0..size).map(|at| x.clone().slice(axis, at, at + 1, 1)?.floats()).collect::<Result<_>>()?;
    let mut first: Vec<usize> = Vec::new();
    let mut inverse = Vec::with_capacity(size);
    let mut counts: Vec<i64> = Vec::new();
    for (at, slice) in slices.iter().enumerate() {
        match first.iter().position(|&other| slices[other] == *slice) {
            Some(known) => {
                counts[known] += 1;
                inverse.push(known);
            }
            None => {
                inverse.push(first.len());
                first.push(at);
                counts.push(1);
            }
        }
    }
    let mut order: Vec<usize> = (0..first.len()).collect();
    if call.node.flag("sorted", true) {
        order.sort_by(|&a, &b| slices[first[a]].partial_cmp(&slices[first[b]]).unwrap_or(std::cmp::Ordering::Equal));
    }
    let mut rank = vec![0; order.len()];
    order.iter().enumerate().for_each(|(at, &old)| rank[old] = at as i64);
    let vector = |values: Vec<i64>| {
        let length = values.len();
        Tensor::new(values, &[length], call.device)
    };
    let indices = vector(order.iter().map(|&old| first[old] as i64).collect())?;
    let inverse = vector(inverse.into_iter().map(|old| rank[old]).collect())?;
    let counts = vector(order.iter().map(|&old| counts[old]).collect())?;
    let values = x.select(axis, indices.clone())?;
    Ok(smallvec::smallvec![values.into(), indices.into(), inverse.into(), counts.into()])
}
