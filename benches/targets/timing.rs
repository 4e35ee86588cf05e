//! How long is measured, and how often.

use std::time::Duration;

/// The part of the command line that says so.
#[derive(clap::Args)]
pub(crate) struct Timing {
    /// How often to measure each contender.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// How long one measurement takes, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 1500, value_parser = clap::value_parser!(u64).range(50..=60_000))]
    measure_ms: u64,
    /// One short round: shows that it works, proves no number.
    ///
    /// Also what happens without `cargo bench`, which is how `cargo test --all-targets` comes here.
    #[arg(long)]
    quick: bool,
    /// `cargo bench` says so to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// How to measure.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: u32,
    /// Whoever comes into its first round has code to page in and threads to start.
    pub(crate) first_warm_up: Duration,
    pub(crate) warm_up: Duration,
    pub(crate) measure: Duration,
}

impl Timing {
    pub(crate) fn plan(&self) -> Plan {
        let millis = Duration::from_millis;
        match self.quick || !self.bench {
            true => Plan { rounds: 1, first_warm_up: millis(200), warm_up: millis(0), measure: millis(300) },
            false => Plan {
                rounds: self.rounds,
                first_warm_up: millis(700),
                warm_up: millis(150),
                measure: millis(self.measure_ms),
            },
        }
    }
}
