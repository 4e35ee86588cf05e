//! How a runner ends: it finishes what it has accepted, for as long as it may.

use std::time::{Duration, Instant};

use actix::{AsyncContext, Context, Handler, Message};

use super::{OrderError, Supervisor};
use crate::batcher::Dismiss;
use crate::{ExecutorState, Factory, RunnerState};

/// Finish what has been accepted, for at most `grace`, and end.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Drain {
    pub(crate) grace: Duration,
}

impl<F: Factory> Handler<Drain> for Supervisor<F> {
    type Result = ();

    fn handle(&mut self, Drain { grace }: Drain, ctx: &mut Self::Context) {
        match self.status.state {
            RunnerState::Failed => return self.stop(ctx),
            RunnerState::Draining => return self.shorten(grace, ctx),
            RunnerState::Stopped => return,
            RunnerState::Starting | RunnerState::Ready | RunnerState::Restarting | RunnerState::Paused => {}
        }
        self.status.state = RunnerState::Draining;
        self.paused = false;
        self.end_rolling(Err(OrderError::Failed("the runner was told to drain meanwhile".into())));
        // Whoever reads that it drains finds that it takes no more.
        self.desk.drain();
        self.publish();
        if !self.desk.has_waiting() {
            self.cancel_restarts();
        }
        self.shorten(grace, ctx);
        self.stop_when_drained(ctx);
    }
}

impl<F: Factory> Supervisor<F> {
    /// Gives up: publishes the cause, closes, and answers everything that waits, in this order.
    pub(super) fn fail(&mut self, cause: &str, ctx: &mut Context<Self>) {
        let draining = self.status.state == RunnerState::Draining;
        self.status.cause = Some(cause.into());
        self.status.state = RunnerState::Failed;
        self.cancel_restarts();
        self.end_rolling(Err(OrderError::Failed(cause.into())));
        self.publish();
        let refused = self.desk.close(&format!("the runner has failed: {cause}"));
        self.kill_running();
        tracing::error!(runner = %self.name, cause, refused, "the runner has failed");
        if draining {
            self.stop(ctx);
        }
    }

    pub(super) fn stop_when_drained(&mut self, ctx: &mut Context<Self>) {
        let all_stopped = self.status.executors.iter().all(|executor| executor.state == ExecutorState::Stopped);
        if self.status.state == RunnerState::Draining && all_stopped {
            self.stop(ctx);
        }
    }

    /// Stops after `grace`, if not earlier.
    fn shorten(&mut self, grace: Duration, ctx: &mut Context<Self>) {
        let ends = Instant::now().checked_add(grace);
        if let Some((timer, earlier)) = self.grace {
            if earlier.is_some_and(|earlier| ends.is_none_or(|ends| ends >= earlier)) {
                return;
            }
            ctx.cancel_future(timer);
        }
        self.grace = Some((ctx.run_later(grace, |supervisor, ctx| supervisor.stop(ctx)), ends));
    }

    pub(super) fn stop(&mut self, ctx: &mut Context<Self>) {
        if let Some((grace, _)) = self.grace.take() {
            // It would keep a supervisor alive that nobody needs any more.
            ctx.cancel_future(grace);
        }
        let unfinished = self.desk.close("the runner has stopped");
        self.status.unfinished = unfinished;
        if unfinished > 0 {
            tracing::warn!(runner = %self.name, unfinished, "the grace period is over; calls were refused");
        }
        self.wind_up();
        self.publish();
    }

    pub(super) fn wind_up(&mut self) {
        for batcher in self.batchers.iter_mut().filter_map(Option::take) {
            batcher.do_send(Dismiss);
        }
        for executor in &mut self.status.executors {
            executor.state = ExecutorState::Stopped;
        }
        for place in &mut self.places {
            place.due_back = None;
            place.successor = None;
        }
        self.kill_running();
        self.desk.take_turns_away();
        self.end_rolling(Err(OrderError::Failed("the runner has stopped".into())));
        self.status.state = RunnerState::Stopped;
    }
}
