//! Rows of several arrays, side by side in one buffer.

use std::ops::Range;

use half::{bf16, f16};

use super::{Array, DType, Element, Shape, Value};

/// Some rows of an array.
pub(crate) type Rows<'a> = (&'a Array, Range<usize>);

/// The shape of these rows laid side by side along `dim`; `None` where there are no rows, or they do not fit together.
pub(crate) fn shape(parts: &[Rows<'_>], dim: usize) -> Option<Shape> {
    let (first, _) = parts.first()?;
    let fits = parts.iter().all(|(array, rows)| {
        array.dtype() == first.dtype()
            && array.shape().same_but(first.shape(), dim)
            && array.shape().dims().get(dim).is_some_and(|&size| rows.start <= rows.end && rows.end <= size)
    });
    let rows = parts.iter().map(|(_, rows)| rows.len()).sum();
    fits.then(|| first.shape().clone().with(dim, rows))
}

/// What one part contributes: in each block of `stride` bytes, those in `range`.
struct Source<'a> {
    data: &'a [u8],
    stride: usize,
    range: Range<usize>,
}

/// Copies these rows side by side along `dim`, once. They must fit together, as [`shape`] tells, and be of type `T`.
pub(crate) fn elements<T: Element>(parts: &[Rows<'_>], dim: usize) -> Vec<T> {
    let sources: Vec<Source<'_>> = parts
        .iter()
        .map(|(array, rows)| {
            let (_, row) = array.around(dim);
            let stride = array.shape().dims()[dim] * row;
            Source { data: array.data(), stride, range: rows.start * row..rows.end * row }
        })
        .collect();
    let blocks = parts.first().map_or(0, |(array, _)| array.around(dim).0);
    let per_block: usize = sources.iter().map(|source| source.range.len()).sum();
    let mut gathered: Vec<T> = Vec::with_capacity(blocks * per_block / size_of::<T>());
    for block in 0..blocks {
        for Source { data, stride, range } in &sources {
            let start = block * stride;
            let bytes = &data[start + range.start..start + range.end];
            match bytemuck::try_cast_slice(bytes) {
                Ok(elements) => gathered.extend_from_slice(elements),
                // A body is where its head ends, aligned or not.
                Err(_) => gathered.extend(bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned::<T>)),
            }
        }
    }
    gathered
}

/// Joins the outputs of a call that was cut along `dim`.
pub(crate) fn join(pieces: Vec<Value>, dim: usize) -> Result<Value, String> {
    if pieces.iter().all(|piece| matches!(piece, Value::List(_))) {
        let items = pieces.into_iter().flat_map(|piece| match piece {
            Value::List(items) => items,
            _ => Vec::new(),
        });
        return Ok(Value::List(items.collect()));
    }
    let arrays: Option<Vec<&Array>> = pieces
        .iter()
        .map(|piece| match piece {
            Value::Tensor(array) => Some(array),
            _ => None,
        })
        .collect();
    let arrays = arrays.ok_or("the pieces of an output are of kinds that cannot be joined")?;
    let parts: Vec<Rows<'_>> =
        arrays.iter().map(|array| (*array, 0..array.shape().dims().get(dim).copied().unwrap_or(0))).collect();
    concat(&parts, dim).map(Value::Tensor)
}

/// Lays rows side by side along `dim` in an array of their own.
pub(crate) fn concat(parts: &[Rows<'_>], dim: usize) -> Result<Array, String> {
    let shape = shape(parts, dim).ok_or("arrays that are to be joined differ in shape or dtype")?;
    let dtype = parts.first().map_or(DType::F32, |(array, _)| array.dtype());
    let joined = match dtype {
        DType::Bool => Array::from_bytes(DType::Bool, shape, elements::<u8>(parts, dim).into()),
        DType::U8 => Array::new(elements::<u8>(parts, dim), shape),
        DType::U16 => Array::new(elements::<u16>(parts, dim), shape),
        DType::U32 => Array::new(elements::<u32>(parts, dim), shape),
        DType::U64 => Array::new(elements::<u64>(parts, dim), shape),
        DType::I8 => Array::new(elements::<i8>(parts, dim), shape),
        DType::I16 => Array::new(elements::<i16>(parts, dim), shape),
        DType::I32 => Array::new(elements::<i32>(parts, dim), shape),
        DType::I64 => Array::new(elements::<i64>(parts, dim), shape),
        DType::F16 => Array::new(elements::<f16>(parts, dim), shape),
        DType::BF16 => Array::new(elements::<bf16>(parts, dim), shape),
        DType::F32 => Array::new(elements::<f32>(parts, dim), shape),
        DType::F64 => Array::new(elements::<f64>(parts, dim), shape),
    };
    joined.map_err(|error| error.to_string())
}

/// Copies the bytes of these rows side by side along `dim` into `out`. They must fit together, as [`shape`] tells, and
/// take up all of it.
#[cfg(unix)]
pub(crate) fn write(parts: &[Rows<'_>], dim: usize, out: &mut [u8]) {
    let blocks = parts.first().map_or(0, |(array, _)| array.around(dim).0);
    let mut out = out;
    for block in 0..blocks {
        for (array, rows) in parts {
            let (_, row) = array.around(dim);
            let start = (block * array.shape().dims()[dim] + rows.start) * row;
            let (place, rest) = out.split_at_mut(rows.len() * row);
            place.copy_from_slice(&array.data()[start..start + rows.len() * row]);
            out = rest;
        }
    }
}
