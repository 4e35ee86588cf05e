//! The actor of one runner: it opens executors through the factory, classifies their exits, and rebuilds them.

mod drain;
mod last_words;
mod orders;
mod place;
mod stuck;
#[cfg(test)]
mod tests;

pub(crate) use drain::Drain;
pub use orders::OrderError;
pub(crate) use orders::{Command, Order};
pub(crate) use stuck::FoundStuck;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, SpawnHandle};
use tokio::sync::watch;

use last_words::LastWords;
use place::{Opened, Place};

use crate::batcher::Batcher;
use crate::budget::{Budget, Restart};
use crate::desk::Desk;
use crate::executor::{self, Event};
use crate::recovery::Toll;
use crate::seat::Tenure;
use crate::{
    ExecutorState, ExecutorStatus, Exit, ExitRecord, Factory, RestartLimits, RunnerState, RunnerStatus, Worker,
};

pub(crate) struct Supervisor<F: Factory> {
    name: Arc<str>,
    factory: Arc<F>,
    desk: Arc<Desk<F::Worker>>,
    budget: Budget,
    max_abandoned: u32,
    batchers: Vec<Option<Addr<Batcher<F::Worker>>>>,
    places: Vec<Place<F::Worker>>,
    /// Executors that are stuck, have been replaced, and have not ended.
    abandoned: Vec<Tenure>,
    paused: bool,
    /// The restart that an operator has asked for, while it goes on.
    rolling: Option<orders::Rolling>,
    /// Ends the grace period of a drain, and when.
    grace: Option<(SpawnHandle, Option<Instant>)>,
    status: RunnerStatus,
    /// Everybody else's view of `status`.
    published: watch::Sender<RunnerStatus>,
}

