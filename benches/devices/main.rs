//! What Ekiden leaves of a device's own speed: a bare Burn loop against its executor, with one batch at a time and with the
//! next one handed over ahead, and over HTTP.
//!
//! ```text
//! cargo bench --features vulkan --bench devices -- --device vulkan:0 --markdown BENCHMARKS.md
//! cargo bench --features cuda --bench devices -- --device cuda:0 --models resnet18 --batches 64
//! ```
//!
//! All of them run the same model with the same weights on the same device, and take turns. The bare loop uploads, computes
//! and reads back, one batch after the other, on an executor's own thread. Rows are counted, whatever calls they come in.

mod args;
#[path = "../targets/callers.rs"]
#[allow(dead_code, reason = "some of it is for other benchmarks")]
mod callers;
#[allow(dead_code, unused_imports, reason = "some of it is for `ekiden bench` alone, and so are the tests")]
#[path = "../../src/cli/bench/load/mod.rs"]
mod load;
#[path = "../targets/machine.rs"]
mod machine;
mod models;
#[path = "../targets/process.rs"]
#[allow(dead_code, reason = "some of it is for other benchmarks")]
mod process;
#[path = "../targets/rounds.rs"]
#[allow(dead_code, reason = "some of it is for other benchmarks")]
mod rounds;
#[path = "../targets/sample.rs"]
#[allow(dead_code, reason = "some of it is for other benchmarks")]
mod sample;
mod section;
#[path = "../targets/timing.rs"]
mod timing;

use std::error::Error;
use std::future::pending;
use std::net::TcpListener;
use std::process::{Command, ExitCode, Stdio};

use actix_web::rt::System;
use clap::{Parser, ValueEnum};
use ekiden::codec::npy;
use ekiden::http::ServeOptions;
use ekiden::prelude::*;
use ekiden::runner::Json;
use ekiden::value::{Array, Value};

use args::Args;
use models::{Kind, Net};
use process::Server;
use rounds::{Contender, Series, rounds};
use sample::Sample;
use section::Row;

/// Calls of a whole batch that are under way at once: one runs, one is handed over, and the rest wait.
const IN_FLIGHT: usize = 4;

/// Connections over HTTP, at most.
const MOST_CONNECTIONS: usize = 256;

fn main() -> ExitCode {
    let args = Args::parse();
    match if args.serve { serve(&args) } else { measure(&args) } {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &Args) -> Result<(), Box<dyn Error>> {
    let mut rows = Vec::new();
    for &kind in &args.models {
        for &batch in &args.batches {
            eprintln!("{} on {}, batches of {batch}", kind.name(), args.device);
            let row = compare(args, kind, batch)?;
            println!("{row}");
            rows.push(row);
        }
    }
    println!("\n{}", section::table(&rows));
    match &args.markdown {
        Some(file) => Ok(section::write(file, &args.command(), &args.device, &rows)?),
        None => Ok(()),
    }
}

/// One model with batches of one size.
fn compare(args: &Args, kind: Kind, batch: usize) -> Result<Row, Box<dyn Error>> {
    let runtime = callers::runtime()?;
    let start = |depth| runtime.block_on(App::builder().runner(runner(args, kind, batch, depth)).start());
    let (one, two) = (start(1)?, start(2)?);
    let predict = |app: &App| app.runner("net").map(|net| net.method::<Array, Array>("predict"));
    let (one_at_a_time, pipelined) = (predict(&one)??, predict(&two)??);
    let bare = one.runner("net")?.method::<Json<(usize, f64)>, Json<f64>>("bare")?;
    let input = kind.rows(batch)?;
    let server = spawn(args, kind, batch)?;
    let body = npy::encode(&[Value::Tensor(kind.rows(1)?)])?;
    let request = sample::post("/v1/runners/net/predict", "application/x-npy", "", &body);
    let connections = (2 * batch).min(MOST_CONNECTIONS);
    let rows = |sample: Sample| Sample { per_s: sample.per_s * batch as f64, ..sample };

    let series = rounds(
        &args.timing.plan(),
        vec![
            Contender::new("bare", |time| {
                let seconds = (time.warm_up + time.measure).as_secs_f64();
                let Json(per_s) = runtime.block_on(bare.async_run(Json((batch, seconds))))?;
                Ok(Sample { per_s, ..Sample::default() })
            }),
            Contender::new("one at a time", |time| {
                callers::many(&runtime, &one_at_a_time, &input, IN_FLIGHT, time).map(rows)
            }),
            Contender::new("pipelined", |time| callers::many(&runtime, &pipelined, &input, IN_FLIGHT, time).map(rows)),
            Contender::new("HTTP", |time| Ok(sample::take(&server, &request, connections, time)?)),
        ],
    )?;
    let [bare, one, two, http] = &series[..] else { return Err("a contender has gone".into()) };
    let median = |series: &Series| section::median(series.each(|sample| sample.per_s));
    Ok(Row {
        model: kind.name(),
        batch,
        bare: median(bare),
        one_at_a_time: section::median(one.rate_by(bare)),
        pipelined: section::median(two.rate_by(bare)),
        http: median(http),
    })
}

fn runner(args: &Args, kind: Kind, batch: usize, depth: i64) -> Runner<Net> {
    // Whatever is asked for at once is queued, and one size of batch is what is measured.
    Runner::<Net>::new(kind)
        .name("net")
        .device(args.device.clone())
        .max_batch_size(batch)
        .max_latency_ms(1_000)
        .set("pipeline_depth", depth)
}

/// This program again, as a server.
fn spawn(args: &Args, kind: Kind, batch: usize) -> Result<Server, Box<dyn Error>> {
    let name = kind.to_possible_value().ok_or("a model without a name")?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--serve", "--device", &args.device, "--models", name.get_name(), "--batches", &batch.to_string()]);
    Ok(Server::spawn("the server", &mut command, Stdio::inherit(), None)?)
}

/// Serves until the process is killed.
fn serve(args: &Args) -> Result<(), Box<dyn Error>> {
    let (Some(&kind), Some(&batch)) = (args.models.first(), args.batches.first()) else {
        return Err("of what?".into());
    };
    System::new().block_on(async {
        let app = App::builder().runner(runner(args, kind, batch, 2)).start().await?;
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        println!("listening on http://{}", listener.local_addr()?);
        Ok(ekiden::http::serve(&app, listener, ServeOptions::default(), pending()).await?)
    })
}
