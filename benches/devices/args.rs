//! The command line, and the plan it stands for.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::models::Kind;

/// Measure what Ekiden leaves of a device's own speed.
#[derive(Parser)]
#[command(name = "devices", bin_name = "cargo bench --features vulkan --bench devices --")]
pub(crate) struct Args {
    /// The device, as `ekiden devices` names it.
    #[arg(long, value_name = "DEVICE", default_value = "flex")]
    pub(crate) device: String,
    /// What to run.
    #[arg(long, value_name = "MODEL,MODEL", value_delimiter = ',', value_enum, default_values_t = [Kind::Mlp, Kind::Resnet18])]
    pub(crate) models: Vec<Kind>,
    /// Rows in a batch.
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_values_t = [1, 8, 32, 64, 128, 256])]
    pub(crate) batches: Vec<usize>,
    /// How often to measure each contender.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// How long one measurement takes, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 1500, value_parser = clap::value_parser!(u64).range(50..=60_000))]
    measure_ms: u64,
    /// One short round: shows that it works, proves no number.
    #[arg(long)]
    quick: bool,
    /// Write the table into this page, in place of what its section on the device says.
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
    /// Be the server: how this program starts it.
    #[arg(long, hide = true)]
    pub(crate) serve: bool,
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

impl Args {
    pub(crate) fn plan(&self) -> Plan {
        let millis = Duration::from_millis;
        match self.quick || !self.bench {
            true => Plan { rounds: 1, first_warm_up: millis(100), warm_up: millis(0), measure: millis(300) },
            false => Plan {
                rounds: self.rounds,
                first_warm_up: millis(700),
                warm_up: millis(150),
                measure: millis(self.measure_ms),
            },
        }
    }

    /// What was typed.
    pub(crate) fn command(&self) -> String {
        let given: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
        let feature = self.device.split(':').next().filter(|backend| !matches!(*backend, "flex" | "auto"));
        let features = feature.map(|feature| format!(" --features {feature}")).unwrap_or_default();
        format!("cargo bench{features} --bench devices -- {}", given.join(" "))
    }
}
