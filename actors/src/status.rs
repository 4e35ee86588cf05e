//! What a runner tells about itself.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::RestartLimits;

/// The state of a runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RunnerState {
    /// Its executors are being opened for the first time; calls are refused.
    Starting,
    /// At least one executor takes calls.
    Ready,
    /// No executor is up, and one is being rebuilt; calls wait for it.
    Restarting,
    /// Its executors cannot be rebuilt; calls are refused with the cause.
    Failed,
    /// It takes calls and runs none, until it is told to go on.
    Paused,
    /// It finishes what it has accepted, and refuses what is new.
    Draining,
    /// It has ended, and may be started again.
    Stopped,
}

impl RunnerState {
    /// Every state.
    pub const ALL: [Self; 7] =
        [Self::Starting, Self::Ready, Self::Restarting, Self::Failed, Self::Paused, Self::Draining, Self::Stopped];

    /// The name in the API, logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Restarting => "restarting",
            Self::Failed => "failed",
            Self::Paused => "paused",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }
}

impl fmt::Display for RunnerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The state of one executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecutorState {
    /// Its worker is being opened.
    Starting,
    /// It takes batches.
    Ready,
    /// It has exited and is about to be rebuilt.
    Restarting,
    /// It has ended.
    Stopped,
}

impl ExecutorState {
    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Restarting => "restarting",
            Self::Stopped => "stopped",
        }
    }
}

/// One executor of a runner.
#[derive(Clone, Debug)]
pub struct ExecutorStatus {
    /// What it runs on.
    pub device: Arc<str>,
    /// What it does.
    pub state: ExecutorState,
    /// How often it has been rebuilt.
    pub restarts: u64,
}

/// Why an executor ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It was told to, and had nothing left to do.
    Drained,
    /// Its worker could not be opened.
    OpenFailed(Arc<str>),
    /// Its worker panicked, with this message.
    Panicked(Arc<str>),
    /// The process that its worker lived in has ended: by which signal or with which code.
    ProcessDied(Arc<str>),
    /// A batch ran for longer than it may.
    Stuck(Arc<str>),
    /// Its device is lost or poisoned, with the device's message. Nothing within this process can cure that.
    DeviceLost(Arc<str>),
}

impl Exit {
    /// The names of all exits that nobody asked for.
    pub const FAILURES: [&'static str; 5] = ["open_failed", "panicked", "process_died", "stuck", "device_lost"];

    /// The name in the API, logs and metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Drained => "drained",
            Self::OpenFailed(_) => "open_failed",
            Self::Panicked(_) => "panicked",
            Self::ProcessDied(_) => "process_died",
            Self::Stuck(_) => "stuck",
            Self::DeviceLost(_) => "device_lost",
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drained => f.write_str("drained"),
            Self::OpenFailed(cause) => write!(f, "could not be opened: {cause}"),
            Self::Panicked(message) => write!(f, "panicked: {message}"),
            Self::ProcessDied(how) => write!(f, "lost its process: {how}"),
            Self::Stuck(how) => write!(f, "is stuck: {how}"),
            Self::DeviceLost(message) => write!(f, "lost its device: {message}"),
        }
    }
}

/// An exit, when and where.
#[derive(Clone, Debug)]
pub struct ExitRecord {
    /// Which executor, counted from 0.
    pub executor: usize,
    /// When.
    pub at: SystemTime,
    /// Why.
    pub exit: Exit,
}

/// A runner's state at one moment.
#[derive(Clone, Debug)]
pub struct RunnerStatus {
    /// The state.
    pub state: RunnerState,
    /// Why it is in that state, where there is something to say.
    pub cause: Option<Arc<str>>,
    /// Its executors, in order.
    pub executors: Vec<ExecutorStatus>,
    /// Since when it has taken calls without a break; `None` while it takes none.
    pub up_since: Option<Instant>,
    /// Executors rebuilt since the start.
    pub restarts: u64,
    /// Executors that are stuck, have been replaced, and have not ended.
    pub abandoned: u32,
    /// The calls that were refused when it stopped, because they had not been answered within the grace period.
    pub unfinished: usize,
    /// How many of them it may take within a window.
    pub budget: RestartLimits,
    /// When the restarts were that the budget has lately been charged with.
    pub charged: Arc<[Instant]>,
    /// The last exits, the newest last, at most [`RunnerStatus::EXITS_KEPT`].
    pub exits: Vec<ExitRecord>,
}

impl RunnerStatus {
    /// How many exits are remembered.
    pub const EXITS_KEPT: usize = 16;

    /// How long it has taken calls without a break.
    pub fn uptime(&self) -> Option<Duration> {
        self.up_since.map(|since| since.elapsed())
    }

    /// Restarts that the budget is charged with at `now`.
    pub fn restarts_in_window(&self, now: Instant) -> usize {
        self.charged.iter().filter(|&&at| now.saturating_duration_since(at) < self.budget.window).count()
    }
}
