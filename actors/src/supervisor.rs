//! The actor of one runner: it opens executors through the factory, classifies their exits, and rebuilds them.

mod stuck;

pub(crate) use stuck::FoundStuck;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message};
use tokio::sync::watch;

use crate::batcher::{Batcher, Dismiss};
use crate::board::Tenure;
use crate::budget::{Budget, Restart};
use crate::desk::Desk;
use crate::executor::{self, Event};
use crate::recovery::Toll;
use crate::{
    ExecutorState, ExecutorStatus, Exit, ExitRecord, Factory, KillSwitch, RestartLimits, RunnerState, RunnerStatus,
    Worker,
};

pub(crate) struct Supervisor<F: Factory> {
    name: Arc<str>,
    factory: Arc<F>,
    desk: Arc<Desk<F::Worker>>,
    budget: Budget,
    max_abandoned: u32,
    /// What kills each executor, where something can.
    kill_switches: Vec<Option<KillSwitch>>,
    /// Why each executor is being killed.
    killed_for: Vec<Option<Exit>>,
    batchers: Vec<Option<Addr<Batcher<F::Worker>>>>,
    /// When each executor that is away will be rebuilt.
    due_back: Vec<Option<Instant>>,
    status: RunnerStatus,
    /// Everybody else's view of `status`.
    published: watch::Sender<RunnerStatus>,
}

/// Something happened to an executor.
#[derive(Message)]
#[rtype(result = "()")]
struct Happened<W: Worker> {
    tenure: Tenure,
    event: Event<W>,
}

/// The batcher of `method` ended without having been told to.
#[derive(Message)]
#[rtype(result = "()")]
struct BatcherLost {
    method: usize,
}

/// Finish what has been accepted, for at most `grace`, and end.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Drain {
    pub(crate) grace: Duration,
}

impl<F: Factory> Supervisor<F> {
    pub(crate) fn new(
        name: Arc<str>,
        factory: Arc<F>,
        desk: Arc<Desk<F::Worker>>,
        methods: usize,
        restarts: RestartLimits,
        published: watch::Sender<RunnerStatus>,
    ) -> Self {
        let status = published.borrow().clone();
        Self {
            name,
            factory,
            desk,
            max_abandoned: restarts.max_abandoned,
            budget: Budget::new(restarts),
            kill_switches: vec![None; status.executors.len()],
            killed_for: vec![None; status.executors.len()],
            batchers: (0..methods).map(|_| None).collect(),
            due_back: vec![None; status.executors.len()],
            status,
            published,
        }
    }

    /// What a runner tells before anything has been opened.
    pub(crate) fn first_status(factory: &F, executors: usize) -> RunnerStatus {
        let executors = (0..executors)
            .map(|seat| ExecutorStatus {
                device: factory.device(seat).into(),
                state: ExecutorState::Starting,
                restarts: 0,
            })
            .collect();
        RunnerStatus {
            state: RunnerState::Starting,
            cause: None,
            executors,
            restarts: 0,
            abandoned: 0,
            exits: Vec::new(),
        }
    }

    fn start_batcher(&mut self, method: usize, ctx: &Context<Self>) {
        let supervisor = ctx.address();
        let lost = move || supervisor.do_send(BatcherLost { method });
        let batcher = Batcher::new(Arc::clone(&self.desk), method, lost).start();
        self.desk.seat_batcher(method, batcher.clone());
        self.batchers[method] = Some(batcher);
    }

    fn start_executor(&mut self, seat: usize, ctx: &Context<Self>) {
        self.status.executors[seat].state = ExecutorState::Starting;
        let desk = Arc::clone(&self.desk);
        let factory = Arc::clone(&self.factory);
        let supervisor = ctx.address();
        let tenure = self.desk.tenure(seat);
        let body = move || {
            let mut last_words = LastWords { tenure, supervisor: Some(supervisor.clone()) };
            executor::live(factory.as_ref(), desk, tenure, |event| supervisor.do_send(Happened { tenure, event }));
            last_words.supervisor = None;
        };
        if let Err(error) = self.factory.spawn(seat, format!("{}/{seat}", self.name), Box::new(body)) {
            let exit = Exit::OpenFailed(format!("no thread could be started: {error}").into());
            ctx.address().do_send(Happened::<F::Worker> { tenure, event: Event::Exited(exit) });
        }
    }

