//! What came of a simulation.

use std::time::Duration;

use super::Arrival;
use crate::Priority;

/// What became of one call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fate {
    Open,
    /// Answered so long after it came.
    Answered(Duration),
    /// Refused so long after it came, without having run.
    Refused(Duration),
    /// It ran, and its answer was of no use any more.
    Wasted,
}

/// What came of the calls that came after the warm-up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Calls that came.
    pub calls: usize,
    /// Those answered within their deadline.
    pub in_time: usize,
    /// Those refused as they came.
    pub refused: usize,
    /// Those refused later, without having run.
    pub dropped: usize,
    /// Those that ran, and whose answer came too late.
    pub late: usize,
    /// The time from the warm-up's end to the last arrival.
    pub span: Duration,
    /// The median latency of the calls answered in time.
    pub p50: Duration,
    /// What 99 of 100 of them stay below.
    pub p99: Duration,
    /// The longest of them.
    pub slowest: Duration,
    /// How long those that were refused without having run had to wait to hear it: what 99 of 100 stay below.
    pub refused_p99: Duration,
    /// The mean rows of a batch.
    pub batch: f64,
    /// How long calls waited while an executor had nothing to do, all together.
    pub held: Duration,
    /// Those in time, by priority.
    pub in_time_by_priority: [usize; Priority::ALL.len()],
}

impl Report {
    /// Answers in time per second.
    pub fn goodput(&self) -> f64 {
        self.in_time as f64 / self.span.as_secs_f64().max(1e-9)
    }

    /// The share of the calls that were answered in time.
    pub fn share(&self) -> f64 {
        self.in_time as f64 / self.calls.max(1) as f64
    }

    pub(super) fn new(arrivals: &[Arrival], fates: &[Fate], warm_up: Duration) -> Self {
        let mut report = Self::default();
        let (mut latencies, mut refusals) = (Vec::new(), Vec::new());
        for (arrival, fate) in arrivals.iter().zip(fates).filter(|(arrival, _)| arrival.at >= warm_up) {
            report.calls += 1;
            match *fate {
                Fate::Answered(latency) => {
                    report.in_time += 1;
                    report.in_time_by_priority[arrival.priority as usize] += 1;
                    latencies.push(latency);
                }
                Fate::Refused(after) => {
                    if after.is_zero() {
                        report.refused += 1;
                    } else {
                        report.dropped += 1;
                    }
                    refusals.push(after);
                }
                Fate::Wasted | Fate::Open => report.late += 1,
            }
        }
        report.span = arrivals.last().map_or(Duration::ZERO, |last| last.at.saturating_sub(warm_up));
        (report.p50, report.p99) = (quantile(&mut latencies, 50), quantile(&mut latencies, 99));
        report.slowest = latencies.last().copied().unwrap_or_default();
        report.refused_p99 = quantile(&mut refusals, 99);
        report
    }
}

fn quantile(of: &mut [Duration], percent: usize) -> Duration {
    of.sort_unstable();
    of.get((of.len() * percent / 100).min(of.len().saturating_sub(1))).copied().unwrap_or_default()
}
