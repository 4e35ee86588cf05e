//! The command line, and the plan it stands for.

use std::path::PathBuf;

use clap::Parser;

use crate::cases::Case;
use crate::servers::Role;
use crate::timing::{self, Timing};

/// Measure Ekiden beside what it is to be compared with, and judge it against its targets.
#[derive(Parser)]
#[command(name = "targets", bin_name = "cargo bench --bench targets --")]
pub(crate) struct Args {
    /// What to measure.
    #[arg(long, value_name = "CASE,CASE", value_delimiter = ',', value_enum, default_values_t = Case::ALL)]
    cases: Vec<Case>,
    #[command(flatten)]
    timing: Timing,
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
}

/// How to measure, and what.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) timing: timing::Plan,
    /// The program `ekiden`.
    pub(crate) ekiden: PathBuf,
}

impl Args {
    pub(crate) fn cases(&self) -> impl Iterator<Item = Case> {
        Case::ALL.into_iter().filter(|case| self.cases.contains(case))
    }

    pub(crate) fn plan(&self) -> Plan {
        Plan { timing: self.timing.plan(), ekiden: self.ekiden.clone() }
    }
}
