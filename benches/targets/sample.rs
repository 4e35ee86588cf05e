//! One measurement; of servers, with the load generator of `ekiden bench`.

use std::error::Error;
use std::time::Duration;

use serde::Serialize;

use crate::load::{self, Client, LoadError, Pace, Plan};
use crate::process::{self, Server};

/// The longest that any answer may take; beyond it the server hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// The bytes of a request. `headers` are whole lines.
pub(crate) fn post(path: &str, media_type: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: {media_type}\r\ncontent-length: {length}\r\n{headers}\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// How long to measure, and how long before that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Time {
    pub(crate) warm_up: Duration,
    pub(crate) measure: Duration,
}

/// A sample, or why there is none.
pub(crate) type Measured = Result<Sample, Box<dyn Error>>;

/// What one measurement found.
#[derive(Debug, Default, Clone, Serialize)]
pub(crate) struct Sample {
    /// Requests or calls per second; of requests, those that were answered with 200.
    pub(crate) per_s: f64,
    /// From before a request is written until its answer is complete, queueing in this client included; none where
    /// single calls are not timed.
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    /// CPU time of the server's process for a request; none where there is none, or the system does not tell.
    pub(crate) server_cpu_us: Option<f64>,
    /// Share of one core that this client took: near 1, it was the bottleneck.
    pub(crate) client_busy: Option<f64>,
}

impl Sample {
    /// The p50 in microseconds; NaN, which keeps no target, where single calls were not timed.
    pub(crate) fn p50(&self) -> f64 {
        self.p50_us.unwrap_or(f64::NAN)
    }

    /// As [`Sample::p50`].
    pub(crate) fn p99(&self) -> f64 {
        self.p99_us.unwrap_or(f64::NAN)
    }
}

/// Why there is no sample.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SampleError {
    #[error("{0}")]
    Load(#[from] LoadError),
    #[error("no answer came within the time of the measurement")]
    NothingMeasured,
    #[error("an answer of status {status}: {body}")]
    Status { status: u16, body: String },
    #[error("a request that failed ({0})")]
    Failed(String),
}

/// Sends `request` once, on a connection of its own, and returns the body of a 200.
pub(crate) fn ask(server: &Server, request: &[u8]) -> Result<String, SampleError> {
    let answer = load::ask(server.address, request, PATIENCE)?;
    match answer.status() {
        200 => Ok(answer.body()),
        status => Err(SampleError::Status { status, body: answer.body() }),
    }
}

/// Keeps `connections` busy, in a closed loop.
pub(crate) fn take(server: &Server, request: &[u8], connections: usize, time: Time) -> Result<Sample, SampleError> {
    let plan = Plan {
        address: server.address,
        request: request.to_vec(),
        patience: PATIENCE,
        good_within: PATIENCE,
        leeway: Duration::ZERO,
    };
    let mut client = Client::connect(&plan, connections)?;
    let warm = client.drive(&mut Pace::Closed, time.warm_up, &mut |_| true)?;

    let cpu_before = (process::cpu_time(server.pid()), process::cpu_time(std::process::id()));
    let record = client.drive(&mut Pace::Closed, time.measure, &mut |_| true)?;
    let cpu_after = (process::cpu_time(server.pid()), process::cpu_time(std::process::id()));

    let rest = client.finish(&mut |_| true)?;
    for record in [&warm, &record, &rest] {
        if let Some((failure, why)) = &record.first_failure {
            return Err(SampleError::Failed(format!("{failure}: {why}")));
        }
    }
    if record.ok() == 0 {
        return Err(SampleError::NothingMeasured);
    }
    let spent = |before: Option<Duration>, after: Option<Duration>| Some(after?.saturating_sub(before?).as_secs_f64());
    Ok(Sample {
        per_s: record.rate(),
        p50_us: Some(record.micros(0.50)),
        p99_us: Some(record.micros(0.99)),
        server_cpu_us: spent(cpu_before.0, cpu_after.0).map(|seconds| seconds * 1e6 / record.ok() as f64),
        client_busy: spent(cpu_before.1, cpu_after.1).map(|seconds| seconds / record.elapsed.as_secs_f64()),
    })
}
