//! What holds in the end and who said so, for `ekiden check`.

use std::fmt::{Display, Write};
use std::time::Duration;

use ekiden_actors::{Batching, RestartLimits, Weight};

use super::Config;
use super::isolation::Isolation;
use super::origin::Sourced;
use super::resources::ResourceOptions;
use super::runner::{RunnerOptions, pick};
use super::server::ServerConfig;

/// One line: key, value, origin.
type Row = [String; 3];

/// Renders every effective value of `config` under the key that sets it, with the layer that it came from. `methods`
/// names the methods of a runner; where it knows none, those that were configured are shown.
pub fn render(config: &Config, methods: impl Fn(&RunnerOptions) -> Vec<String>) -> String {
    let mut text = String::new();
    block(&mut text, "server", &server_rows(&config.server));
    for runner in &config.runners {
        let mut names = methods(runner);
        if names.is_empty() {
            names = runner.methods.keys().cloned().collect();
        }
        text.push('\n');
        let title = format!("runner {} (runnable {})", runner.name, runner.runnable());
        block(&mut text, &title, &runner_rows(runner, &names));
    }
    text
}

/// What is allowed and yet hardly what was meant, of these methods of a runner.
pub fn warnings(runner: &RunnerOptions, methods: &[String]) -> Vec<String> {
    methods.iter().flat_map(|method| method_warnings(runner, method)).collect()
}

fn method_warnings(runner: &RunnerOptions, method: &str) -> Vec<String> {
    let limits = runner.effective_method(method);
    let (latency, batch, queue) = (limits.max_latency.value, limits.max_batch_size.value, limits.max_queue_size.value);
    let mut warnings = Vec::new();
    let mut warn = |what: String| warnings.push(format!("runner {}, {method}: {what}", runner.name));
    if let Some(timeout) = limits.timeout.value.filter(|timeout| latency >= *timeout)
        && limits.batching.value == Batching::Window
    {
        let (latency, timeout) = (milliseconds(&latency), milliseconds(&timeout));
        warn(format!(
            "max_latency_ms = {latency} is not below timeout_ms = {timeout}: its windows close early, just in time for the \
             first deadline"
        ));
    }
    if queue < batch && limits.batching.value != Batching::Off {
        warn(format!(
            "max_queue_size = {queue} is below max_batch_size = {batch}: so many rows never wait, and batches of several \
             calls stay smaller"
        ));
    }
    warnings
}

/// Whether both come to the same, whoever said so and where. `methods` are those of the runner.
pub(crate) fn is_same(one: &RunnerOptions, other: &RunnerOptions, methods: &[String]) -> bool {
    let said = |runner: &RunnerOptions| values(runner_rows(runner, methods));
    one.runnable() == other.runnable() && said(one) == said(other)
}

/// The keys of options that are not the same in both.
pub(crate) fn changed(one: &ServerConfig, other: &ServerConfig) -> Vec<String> {
    let pairs = values(server_rows(one)).into_iter().zip(values(server_rows(other)));
    pairs.filter(|(one, other)| one != other).map(|([key, _], _)| format!("server.{key}")).collect()
}

fn values(rows: Vec<Row>) -> Vec<[String; 2]> {
    rows.into_iter().map(|[key, value, _]| [key, value]).collect()
}

fn block(text: &mut String, title: &str, rows: &[Row]) {
    let width = |column: fn(&Row) -> &String| rows.iter().map(|row| column(row).chars().count()).max().unwrap_or(0);
    let (keys, values) = (width(|[key, _, _]| key), width(|[_, value, _]| value));
    text.push_str(title);
    text.push('\n');
    for [key, value, origin] in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {key:keys$}  {value:values$}  {origin}");
    }
}

fn row<T>(key: impl Into<String>, sourced: &Sourced<T>, show: impl FnOnce(&T) -> String) -> Row {
    [key.into(), show(&sourced.value), sourced.origin.to_string()]
}

fn shown<T: Display>(value: &T) -> String {
    value.to_string()
}

fn optional<T: Display>(value: &Option<T>) -> String {
    value.as_ref().map_or_else(|| "off".to_owned(), shown)
}

fn server_rows(server: &ServerConfig) -> Vec<Row> {
    vec![
        row("bind", &server.bind, shown),
        row("admin_bind", &server.admin_bind, optional),
        row("grpc_bind", &server.grpc_bind, optional),
        row("grpc_orders", &server.grpc_orders, shown),
        row("workers", &server.workers, shown),
        row("max_body_bytes", &server.max_body_bytes, shown),
        row("grace_s", &server.grace, seconds),
        row("log_format", &server.log_format, shown),
        row("access_log", &server.access_log, shown),
    ]
}

