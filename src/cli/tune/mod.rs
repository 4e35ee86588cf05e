//! `ekiden tune`: measures what a method's batches cost, and proposes limits for a latency.
//!
//! ```text
//! args ─► curve (batches of 1, 2, 4 … rows) ─► proposal (pure) ─► trial (an open loop under it) ─► report
//! ```

mod curve;
mod proposal;
mod report;
mod trial;

use std::time::Duration;

use clap::Args;
use ekiden::App;
use ekiden::config::RunnerName;
use ekiden_actors::Batching;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::runtime::Runtime;

use super::report::output::OutputArgs;
use super::report::units::micros;
use super::{ConfigArgs, Failure, app, random};
use proposal::Proposal;
use report::Tuning;

pub(super) const EXAMPLES: &str = "\
Examples:
  ekiden tune --p99-ms 20
  ekiden tune iris_clf predict --p99-ms 5 --up-to 256 --report tune.html

It opens the runner in this process, without HTTP, and runs batches of 1, 2, 4 … rows of random input. A call may have \
to wait for a batch that runs before its own does, so that two batches must fit into the latency: of the sizes that do, \
it proposes the one with the most rows per second. Then it calls the runner under that proposal, at random times, with \
one row a call, at ever lower rates until the latency is kept, and says at which it was.
Nothing else should run beside it.

Exit codes: 0 success; 1 no batch size or no rate that was tried keeps the latency, or a call failed; 2 the command line \
or the configuration is wrong, or a file cannot be written.";

/// Which method, and for which latency.
#[derive(Args)]
pub(crate) struct TuneArgs {
    /// The runner [default: the only one]
    #[arg(value_name = "RUNNER")]
    runner: Option<RunnerName>,
    /// Its method [default: the only one]
    #[arg(value_name = "METHOD", requires = "runner")]
    method: Option<String>,
    /// The latency to keep: 99 of 100 calls are to be answered within so many milliseconds
    #[arg(long, value_name = "MS", value_parser = milliseconds)]
    p99_ms: Duration,
    /// The most rows in a batch to try
    #[arg(long, value_name = "ROWS", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    up_to: u32,
    /// How long each batch size is measured, and each trial, in seconds
    #[arg(long, value_name = "S", default_value = "1", value_parser = seconds)]
    seconds: Duration,
    /// Seed of the random inputs and of the trial's arrivals
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    output: OutputArgs,
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    let value: f64 = text.parse().map_err(|_| "expected a number of milliseconds".to_owned())?;
    if (0.001..=60_000.0).contains(&value) {
        Ok(Duration::from_secs_f64(value / 1e3))
    } else {
        Err("expected 0.001 to 60000 milliseconds".to_owned())
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let value: f64 = text.parse().map_err(|_| "expected a number of seconds".to_owned())?;
    if (0.01..=600.0).contains(&value) {
        Ok(Duration::from_secs_f64(value))
    } else {
        Err("expected 0.01 to 600 seconds".to_owned())
    }
}

/// What makes a lone batch take as long as it takes, whatever else is configured: nothing waits, nothing is refused.
fn curve_limits(most_rows: u32) -> [Limit; 6] {
    [
        ("batching", Batching::Adaptive.name().to_owned()),
        ("max_batch_size", most_rows.to_string()),
        ("max_latency_ms", "0".to_owned()),
        ("max_queue_size", most_rows.to_string()),
        ("timeout_ms", "0".to_owned()),
        ("batch_timeout_ms", "0".to_owned()),
    ]
}

/// What is proposed, and room and time for every call that is under way.
fn trial_limits(proposal: &Proposal) -> [Limit; 4] {
    [
        ("max_batch_size", proposal.max_batch_size.to_string()),
        ("max_latency_ms", proposal.max_latency_ms().to_string()),
        ("max_queue_size", (10 * trial::MOST).to_string()),
        ("timeout_ms", "0".to_owned()),
    ]
}

/// An option of the method, and what it is set to.
type Limit = (&'static str, String);

/// A method, by name.
struct Target {
    runner: String,
    method: String,
}

pub(super) fn tune(args: &TuneArgs) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.map_err(|error| Failure::Run(format!("no runtime can be had: {error}")))?;
    let outputs = args.output.check()?;
    let bar = progress();
    let target = target(args)?;

    let wide = start(args, &runtime, &target, &curve_limits(args.up_to))?;
    let entry = wide.entry(&target.runner).map_err(run_failure)?;
    let executors = entry.status().executors.len();
    let method = entry.method(&target.method).map_err(run_failure)?;
    if method.signature().batching.is_none() {
        return Err(Failure::Usage(format!(
            "{}.{} is not batchable: there is nothing to tune",
            target.runner, target.method
        )));
    }
    let curve = curve::measure(method, args, &bar)?;
    drop(wide);

    let Some(proposal) = Proposal::choose(&curve, args.p99_ms, executors) else {
        return Err(Failure::Run(format!(
            "no batch size keeps a p99 of {}: a batch of one row takes {} (p99), and a call may have to wait for one \
             before its own",
            readable(args.p99_ms),
            readable(curve.first().map(|point| point.p99).unwrap_or_default())
        )));
    };
    let tried = start(args, &runtime, &target, &trial_limits(&proposal))?;
    let method = tried.entry(&target.runner).and_then(|entry| entry.method(&target.method).cloned());
    let inputs = |signature| random::inputs(signature, 1, args.seed).map_err(Failure::Run);
    let method = method.map_err(run_failure)?;
    let inputs = inputs(method.signature())?;
    let trials = runtime.block_on(trial::ladder(&method, &inputs, &proposal, args, &bar))?;
    bar.finish_and_clear();

    let tuning = Tuning { runner: target.runner, method: target.method, p99: args.p99_ms, curve, proposal, trials };
    outputs.write(&tuning, || tuning.json(), || tuning.page())?;
    tuning.verdict()
}

fn readable(time: Duration) -> String {
    micros(time.as_secs_f64() * 1e6)
}

fn run_failure(error: ekiden::CallError) -> Failure {
    Failure::Run(error.to_string())
}

fn progress() -> ProgressBar {
    // Hidden where standard error is not a terminal.
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        bar.set_style(style);
    }
    bar
}

