//! The supervisor: what it does about exits, and how it brings the runner to its end.

use std::time::{Duration, Instant};

use super::{Event, Executor, Seat, Tally, World};
use crate::board::{Effects, Phase};
use crate::budget::Restart;

impl World<'_> {
    /// What the supervisor does about an exit.
    pub(super) fn exited(&mut self, seat: usize, drained: bool, tally: &mut Tally) {
        let mut effects = Effects::default();
        let left = self.board.leave(seat, &mut effects);
        self.carry_out(effects, tally);
        let is_free = self.lose(&left, tally);
        let forgiven = self.board.take_forgiven();
        self.budget.forgive(forgiven);
        if forgiven > 0 {
            tally.add("a crash was forgiven");
        }
        self.seats[seat].executor = Executor::Stopped;
        let is_over = match self.board.phase {
            Phase::Closed(_) => true,
            Phase::Draining => self.board.waiting() == 0,
            Phase::Starting | Phase::Open => false,
        };
        if !drained && !is_over {
            let free = is_free.then_some(Restart::After(Duration::ZERO));
            match free.unwrap_or_else(|| self.budget.on_exit(self.now, self.rng.f64())) {
                Restart::Exhausted => {
                    tally.add("budget spent");
                    self.close("the budget is spent", tally);
                }
                Restart::After(delay) => {
                    self.seats[seat].executor = Executor::Restarting(self.now + delay);
                    self.plan(delay, Event::Rebuild(seat));
                }
            }
        }
        if std::mem::take(&mut self.seats[seat].released) && drained && !is_over {
            tally.add("replaced");
            self.seats[seat].executor = Executor::Opening;
            self.soon(Event::Ready(seat));
        }
        self.settle(tally);
    }

    pub(super) fn release(&mut self, seat: usize, tally: &mut Tally) {
        if matches!(self.seats[seat].executor, Executor::Listening | Executor::Running(..)) {
            let mut effects = Effects::default();
            self.board.release(seat, &mut effects);
            self.seats[seat].released = true;
            self.carry_out(effects, tally);
        }
    }

    pub(super) fn resume(&mut self, tally: &mut Tally) {
        if self.paused && self.board.waiting() > 0 {
            tally.add("kept by a pause");
        }
        self.paused = false;
        let mut effects = Effects::default();
        self.board.resume(self.now, &mut effects);
        self.carry_out(effects, tally);
    }

    pub(super) fn rebuild(&mut self, seat: usize, tally: &mut Tally) {
        if !matches!(self.seats[seat].executor, Executor::Restarting(_)) {
            return;
        }
        if matches!(self.board.phase, Phase::Draining) && self.board.waiting() == 0 {
            self.seats[seat].executor = Executor::Stopped;
        } else {
            tally.add("restarted");
            self.seats[seat].executor = Executor::Opening;
            if self.rng.f64() < self.setup.death {
                self.soon(Event::Exit { seat, drained: false });
            } else {
                self.soon(Event::Ready(seat));
            }
        }
        self.settle(tally);
    }

    pub(super) fn ready(&mut self, seat: usize) {
        self.seats[seat].executor = Executor::Listening;
        self.seats[seat].stands_by = false;
        self.seats[seat].tenure = self.board.tenure(seat);
        let is_up = |seat: &Seat| !matches!(seat.executor, Executor::Opening | Executor::Restarting(_));
        if matches!(self.board.phase, Phase::Starting) && self.seats.iter().all(is_up) {
            self.board.phase = Phase::Open;
        }
        self.board.back_at = self.next_back();
        self.wakes += 1;
        self.soon(Event::Wake { seat, life: self.seats[seat].life });
    }

    pub(super) fn drain(&mut self, tally: &mut Tally) {
        if self.is_ending() {
            return;
        }
        self.paused = false;
        let mut effects = Effects::default();
        self.board.drain(&mut effects);
        self.carry_out(effects, tally);
        if self.board.waiting() == 0 {
            self.cancel_restarts();
        }
        if let Some(grace) = self.setup.grace {
            self.plan(grace, Event::Close);
        }
        self.settle(tally);
    }

    pub(super) fn close(&mut self, cause: &str, tally: &mut Tally) {
        let mut effects = Effects::default();
        self.board.close(cause.into(), &mut effects);
        self.carry_out(effects, tally);
        self.cancel_restarts();
    }

    pub(super) fn cancel_restarts(&mut self) {
        for seat in &mut self.seats {
            if matches!(seat.executor, Executor::Restarting(_)) {
                seat.executor = Executor::Stopped;
            }
        }
    }

    pub(super) fn settle(&mut self, tally: &mut Tally) {
        self.board.back_at = self.next_back();
        let has_stopped = self.seats.iter().all(|seat| matches!(seat.executor, Executor::Stopped));
        if matches!(self.board.phase, Phase::Draining) && has_stopped {
            assert!(self.open.is_empty(), "drained, with calls left: {:?}", self.open);
            tally.add("drained");
            self.close("drained", tally);
        }
    }

    pub(super) fn next_back(&self) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        for seat in &self.seats {
            match seat.executor {
                Executor::Restarting(at) => next = Some(next.map_or(at, |next| next.min(at))),
                Executor::Stopped => {}
                _ => return None,
            }
        }
        next
    }
}
