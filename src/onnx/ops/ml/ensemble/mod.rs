//! Trees side by side, as compact as running them asks for.
//!
//! All nodes of all trees lie in one array of 16 bytes each. Where a condition holds, the next node follows; where not, the
//! node says which; a leaf leads to itself. Rows are taken in blocks, and each tree sees a whole block before the next tree
//! does: so a tree that was fetched from memory is used often. And rows go down a tree together, so that while one waits
//! for its node the others go on.

mod grow;

use rayon::prelude::*;

pub(super) use self::grow::{Branch, Described, Vote};
use super::Rows;
use crate::onnx::error::OpError;
use crate::onnx::tensor::{Result, count};

/// Rows that a tree sees at a time.
const BLOCK: usize = 64;

/// Rows that go down a tree together.
const LANES: usize = 8;

/// Rows times trees from which on several threads are worth their start.
const PARALLEL: usize = 1 << 12;

/// Features that a row may have: what fits beside a mode.
const MOST: usize = 1 << 24;

/// What a node asks of a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Mode {
    LessOrEqual,
    Less,
    GreaterOrEqual,
    Greater,
    Equal,
    NotEqual,
    Member,
    Leaf,
}

impl Mode {
    /// By number, as newer graphs have it; the last is not among them.
    pub(super) const ALL: [Self; 8] = [
        Self::LessOrEqual,
        Self::Less,
        Self::GreaterOrEqual,
        Self::Greater,
        Self::Equal,
        Self::NotEqual,
        Self::Member,
        Self::Leaf,
    ];
}

/// How the votes for a target become one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aggregate {
    Average,
    Sum,
    Min,
    Max,
}

/// What sums are rounded to: what the features are of, as those that models are made with do. Forests are often of two
/// minds, and then the last bit says which class it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Precision {
    Single,
    Double,
}

impl Precision {
    /// `a + b`.
    pub(super) fn sum(self, a: f64, b: f64) -> f64 {
        if self == Self::Single { f64::from((a + b) as f32) } else { a + b }
    }
}

/// A node as it is run. Of one that asks for members, `split` is the number of their list.
#[derive(Clone, Copy, Debug)]
struct Flat {
    split: f64,
    /// The node where the condition does not hold.
    other: u32,
    /// The mode in the bits from 24, in bit 31 whether the condition holds for a missing feature.
    feature: u32,
}

impl Flat {
    fn mode(self) -> Mode {
        Mode::ALL[(self.feature >> 24 & 7) as usize]
    }

    fn feature(self) -> usize {
        self.feature as usize & (MOST - 1)
    }

    fn missing(self) -> bool {
        self.feature >> 31 != 0
    }
}

/// Trees that vote for targets.
#[derive(Debug)]
pub(super) struct Ensemble {
    nodes: Vec<Flat>,
    roots: Vec<u32>,
    votes: Vec<Vote>,
    /// For each node the end of its votes, which begin at the end of those of the node before.
    ends: Vec<u32>,
    members: Vec<Vec<f64>>,
    aggregate: Aggregate,
    targets: usize,
    /// Features that a row must have.
    features: usize,
    /// Whether all conditions are of [`Mode::LessOrEqual`].
    plain: bool,
}

impl Ensemble {
    pub(super) fn targets(&self) -> usize {
        self.targets
    }

    /// The scores of rows: for each row one for each target.
    pub(super) fn scores(&self, rows: &Rows) -> Result<Vec<f64>> {
        let Rows { values: rows, width, precision, .. } = rows;
        let (width, precision) = (*width, *precision);
        if width < self.features {
            let wanted = self.features;
            return Err(OpError::caller(format!("the trees ask for {wanted} features, found rows of {width}")));
        }
        let rows_count = rows.len() / width;
        let start = match self.aggregate {
            Aggregate::Average | Aggregate::Sum => 0.0,
            Aggregate::Min => f64::INFINITY,
            Aggregate::Max => f64::NEG_INFINITY,
        };
        let mut scores = vec![start; count(&[rows_count, self.targets])?];
        if rows_count.saturating_mul(self.roots.len()) >= PARALLEL {
            let block = rows_count.div_ceil(rayon::current_num_threads()).next_multiple_of(LANES).min(BLOCK);
            let pairs = rows.par_chunks(block * width).zip(scores.par_chunks_mut(block * self.targets));
            pairs.for_each(|(rows, scores)| self.block(rows, width, precision, scores));
        } else {
            let pairs = rows.chunks(BLOCK * width).zip(scores.chunks_mut(BLOCK * self.targets));
            pairs.for_each(|(rows, scores)| self.block(rows, width, precision, scores));
        }
        Ok(scores)
    }

