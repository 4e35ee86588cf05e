//! A call and its reply: one allocation, shared by who waits and who works.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::guard::guarded;
use crate::{CallError, CallOptions, MethodError, Priority, Worker};

/// One request to one method, with everything that it needs on its way: input, deadline, and where to answer.
pub(crate) struct Call<W: Worker> {
    pub(crate) input: W::Input,
    pub(crate) rows: NonZeroUsize,
    pub(crate) arrived: Instant,
    /// How long it may take, from its arrival.
    pub(crate) timeout: Option<Duration>,
    pub(crate) priority: Priority,
    /// The input's shape, as a number.
    pub(crate) shape: u64,
    /// Mirrors `Answer::Pending`, so that a queue can be swept without taking each call's lock.
    ended: AtomicBool,
    slot: Mutex<Slot<W::Output>>,
}

struct Slot<O> {
    answer: Answer<O>,
    waker: Option<Waker>,
    /// Outputs of a call that was cut, by their first row, until all rows are there.
    pieces: BTreeMap<usize, (usize, O)>,
    rows_done: usize,
}

enum Answer<O> {
    Pending,
    Ready(Result<O, CallError>),
    Taken,
    /// The caller has gone; whoever comes next counts it.
    Abandoned,
    Counted,
}

/// What ending a call did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It ended the call.
    Now,
    /// The caller had gone before.
    Cancelled,
    /// The call had ended before.
    Before,
}

/// Callers to be woken, when this is dropped: all answers of a batch are in place before the first of them looks.
#[derive(Default)]
pub(crate) struct Wakers(Vec<Waker>);

impl Wakers {
    /// With room for so many.
    pub(crate) fn with_capacity(callers: usize) -> Self {
        Self(Vec::with_capacity(callers))
    }
}

impl Drop for Wakers {
    fn drop(&mut self) {
        self.0.drain(..).for_each(Waker::wake);
    }
}

impl<W: Worker> Call<W> {
    pub(crate) fn new(input: W::Input, rows: NonZeroUsize, arrived: Instant, options: CallOptions) -> Self {
        Self {
            shape: W::shape(&input),
            input,
            rows,
            arrived,
            timeout: options.timeout,
            priority: options.priority,
            ended: AtomicBool::new(false),
            slot: Mutex::new(Slot { answer: Answer::Pending, waker: None, pieces: BTreeMap::new(), rows_done: 0 }),
        }
    }

