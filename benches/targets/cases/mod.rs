//! The cases: what is measured, beside what, and which targets it has to meet.

mod compute;
mod embedded;
mod iris;
mod isolation;
mod mlp;
mod observed;
mod overload;

pub(crate) use isolation::app as isolated;

use std::error::Error;

use clap::ValueEnum;

use crate::args::Plan;
use crate::rounds::Series;
use crate::target::Finding;

/// What a case has found.
pub(crate) struct Outcome {
    pub(crate) findings: Vec<Finding>,
    pub(crate) series: Vec<Series>,
}

/// One case; it may have several findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    /// A tiny model over HTTP/JSON, beside a bare actix-web server.
    Iris,
    /// An MLP of 784 inputs over HTTP, JSON and .npy, beside bare servers that answer and that compute.
    Mlp,
    /// Calls through the embedding API, of a method that does nothing.
    Embedded,
    /// Batches that take milliseconds, beside a bare Burn loop.
    Compute,
    /// Twice as many calls as the server can answer, with deadlines.
    Overload,
    /// What metrics and an access log cost.
    Observed,
    /// Executors in child processes, beside those on threads.
    Isolation,
}

impl Case {
    pub(crate) const ALL: [Self; 7] =
        [Self::Iris, Self::Mlp, Self::Embedded, Self::Compute, Self::Overload, Self::Observed, Self::Isolation];

    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// What is compared with what, for readers of the tables.
    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::Iris => iris::ABOUT,
            Self::Mlp => mlp::ABOUT,
            Self::Embedded => embedded::ABOUT,
            Self::Compute => compute::ABOUT,
            Self::Overload => overload::ABOUT,
            Self::Observed => observed::ABOUT,
            Self::Isolation => isolation::ABOUT,
        }
    }

    pub(crate) fn run(self, plan: &Plan) -> Result<Outcome, Box<dyn Error>> {
        eprintln!("{}: {} rounds", self.name(), plan.timing.rounds);
        match self {
            Self::Iris => iris::run(plan),
            Self::Mlp => mlp::run(plan),
            Self::Embedded => embedded::run(plan),
            Self::Compute => compute::run(plan),
            Self::Overload => overload::run(plan),
            Self::Observed => observed::run(plan),
            Self::Isolation => isolation::run(plan),
        }
    }
}
