//! Elements by their indices.

use half::{bf16, f16};

use super::Family;
use crate::onnx::error::OpError;
use crate::onnx::graph::host;
use crate::onnx::node::{Call, Outputs, one};
use crate::onnx::tensor::{Binary, Compare, Dims, Result, Tensor, count};
use crate::onnx::value::{Strings, Value};
use crate::value::{Array, DType, Element};

pub(super) const OPS: Family = &[
    ("Gather", gather),
    ("GatherElements", gather_elements),
    ("GatherND", gather_nd),
    ("Scatter", scatter_elements),
    ("ScatterElements", scatter_elements),
    ("ScatterND", scatter_nd),
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
pub(super) fn strides(dims: &[usize]) -> Dims {
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
        let mut start = at.checked_div(per_batch).map_or(0, |row| row * block);
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
        [add, mul]: [fn(T, T) -> T; 2],
    ) -> Option<Array> {
        let (mut elements, updates) = (data.to_vec::<T>()?, updates.to_vec::<T>()?);
        for (&place, update) in places.iter().zip(updates) {
            let old = elements.get_mut(place)?;
            *old = match how {
                Update::Replace => update,
                Update::Add => add(*old, update),
                Update::Mul => mul(*old, update),
                Update::Max if update > *old => update,
                Update::Min if update < *old => update,
                Update::Max | Update::Min => *old,
            };
        }
        Array::new(elements, data.shape().clone()).ok()
    }
    macro_rules! ints {
        ($type:ty) => {
            typed::<$type>(data, places, updates, how, [<$type>::wrapping_add, <$type>::wrapping_mul])
        };
    }
    macro_rules! floats {
        ($type:ty) => {
            typed::<$type>(data, places, updates, how, [|a, b| a + b, |a, b| a * b])
        };
    }
    let scattered = match data.dtype() {
        DType::Bool => {
            let how = match how {
                Update::Add => Update::Max,
                Update::Mul => Update::Min,
                how => how,
            };
            let bytes = typed::<u8>(data, places, updates, how, [u8::wrapping_add, u8::wrapping_mul]);
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
