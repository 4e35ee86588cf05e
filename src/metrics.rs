//! Numbers for Prometheus: one observer per runner sees every outcome, every batch and every change of state.

mod statistics;

use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ekiden_actors::{BatchReport, CallError, Exit, Observer, RunnerState};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

pub(crate) use self::statistics::Counts;
pub use self::statistics::{Statistics, Total};
use crate::value::Buckets;

/// Labels of what is counted per method.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabels {
    runner: String,
    method: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    runner: String,
    method: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RunnerLabels {
    runner: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ExitLabels {
    runner: String,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    runner: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MemoryLabels {
    runner: String,
    executor: u64,
    /// "in_use", "reserved" or "peak".
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabels {
    outcome: &'static str,
}

/// Makes histograms with these bounds.
#[derive(Clone)]
struct Bounds(fn() -> Histogram);

impl MetricConstructor<Histogram> for Bounds {
    fn new_metric(&self) -> Histogram {
        (self.0)()
    }
}

/// From 10 µs to 10 s.
fn seconds() -> Histogram {
    Histogram::new([
        10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1, 0.25, 0.5, 1.0, 2.5,
        5.0, 10.0,
    ])
}

/// From 1 to 4096 rows.
fn rows() -> Histogram {
    Histogram::new(exponential_buckets(1.0, 2.0, 13))
}

type Histograms = Family<MethodLabels, Histogram, Bounds>;

/// All metrics of an app.
pub struct Metrics {
    registry: Registry,
    calls: Family<OutcomeLabels, Counter>,
    queue_wait: Histograms,
    batch_rows: Histograms,
    padding_rows: Family<MethodLabels, Counter>,
    execution: Histograms,
    queue_rows: Family<MethodLabels, gauge::Gauge<i64, AtomicI64>>,
    batch_rows_cap: Family<MethodLabels, gauge::Gauge<i64, AtomicI64>>,
    out_of_memory: Family<MethodLabels, Counter>,
    device_memory: Family<MemoryLabels, gauge::Gauge<i64, AtomicI64>>,
    restarts: Family<RunnerLabels, Counter>,
    exits: Family<ExitLabels, Counter>,
    states: Family<StateLabels, gauge::Gauge<i64, AtomicI64>>,
    state_changes: Family<StateLabels, Counter>,
    reloads: Family<ReloadLabels, Counter>,
    /// Held while gauges are set and read: each scrape sees those of the runners that are served then.
    scraping: Mutex<()>,
}

/// Something that is as it is, to be told when numbers are asked for.
pub(crate) enum Gauge<'a> {
    /// The state of a runner.
    State(&'a str, RunnerState),
    /// The rows that wait for a method of a runner.
    QueueRows(&'a str, &'a str, usize),
    /// The most rows that a batch of a method may have now, of the shape of input that may have the fewest.
    BatchRowsCap(&'a str, &'a str, usize),
    /// What an executor of a runner has found in use of its device, by the kind of use.
    DeviceMemory(&'a str, usize, [(&'static str, u64); 3]),
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("ekiden");
        let calls = Family::default();
        registry.register("calls", "Calls by how they ended", calls.clone());
        let queue_wait = Family::new_with_constructor(Bounds(seconds));
        registry.register_with_unit(
            "queue_wait",
            "Time that calls waited before their batch started",
            Unit::Seconds,
            queue_wait.clone(),
        );
        let batch_rows = Family::new_with_constructor(Bounds(rows));
        registry.register("batch_rows", "Rows per batch", batch_rows.clone());
        let padding_rows = Family::default();
        registry.register(
            "padding_rows",
            "Rows that batches were padded with, beside those of batch_rows",
            padding_rows.clone(),
        );
        let execution = Family::new_with_constructor(Bounds(seconds));
        registry.register_with_unit("execution", "Time that batches ran", Unit::Seconds, execution.clone());
        let queue_rows = Family::default();
        registry.register("queue_rows", "Rows that wait", queue_rows.clone());
        let batch_rows_cap = Family::default();
        registry.register(
            "batch_rows_cap",
            "The most rows that a batch may have, by limits and memory",
            batch_rows_cap.clone(),
        );
        let out_of_memory = Family::default();
        registry.register(
            "out_of_memory",
            "Batches that their device had too little memory for",
            out_of_memory.clone(),
        );
        let device_memory = Family::default();
        registry.register_with_unit(
            "device_memory",
            "Memory of an executor's device that this process holds, after its last batch",
            Unit::Bytes,
            device_memory.clone(),
        );
        let restarts = Family::default();
        registry.register("executor_restarts", "Executors rebuilt", restarts.clone());
        let exits = Family::default();
        registry.register("executor_exits", "Executors that ended without having been told to, by how", exits.clone());
        let states = Family::default();
        registry.register("runner_state", "1 for the state that the runner is in", states.clone());
        let state_changes = Family::default();
        registry.register("runner_state_changes", "Changes of a runner's state, by the new one", state_changes.clone());
        let reloads = Family::default();
        registry.register("reloads", "Reloads of the configuration by how they ended", reloads.clone());
        Self {
            registry,
            calls,
            queue_wait,
            batch_rows,
            padding_rows,
            execution,
            queue_rows,
            batch_rows_cap,
            out_of_memory,
            device_memory,
            restarts,
            exits,
            states,
            state_changes,
            reloads,
            scraping: Mutex::new(()),
        }
    }

    /// What the runner of this name reports to, with these methods and what their batches are padded to.
    pub(crate) fn observer<'a>(
        &self,
        runner: &str,
        methods: impl Iterator<Item = (&'a str, &'a Buckets)>,
    ) -> RunnerObserver {
        let runner = runner.to_owned();
        let by_method = |(method, buckets): (&str, &Buckets)| {
            let labels = MethodLabels { runner: runner.clone(), method: method.to_owned() };
            let outcome = |outcome: &'static str| {
                let (runner, method) = (labels.runner.clone(), labels.method.clone());
                self.calls.get_or_create(&OutcomeLabels { runner, method, outcome }).clone()
            };
            MethodMetrics {
                ok: outcome("ok"),
                errors: OUTCOMES.map(|code| (code, outcome(code))),
                queue_wait: self.queue_wait.get_or_create(&labels).clone(),
                batch_rows: self.batch_rows.get_or_create(&labels).clone(),
                padding_rows: self.padding_rows.get_or_create(&labels).clone(),
                buckets: buckets.clone(),
                execution: self.execution.get_or_create(&labels).clone(),
                out_of_memory: self.out_of_memory.get_or_create(&labels).clone(),
                counts: Arc::default(),
            }
        };
        let state = |state: RunnerState| {
            let labels = StateLabels { runner: runner.clone(), state: state.name() };
            (state, self.state_changes.get_or_create(&labels).clone())
        };
        let labels = RunnerLabels { runner: runner.clone() };
        RunnerObserver {
            methods: methods.map(by_method).collect(),
            restarts: self.restarts.get_or_create(&labels).clone(),
            exits: Exit::FAILURES
                .map(|kind| (kind, self.exits.get_or_create(&ExitLabels { runner: runner.clone(), kind }).clone())),
            state_changes: RunnerState::ALL.map(state),
        }
    }

    /// Counts a reload.
    pub(crate) fn reloaded(&self, outcome: &'static str) {
        self.reloads.get_or_create(&ReloadLabels { outcome }).inc();
    }

    fn set(&self, gauge: Gauge<'_>) {
        let labels = |runner: &str, method: &str| MethodLabels { runner: runner.to_owned(), method: method.to_owned() };
        let count = |rows| i64::try_from(rows).unwrap_or(i64::MAX);
        match gauge {
            Gauge::State(runner, state) => {
                for of in RunnerState::ALL {
                    let labels = StateLabels { runner: runner.to_owned(), state: of.name() };
                    self.states.get_or_create(&labels).set(i64::from(of == state));
                }
            }
            Gauge::QueueRows(runner, method, rows) => {
                self.queue_rows.get_or_create(&labels(runner, method)).set(count(rows));
            }
            Gauge::BatchRowsCap(runner, method, rows) => {
                self.batch_rows_cap.get_or_create(&labels(runner, method)).set(count(rows));
            }
            Gauge::DeviceMemory(runner, executor, bytes) => {
                for (kind, bytes) in bytes {
                    let labels = MemoryLabels { runner: runner.to_owned(), executor: executor as u64, kind };
                    self.device_memory.get_or_create(&labels).set(i64::try_from(bytes).unwrap_or(i64::MAX));
                }
            }
        }
    }

    /// All of them in the OpenMetrics text format, which Prometheus reads, with these gauges and no others.
    pub(crate) fn encode<'a>(&self, gauges: impl Iterator<Item = Gauge<'a>>) -> Result<String, std::fmt::Error> {
        let _scraping = self.scraping.lock().unwrap_or_else(PoisonError::into_inner);
        self.states.clear();
        self.queue_rows.clear();
        self.batch_rows_cap.clear();
        self.device_memory.clear();
        gauges.for_each(|gauge| self.set(gauge));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Every way in which a call can end, other than well.
const OUTCOMES: [&str; 10] = [
    "invalid_input",
    "not_found",
    "too_large",
    "queue_full",
    "method_invalid_input",
    "method_failed",
    "crashed",
    "unavailable",
    "deadline_exceeded",
    "cancelled",
];

struct MethodMetrics {
    ok: Counter,
    errors: [(&'static str, Counter); OUTCOMES.len()],
    queue_wait: Histogram,
    batch_rows: Histogram,
    padding_rows: Counter,
    buckets: Buckets,
    execution: Histogram,
    out_of_memory: Counter,
    counts: Arc<Counts>,
}

/// What one runner reports to.
pub(crate) struct RunnerObserver {
    methods: Arc<[MethodMetrics]>,
    restarts: Counter,
    exits: [(&'static str, Counter); Exit::FAILURES.len()],
    state_changes: [(RunnerState, Counter); RunnerState::ALL.len()],
}

impl RunnerObserver {
    /// What this method counts.
    pub(crate) fn counts(&self, method: usize) -> Arc<Counts> {
        self.methods.get(method).map(|method| Arc::clone(&method.counts)).unwrap_or_default()
    }
}

impl Observer for RunnerObserver {
    fn call_ended(&self, method: usize, error: Option<&CallError>, elapsed: Duration) {
        let Some(method) = self.methods.get(method) else { return };
        method.counts.call_ended(error.is_none(), elapsed);
        match error {
            None => {
                method.ok.inc();
            }
            Some(error) => {
                if let Some((_, counter)) = method.errors.iter().find(|(code, _)| *code == error.code()) {
                    counter.inc();
                }
            }
        }
    }

    fn batch_ran(&self, method: usize, batch: &BatchReport<'_>) {
        let Some(method) = self.methods.get(method) else { return };
        method.counts.batch_ran(batch);
        method.batch_rows.observe(batch.rows as f64);
        let padding = method.buckets.padded(batch.rows).saturating_sub(batch.rows);
        if padding > 0 {
            method.padding_rows.inc_by(padding as u64);
        }
        method.execution.observe(batch.execution.as_secs_f64());
        for wait in batch.waits {
            method.queue_wait.observe(wait.as_secs_f64());
        }
    }

    fn out_of_memory(&self, method: usize, _rows: usize) {
        if let Some(method) = self.methods.get(method) {
            method.out_of_memory.inc();
        }
    }

    fn state_changed(&self, state: RunnerState, _cause: Option<&str>) {
        if let Some((_, counter)) = self.state_changes.iter().find(|(of, _)| *of == state) {
            counter.inc();
        }
    }

    fn executor_exited(&self, _executor: usize, exit: &Exit) {
        if let Some((_, counter)) = self.exits.iter().find(|(kind, _)| *kind == exit.kind()) {
            counter.inc();
        }
    }

    fn executor_restarted(&self, _executor: usize) {
        self.restarts.inc();
    }
}
