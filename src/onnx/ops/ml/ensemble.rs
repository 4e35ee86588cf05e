//! Trees side by side, as compact as running them asks for.
//!
//! All nodes of all trees lie in one array of 16 bytes each. Where a condition holds, the next node follows; where not, the
//! node says which. Rows are taken in blocks, and each tree sees a whole block before the next tree does: so a tree that
//! was fetched from memory is used often.

use rayon::prelude::*;

use crate::onnx::error::OpError;
use crate::onnx::tensor::{Result, count};

/// Rows that a tree sees at a time.
const BLOCK: usize = 64;

/// Rows times trees from which on several threads are worth their start.
const PARALLEL: usize = 1 << 13;

/// Features that a row may have, and votes that a leaf may have: what fits beside a mode.
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

/// What trees are asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Goal {
    pub(super) aggregate: Aggregate,
    pub(super) targets: usize,
    /// Whether sums are rounded to singles, as those are that models were made with: forests are often of two minds, and
    /// then the last bit says which class it is.
    pub(super) singles: bool,
}

impl Goal {
    /// `a + b`.
    pub(super) fn sum(&self, a: f64, b: f64) -> f64 {
        if self.singles { f64::from((a + b) as f32) } else { a + b }
    }
}

/// What a leaf adds to one target.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vote {
    pub(super) target: usize,
    pub(super) weight: f64,
}

/// A node as the graph describes it.
#[derive(Clone, Debug)]
pub(super) enum Described {
    Branch {
        mode: Mode,
        feature: usize,
        split: f64,
        /// What the feature may be, of [`Mode::Member`].
        members: Vec<f64>,
        /// Whether the condition holds where the feature is missing.
        missing: bool,
        /// The node where the condition holds, and where not.
        next: [usize; 2],
    },
    Leaf(Vec<Vote>),
}

/// A node as it is run. Of a leaf, `other` is the first of its votes, and `feature` how many there are; of a node that
/// asks for members, `split` is the number of their list.
#[derive(Clone, Copy, Debug)]
struct Flat {
    split: f64,
    other: u32,
    /// The mode in the bits from 24, in bit 31 whether the condition holds for a missing feature.
    feature: u32,
}

impl Flat {
    fn new(mode: Mode, feature: usize, missing: bool) -> Result<Self> {
        let fits = u32::try_from(feature).ok().filter(|_| feature < MOST);
        let feature = fits.ok_or_else(|| OpError::new(format!("feature {feature} is not supported")))?;
        let flags = (mode as u32) << 24 | u32::from(missing) << 31;
        Ok(Self { split: 0.0, other: 0, feature: feature | flags })
    }

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
    roots: Vec<usize>,
    votes: Vec<Vote>,
    members: Vec<Vec<f64>>,
    goal: Goal,
    /// Features that a row must have.
    features: usize,
}

fn small(index: usize) -> Result<u32> {
    u32::try_from(index).map_err(|_| OpError::new("the trees have too many nodes"))
}

impl Ensemble {
    /// Lays out the trees with these roots. A node may be reached only once, so that nothing runs in circles; a leaf may
    /// be shared.
    pub(super) fn new(described: &[Described], roots: &[usize], goal: Goal) -> Result<Self> {
        let (nodes, votes, members) = (Vec::new(), Vec::new(), Vec::new());
        let mut ensemble = Self { nodes, roots: Vec::new(), votes, members, goal, features: 0 };
        if goal.targets == 0 {
            return Err(OpError::new("the trees have no targets"));
        }
        let mut seen = vec![false; described.len()];
        for &root in roots {
            ensemble.roots.push(ensemble.nodes.len());
            ensemble.grow(described, root, &mut seen)?;
        }
        Ok(ensemble)
    }