    fn exited(&mut self, seat: usize, exit: Exit, ctx: &mut Context<Self>) {
        let Toll { is_free, forgiven } = self.desk.leave(seat, &exit.to_string());
        self.budget.forgive(forgiven);
        self.status.executors[seat].state = ExecutorState::Stopped;
        self.kill_switches[seat] = None;
        if exit != Exit::Drained {
            tracing::error!(runner = %self.name, executor = seat, %exit, "an executor has ended");
            self.record(seat, &exit);
            match (&exit, self.status.state) {
                (_, RunnerState::Failed | RunnerState::Stopped) => {}
                (_, RunnerState::Draining) if !self.desk.has_waiting() => {}
                // What a worker says when it is first opened, it will say again.
                (Exit::OpenFailed(_), RunnerState::Starting) => self.fail(&format!("executor {seat} {exit}"), ctx),
                (Exit::Stuck(_), _) if self.status.abandoned > self.max_abandoned => {
                    self.fail(&stuck::too_many_abandoned(self.max_abandoned, seat, &exit), ctx);
                }
                _ if is_free => self.restart_after(Duration::ZERO, seat, &exit, ctx),
                _ => self.restart(seat, &exit, ctx),
            }
        }
        // The others have finished what a restart was meant for.
        if self.status.state == RunnerState::Draining && !self.desk.has_waiting() && self.nobody_is_up() {
            self.cancel_restarts();
        }
        self.publish();
        self.stop_when_drained(ctx);
    }

    fn record(&mut self, seat: usize, exit: &Exit) {
        self.desk.observer().executor_exited(seat, exit);
        if self.status.exits.len() == RunnerStatus::EXITS_KEPT {
            self.status.exits.remove(0);
        }
        self.status.exits.push(ExitRecord { executor: seat, at: SystemTime::now(), exit: exit.clone() });
    }

    fn restart(&mut self, seat: usize, exit: &Exit, ctx: &mut Context<Self>) {
        match self.budget.on_exit(Instant::now(), fastrand::f64()) {
            Restart::Exhausted => {
                self.fail(&format!("the restart budget is spent; last, executor {seat} {exit}"), ctx);
            }
            Restart::After(delay) => self.restart_after(delay, seat, exit, ctx),
        }
    }

    fn restart_after(&mut self, delay: Duration, seat: usize, exit: &Exit, ctx: &mut Context<Self>) {
        self.status.executors[seat].state = ExecutorState::Restarting;
        self.status.cause = Some(format!("executor {seat} {exit}").into());
        self.due_back[seat] = Instant::now().checked_add(delay);
        ctx.run_later(delay, move |supervisor, ctx| supervisor.restart_due(seat, ctx));
    }

    fn restart_due(&mut self, seat: usize, ctx: &mut Context<Self>) {
        if self.status.executors[seat].state != ExecutorState::Restarting {
            return;
        }
        self.due_back[seat] = None;
        if self.status.state == RunnerState::Draining && !self.desk.has_waiting() {
            self.status.executors[seat].state = ExecutorState::Stopped;
        } else {
            tracing::info!(runner = %self.name, executor = seat, "rebuilding an executor");
            self.desk.observer().executor_restarted(seat);
            self.status.restarts += 1;
            self.status.executors[seat].restarts += 1;
            self.start_executor(seat, ctx);
        }
        self.publish();
        self.stop_when_drained(ctx);
    }

    /// Gives up: publishes the cause, closes, and answers everything that waits, in this order.
    fn fail(&mut self, cause: &str, ctx: &mut Context<Self>) {
        let draining = self.status.state == RunnerState::Draining;
        self.status.cause = Some(cause.into());
        self.status.state = RunnerState::Failed;
        self.cancel_restarts();
        self.publish();
        let refused = self.desk.close(&format!("the runner has failed: {cause}"));
        tracing::error!(runner = %self.name, cause, refused, "the runner has failed");
        if draining {
            self.stop(ctx);
        }
    }

    fn cancel_restarts(&mut self) {
        for (executor, due_back) in self.status.executors.iter_mut().zip(&mut self.due_back) {
            if executor.state == ExecutorState::Restarting {
                executor.state = ExecutorState::Stopped;
                *due_back = None;
            }
        }
    }

    /// Tells the desk when the next executor will be there, while none is up or being opened.
    fn tell_when_back(&self) {
        let away =
            |executor: &ExecutorStatus| matches!(executor.state, ExecutorState::Restarting | ExecutorState::Stopped);
        let next = self.due_back.iter().flatten().min().copied();
        self.desk.set_back_at(next.filter(|_| self.status.executors.iter().all(away)));
    }

    fn nobody_is_up(&self) -> bool {
        !self.status.executors.iter().any(|executor| executor.state == ExecutorState::Ready)
    }

    /// Derives the runner's state from its executors', and tells everybody.
    fn publish(&mut self) {
        let all_ready = self.status.executors.iter().all(|executor| executor.state == ExecutorState::Ready);
        self.status.state = match self.status.state {
            RunnerState::Starting if !all_ready => RunnerState::Starting,
            RunnerState::Starting | RunnerState::Ready | RunnerState::Restarting => {
                if self.nobody_is_up() {
                    RunnerState::Restarting
                } else {
                    RunnerState::Ready
                }
            }
            last @ (RunnerState::Failed | RunnerState::Draining | RunnerState::Stopped) => last,
        };
        if self.status.state == RunnerState::Ready {
            self.status.cause = None;
        }
        self.tell_when_back();
        if self.status.state == RunnerState::Ready && self.published.borrow().state == RunnerState::Starting {
            // Before anybody hears that it is ready.
            self.desk.open();
        }
        let before = self.published.send_replace(self.status.clone()).state;
        if before != self.status.state {
            let (state, cause) = (self.status.state, self.status.cause.as_deref());
            tracing::info!(runner = %self.name, from = %before, to = %state, cause, "the runner's state has changed");
            self.desk.observer().state_changed(state, cause);
        }
    }

