//! What batches cost: measured, one size after the other.

use std::time::{Duration, Instant};

use ekiden::CallOptions;
use ekiden::serving::MethodHandle;
use hdrhistogram::Histogram;
use indicatif::ProgressBar;

use super::{TuneArgs, run_failure};
use crate::cli::{Failure, random};

/// Runs that are not counted: caches fill, threads start, kernels are chosen.
const WARM_UP: usize = 3;
/// The fewest runs that a p99 is read from, where they take no longer than [`PATIENCE`] times the given time.
const FEWEST: u64 = 50;
const PATIENCE: u32 = 5;

/// What a batch of so many rows takes, from a lone call until its answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) rows: usize,
    pub(super) runs: u64,
    pub(super) p50: Duration,
    pub(super) p99: Duration,
}

impl Point {
    /// Rows per second of one executor that does nothing else.
    pub(super) fn rate(&self) -> f64 {
        self.rows as f64 / self.p50.as_secs_f64().max(1e-9)
    }
}

/// Measures batches of 1, 2, 4 … rows, up to the first of which two no longer fit into the latency.
pub(super) fn measure(method: &MethodHandle, args: &TuneArgs, bar: &ProgressBar) -> Result<Vec<Point>, Failure> {
    let most = args.up_to as usize;
    let mut curve = Vec::new();
    let mut rows = 1;
    loop {
        bar.set_message(format!("batches of {rows} rows"));
        let point = point(method, rows, args, bar)?;
        curve.push(point);
        if rows == most || point.p50 * 2 > args.p99_ms {
            return Ok(curve);
        }
        rows = (rows * 2).min(most);
    }
}

fn point(method: &MethodHandle, rows: usize, args: &TuneArgs, bar: &ProgressBar) -> Result<Point, Failure> {
    let inputs = random::inputs(method.signature(), rows, args.seed).map_err(Failure::Run)?;
    let run = || method.run(inputs.clone(), CallOptions::default()).map_err(run_failure);
    for _ in 0..WARM_UP {
        run()?;
    }
    let mut times = histogram()?;
    let started = Instant::now();
    while started.elapsed() < args.seconds || times.len() < FEWEST && started.elapsed() < args.seconds * PATIENCE {
        let at = Instant::now();
        run()?;
        times.saturating_record(u64::try_from(at.elapsed().as_nanos()).unwrap_or(u64::MAX));
        bar.tick();
    }
    let quantile = |quantile| Duration::from_nanos(times.value_at_quantile(quantile));
    Ok(Point { rows, runs: times.len(), p50: quantile(0.5), p99: quantile(0.99) })
}

/// Of nanoseconds, up to a minute, with three digits.
pub(super) fn histogram() -> Result<Histogram<u64>, Failure> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).map_err(|error| Failure::Run(error.to_string()))
}
