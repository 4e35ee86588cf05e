//! Where a runner's executors live: on threads of this process, or in processes of their own.

use super::origin::Sourced;
use super::runner::stronger_of;

/// Where a runner's executors live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Isolation {
    /// On threads of this process: nothing is faster. An abort or a segfault in model code ends the whole program.
    #[default]
    Thread,
    /// Each in a child process of its own: whatever ends that process, an abort, a segfault, the out-of-memory killer,
    /// is answered like a panic. Unix only.
    Process,
}

impl Isolation {
    /// Every way.
    pub const ALL: [Self; 2] = [Self::Thread, Self::Process];

    /// The name in configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Thread => "thread",
            Self::Process => "process",
        }
    }
}

/// How executors are kept apart; `None`: not said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IsolationOptions {
    /// Where they live.
    pub isolation: Option<Sourced<Isolation>>,
    /// Bytes that a child process may allocate for itself; above 0. Memory shared with its parent does not count.
    pub memory_limit: Option<Sourced<u64>>,
    /// By how much a child process gives way to others: -20 to 19.
    pub nice: Option<Sourced<i32>>,
}

impl IsolationOptions {
    pub(super) fn overlay(self, stronger: Self) -> Self {
        Self {
            isolation: stronger_of(self.isolation, stronger.isolation),
            memory_limit: stronger_of(self.memory_limit, stronger.memory_limit),
            nice: stronger_of(self.nice, stronger.nice),
        }
    }

    /// Where executors live, in the end.
    pub fn isolation(&self) -> Isolation {
        self.isolation.as_ref().map_or_else(Isolation::default, |isolation| isolation.value)
    }
}
