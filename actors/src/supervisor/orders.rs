//! What operators have a runner do: restart, pause, resume.

use std::collections::VecDeque;
use std::sync::Arc;

use actix::{Addr, Context, Handler, Message};
use tokio::sync::oneshot;

use super::Supervisor;
use super::place::Opened;
use crate::executor::Wake;
use crate::seat::Tenure;
use crate::{ExecutorState, Exit, Factory, RunnerState};

/// Why an order was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// It makes no sense for a runner in this state.
    #[error("the runner is {state}{}", cure(*state))]
    Impossible {
        /// The state that it is in.
        state: RunnerState,
    },
    /// A restart is going on.
    #[error(
        "the runner is being restarted already, which waits for its batches to end; where one hangs, drain the runner and \
         restart it"
    )]
    Busy,
    /// It was begun, and went wrong.
    #[error("{0}")]
    Failed(Arc<str>),
}

fn cure(state: RunnerState) -> &'static str {
    match state {
        RunnerState::Failed | RunnerState::Stopped => "; restart it first",
        RunnerState::Starting => "; wait until it is ready",
        RunnerState::Draining => "; wait until it has stopped, and restart it",
        RunnerState::Ready | RunnerState::Restarting | RunnerState::Paused => "",
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    /// Each executor is replaced by a new one, one after the other; a runner that has ended begins anew.
    Restart,
    /// Executors take nothing more, calls wait.
    Pause,
    /// They go on.
    Resume,
}

/// Asks for an order to be carried out, and to be told when it has been.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Command {
    pub(crate) order: Order,
    pub(crate) done: oneshot::Sender<Result<(), OrderError>>,
}

/// A restart of one executor after the other.
pub(super) struct Rolling {
    /// The seat whose executor is being replaced.
    seat: Option<usize>,
    /// Those that come after it.
    left: VecDeque<usize>,
    done: oneshot::Sender<Result<(), OrderError>>,
}

impl<F: Factory> Handler<Command> for Supervisor<F> {
    type Result = ();

    fn handle(&mut self, Command { order, done }: Command, ctx: &mut Self::Context) {
        tracing::info!(runner = %self.name, ?order, "an order has come");
        let outcome = match (order, self.status.state) {
            (Order::Restart, RunnerState::Failed | RunnerState::Stopped) => {
                self.begin_anew(ctx);
                Ok(())
            }
            (Order::Restart, RunnerState::Ready | RunnerState::Restarting | RunnerState::Paused) => {
                if self.rolling.is_none() {
                    return self.roll(done, ctx);
                }
                Err(OrderError::Busy)
            }
            (Order::Pause, RunnerState::Ready | RunnerState::Restarting | RunnerState::Paused) => {
                self.paused = true;
                self.desk.pause();
                self.publish();
                Ok(())
            }
            (
                Order::Resume,
                RunnerState::Paused | RunnerState::Ready | RunnerState::Restarting | RunnerState::Starting,
            ) => {
                self.paused = false;
                self.publish();
                self.desk.resume();
                Ok(())
            }
            (_, state) => Err(OrderError::Impossible { state }),
        };
        // Whoever asked need not have waited.
        let _ = done.send(outcome);
    }
}

impl<F: Factory> Supervisor<F> {
    /// From scratch, after an end: nothing of before counts.
    fn begin_anew(&mut self, ctx: &mut Context<Self>) {
        self.budget.clear();
        self.paused = false;
        self.desk.reopen();
        for place in &mut self.places {
            (place.kill_switch, place.killed_for) = (None, None);
        }
        self.status.state = RunnerState::Starting;
        self.status.cause = None;
        self.status.unfinished = 0;
        for method in 0..self.batchers.len() {
            if !self.batchers[method].as_ref().is_some_and(Addr::connected) {
                self.start_batcher(method, ctx);
            }
        }
        for seat in 0..self.places.len() {
            self.rebuild(seat, ctx);
        }
        self.publish();
    }

    fn roll(&mut self, done: oneshot::Sender<Result<(), OrderError>>, ctx: &mut Context<Self>) {
        self.budget.clear();
        self.rolling = Some(Rolling { seat: None, left: (0..self.places.len()).collect(), done });
        self.roll_on(ctx);
        self.publish();
    }

    /// Goes on to the next executor.
    fn roll_on(&mut self, ctx: &mut Context<Self>) {
        let Some(rolling) = &mut self.rolling else { return };
        rolling.seat = rolling.left.pop_front();
        let Some(seat) = rolling.seat else { return self.end_rolling(Ok(())) };
        match self.status.executors[seat].state {
            ExecutorState::Ready if self.factory.has_room(seat) => {
                let tenure = self.desk.next_tenure(seat);
                self.places[seat].successor = Some((tenure, None));
                self.spawn_executor(tenure, ctx);
            }
            // The new one is opened when the old one has gone.
            ExecutorState::Ready => self.release(seat),
            // It is as new as can be.
            ExecutorState::Starting => {}
            ExecutorState::Restarting | ExecutorState::Stopped => self.rebuild(seat, ctx),
        }
    }

    /// An executor is ready: if the restart has waited for it, the next one follows.
    pub(super) fn roll_past(&mut self, seat: usize, ctx: &mut Context<Self>) {
        if self.rolling.as_ref().is_some_and(|rolling| rolling.seat == Some(seat)) {
            self.roll_on(ctx);
            self.publish();
        }
    }

    /// Nobody listens for the outcome where whoever asked has gone.
    pub(super) fn end_rolling(&mut self, outcome: Result<(), OrderError>) {
        if let Some(rolling) = self.rolling.take() {
            tracing::info!(runner = %self.name, ?outcome, "the restart is over");
            let _ = rolling.done.send(outcome);
        }
    }

    /// The executor of a seat has gone, and another one takes its place.
    pub(super) fn succeed(&mut self, seat: usize, ctx: &mut Context<Self>) {
        let Some((tenure, opened)) = self.places[seat].successor.take() else { return };
        self.count_restart(seat);
        self.desk.hand_over(tenure);
        self.places[seat].released = false;
        self.status.executors[seat].state = ExecutorState::Starting;
        if let Some(opened) = opened {
            self.is_open(seat, opened, ctx);
        }
    }

    /// An executor is open that does not have its seat: the one that has it goes.
    pub(super) fn is_open_beside(&mut self, tenure: Tenure, opened: Opened<F::Worker>) {
        match &mut self.places[tenure.seat].successor {
            Some((next, waiting)) if *next == tenure => {
                *waiting = Some(opened);
                self.release(tenure.seat);
            }
            // It has been given up meanwhile, and will find that out.
            _ => opened.executor.do_send(Wake),
        }
    }

    /// An executor has ended that does not have its seat.
    pub(super) fn other_exited(&mut self, tenure: Tenure, exit: &Exit) {
        let seat = tenure.seat;
        if self.came_back(tenure) {
            return;
        }
        self.record(seat, exit);
        // Where it was open, the old one is going already, and is rebuilt when it has.
        if let Some((_, None)) = self.places[seat].successor.take_if(|(next, _)| *next == tenure) {
            let cause = format!("the new executor {seat} {exit}; the old one goes on");
            self.end_rolling(Err(OrderError::Failed(cause.into())));
        }
        self.publish();
    }
}
