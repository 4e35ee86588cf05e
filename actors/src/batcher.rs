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
mod tests {
    use std::num::NonZeroUsize;
    use std::time::Duration;

    use super::*;
    use crate::simulation::toy::{Input, Nature, Toy, expected};
    use crate::{
        Batching, CallError, CallOptions, Factory, MethodLimits, OpenError, Reply, RestartLimits, Runner, RunnerSpec,
        Runtime,
    };

    /// Crashes the batcher.
    #[derive(Message)]
    #[rtype(result = "()")]
    struct Crash;

    impl<W: Worker> Handler<Crash> for Batcher<W> {
        type Result = ();

        fn handle(&mut self, _: Crash, _: &mut Context<Self>) {
            panic!("the batcher was told to crash");
        }
    }

    struct Maker;

    impl Factory for Maker {
        type Worker = Toy;

        fn open(&self, _: usize) -> Result<Toy, OpenError> {
            Ok(Toy)
        }
    }

    const LONG: Duration = Duration::from_secs(30);

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async { tokio::time::timeout(LONG, future).await.expect("it hangs") })
    }

    /// A runner whose calls start when their batcher says so, and not before.
    fn launch(max_latency: Duration, max_restarts: u32) -> (Runtime, Runner<Toy>) {
        let runtime = Runtime::start().expect("a runtime");
        let limits = MethodLimits { batching: Batching::Window, max_latency, timeout: None, ..MethodLimits::default() };
        let spec = RunnerSpec {
            name: "toy".to_owned(),
            executors: NonZeroUsize::MIN,
            methods: vec![limits],
            restarts: RestartLimits { max_restarts, ..RestartLimits::default() },
            weight: crate::Weight::default(),
            observer: std::sync::Arc::new(()),
        };
        let runner = runtime.launch(spec, Maker);
        block_on(runner.ready()).expect("it is ready");
        (runtime, runner)
    }

    fn call(runner: &Runner<Toy>, timeout: Option<Duration>) -> Reply<Toy> {
        let input = Input { id: 0, shape: 0, rows: 3, nature: Nature::Good };
        let rows = NonZeroUsize::new(3).expect("not zero");
        runner.method(0).call(input, rows, CallOptions { timeout, ..CallOptions::default() }).expect("it is taken")
    }

    fn crash(runner: &Runner<Toy>) {
        runner.desk.batcher(0).expect("a batcher").do_send(Crash);
    }

    #[test]
    fn a_crash_forgets_neither_latency_limits_nor_deadlines() {
        let (_runtime, runner) = launch(Duration::from_millis(30), 1_000);
        let reply = call(&runner, None);
        crash(&runner);
        let input = Input { id: 0, shape: 0, rows: 3, nature: Nature::Good };
        assert_eq!(block_on(reply), Ok(expected(0, &input)));

        let (_runtime, runner) = launch(Duration::MAX, 1_000);
        // Nothing runs, in time or not.
        block_on(runner.pause()).expect("it is paused");
        let timeout = Duration::from_millis(30);
        let reply = call(&runner, Some(timeout));
        crash(&runner);
        assert_eq!(block_on(reply), Err(CallError::DeadlineExceeded { timeout, expected: None }));
    }

    #[test]
    fn batchers_that_crash_spend_the_runners_budget() {
        let (_runtime, runner) = launch(Duration::MAX, 0);
        let reply = call(&runner, None);
        crash(&runner);
        let Err(CallError::Unavailable { cause, .. }) = block_on(reply) else { panic!("unavailable") };
        assert_eq!(&*cause, "the runner has failed: the restart budget is spent; last, a batcher was lost");
        assert_eq!(block_on(runner.ready()), Err("the restart budget is spent; last, a batcher was lost".into()));
    }
}