    fn block(&self, rows: &[f64], width: usize, precision: Precision, scores: &mut [f64]) {
        let targets = self.targets;
        let together = if self.plain { rows.len() / (width * LANES) * LANES } else { 0 };
        let (rows, last_rows) = rows.split_at(together * width);
        let (first, last) = scores.split_at_mut(together * targets);
        for &root in &self.roots {
            for (rows, scores) in rows.chunks_exact(width * LANES).zip(first.chunks_exact_mut(targets * LANES)) {
                let leaves = self.reach_together(root, rows, width);
                scores
                    .chunks_exact_mut(targets)
                    .zip(leaves)
                    .for_each(|(scores, leaf)| self.vote(leaf, precision, scores));
            }
            for (row, scores) in last_rows.chunks_exact(width).zip(last.chunks_exact_mut(targets)) {
                self.vote(self.reach(root, row), precision, scores);
            }
        }
        match self.aggregate {
            Aggregate::Sum => {}
            Aggregate::Average => scores.iter_mut().for_each(|score| *score /= self.roots.len() as f64),
            // Nothing has voted for it.
            Aggregate::Min | Aggregate::Max => {
                scores.iter_mut().filter(|score| score.is_infinite()).for_each(|score| *score = 0.0);
            }
        }
    }

    fn vote(&self, leaf: u32, precision: Precision, scores: &mut [f64]) {
        let leaf = leaf as usize;
        let first = leaf.checked_sub(1).map_or(0, |before| self.ends[before]);
        for vote in &self.votes[first as usize..self.ends[leaf] as usize] {
            let score = &mut scores[vote.target];
            *score = match self.aggregate {
                Aggregate::Average | Aggregate::Sum => precision.sum(*score, vote.weight),
                Aggregate::Min => score.min(vote.weight),
                Aggregate::Max => score.max(vote.weight),
            };
        }
    }

    /// The leaves where rows end up, of trees whose conditions are plain. Which node is next is computed, not jumped to:
    /// it is as good as random.
    fn reach_together(&self, root: u32, rows: &[f64], width: usize) -> [u32; LANES] {
        let mut at = [root; LANES];
        loop {
            let mut moved = false;
            for (lane, at) in at.iter_mut().enumerate() {
                let node = self.nodes[*at as usize];
                let x = rows[lane * width + node.feature()];
                let holds = (x <= node.split) | (node.missing() & x.is_nan());
                let next = std::hint::select_unpredictable(holds, *at + 1, node.other);
                moved |= next != *at;
                *at = next;
            }
            if !moved {
                return at;
            }
        }
    }

    /// The leaf where a row ends up.
    fn reach(&self, root: u32, row: &[f64]) -> u32 {
        let mut at = root;
        loop {
            let node = self.nodes[at as usize];
            let mode = node.mode();
            if mode == Mode::Leaf {
                return at;
            }
            let x = row[node.feature()];
            let holds = match mode {
                Mode::LessOrEqual => x <= node.split,
                Mode::Less => x < node.split,
                Mode::GreaterOrEqual => x >= node.split,
                Mode::Greater => x > node.split,
                Mode::Equal => x == node.split,
                Mode::NotEqual => x != node.split,
                Mode::Member | Mode::Leaf => self.members[node.split as usize].contains(&x),
            };
            at = if holds || (node.missing() && x.is_nan()) { at + 1 } else { node.other };
        }
    }
}
