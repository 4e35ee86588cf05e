//! What a policy would do with some traffic on some model: the board, the queue and the policies that run in production,
//! in a discrete-event simulation that takes milliseconds for minutes.
//!
//! [`Traffic`] says who comes when, with which deadline; a [`Model`] what batches cost; [`simulate`] runs the one against
//! the other under a [`Policy`] and gives a [`Report`]. All chance comes from seeds: the same seed, the same report.

mod model;
mod plain;
mod report;
mod traffic;
mod world;

use std::num::NonZeroUsize;
use std::time::Duration;

pub use model::Model;
pub use report::Report;
pub use traffic::{Arrival, Pattern, Traffic};

use crate::MethodLimits;

/// How calls become batches.
#[derive(Clone, Debug)]
pub enum Policy {
    /// As they do here, by these limits; calls bring their own timeouts.
    Ekiden(MethodLimits),
    /// As other servers do it, for comparison: first in, first out, a batch when there are rows enough or the oldest call
    /// has waited for the window. Calls past their deadline are dropped when a batch is made; nothing is refused before.
    Plain {
        /// The most rows of a batch.
        max_batch_size: NonZeroUsize,
        /// How long the oldest call waits for company; zero is greedy: a free executor takes what is there.
        window: Duration,
    },
}

/// Runs `traffic` against `executors` executors of `model`. What happens before `warm_up` has passed is not reported.
pub fn simulate(
    policy: &Policy,
    traffic: &Traffic,
    model: &Model,
    executors: NonZeroUsize,
    warm_up: Duration,
    seed: u64,
) -> Report {
    let world = world::World::new(traffic, model, executors.get(), seed);
    match policy {
        Policy::Ekiden(limits) => {
            world.run(world::Production::new(limits.clone(), traffic, model, executors.get()), warm_up)
        }
        Policy::Plain { max_batch_size, window } => {
            world.run(plain::Plain::new(max_batch_size.get(), *window, traffic, executors.get()), warm_up)
        }
    }
}
