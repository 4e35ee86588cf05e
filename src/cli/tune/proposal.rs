//! Which limits keep a latency: numbers in, limits out.

use std::time::Duration;

use super::curve::Point;

/// How much throughput a smaller batch may cost and still be preferred.
const WORTH: f64 = 0.97;

/// Limits for a method, and what they allow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Proposal {
    pub(super) max_batch_size: usize,
    /// What is left of the latency when two batches have taken theirs.
    pub(super) max_latency: Duration,
    /// Rows per second of all executors, with batches that are full.
    pub(super) capacity: f64,
}

impl Proposal {
    /// The size with the most rows per second among those of which two batches fit into `p99`: the one that runs when a
    /// call comes, and its own. Of sizes that are about as good, the smallest. `None` where not even one row fits.
    pub(super) fn choose(curve: &[Point], p99: Duration, executors: usize) -> Option<Self> {
        let fits = || curve.iter().filter(|point| point.p99 * 2 <= p99);
        let best = fits().map(Point::rate).fold(0.0, f64::max);
        let chosen = fits().find(|point| point.rate() >= WORTH * best)?;
        Some(Self {
            max_batch_size: chosen.rows,
            max_latency: p99.saturating_sub(chosen.p99 * 2),
            capacity: chosen.rate() * executors as f64,
        })
    }

    /// `max_latency` in milliseconds, rounded down to tenths.
    pub(super) fn max_latency_ms(&self) -> f64 {
        (self.max_latency.as_micros() / 100) as f64 / 10.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(points: &[(usize, u64, u64)]) -> Vec<Point> {
        let us = Duration::from_micros;
        points.iter().map(|&(rows, p50, p99)| Point { rows, runs: 100, p50: us(p50), p99: us(p99) }).collect()
    }

    #[test]
    fn the_fastest_size_of_which_two_fit_is_proposed() {
        // 1 ms and 0.1 ms for each row: the larger, the faster.
        let curve = curve(&[(1, 1100, 1200), (8, 1800, 2000), (64, 7400, 8000), (512, 52_200, 53_000)]);
        let check = |p99_ms, executors, expected: Option<(usize, f64)>| {
            let found = Proposal::choose(&curve, Duration::from_millis(p99_ms), executors);
            assert_eq!(found.map(|found| (found.max_batch_size, found.max_latency_ms())), expected, "{p99_ms} ms");
        };
        check(2, 1, None);
        check(3, 1, Some((1, 0.6)));
        check(4, 1, Some((8, 0.0)));
        check(16, 2, Some((64, 0.0)));
        check(20, 2, Some((64, 4.0)));
        check(1000, 1, Some((512, 894.0)));
        let two = Proposal::choose(&curve, Duration::from_millis(20), 2).expect("fits");
        assert!((two.capacity - 2.0 * 64.0 / 7.4e-3).abs() < 1.0, "{two:?}");
        assert_eq!(Proposal::choose(&[], Duration::from_secs(1), 1), None);
    }

    #[test]
    fn larger_batches_that_gain_nothing_are_not_proposed() {
        let flat = curve(&[(1, 100, 110), (2, 200, 210), (4, 396, 410), (8, 900, 950)]);
        let found = Proposal::choose(&flat, Duration::from_secs(1), 1).expect("fits");
        assert_eq!(found.max_batch_size, 1);
    }
}
