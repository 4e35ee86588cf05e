//! What this process needs: its memory and its threads.

use std::time::Instant;

use crate::support::PATIENCE;

/// Memory in KiB, and threads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Vitals {
    pub memory: usize,
    pub threads: usize,
}

impl Vitals {
    /// `None` where the system does not tell.
    pub fn now() -> Option<Self> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let number = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            line.trim_start_matches(':').split_whitespace().next()?.parse().ok()
        };
        Some(Self { memory: number("VmRSS")?, threads: number("Threads")? })
    }

    pub fn has_threads_of(self, other: Self) -> bool {
        within_a_tenth(self.threads, other.threads)
    }

    /// Whether both are, within a tenth.
    pub fn is_as(self, other: Self) -> bool {
        self.has_threads_of(other) && within_a_tenth(self.memory, other.memory)
    }

    /// Waits until they are as they should be: those that have ended may yet have to be seen off.
    pub fn settled(what: &str, is_so: impl Fn(Self) -> bool) -> Self {
        let start = Instant::now();
        loop {
            let now = Self::now().expect("they could be told before");
            if is_so(now) {
                return now;
            }
            assert!(start.elapsed() < PATIENCE, "{what}: {now:?}");
            std::thread::yield_now();
        }
    }
}

fn within_a_tenth(one: usize, other: usize) -> bool {
    one.abs_diff(other) * 10 <= other
}
