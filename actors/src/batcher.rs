//! The actor of one method: it keeps the time, for the latency limit and for deadlines.
//!
//! It holds nothing that a crash could lose: what waits lies on the desk, and a new batcher asks the desk at once what
//! there is to be reminded of.

use std::sync::Arc;
use std::time::Instant;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message, SpawnHandle};

use crate::Worker;
use crate::desk::Desk;

/// Asks to be reminded at this time.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Alarm(pub(crate) Instant);

/// Ends the batcher.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Dismiss;

pub(crate) struct Batcher<W: Worker> {
    desk: Arc<Desk<W>>,
    method: usize,
    timer: Option<(Instant, SpawnHandle)>,
    /// Tells the supervisor when this batcher ends for any other reason than [`Dismiss`].
    lost: Option<Box<dyn FnOnce() + Send>>,
}

impl<W: Worker> Batcher<W> {
    pub(crate) fn new(desk: Arc<Desk<W>>, method: usize, lost: impl FnOnce() + Send + 'static) -> Self {
        Self { desk, method, timer: None, lost: Some(Box::new(lost)) }
    }
}

impl<W: Worker> Actor for Batcher<W> {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        self.desk.alarm(self.method);
    }
}

impl<W: Worker> Drop for Batcher<W> {
    fn drop(&mut self) {
        if let Some(lost) = self.lost.take() {
            lost();
        }
    }
}

impl<W: Worker> Handler<Alarm> for Batcher<W> {
    type Result = ();

    fn handle(&mut self, Alarm(at): Alarm, ctx: &mut Self::Context) {
        if let Some((set, timer)) = self.timer {
            if set <= at {
                return;
            }
            ctx.cancel_future(timer);
        }
        let timer = ctx.run_later(at.saturating_duration_since(Instant::now()), |batcher, _| {
            batcher.timer = None;
            batcher.desk.alarm(batcher.method);
        });
        self.timer = Some((at, timer));
    }
}

impl<W: Worker> Handler<Dismiss> for Batcher<W> {
    type Result = ();

    fn handle(&mut self, _: Dismiss, ctx: &mut Self::Context) {
        self.lost = None;
        ctx.stop();
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::{Batcher, Context, Handler, Message, Worker};

    /// Crashes the batcher.
    #[derive(Message)]
    #[rtype(result = "()")]
    pub(crate) struct Crash;

    impl<W: Worker> Handler<Crash> for Batcher<W> {
        type Result = ();

        fn handle(&mut self, _: Crash, _: &mut Context<Self>) {
            panic!("the batcher was told to crash");
        }
    }
}
