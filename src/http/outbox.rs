//! Calls of one thread's requests, on their way to the runners.

use std::cell::RefCell;
use std::rc::Rc;

use ekiden_actors::Group;

use crate::serving::ModelWorker;

/// Gathers the calls of requests that came in together on this thread, so that they are queued together, under one lock
/// and with one wake-up, and share a batch.
#[derive(Clone, Debug, Default)]
pub(super) struct Outbox(Rc<RefCell<Group<ModelWorker>>>);

impl Outbox {
    /// Has `call` add a call. All calls are queued when every task of this thread that is ready now has been run:
    /// requests that have come in are ready. For a lone one, that is at once.
    pub(super) fn add<T>(&self, call: impl FnOnce(&mut Group<ModelWorker>) -> T) -> T {
        let mut group = self.0.borrow_mut();
        let was_empty = group.is_empty();
        let made = call(&mut group);
        if was_empty && !group.is_empty() {
            let waiting = Rc::clone(&self.0);
            actix_web::rt::spawn(async move { drop(waiting.take()) });
        }
        made
    }
}
