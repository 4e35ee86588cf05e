//! The actor of one worker, alone on its arbiter and its thread: it runs batches until it is told to stop.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message, System};
use tokio::sync::oneshot;

use crate::batch::Batch;
use crate::board::Next;
use crate::desk::Desk;
use crate::guard::guarded;
use crate::recovery::Failure;
use crate::seat::Tenure;
use crate::shared::Claim;
use crate::{Exit, Factory, KillSwitch, MethodError, OpenError, Outcomes, Part, RunError, Worker};

/// Says that there is something to do, or a change of phase to see.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Wake;

pub(crate) struct Executor<W: Worker> {
    desk: Arc<Desk<W>>,
    tenure: Tenure,
    /// To turns on the device that it shares, if it shares one. Its turn ends with it.
    claim: Option<Claim>,
    /// Gone once it has panicked, or the executor has retired.
    worker: Option<Box<W>>,
    /// What the device has been handed, in that order.
    launched: VecDeque<Launched<W>>,
    /// When the device last finished something.
    finished: Option<Instant>,
    end: Option<oneshot::Sender<End<W>>>,
}

/// Nothing in it is ever pinned.
impl<W: Worker> Unpin for Executor<W> {}

/// A batch that has been handed to the device.
struct Launched<W: Worker> {
    batch: Arc<Batch<W>>,
    work: W::Launched,
    at: Instant,
}

/// How an executor's actor ended, and the worker that it leaves behind.
struct End<W> {
    exit: Exit,
    worker: Option<Box<W>>,
}

/// What happens on an executor's thread, as its supervisor hears of it.
pub(crate) enum Event<W: Worker> {
    /// Its worker is open, and may be killed from elsewhere by this.
    Ready(actix::Addr<Executor<W>>, Option<KillSwitch>),
    Exited(Exit),
}

/// The whole life of an executor, on the thread that calls this: opens the worker, runs the actor until it ends, and
/// reports each of these once.
pub(crate) fn live<F: Factory>(
    factory: &F,
    desk: Arc<Desk<F::Worker>>,
    tenure: Tenure,
    report: impl Fn(Event<F::Worker>),
) {
    let open = || {
        let mut worker = factory.open(tenure.seat)?;
        worker.warm_up(&mut |run| desk.observe(&run))?;
        Ok::<_, OpenError>((worker.kill_switch(), worker))
    };
    let End { exit, worker } = match guarded(open) {
        Err(message) => End { exit: Exit::Panicked(message), worker: None },
        Ok(Err(error)) => End { exit: error.into_exit(), worker: None },
        Ok(Ok((kill, worker))) => {
            run(Executor::new(desk, tenure, worker), |address| report(Event::Ready(address, kill)))
        }
    };
    if exit == Exit::Drained {
        // Nobody waits for its calls: it ends in good order.
        discard(worker);
        report(Event::Exited(exit));
    } else {
        // Its calls wait to be run elsewhere, and nobody knows how long a broken worker takes to be dropped.
        report(Event::Exited(exit));
        discard(worker);
    }
}

/// Drops the worker, which may panic: it is user code, and may be in any state.
fn discard<W>(worker: Option<Box<W>>) {
    if let Err(message) = guarded(|| drop(worker)) {
        tracing::warn!(%message, "a worker panicked while it was dropped");
    }
}

fn run<W: Worker>(mut executor: Executor<W>, ready: impl FnOnce(actix::Addr<Executor<W>>)) -> End<W> {
    // No I/O driver: an executor's thread is woken by its condition variable, which is cheaper than an event queue.
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build();
    let (sender, end) = oneshot::channel();
    executor.end = Some(sender);
    let lost = || End { exit: Exit::Panicked("the executor's actor was lost".into()), worker: None };
    let Ok(runtime) = runtime() else {
        let exit = Exit::OpenFailed("no runtime could be made for the executor's thread".into());
        return End { exit, worker: executor.worker };
    };
    let system = System::with_tokio_rt(|| runtime);
    system.block_on(async move {
        ready(executor.start());
        end.await.unwrap_or_else(|_| lost())
    })
}

impl<W: Worker> Actor for Executor<W> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let executor = ctx.address().downgrade();
        self.claim = self.desk.claim(self.tenure, move || {
            // One that has gone has no turn any more.
            if let Some(executor) = executor.upgrade() {
                executor.do_send(Wake);
            }
        });
        let executor = ctx.address();
        if let Some(worker) = &self.worker {
            worker.on_loss(Box::new(move || executor.do_send(Wake)));
        }
    }
}

impl<W: Worker> Handler<Wake> for Executor<W> {
    type Result = ();

    fn handle(&mut self, _: Wake, ctx: &mut Self::Context) {
        let exit = loop {
            if let Some(exit) = self.worker.as_ref().and_then(|worker| worker.lost()) {
                break exit;
            }
            let next = if self.launched.is_empty() { self.next() } else { self.next_ahead() };
            // It may panic anywhere: what has not been answered then is run again, and so it is where the worker is lost.
            let step = match next {
                Next::Run(batch) => guarded(|| self.launch(batch)),
                Next::Idle | Next::Retire if !self.launched.is_empty() => guarded(|| self.finish()),
                Next::Idle => return,
                Next::Retire => break Exit::Drained,
            };
            match step {
                Ok(Ok(())) => {}
                Ok(Err(Exit::Panicked(message))) | Err(message) => break self.exit_of_panic(message),
                Ok(Err(exit)) => break exit,
            }
        };
        ctx.stop();
        // Whatever takes long now, others have the device meanwhile.
        self.claim = None;
        // What has been launched is the worker's, and goes before it.
        let launched = std::mem::take(&mut self.launched);
        if let Err(message) = guarded(|| drop(launched)) {
            tracing::warn!(%message, "a worker's batches panicked while they were dropped");
        }
        if let Some(sender) = self.end.take() {
            // Nobody listens only when the thread is being torn down.
            let _ = sender.send(End { exit, worker: self.worker.take() });
        }
    }
}

