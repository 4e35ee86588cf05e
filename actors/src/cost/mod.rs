//! What batches cost, learned from those that ran: durations in, expectations out. No clock, no actor.
//!
//! For each shape of input there is a [`Curve`]: in buckets of rows, each a power of two, the last runs are kept and
//! give a mean and exact quantiles; a line `α + β·n` through the buckets says what lies between and beyond them.

mod bucket;
mod curve;

use std::time::{Duration, Instant};

pub(crate) use curve::{Curve, Estimate};

/// How many shapes are remembered; of more, the one that has not been run for longest is forgotten.
const SHAPES: usize = 16;

/// What batches of one method cost.
#[derive(Debug, Default)]
pub(crate) struct Costs {
    /// The last to have run first.
    curves: Vec<Curve>,
}

impl Costs {
    /// Learns from a run of `rows` rows that ended `now`.
    pub(crate) fn observe(&mut self, shape: u64, rows: usize, cost: Duration, now: Instant) {
        match self.curves.iter().position(|curve| curve.shape == shape) {
            Some(0) => {}
            Some(at) => self.curves[..=at].rotate_right(1),
            None => {
                self.curves.truncate(SHAPES - 1);
                self.curves.insert(0, Curve::new(shape));
            }
        }
        self.curves[0].observe(rows, cost.as_secs_f64(), now);
    }

    /// What is known about a shape: nothing, until a few batches of it have run.
    pub(crate) fn of(&self, shape: u64) -> Option<&Curve> {
        self.curves.iter().find(|curve| curve.shape == shape).filter(|curve| curve.is_known())
    }

    pub(crate) fn report(&self) -> Vec<Cost> {
        self.curves.iter().map(Curve::report).collect()
    }
}

/// What batches of one shape cost, as far as it has been measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Cost {
    /// The shape, as `Worker::shape` numbers it.
    pub shape: u64,
    /// What a batch costs whatever its rows: the α of `α + β·n`. Zero until batches of two sizes have run.
    pub alpha: Duration,
    /// What each row adds: the β.
    pub beta: Duration,
    /// By the number of rows, the smallest first; sizes that have not run are left out.
    pub buckets: Vec<BucketCost>,
}

/// What batches cost whose rows lie in one bucket: more than half of `max_rows`, and at most that.
#[derive(Clone, Debug, PartialEq)]
pub struct BucketCost {
    /// The most rows of the bucket: a power of two.
    pub max_rows: usize,
    /// How many batches have run.
    pub count: u64,
    /// What decisions take for the mean: that over the last of them, but more rows are never thought cheaper.
    pub mean: Duration,
    /// What decisions take 97 of 100 to stay below.
    pub high: Duration,
}