    fn grow(&mut self, described: &[Described], root: usize, seen: &mut [bool]) -> Result<()> {
        // Nodes to come, and the one that must be told where they are.
        let mut rest: Vec<(usize, Option<usize>)> = vec![(root, None)];
        while let Some((index, asker)) = rest.pop() {
            let here = self.nodes.len();
            if let Some(asker) = asker {
                self.nodes[asker].other = small(here)?;
            }
            match described.get(index) {
                None => return Err(OpError::new(format!("the trees have no node {index}"))),
                Some(Described::Leaf(votes)) => self.leaf(votes)?,
                Some(Described::Branch { mode, feature, split, members, missing, next: [yes, no] }) => {
                    if std::mem::replace(&mut seen[index], true) {
                        return Err(OpError::new(format!("node {index} of the trees is reached twice")));
                    }
                    let mut flat = Flat { split: *split, ..Flat::new(*mode, *feature, *missing)? };
                    if *mode == Mode::Member {
                        flat.split = self.members.len() as f64;
                        self.members.push(members.clone());
                    }
                    self.features = self.features.max(feature + 1);
                    self.nodes.push(flat);
                    rest.push((*no, Some(here)));
                    rest.push((*yes, None));
                }
            }
        }
        Ok(())
    }

    fn leaf(&mut self, votes: &[Vote]) -> Result<()> {
        if let Some(vote) = votes.iter().find(|vote| vote.target >= self.goal.targets) {
            return Err(OpError::new(format!("a leaf votes for target {} of {}", vote.target, self.goal.targets)));
        }
        let first = small(self.votes.len())?;
        self.votes.extend_from_slice(votes);
        self.nodes.push(Flat { other: first, ..Flat::new(Mode::Leaf, votes.len(), false)? });
        Ok(())
    }

    pub(super) fn goal(&self) -> &Goal {
        &self.goal
    }

    /// The scores of rows of `width` features: for each row one for each target.
    pub(super) fn scores(&self, rows: &[f64], width: usize) -> Result<Vec<f64>> {
        if width < self.features {
            let wanted = self.features;
            return Err(OpError::caller(format!("the trees ask for {wanted} features, found rows of {width}")));
        }
        let rows_count = rows.len() / width.max(1);
        let start = match self.goal.aggregate {
            Aggregate::Average | Aggregate::Sum => 0.0,
            Aggregate::Min => f64::INFINITY,
            Aggregate::Max => f64::NEG_INFINITY,
        };
        let mut scores = vec![start; count(&[rows_count, self.goal.targets])?];
        let blocks = (BLOCK * width.max(1), BLOCK * self.goal.targets);
        if rows_count.saturating_mul(self.roots.len()) >= PARALLEL {
            let pairs = rows.par_chunks(blocks.0).zip(scores.par_chunks_mut(blocks.1));
            pairs.for_each(|(rows, scores)| self.block(rows, width, scores));
        } else {
            let pairs = rows.chunks(blocks.0).zip(scores.chunks_mut(blocks.1));
            pairs.for_each(|(rows, scores)| self.block(rows, width, scores));
        }
        Ok(scores)
    }

    fn block(&self, rows: &[f64], width: usize, scores: &mut [f64]) {
        for &root in &self.roots {
            for (row, scores) in rows.chunks_exact(width).zip(scores.chunks_exact_mut(self.goal.targets)) {
                let leaf = self.reach(root, row);
                let first = leaf.other as usize;
                for vote in &self.votes[first..first + leaf.feature()] {
                    let score = &mut scores[vote.target];
                    *score = match self.goal.aggregate {
                        Aggregate::Average | Aggregate::Sum => self.goal.sum(*score, vote.weight),
                        Aggregate::Min => score.min(vote.weight),
                        Aggregate::Max => score.max(vote.weight),
                    };
                }
            }
        }
        match self.goal.aggregate {
            Aggregate::Sum => {}
            Aggregate::Average => scores.iter_mut().for_each(|score| *score /= self.roots.len() as f64),
            // Nothing has voted for it.
            Aggregate::Min | Aggregate::Max => {
                scores.iter_mut().filter(|score| score.is_infinite()).for_each(|score| *score = 0.0);
            }
        }
    }

    /// The leaf where a row ends up.
    fn reach(&self, root: usize, row: &[f64]) -> Flat {
        let mut at = root;
        loop {
            let node = self.nodes[at];
            let mode = node.mode();
            if mode == Mode::Leaf {
                return node;
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
            at = if holds || (node.missing() && x.is_nan()) { at + 1 } else { node.other as usize };
        }
    }
}
