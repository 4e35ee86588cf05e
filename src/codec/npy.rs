//! NumPy's `.npy` bodies, one tensor each.
//!
//! The format: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>. The crate `npyz` reads from a
//! stream into a vector of its own; here an array stays where it came, in the body.

mod header;

pub use self::header::MAGIC;

use std::borrow::Cow;

use bytes::Bytes;

use self::header::{Header, Order};
use super::{DecodeError, EncodeError};
use crate::value::{Array, DType, Shape, Signature, TensorSpec, Value, ValueSpec, Values};

/// Rows that an array without elements can claim: its body is no bound for them.
const MOST_EMPTY_ROWS: usize = 1 << 16;

/// Reads the sole input of a method, a tensor. The array shares `body`'s memory, unless its bytes or dimensions are in
/// another order than ours.
///
/// # Errors
/// What is wrong with the body, in one line. The dtype must be the signature's: nothing is cast silently.
pub fn decode(body: &Bytes, signature: &Signature) -> Result<Values, DecodeError> {
    let [ValueSpec::Tensor(spec)] = signature.inputs.as_slice() else {
        let kinds: Vec<String> =
            signature.inputs.iter().map(|spec| format!("\"{}\" ({})", spec.name(), spec.kind())).collect();
        return Err(DecodeError(format!(
            "a .npy body holds one tensor, and this method's inputs are not just that: {}; send application/json",
            if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") }
        )));
    };
    let array = array(body, spec).map_err(|problem| DecodeError(format!("input \"{}\": {problem}", spec.name())))?;
    let mut values = Values::new();
    values.push(Value::Tensor(array));
    Ok(values)
}

/// Reads one array of whatever dtype and shape the body says.
///
/// # Errors
/// What is wrong with the body, in one line.
pub fn read(body: &Bytes) -> Result<Array, DecodeError> {
    let (header, start) = header::read(body).map_err(DecodeError)?;
    laid_out(header, body.slice(start..)).map_err(DecodeError)
}

fn array(body: &Bytes, spec: &TensorSpec) -> Result<Array, String> {
    let (header, start) = header::read(body)?;
    if header.dtype != spec.dtype() {
        let hint = if spec.dtype() == DType::BF16 {
            ": .npy has no such dtype, send application/json".to_owned()
        } else {
            format!(": nothing is converted, send x.astype(\"{}\")", spec.dtype())
        };
        return Err(format!("expected dtype {}, found {}{hint}", spec.dtype(), header.dtype));
    }
    laid_out(header, body.slice(start..))
}

/// The array of this header, in our order of bytes and dimensions.
fn laid_out(header: Header, mut data: Bytes) -> Result<Array, String> {
    let Header { dtype, order, fortran, shape } = header;
    if shape.dims().contains(&0) {
        let rows =
            shape.dims().iter().filter(|&&size| size > 0).try_fold(1, |rows: usize, &size| rows.checked_mul(size));
        if rows.is_none_or(|rows| rows > MOST_EMPTY_ROWS) {
            return Err(format!("shape {shape} has no elements, and more than {MOST_EMPTY_ROWS} empty rows"));
        }
    }
    let expected = shape
        .elements()
        .and_then(|elements| elements.checked_mul(dtype.size()))
        .ok_or_else(|| format!("shape {shape} has more elements than can be addressed"))?;
    if data.len() != expected {
        let found = data.len();
        return Err(format!("{dtype} of shape {shape} takes {expected} bytes after the header, found {found}"));
    }
    if order != Order::NATIVE && dtype.size() > 1 {
        data = swapped(&data, dtype.size()).into();
    }
    if fortran && shape.rank() > 1 {
        data = row_major(&data, shape.dims(), dtype.size()).into();
    }
    Array::from_bytes(dtype, shape, data).map_err(|problem| problem.to_string())
}

/// The elements of `size` bytes each, in the other byte order.
fn swapped(data: &[u8], size: usize) -> Vec<u8> {
    let mut data = data.to_vec();
    data.chunks_exact_mut(size).for_each(<[u8]>::reverse);
    data
}

/// Elements of `size` bytes each from column-major order (the first index varies fastest) to row-major.
fn row_major(data: &[u8], dims: &[usize], size: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len());
    let mut index = vec![0; dims.len()];
    let mut from = 0;
    while out.len() < data.len() {
        out.extend_from_slice(&data[from..from + size]);
        // The next index in row-major order, and where it lies in column-major order.
        let mut stride = data.len();
        for (at, &dim) in index.iter_mut().zip(dims).rev() {
            stride /= dim;
            *at += 1;
            from += stride;
            if *at < dim {
                break;
            }
            from -= stride * dim;
            *at = 0;
        }
    }
    out
}

/// Writes a sole output, a tensor, as a `.npy` file: version 1.0, little-endian, row-major, the data aligned to 64
/// bytes.
///
/// # Errors
/// [`EncodeError`] if `values` is not one tensor, of a dtype that NumPy has.
pub fn encode(values: &[Value]) -> Result<Vec<u8>, EncodeError> {
    let [Value::Tensor(array)] = values else { return Err(EncodeError::NotOneTensor) };
    let (dtype, shape) = (array.dtype(), array.shape());
    let mut out = header::write(dtype, shape, array.data().len())?;
    let data = match Order::NATIVE {
        Order::Little => Cow::Borrowed(array.data().as_ref()),
        Order::Big => Cow::Owned(swapped(array.data(), dtype.size())),
    };
    out.extend_from_slice(&data);
    Ok(out)
}