    fn stop_when_drained(&mut self, ctx: &mut Context<Self>) {
        let all_stopped = self.status.executors.iter().all(|executor| executor.state == ExecutorState::Stopped);
        if self.status.state == RunnerState::Draining && all_stopped {
            self.stop(ctx);
        }
    }

    fn stop(&mut self, ctx: &mut Context<Self>) {
        let unfinished = self.desk.close("the runner has stopped");
        if unfinished > 0 {
            tracing::warn!(runner = %self.name, unfinished, "the grace period is over; calls were refused");
        }
        self.wind_up();
        self.publish();
        ctx.stop();
    }

    fn wind_up(&mut self) {
        for batcher in self.batchers.drain(..).flatten() {
            batcher.do_send(Dismiss);
        }
        for executor in &mut self.status.executors {
            executor.state = ExecutorState::Stopped;
        }
        self.due_back.fill(None);
        self.status.state = RunnerState::Stopped;
    }
}

impl<F: Factory> Actor for Supervisor<F> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.desk.observer().state_changed(RunnerState::Starting, None);
        self.desk.seat_supervisor(ctx.address().recipient());
        for method in 0..self.batchers.len() {
            self.start_batcher(method, ctx);
        }
        for seat in 0..self.status.executors.len() {
            self.start_executor(seat, ctx);
        }
    }
}

impl<F: Factory> Drop for Supervisor<F> {
    fn drop(&mut self) {
        // However the supervisor ends, nobody is left waiting, and the executors go home.
        let cause = "the runner's supervisor has ended";
        self.desk.close(cause);
        if self.status.state != RunnerState::Stopped {
            self.wind_up();
            self.status.cause.get_or_insert_with(|| cause.into());
            self.published.send_replace(self.status.clone());
        }
    }
}

impl<F: Factory> Handler<Happened<F::Worker>> for Supervisor<F> {
    type Result = ();

    fn handle(&mut self, Happened { tenure, event }: Happened<F::Worker>, ctx: &mut Self::Context) {
        let seat = tenure.seat;
        if !self.desk.holds(tenure) {
            return self.came_back(seat);
        }
        match event {
            Event::Ready(executor, kill_switch) => {
                self.kill_switches[seat] = kill_switch;
                self.status.executors[seat].state = ExecutorState::Ready;
                self.desk.seat_executor(seat, executor.clone());
                self.publish();
                executor.do_send(executor::Wake);
            }
            Event::Exited(exit) => {
                let exit = self.killed_for[seat].take().unwrap_or(exit);
                self.exited(seat, exit, ctx);
            }
        }
    }
}

impl<F: Factory> Handler<BatcherLost> for Supervisor<F> {
    type Result = ();

    fn handle(&mut self, BatcherLost { method }: BatcherLost, ctx: &mut Self::Context) {
        if matches!(self.status.state, RunnerState::Failed | RunnerState::Stopped) {
            return;
        }
        tracing::error!(runner = %self.name, method, "a batcher was lost");
        match self.budget.on_exit(Instant::now(), fastrand::f64()) {
            // It holds nothing, so that there is nothing to wait for.
            Restart::After(_) => self.start_batcher(method, ctx),
            Restart::Exhausted => self.fail("the restart budget is spent; last, a batcher was lost", ctx),
        }
    }
}

impl<F: Factory> Handler<Drain> for Supervisor<F> {
    type Result = ();

    fn handle(&mut self, Drain { grace }: Drain, ctx: &mut Self::Context) {
        match self.status.state {
            RunnerState::Failed => return self.stop(ctx),
            RunnerState::Draining | RunnerState::Stopped => return,
            RunnerState::Starting | RunnerState::Ready | RunnerState::Restarting => {}
        }
        self.status.state = RunnerState::Draining;
        // Whoever reads that it drains finds that it takes no more.
        self.desk.drain();
        self.publish();
        if !self.desk.has_waiting() {
            self.cancel_restarts();
        }
        self.stop_when_drained(ctx);
        ctx.run_later(grace, |supervisor, ctx| supervisor.stop(ctx));
    }
}

/// Reports an executor's thread that ended without a word: a panic outside the panic boundary.
struct LastWords<F: Factory> {
    tenure: Tenure,
    /// Gone once nothing is left to report.
    supervisor: Option<Addr<Supervisor<F>>>,
}

impl<F: Factory> Drop for LastWords<F> {
    fn drop(&mut self) {
        if let Some(supervisor) = &self.supervisor {
            let event = Event::Exited(Exit::Panicked("the executor's thread was lost".into()));
            supervisor.do_send(Happened { tenure: self.tenure, event });
        }
    }
}
