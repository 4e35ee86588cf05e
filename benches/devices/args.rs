//! The command line.

use std::path::PathBuf;

use clap::Parser;

use crate::models::Kind;
use crate::timing::Timing;

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
    #[command(flatten)]
    pub(crate) timing: Timing,
    /// Write the table into this page, in place of what its section on the device says.
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
    /// Be the server: how this program starts it.
    #[arg(long, hide = true)]
    pub(crate) serve: bool,
}

impl Args {
    /// What was typed.
    pub(crate) fn command(&self) -> String {
        let given: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
        let feature = self.device.split(':').next().filter(|backend| !matches!(*backend, "flex" | "auto"));
        let features = feature.map(|feature| format!(" --features {feature}")).unwrap_or_default();
        format!("cargo bench{features} --bench devices -- {}", given.join(" "))
    }
}
