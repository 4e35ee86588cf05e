//! Elements by their indices.

use half::{bf16, f16};

use super::Family;
use crate::onnx::error::OpError;
use crate::onnx::graph::host;
use crate::onnx::node::{Call, Outputs, one};
use crate::onnx::tensor::{Binary, Compare, Dims, Result, Tensor, count, resolve_axis, work};
use crate::onnx::value::{Strings, Value};
use crate::value::{Array, DType, Element};

pub(super) const OPS: Family = &[
    ("Gather", gather),
    ("GatherElements", gather_elements),
    ("GatherND", gather_nd),
    ("Scatter", scatter_elements),
    ("ScatterElements", scatter_elements),
    ("ScatterND", scatter_nd),
    ("OneHot", one_hot),
    ("NonZero", non_zero),
    ("Compress", compress),
    ("ReverseSequence", reverse_sequence),
    ("Trilu", trilu),
    ("Unique", unique),
];

/// Indices that may count from the end, as ones from the start. On the host they are checked; a GPU does not wait for
/// that.
pub(super) fn from_start(indices: Tensor, size: usize) -> Result<Tensor> {
    let indices = indices.cast(DType::I64);
    if indices.device() != host() {
        let negative = indices.clone().compare_with(Compare::Less, 0.0)?;
        return indices.clone().mask_where(negative, indices.with_number(Binary::Add, size as f64));
    }
    let values = indices.ints()?;
    let bound = size as i64;
    if let Some(wrong) = values.iter().find(|&&value| value < -bound || value >= bound) {
        return Err(OpError::caller(format!("index {wrong} does not exist in a dimension of size {size}")));
    }
    if values.iter().all(|&value| value >= 0) {
        return Ok(indices);
    }
    let values = values.into_iter().map(|value| if value < 0 { value + bound } else { value }).collect();
    Tensor::new(values, &indices.dims(), &host())
}

fn gather(call: &mut Call<'_>) -> Result<Outputs> {
    if matches!(call.inputs.first(), Some(Some(Value::Strings(_)))) {
        return gather_strings(call);
    }
    let (data, indices) = (call.tensor(0)?, call.tensor(1)?);
    let dims = data.dims();
    let axis = call.axis(0, dims.len())?;
    let around = indices.dims();
    let indices = from_start(indices, dims[axis])?;
    let mut result: Dims = dims[..axis].iter().copied().collect();
    result.extend_from_slice(&around);
    result.extend_from_slice(&dims[axis + 1..]);
    if indices.elements() == 1 && data.device() == host() {
        let at = indices.ints()?.first().copied().unwrap_or(0) as usize;
        return one(data.slice(axis, at, at + 1, 1)?.reshape(&result)?);
    }
    let length = indices.elements();
    one(data.select(axis, indices.reshape(&[length])?)?.reshape(&result)?)
}

fn gather_strings(call: &mut Call<'_>) -> Result<Outputs> {
    let (data, indices) = (call.strings(0)?, call.tensor(1)?);
    let axis = call.axis(0, data.dims.len())?;
    let (size, inner) = (data.dims[axis], data.dims[axis + 1..].iter().product::<usize>());
    let around = indices.dims();
    let indices = from_start(indices, size)?.ints()?;
    let mut dims = data.dims[..axis].to_vec();
    dims.extend_from_slice(&around);
    dims.extend_from_slice(&data.dims[axis + 1..]);
    count(&dims)?;
    let blocks = 0..data.dims[..axis].iter().product::<usize>();
    let starts = blocks.flat_map(|block| indices.iter().map(move |&index| (block * size + index as usize) * inner));
    one(Strings::copied(starts.flat_map(|start| &data.items[start..start + inner]), dims)?)
}

fn gather_elements(call: &mut Call<'_>) -> Result<Outputs> {
    let (mut data, indices) = (call.tensor(0)?, call.tensor(1)?);
    let axis = call.axis(0, data.rank())?;
    let wanted = indices.dims();
    if wanted.len() != data.rank() {
        return Err(OpError::caller(format!("indices of shape {wanted:?} do not fit data of shape {:?}", data.dims())));
    }
    let indices = from_start(indices, data.dim(axis))?;
    for (at, &size) in wanted.iter().enumerate().filter(|(at, _)| *at != axis) {
        data = data.slice(at, 0, size, 1)?;
    }
    if wanted.contains(&0) {
        return one(call.full(&wanted, 0.0, data.dtype())?);
    }
    one(data.gather(axis, indices))
}

