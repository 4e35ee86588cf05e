//! `ekiden bench`: puts a server under load and says how it bears it.
//!
//! ```text
//! args ─► target, body ─► load (one per row) ─► results ─► table, JSON
//!                                                   └────► page
//! ```

mod args;
mod body;
pub(super) mod load;
mod page;
mod progress;
mod results;
mod target;

pub(super) use args::BenchArgs;
use std::str::FromStr;
use std::time::Duration;

use ekiden::config::RunnerName;

use args::{Load, Schedule};
use body::{Body, Wish};
use load::{Arrivals, Client, Pace, Plan};
use progress::Progress;
use results::{Measured, Results};
use target::Target;

use super::{Failure, runners};

pub(super) const EXAMPLES: &str = args::EXAMPLES;

pub(super) fn bench(args: &BenchArgs) -> Result<(), Failure> {
    let schedule = args.schedule()?;
    let target = Target::parse(&args.url)?;
    let outputs = args.output.check()?;
    let file = args.body.as_deref().map(|file| Body::read(file, args.content_type.as_deref())).transpose()?;
    let address = target.address()?;
    let body = match file {
        Some(body) => Some(body),
        None => random_body(args, &target)?,
    };
    let mut headers = args.headers.clone();
    headers.extend(args.timeout_ms.map(|ms| ("ekiden-timeout-ms".to_owned(), ms.to_string())));
    let sent = body.as_ref().map(|body| (body.media_type.as_str(), body.bytes.as_slice()));
    let plan = Plan {
        address,
        request: target.request(sent, &headers),
        patience: schedule.patience,
        good_within: schedule.good_within,
        leeway: Duration::ZERO,
    };
    try_once(&args.url, &plan)?;

    let mut results = Results {
        url: args.url.clone(),
        request: match &body {
            Some(body) => format!("POST {}, {} bytes of {}", args.url, body.bytes.len(), body.media_type),
            None => format!("GET {}", args.url),
        },
        warm_up_s: schedule.warm_up.as_secs_f64(),
        duration_s: schedule.duration.as_secs_f64(),
        timeout_ms: args.timeout_ms,
        ekiden: env!("CARGO_PKG_VERSION"),
        loads: Vec::new(),
    };
    let progress = Progress::start()?;
    for &load in &schedule.loads {
        if progress.is_stopped() {
            break;
        }
        let measured = measure(load, &plan, &schedule, &progress)
            .map_err(|error| Failure::Run(format!("{} at {} connections: {error}", args.url, load.connections)))?;
        results.loads.extend(measured);
    }
    progress.finish();
    outputs.write(&results, || results.json(), || page::page(&results))?;
    verdict(&results)
}

/// A body by the method's specs, where the URL is an Ekiden method's.
fn random_body(args: &BenchArgs, target: &Target) -> Result<Option<Body>, Failure> {
    let Some((information, runner, method)) = target.method() else {
        return match args.rows.is_some() || args.format.is_some() {
            true => Err(Failure::Usage(format!(
                "--rows and --format are for a random body, and {} is not an Ekiden method: give --body",
                args.url
            ))),
            false => Ok(None),
        };
    };
    RunnerName::from_str(runner).map_err(|error| Failure::Usage(format!("{}: {error}", args.url)))?;
    let wish = Wish { rows: args.rows.unwrap_or(1) as usize, format: args.format, seed: args.seed };
    let (_, information) = runners::ask(&information)?;
    Body::random(&information, method, &wish).map(Some)
}

/// Sends one request ahead: what the server refuses now, it would refuse each time.
fn try_once(url: &str, plan: &Plan) -> Result<(), Failure> {
    let answer = load::ask(plan.address, &plan.request, plan.patience);
    let answer = answer.map_err(|error| Failure::Run(format!("{url}: {error}")))?;
    match answer.status() {
        // These are about load and state, which is what is measured.
        408 | 425 | 429 => Ok(()),
        status @ 300..=499 => {
            let said: String = answer.body().trim().chars().take(500).collect();
            Err(Failure::Run(format!("{url} answered {status}: {said}")))
        }
        _ => Ok(()),
    }
}

/// One row; nothing if it is stopped before it is measured.
fn measure(
    load: Load,
    plan: &Plan,
    schedule: &Schedule,
    progress: &Progress,
) -> Result<Option<Measured>, load::LoadError> {
    let pace = |seed: u64| match load.open {
        Some((rate, spacing)) => Pace::Open(Arrivals::new(rate, spacing, seed)),
        None => Pace::Closed,
    };
    let mut client = Client::connect(plan, load.connections)?;
    if !schedule.warm_up.is_zero() {
        let bar = progress.bar(load, "warm-up", schedule.warm_up);
        client.drive(&mut pace(schedule.seed.wrapping_add(1)), schedule.warm_up, &mut |record| bar.show(record))?;
    }
    if progress.is_stopped() {
        return Ok(None);
    }
    let bar = progress.bar(load, "measuring", schedule.duration);
    let record = client.drive(&mut pace(schedule.seed), schedule.duration, &mut |record| bar.show(record))?;
    client.finish(&mut |_| !progress.is_stopped())?;
    Ok(Some(Measured::new(load, &record)))
}

fn verdict(results: &Results) -> Result<(), Failure> {
    let failed: u64 = results.loads.iter().map(|load| load.failed).sum();
    match results.loads.iter().map(|load| load.ok).sum::<u64>() {
        0 if results.loads.is_empty() => Err(Failure::Run("stopped before anything was measured".to_owned())),
        0 if results.loads.iter().all(Measured::is_idle) => Err(Failure::Run(format!(
            "{}: no request was due within {} s: raise --rate or --duration",
            results.url, results.duration_s
        ))),
        0 if failed == 0 => Err(Failure::Run(format!(
            "{}: no answer came within {} s: raise --duration",
            results.url, results.duration_s
        ))),
        0 => Err(Failure::Run(format!("{}: every request failed", results.url))),
        _ => Ok(()),
    }
}
