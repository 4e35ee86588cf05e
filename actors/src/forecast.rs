//! When a call that comes now would be answered, and whether that is worth waiting for: numbers in, verdict out.

use std::time::{Duration, Instant};

use crate::cost::{Curve, Estimate};

/// What goes before a call that comes now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ahead {
    /// Batches of calls like it.
    pub(crate) batches: usize,
    /// The rows of its batch that are there then, its own among them.
    pub(crate) rows: usize,
    /// The most rows that it may have.
    pub(crate) max_rows: usize,
    /// How many rows per second come that may join them.
    pub(crate) rate: f64,
    /// Work of other kinds, in seconds of one executor.
    pub(crate) other: f64,
}

/// When it would be answered, in seconds from now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forecast<'a> {
    curve: &'a Curve,
    /// When its batch starts.
    start: f64,
    /// How far off that may be: the standard deviation of what goes before, and a share of it for what no batch shows.
    spread: f64,
    /// The rows of its batch that will be there before it, and its own.
    before: usize,
    /// The rows that its batch will have, with those that come until it starts.
    rows: usize,
    /// What that costs.
    batch: Estimate,
    /// Whether it would join a batch that starts next on some executor, and that has room: nobody would make way for it.
    has_room: bool,
}

impl<'a> Forecast<'a> {
    /// `free_in` says for each executor, in rising order and at least for one, in how many seconds it is free.
    pub(crate) fn new(curve: &'a Curve, ahead: &Ahead, free_in: &[f64]) -> Self {
        let max_rows = ahead.max_rows;
        let full = curve.estimate(max_rows);
        let executors = free_in.len().max(1);
        let turns = (ahead.batches / executors) as f64;
        let first = free_in.get(ahead.batches % executors).copied().unwrap_or_default();
        let start = first + turns * full.mean + ahead.other / executors as f64;
        let rows = (ahead.rows + (ahead.rate * start) as usize).min(max_rows.max(ahead.rows));
        Self {
            curve,
            start,
            spread: full.deviation * (ahead.batches as f64).sqrt() / executors as f64
                + DOUBT * (start - first - full.mean).max(0.0),
            before: ahead.rows,
            rows,
            batch: curve.estimate(rows),
            has_room: ahead.batches < executors && rows < max_rows,
        }
    }

    /// Whether a call with `slack` seconds left is refused.
    ///
    /// While executors have time to spare, it is taken if it is more likely than not to be in time. Under `pressure`, from
    /// 0 to 1, it has to be the surer: the queue is shorter then, which costs nothing, for it does not run empty, and a
    /// batch is not late because it took somewhat longer than usual. Either way it is taken if there is any hope and
    /// nobody has to make way for it. A batch may be cut behind it, if it is nearly as much worth its time then, or nobody
    /// else wants it.
    pub(crate) fn refuses(&self, slack: f64, pressure: f64) -> bool {
        if self.has_room && self.start + self.batch.low <= slack {
            return false;
        }
        let cost = |batch: &Estimate| batch.mean + pressure * (batch.high - batch.mean);
        let time = slack - self.start - pressure * self.spread;
        if cost(&self.batch) <= time {
            return false;
        }
        let cut = self.curve.fits(time, self.rows, cost);
        let is_worth_it = || speed(self.curve, cut) >= NEARLY * pressure * speed(self.curve, self.rows);
        cut < self.before || !is_worth_it()
    }

    /// By when it is sure to be answered.
    pub(crate) fn surely_by(&self) -> Duration {
        let seconds = self.start + self.spread + self.batch.high;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }
}

/// Of the time that a call waits behind others, so much may be added: by what the machine does beside, and by the way of the
/// answer. A queue that is shorter by that does not run empty.
const DOUBT: f64 = 0.2;

/// What a smaller batch has to do of the rows per second that a larger one does, to be nearly as good.
const NEARLY: f64 = 0.8;

/// The rows per second that batches of so many do.
fn speed(curve: &Curve, rows: usize) -> f64 {
    rows as f64 / curve.estimate(rows).mean.max(1e-9)
}

/// The most rows that batches will have of calls with this timeout, in seconds: where that is nearly as good, so many that
/// there is time for two of them.
pub(crate) fn batch_rows(curve: &Curve, timeout: f64, max_rows: usize) -> usize {
    if curve.estimate(max_rows).mean <= timeout / 2.0 {
        return max_rows;
    }
    let rows = curve.fits(timeout / 2.0, max_rows, |estimate| estimate.mean);
    if speed(curve, rows) >= NEARLY * speed(curve, max_rows) { rows.max(1) } else { max_rows }
}