/// How many elements one step in each dimension spans.
fn strides(dims: &[usize]) -> Dims {
    let mut strides: Dims =
        dims.iter().rev().scan(1, |span, &dim| Some(std::mem::replace(span, *span * dim))).collect();
    strides.reverse();
    strides
}

/// Where each index tuple of `indices`, whose last dimension spells it, points to: the first element of a slice of `data`
/// after `batch` dimensions that both share; and how many elements such a slice has.
fn tuples(indices: &[i64], shape: &[usize], data: &[usize], batch: usize) -> Result<(Vec<usize>, usize)> {
    let depth = shape.last().copied().unwrap_or(0);
    if batch + depth > data.len() || batch >= shape.len() || shape[..batch] != data[..batch] {
        return Err(OpError::caller(format!("indices of shape {shape:?} do not fit data of shape {data:?}")));
    }
    let spans = strides(data);
    let slice: usize = data[batch + depth..].iter().product();
    let count: usize = shape[..shape.len() - 1].iter().product();
    let per_batch = count / shape[..batch].iter().product::<usize>().max(1);
    let block: usize = data[batch..].iter().product();
    let mut starts = Vec::with_capacity(count);
    for at in 0..count {
        let mut start = if per_batch == 0 { 0 } else { at / per_batch * block };
        for level in 0..depth {
            let (index, size) = (indices[at * depth + level], data[batch + level] as i64);
            if index < -size || index >= size {
                let problem = format!("index {index} does not exist in a dimension of size {size}");
                return Err(OpError::caller(problem));
            }
            start += (if index < 0 { index + size } else { index }) as usize * spans[batch + level];
        }
        starts.push(start);
    }
    Ok((starts, slice))
}

fn gather_nd(call: &mut Call<'_>) -> Result<Outputs> {
    let (data, indices) = (call.tensor(0)?, call.tensor(1)?);
    let batch = usize::try_from(call.node.int("batch_dims", 0)).unwrap_or(0);
    let (dims, shape) = (data.dims(), indices.dims());
    let (starts, slice) = tuples(&indices.ints()?, &shape, &dims, batch)?;
    let mut result: Dims = shape[..shape.len() - 1].iter().copied().collect();
    result.extend_from_slice(&dims[batch + shape[shape.len() - 1]..]);
    count(&result)?;
    let flat: Vec<i64> = starts.iter().flat_map(|&start| (start..start + slice).map(|at| at as i64)).collect();
    let (elements, length) = (data.elements(), flat.len());
    let indices = Tensor::new(flat, &[length], call.device)?;
    one(data.reshape(&[elements])?.select(0, indices)?.reshape(&result)?)
}

/// How an update meets what is there already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Update {
    Replace,
    Add,
    Mul,
    Max,
    Min,
}

fn update(call: &Call<'_>) -> Result<Update> {
    Ok(match call.node.text("reduction", "none") {
        "none" => Update::Replace,
        "add" => Update::Add,
        "mul" => Update::Mul,
        "max" => Update::Max,
        "min" => Update::Min,
        other => return Err(OpError::new(format!("there is no reduction \"{other}\""))),
    })
}

