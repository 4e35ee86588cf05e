//! The shape of a tensor, found while its nested arrays are read.

use smallvec::SmallVec;

use super::super::MAX_RANK;
use super::fault::Fault;
use crate::value::{Shape, TensorSpec};

const UNKNOWN: usize = usize::MAX;

/// Open arrays and the sizes they must have.
pub(super) struct Nesting {
    /// Arrays that are open.
    depth: usize,
    /// How deep the elements are, once the first was seen, or an empty array.
    rank: usize,
    /// Dimensions the tensor can have.
    deepest: usize,
    /// One for each dimension seen so far.
    levels: SmallVec<[Level; 4]>,
}

#[derive(Clone, Copy)]
struct Level {
    /// Elements of the open array that are complete: the index of the one being read.
    count: usize,
    /// Elements of the first array that closed at this level.
    size: usize,
}

impl Nesting {
    pub(super) fn new(spec: &TensorSpec) -> Self {
        let deepest = spec.shape().map_or(MAX_RANK, |shape| shape.len().min(MAX_RANK));
        Self { depth: 0, rank: UNKNOWN, deepest, levels: SmallVec::new() }
    }

    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    pub(super) fn deepest(&self) -> usize {
        self.deepest
    }

    /// The size found for dimension `level`.
    pub(super) fn size(&self, level: usize) -> usize {
        self.levels.get(level).map_or(UNKNOWN, |level| level.size)
    }

    /// An array opens.
    #[inline]
    pub(super) fn open(&mut self) -> Result<(), Fault> {
        if self.depth >= self.rank {
            return Err(Fault::Deeper);
        }
        match self.levels.get_mut(self.depth) {
            Some(level) => level.count = 0,
            None if self.depth < self.deepest => self.levels.push(Level { count: 0, size: UNKNOWN }),
            None => return Err(Fault::TooDeep),
        }
        self.depth += 1;
        Ok(())
    }

    /// An element begins.
    #[inline]
    pub(super) fn leaf(&mut self) -> Result<(), Fault> {
        if self.rank == UNKNOWN {
            self.rank = self.depth;
        }
        if self.rank == self.depth { Ok(()) } else { Err(Fault::Shallower) }
    }

    /// So many elements of the innermost array have been read.
    #[inline]
    pub(super) fn count(&mut self, count: usize) {
        if let Some(level) = self.innermost() {
            level.count = count;
        }
    }

    /// The innermost array closes.
    #[inline]
    pub(super) fn close(&mut self) -> Result<(), Fault> {
        let depth = self.depth;
        let Some(level) = self.innermost() else { return Ok(()) };
        let count = level.count;
        if level.size == UNKNOWN {
            level.size = count;
        } else if level.size != count {
            return Err(Fault::Ragged(count));
        }
        if self.rank == UNKNOWN {
            self.rank = depth;
        }
        self.depth -= 1;
        if let Some(outer) = self.innermost() {
            outer.count += 1;
        }
        Ok(())
    }

    #[inline]
    fn innermost(&mut self) -> Option<&mut Level> {
        self.levels.get_mut(self.depth.wrapping_sub(1))
    }

    /// Where the reading is, `depth` indices deep: `[3][1]`.
    pub(super) fn path(&self, depth: usize) -> String {
        self.levels.iter().take(depth).map(|level| format!("[{}]", level.count)).collect()
    }

    /// The shape of a tensor that was read to its end. One without elements may not show its inner dimensions (`[]`):
    /// they are the spec's, where it knows them all.
    pub(super) fn shape(&self, spec: &TensorSpec) -> Shape {
        let mut shape = Shape::default();
        for level in self.levels.iter().take(self.rank) {
            shape.push(level.size);
        }
        if shape.dims().last() == Some(&0)
            && let Some(inner) = spec.shape().and_then(|whole| whole.get(shape.rank()..))
            && inner.iter().all(Option::is_some)
        {
            inner.iter().flatten().for_each(|&size| shape.push(size));
        }
        shape
    }
}
