//! Who comes when.

use std::time::Duration;

use fastrand::Rng;

use crate::Priority;

/// One call that comes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arrival {
    /// When, from the start.
    pub at: Duration,
    /// Its rows, at least one.
    pub rows: usize,
    /// How long it may take.
    pub timeout: Option<Duration>,
    /// Whether it goes before others.
    pub priority: Priority,
    /// How long before it came it was announced.
    pub announced: Duration,
}

/// Calls, in the order in which they come.
#[derive(Clone, Debug, PartialEq)]
pub struct Traffic(pub Vec<Arrival>);

/// How calls follow one another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pattern {
    /// Each by itself.
    Poisson,
    /// In bursts of `size` calls, up to half more or fewer, which follow one another within `gap`; the bursts come each
    /// by itself.
    Bursts {
        /// The calls of a burst.
        size: usize,
        /// The mean time between two of them.
        gap: Duration,
    },
    /// Each by itself, at a rate that rises from nothing to twice the mean, and falls again, so many times.
    Ramps(u32),
    /// With pauses that vary widely: a Pareto distribution with shape 1.5, whose variance is infinite.
    HeavyTail,
}

impl Traffic {
    /// `calls` calls of one row at `rate` calls per second on average, with these timeouts in turn by chance.
    pub fn new(pattern: Pattern, rate: f64, calls: usize, timeouts: &[Option<Duration>], seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut at = 0.0;
        let mut burst = 0;
        let span = calls as f64 / rate;
        let arrivals = (0..calls).map(|_| {
            at += match pattern {
                Pattern::Poisson => exponential(&mut rng) / rate,
                Pattern::Bursts { size, gap } if burst == 0 => {
                    burst = rng.usize(size.div_ceil(2)..=size + size / 2);
                    let within = gap.as_secs_f64() * (size as f64 - 1.0);
                    (size as f64 / rate - within).max(0.0) * exponential(&mut rng)
                }
                Pattern::Bursts { gap, .. } => gap.as_secs_f64() * exponential(&mut rng),
                Pattern::Ramps(times) => {
                    let phase = at / span * f64::from(times) * std::f64::consts::TAU;
                    exponential(&mut rng) / (rate * (1.05 - phase.cos()).max(0.05))
                }
                Pattern::HeavyTail => (1.0 - rng.f64()).powf(-1.0 / 1.5) / 3.0 / rate,
            };
            burst = burst.saturating_sub(1);
            Arrival {
                at: Duration::from_secs_f64(at),
                rows: 1,
                timeout: rng.choice(timeouts.iter().copied()).flatten(),
                priority: Priority::Normal,
                announced: Duration::ZERO,
            }
        });
        Self(arrivals.collect())
    }

    /// The same, with something changed about each call.
    #[must_use]
    pub fn map(mut self, mut change: impl FnMut(usize, &mut Arrival)) -> Self {
        self.0.iter_mut().enumerate().for_each(|(at, arrival)| change(at, arrival));
        self
    }
}

fn exponential(rng: &mut Rng) -> f64 {
    -(1.0 - rng.f64()).ln()
}
