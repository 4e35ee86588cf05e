//! What the simulation knows about each call by itself, without asking the board, and whether that is in order.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::toy::{Input, Nature, Toy, expected};
use crate::call::{Call, Ended};
use crate::{CallError, MethodLimits, Reply};

/// One accepted call.
pub(super) struct Record {
    pub(super) call: Arc<Call<Toy>>,
    pub(super) method: usize,
    /// Gone once the caller has dropped it.
    pub(super) reply: Option<Reply<Toy>>,
    /// Whether the caller dropped the reply before the call had ended.
    pub(super) dropped: bool,
    /// Whether it came alone to a runner with an idle executor, and had no reason to wait.
    pub(super) lone: bool,
    /// Rows from here on have never been dispatched.
    pub(super) next_row: usize,
    /// Rows that were dispatched and have been put back.
    pub(super) returned: Vec<Range<usize>>,
    /// How often each piece, by its first row, has been in a batch that broke its executor.
    pub(super) crashes: BTreeMap<usize, u32>,
    /// How often each of these was alone.
    pub(super) crashes_alone: BTreeMap<usize, u32>,
    /// Whether a row of it was too much for a device.
    pub(super) starved: bool,
    /// Whether it was in a batch that its method refused.
    pub(super) refused: bool,
    /// How often it has been counted as ended; and with which error, if any.
    pub(super) ends: u32,
    pub(super) error: Option<CallError>,
}

impl Record {
    pub(super) fn new(method: usize, call: &Arc<Call<Toy>>, lone: bool) -> Self {
        Self {
            call: Arc::clone(call),
            method,
            reply: Some(Reply::new(Arc::clone(call))),
            dropped: false,
            lone,
            next_row: 0,
            returned: Vec::new(),
            crashes: BTreeMap::new(),
            crashes_alone: BTreeMap::new(),
            starved: false,
            refused: false,
            ends: 0,
            error: None,
        }
    }

    pub(super) fn input(&self) -> &Input {
        &self.call.input
    }

    /// Whether anybody still wants it run.
    pub(super) fn is_live(&self, now: Instant) -> bool {
        self.ends == 0 && !self.dropped && !self.call.is_late(now)
    }

    /// Rows that have never been dispatched.
    pub(super) fn waiting(&self) -> usize {
        self.call.rows.get() - self.next_row
    }

    /// These rows are in a batch that starts: for the first time (true), or once more.
    pub(super) fn dispatch(&mut self, rows: &Range<usize>, now: Instant) -> bool {
        assert!(self.is_live(now), "{:?} reached an executor without need: ended, abandoned or late", self.input());
        assert!(!rows.is_empty(), "an entry without rows");
        // Too many for a device, they come in smaller pieces.
        let around = |returned: &Range<usize>| returned.start <= rows.start && rows.end <= returned.end;
        if let Some(at) = self.returned.iter().position(around) {
            let returned = self.returned.swap_remove(at);
            let left = [returned.start..rows.start, rows.end..returned.end];
            self.returned.extend(left.into_iter().filter(|rows| !rows.is_empty()));
            return false;
        }
        assert_eq!(rows.start, self.next_row, "rows of {:?} were left out or run twice", self.input());
        self.next_row = rows.end;
        true
    }

    /// These rows were in a batch that did not succeed.
    pub(super) fn put_back(&mut self, rows: &Range<usize>) {
        if self.ends == 0 {
            self.returned.push(rows.clone());
        }
    }

    /// The call is told its end; `true` if this was it.
    pub(super) fn end(
        &mut self,
        end: &Ended,
        error: Option<&CallError>,
        now: Instant,
        limits: &MethodLimits,
        closed: bool,
    ) -> bool {
        match end {
            Ended::Before => return false,
            Ended::Now => {
                assert!(!self.dropped, "{:?} was answered, though its caller had gone", self.input());
                self.error = error.cloned();
                self.check_error(now, limits, closed);
            }
            Ended::Cancelled => assert!(self.dropped, "{:?} was cancelled by nobody", self.input()),
        }
        self.ends += 1;
        assert_eq!(self.ends, 1, "{:?} ended twice", self.input());
        true
    }

    fn check_error(&self, now: Instant, limits: &MethodLimits, closed: bool) {
        let crashes = self.crashes.values().sum::<u32>();
        let justified = match &self.error {
            None => self.input().nature == Nature::Good,
            Some(CallError::DeadlineExceeded { expected: None, .. }) => self.call.is_late(now),
            // Refused by what batches have cost: they say by themselves that there is not time enough.
            Some(CallError::DeadlineExceeded { expected: Some(expected), timeout }) => expected > timeout,
            // By itself: a good call only where its executors died twice of something else.
            Some(CallError::Crashed(_)) if limits.retry => self.crashes_alone.values().any(|&crashes| crashes >= 2),
            Some(CallError::Crashed(_)) => crashes >= 1,
            Some(CallError::Method(error)) if error.to_string().starts_with("out of memory") => self.starved,
            Some(CallError::Method(_)) => self.input().nature == Nature::Refused || (self.refused && !limits.retry),
            Some(CallError::Unavailable { .. }) => closed,
            Some(_) => false,
        };
        assert!(justified, "{:?} got {:?} after {crashes} crashes", self.input(), self.error);
    }

    /// Looks, once the world has come to rest, at what the caller was told.
    pub(super) fn check_answer(&mut self) {
        assert_eq!(self.ends, 1, "{:?} of method {} has not ended", self.input(), self.method);
        if let Some(reply) = self.reply.take() {
            let mut reply = std::pin::pin!(reply);
            let answer = match reply.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Pending => panic!("{:?} was counted, but not answered", self.input()),
                Poll::Ready(answer) => answer,
            };
            match (&self.error, answer) {
                (None, Ok(output)) => assert_eq!(output, expected(self.method, self.input()), "a wrong answer"),
                (Some(error), Err(answer)) => assert_eq!(error, &answer, "counted as one thing, answered as another"),
                (counted, answer) => panic!("counted as {counted:?}, answered with {answer:?}"),
            }
        }
        assert_eq!(Arc::strong_count(&self.call), 1, "{:?} still lies somewhere", self.input());
    }
}
