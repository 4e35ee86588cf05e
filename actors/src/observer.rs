//! Where numbers go: one place that sees every call's outcome, every batch and every change of state.

use std::time::Duration;

use crate::{CallError, Exit, RunnerState};

/// One batch that has run.
#[derive(Debug)]
pub struct BatchReport<'a> {
    /// Its rows.
    pub rows: usize,
    /// How long each of its calls waited before it started.
    pub waits: &'a [Duration],
    /// How long it ran.
    pub execution: Duration,
}

/// Told what happens in one runner. Called on hot paths: counts, and returns. It must not panic.
pub trait Observer: Send + Sync + 'static {
    /// A call of `method` has ended, `elapsed` after it arrived. Each call ends once.
    fn call_ended(&self, _method: usize, _error: Option<&CallError>, _elapsed: Duration) {}
    /// A batch of `method` has run.
    fn batch_ran(&self, _method: usize, _batch: &BatchReport<'_>) {}
    /// A batch of `method` had more rows than its device has memory for.
    fn out_of_memory(&self, _method: usize, _rows: usize) {}
    /// The runner has changed its state.
    fn state_changed(&self, _state: RunnerState, _cause: Option<&str>) {}
    /// An executor has ended.
    fn executor_exited(&self, _executor: usize, _exit: &Exit) {}
    /// An executor is being rebuilt.
    fn executor_restarted(&self, _executor: usize) {}
}

/// Observes nothing.
impl Observer for () {}