    /// Whether it has been answered or abandoned, so that running it would be for nothing.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// The moment after which an answer is of no use; `None` for a call without a deadline, or one out of reach.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.timeout.and_then(|timeout| self.arrived.checked_add(timeout))
    }

    pub(crate) fn is_late(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= now)
    }

    /// The seconds until its deadline: infinite without one, below zero once it has passed.
    pub(crate) fn slack(&self, now: Instant) -> f64 {
        match self.deadline() {
            None => f64::INFINITY,
            Some(deadline) if deadline >= now => (deadline - now).as_secs_f64(),
            Some(deadline) => -(now - deadline).as_secs_f64(),
        }
    }

    /// What a call ends with that is late, or whose caller has gone, in which case nobody reads it.
    pub(crate) fn gone(&self) -> CallError {
        CallError::DeadlineExceeded { timeout: self.timeout.unwrap_or_default(), expected: None }
    }

    /// What a call ends with that would take `more` from now, and has not so long.
    pub(crate) fn too_late(&self, now: Instant, more: Duration) -> CallError {
        let expected = now.saturating_duration_since(self.arrived).saturating_add(more);
        CallError::DeadlineExceeded { timeout: self.timeout.unwrap_or_default(), expected: Some(expected) }
    }

    /// Ends the call with `result`. Only the first end counts.
    pub(crate) fn end(&self, result: Result<W::Output, CallError>) -> Ended {
        self.end_with(result, &mut Wakers::default())
    }

    /// As [`Call::end`]; its caller is woken with others.
    pub(crate) fn end_with(&self, result: Result<W::Output, CallError>, wakers: &mut Wakers) -> Ended {
        Self::end_locked(&self.ended, &mut self.lock(), result, wakers)
    }

    /// Adds the output for `rows`, and ends the call when that completes it; nothing while rows are missing.
    ///
    /// The same rows may come twice, where an executor was lost after it had added them, and in other pieces, where they
    /// were too many for a device. They count once.
    pub(crate) fn add(
        &self,
        rows: Range<usize>,
        output: W::Output,
        wakers: &mut Wakers,
    ) -> Option<(Ended, Option<CallError>)> {
        let mut slot = self.lock();
        if rows.len() == self.rows.get() {
            return Some((Self::end_locked(&self.ended, &mut slot, Ok(output), wakers), None));
        }
        let before = slot.pieces.range(..rows.end).next_back();
        if before.is_none_or(|(_, (end, _))| *end <= rows.start) {
            slot.rows_done += rows.len();
            slot.pieces.insert(rows.start, (rows.end, output));
        }
        if slot.rows_done < self.rows.get() {
            return None;
        }
        let pieces = std::mem::take(&mut slot.pieces);
        slot.rows_done = 0;
        drop(slot);
        let joined = guarded(|| W::join(&self.input, pieces.into_values().map(|(_, output)| output).collect()))
            .unwrap_or_else(|message| Err(MethodError::failed(format!("joining its outputs panicked: {message}"))));
        let result = joined.map_err(CallError::from);
        let error = result.as_ref().err().cloned();
        Some((self.end_with(result, wakers), error))
    }

    fn end_locked(
        ended: &AtomicBool,
        slot: &mut Slot<W::Output>,
        result: Result<W::Output, CallError>,
        wakers: &mut Wakers,
    ) -> Ended {
        match slot.answer {
            Answer::Pending => {
                slot.answer = Answer::Ready(result);
                ended.store(true, Ordering::Release);
                wakers.0.extend(slot.waker.take());
                Ended::Now
            }
            Answer::Abandoned => {
                slot.answer = Answer::Counted;
                Ended::Cancelled
            }
            Answer::Ready(_) | Answer::Taken | Answer::Counted => Ended::Before,
        }
    }

    fn abandon(&self) {
        let mut slot = self.lock();
        if matches!(slot.answer, Answer::Pending) {
            slot.answer = Answer::Abandoned;
            slot.waker = None;
            self.ended.store(true, Ordering::Release);
        }
    }

    fn poll(&self, waker: &Waker) -> Poll<Result<W::Output, CallError>> {
        let mut slot = self.lock();
        match std::mem::replace(&mut slot.answer, Answer::Taken) {
            Answer::Ready(result) => Poll::Ready(result),
            Answer::Pending => {
                slot.answer = Answer::Pending;
                match &mut slot.waker {
                    Some(old) => old.clone_from(waker),
                    none => *none = Some(waker.clone()),
                }
                Poll::Pending
            }
            Answer::Taken | Answer::Abandoned | Answer::Counted => {
                Poll::Ready(Err(CallError::unavailable("the reply was asked for its answer twice")))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slot<W::Output>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W: Worker> fmt::Debug for Call<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("rows", &self.rows).field("ended", &self.has_ended()).finish_non_exhaustive()
    }
}

/// The answer to come: a future, or [`Reply::wait`] for it.
///
/// Dropping it cancels the call: if it has not started, it never reaches a device.
#[must_use = "dropping a reply cancels its call"]
pub struct Reply<W: Worker>(Arc<Call<W>>);

impl<W: Worker> Reply<W> {
    pub(crate) fn new(call: Arc<Call<W>>) -> Self {
        Self(call)
    }

    /// Blocks this thread until the answer is there. Not for async code: it would hold up its thread.
    ///
    /// # Errors
    /// The call's [`CallError`].
    pub fn wait(self) -> Result<W::Output, CallError> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        loop {
            if let Poll::Ready(result) = self.0.poll(&waker) {
                return result;
            }
            thread::park();
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl<W: Worker> Future for Reply<W> {
    type Output = Result<W::Output, CallError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx.waker())
    }
}

impl<W: Worker> Drop for Reply<W> {
    fn drop(&mut self) {
        if !self.0.has_ended() {
            self.0.abandon();
        }
    }
}

impl<W: Worker> fmt::Debug for Reply<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reply").field(&self.0).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::toy::{Input, Nature, Toy, expected};

    fn call(rows: usize) -> Arc<Call<Toy>> {
        let input = Input { id: 1, shape: 0, rows, nature: Nature::Good };
        Arc::new(Call::new(input, NonZeroUsize::new(rows).expect("not zero"), Instant::now(), CallOptions::default()))
    }

    #[test]
    fn pieces_are_joined_in_order_whenever_they_come_and_however_often() {
        let call = call(5);
        let reply = Reply::new(Arc::clone(&call));
        let whole = expected(0, &call.input);
        let add = |rows: Range<usize>| call.add(rows.clone(), whole[rows].to_vec(), &mut Wakers::default());
        assert_eq!(add(4..5), None);
        assert_eq!(add(0..2), None);
        assert_eq!(add(0..2), None, "rows that were there");
        assert_eq!(add(4..5), None, "rows that were there");
        assert_eq!(add(1..2), None, "some of them");
        assert_eq!(add(1..5), None, "and more than these");
        assert_eq!(add(2..4), Some((Ended::Now, None)));
        assert_eq!(add(2..4), None, "after the end");
        assert_eq!(reply.wait(), Ok(whole.clone()));
    }

    #[test]
    fn only_the_first_end_counts_and_each_is_counted_once() {
        let answered = call(1);
        let reply = Reply::new(Arc::clone(&answered));
        assert_eq!(answered.end(Err(CallError::unavailable("first"))), Ended::Now);
        assert_eq!(answered.end(Err(CallError::unavailable("second"))), Ended::Before);
        assert_eq!(reply.wait(), Err(CallError::unavailable("first")));

        let abandoned = call(1);
        drop(Reply::new(Arc::clone(&abandoned)));
        assert!(abandoned.has_ended());
        assert_eq!(abandoned.add(0..1, Vec::new(), &mut Wakers::default()), Some((Ended::Cancelled, None)));
        assert_eq!(abandoned.end(Err(CallError::Cancelled)), Ended::Before);
    }
}
