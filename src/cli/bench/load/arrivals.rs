//! When the requests of an open loop are due. Virtual time: seconds since the load began.

use std::time::Duration;

/// How requests are spread over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spacing {
    /// The same time between any two.
    Constant,
    /// Independent of each other, as the requests of many users are: exponentially distributed times between them.
    Poisson,
}

/// The due times at a given rate; without end, and at no cost in memory.
pub(crate) struct Arrivals {
    rate: f64,
    spacing: Spacing,
    random: fastrand::Rng,
    /// How many have been taken.
    taken: u64,
    /// Seconds until the next one.
    next: f64,
}

impl Arrivals {
    /// `rate` requests per second, which must be positive. The same seed gives the same times.
    pub(crate) fn new(rate: f64, spacing: Spacing, seed: u64) -> Self {
        let mut arrivals = Self { rate, spacing, random: fastrand::Rng::with_seed(seed), taken: 0, next: 0.0 };
        if spacing == Spacing::Poisson {
            arrivals.next = arrivals.gap();
        }
        arrivals
    }

    /// When the next request is due.
    pub(crate) fn due(&self) -> Duration {
        Duration::from_secs_f64(self.next)
    }

    /// Takes the next request, and goes on to the one after it.
    pub(crate) fn take(&mut self) {
        self.taken += 1;
        self.next = match self.spacing {
            // From the count, so that no error adds up.
            Spacing::Constant => self.taken as f64 / self.rate,
            Spacing::Poisson => self.next + self.gap(),
        };
    }

    /// How many more are due before `end`: exact at constant spacing, else what is to be expected.
    pub(crate) fn left_before(&self, end: Duration) -> u64 {
        let left = (end.as_secs_f64() - self.next).max(0.0) * self.rate;
        if left > 0.0 { (left - 1e-6).ceil() as u64 } else { 0 }
    }

    /// An exponentially distributed time of mean 1/rate, by inversion: -ln(1-u)/rate.
    fn gap(&mut self) -> f64 {
        -(1.0 - self.random.f64()).ln() / self.rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps(spacing: Spacing, seed: u64, rate: f64, count: usize) -> Vec<f64> {
        let mut arrivals = Arrivals::new(rate, spacing, seed);
        let mut before = 0.0;
        let gap = |_| {
            let due = arrivals.due().as_secs_f64();
            arrivals.take();
            let gap = due - before;
            before = due;
            gap
        };
        (0..count).map(gap).collect()
    }

    #[test]
    fn constant_arrivals_are_evenly_spaced_and_do_not_drift() {
        let gaps = gaps(Spacing::Constant, 1, 3000.0, 3_000_001);
        assert_eq!(gaps[0], 0.0);
        assert!(gaps[1..].iter().all(|gap| (gap - 1.0 / 3000.0).abs() < 2e-9));
        assert!((gaps.iter().sum::<f64>() - 1000.0).abs() < 1e-6);
    }

    #[test]
    fn poisson_gaps_are_exponential() {
        let rate = 200.0;
        let gaps = gaps(Spacing::Poisson, 7, rate, 100_000);
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        assert!((mean * rate - 1.0).abs() < 0.02, "{mean}");
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.02, "a Poisson process has a coefficient of variation of 1");
        // P(gap > t) = exp(-rate t)
        for t in [0.5, 1.0, 2.0, 4.0] {
            let share = gaps.iter().filter(|&&gap| gap > t / rate).count() as f64 / gaps.len() as f64;
            assert!((share - (-t).exp()).abs() < 0.01, "{share} of the gaps are longer than {t} means");
        }
    }

    #[test]
    fn a_seed_gives_the_same_times_again() {
        let check = |seed| gaps(Spacing::Poisson, seed, 50.0, 100);
        assert_eq!(check(1), check(1));
        assert_ne!(check(1), check(2));
    }

    #[test]
    fn what_is_left_is_counted() {
        let mut arrivals = Arrivals::new(100.0, Spacing::Constant, 0);
        let second = Duration::from_secs(1);
        assert_eq!(arrivals.left_before(second), 100);
        for _ in 0..30 {
            arrivals.take();
        }
        assert_eq!(arrivals.left_before(second), 70);
        assert_eq!(arrivals.left_before(Duration::from_millis(100)), 0);
        let poisson = Arrivals::new(100.0, Spacing::Poisson, 3);
        assert!((90..=100).contains(&poisson.left_before(second)));
    }
}