/// The method that is meant.
fn target(args: &TuneArgs) -> Result<Target, Failure> {
    let (builder, source) = app(args.config.clone());
    let checked = builder.check()?;
    let runners = checked.methods();
    let names = || runners.iter().map(|(runner, _)| runner.as_str()).collect::<Vec<_>>().join(", ");
    let runner = match (&args.runner, runners.as_slice()) {
        (None, [only]) => Some(only),
        (None, _) => return Err(Failure::Usage(format!("{source} has several runners: name one of {}", names()))),
        (Some(name), _) => runners.iter().find(|(runner, _)| runner == name.as_str()),
    };
    let Some((runner, methods)) = runner else {
        let name = args.runner.as_ref().map_or("", RunnerName::as_str);
        return Err(Failure::Usage(format!("{source} has no runner \"{name}\"; there are: {}", names())));
    };
    let method = match (&args.method, methods.as_slice()) {
        (None, [only]) => Some(only),
        (None, _) => {
            return Err(Failure::Usage(format!("{runner} has several methods: name one of {}", methods.join(", "))));
        }
        (Some(name), _) => methods.iter().find(|method| *method == name),
    };
    let Some(method) = method else {
        let name = args.method.as_deref().unwrap_or_default();
        return Err(Failure::Usage(format!(
            "runner {runner} has no method \"{name}\"; there are: {}",
            methods.join(", ")
        )));
    };
    let options = checked.config().runners.iter().find(|options| options.name.as_str() == runner);
    if options.is_some_and(|options| options.effective_method(method).batching.value == Batching::Off) {
        return Err(Failure::Usage(format!(
            "{runner}.{method} has batching = \"off\" in {source}: there is nothing to tune; switch it on with --set \
             runners.{runner}.methods.{method}.batching=adaptive"
        )));
    }
    Ok(Target { runner: runner.clone(), method: method.clone() })
}

/// The app of the configuration, with these options of the method set over everything else.
fn start(args: &TuneArgs, runtime: &Runtime, target: &Target, limits: &[Limit]) -> Result<App, Failure> {
    let mut config = args.config.clone();
    let Target { runner, method } = target;
    config.set.extend(limits.iter().map(|(key, value)| format!("runners.{runner}.methods.{method}.{key}={value}")));
    let (builder, _) = app(config);
    Ok(runtime.block_on(builder.start())?)
}
