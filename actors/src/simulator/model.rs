//! What batches cost in a simulation.

use std::time::Duration;

use fastrand::Rng;

/// A batch of n rows costs `alpha + beta · n`, times a factor of mean one drawn anew for each batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Model {
    /// What a batch costs whatever its rows.
    pub alpha: Duration,
    /// What each row adds.
    pub beta: Duration,
    /// The spread of the factor: the σ of a log-normal distribution. Zero is no spread.
    pub noise: f64,
}

impl Model {
    /// The mean cost of a batch.
    pub fn cost(&self, rows: usize) -> Duration {
        self.alpha + self.beta.mul_f64(rows as f64)
    }

    /// The rows per second that one executor does in batches of so many rows.
    pub fn capacity(&self, rows: usize) -> f64 {
        rows as f64 / self.cost(rows).as_secs_f64().max(1e-9)
    }

    pub(super) fn draw(&self, rows: usize, rng: &mut Rng) -> Duration {
        if self.noise == 0.0 {
            return self.cost(rows);
        }
        self.cost(rows).mul_f64((self.noise * normal(rng) - self.noise * self.noise / 2.0).exp())
    }
}

/// A standard normal deviate, by the Box–Muller transform.
fn normal(rng: &mut Rng) -> f64 {
    let (radius, angle) = (-2.0 * (1.0 - rng.f64()).ln(), std::f64::consts::TAU * rng.f64());
    radius.sqrt() * angle.cos()
}
