//! What executors have been given and have not finished.

use std::sync::Arc;
use std::time::Instant;

use super::{Board, Effects, Phase};
use crate::Worker;
use crate::batch::Batch;
use crate::seat::{Rest, Seat, Stuck, Tenure};

impl<W: Worker> Board<W> {
    /// An executor whose device has work asks for more to hand to it ahead: a full batch, where the calls that go first make
    /// up one. What is not full may have company until the device is free, and loses nothing by waiting.
    ///
    /// What ends an executor ends all that it has been given, and nobody knows whose fault that was. So whatever is under
    /// suspicion runs by itself, and so does what may run only once.
    pub(crate) fn next_ahead(
        &mut self,
        tenure: Tenure,
        now: Instant,
        effects: &mut Effects<W>,
    ) -> Option<Arc<Batch<W>>> {
        let seat = tenure.seat;
        let stays =
            self.holds(tenure) && !self.released[seat] && !self.paused && !matches!(self.phase, Phase::Closed(_));
        let is_wanted = self.returned.is_empty() && self.idle.is_empty() && self.waking.is_none();
        if !stays || !is_wanted || self.is_crowded {
            return None;
        }
        let may_have_company = |batch: &Arc<Batch<W>>| batch.trial.is_none() && self.retries(batch.method);
        if !self.seats[seat].running()?.batches().all(may_have_company) {
            return None;
        }
        let batch = self.take_due(true, now, effects)?;
        let batch = self.begin(batch);
        if let Seat::Running(running) = &mut self.seats[seat] {
            running.add(Arc::clone(&batch));
        }
        Some(batch)
    }

    /// `batch` is given to an executor.
    pub(super) fn begin(&self, mut batch: Batch<W>) -> Arc<Batch<W>> {
        batch.run = Some(self.methods[batch.method].queue.run(&batch));
        Arc::new(batch)
    }

    /// A device has begun with a batch of `method`: has it looked at when it must have ended.
    pub(super) fn watch(&mut self, method: usize, now: Instant, effects: &mut Effects<W>) {
        let timeout = self.methods[method].queue.limits().batch_timeout;
        if let Some(end) = timeout.and_then(|timeout| now.checked_add(timeout)) {
            self.set_alarm(method, end, effects);
        }
    }

    pub(super) fn retries(&self, method: usize) -> bool {
        self.methods[method].queue.limits().retry
    }

    /// What an executor was given ahead has been launched: the time that took is not the first batch's.
    pub(crate) fn has_launched_ahead(&mut self, tenure: Tenure, now: Instant) {
        if self.holds(tenure)
            && let Seat::Running(running) = &mut self.seats[tenure.seat]
        {
            running.since = now;
        }
    }

    /// An executor has finished `batch`, however that went. Whether another one was there beside it.
    pub(crate) fn put_down(
        &mut self,
        tenure: Tenure,
        batch: &Batch<W>,
        now: Instant,
        effects: &mut Effects<W>,
    ) -> bool {
        if !self.holds(tenure) || !self.is_running(tenure.seat) {
            return false;
        }
        let Seat::Running(running) = std::mem::replace(&mut self.seats[tenure.seat], Seat::Awake) else { return false };
        let had_company = running.had_company;
        let Rest { running, has_turned, over } = running.without(batch, now);
        effects.done = over;
        let Some(running) = running else { return had_company };
        let method = running.first().method;
        self.seats[tenure.seat] = Seat::Running(running);
        if has_turned {
            self.watch(method, now, effects);
        }
        had_company
    }

    /// Finds executors that have run a batch of `method` for too long, and has the others looked at in time. Who is
    /// found is looked at again after as long, if it is still there.
    pub(super) fn find_stuck(&mut self, method: usize, now: Instant, effects: &mut Effects<W>) {
        let Some(timeout) = self.methods[method].queue.limits().batch_timeout else { return };
        let mut next: Option<Instant> = None;
        for (seat, state) in self.seats.iter_mut().enumerate() {
            let Seat::Running(running) = state else { continue };
            if running.first().method != method {
                continue;
            }
            if now.saturating_duration_since(running.since) >= timeout {
                running.since = now;
                effects.stuck.push(Stuck { tenure: Tenure { seat, nth: self.holders[seat] }, found: now, timeout });
            }
            next = [next, running.since.checked_add(timeout)].into_iter().flatten().min();
        }
        if let Some(next) = next {
            self.set_alarm(method, next, effects);
        }
    }

    /// Whether it still runs the batch that it was found with.
    pub(crate) fn is_stuck(&self, stuck: &Stuck) -> bool {
        self.holds(stuck.tenure)
            && self.seats[stuck.tenure.seat].running().is_some_and(|running| running.since == stuck.found)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::time::Duration;

    use super::*;
    use crate::board::Next;
    use crate::call::Call;
    use crate::simulation::toy::{Input, Nature, Toy};
    use crate::{CallOptions, MethodLimits};

    #[test]
    fn what_it_takes_to_launch_the_next_batch_is_not_the_first_ones_time() {
        let ms = Duration::from_millis;
        let now = Instant::now();
        let limits = MethodLimits {
            max_batch_size: NonZeroUsize::MIN,
            batch_timeout: Some(ms(10)),
            timeout: None,
            ..MethodLimits::default()
        };
        let mut board = Board::<Toy>::new([limits], 1);
        board.phase = Phase::Open;
        let mut effects = Effects::default();
        for id in 0..2 {
            let input = Input { id, shape: 0, rows: 1, nature: Nature::Good };
            let call = Arc::new(Call::new(input, NonZeroUsize::MIN, now, CallOptions::default()));
            assert!(board.push(0, &call, now, &mut effects).is_ok());
        }
        let tenure = board.tenure(0);
        assert!(matches!(board.next(tenure, now, &mut effects), Next::Run(_)));
        assert!(board.next_ahead(tenure, now, &mut effects).is_some());
        // A kernel had to be compiled.
        board.has_launched_ahead(tenure, now + ms(50));
        let mut stuck_at = |after: u64| {
            let mut effects = Effects::default();
            board.alarm(0, now + ms(after), &mut effects);
            effects.stuck.len()
        };
        assert_eq!((stuck_at(55), stuck_at(61)), (0, 1));
    }
}
