//! What one method has done since its runner was launched, as numbers to be asked for one by one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use ekiden_actors::BatchReport;

/// The most sizes of batches that are told apart; batches of further sizes count among all batches alone.
const MOST_SIZES: usize = 1024;

/// How often something happened, and how long that took together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// How often.
    pub count: u64,
    /// How long.
    pub time: Duration,
}

impl Total {
    fn add(&mut self, count: usize, time: Duration) {
        self.count += count as u64;
        self.time = self.time.saturating_add(time);
    }
}

/// What is counted for each call, without a lock.
#[derive(Debug, Default)]
struct Timed {
    count: AtomicU64,
    nanos: AtomicU64,
}

impl Timed {
    fn add(&self, time: Duration) {
        self.count.fetch_add(1, Relaxed);
        self.nanos.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    fn total(&self) -> Total {
        Total { count: self.count.load(Relaxed), time: Duration::from_nanos(self.nanos.load(Relaxed)) }
    }
}

/// What a method counts.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    succeeded: Timed,
    failed: Timed,
    batches: Mutex<Batches>,
}

#[derive(Debug, Default)]
struct Batches {
    count: u64,
    rows: u64,
    queued: Total,
    ran: Total,
    last: Option<SystemTime>,
    sizes: BTreeMap<usize, Total>,
}

/// What a method has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Calls that were answered with outputs, from their arrival on.
    pub succeeded: Total,
    /// Calls that ended otherwise.
    pub failed: Total,
    /// The calls of all batches that ran, each with the time that it had waited; one that was cut is in several batches.
    pub queued: Total,
    /// The same, each with the time that its batch ran.
    pub ran: Total,
    /// Rows of batches that ran, without padding.
    pub rows: u64,
    /// Batches that ran.
    pub batches: u64,
    /// When the last one ended; `None` where none has run.
    pub last: Option<SystemTime>,
    /// Batches by their rows, smallest first.
    pub sizes: Vec<(usize, Total)>,
}

impl Counts {
    pub(super) fn call_ended(&self, succeeded: bool, elapsed: Duration) {
        let which = if succeeded { &self.succeeded } else { &self.failed };
        which.add(elapsed);
    }

    pub(super) fn batch_ran(&self, batch: &BatchReport<'_>) {
        let calls = batch.waits.len();
        let waited: Duration = batch.waits.iter().sum();
        let ran = batch.execution.saturating_mul(u32::try_from(calls).unwrap_or(u32::MAX));
        let now = SystemTime::now();
        let mut batches = self.batches();
        batches.count += 1;
        batches.rows += batch.rows as u64;
        batches.queued.add(calls, waited);
        batches.ran.add(calls, ran);
        batches.last = batches.last.max(Some(now));
        if batches.sizes.len() < MOST_SIZES || batches.sizes.contains_key(&batch.rows) {
            batches.sizes.entry(batch.rows).or_default().add(1, batch.execution);
        }
    }

    /// What has been counted so far. Calls that end meanwhile may be in some of the numbers.
    pub(crate) fn read(&self) -> Statistics {
        let (succeeded, failed) = (self.succeeded.total(), self.failed.total());
        let batches = self.batches();
        Statistics {
            succeeded,
            failed,
            queued: batches.queued,
            ran: batches.ran,
            rows: batches.rows,
            batches: batches.count,
            last: batches.last,
            sizes: batches.sizes.iter().map(|(rows, total)| (*rows, *total)).collect(),
        }
    }

    fn batches(&self) -> MutexGuard<'_, Batches> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_and_calls_are_counted() {
        let counts = Counts::default();
        let ms = Duration::from_millis;
        counts.call_ended(true, ms(9));
        counts.call_ended(true, ms(11));
        counts.call_ended(false, ms(1));
        counts.batch_ran(&BatchReport { rows: 3, waits: &[ms(1), ms(2)], execution: ms(5) });
        counts.batch_ran(&BatchReport { rows: 1, waits: &[ms(4)], execution: ms(2) });
        counts.batch_ran(&BatchReport { rows: 3, waits: &[ms(0)], execution: ms(6) });
        let read = counts.read();
        let total = |count, millis| Total { count, time: ms(millis) };
        assert_eq!((read.succeeded, read.failed), (total(2, 20), total(1, 1)));
        assert_eq!((read.queued, read.ran), (total(4, 7), total(4, 18)));
        assert_eq!((read.rows, read.batches), (7, 3));
        assert_eq!(read.sizes, [(1, total(1, 2)), (3, total(2, 11))]);
        assert!(read.last.is_some());
    }

    #[test]
    fn sizes_are_bounded() {
        let counts = Counts::default();
        for rows in 1..=MOST_SIZES + 5 {
            counts.batch_ran(&BatchReport { rows, waits: &[], execution: Duration::ZERO });
        }
        let read = counts.read();
        assert_eq!((read.sizes.len(), read.batches), (MOST_SIZES, 1029));
    }
}
