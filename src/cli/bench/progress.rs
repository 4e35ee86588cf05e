//! How far it is, on a terminal; and Ctrl-C, which ends it early.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::args::Load;
use super::load::Record;
use crate::cli::Failure;
use crate::cli::report::units::trimmed;

/// The whole run: whether it is to stop, and where the bar is.
pub(super) struct Progress {
    stopped: Arc<AtomicBool>,
    /// Hidden where standard error is not a terminal.
    bar: ProgressBar,
}

/// One phase of one load.
pub(super) struct Phase<'a> {
    progress: &'a Progress,
    started: Instant,
}

impl Progress {
    /// Takes over Ctrl-C.
    pub(super) fn start() -> Result<Self, Failure> {
        let stopped = Arc::new(AtomicBool::new(false));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        let runtime = runtime.map_err(|error| Failure::Run(format!("Ctrl-C cannot be received: {error}")))?;
        let stop = stopped.clone();
        // It waits for as long as the program runs, and ends with it.
        thread::spawn(move || {
            runtime.block_on(async {
                while tokio::signal::ctrl_c().await.is_ok() {
                    stop.store(true, Ordering::Relaxed);
                }
            });
        });
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_bar} {msg}") {
            bar.set_style(style);
        }
        Ok(Self { stopped, bar })
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Begins a phase that takes `time`.
    pub(super) fn bar(&self, load: Load, phase: &str, time: Duration) -> Phase<'_> {
        let what = match load.open {
            Some((rate, _)) => format!("{}/s", trimmed(rate)),
            None => format!("{} connections", load.connections),
        };
        self.bar.set_prefix(format!("{what}, {phase}"));
        self.bar.set_length(time.as_millis() as u64);
        self.bar.set_position(0);
        Phase { progress: self, started: Instant::now() }
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Phase<'_> {
    /// Shows what has come in; true unless it is to stop.
    pub(super) fn show(&self, record: &Record) -> bool {
        let elapsed = self.started.elapsed();
        let bar = &self.progress.bar;
        bar.set_position(elapsed.as_millis() as u64);
        let rate = record.ok() as f64 / elapsed.as_secs_f64().max(1e-3);
        bar.set_message(match record.failed() {
            0 => format!("{rate:.0} requests/s"),
            failed => format!("{rate:.0} requests/s, {failed} failed"),
        });
        !self.progress.is_stopped()
    }
}
