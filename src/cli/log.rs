//! Logs to standard error.

use std::io::{self, IsTerminal};

use ekiden::config::LogFormat;
use tracing_subscriber::EnvFilter;

/// Starts logging. `RUST_LOG` says what; by default everything from `info` on.
pub(super) fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        LogFormat::Text => logs.with_target(false).with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
}
