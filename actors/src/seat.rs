//! One executor's place on the board, and what it holds there.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::Worker;
use crate::batch::Batch;
use crate::forecast::remaining;

/// One executor's place.
pub(crate) enum Seat<W: Worker> {
    /// Nobody sits there.
    Vacant,
    /// Its executor has nothing to do.
    Idle,
    /// Its executor has been woken, or is between two batches.
    Awake,
    /// Its executor waits for its turn on a device that it shares. It looks then, and nobody counts on it before.
    StandingBy,
    /// Its executor runs these.
    Running(Running<W>),
}

impl<W: Worker> Seat<W> {
    pub(crate) fn running(&self) -> Option<&Running<W>> {
        match self {
            Self::Running(running) => Some(running),
            Self::Vacant | Self::Idle | Self::Awake | Self::StandingBy => None,
        }
    }

    /// What its executor has been given and has not finished, the first first.
    pub(crate) fn batches(&self) -> impl Iterator<Item = &Arc<Batch<W>>> {
        self.running().into_iter().flat_map(Running::batches)
    }
}

/// What an executor has been given: the batch that its device works on, and those that it has been handed ahead.
pub(crate) struct Running<W: Worker> {
    batch: Arc<Batch<W>>,
    /// Since when that is what the device works on.
    begun: Instant,
    /// Since when it is to be found stuck with it.
    pub(crate) since: Instant,
    ahead: VecDeque<Arc<Batch<W>>>,
    /// Whether two were there at once since its executor last had nothing.
    pub(crate) had_company: bool,
}

impl<W: Worker> Running<W> {
    pub(crate) fn new(batch: Arc<Batch<W>>, now: Instant) -> Self {
        Self { batch, begun: now, since: now, ahead: VecDeque::new(), had_company: false }
    }

    /// The one that its device works on.
    pub(crate) fn first(&self) -> &Arc<Batch<W>> {
        &self.batch
    }

    pub(crate) fn batches(&self) -> impl Iterator<Item = &Arc<Batch<W>>> {
        std::iter::once(&self.batch).chain(&self.ahead)
    }

    pub(crate) fn into_batches(self) -> impl Iterator<Item = Arc<Batch<W>>> {
        std::iter::once(self.batch).chain(self.ahead)
    }

    /// Another batch has been handed to the device, which does it when it has done the others.
    pub(crate) fn add(&mut self, batch: Arc<Batch<W>>) {
        self.ahead.push_back(batch);
        self.had_company = true;
    }

    /// `batch` is over.
    pub(crate) fn without(mut self, batch: &Batch<W>, now: Instant) -> Rest<W> {
        let is = |held: &Arc<Batch<W>>| std::ptr::eq(Arc::as_ptr(held), batch);
        if !is(&self.batch) {
            let at = self.ahead.iter().position(is);
            let over = at.and_then(|at| self.ahead.remove(at));
            return Rest { over, running: Some(self), has_turned: false };
        }
        let Some(next) = self.ahead.pop_front() else {
            return Rest { over: Some(self.batch), running: None, has_turned: false };
        };
        let over = std::mem::replace(&mut self.batch, next);
        (self.begun, self.since) = (now, now);
        Rest { over: Some(over), running: Some(self), has_turned: true }
    }

    /// In how many seconds all of it will have ended.
    pub(crate) fn remaining(&self, now: Instant) -> f64 {
        let cost = |batch: &Arc<Batch<W>>| batch.run.as_ref().and_then(|run| run.cost);
        remaining(cost(&self.batch), self.begun, now) + self.ahead.iter().filter_map(cost).sum::<f64>()
    }
}

/// What is left when a batch is over.
pub(crate) struct Rest<W: Worker> {
    pub(crate) running: Option<Running<W>>,
    /// Whether the device has turned to another batch.
    pub(crate) has_turned: bool,
    /// The batch, as it was held.
    pub(crate) over: Option<Arc<Batch<W>>>,
}

/// One executor's hold on its seat. It ends when the supervisor takes the executor for gone, whether it is or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tenure {
    pub(crate) seat: usize,
    /// Counted over all seats.
    pub(crate) nth: u64,
}

/// An executor has run a batch for longer than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stuck {
    pub(crate) tenure: Tenure,
    /// When that was found.
    pub(crate) found: Instant,
    /// How long it may.
    pub(crate) timeout: Duration,
}
