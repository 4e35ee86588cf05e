//! The command line, and the plan it stands for.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::cases::Case;
use crate::servers::Role;

/// Measure Ekiden beside what it is to be compared with, and judge it against its targets.
#[derive(Parser)]
#[command(name = "targets", bin_name = "cargo bench --bench targets --")]
pub(crate) struct Args {
    /// What to measure.
    #[arg(long, value_name = "CASE,CASE", value_delimiter = ',', value_enum, default_values_t = Case::ALL)]
    cases: Vec<Case>,
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
    /// Another program to measure in place of the `ekiden` that was built with this benchmark.
    #[arg(long, value_name = "PROGRAM", default_value = env!("CARGO_BIN_EXE_ekiden"))]
    ekiden: PathBuf,

    /// Write the tables as a page.
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
    /// Write all numbers, those of each round included.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Fail if a target is missed.
    #[arg(long)]
    pub(crate) judge: bool,

    /// Be one of the servers: how this program starts them.
    #[arg(long, hide = true, value_name = "ROLE")]
    pub(crate) serve: Option<Role>,
    /// What a server that does not compute answers.
    #[arg(long, hide = true, value_name = "ANSWER", requires = "serve")]
    pub(crate) answer: Option<String>,
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
    /// The program `ekiden`.
    pub(crate) ekiden: PathBuf,
}

impl Args {
    pub(crate) fn cases(&self) -> impl Iterator<Item = Case> {
        Case::ALL.into_iter().filter(|case| self.cases.contains(case))
    }

    pub(crate) fn is_quick(&self) -> bool {
        self.quick || !self.bench
    }

    pub(crate) fn plan(&self) -> Plan {
        let millis = Duration::from_millis;
        let ekiden = self.ekiden.clone();
        match self.is_quick() {
            true => Plan { rounds: 1, first_warm_up: millis(200), warm_up: millis(0), measure: millis(300), ekiden },
            false => Plan {
                rounds: self.rounds,
                first_warm_up: millis(700),
                warm_up: millis(150),
                measure: millis(self.measure_ms),
                ekiden,
            },
        }
    }
}
