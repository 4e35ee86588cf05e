//! What callers hold: one method of one runner.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::desk::Desk;
use crate::{CallError, Cap, Cost, Priority, Reply, Worker};

/// What a call asks for beside its input.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallOptions {
    /// How long the call may take; the method's own limit where `None`.
    pub timeout: Option<Duration>,
    /// Whether it goes before or after others.
    pub priority: Priority,
}

/// A handle to one method of one runner. Clones are cheap, and may be used from any thread.
pub struct Handle<W: Worker> {
    desk: Arc<Desk<W>>,
    method: usize,
}

impl<W: Worker> Handle<W> {
    pub(crate) fn new(desk: Arc<Desk<W>>, method: usize) -> Self {
        Self { desk, method }
    }

    /// Where calls go now. A desk that nobody succeeds for this method refuses them itself.
    pub(crate) fn newest(&self) -> (Arc<Desk<W>>, usize) {
        let newest = if self.desk.is_replaced() { self.desk.newest(self.method) } else { None };
        newest.unwrap_or_else(|| (Arc::clone(&self.desk), self.method))
    }

    /// Queues a call of `rows` rows. Once it is taken, its [`Reply`] is answered exactly once, whatever happens.
    ///
    /// # Errors
    /// [`CallError::QueueFull`] or [`CallError::Unavailable`] if the call is not taken; [`CallError::DeadlineExceeded`]
    /// if it cannot be answered in time, by what batches have cost and by what waits already.
    pub fn call(&self, input: W::Input, rows: NonZeroUsize, options: CallOptions) -> Result<Reply<W>, CallError> {
        self.desk.push(self.method, input, rows, options)
    }

    /// Says that a call is about to come: its head is in, say, and its body is being read. A free executor may then hold
    /// on for the moment until it is there, where it spares the call a whole run. It costs a few atomic operations.
    pub fn announce(&self) -> Announcement<W> {
        let at = Instant::now();
        self.desk.announce(self.method, at);
        Announcement { handle: self.clone(), at, has_come: false }
    }

    /// Takes a call of no rows, which needs no reply: its answer has no rows either, and nothing is run.
    ///
    /// # Errors
    /// [`CallError::Unavailable`] as for any other call.
    pub fn call_without_rows(&self) -> Result<(), CallError> {
        self.desk.push_empty(self.method)
    }

    /// Counts a call that was refused before it could be queued: its input does not fit, or cannot be read.
    pub fn refuse(&self, error: &CallError) {
        self.desk.observer().call_ended(self.method, Some(error), Duration::ZERO);
    }

    /// How large batches may be where a device has run out of memory, by the inputs' shape; nothing else is limited so.
    pub fn caps(&self) -> Vec<Cap> {
        self.desk.caps(self.method)
    }

    /// What batches cost, by the inputs' shape and by rows, as far as it has been measured: the last 16 shapes to have
    /// run. Calls are refused, and batches are cut, by it.
    pub fn costs(&self) -> Vec<Cost> {
        self.desk.costs(self.method)
    }

    /// The calls that have been announced, and have not come yet.
    pub fn announced_calls(&self) -> usize {
        self.desk.announced(self.method)
    }

    /// The rows that wait.
    pub fn queued_rows(&self) -> usize {
        self.desk.queued(self.method)
    }
}

/// A call that is about to come: its head is in, and its body is being read. See [`Handle::announce`].
///
/// Dropping it says that the call will not come.
#[must_use = "dropping an announcement withdraws it"]
pub struct Announcement<W: Worker> {
    handle: Handle<W>,
    at: Instant,
    has_come: bool,
}

impl<W: Worker> Announcement<W> {
    /// Queues the call, as [`Handle::call`] does.
    ///
    /// # Errors
    /// As for [`Handle::call`].
    pub fn call(self, input: W::Input, rows: NonZeroUsize, options: CallOptions) -> Result<Reply<W>, CallError> {
        let handle = self.handle.clone();
        self.come();
        handle.call(input, rows, options)
    }

    /// The call is about to be pushed.
    pub(crate) fn come(mut self) {
        self.has_come = true;
        self.handle.desk.come(self.handle.method, self.at);
    }
}

impl<W: Worker> Drop for Announcement<W> {
    fn drop(&mut self) {
        if !self.has_come {
            self.handle.desk.withdraw(self.handle.method);
        }
    }
}

impl<W: Worker> fmt::Debug for Announcement<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Announcement").field("handle", &self.handle).finish_non_exhaustive()
    }
}

impl<W: Worker> Clone for Handle<W> {
    fn clone(&self) -> Self {
        Self { desk: Arc::clone(&self.desk), method: self.method }
    }
}

impl<W: Worker> fmt::Debug for Handle<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("method", &self.method).finish_non_exhaustive()
    }
}
