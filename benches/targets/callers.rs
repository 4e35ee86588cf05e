//! Callers of the embedding API, in this process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ekiden::prelude::*;
use ekiden::runner::{IntoInputs, Outputs};
use hdrhistogram::{CreationError, Histogram};
use tokio::runtime::Runtime;

use crate::sample::{Measured, Sample, Time};

/// Where the callers run: one thread, as the executor has one. That makes the two cores.
pub(crate) fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// `callers` at once, each with its next call when it has the last one's answer.
pub(crate) fn many<I: IntoInputs + Clone + Sync, O: Outputs>(
    runtime: &Runtime,
    method: &Method<I, O>,
    input: &I,
    callers: usize,
    time: Time,
) -> Measured {
    let calls = Arc::new(AtomicU64::new(0));
    let end = Instant::now() + time.warm_up + time.measure;
    runtime.block_on(async {
        let call = |_| {
            let (method, input, calls) = (method.clone(), input.clone(), Arc::clone(&calls));
            tokio::spawn(async move {
                while Instant::now() < end {
                    method.async_run(input.clone()).await?;
                    calls.fetch_add(1, Ordering::Relaxed);
                }
                Ok::<(), CallError>(())
            })
        };
        let tasks: Vec<_> = (0..callers).map(call).collect();
        tokio::time::sleep(time.warm_up).await;
        let (before, started) = (calls.load(Ordering::Relaxed), Instant::now());
        tokio::time::sleep(time.measure).await;
        let (made, elapsed) = (calls.load(Ordering::Relaxed) - before, started.elapsed());
        for task in tasks {
            task.await??;
        }
        Ok(Sample { per_s: made as f64 / elapsed.as_secs_f64(), ..Sample::default() })
    })
}

/// One caller, which blocks its thread.
pub(crate) fn lone(mut call: impl FnMut() -> Result<(), CallError>, time: Time) -> Measured {
    let mut watch = Stopwatch::start(time)?;
    while let Some(before) = watch.before() {
        call()?;
        watch.after(before);
    }
    Ok(watch.sample())
}

/// One caller, which awaits.
pub(crate) async fn lone_async(mut call: impl AsyncFnMut() -> Result<(), CallError>, time: Time) -> Measured {
    let mut watch = Stopwatch::start(time)?;
    while let Some(before) = watch.before() {
        call().await?;
        watch.after(before);
    }
    Ok(watch.sample())
}

/// Two threads that wake each other, and do nothing else: a turn is there and back.
pub(crate) fn pair(time: Time) -> Measured {
    let ((there, arrived), (back, returned)) = (mpsc::channel::<()>(), mpsc::channel());
    let echo = thread::spawn(move || while arrived.recv().is_ok() && back.send(()).is_ok() {});
    let turn = || there.send(()).ok().and_then(|()| returned.recv().ok());
    let sample = lone(|| turn().ok_or_else(|| CallError::unavailable("the other thread has gone")), time);
    drop(there);
    echo.join().map_err(|_| "the other thread has panicked")?;
    sample
}

/// Times one call after the other.
struct Stopwatch {
    warm: Instant,
    end: Instant,
    latencies: Histogram<u64>,
}

impl Stopwatch {
    fn start(time: Time) -> Result<Self, CreationError> {
        let warm = Instant::now() + time.warm_up;
        // Up to a minute, in nanoseconds.
        Ok(Self { warm, end: warm + time.measure, latencies: Histogram::new_with_bounds(1, 60_000_000_000, 3)? })
    }

    /// When the next call starts; none when the time is over.
    fn before(&self) -> Option<Instant> {
        let now = Instant::now();
        (now < self.end).then_some(now)
    }

    fn after(&mut self, before: Instant) {
        if before >= self.warm {
            self.latencies.saturating_record(before.elapsed().as_nanos() as u64);
        }
    }

    fn sample(&self) -> Sample {
        let micros = |quantile| Some(self.latencies.value_at_quantile(quantile) as f64 / 1e3);
        let per_s = self.latencies.len() as f64 / (self.end - self.warm).as_secs_f64();
        Sample { per_s, p50_us: micros(0.5), p99_us: micros(0.99), ..Sample::default() }
    }
}

/// Runs `step`, which does the work of `calls` calls, over and over.
pub(crate) fn repeat(mut step: impl FnMut(), calls: usize, time: Time) -> Sample {
    let turn = |time: Duration, step: &mut dyn FnMut()| {
        let (started, mut steps) = (Instant::now(), 0_usize);
        while started.elapsed() < time {
            step();
            steps += 1;
        }
        (steps * calls) as f64 / started.elapsed().as_secs_f64().max(1e-9)
    };
    turn(time.warm_up, &mut step);
    Sample { per_s: turn(time.measure, &mut step), ..Sample::default() }
}
