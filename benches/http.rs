//! What Ekiden costs over HTTP: the iris classifier beside a bare actix-web server.
//!
//! ```text
//! cargo bench --bench http
//! cargo bench --bench http -- --connections 1,8,64,256 --json http.json
//! ```
//!
//! The bare server parses the same body and answers with the very bytes that Ekiden answered: no server on actix-web
//! can beat it, so the ratio of the two says what batching, supervision and the model cost together. Both run in
//! processes of their own; one thread here drives all connections, each with one request under way (a closed loop).
//!
//! Machines are shared and noisy. So the two take turns in short rounds, each number is the median of its rounds, and
//! the ratio is taken within a round, where both saw the same neighbours. Client and servers share the cores: compare
//! the rows of one table, never a row of one machine with a row of another.
//!
//! A lone call on a virtual machine has two speeds: some 20 µs while the cores are awake, three times that where each
//! hop has to wake one that sleeps. The system falls into one or the other for seconds; a wide min–max at 1 connection
//! is this, and more, shorter rounds (`--rounds 20 --measure-ms 500`) bring the two servers under the same regime.

#[path = "support/args.rs"]
mod args;
#[allow(dead_code, unused_imports, reason = "the open loop is for `ekiden bench`, and so are the tests")]
#[path = "../src/cli/bench/load/mod.rs"]
mod load;
#[path = "support/process.rs"]
mod process;
#[path = "support/report.rs"]
mod report;
#[path = "support/sample.rs"]
mod sample;
#[path = "support/servers.rs"]
mod servers;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use args::Args;
use process::Server;
use report::{Report, Row};
use sample::Sample;

fn main() -> ExitCode {
    let args = Args::parse();
    let result = match &args.serve_bare {
        Some(answer) => servers::serve_bare(answer.clone()).map(|()| ExitCode::SUCCESS),
        None => compare(&args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

fn compare(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    args.check()?;
    let request = sample::post_json(&args.path, servers::IRIS_BODY);

    // Ekiden first: the bare server repeats its answer, so that both send as many bytes.
    let ekiden = servers::spawn_ekiden(args)?;
    let answer = checked_answer(&ekiden, &request)?;
    let bare = servers::spawn_bare(&answer)?;

    let plan = args.plan();
    let mut rows: Vec<Row> = plan.connections.iter().map(|&connections| Row::new(connections)).collect();
    for round in 0..plan.rounds {
        for row in &mut rows {
            // The first of a pair finds the caches cold: take turns in that as well.
            let order = if round % 2 == 0 { [&bare, &ekiden] } else { [&ekiden, &bare] };
            for server in order {
                // Whoever comes into its first round has code to page in and threads to start.
                let warm_up = if round == 0 { plan.first_warm_up } else { plan.warm_up };
                let sample = measure(server, &request, row.connections, warm_up, plan.measure)?;
                if std::ptr::eq(server, &ekiden) { row.ekiden.push(sample) } else { row.bare.push(sample) }
            }
        }
        eprintln!("round {} of {} done", round + 1, plan.rounds);
    }

    let report = Report::new(rows);
    println!("{report}");
    if let Some(path) = &args.json {
        let json = serde_json::to_vec_pretty(&report)?;
        std::fs::write(path, json).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    let missed = args.targets.missed(&report);
    missed.iter().for_each(|target| eprintln!("missed: {target}"));
    Ok(if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn measure(
    server: &Server,
    request: &[u8],
    connections: usize,
    warm_up: Duration,
    time: Duration,
) -> Result<Sample, Box<dyn Error>> {
    checked_answer(server, request)?;
    let sample = sample::take(server, request, connections, warm_up, time);
    sample.map_err(|error| format!("{} at {connections} connections: {error}", server.name).into())
}

/// What `server` answers, which must be right: a server of wrong answers is quick to no purpose.
fn checked_answer(server: &Server, request: &[u8]) -> Result<String, Box<dyn Error>> {
    let in_context = |error: &dyn Error| format!("{}: {error}", server.name);
    let answer = sample::ask(server, request).map_err(|error| in_context(&error))?;
    servers::check_iris(&answer).map_err(|error| in_context(error.as_ref()))?;
    Ok(answer)
}
