//! What is heard of an executor that cannot say anything itself any more.

use actix::Addr;

use super::{Happened, Supervisor};
use crate::executor::Event;
use crate::seat::Tenure;
use crate::{Exit, Factory};

/// Reports an executor's thread that ended without a word: a panic outside the panic boundary.
pub(super) struct LastWords<F: Factory> {
    tenure: Tenure,
    /// Gone once nothing is left to report.
    supervisor: Option<Addr<Supervisor<F>>>,
}

impl<F: Factory> LastWords<F> {
    pub(super) fn new(tenure: Tenure, supervisor: Addr<Supervisor<F>>) -> Self {
        Self { tenure, supervisor: Some(supervisor) }
    }

    /// The executor has reported its end itself.
    pub(super) fn are_said(&mut self) {
        self.supervisor = None;
    }
}

impl<F: Factory> Drop for LastWords<F> {
    fn drop(&mut self) {
        if let Some(supervisor) = &self.supervisor {
            let event = Event::Exited(Exit::Panicked("the executor's thread was lost".into()));
            supervisor.do_send(Happened { tenure: self.tenure, event });
        }
    }
}
