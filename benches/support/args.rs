//! The command line, and the plan and the targets it stands for.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::report::Report;

/// More than this runs into limits of open files and says nothing about a server.
const MOST_CONNECTIONS: u32 = 4096;

/// Compare Ekiden with a bare actix-web server over HTTP, side by side on this machine.
#[derive(Parser)]
#[command(name = "http", bin_name = "cargo bench --bench http --")]
pub(crate) struct Args {
    /// How many connections to keep busy, one after the other.
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_values_t = [1, 64, 256])]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_CONNECTIONS)))]
    connections: Vec<u32>,
    /// How often to measure each server at each number of connections.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// How long one measurement takes, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 2000, value_parser = clap::value_parser!(u64).range(50..=60_000))]
    measure_ms: u64,
    /// One round of half a second: shows that it works, proves no number.
    ///
    /// Also what happens without `cargo bench`, which is how `cargo test --all-targets` comes here.
    #[arg(long)]
    quick: bool,

    /// Path of the method on Ekiden.
    #[arg(long, value_name = "PATH", default_value = "/v1/runners/iris_clf/predict")]
    pub(crate) path: String,
    /// A runners.toml for Ekiden in place of the built-in one, which lists `iris_clf` with one core.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Another program to measure in place of the `ekiden` that was built with this benchmark.
    #[arg(long, value_name = "PROGRAM", default_value = env!("CARGO_BIN_EXE_ekiden"))]
    pub(crate) ekiden: PathBuf,

    /// Write all numbers, those of each round included.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) targets: Targets,

    /// Be the bare server, answering with these bytes: how this program starts its other half.
    #[arg(long, hide = true, value_name = "ANSWER")]
    pub(crate) serve_bare: Option<String>,
    /// `cargo bench` says so to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What to measure, for how long.
pub(crate) struct Plan {
    pub(crate) connections: Vec<usize>,
    pub(crate) rounds: u32,
    pub(crate) first_warm_up: Duration,
    pub(crate) warm_up: Duration,
    pub(crate) measure: Duration,
}

impl Args {
    /// Whether the targets can be judged by what will be measured: a target that nothing measures would always be met.
    pub(crate) fn check(&self) -> Result<(), String> {
        let lacks = |connections| !self.connections.contains(&connections);
        if self.targets.min_ratio_64.is_some() && lacks(64) {
            return Err("--min-ratio-64 needs 64 among --connections".into());
        }
        if (self.targets.max_lone_us.is_some() || self.targets.max_added_us.is_some()) && lacks(1) {
            return Err("--max-lone-us and --max-added-us need 1 among --connections".into());
        }
        Ok(())
    }

    pub(crate) fn plan(&self) -> Plan {
        let connections = self.connections.iter().map(|&connections| connections as usize).collect();
        let millis = Duration::from_millis;
        if self.quick || !self.bench {
            return Plan {
                connections,
                rounds: 1,
                first_warm_up: millis(200),
                warm_up: millis(0),
                measure: millis(500),
            };
        }
        Plan {
            connections,
            rounds: self.rounds,
            first_warm_up: millis(1000),
            warm_up: millis(200),
            measure: millis(self.measure_ms),
        }
    }
}

/// Bounds for CI; missing one makes the benchmark fail.
#[derive(clap::Args)]
pub(crate) struct Targets {
    /// The least requests/s at 64 connections, as a share of the bare server's.
    #[arg(long, value_name = "RATIO")]
    min_ratio_64: Option<f64>,
    /// The most that a lone call may take, in microseconds: Ekiden's p50 at 1 connection.
    #[arg(long, value_name = "US")]
    max_lone_us: Option<f64>,
    /// The most that Ekiden may add to a lone call's p50 on the bare server, in microseconds.
    #[arg(long, value_name = "US")]
    max_added_us: Option<f64>,
}

impl Targets {
    /// The targets that `report` misses, each with what was found instead.
    pub(crate) fn missed(&self, report: &Report) -> Vec<String> {
        let mut missed = Vec::new();
        if let (Some(least), Some(row)) = (self.min_ratio_64, report.row(64)) {
            let ratio = row.ratio().median;
            if ratio < least {
                missed.push(format!("{ratio:.3} of the bare server's rate at 64 connections, the target is {least}"));
            }
        }
        if let (Some(most), Some(row)) = (self.max_lone_us, report.row(1)) {
            let lone = row.ekiden_p50_us();
            if lone > most {
                missed.push(format!("a lone call takes {lone:.1} µs, the target is {most}"));
            }
        }
        if let (Some(most), Some(row)) = (self.max_added_us, report.row(1)) {
            let added = row.added_us().median;
            if added > most {
                missed.push(format!("a lone call takes {added:.1} µs longer, the target is {most}"));
            }
        }
        missed
    }
}
