//! When a call that comes now would be answered, and whether that is worth waiting for: numbers in, verdict out.

use std::time::{Duration, Instant};

use crate::cost::{Curve, Estimate};
use crate::queue::Run;

/// What goes before a call that comes now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ahead {
    /// Batches of calls like it.
    pub(crate) batches: usize,
    /// The rows that its batch has then, its own among them.
    pub(crate) rows: usize,
    /// The rows that its batch will have, as batches have been of late; at most `max_batch_size`.
    pub(crate) likely_rows: usize,
    /// Work of other kinds, in seconds of one executor.
    pub(crate) other: f64,
}

/// When it would be answered, in seconds from now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forecast {
    /// When its batch starts.
    start: f64,
    /// How far off that may be: the standard deviation of what goes before.
    spread: f64,
    /// What its batch costs at its least.
    least: f64,
    likely: Estimate,
    /// Whether it would join a batch that starts next on some executor, and that has room: nobody would make way for it.
    has_room: bool,
}

impl Forecast {
    /// `free_in` says for each executor, in rising order and at least for one, in how many seconds it is free.
    pub(crate) fn new(curve: &Curve, ahead: &Ahead, max_rows: usize, free_in: &[f64]) -> Self {
        let full = curve.estimate(max_rows);
        let executors = free_in.len().max(1);
        let turns = (ahead.batches / executors) as f64;
        let first = free_in.get(ahead.batches % executors).copied().unwrap_or_default();
        Self {
            start: first + turns * full.mean + ahead.other / executors as f64,
            spread: full.deviation * (ahead.batches as f64).sqrt() / executors as f64,
            least: curve.estimate(ahead.rows).low,
            likely: curve.estimate(ahead.likely_rows),
            has_room: ahead.batches < executors && ahead.likely_rows < max_rows,
        }
    }

    /// Whether a call with `slack` seconds left is refused.
    ///
    /// While executors have time to spare, it is taken if it is more likely than not to be in time. Under contention,
    /// where calls have been refused since an executor last had nothing to do, it is taken if it is sure to be: the
    /// queue is shorter then, which costs nothing, for it does not run empty, and a batch is not late because it took
    /// somewhat longer than usual. Either way it is taken if there is any hope and nobody has to make way for it.
    pub(crate) fn refuses(&self, slack: f64, contested: bool) -> bool {
        if self.has_room && self.start + self.least <= slack {
            return false;
        }
        slack < if contested { self.start + self.spread + self.likely.high } else { self.start + self.likely.mean }
    }

    /// By when it is sure to be answered.
    pub(crate) fn surely_by(&self) -> Duration {
        let seconds = self.start + self.spread + self.likely.high.max(self.least);
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }
}

/// In how many seconds a batch that runs will have ended. Nothing is expected of one whose cost was not known; one that
/// takes longer than it should may take half as much longer again.
pub(crate) fn remaining(run: &Run, now: Instant) -> f64 {
    let elapsed = now.saturating_duration_since(run.started).as_secs_f64();
    match run.cost {
        None => 0.0,
        Some(cost) if elapsed <= cost => cost - elapsed,
        Some(cost) => (elapsed - cost) / 2.0,
    }
}
