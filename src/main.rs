//! The program `ekiden`: serves the runners of a `runners.toml` over HTTP.

mod cli;
#[path = "../examples/iris/runnable.rs"]
mod iris;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
