//! What must hold at every moment.

use std::sync::Arc;

use super::{Executor, Known, Record, Tally, World};
use crate::Batching;
use crate::batch::Batch;
use crate::board::Phase;
use crate::lane::{AGE, place_of};
use crate::recovery::most_runs;
use crate::simulation::toy::{Input, Nature, Toy};

impl World<'_> {
    pub(super) fn is_ending(&self) -> bool {
        matches!(self.board.phase, Phase::Draining | Phase::Closed(_))
    }

    /// Calls of `method` with rows that were never dispatched, in the order in which they came.
    pub(super) fn waiting(&self, method: usize) -> impl Iterator<Item = &Record> {
        let waits = move |record: &&Record| {
            record.method == method && record.ends == 0 && !record.dropped && record.waiting() > 0
        };
        self.open.iter().map(|id| &self.calls[id]).filter(waits)
    }

    /// Whether an executor has nothing to do, and has had the chance to say so.
    pub(super) fn has_idle(&self) -> bool {
        self.seats.iter().any(|seat| matches!(seat.executor, Executor::Listening) && !seat.stands_by)
    }

    pub(super) fn check_batch(&mut self, batch: &Batch<Toy>, tally: &mut Tally) {
        let limits = &self.setup.methods[batch.method];
        assert!(batch.rows() <= limits.max_batch_size.get(), "a batch of {} rows", batch.rows());
        assert!(batch.entries.len() <= 1 || limits.batching != Batching::Off, "a batch with batching off");
        self.check_trial(batch);
        let cap = self.board.caps(batch.method).into_iter().find(|cap| cap.shape == batch.shape());
        // Calls that run one by one may be of any shape, and the first may go when it is looked at.
        let is_new = limits.batching != Batching::Off
            && batch.entries.iter().all(|entry| self.calls[&entry.call.input.id].returned.is_empty());
        assert!(!is_new || cap.is_none_or(|cap| batch.rows() <= cap.rows), "{} rows, over {cap:?}", batch.rows());
        if batch.entries.len() > 1 {
            tally.add("shared");
        }
        let shape = batch.entries[0].call.input.shape;
        let mut fresh = 0;
        for entry in &batch.entries {
            let Input { id, shape: its, .. } = entry.call.input;
            let record = &self.calls[&id];
            assert!(its == shape && record.method == batch.method, "calls share a batch that may not");
            let first = record.returned.is_empty();
            let place = |record: &Record| (place_of(&record.call), record.input().id);
            let before = |other: &&Record| {
                let alike = limits.batching == Batching::Off || other.input().shape == shape;
                alike && other.is_live(self.now) && place(other) < place(record)
            };
            let is_raised = self.now.duration_since(record.call.arrived) >= AGE;
            if first
                && !is_raised
                && let Some(before) = self.waiting(batch.method).find(before)
            {
                panic!("{:?} was overtaken by {:?}", before.input(), record.input());
            }
            let record = self.calls.get_mut(&id).expect("an accepted call");
            fresh += usize::from(record.dispatch(&entry.rows, self.now));
        }
        assert!(fresh == 0 || fresh == batch.entries.len(), "a batch that is run again has grown");
    }

    /// The search for guilty calls costs no more runs than it may.
    fn check_trial(&mut self, batch: &Batch<Toy>) {
        let Some(trial) = &batch.trial else { return };
        let calls = batch.entries.iter().chain(&batch.rest);
        let guilty = calls.filter(|entry| entry.call.input.nature != Nature::Good).count();
        let known = self.trials.iter_mut().find(|known| Arc::ptr_eq(&known.trial, trial));
        let Some(known) = known else {
            return self.trials.push(Known { trial: Arc::clone(trial), guilty, runs: 1, accidents: 0, starved: false });
        };
        known.runs += 1;
        if known.starved {
            return;
        }
        let most = most_runs(trial.calls) as usize * (known.guilty + known.accidents).max(1);
        assert!(known.runs <= most, "{} runs for {} guilty of {} calls", known.runs, known.guilty, trial.calls);
    }

    /// Nothing that could run waits for nobody; nothing outlives its deadline.
    pub(super) fn check(&self, tally: &mut Tally) {
        let slack = self.setup.latency * 4;
        for record in self.open.iter().map(|id| &self.calls[id]) {
            let is_late = record.call.deadline().is_some_and(|deadline| deadline + slack < self.now);
            assert!(
                !is_late || !self.batchers[record.method].alive || record.dropped,
                "{:?} outlives its deadline",
                record.input()
            );
        }
        for seat in self.seats.iter().filter(|_| self.found == 0) {
            let Executor::Running(batch, since) = &seat.executor else { continue };
            let Some(timeout) = self.setup.methods[batch.method].batch_timeout else { continue };
            let is_found = self.now <= *since + timeout + slack || !self.batchers[batch.method].alive;
            assert!(is_found, "an executor is stuck, and nobody has noticed");
        }
        for method in 0..self.setup.methods.len() {
            // A call that has ended, or been put back, may still lie there until somebody comes across it.
            let of_method = || self.calls.values().filter(|record| record.method == method);
            let least: usize = of_method().filter(|record| record.ends == 0).map(Record::waiting).sum();
            let returned = |record: &Record| record.returned.iter().map(|rows| rows.len()).sum::<usize>();
            let ended = |record: &Record| if record.ends > 0 { record.waiting() } else { 0 };
            let most = least + of_method().map(|record| returned(record) + ended(record)).sum::<usize>();
            let queued = self.board.queued(method);
            assert!((least..=most).contains(&queued), "{queued} rows are said to wait, not {least} to {most}");
        }
        let somebody_looks = self.wakes > 0 || self.seats.iter().any(|seat| matches!(seat.executor, Executor::Unheard));
        if !self.has_idle() || somebody_looks || self.paused {
            return;
        }
        for (method, limits) in self.setup.methods.iter().enumerate() {
            for shape in 0..self.setup.shapes {
                let of_shape = |record: &&Record| record.input().shape == shape && record.is_live(self.now);
                let mut lane = self.waiting(method).filter(of_shape).peekable();
                let Some(oldest) = lane.peek().map(|record| record.call.arrived) else { continue };
                let (mut rows, mut is_urgent) = (0, false);
                for record in lane {
                    rows += record.waiting();
                    is_urgent |= record.call.timeout.is_some();
                }
                // Adaptive batching waits only where calls might be lost otherwise.
                let may_wait = match limits.batching {
                    Batching::Window => true,
                    Batching::Adaptive => is_urgent,
                    Batching::Off => false,
                };
                let waits_for_company = may_wait
                    && !self.is_ending()
                    && rows < limits.max_batch_size.get()
                    && (self.now.duration_since(oldest) < limits.max_latency.saturating_add(slack)
                        || !self.batchers[method].alive);
                assert!(waits_for_company, "{rows} rows of method {method} wait while an executor is idle");
            }
        }
        let held = |record: &Record| {
            self.seats.iter().any(|seat| match &seat.executor {
                Executor::Running(batch, _) => batch.rest.iter().any(|entry| entry.call.input.id == record.input().id),
                _ => false,
            })
        };
        for record in self.open.iter().map(|id| &self.calls[id]).filter(|record| record.is_live(self.now)) {
            if held(record) {
                continue;
            }
            assert!(record.returned.is_empty(), "{:?} is to run again, and an executor is idle", record.input());
        }
        for record in self
            .calls
            .values()
            .filter(|record| record.lone && record.call.arrived == self.now && record.ends == 0 && !record.dropped)
        {
            assert!(record.next_row > 0, "{:?} came alone and did not start at once", record.input());
            tally.add("lone");
        }
    }
}