impl<W: Worker> Executor<W> {
    fn new(desk: Arc<Desk<W>>, tenure: Tenure, worker: W) -> Self {
        let worker = Some(Box::new(worker));
        Self { desk, tenure, claim: None, worker, launched: VecDeque::new(), finished: None, end: None }
    }

    /// What to do next. Where the device is shared, a batch is taken when it is this executor's turn, and not before: it
    /// grows meanwhile, and calls whose time passes leave it.
    fn next(&self) -> Next<W> {
        let Some(claim) = &self.claim else { return self.desk.next(self.tenure) };
        let next = if claim.ask() {
            self.desk.next(self.tenure)
        } else {
            match self.desk.stand_by(self.tenure) {
                Some(next) => next,
                // It is woken when its turn has come.
                None => return Next::Idle,
            }
        };
        if !matches!(next, Next::Run(_)) {
            claim.give_up();
        }
        next
    }

    /// What to hand to the device while it has work. Others that wait for the device get it instead.
    fn next_ahead(&self) -> Next<W> {
        let depth = self.worker.as_ref().map_or(1, |worker| worker.depth());
        if self.launched.len() >= depth || self.claim.as_ref().is_some_and(Claim::is_contested) {
            return Next::Idle;
        }
        self.desk.next_ahead(self.tenure).map_or(Next::Idle, Next::Run)
    }

    fn exit_of_panic(&self, message: Arc<str>) -> Exit {
        let exit = self.worker.as_ref().map(|worker| guarded(|| worker.exit_of_panic(Arc::clone(&message))));
        exit.and_then(Result::ok).unwrap_or(Exit::Panicked(message))
    }

    /// Hands one batch to the device; one that has room for no other is waited for.
    fn launch(&mut self, batch: Arc<Batch<W>>) -> Result<(), Exit> {
        let Some(worker) = &mut self.worker else { return Err(no_worker()) };
        let at = Instant::now();
        let parts = parts(&batch);
        match worker.launch(batch.method, &parts) {
            Ok(work) if worker.depth() == 1 => {
                let ran = worker.finish(batch.method, &parts, work);
                drop(parts);
                return self.is_over(&batch, at, ran);
            }
            Ok(work) => {
                drop(parts);
                self.launched.push_back(Launched { batch, work, at });
            }
            Err(error) => {
                if self.launched.is_empty() {
                    self.has_used(at);
                }
                self.failed(&batch, error)?;
            }
        }
        if self.launched.len() > 1 {
            self.desk.has_launched_ahead(self.tenure);
        }
        Ok(())
    }

    /// Waits for the first of the batches that the device has been handed.
    fn finish(&mut self) -> Result<(), Exit> {
        let Some(worker) = &mut self.worker else { return Err(no_worker()) };
        let Some(Launched { batch, work, at }) = self.launched.pop_front() else { return Ok(()) };
        let ran = worker.finish(batch.method, &parts(&batch), work);
        self.is_over(&batch, at, ran)
    }

    /// Answers the calls of a batch that was launched at `at`.
    fn is_over(
        &mut self,
        batch: &Batch<W>,
        at: Instant,
        ran: Result<Outcomes<W::Output>, RunError>,
    ) -> Result<(), Exit> {
        let started = self.has_used(at);
        let calls = batch.entries.len();
        match ran {
            Ok(outcomes) if outcomes.len() == calls => {
                self.desk.answer(self.tenure, batch, outcomes, started);
                Ok(())
            }
            Ok(outcomes) => {
                let found = outcomes.len();
                let error = MethodError::failed(format!("the method returned {found} outputs for {calls} calls"));
                self.failed(batch, error.into())
            }
            Err(error) => self.failed(batch, error),
        }
    }

    /// A batch that was launched at `launched` is over, and not yet answered: others use the device while that is done. Since
    /// when the device worked on it.
    fn has_used(&mut self, launched: Instant) -> Instant {
        let now = Instant::now();
        let started = self.finished.replace(now).map_or(launched, |finished| finished.max(launched));
        if let Some(claim) = &self.claim {
            let used = now.saturating_duration_since(started);
            if self.launched.is_empty() {
                claim.end(used, self.desk.has_waiting());
            } else {
                claim.use_up(used);
            }
        }
        started
    }

    fn failed(&mut self, batch: &Batch<W>, error: RunError) -> Result<(), Exit> {
        let failure = match error {
            RunError::Method(error) => Failure::Error(error),
            RunError::OutOfMemory(message) => Failure::OutOfMemory(message),
            RunError::Lost(exit) => return Err(exit),
        };
        self.desk.recover(self.tenure, batch, failure);
        Ok(())
    }
}

fn parts<W: Worker>(batch: &Batch<W>) -> Vec<Part<'_, W::Input>> {
    batch.entries.iter().map(|entry| Part { input: &entry.call.input, rows: entry.rows.clone() }).collect()
}

fn no_worker() -> Exit {
    Exit::Panicked("the executor has no worker".into())
}
