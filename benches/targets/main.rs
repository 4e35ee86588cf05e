//! How fast Ekiden is, beside what it is to be compared with; each number is judged against its target.
//!
//! ```text
//! cargo bench --bench targets                                  # the table; some five minutes
//! cargo bench --bench targets -- --markdown BENCHMARKS.md      # and written down
//! cargo bench --bench targets -- --cases iris,mlp --rounds 9   # some of it, at length
//! ```
//!
//! ```text
//! args ─► cases/* ─► rounds: each contender in turn ─► findings, series ─► report: table, Markdown, JSON
//!                      │
//!                      ├─ servers: this program again, in a process of its own; sample: the load of `ekiden bench`
//!                      └─ callers: the embedding API, in this process
//! ```
//!
//! Machines are shared and noisy. So contenders take turns in short rounds, a ratio is taken within a round, where both
//! saw the same neighbours, and a number is the median of its rounds. Client and servers share the cores: compare the
//! rows of one table, never a row of one machine with a row of another.
//!
//! A lone call on a virtual machine has two speeds: some 20 µs while the cores are awake, three times that where each
//! hop has to wake one that sleeps. The system falls into one or the other for seconds; a wide min–max at 1 connection
//! is this, and more, shorter rounds (`--rounds 20 --measure-ms 500`) bring all contenders under the same regime.

mod args;
mod callers;
mod cases;
#[allow(dead_code, unused_imports, reason = "some of it is for `ekiden bench` alone, and so are the tests")]
#[path = "../../src/cli/bench/load/mod.rs"]
mod load;
mod machine;
mod models;
mod process;
mod report;
mod rounds;
mod sample;
mod servers;
mod target;
mod timing;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use args::Args;
use report::Report;

fn main() -> ExitCode {
    ekiden::App::run_child(cases::isolated);
    let args = Args::parse();
    let done = match args.serve {
        Some(role) => servers::serve(role, args.answer.unwrap_or_default()).map(|()| ExitCode::SUCCESS),
        None => measure(&args),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

fn measure(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let plan = args.plan();
    let mut report = Report::new(args);
    for case in args.cases() {
        report.add(case, case.run(&plan).map_err(|error| format!("{}: {error}", case.name()))?);
    }
    println!("{report}");
    if let Some(file) = &args.json {
        write(file, serde_json::to_string_pretty(&report)? + "\n")?;
    }
    if let Some(file) = &args.markdown {
        // What `cargo bench --bench devices` has written stays.
        let before = std::fs::read_to_string(file).unwrap_or_default();
        let devices = before.find("\n## On devices").map_or("", |at| &before[at..]);
        write(file, report.markdown() + devices)?;
    }
    let failed = args.judge && report.missed() > 0;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn write(file: &Path, text: String) -> Result<(), String> {
    std::fs::write(file, text).map_err(|error| format!("cannot write {}: {error}", file.display()))
}
