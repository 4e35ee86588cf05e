//! The command line.

mod bench;
mod call;
mod check;
mod described;
mod devices;
mod grpc;
mod log;
mod models;
mod random;
mod report;
mod runners;
mod serve;
mod served;
mod tune;

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use ekiden::app::AppBuilder;
use ekiden::config::RunnerName;
use ekiden::runner::Onnx;
use ekiden::{App, StartError};

use crate::iris::IrisClf;
use served::ServedArgs;

/// Serves models: every runner method is a supervised batching actor.
#[derive(Parser)]
#[command(name = "ekiden", version, about, max_term_width = 110, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 success; 1 something failed while it ran; 2 the command line or the \
configuration is wrong; 130 a second signal ended a server that was finishing its calls.\nLogs go to standard error; RUST_LOG sets how much is logged (error, warn, info, debug, trace).";

#[derive(Subcommand)]
enum Command {
    /// Serve the runners of a configuration, or one ONNX model, over HTTP
    #[command(after_help = serve::EXAMPLES)]
    Serve {
        #[command(flatten)]
        served: ServedArgs,
        #[command(flatten)]
        binds: serve::Binds,
    },
    /// Check a configuration without starting anything, and print every value in effect with where it comes from
    Check {
        #[command(flatten)]
        served: ServedArgs,
    },
    /// Ask a running server what it serves, and how that does; or give a runner an order
    #[command(args_conflicts_with_subcommands = true)]
    Runners {
        #[command(subcommand)]
        order: Option<runners::Order>,
        /// One runner only
        #[arg(value_name = "RUNNER")]
        runner: Option<RunnerName>,
        /// The server
        #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:3000")]
        url: String,
        /// Print the server's JSON
        #[arg(long)]
        json: bool,
    },
    /// Call a method of a running server, and print what it answers
    #[command(after_help = call::EXAMPLES)]
    Call(Box<call::CallArgs>),
    /// Have a running server read its configuration again, while calls go on
    #[command(after_help = runners::RELOAD)]
    Reload {
        /// The server's admin listener
        #[arg(long, value_name = "URL", default_value = runners::ADMIN)]
        admin: String,
    },
    /// List the devices that runners can be put on
    #[command(after_help = devices::EXAMPLES)]
    Devices {
        /// Run a small product on each, and compare with the CPU's
        #[arg(long)]
        test: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List, show, import, export and delete saved models
    #[command(after_help = models::EXAMPLES)]
    Models {
        #[command(subcommand)]
        command: models::ModelsCommand,
    },
    /// Put a server under load, and print what rates and latencies it bears
    #[command(after_help = bench::EXAMPLES)]
    Bench(Box<bench::BenchArgs>),
    /// Measure what a method's batches cost here, and propose max_batch_size and max_latency_ms for a latency
    #[command(after_help = tune::EXAMPLES)]
    Tune(Box<tune::TuneArgs>),
}

#[derive(Clone, Args)]
struct ConfigArgs {
    /// The configuration [default: runners.toml of the working directory, else the built-in one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one option over everything else, such as runners.iris_clf.max_batch_size=20, or one of a method:
    /// runners.iris_clf.methods.predict.timeout_ms=500
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// Why a command ended without success.
enum Failure {
    /// The command line or the configuration is wrong.
    Usage(String),
    /// Something failed.
    Run(String),
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Config(_) | StartError::Invalid(_) => Self::Usage(error.to_string()),
            StartError::Runtime(_) | StartError::Failed { .. } | StartError::Stray => Self::Run(error.to_string()),
        }
    }
}

/// Runs the program.
pub(crate) fn run() -> ExitCode {
    App::run_child(|| runnables(App::builder()));
    let done = match Cli::parse().command {
        Command::Serve { served, binds } => served.app().and_then(|app| serve::serve(app, binds)),
        Command::Check { served } => served.app().and_then(check::check),
        Command::Runners { order: Some(order), .. } => runners::order(&order),
        Command::Runners { order: None, runner, url, json } => runners::runners(runner.as_ref(), &url, json),
        Command::Call(args) => call::call(&args),
        Command::Reload { admin } => runners::reload(&admin),
        Command::Devices { test, json } => devices::devices(test, json),
        Command::Models { command } => models::models(command),
        Command::Bench(args) => bench::bench(&args),
        Command::Tune(args) => tune::tune(&args),
    };
    let (code, message) = match done {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Run(message)) => (1, message),
        Err(Failure::Usage(message)) => (2, message),
    };
    tell(&mut io::stderr(), format_args!("error: {message}"));
    ExitCode::from(code)
}

/// Prints what a command was asked for. A reader that has seen enough is no failure.
fn print(text: impl fmt::Display) -> Result<(), Failure> {
    match write!(io::stdout(), "{text}").and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Run(format!("standard output cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// Says something to whoever may be there to read it: a server goes on without.
fn tell(to: &mut impl Write, line: impl fmt::Display) {
    let _ = writeln!(to, "{line}");
}

/// The configuration that every command reads, and the runnables that this program has; with what it was read from.
fn app(args: ConfigArgs) -> (AppBuilder, String) {
    let ConfigArgs { config, set } = args;
    let default = Path::new("runners.toml");
    let (builder, source) = match config {
        Some(file) => {
            let source = file.display().to_string();
            (App::builder().config_file(file), source)
        }
        None if default.exists() => (App::builder().config_file(default), default.display().to_string()),
        None => {
            let name = "built-in runners.toml";
            let text = include_str!("../../runners.toml");
            (App::builder().sources(|sources| sources.text(name, text)), name.to_owned())
        }
    };
    let builder = set.into_iter().fold(builder.environment(), AppBuilder::set);
    (runnables(builder), source)
}

/// What this program can run, in a child process as well.
fn runnables(builder: AppBuilder) -> AppBuilder {
    builder.runnable::<IrisClf>("iris_clf").runnable::<Onnx>("onnx")
}
