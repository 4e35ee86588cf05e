//! Whether a proposal keeps its latency: calls of one row at random times, under the limits that are proposed. None is
//! refused: the queue has room for all that are under way, and none has a deadline.

use std::time::{Duration, Instant};

use ekiden::serving::MethodHandle;
use ekiden::value::Values;
use ekiden::{CallError, CallOptions};
use indicatif::ProgressBar;
use serde::Serialize;
use tokio::task::{JoinSet, yield_now};

use super::curve::histogram;
use super::proposal::Proposal;
use super::{TuneArgs, run_failure};
use crate::cli::Failure;
use crate::cli::bench::load::{Arrivals, Spacing};

/// Shares of the capacity, or of what can be sent, to try until one keeps the latency.
const SHARES: [f64; 7] = [0.9, 0.8, 0.65, 0.5, 0.35, 0.2, 0.1];
/// What one thread can send, in calls per second.
const FASTEST: f64 = 50_000.0;
/// The most calls that are under way: beyond, the rate is not kept anyway.
pub(super) const MOST: usize = 10_000;
/// tokio's timers are no finer than a millisecond.
const SHARP: Duration = Duration::from_micros(1100);

/// What one rate led to.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Trial {
    pub(super) calls_per_s: f64,
    /// Of the capacity that the proposal promises.
    pub(super) share: f64,
    pub(super) answered: u64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
}

impl Trial {
    pub(super) fn keeps(&self, p99: Duration) -> bool {
        self.p99_ms <= p99.as_secs_f64() * 1e3
    }
}

/// Tries ever lower rates, until one keeps the latency.
pub(super) async fn ladder(
    method: &MethodHandle,
    inputs: &Values,
    proposal: &Proposal,
    args: &TuneArgs,
    bar: &ProgressBar,
) -> Result<Vec<Trial>, Failure> {
    let mut trials: Vec<Trial> = Vec::new();
    for share in SHARES {
        let rate = share * proposal.capacity.min(FASTEST);
        bar.set_message(format!("{rate:.0} calls/s"));
        let trial = run(method, inputs, rate, args, bar).await?;
        trials.push(Trial { share: rate / proposal.capacity, ..trial });
        if trial.keeps(args.p99_ms) {
            break;
        }
    }
    Ok(trials)
}

async fn run(
    method: &MethodHandle,
    inputs: &Values,
    rate: f64,
    args: &TuneArgs,
    bar: &ProgressBar,
) -> Result<Trial, Failure> {
    let mut arrivals = Arrivals::new(rate, Spacing::Poisson, args.seed);
    let mut running = JoinSet::new();
    let mut times = histogram()?;
    let started = Instant::now();
    let mut take = |ended: Option<(Duration, Option<CallError>)>| {
        match ended {
            Some((elapsed, None)) => {
                times.saturating_record(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX));
            }
            Some((_, Some(error))) => return Err(run_failure(error)),
            None => {}
        }
        Ok(())
    };
    while arrivals.due() < args.seconds && running.len() < MOST {
        let due = arrivals.due();
        arrivals.take();
        while let Some(early) = due.checked_sub(started.elapsed()) {
            match early.checked_sub(SHARP) {
                Some(long) if !long.is_zero() => tokio::time::sleep(long).await,
                _ => yield_now().await,
            }
            while let Some(ended) = running.try_join_next() {
                take(ended.ok())?;
            }
        }
        bar.tick();
        let (method, inputs) = (method.clone(), inputs.clone());
        running.spawn(async move {
            let outcome = method.async_run(inputs, CallOptions::default()).await;
            (started.elapsed().saturating_sub(due), outcome.err())
        });
    }
    while let Some(ended) = running.join_next().await {
        take(ended.ok())?;
    }
    let ms = |quantile: f64| times.value_at_quantile(quantile) as f64 / 1e6;
    Ok(Trial { calls_per_s: rate, share: 0.0, answered: times.len(), p50_ms: ms(0.5), p99_ms: ms(0.99) })
}
