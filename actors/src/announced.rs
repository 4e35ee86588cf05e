//! Calls of one method that are about to come: their heads are in, and their bodies are being read.
//!
//! To announce a call, and to submit it, costs a few atomic operations and no lock.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A call that does not come within so many times the usual is not waited for any longer.
const PATIENCE: u64 = 4;

pub(crate) struct Announced {
    epoch: Instant,
    count: AtomicU32,
    /// When the last was announced, in nanoseconds since the epoch.
    latest: AtomicU64,
    /// How many nanoseconds calls take from being announced to being submitted, smoothed.
    takes: AtomicU64,
    /// Whether a batch waits for one.
    awaited: AtomicBool,
}

impl Announced {
    pub(crate) fn new() -> Self {
        Self {
            epoch: Instant::now(),
            count: AtomicU32::new(0),
            latest: AtomicU64::new(0),
            takes: AtomicU64::new(0),
            awaited: AtomicBool::new(false),
        }
    }

    fn nanoseconds(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX)
    }

    pub(crate) fn announce(&self, now: Instant) {
        self.latest.store(self.nanoseconds(now), Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    /// The one announced at `announced` is submitted.
    pub(crate) fn come(&self, announced: Instant, now: Instant) {
        self.count.fetch_sub(1, Ordering::SeqCst);
        let took = u64::try_from(now.saturating_duration_since(announced).as_nanos()).unwrap_or(u64::MAX);
        let takes = self.takes.load(Ordering::Relaxed);
        // Where two do this at once, one of them is not counted, which does no harm.
        self.takes.store(takes - takes / 8 + took / 8, Ordering::Relaxed);
    }

    /// One will not come. Whether a batch waits, for it or others, and has to be looked at.
    pub(crate) fn withdraw(&self) -> bool {
        self.count.fetch_sub(1, Ordering::SeqCst);
        self.awaited.swap(false, Ordering::SeqCst)
    }

    /// How many are about to come, however long that takes.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst) as usize
    }

    /// How many are about to come, and by when they should have.
    pub(crate) fn expected(&self, now: Instant) -> Option<(usize, Duration)> {
        let count = self.count.load(Ordering::SeqCst);
        let until = self.latest.load(Ordering::Relaxed).saturating_add(PATIENCE * self.takes.load(Ordering::Relaxed));
        let left = until.saturating_sub(self.nanoseconds(now));
        (count > 0 && left > 0).then(|| (count as usize, Duration::from_nanos(left)))
    }

    /// A batch waits for those that are about to come. Whether there are any still: who withdraws the last one now will
    /// see that a batch waits.
    pub(crate) fn await_them(&self) -> bool {
        self.awaited.store(true, Ordering::SeqCst);
        self.count.load(Ordering::SeqCst) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_announced_is_expected_for_a_few_times_as_long_as_it_usually_takes() {
        let announced = Announced::new();
        let start = Instant::now();
        let us = Duration::from_micros;
        assert_eq!(announced.expected(start), None);
        for n in 0..100 {
            let at = start + us(n * 1_000);
            announced.announce(at);
            announced.come(at, at + us(100));
        }
        let at = start + us(200_000);
        assert_eq!(announced.expected(at), None, "all have come");
        announced.announce(at);
        announced.announce(at);
        let (calls, left) = announced.expected(at + us(50)).expect("two are to come");
        assert!(calls == 2 && left > us(250) && left <= us(350), "{calls} within {left:?}");
        assert_eq!(announced.expected(at + us(500)), None, "they take too long");
    }

    #[test]
    fn who_withdraws_hears_that_a_batch_waits() {
        let announced = Announced::new();
        let now = Instant::now();
        announced.announce(now);
        announced.announce(now);
        assert!(!announced.withdraw(), "nobody waits");
        assert!(announced.await_them());
        assert!(announced.withdraw() && !announced.await_them());
    }
}
