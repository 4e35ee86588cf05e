//! The rows dispatched together.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use crate::Worker;
use crate::call::Call;
use crate::recovery::Trial;

/// Some rows of one call, in a batch.
pub(crate) struct Entry<W: Worker> {
    pub(crate) call: Arc<Call<W>>,
    pub(crate) rows: Range<usize>,
}

impl<W: Worker> Entry<W> {
    /// The same rows, to be run again.
    pub(crate) fn again(&self) -> Self {
        Self { call: Arc::clone(&self.call), rows: self.rows.clone() }
    }
}

/// How many rows these are.
pub(crate) fn rows<W: Worker>(entries: &[Entry<W>]) -> usize {
    entries.iter().map(|entry| entry.rows.len()).sum()
}

/// The rows dispatched together.
pub(crate) struct Batch<W: Worker> {
    pub(crate) method: usize,
    pub(crate) entries: Vec<Entry<W>>,
    /// How many executors its only call has broken by itself.
    pub(crate) crashes: u32,
    /// The calls that are guilty if this batch succeeds; see [`halve`](crate::recovery::halve).
    pub(crate) rest: Vec<Entry<W>>,
    /// Where it is run again: what for.
    pub(crate) trial: Option<Arc<Trial>>,
    /// Once it has been given to an executor.
    pub(crate) run: Option<Run>,
}

/// A batch's run, while it lasts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// What it is expected to cost, in seconds, where that is known.
    pub(crate) cost: Option<f64>,
    /// The earliest deadline among its calls.
    pub(crate) deadline: Option<Instant>,
}

impl<W: Worker> Batch<W> {
    /// A batch that has not run before.
    pub(crate) fn new(method: usize, entries: Vec<Entry<W>>) -> Self {
        Self { method, entries, crashes: 0, rest: Vec::new(), trial: None, run: None }
    }

    pub(crate) fn rows(&self) -> usize {
        rows(&self.entries)
    }

    /// The shape that its calls share; one of theirs, should they differ.
    pub(crate) fn shape(&self) -> u64 {
        self.entries.first().map_or(0, |entry| entry.call.shape)
    }
}