/// `data` with the elements at `places` updated, in order.
fn scatter(data: &Array, places: &[usize], updates: &Array, how: Update) -> Result<Array> {
    fn typed<T: Element + std::ops::Add<Output = T> + std::ops::Mul<Output = T>>(
        data: &Array,
        places: &[usize],
        updates: &Array,
        how: Update,
        plain: (fn(T, T) -> T, fn(T, T) -> T),
    ) -> Option<Array> {
        let (mut elements, updates) = (data.to_vec::<T>()?, updates.to_vec::<T>()?);
        for (&place, update) in places.iter().zip(updates) {
            let old = elements.get_mut(place)?;
            *old = match how {
                Update::Replace => update,
                Update::Add => plain.0(*old, update),
                Update::Mul => plain.1(*old, update),
                Update::Max if update > *old => update,
                Update::Min if update < *old => update,
                Update::Max | Update::Min => *old,
            };
        }
        Array::new(elements, data.shape().clone()).ok()
    }
    macro_rules! ints {
        ($type:ty) => {
            typed::<$type>(data, places, updates, how, (<$type>::wrapping_add, <$type>::wrapping_mul))
        };
    }
    macro_rules! floats {
        ($type:ty) => {
            typed::<$type>(data, places, updates, how, (|a, b| a + b, |a, b| a * b))
        };
    }
    let scattered = match data.dtype() {
        DType::Bool => {
            let how = match how {
                Update::Add => Update::Max,
                Update::Mul => Update::Min,
                how => how,
            };
            let bytes = typed::<u8>(data, places, updates, how, (u8::wrapping_add, u8::wrapping_mul));
            bytes.and_then(|bytes| Array::from_bytes(DType::Bool, data.shape().clone(), bytes.data().clone()).ok())
        }
        DType::U8 => ints!(u8),
        DType::U16 => ints!(u16),
        DType::U32 => ints!(u32),
        DType::U64 => ints!(u64),
        DType::I8 => ints!(i8),
        DType::I16 => ints!(i16),
        DType::I32 => ints!(i32),
        DType::I64 => ints!(i64),
        DType::F16 => floats!(f16),
        DType::BF16 => floats!(bf16),
        DType::F32 => floats!(f32),
        DType::F64 => floats!(f64),
    };
    scattered.ok_or_else(|| OpError::new(format!("{} cannot be scattered into {}", updates.dtype(), data.dtype())))
}

fn scatter_elements(call: &mut Call<'_>) -> Result<Outputs> {
    let how = update(call)?;
    let (data, indices, updates) = (call.tensor(0)?, call.tensor(1)?, call.tensor(2)?);
    let (dims, shape) = (data.dims(), indices.dims());
    let axis = call.axis(0, dims.len())?;
    if shape.len() != dims.len() || updates.dims() != shape {
        let problem = format!("indices of shape {shape:?} do not fit data of shape {dims:?}");
        return Err(OpError::caller(problem));
    }
    let spans = strides(&dims);
    let indices = from_start(indices, dims[axis])?.ints()?;
    let mut places = Vec::with_capacity(indices.len());
    for (at, index) in indices.into_iter().enumerate() {
        let (mut rest, mut place) = (at, 0);
        for level in (0..shape.len()).rev() {
            let own = rest % shape[level];
            rest /= shape[level];
            let own = if level == axis { index as usize } else { own };
            if own >= dims[level] {
                return Err(OpError::caller(format!("index {own} does not exist in dimension {level} of {dims:?}")));
            }
            place += own * spans[level];
        }
        places.push(place);
    }
    let scattered = scatter(&data.to_array()?, &places, &updates.to_array()?, how)?;
    one(Tensor::from_array(&scattered, call.device))
}

fn scatter_nd(call: &mut Call<'_>) -> Result<Outputs> {
    let how = update(call)?;
    let (data, indices, updates) = (call.tensor(0)?, call.tensor(1)?, call.tensor(2)?);
    let (starts, slice) = tuples(&indices.ints()?, &indices.dims(), &data.dims(), 0)?;
    if updates.elements() != starts.len() * slice {
        return Err(OpError::caller(format!("updates of shape {:?} do not fit the indices", updates.dims())));
    }
    let places: Vec<usize> = starts.iter().flat_map(|&start| start..start + slice).collect();
    let scattered = scatter(&data.to_array()?, &places, &updates.to_array()?, how)?;
    one(Tensor::from_array(&scattered, call.device))
}

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

fn compress(call: &mut Call<'_>) -> Result<Outputs> {
    let condition = call.need_ints(1)?;
    let x = call.tensor(0)?;
    let (x, axis) = match call.node.try_int("axis") {
        Some(axis) => {
            let axis = resolve_axis(axis, x.rank())?;
            (x, axis)
        }
        None => {
            let elements = x.elements();
            (x.reshape(&[elements])?, 0)
        }
    };
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
    let x = call.tensor(0)?;
    let (x, axis) = match call.node.try_int("axis") {
        Some(axis) => {
            let axis = resolve_axis(axis, x.rank())?;
            (x, axis)
        }
        None => {
            let elements = x.elements();
            (x.reshape(&[elements])?, 0)
        }
    };
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
