//! The way of a stream's chunks: from an executor's thread, which waits where the reader is slower, to a caller, which may
//! be a task or a thread.
//!
//! Channels that wake tasks cannot be sent to with a bound on the waiting from a thread, hence this one.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use crate::value::Values;

/// Chunks that an executor may be ahead of the reader.
const AHEAD: usize = 16;

/// The longest that an executor waits for a reader who is so far behind, where the method says nothing else: others wait for
/// the executor.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The executor's end.
#[derive(Debug)]
pub(crate) struct ChunkSender(Arc<Channel>);

/// The caller's end; dropping it closes the channel.
#[derive(Debug)]
pub(super) struct ChunkReceiver(Arc<Channel>);

#[derive(Debug)]
struct Channel {
    state: Mutex<State>,
    /// There is room, or nobody listens any more.
    changed: Condvar,
    patience: Duration,
}

#[derive(Debug, Default)]
struct State {
    chunks: VecDeque<Values>,
    is_closed: bool,
    reader: Option<Waker>,
}

/// Why a chunk was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsent {
    /// Nobody listens any more.
    Gone,
    /// The reader has not taken any for as long as the sender has patience.
    Stalled,
}

/// A channel whose sender waits for room for so long.
pub(super) fn channel(patience: Duration) -> (ChunkSender, ChunkReceiver) {
    let channel = Arc::new(Channel { state: Mutex::default(), changed: Condvar::new(), patience });
    (ChunkSender(Arc::clone(&channel)), ChunkReceiver(channel))
}

impl ChunkSender {
    /// Sends a chunk, as soon as there is room. It blocks this thread until then.
    ///
    /// # Errors
    /// [`Unsent`].
    pub(super) fn send(&self, chunk: Values) -> Result<(), Unsent> {
        let Self(channel) = self;
        let has_to_wait = |state: &mut State| !state.is_closed && state.chunks.len() >= AHEAD;
        let waited = channel.changed.wait_timeout_while(channel.lock(), channel.patience, has_to_wait);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.is_closed {
            return Err(Unsent::Gone);
        }
        if state.chunks.len() >= AHEAD {
            return Err(Unsent::Stalled);
        }
        state.chunks.push_back(chunk);
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        Ok(())
    }

    pub(super) fn patience(&self) -> Duration {
        self.0.patience
    }
}

impl ChunkReceiver {
    /// The next chunk; where there is none, the reader is woken when there is.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Option<Values> {
        let Self(channel) = self;
        let mut state = channel.lock();
        let chunk = state.chunks.pop_front();
        if chunk.is_none() {
            match &mut state.reader {
                Some(old) => old.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
        }
        drop(state);
        if chunk.is_some() {
            channel.changed.notify_one();
        }
        chunk
    }

    /// Takes no more than what has been sent.
    pub(super) fn close(&self) {
        self.0.lock().is_closed = true;
        self.0.changed.notify_one();
    }
}

impl Drop for ChunkReceiver {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_closed = true;
        let unread = std::mem::take(&mut state.chunks);
        state.reader = None;
        drop(state);
        self.0.changed.notify_one();
        drop(unread);
    }
}

impl Channel {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use std::thread;

    use super::*;
    use crate::value::Value;

    /// When a test gives up.
    const LONG: Duration = Duration::from_secs(60);

    fn chunk(number: usize) -> Values {
        Values::from_iter([Value::Json(number.into())])
    }

    fn poll(receiver: &ChunkReceiver) -> Option<Values> {
        receiver.poll(&Context::from_waker(Waker::noop()))
    }

    #[test]
    fn chunks_come_in_order_and_the_sender_waits_for_room() {
        let (sender, receiver) = channel(LONG);
        thread::scope(|scope| {
            let sent = scope.spawn(move || (0..5 * AHEAD).try_for_each(|number| sender.send(chunk(number))));
            let mut expected = 0;
            while expected < 5 * AHEAD {
                assert!(receiver.0.lock().chunks.len() <= AHEAD, "more than there is room for");
                match poll(&receiver) {
                    Some(found) => {
                        assert_eq!(found, chunk(expected));
                        expected += 1;
                    }
                    None => thread::yield_now(),
                }
            }
            assert_eq!(sent.join().expect("it does not panic"), Ok(()));
        });
    }

    #[test]
    fn a_sender_loses_its_patience_with_a_reader_that_stalls() {
        let (sender, receiver) = channel(Duration::ZERO);
        assert_eq!((0..AHEAD).try_for_each(|number| sender.send(chunk(number))), Ok(()));
        assert_eq!(sender.send(chunk(AHEAD)), Err(Unsent::Stalled));
        assert_eq!(poll(&receiver), Some(chunk(0)));
        assert_eq!(sender.send(chunk(AHEAD)), Ok(()), "there is room again");
    }

    #[test]
    fn a_sender_that_waits_hears_that_its_reader_has_gone() {
        let (sender, receiver) = channel(LONG);
        let sent = thread::spawn(move || (0..).map(|number| sender.send(chunk(number))).find_map(Result::err));
        while receiver.0.lock().chunks.len() < AHEAD {
            thread::yield_now();
        }
        drop(receiver);
        assert_eq!(sent.join().expect("it does not panic"), Some(Unsent::Gone));
    }

    #[test]
    fn what_was_sent_before_the_end_can_be_read() {
        let (sender, receiver) = channel(LONG);
        assert_eq!(sender.send(chunk(0)), Ok(()));
        receiver.close();
        assert_eq!(sender.send(chunk(1)), Err(Unsent::Gone));
        assert_eq!((poll(&receiver), poll(&receiver)), (Some(chunk(0)), None));
    }

    #[test]
    fn a_reader_that_waits_is_woken() {
        struct Counts(AtomicUsize);
        impl Wake for Counts {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let (sender, receiver) = channel(LONG);
        let counts = Arc::new(Counts(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&counts));
        assert_eq!(receiver.poll(&Context::from_waker(&waker)), None);
        assert_eq!((sender.send(chunk(0)), sender.send(chunk(1))), (Ok(()), Ok(())));
        assert_eq!(counts.0.load(Ordering::SeqCst), 1, "once, for it does not wait any more");
    }
}
