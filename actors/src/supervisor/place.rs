//! An executor's seat, as its supervisor knows it.

use std::time::Instant;

use actix::Addr;

use crate::executor::Executor;
use crate::seat::Tenure;
use crate::{Exit, KillSwitch, Worker};

/// What the supervisor knows of a seat, beside the state of the executor that has it.
pub(super) struct Place<W: Worker> {
    /// When it will be rebuilt, while it is away.
    pub(super) due_back: Option<Instant>,
    /// It has been told to go, for another one to come.
    pub(super) released: bool,
    /// The one that takes its place when it has gone; what it brings, as soon as it is open.
    pub(super) successor: Option<(Tenure, Option<Opened<W>>)>,
    /// What kills the executor, where something can.
    pub(super) kill_switch: Option<KillSwitch>,
    /// Why the executor is being killed.
    pub(super) killed_for: Option<Exit>,
}

/// An executor whose worker is open.
pub(super) struct Opened<W: Worker> {
    pub(super) executor: Addr<Executor<W>>,
    pub(super) kill_switch: Option<KillSwitch>,
}

impl<W: Worker> Default for Place<W> {
    fn default() -> Self {
        Self { due_back: None, released: false, successor: None, kill_switch: None, killed_for: None }
    }
}
