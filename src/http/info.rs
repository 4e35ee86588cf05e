//! `GET /v1/runners` and `GET /v1/runners/{runner}`: what is served, and how it does.

use std::time::{Duration, Instant, UNIX_EPOCH};

use actix_web::HttpResponse;
use ekiden_actors::Cost;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::error::Refusal;
use crate::serving::{Choice, MethodHandle, RunnerEntry};
use crate::value::ValueSpec;

/// All runners, in the order of the configuration.
#[derive(Serialize, ToSchema)]
#[schema(as = ekiden::Runners)]
pub(super) struct Runners<'a> {
    runners: Vec<Runner<'a>>,
}

/// One runner.
#[derive(Serialize, ToSchema)]
#[schema(as = ekiden::Runner)]
pub(super) struct Runner<'a> {
    name: &'a str,
    /// What it runs.
    runnable: &'a str,
    /// `starting`, `ready`, `restarting`, `failed`, `paused`, `draining` or `stopped`.
    state: &'static str,
    /// Why it is in that state, where there is a reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    required: bool,
    /// How long it has taken calls without a break; `null` while it takes none.
    uptime_s: Option<f64>,
    restarts: u64,
    /// Those that its budget is charged with now, and the most that it takes in a window.
    restarts_in_window: usize,
    max_restarts: u32,
    restart_window_s: f64,
    abandoned: u32,
    plan: &'a Choice,
    executors: Vec<Executor>,
    /// Of those executors whose devices tell, which the CPU does not.
    memory: Vec<Memory>,
    methods: Vec<Method<'a>>,
    last_exits: Vec<Exit>,
}

/// One executor.
#[derive(Serialize, ToSchema)]
#[schema(as = ekiden::Executor)]
struct Executor {
    device: String,
    state: &'static str,
    restarts: u64,
}

/// How an executor has ended.
#[derive(Serialize, ToSchema)]
#[schema(as = ekiden::Exit)]
struct Exit {
    executor: usize,
    unix_time_s: u64,
    ago_s: f64,
    kind: &'static str,
    cause: String,
}

/// What this process holds of an executor's device, as it was after the executor's last batch.
#[derive(Serialize, ToSchema)]
#[schema(as = ekiden::Memory)]
struct Memory {
    executor: usize,
    in_use_bytes: u64,
    reserved_bytes: u64,
    peak_bytes: u64,
}

/// One method.
#[derive(Serialize, ToSchema)]
#[schema(as = ekiden::Method)]
struct Method<'a> {
    name: &'a str,
    inputs: Vec<Spec<'a>>,
    outputs: Vec<Spec<'a>>,
    /// Inputs that can be sent, as JSON, where whoever wrote the method has given any.
    #[serde(skip_serializing_if = "Option::is_none")]
    example: Option<&'a serde_json::Value>,
    batch_dims: Option<BatchDims>,
    /// Whether a call is answered with a stream of outputs; absent where it is not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
    limits: Limits,
    queued_rows: usize,
    /// Calls whose bodies are still being read.
    announced_calls: usize,
    /// The most rows in a batch of a shape of input for which a device has run out of memory; mostly there are none.
    caps: Vec<ShapeCap>,
    /// What batches cost, for each shape of input that has run lately; empty until some have.
    costs: Vec<ShapeCost>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ekiden::ShapeCap)]
struct ShapeCap {
    shape: String,
    rows: usize,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ekiden::ShapeCost)]
struct ShapeCost {
    /// A number for the shape; sizes along the batch dimension do not count.
    shape: String,
    /// A batch of n rows takes about `alpha_ms + beta_ms * n`.
    alpha_ms: f64,
    beta_ms: f64,
    buckets: Vec<BucketCost>,
}

/// Of batches of at most `max_rows` rows, and more than half of that.
#[derive(Serialize, ToSchema)]
#[schema(as = ekiden::BucketCost)]
struct BucketCost {
    max_rows: usize,
    batches: u64,
    mean_ms: f64,
    /// 97 of 100 are taken to take no longer.
    high_ms: f64,
}

/// Along which dimensions calls share batches; `null` where they do not.
#[derive(Serialize, ToSchema)]
#[schema(as = ekiden::BatchDims)]
struct BatchDims {
    input: usize,
    output: usize,
}

/// One input or output.
#[derive(Serialize, ToSchema)]
#[schema(as = ekiden::Spec)]
struct Spec<'a> {
    name: &'a str,
    /// `tensor`, `list`, `json`, `text` or `bytes`.
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dtype: Option<&'static str>,
    /// `null` in it is any size; `null` itself, any rank.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Option<usize>>>)]
    shape: Option<Option<&'a [Option<usize>]>>,
}

