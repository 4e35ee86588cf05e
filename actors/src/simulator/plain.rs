//! The policy of other servers, for comparison: first in, first out, within a window.

use std::collections::VecDeque;
use std::time::Duration;

use super::Traffic;
use super::world::{Effect, Scheduler};

pub(super) struct Plain<'a> {
    traffic: &'a Traffic,
    max_rows: usize,
    window: Duration,
    waiting: VecDeque<usize>,
    rows: usize,
    idle: Vec<usize>,
    is_alarmed: bool,
}

impl<'a> Plain<'a> {
    pub(super) fn new(max_rows: usize, window: Duration, traffic: &'a Traffic, executors: usize) -> Self {
        Self {
            traffic,
            max_rows,
            window,
            waiting: VecDeque::new(),
            rows: 0,
            idle: (0..executors).collect(),
            is_alarmed: false,
        }
    }

    fn rows_of(&self, call: usize) -> usize {
        self.traffic.0[call].rows
    }

    /// Starts batches while one is due and an executor is free.
    fn dispatch(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        while let Some(&oldest) = self.waiting.front() {
            let due_at = self.traffic.0[oldest].at + self.window;
            if self.idle.is_empty() {
                return;
            }
            if self.rows < self.max_rows && now < due_at {
                // One alarm at a time: it is set anew when it has gone off.
                if !std::mem::replace(&mut self.is_alarmed, true) {
                    effects.push(Effect::Alarm(due_at));
                }
                return;
            }
            let (mut calls, mut rows) = (Vec::new(), 0);
            while let Some(&call) = self.waiting.front() {
                let (arrival, own) = (&self.traffic.0[call], self.rows_of(call));
                let is_late = arrival.timeout.is_some_and(|timeout| arrival.at + timeout <= now);
                if !is_late && rows > 0 && rows + own > self.max_rows {
                    break;
                }
                self.waiting.pop_front();
                self.rows -= own;
                if is_late {
                    effects.push(Effect::Refuse(call));
                } else {
                    calls.push(call);
                    rows += own;
                }
            }
            if rows > 0
                && let Some(seat) = self.idle.pop()
            {
                effects.push(Effect::Start { seat, calls, rows });
            }
        }
    }
}

impl Scheduler for Plain<'_> {
    fn arrive(&mut self, call: usize, now: Duration, effects: &mut Vec<Effect>) {
        self.waiting.push_back(call);
        self.rows += self.rows_of(call);
        self.dispatch(now, effects);
    }

    fn finish(&mut self, seat: usize, now: Duration, effects: &mut Vec<Effect>) {
        self.idle.push(seat);
        self.dispatch(now, effects);
    }

    fn alarm(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        self.is_alarmed = false;
        self.dispatch(now, effects);
    }

    fn holds(&self) -> usize {
        if self.idle.is_empty() { 0 } else { self.waiting.len() }
    }
}
