//! Calls that are handed in together.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

use crate::call::Call;
use crate::desk::Desk;
use crate::{Announcement, CallOptions, Handle, Reply, Worker};

/// Calls that are made and not queued yet.
///
/// Dropping it queues them: all calls in a row to the same runner under one lock and with one wake-up, so that they
/// share a batch. Whoever makes many calls at once saves most of what each would cost alone.
pub struct Group<W: Worker>(Vec<Member<W>>);

struct Member<W: Worker> {
    desk: Arc<Desk<W>>,
    method: usize,
    call: Arc<Call<W>>,
    announced: Option<Announcement<W>>,
}

impl<W: Worker> Group<W> {
    /// Makes a call of `rows` rows, which may have been announced. Its [`Reply`] is answered exactly once, with the reason
    /// if it is not taken.
    pub fn call(
        &mut self,
        handle: &Handle<W>,
        input: W::Input,
        rows: NonZeroUsize,
        options: CallOptions,
        announced: Option<Announcement<W>>,
    ) -> Reply<W> {
        let (desk, method) = handle.newest();
        let call = desk.make(method, input, rows, options);
        self.0.push(Member { desk, method, call: Arc::clone(&call), announced });
        Reply::new(call)
    }

    /// Whether no call has been made.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<W: Worker> Drop for Group<W> {
    fn drop(&mut self) {
        self.0.iter_mut().filter_map(|member| member.announced.take()).for_each(Announcement::come);
        for calls in self.0.chunk_by(|one, other| Arc::ptr_eq(&one.desk, &other.desk)) {
            if let [first, ..] = calls {
                first.desk.push_all(calls.iter().map(|member| (member.method, &member.call)));
            }
        }
    }
}

impl<W: Worker> Default for Group<W> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<W: Worker> fmt::Debug for Group<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Group").field(&self.0.len()).finish()
    }
}
