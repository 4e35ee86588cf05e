//! What one call costs, in numbers that do not depend on the machine: allocations, and instructions outside the kernel.
//!
//! ```text
//! cargo bench --bench costs                       # allocations
//! cargo bench --bench costs -- --instructions     # and instructions, by valgrind's callgrind
//! ```
//!
//! Each number is judged by its ceiling in `ceilings.toml`; one above it fails the check. The model does nothing: Burn's
//! kernels are chosen by the CPU, and would count differently on each. Instructions of a call are the difference between
//! two runs of this program with different numbers of calls, so that the start is not part of them.

mod paths;

use std::alloc::System;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Display;
use std::process::{Command, ExitCode};

use clap::{Parser, ValueEnum};
use paths::Path;
use serde::Deserialize;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Calls that nobody counts: tables and buffers grow to their size.
const WARM_UP: usize = 10 * paths::BATCH;
/// Calls whose allocations are counted.
const COUNTED: usize = 100 * paths::BATCH;
/// Calls in the shorter and in the longer run under callgrind.
const RUNS: [usize; 2] = [10 * paths::BATCH, 30 * paths::BATCH];
/// How far instructions may be above their ceiling: the C library has other routines for other CPUs, and threads meet
/// a little differently each time.
const TOLERANCE: f64 = 1.1;

/// Count what one call costs, and compare it with benches/costs/ceilings.toml.
#[derive(Parser)]
#[command(name = "costs", bin_name = "cargo bench --bench costs --")]
struct Args {
    /// Count instructions too; needs valgrind.
    #[arg(long)]
    instructions: bool,
    /// Drive one path and print nothing: what runs under callgrind.
    #[arg(long, hide = true, value_name = "PATH", requires = "calls")]
    drive: Option<Path>,
    #[arg(long, hide = true, value_name = "N")]
    calls: Option<usize>,
    /// `cargo bench` says so to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// The most that a call may cost.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ceiling {
    allocations: f64,
    instructions: f64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match (args.drive, args.calls) {
        (Some(path), Some(calls)) => path.prepare().and_then(|mut drive| drive(calls)).map(|()| true),
        _ => check(args.instructions),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every path stays below its ceilings.
fn check(instructions: bool) -> Result<bool, Box<dyn Error>> {
    let mut ceilings: BTreeMap<String, Ceiling> = toml::from_str(include_str!("ceilings.toml"))?;
    let mut all = true;
    for &path in Path::value_variants() {
        let name = path.name();
        let ceiling = ceilings.remove(&name).ok_or_else(|| format!("ceilings.toml lacks {name}"))?;
        all &= judge(&name, "allocations", allocations(path)?, ceiling.allocations, 1.0);
        if instructions {
            all &= judge(&name, "instructions", path_instructions(path)?, ceiling.instructions, TOLERANCE);
        }
    }
    match ceilings.into_keys().next() {
        Some(name) => Err(format!("ceilings.toml: there is no path {name}").into()),
        None => Ok(all),
    }
}

fn judge(path: &str, what: &str, found: f64, ceiling: f64, tolerance: f64) -> bool {
    // A timer or a waker of the server's own may fall into the count.
    let fits = found <= ceiling * tolerance + 0.05;
    let verdict: &dyn Display = match fits {
        false => &"ABOVE THE CEILING",
        true if found < 0.9 * ceiling => &"ok, and the ceiling can come down",
        true => &"ok",
    };
    println!("{path:<16} {found:>10.2} {what:<12} a call, at most {ceiling:>8}: {verdict}");
    fits
}

/// Allocations and reallocations of a call, by all threads.
fn allocations(path: Path) -> Result<f64, Box<dyn Error>> {
    let mut drive = path.prepare()?;
    drive(WARM_UP)?;
    let region = Region::new(ALLOCATOR);
    drive(COUNTED)?;
    let change = region.change();
    Ok((change.allocations + change.reallocations) as f64 / COUNTED as f64)
}

/// Instructions of a call outside the kernel, by all threads.
fn path_instructions(path: Path) -> Result<f64, Box<dyn Error>> {
    let [few, many] = [collected(path, RUNS[0])?, collected(path, RUNS[1])?];
    Ok(many.saturating_sub(few) as f64 / (RUNS[1] - RUNS[0]) as f64)
}

/// Instructions of this program when it drives `calls` calls.
fn collected(path: Path, calls: usize) -> Result<u64, Box<dyn Error>> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(std::env::current_exe()?);
    valgrind.args(["--drive", &path.name(), "--calls", &calls.to_string()]);
    let output = valgrind.output().map_err(|error| format!("valgrind cannot be run: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    // "==123== Collected : 4567"
    let count =
        said.lines().find_map(|line| line.split_once("Collected : ")).and_then(|(_, count)| count.trim().parse().ok());
    match count {
        Some(count) if output.status.success() => Ok(count),
        _ => Err(format!("callgrind has failed:\n{said}").into()),
    }
}
