//! What a method and a runner are allowed: plain numbers, validated where they are made.

use std::fmt;
use std::num::NonZeroUsize;
use std::time::Duration;

/// How the calls of a method become batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Batching {
    /// Work-conserving: a free executor takes what is there at once; while all are busy the batch grows.
    #[default]
    Adaptive,
    /// Dispatch at `max_batch_size` rows, or when the oldest call has waited `max_latency`; earlier where the first deadline
    /// leaves no more time.
    Window,
    /// One call, one batch.
    Off,
}

impl Batching {
    /// The name in configuration and in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Adaptive => "adaptive",
            Self::Window => "window",
            Self::Off => "off",
        }
    }
}

/// Which calls of a method go first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Before all others.
    High,
    /// What calls have that say nothing.
    #[default]
    Normal,
    /// After all others, but not never.
    Low,
}

impl Priority {
    /// Every priority, the most urgent first.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// The name in configuration and in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }
}

/// The limits of one method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodLimits {
    /// How calls become batches.
    pub batching: Batching,
    /// The most rows in one batch.
    pub max_batch_size: NonZeroUsize,
    /// The longest that the oldest call is kept waiting for company while an executor is free.
    pub max_latency: Duration,
    /// The most rows that may wait; a call that would exceed it is refused, unless nothing waits at all.
    pub max_queue_size: NonZeroUsize,
    /// The deadline of a call that brings none of its own, counted from its arrival.
    pub timeout: Option<Duration>,
    /// Whether a batch may be run again: whole when its executor crashed, and in halves to find the call that the failure
    /// is due to. Without, it is answered to all calls of the batch; `Batching::Off` keeps them apart.
    pub retry: bool,
    /// How long a batch may run: an executor that takes longer is stuck, and is killed or abandoned. `None`: for ever.
    pub batch_timeout: Option<Duration>,
}

impl Default for MethodLimits {
    fn default() -> Self {
        Self {
            batching: Batching::Adaptive,
            max_batch_size: nonzero(100),
            max_latency: Duration::from_millis(10),
            max_queue_size: nonzero(10_000),
            timeout: Some(Duration::from_secs(60)),
            retry: true,
            batch_timeout: None,
        }
    }
}

/// A runner's share of a device that it has to share: of two that both have work, one of weight 2 gets twice the time of
/// one of weight 1. From 0.001 to 1000.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Weight(f64);

impl Weight {
    /// The least that there is.
    pub const MIN: Self = Self(0.001);
    /// The most that there is.
    pub const MAX: Self = Self(1000.0);

    /// `None` if it is out of bounds, or no number.
    pub fn new(weight: f64) -> Option<Self> {
        (Self::MIN.0..=Self::MAX.0).contains(&weight).then_some(Self(weight))
    }

    /// As a number.
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self(1.0)
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How often and how soon failed executors of one runner are rebuilt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestartLimits {
    /// The most restarts within `window`; one more exit makes the runner `failed`.
    pub max_restarts: u32,
    /// The window in which restarts count.
    pub window: Duration,
    /// The delay before the first restart; it doubles with each one in the window.
    pub backoff: Duration,
    /// The longest delay.
    pub max_backoff: Duration,
    /// The most executors that are stuck in a batch, cannot be killed and have been replaced at one time; one more makes
    /// the runner `failed`.
    pub max_abandoned: u32,
}

impl Default for RestartLimits {
    fn default() -> Self {
        Self {
            max_restarts: 5,
            window: Duration::from_secs(60),
            backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(10),
            max_abandoned: 1,
        }
    }
}

const fn nonzero(value: usize) -> NonZeroUsize {
    match NonZeroUsize::new(value) {
        Some(value) => value,
        None => NonZeroUsize::MIN,
    }
}
