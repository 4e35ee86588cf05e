//! The sizes of an array's dimensions.

use std::fmt;

use smallvec::SmallVec;

/// The sizes of an array's dimensions, outermost first; a scalar's has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shape(SmallVec<[usize; 4]>);

impl Shape {
    /// A shape of these sizes.
    pub fn new(dims: &[usize]) -> Self {
        Self(SmallVec::from_slice(dims))
    }

    /// The sizes, outermost first.
    pub fn dims(&self) -> &[usize] {
        &self.0
    }

    /// The number of dimensions.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// The number of elements, 1 for a scalar; `None` where it does not fit a `usize`.
    pub fn elements(&self) -> Option<usize> {
        if self.0.contains(&0) {
            return Some(0);
        }
        self.0.iter().try_fold(1_usize, |product, &size| product.checked_mul(size))
    }

    /// The same shape with `size` in dimension `dim`. Out of range, it is the same shape.
    #[must_use]
    pub fn with(mut self, dim: usize, size: usize) -> Self {
        if let Some(slot) = self.0.get_mut(dim) {
            *slot = size;
        }
        self
    }

    /// Adds an innermost dimension.
    pub fn push(&mut self, size: usize) {
        self.0.push(size);
    }

    /// Whether both have the same sizes everywhere but in dimension `dim`.
    pub fn same_but(&self, other: &Self, dim: usize) -> bool {
        self.rank() == other.rank()
            && self.0.iter().zip(&other.0).enumerate().all(|(at, (mine, theirs))| at == dim || mine == theirs)
    }
}

impl From<&[usize]> for Shape {
    fn from(dims: &[usize]) -> Self {
        Self::new(dims)
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(dims: [usize; N]) -> Self {
        Self::new(&dims)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (at, size) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{size}")?;
        }
        f.write_str("]")
    }
}