/// The limits in effect.
#[derive(Serialize, ToSchema)]
#[schema(as = ekiden::Limits)]
struct Limits {
    batching: &'static str,
    max_batch_size: usize,
    /// The numbers of rows that batches are padded to; empty where they run as they are.
    batch_buckets: Vec<usize>,
    max_latency_ms: f64,
    max_queue_size: usize,
    timeout_ms: Option<f64>,
    batch_timeout_ms: Option<f64>,
    retry: bool,
}

pub(super) fn runners(api: &Api) -> HttpResponse {
    let runners = api.serving.runners();
    let runners = runners.iter().map(|runner| describe(runner)).collect();
    HttpResponse::Ok().json(Runners { runners })
}

pub(super) fn runner(name: &str, api: &Api) -> HttpResponse {
    match api.serving.entry(name) {
        Ok(runner) => HttpResponse::Ok().json(describe(&runner)),
        Err(error) => Refusal::from(&error).response(),
    }
}

fn describe(runner: &RunnerEntry) -> Runner<'_> {
    let status = runner.status();
    let executors = status.executors.iter().map(|executor| Executor {
        device: executor.device.to_string(),
        state: executor.state.name(),
        restarts: executor.restarts,
    });
    let memory = runner.memory.iter().enumerate().filter(|(_, memory)| memory.reserved() > 0);
    let memory = memory.map(|(executor, memory)| Memory {
        executor,
        in_use_bytes: memory.in_use(),
        reserved_bytes: memory.reserved(),
        peak_bytes: memory.peak(),
    });
    let exits = status.exits.iter().map(|record| Exit {
        executor: record.executor,
        unix_time_s: record.at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        ago_s: record.at.elapsed().map_or(0.0, |ago| ago.as_secs_f64()),
        kind: record.exit.kind(),
        cause: record.exit.to_string(),
    });
    Runner {
        name: &runner.name,
        runnable: &runner.runnable,
        state: status.state.name(),
        cause: status.cause.as_ref().map(ToString::to_string),
        required: runner.required,
        uptime_s: status.uptime().map(|uptime| uptime.as_secs_f64()),
        restarts: status.restarts,
        restarts_in_window: status.restarts_in_window(Instant::now()),
        max_restarts: status.budget.max_restarts,
        restart_window_s: status.budget.window.as_secs_f64(),
        abandoned: status.abandoned,
        plan: &runner.plan,
        executors: executors.collect(),
        memory: memory.collect(),
        methods: runner.methods.iter().map(method).collect(),
        last_exits: exits.collect(),
    }
}

fn method(method: &MethodHandle) -> Method<'_> {
    let (signature, limits) = (method.signature(), method.limits());
    Method {
        name: method.name(),
        inputs: signature.inputs.iter().map(spec).collect(),
        outputs: signature.outputs.iter().map(spec).collect(),
        example: method.example(),
        batch_dims: signature.batching.map(|dims| BatchDims { input: dims.input_dim, output: dims.output_dim }),
        stream: signature.streams,
        limits: Limits {
            batching: limits.batching.name(),
            max_batch_size: limits.max_batch_size.get(),
            batch_buckets: method.buckets().sizes().to_vec(),
            max_latency_ms: ms(limits.max_latency),
            max_queue_size: limits.max_queue_size.get(),
            timeout_ms: limits.timeout.map(ms),
            batch_timeout_ms: limits.batch_timeout.map(ms),
            retry: limits.retry,
        },
        queued_rows: method.queued_rows(),
        announced_calls: method.announced_calls(),
        caps: method.caps().iter().map(|cap| ShapeCap { shape: shape(cap.shape), rows: cap.rows }).collect(),
        costs: method.costs().iter().map(cost).collect(),
    }
}

/// A shape's number, which JSON's readers would round.
fn shape(number: u64) -> String {
    format!("{number:016x}")
}

fn cost(cost: &Cost) -> ShapeCost {
    let bucket = |bucket: &ekiden_actors::BucketCost| BucketCost {
        max_rows: bucket.max_rows,
        batches: bucket.count,
        mean_ms: ms(bucket.mean),
        high_ms: ms(bucket.high),
    };
    ShapeCost {
        shape: shape(cost.shape),
        alpha_ms: ms(cost.alpha),
        beta_ms: ms(cost.beta),
        buckets: cost.buckets.iter().map(bucket).collect(),
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn spec(spec: &ValueSpec) -> Spec<'_> {
    let dtype = spec.dtype_name();
    let shape = dtype.map(|_| spec.shape());
    Spec { name: spec.name(), kind: spec.kind().name(), dtype, shape }
}