/// What is known of shape 0 once batches have cost `alpha + beta · rows` milliseconds, each with these factors.
#[cfg(test)]
pub(crate) fn learned(alpha: f64, beta: f64, factors: &[f64]) -> Costs {
    let mut costs = Costs::default();
    for _ in 0..64 / factors.len() {
        for rows in [1_u32, 2, 4, 8, 16, 32, 64] {
            for factor in factors {
                let ms = (alpha + beta * f64::from(rows)) * factor;
                costs.observe(0, rows as usize, Duration::from_secs_f64(ms / 1e3), Instant::now());
            }
        }
    }
    costs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: f64) -> Duration {
        Duration::from_secs_f64(ms / 1e3)
    }

    /// Observes `runs` runs of each number of rows, costing `cost(rows, nth)` milliseconds.
    fn learned(rows: &[usize], runs: usize, cost: impl Fn(usize, usize) -> f64) -> Costs {
        let mut costs = Costs::default();
        let now = Instant::now();
        for nth in 0..runs {
            for &rows in rows {
                costs.observe(7, rows, ms(cost(rows, nth)), now);
            }
        }
        costs
    }

    fn close(found: f64, expected_ms: f64, tolerance: f64) {
        let found = found * 1e3;
        assert!((found - expected_ms).abs() <= tolerance * expected_ms, "{found} ms, not {expected_ms} ms");
    }

    #[test]
    fn a_line_is_found_and_says_what_lies_between_and_beyond() {
        let costs = learned(&[1, 4, 6, 30], 10, |rows, _| 2.0 + 0.5 * rows as f64);
        let curve = costs.of(7).expect("it is known");
        for rows in [1, 2, 3, 5, 10, 20, 32, 64, 100] {
            let estimate = curve.estimate(rows);
            close(estimate.mean, 2.0 + 0.5 * rows as f64, 0.01);
            close(estimate.high, 2.0 + 0.5 * rows as f64, 0.01);
        }
        let report = &costs.report()[0];
        close(report.alpha.as_secs_f64(), 2.0, 0.02);
        close(report.beta.as_secs_f64(), 0.5, 0.02);
        let counts: Vec<_> = report.buckets.iter().map(|bucket| (bucket.max_rows, bucket.count)).collect();
        assert_eq!(counts, [(1, 10), (4, 10), (8, 10), (32, 10)]);
    }

    #[test]
    fn a_cost_that_is_no_line_is_known_where_it_was_measured() {
        // Flat up to 32 rows, then steep.
        let cost = |rows: usize, _| if rows <= 32 { 10.0 } else { 10.0 + (rows - 32) as f64 };
        let costs = learned(&[1, 2, 8, 32, 64], 10, cost);
        let curve = costs.of(7).expect("it is known");
        for rows in [1, 2, 5, 8, 20, 32, 64] {
            close(curve.estimate(rows).mean, cost(rows, 0), 0.02);
        }
    }

    #[test]
    fn nothing_is_known_until_a_few_batches_have_run() {
        let mut costs = Costs::default();
        for _ in 0..Curve::ENOUGH {
            assert!(costs.of(7).is_none());
            costs.observe(7, 8, ms(5.0), Instant::now());
        }
        assert!(costs.of(7).is_some() && costs.of(8).is_none());
    }

    #[test]
    fn what_has_not_been_measured_is_not_thought_dear() {
        let costs = learned(&[8], 10, |_, _| 8.0);
        let curve = costs.of(7).expect("it is known");
        close(curve.estimate(64).mean, 8.0, 0.01);
        // Fewer rows may cost as much, or their share: nobody is refused by the former, no batch cut by the latter.
        close(curve.estimate(1).mean, 8.0, 0.01);
        close(curve.estimate(1).low, 1.0, 0.01);
    }

    #[test]
    fn the_high_quantile_is_that_of_the_last_runs() {
        let costs = learned(&[16], 200, |_, nth| 10.0 + (nth * 37 % 100) as f64 / 10.0);
        let estimate = costs.of(7).expect("it is known").estimate(16);
        assert!((0.0190..0.0200).contains(&estimate.high), "{estimate:?}");
        assert!((0.0100..0.0108).contains(&estimate.low), "{estimate:?}");
        close(estimate.mean, 15.0, 0.05);
    }

    #[test]
    fn an_outlier_is_forgiven_and_a_habit_is_not() {
        let once = learned(&[16], 64, |_, nth| if nth == 60 { 500.0 } else { 10.0 });
        let estimate = once.of(7).expect("it is known").estimate(16);
        close(estimate.mean, 10.0, 0.01);
        close(estimate.high, 10.0, 0.01);
        let often = learned(&[16], 64, |_, nth| if nth % 8 == 0 { 100.0 } else { 10.0 });
        let estimate = often.of(7).expect("it is known").estimate(16);
        close(estimate.mean, 21.25, 0.05);
        close(estimate.high, 100.0, 0.01);
    }

    #[test]
    fn a_first_run_that_had_to_compile_does_not_stay_in_mind() {
        let costs = learned(&[16], 9, |_, nth| if nth == 0 { 5_000.0 } else { 10.0 });
        close(costs.of(7).expect("it is known").estimate(16).high, 10.0, 0.01);
    }

    #[test]
    fn drift_is_followed_within_a_few_runs() {
        let mut costs = learned(&[1, 16], 200, |rows, _| 10.0 + rows as f64 / 10.0);
        for _ in 0..8 {
            costs.observe(7, 16, ms(40.0), Instant::now());
        }
        close(costs.of(7).expect("it is known").estimate(16).mean, 40.0, 0.01);
        for _ in 0..8 {
            costs.observe(7, 16, ms(5.0), Instant::now());
        }
        close(costs.of(7).expect("it is known").estimate(16).mean, 5.0, 0.01);
    }

    #[test]
    fn an_idle_server_recovers_from_a_slow_spell_within_a_few_calls() {
        let (mut costs, start) = (Costs::default(), Instant::now());
        for second in 0..20 {
            costs.observe(7, 1, ms(300.0), start + Duration::from_secs(second));
        }
        // A minute later, calls that have 50 ms come once in 100 ms, and take one.
        let came = |nth: u32| start + Duration::from_secs(80) + nth * ms(100.0);
        for nth in 0..20 {
            let curve = costs.of(7).expect("it is known");
            assert!(curve.is_stale(came(nth)) || curve.estimate(1).mean < 0.050, "call {nth} would be refused");
            costs.observe(7, 1, ms(1.0), came(nth) + ms(1.0));
        }
        let curve = costs.of(7).expect("it is known");
        close(curve.estimate(1).mean, 1.0, 0.01);
        assert!(!curve.is_stale(came(20)), "what has been confirmed is sure again");
    }

    #[test]
    fn more_rows_never_seem_cheaper_and_what_fits_is_consistent() {
        let costs = learned(&[1, 2, 4, 8, 16, 32, 64], 20, |rows, nth| {
            3.0 + ((rows * 31 + nth * 17) % 13) as f64 + rows as f64 / 8.0
        });
        let curve = costs.of(7).expect("it is known");
        for rows in 1..100 {
            assert!(curve.estimate(rows + 1).mean >= curve.estimate(rows).mean, "at {rows}");
            assert!(curve.estimate(rows + 1).high >= curve.estimate(rows).high, "at {rows}");
        }
        for budget in 1..40 {
            let budget = f64::from(budget) / 1e3;
            let fits = curve.fits(budget, 64, |estimate| estimate.high);
            assert!(fits == 0 || curve.estimate(fits).high <= budget);
            assert!(fits == 64 || curve.estimate(fits + 1).high > budget);
        }
    }

    #[test]
    fn what_is_shown_is_what_decisions_go_by() {
        // Where small batches are slow, the buckets disagree.
        for slow in [1, 16] {
            let mut costs = learned(&[1, 3, 16], 20, |rows, _| if rows == slow { 40.0 } else { 10.0 });
            // Not enough to be believed, and not shown either.
            costs.observe(7, 3, ms(1.0), Instant::now());
            let curve = costs.of(7).expect("it is known");
            let report = &costs.report()[0];
            assert_eq!(report.buckets.len(), 3);
            for (bucket, rows) in report.buckets.iter().zip([1, 3, 16]) {
                close(bucket.mean.as_secs_f64(), curve.estimate(rows).mean * 1e3, 1e-6);
                close(bucket.high.as_secs_f64(), curve.estimate(rows).high * 1e3, 1e-6);
            }
        }
    }

    #[test]
    fn the_shapes_not_run_for_longest_are_forgotten() {
        let mut costs = Costs::default();
        for round in 0..20 {
            for shape in 0..SHAPES as u64 {
                costs.observe(shape, 1, ms(1.0 + round as f64 / 100.0), Instant::now());
            }
        }
        for _ in 0..10 {
            costs.observe(99, 1, ms(1.0), Instant::now());
        }
        assert!(costs.of(99).is_some() && costs.of(0).is_none() && costs.of(1).is_some());
        assert_eq!(costs.report().len(), SHAPES);
    }
}
