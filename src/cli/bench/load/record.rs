//! What a load has found: latencies of the successes and of the refusals, and everything else.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::{CreationError, Histogram};

use super::Answer;

/// The longest latency that is told from longer ones, in nanoseconds: an hour, the longest load.
const LONGEST: u64 = 3_600_000_000_000;

/// Sent later than this after it was due, a request was kept waiting by this client's full connections, or by the
/// client itself.
const LATE: Duration = Duration::from_millis(1);

/// How much of a failure's text is shown.
const SHOWN: usize = 300;

/// What a request led to that is not a success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Failure {
    /// An answer with this status.
    Status(u16),
    /// No connection.
    Connect,
    /// The connection was closed in place of an answer.
    Closed,
    /// No answer within the client's patience.
    NoAnswer,
    /// An answer that is not HTTP/1.1.
    Malformed,
}

/// One second of a load.
#[derive(Clone, Copy, Default)]
pub(crate) struct Second {
    pub(crate) ok: u64,
    pub(crate) failed: u64,
}

/// What came in during one phase of a load. Its size depends on how long that takes, and not on how many came in.
pub(crate) struct Record {
    /// How long it took.
    pub(crate) elapsed: Duration,
    /// When the last success came in, from the start.
    pub(super) last_success: Duration,
    /// Of the successes, in nanoseconds; in an open loop from when each was due.
    pub(crate) latencies: Histogram<u64>,
    /// As `latencies`, of answers with another status: how long a server takes to say no.
    pub(crate) refusals: Histogram<u64>,
    /// Successes, those with a status of 2xx, within the time that makes them good.
    pub(crate) good: u64,
    pub(crate) failures: BTreeMap<Failure, u64>,
    /// The text of the first failure.
    pub(crate) first_failure: Option<(Failure, String)>,
    pub(crate) seconds: Vec<Second>,
    /// Bytes of the answers' bodies.
    pub(crate) received: u64,
    /// Requests of an open loop that were sent later than 1 ms after they were due.
    pub(crate) late: u64,
    /// Requests of an open loop that were due and never sent, for want of a free connection.
    pub(crate) unsent: u64,
    /// Requests without an answer when the client gave up on them.
    pub(crate) unanswered: u64,
    /// Share of the time in which this client had something to do.
    pub(crate) busy: f64,
    good_within: Duration,
}

impl Record {
    /// An empty record; successes that take longer than `good_within` are not good.
    pub(super) fn new(good_within: Duration) -> Result<Self, CreationError> {
        Ok(Self {
            elapsed: Duration::ZERO,
            last_success: Duration::ZERO,
            latencies: Histogram::new_with_bounds(1, LONGEST, 3)?,
            refusals: Histogram::new_with_bounds(1, LONGEST, 3)?,
            good: 0,
            failures: BTreeMap::new(),
            first_failure: None,
            seconds: Vec::new(),
            received: 0,
            late: 0,
            unsent: 0,
            unanswered: 0,
            busy: 0.0,
            good_within,
        })
    }

    /// Successes.
    pub(crate) fn ok(&self) -> u64 {
        self.latencies.len()
    }

    /// Requests that led to something else.
    pub(crate) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Successes per second.
    pub(crate) fn rate(&self) -> f64 {
        self.ok() as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// A latency of the successes in microseconds, by quantile.
    pub(crate) fn micros(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64 / 1e3
    }

    pub(super) fn sent(&mut self, after_due: Duration) {
        self.late += u64::from(after_due > LATE);
    }

    pub(super) fn answered(&mut self, answer: &Answer, latency: Duration, at: Duration) {
        self.received += answer.body_bytes();
        let (status, nanos) = (answer.status(), latency.as_nanos() as u64);
        if (200..300).contains(&status) {
            self.latencies.saturating_record(nanos);
            self.good += u64::from(latency <= self.good_within);
            self.second(at).ok += 1;
            self.last_success = at;
        } else {
            self.refusals.saturating_record(nanos);
            self.lost(Failure::Status(status), at, || answer.body());
        }
    }

    pub(super) fn lost(&mut self, failure: Failure, at: Duration, why: impl FnOnce() -> String) {
        *self.failures.entry(failure).or_default() += 1;
        self.second(at).failed += 1;
        if self.first_failure.is_none() {
            self.first_failure = Some((failure, why().trim().chars().take(SHOWN).collect()));
        }
    }

    fn second(&mut self, at: Duration) -> &mut Second {
        let index = at.as_secs() as usize;
        if self.seconds.len() <= index {
            self.seconds.resize(index + 1, Second::default());
        }
        &mut self.seconds[index]
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => status.fmt(f),
            Self::Connect => f.write_str("not connected"),
            Self::Closed => f.write_str("closed"),
            Self::NoAnswer => f.write_str("no answer"),
            Self::Malformed => f.write_str("malformed"),
        }
    }
}
