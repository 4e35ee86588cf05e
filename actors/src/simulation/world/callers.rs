//! Callers: when they come, what they bring, and whether they were rightly refused.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use super::{Event, Tally, World};
use crate::board::{Effects, Phase};
use crate::call::Call;
use crate::queue::SEARCH_PAUSE;
use crate::simulation::pick;
use crate::simulation::record::Record;
use crate::simulation::toy::{Input, Nature};
use crate::{Batching, CallError, CallOptions, Priority};

impl World<'_> {
    pub(super) fn arrive(&mut self, tally: &mut Tally) {
        for _ in 0..self.rng.usize(1..=self.setup.burst) {
            if self.arrived < self.setup.calls {
                self.call(tally);
            }
        }
        if self.arrived + self.setup.left_at_drain >= self.setup.calls && !self.is_ending() {
            let after = self.setup.gap.mul_f64(self.rng.f64());
            self.plan(after, Event::Drain);
        }
        if self.arrived < self.setup.calls {
            let after = self.setup.gap.mul_f64(-(1.0 - self.rng.f64()).ln());
            self.plan(after, Event::Arrive);
        }
    }

    pub(super) fn call(&mut self, tally: &mut Tally) {
        let id = self.arrived;
        self.arrived += 1;
        let method = self.rng.usize(..self.setup.methods.len());
        let limits = &self.setup.methods[method];
        let chance = self.rng.f64();
        let nature = match chance {
            chance if chance < self.setup.deadly => Nature::Deadly,
            chance if chance < self.setup.deadly + self.setup.refused => Nature::Refused,
            chance if limits.batch_timeout.is_some() && 1.0 - chance < self.setup.endless => Nature::Endless,
            _ => Nature::Good,
        };
        let rows = self.rng.usize(1..=self.setup.rows);
        let input = Input { id, shape: self.rng.u8(..self.setup.shapes), rows, nature };
        let rows = NonZeroUsize::new(rows).expect("not zero");
        let options = self.options(limits.timeout);
        let lone = self.open.is_empty()
            && options.timeout.is_none()
            && limits.batching != Batching::Window
            && self.setup.latency.is_zero()
            && self.has_idle()
            && !self.paused
            && self.wakes == 0;
        let waiting: usize = self.waiting(method).map(|record| record.waiting()).sum();
        let call = Arc::new(Call::new(input, rows, self.now, options));
        let mut effects = Effects::default();
        let pushed = self.board.push(method, &call, self.now, &mut effects);
        if pushed.is_ok() {
            self.calls.insert(id, Record::new(method, &call, lone));
            self.open.insert(id);
        }
        let since = self.searched[method].map(|at| self.now.duration_since(at));
        let was_searched = !effects.ended.is_empty()
            || matches!(pushed, Err(CallError::QueueFull { .. } | CallError::DeadlineExceeded { .. }));
        if was_searched && since.is_none_or(|since| since >= SEARCH_PAUSE) {
            self.searched[method] = Some(self.now);
        }
        self.carry_out(effects, tally);
        let is_full = waiting > 0 && waiting + rows.get() > limits.max_queue_size.get();
        match pushed {
            Ok(()) => {
                assert!(!is_full, "a full queue took a call: {waiting} + {rows} rows");
                if rows > limits.max_batch_size {
                    tally.add("cut");
                }
                if self.rng.f64() < self.setup.dropped {
                    let after = (self.setup.run * 3).mul_f64(self.rng.f64());
                    self.plan(after, Event::Abandon(id));
                }
            }
            Err(CallError::QueueFull { retry_after, .. }) => {
                assert!(
                    is_full || since.is_some_and(|since| since < SEARCH_PAUSE),
                    "a queue refused a call with room for it: {waiting} + {rows} rows"
                );
                assert!(!retry_after.is_zero(), "come back in no time");
                tally.add("queue full");
            }
            Err(CallError::Unavailable { .. }) => tally.add(match &self.board.phase {
                Phase::Starting => "refused, starting",
                Phase::Draining => "refused, draining",
                Phase::Closed(_) => "refused, failed",
                Phase::Open => {
                    let next = self.next_back().expect("an executor is up, and a call was refused");
                    assert!(call.deadline().is_some_and(|deadline| deadline < next), "it would be back in time");
                    "refused, restarting"
                }
            }),
            Err(CallError::DeadlineExceeded { timeout, expected: Some(expected) }) => {
                assert!(
                    Some(timeout) == options.timeout && expected > timeout,
                    "{expected:?} is not too long for {timeout:?}"
                );
                tally.add("refused, too late");
            }
            Err(error) => panic!("refused with {error:?}"),
        }
    }

    fn options(&mut self, timeout: Option<Duration>) -> CallOptions {
        if self.rng.f64() >= self.setup.mixed {
            return CallOptions { timeout, ..CallOptions::default() };
        }
        let timeout = *pick(&mut self.rng, &[timeout, None, Some(self.setup.run * 2), Some(self.setup.run * 10)]);
        CallOptions { timeout, priority: *pick(&mut self.rng, &Priority::ALL) }
    }
}
