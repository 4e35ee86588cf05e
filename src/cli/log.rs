//! Logs to standard error.

use std::io::{self, IsTerminal};

use ekiden::config::LogFormat;
use tracing_subscriber::EnvFilter;

/// Every request that is no HTTP is an error to actix: anybody who scans ports would fill the log. What GPU drivers are
/// asked and tuned with is nobody's business either, until something is wrong with them.
const DEFAULT: &str = "info,actix_http::h1=off,wgpu_hal=off,wgpu_core=error,naga=error,cubecl=warn,cubecl_runtime=warn,\
cubecl_server=warn,cubecl_wgpu=warn,turso_core=error";

/// Starts logging. `RUST_LOG` says what; by default everything from `info` on.
pub(super) fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    // A log that nobody can read any more is no reason to fail.
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).log_internal_errors(false);
    match format {
        LogFormat::Text => logs.with_target(false).with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
}
