//! How trees are laid out.

use super::{Aggregate, Ensemble, Flat, MOST, Mode};
use crate::onnx::error::OpError;
use crate::onnx::tensor::Result;

/// What a leaf adds to one target.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Vote {
    pub(in super::super) target: usize,
    pub(in super::super) weight: f64,
}

/// A node as the graph describes it.
#[derive(Clone, Debug)]
pub(in super::super) enum Described {
    Branch(Branch),
    Leaf(Vec<Vote>),
}

/// A node that asks something of a feature.
#[derive(Clone, Debug)]
pub(in super::super) struct Branch {
    pub(in super::super) mode: Mode,
    pub(in super::super) feature: usize,
    pub(in super::super) split: f64,
    /// What the feature may be, of [`Mode::Member`].
    pub(in super::super) members: Vec<f64>,
    /// Whether the condition holds where the feature is missing.
    pub(in super::super) missing: bool,
    /// The node where the condition holds, and where not.
    pub(in super::super) next: [usize; 2],
}

/// What is known of a described node while trees are laid out.
#[derive(Clone, Copy, Debug)]
enum Place {
    Unknown,
    /// It is laid out, and what comes of it not yet.
    Open,
    Known(u32),
}

/// What remains to be done.
enum Task {
    /// Lay out a node: at once after the one before, or anywhere and tell the one that asks.
    Lay { index: usize, asker: Option<u32> },
    /// All that comes of a node is laid out.
    Leave { index: usize, place: u32 },
}

/// A condition that is as good as another, and whether the two nodes that may be next change places. All four that order
/// numbers become the first of them: what is less than `split` is at most the number before.
fn plain(mode: Mode, split: f64, missing: bool) -> (Mode, f64, bool, bool) {
    match mode {
        Mode::Less if split > f64::NEG_INFINITY => (Mode::LessOrEqual, split.next_down(), missing, false),
        Mode::GreaterOrEqual if split > f64::NEG_INFINITY => (Mode::LessOrEqual, split.next_down(), !missing, true),
        Mode::Greater => (Mode::LessOrEqual, split, !missing, true),
        other => (other, split, missing, false),
    }
}

fn small(index: usize) -> Result<u32> {
    u32::try_from(index).map_err(|_| OpError::new("the trees have too many nodes"))
}

impl Flat {
    fn new(mode: Mode, feature: usize, missing: bool) -> Result<Self> {
        let fits = u32::try_from(feature).ok().filter(|_| feature < MOST);
        let feature: u32 = fits.ok_or_else(|| OpError::new(format!("feature {feature} is not supported")))?;
        let flags = (mode as u32) << 24 | u32::from(missing) << 31;
        Ok(Self { split: 0.0, other: 0, feature: feature | flags })
    }
}

impl Ensemble {
    /// Lays out the trees with these roots. Branches may meet again, as those that ask for one of some categories do, but
    /// not run in circles.
    pub(in super::super) fn new(
        described: &[Described],
        roots: &[usize],
        aggregate: Aggregate,
        targets: usize,
    ) -> Result<Self> {
        let mut ensemble = Self {
            nodes: Vec::new(),
            roots: Vec::with_capacity(roots.len()),
            votes: Vec::new(),
            ends: Vec::new(),
            members: Vec::new(),
            aggregate,
            targets,
            features: 1,
            plain: true,
        };
        if targets == 0 {
            return Err(OpError::new("the trees have no targets"));
        }
        let mut places = vec![Place::Unknown; described.len()];
        for &root in roots {
            ensemble.roots.push(small(ensemble.nodes.len())?);
            ensemble.grow(described, root, &mut places)?;
        }
        Ok(ensemble)
    }

    fn grow(&mut self, described: &[Described], root: usize, places: &mut [Place]) -> Result<()> {
        let mut rest = vec![Task::Lay { index: root, asker: None }];
        while let Some(task) = rest.pop() {
            let (index, asker) = match task {
                Task::Lay { index, asker } => (index, asker),
                Task::Leave { index, place } => {
                    places[index] = Place::Known(place);
                    continue;
                }
            };
            let known = places.get(index).copied().unwrap_or(Place::Unknown);
            let here = small(self.nodes.len())?;
            match (known, asker) {
                (Place::Open, _) => return Err(OpError::new(format!("the trees run in circles at node {index}"))),
                (Place::Known(place), Some(asker)) => self.nodes[asker as usize].other = place,
                // Something must follow here: a condition that never holds.
                (Place::Known(place), None) => {
                    self.push(Flat { split: f64::NAN, other: place, ..Flat::new(Mode::LessOrEqual, 0, false)? })?;
                }
                (Place::Unknown, asker) => {
                    if let Some(asker) = asker {
                        self.nodes[asker as usize].other = here;
                    }
                    match described.get(index) {
                        None => return Err(OpError::new(format!("the trees have no node {index}"))),
                        Some(Described::Leaf(votes)) => self.leaf(votes)?,
                        Some(Described::Branch(branch)) => {
                            places[index] = Place::Open;
                            rest.push(Task::Leave { index, place: here });
                            let [next, other] = self.branch(branch)?;
                            rest.push(Task::Lay { index: other, asker: Some(here) });
                            rest.push(Task::Lay { index: next, asker: None });
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Adds a branch; returns the node that must follow, and the other one.
    fn branch(&mut self, branch: &Branch) -> Result<[usize; 2]> {
        let Branch { feature, next: [yes, no], .. } = *branch;
        let (mode, split, missing, swapped) = plain(branch.mode, branch.split, branch.missing);
        let mut flat = Flat { split, ..Flat::new(mode, feature, missing)? };
        if mode == Mode::Member {
            flat.split = self.members.len() as f64;
            self.members.push(branch.members.clone());
        }
        self.plain &= mode == Mode::LessOrEqual;
        self.features = self.features.max(feature + 1);
        self.push(flat)?;
        Ok(if swapped { [no, yes] } else { [yes, no] })
    }

    fn push(&mut self, node: Flat) -> Result<()> {
        self.nodes.push(node);
        self.ends.push(small(self.votes.len())?);
        Ok(())
    }

    fn leaf(&mut self, votes: &[Vote]) -> Result<()> {
        if let Some(vote) = votes.iter().find(|vote| vote.target >= self.targets) {
            return Err(OpError::new(format!("a leaf votes for target {} of {}", vote.target, self.targets)));
        }
        self.votes.extend_from_slice(votes);
        // No condition holds.
        let other = small(self.nodes.len())?;
        self.push(Flat { split: f64::NAN, other, ..Flat::new(Mode::Leaf, 0, false)? })
    }
}