fn runner_rows(runner: &RunnerOptions, methods: &[String]) -> Vec<Row> {
    let mut rows = vec![row("required", &pick(None, runner.required.as_ref(), true), shown)];
    let asked = &runner.resources;
    rows.extend([
        option_row("cpu", asked.cpu.as_ref(), shown),
        option_row("nvidia_gpu", asked.nvidia_gpu.as_ref(), shown),
        option_row("gpu", asked.gpu.as_ref(), shown),
        option_row("device", asked.device.as_ref(), shown),
        option_row("strategy", asked.strategy.as_ref(), shown),
        row("workers_per_resource", &pick(None, asked.workers_per_resource.as_ref(), 1.0), shown),
        row("pin", &pick(None, asked.pin.as_ref(), false), shown),
        row("pipeline_depth", &pick(None, asked.pipeline_depth.as_ref(), ResourceOptions::PIPELINE_DEPTH), shown),
        row("golden_check", &pick(None, asked.golden_check.as_ref(), true), shown),
        row("weight", &pick(None, asked.weight.as_ref(), Weight::default()), shown),
    ]);
    let resources = asked.custom.iter();
    rows.extend(resources.map(|(name, amount)| row(format!("custom_resources.{name}"), amount, shown)));
    rows.push(option_row("model", runner.model.as_ref(), |model| found(runner, model)));
    rows.push(option_row("models", runner.models.as_ref(), |models| {
        format!("[{}]", models.iter().map(|model| found(runner, model)).collect::<Vec<_>>().join(", "))
    }));
    let isolation = &runner.isolation;
    rows.extend([
        row("isolation", &pick(None, isolation.isolation.as_ref(), Isolation::default()), |isolation| {
            isolation.name().to_owned()
        }),
        option_row("memory_limit", isolation.memory_limit.as_ref(), shown),
        option_row("nice", isolation.nice.as_ref(), shown),
    ]);
    rows.push(option_row("params", runner.params.as_ref(), shown));
    let (restarts, default) = (&runner.restarts, RestartLimits::default());
    rows.extend([
        row("max_restarts", &pick(None, restarts.max_restarts.as_ref(), default.max_restarts), shown),
        row("restart_window_s", &pick(None, restarts.window.as_ref(), default.window), seconds),
        row("restart_backoff_ms", &pick(None, restarts.backoff.as_ref(), default.backoff), milliseconds),
        row("max_restart_backoff_ms", &pick(None, restarts.max_backoff.as_ref(), default.max_backoff), milliseconds),
        row("max_abandoned", &pick(None, restarts.max_abandoned.as_ref(), default.max_abandoned), shown),
    ]);
    // No method has an empty name: this asks for the runner's own defaults.
    rows.extend(if methods.is_empty() { method_rows(runner, "", "") } else { Vec::new() });
    rows.extend(methods.iter().flat_map(|method| method_rows(runner, method, &format!("{method}."))));
    rows
}

/// A model as it was asked for, and what it was found to be.
fn found(runner: &RunnerOptions, model: &str) -> String {
    match runner.found_models.get(model).filter(|found| *found != model) {
        Some(found) => format!("{model} = {found}"),
        None => model.to_owned(),
    }
}

fn method_rows(runner: &RunnerOptions, method: &str, prefix: &str) -> Vec<Row> {
    let limits = runner.effective_method(method);
    let key = |name: &str| format!("{prefix}{name}");
    vec![
        row(key("batching"), &limits.batching, |batching| batching.name().to_owned()),
        row(key("max_batch_size"), &limits.max_batch_size, shown),
        row(key("batch_buckets"), &limits.batch_buckets, |sizes| {
            sizes.as_ref().map_or_else(|| "auto".to_owned(), |sizes| format!("{sizes:?}"))
        }),
        row(key("max_latency_ms"), &limits.max_latency, milliseconds),
        row(key("max_queue_size"), &limits.max_queue_size, shown),
        row(key("timeout_ms"), &limits.timeout, |timeout| milliseconds(&timeout.unwrap_or_default())),
        row(key("batch_timeout_ms"), &limits.batch_timeout, |timeout| milliseconds(&timeout.unwrap_or_default())),
        row(key("retry"), &limits.retry, shown),
    ]
}

/// An option whose default is not a number of ours, such as the share of the machine that a strategy picks.
fn option_row<T>(key: &str, sourced: Option<&Sourced<T>>, show: impl FnOnce(&T) -> String) -> Row {
    match sourced {
        Some(sourced) => row(key, sourced, show),
        None => row(key, &Sourced::default("not set"), shown),
    }
}

fn seconds(time: &Duration) -> String {
    time.as_secs_f64().to_string()
}

fn milliseconds(time: &Duration) -> String {
    (time.as_nanos() as f64 / 1e6).to_string()
}
