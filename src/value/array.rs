//! A dense tensor on the host.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

use super::{DType, Element, Shape};

/// A dense tensor on the host: row-major, native byte order, one shared buffer.
///
/// Cloning it, and taking rows of it along dimension 0, copies nothing. The buffer is aligned for its elements when it
/// was made from them; [`Array::to_vec`] and [`Array::elements`] read it at any alignment.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    dtype: DType,
    shape: Shape,
    data: Bytes,
}

/// Why bytes are not an array.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArrayError {
    /// The shape and the data disagree.
    #[error("shape {shape} of {dtype} takes {expected} bytes, found {found}")]
    Length {
        /// The shape asked for.
        shape: Shape,
        /// The element type.
        dtype: DType,
        /// Bytes that such an array takes.
        expected: usize,
        /// Bytes that were given.
        found: usize,
    },
    /// More elements than a `usize` counts.
    #[error("shape {0} has more elements than can be addressed")]
    Overflow(Shape),
    /// A byte of a `bool` array is neither 0 nor 1.
    #[error("element {0} is neither 0 nor 1, as a bool must be")]
    Bool(usize),
}

/// Keeps a vector of elements alive behind a [`Bytes`].
struct Elements<T>(Vec<T>);

impl<T: Element> AsRef<[u8]> for Elements<T> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

impl Array {
    /// An array of these elements, without copying them.
    ///
    /// # Errors
    /// [`ArrayError::Length`] or [`ArrayError::Overflow`] if `shape` has another number of elements.
    pub fn new<T: Element>(elements: Vec<T>, shape: impl Into<Shape>) -> Result<Self, ArrayError> {
        Self::from_bytes(T::DTYPE, shape.into(), Bytes::from_owner(Elements(elements)))
    }

    /// An array of booleans.
    ///
    /// # Errors
    /// [`ArrayError::Length`] or [`ArrayError::Overflow`] if `shape` has another number of elements.
    pub fn from_bools(elements: Vec<bool>, shape: impl Into<Shape>) -> Result<Self, ArrayError> {
        let bytes: Vec<u8> = elements.into_iter().map(u8::from).collect();
        Self::from_bytes(DType::Bool, shape.into(), bytes.into())
    }

    /// An array over these bytes (row-major, native byte order), without copying them.
    ///
    /// # Errors
    /// [`ArrayError`] if the length does not fit the shape, or a `bool` is neither 0 nor 1.
    pub fn from_bytes(dtype: DType, shape: Shape, data: Bytes) -> Result<Self, ArrayError> {
        let expected = shape
            .elements()
            .and_then(|elements| elements.checked_mul(dtype.size()))
            .ok_or_else(|| ArrayError::Overflow(shape.clone()))?;
        if data.len() != expected {
            return Err(ArrayError::Length { shape, dtype, expected, found: data.len() });
        }
        if dtype == DType::Bool
            && let Some(at) = data.iter().position(|&byte| byte > 1)
        {
            return Err(ArrayError::Bool(at));
        }
        Ok(Self { dtype, shape, data })
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The sizes of the dimensions.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The elements' bytes, row-major, native byte order.
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// Takes the array apart.
    pub fn into_parts(self) -> (DType, Shape, Bytes) {
        (self.dtype, self.shape, self.data)
    }

    /// The elements, borrowed where the buffer is aligned for them; `None` if `T` is not the array's type.
    /// A `bool` array reads as `u8`.
    pub fn elements<T: Element>(&self) -> Option<Cow<'_, [T]>> {
        let same = self.dtype == T::DTYPE || (self.dtype == DType::Bool && T::DTYPE == DType::U8);
        same.then(|| match bytemuck::try_cast_slice(&self.data) {
            Ok(slice) => Cow::Borrowed(slice),
            Err(_) => Cow::Owned(bytemuck::pod_collect_to_vec(&self.data)),
        })
    }

    /// The elements in a vector of their own; `None` if `T` is not the array's type.
    pub fn to_vec<T: Element>(&self) -> Option<Vec<T>> {
        self.elements().map(Cow::into_owned)
    }

    /// The rows `rows` along dimension `dim`: shared with this array for dimension 0, copied for another.
    /// `None` where `dim` or `rows` is out of range.
    pub fn slice(&self, dim: usize, rows: Range<usize>) -> Option<Self> {
        let size = *self.shape.dims().get(dim)?;
        if rows.start > rows.end || rows.end > size {
            return None;
        }
        if rows == (0..size) {
            return Some(self.clone());
        }
        let shape = self.shape.clone().with(dim, rows.len());
        let (outer, inner) = self.around(dim);
        let data = if outer == 1 {
            self.data.slice(rows.start * inner..rows.end * inner)
        } else {
            let mut copied = Vec::with_capacity(outer * rows.len() * inner);
            for block in 0..outer {
                let start = block * size * inner;
                copied.extend_from_slice(&self.data[start + rows.start * inner..start + rows.end * inner]);
            }
            copied.into()
        };
        Some(Self { dtype: self.dtype, shape, data })
    }

    /// How many blocks lie outside dimension `dim`, and how many bytes one index of it spans.
    pub(crate) fn around(&self, dim: usize) -> (usize, usize) {
        let dims = self.shape.dims();
        (dims[..dim].iter().product(), dims[dim + 1..].iter().product::<usize>() * self.dtype.size())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_along_any_dimension() {
        let array = Array::new((0..12_i32).collect(), [2, 3, 2]).expect("fits");
        let check = |dim, rows, expected: Option<Vec<i32>>| {
            let found = array.slice(dim, rows).map(|rows| rows.to_vec().expect("is i32"));
            assert_eq!(found, expected);
        };
        check(0, 1..2, Some((6..12).collect()));
        check(1, 1..3, Some(vec![2, 3, 4, 5, 8, 9, 10, 11]));
        check(2, 0..1, Some(vec![0, 2, 4, 6, 8, 10]));
        check(2, 1..1, Some(vec![]));
        check(1, 2..4, None);
        check(3, 0..0, None);
    }

    #[test]
    fn slices_of_arrays_without_elements() {
        for (shape, dim) in [([2, 3, 0], 1), ([0, 0, 2], 1), ([2, 0, 3], 2)] {
            let array = Array::new(Vec::<f32>::new(), shape).expect("fits");
            let rows = shape[dim].saturating_sub(1);
            let slice = array.slice(dim, 0..rows).expect("in range");
            assert_eq!(slice.shape().dims()[dim], rows, "{shape:?}");
        }
    }
}