/// In how many seconds a batch that runs will have ended. Nothing is expected of one whose cost was not known; one that
/// takes longer than it should may take half as much longer again.
pub(crate) fn remaining(cost: Option<f64>, begun: Instant, now: Instant) -> f64 {
    let elapsed = now.saturating_duration_since(begun).as_secs_f64();
    match cost {
        None => 0.0,
        Some(cost) if elapsed <= cost => cost - elapsed,
        Some(cost) => (elapsed - cost) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::learned;

    /// Whether a call is refused that has `slack_ms`, behind `rows` rows in batches of 64, on executors that are free in
    /// so many milliseconds.
    fn refused(factors: &[f64], rows: usize, rate: f64, free_in: &[f64], slack_ms: f64, pressure: f64) -> bool {
        let costs = learned(4.0, 0.25, factors);
        let curve = costs.of(0).expect("it is known");
        let ahead = Ahead { batches: rows / 64, rows: rows % 64 + 1, max_rows: 64, rate, other: 0.0 };
        let free_in: Vec<f64> = free_in.iter().map(|ms| ms / 1e3).collect();
        Forecast::new(curve, &ahead, &free_in).refuses(slack_ms / 1e3, pressure)
    }

    #[test]
    fn a_call_is_refused_just_when_its_batch_would_end_too_late() {
        let check = |rows, free_in: &[f64], ends_ms: f64| {
            for pressure in [0.0, 1.0] {
                assert!(refused(&[1.0], rows, 0.0, free_in, ends_ms * 0.98, pressure), "{rows} {free_in:?}");
                assert!(!refused(&[1.0], rows, 0.0, free_in, ends_ms * 1.02, pressure), "{rows} {free_in:?}");
            }
        };
        check(0, &[0.0], 4.25);
        check(0, &[7.0], 11.25);
        check(31, &[0.0], 12.0);
        // A whole batch of 20 ms goes before it, on the same executor or on another.
        check(64, &[7.0], 31.25);
        check(64, &[7.0, 9.0], 13.25);
        check(128, &[7.0, 9.0], 31.25);
    }

    #[test]
    fn the_rows_that_come_meanwhile_are_reckoned_with() {
        // In 10 ms come 20, and the batch takes 5 ms longer for them.
        assert!(!refused(&[1.0], 0, 0.0, &[10.0], 15.0, 1.0));
        // Cut behind 20 rows, it is nearly as much worth its time; cut behind two, it is not.
        assert!(!refused(&[1.0], 0, 2_000.0, &[10.0], 19.1, 1.0));
        assert!(refused(&[1.0], 0, 2_000.0, &[10.0], 14.6, 1.0));
        assert!(!refused(&[1.0], 0, 2_000.0, &[10.0], 14.6, 0.0), "without pressure, it does not matter");
        assert!(!refused(&[1.0], 0, 2_000.0, &[10.0], 20.0, 1.0));
    }

    #[test]
    fn under_pressure_it_has_to_be_sure() {
        // Batches of 64 take 10 to 30 ms; one goes before it, on this executor.
        let factors = [0.5, 1.0, 1.0, 1.5];
        assert!(!refused(&factors, 127, 0.0, &[0.0], 42.0, 0.0), "likelier than not");
        assert!(refused(&factors, 127, 0.0, &[0.0], 42.0, 1.0));
        assert!(!refused(&factors, 127, 0.0, &[0.0], 60.0, 1.0));
        // Five batches of 20 ms go before it, the last four of which may all take somewhat longer.
        assert!(refused(&[1.0], 320, 0.0, &[0.0], 119.0, 1.0));
        assert!(!refused(&[1.0], 320, 0.0, &[0.0], 122.0, 1.0));
        assert!(!refused(&[1.0], 320, 0.0, &[0.0], 105.0, 0.0));
        // Nobody makes way for one that joins the next batch, while that has room.
        assert!(!refused(&factors, 10, 0.0, &[0.0], 5.0, 1.0));
        assert!(refused(&factors, 10, 0.0, &[0.0], 3.0, 1.0), "without any hope");
    }

    #[test]
    fn batches_are_as_large_as_there_is_time_for_two_of_them_where_that_is_nearly_as_good() {
        let check = |alpha, beta, timeout_ms: f64, expected: usize| {
            let costs = learned(alpha, beta, &[1.0]);
            let found = batch_rows(costs.of(0).expect("it is known"), timeout_ms / 1e3, 64);
            assert!(found.abs_diff(expected) <= 1, "{found} rows, not {expected}, in {timeout_ms} ms");
        };
        check(4.0, 0.25, 100.0, 64);
        check(2.0, 3.0, 100.0, 16);
        check(30.0, 0.05, 55.0, 64);
    }

    #[test]
    fn a_batch_that_takes_longer_than_expected_may_take_half_as_much_longer_again() {
        let start = Instant::now();
        let check = |cost, elapsed_ms: u64, expected_ms: f64| {
            let found = remaining(cost, start, start + Duration::from_millis(elapsed_ms)) * 1e3;
            assert!((found - expected_ms).abs() < 1e-6, "{found} ms, not {expected_ms}");
        };
        check(Some(0.020), 5, 15.0);
        check(Some(0.020), 20, 0.0);
        check(Some(0.020), 50, 15.0);
        check(None, 50, 0.0);
    }
}