/// What helps against a device that is lost for the whole process.
const CURE: &str = "nothing in this process can cure that: a new process can, this one's next start, or a child process \
                    for each executor (isolation = \"process\")";

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
            batchers: (0..methods).map(|_| None).collect(),
            places: status.executors.iter().map(|_| Place::default()).collect(),
            abandoned: Vec::new(),
            paused: false,
            rolling: None,
            grace: None,
            status,
            published,
        }
    }

    /// What a runner tells before anything has been opened.
    pub(crate) fn first_status(factory: &F, executors: usize, restarts: &RestartLimits) -> RunnerStatus {
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
            up_since: None,
            restarts: 0,
            abandoned: 0,
            unfinished: 0,
            budget: restarts.clone(),
            charged: Arc::default(),
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
        self.places[seat].due_back = None;
        self.places[seat].released = false;
        self.spawn_executor(self.desk.tenure(seat), ctx);
    }

    fn spawn_executor(&self, tenure: Tenure, ctx: &Context<Self>) {
        let desk = Arc::clone(&self.desk);
        let factory = Arc::clone(&self.factory);
        let supervisor = ctx.address();
        let body = move || {
            let mut last_words = LastWords::new(tenure, supervisor.clone());
            executor::live(factory.as_ref(), desk, tenure, |event| supervisor.do_send(Happened { tenure, event }));
            last_words.are_said();
        };
        let name = format!("{}/{}", self.name, tenure.seat);
        if let Err(error) = self.factory.spawn(tenure.seat, name, Box::new(body)) {
            let exit = Exit::OpenFailed(format!("no thread could be started: {error}").into());
            ctx.address().do_send(Happened::<F::Worker> { tenure, event: Event::Exited(exit) });
        }
    }

    /// The executor of `seat` can be woken: it has the seat.
    fn is_open(&mut self, seat: usize, Opened { executor, kill_switch }: Opened<F::Worker>, ctx: &mut Context<Self>) {
        self.places[seat].kill_switch = kill_switch;
        self.status.executors[seat].state = ExecutorState::Ready;
        self.desk.seat_executor(seat, executor.clone());
        self.publish();
        executor.do_send(executor::Wake);
        self.roll_past(seat, ctx);
    }

    fn release(&mut self, seat: usize) {
        self.places[seat].released = true;
        self.desk.release(seat);
    }

    fn exited(&mut self, seat: usize, exit: Exit, ctx: &mut Context<Self>) {
        let Toll { is_free, forgiven } = self.desk.leave(seat, &exit.to_string());
        self.budget.forgive(forgiven);
        self.status.executors[seat].state = ExecutorState::Stopped;
        self.places[seat].kill_switch = None;
        self.record(seat, &exit);
        match (&exit, self.status.state) {
            (_, RunnerState::Failed | RunnerState::Stopped) => {}
            (_, RunnerState::Draining) if !self.desk.has_waiting() => self.places[seat].successor = None,
            (Exit::DeviceLost(_), _) if !self.factory.cures_lost_devices() => {
                self.fail(&format!("executor {seat} {exit}; {CURE}"), ctx);
            }
            (Exit::Stuck(_), _) if self.abandoned.len() > self.max_abandoned as usize => {
                self.fail(&stuck::too_many_abandoned(self.max_abandoned, seat, &exit), ctx);
            }
            _ if self.places[seat].successor.is_some() => self.succeed(seat, ctx),
            (Exit::Drained, _) if self.places[seat].released => self.rebuild(seat, ctx),
            (Exit::Drained, _) => {}
            // What a worker says when it is first opened, it will say again.
            (Exit::OpenFailed(_), RunnerState::Starting) => self.fail(&format!("executor {seat} {exit}"), ctx),
            _ if is_free => self.restart_after(Duration::ZERO, seat, &exit, ctx),
            _ => self.restart(seat, &exit, ctx),
        }
        // The others have finished what a restart was meant for.
        if self.status.state == RunnerState::Draining && !self.desk.has_waiting() && self.nobody_is_up() {
            self.cancel_restarts();
        }
        self.publish();
        self.stop_when_drained(ctx);
    }

    fn record(&mut self, seat: usize, exit: &Exit) {
        if *exit == Exit::Drained {
            return;
        }
        tracing::error!(runner = %self.name, executor = seat, %exit, "an executor has ended");
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
        let tenure = self.desk.tenure(seat);
        self.places[seat].due_back = Instant::now().checked_add(delay);
        ctx.run_later(delay, move |supervisor, ctx| supervisor.restart_due(tenure, ctx));
    }

    fn restart_due(&mut self, tenure: Tenure, ctx: &mut Context<Self>) {
        let seat = tenure.seat;
        if !self.desk.holds(tenure) || self.status.executors[seat].state != ExecutorState::Restarting {
            return;
        }
        if self.status.state == RunnerState::Draining && !self.desk.has_waiting() {
            self.places[seat].due_back = None;
            self.status.executors[seat].state = ExecutorState::Stopped;
        } else {
            self.rebuild(seat, ctx);
        }
        self.publish();
        self.stop_when_drained(ctx);
    }

    fn rebuild(&mut self, seat: usize, ctx: &Context<Self>) {
        self.count_restart(seat);
        self.start_executor(seat, ctx);
    }

    fn count_restart(&mut self, seat: usize) {
        tracing::info!(runner = %self.name, executor = seat, "rebuilding an executor");
        self.desk.observer().executor_restarted(seat);
        self.status.restarts += 1;
        self.status.executors[seat].restarts += 1;
    }

    pub(super) fn cancel_restarts(&mut self) {
        for (executor, place) in self.status.executors.iter_mut().zip(&mut self.places) {
            if executor.state == ExecutorState::Restarting {
                executor.state = ExecutorState::Stopped;
                place.due_back = None;
            }
        }
    }

    /// Tells the desk when the next executor will be there, while none is up or being opened.
    fn tell_when_back(&self) {
        let away =
            |executor: &ExecutorStatus| matches!(executor.state, ExecutorState::Restarting | ExecutorState::Stopped);
        let next = self.places.iter().filter_map(|place| place.due_back).min();
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
            RunnerState::Starting | RunnerState::Ready | RunnerState::Restarting | RunnerState::Paused => {
                match (self.paused, self.nobody_is_up()) {
                    (true, _) => RunnerState::Paused,
                    (false, true) => RunnerState::Restarting,
                    (false, false) => RunnerState::Ready,
                }
            }
            last @ (RunnerState::Failed | RunnerState::Draining | RunnerState::Stopped) => last,
        };
        if self.status.state == RunnerState::Ready {
            self.status.cause = None;
        }
        self.status.up_since = match self.status.state {
            RunnerState::Ready => self.status.up_since.or_else(|| Some(Instant::now())),
            RunnerState::Paused | RunnerState::Draining => self.status.up_since,
            _ => None,
        };
        self.status.abandoned = u32::try_from(self.abandoned.len()).unwrap_or(u32::MAX);
        self.status.charged = self.budget.recent().collect();
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
}

impl<F: Factory> Actor for Supervisor<F> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.desk.observer().state_changed(RunnerState::Starting, None);
        self.desk.seat_supervisor(ctx.address().downgrade().recipient());
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
        let is_holder = self.desk.holds(tenure);
        match event {
            Event::Ready(executor, kill_switch) => {
                let opened = Opened { executor, kill_switch };
                if is_holder { self.is_open(seat, opened, ctx) } else { self.is_open_beside(tenure, opened) }
            }
            Event::Exited(exit) if is_holder => {
                let exit = self.places[seat].killed_for.take().unwrap_or(exit);
                self.exited(seat, exit, ctx);
            }
            Event::Exited(exit) => self.other_exited(tenure, &exit),
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
