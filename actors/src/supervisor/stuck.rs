//! What the supervisor does about executors that are stuck: kills them, or goes on without them.

use actix::{Handler, Message};

use super::Supervisor;
use crate::guard::guarded;
use crate::seat::{Stuck, Tenure};
use crate::{Exit, Factory};

/// An executor was found to be stuck.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct FoundStuck(pub(crate) Stuck);

impl<F: Factory> Handler<FoundStuck> for Supervisor<F> {
    type Result = ();

    /// Kills an executor that is stuck, so that it ends; or takes it for gone, where it cannot be killed, or was and has
    /// not ended for as long again.
    fn handle(&mut self, FoundStuck(stuck): FoundStuck, ctx: &mut Self::Context) {
        if !self.desk.is_stuck(&stuck) {
            return;
        }
        let seat = stuck.tenure.seat;
        let exit =
            Exit::Stuck(format!("a batch ran for more than batch_timeout_ms = {}", stuck.timeout.as_millis()).into());
        if self.places[seat].kill_switch.is_some() {
            tracing::warn!(runner = %self.name, executor = seat, %exit, "killing an executor");
            return self.kill(seat, exit);
        }
        self.places[seat].killed_for = None;
        self.abandoned.push(stuck.tenure);
        tracing::error!(runner = %self.name, executor = seat, abandoned = self.abandoned.len(), "abandoning an executor");
        self.exited(seat, exit, ctx);
    }
}

impl<F: Factory> Supervisor<F> {
    /// Kills an executor, where something can, and takes its end for this.
    fn kill(&mut self, seat: usize, exit: Exit) {
        let Some(kill) = self.places[seat].kill_switch.take() else { return };
        self.places[seat].killed_for = Some(exit);
        if let Err(message) = guarded(|| kill()) {
            tracing::error!(%message, "a kill switch panicked");
        }
    }

    /// Kills the executors that still run something, whose calls have been answered: what they run may never end.
    pub(super) fn kill_running(&mut self) {
        for seat in 0..self.places.len() {
            if self.desk.is_running(seat) {
                self.kill(seat, Exit::Drained);
            }
        }
    }

    /// Whether this is an executor that was taken for gone, and has ended after all.
    pub(super) fn came_back(&mut self, tenure: Tenure) -> bool {
        let Some(at) = self.abandoned.iter().position(|abandoned| *abandoned == tenure) else { return false };
        self.abandoned.swap_remove(at);
        let (executor, abandoned) = (tenure.seat, self.abandoned.len());
        tracing::info!(runner = %self.name, executor, abandoned, "an abandoned executor has ended");
        self.publish();
        true
    }
}

/// Why a runner fails whose executor `seat` is one too many to be abandoned.
pub(super) fn too_many_abandoned(max: u32, seat: usize, exit: &Exit) -> String {
    format!(
        "executor {seat} {exit}, and max_abandoned = {max} others have not come back; a thread cannot be killed, as a \
         process can (isolation = \"process\")"
    )
}
