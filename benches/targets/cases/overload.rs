//! Twice as many calls as can be answered: what is answered in time, and how soon the others hear that they are not.

use std::error::Error;
use std::time::Duration;

use super::Outcome;
use crate::args::Plan;
use crate::load::{self, Arrivals, Client, Failure, Pace, Record, Spacing};
use crate::process::{self, Server};
use crate::rounds::Series;
use crate::sample::{self, Sample, Time};
use crate::servers::{self, PREDICT, Role};
use crate::target::{Finding, Target};

pub(super) const ABOUT: &str = "An MLP of 4-2048-2048-2048-3 in batches of 16 rows, one row a call as JSON. The \
    capacity is what 64 connections get in a closed loop, without deadlines. Then twice that is sent in an open loop \
    (Poisson), each call with a deadline of 100 ms; goodput is what is answered with 200 within 100 ms of the moment \
    that it was to be sent. Memory is the server's, after each round beside that after the round's warm-up, which is under \
    the same load.";

const DEADLINE: Duration = Duration::from_millis(100);
const BODY: &[u8] = b"[[0.1,0.2,0.3,0.4]]";
const CONNECTIONS: usize = 64;
/// More would run into limits of open files.
const MOST_CONNECTIONS: usize = 900;
const PATIENCE: Duration = Duration::from_secs(5);

/// What one round found.
struct Round {
    capacity: Sample,
    overload: Record,
    /// The server's memory after the round's warm-up, and at its end.
    resident: (f64, f64),
}

pub(super) fn run(plan: &Plan) -> Result<Outcome, Box<dyn Error>> {
    let server = servers::spawn("ekiden", Role::EkidenDeep, None)?;
    let mut rounds = Vec::new();
    let timing = &plan.timing;
    for round in 0..timing.rounds {
        let warm_up = if round == 0 { timing.first_warm_up } else { timing.warm_up };
        rounds.push(one_round(&server, Time { warm_up, measure: timing.measure }, u64::from(round))?);
    }

    let each = |of: &dyn Fn(&Round) -> f64| rounds.iter().map(of).collect::<Vec<f64>>();
    let refused = |round: &Round| match round.overload.refusals.len() {
        0 => f64::NAN,
        _ => round.overload.refusals.value_at_quantile(0.99) as f64 / 1e6,
    };
    let late = |round: &Round| {
        let Record { late, unsent, .. } = round.overload;
        (late + unsent) as f64 / (unsent + round.overload.ok() + round.overload.failed()) as f64
    };
    let what = "overload 2×, deadline 100 ms";
    let findings = vec![
        Finding::new(
            what,
            "goodput ÷ capacity",
            Target::AtLeast(0.95),
            each(&|r| goodput(&r.overload) / r.capacity.per_s),
        ),
        Finding::new(what, "p99 of refusals, ms", Target::AtMost(5.0), each(&refused)),
        Finding::new(what, "memory ÷ before", Target::AtMost(1.05), each(&|r| r.resident.1 / r.resident.0)),
        Finding::new(what, "memory after it, MB", Target::Shown, each(&|r| r.resident.1 / 1e6)),
        Finding::new(what, "sent over 1 ms late, share", Target::Shown, each(&late)),
    ];
    let capacity = rounds.iter().map(|round| round.capacity.clone()).collect();
    let overload = rounds.iter().map(|round| overloaded(&round.overload)).collect();
    let series = vec![
        Series { name: "ekiden, capacity".to_owned(), samples: capacity },
        Series { name: "ekiden, goodput at twice that".to_owned(), samples: overload },
    ];
    Ok(Outcome { findings, series })
}

fn one_round(server: &Server, time: Time, seed: u64) -> Result<Round, Box<dyn Error>> {
    let capacity = sample::take(server, &sample::post(PREDICT, "application/json", "", BODY), CONNECTIONS, time)?;
    let rate = 2.0 * capacity.per_s;
    // As many as can be under way if each call takes as long as it may, and some more.
    let connections = (1.1 * rate * DEADLINE.as_secs_f64()) as usize;
    let header = format!("ekiden-timeout-ms: {}\r\n", DEADLINE.as_millis());
    let plan = load::Plan {
        address: server.address,
        request: sample::post(PREDICT, "application/json", &header, BODY),
        patience: PATIENCE,
        good_within: DEADLINE,
        // A core kept busy between requests would be missed by the server, and calls take a thousand times longer.
        leeway: Duration::from_micros(100),
    };
    let mut client = Client::connect(&plan, connections.clamp(CONNECTIONS, MOST_CONNECTIONS))?;
    let mut drive = |time: Duration, seed: u64| {
        let mut pace = Pace::Open(Arrivals::new(rate, Spacing::Poisson, seed));
        client.drive(&mut pace, time, &mut |_| true)
    };
    drive(time.warm_up, seed + 1000)?;
    let resident = || process::resident_bytes(server.pid()).map_or(f64::NAN, |bytes| bytes as f64);
    let before = resident();
    let overload = drive(time.measure, seed)?;
    let refusal = |failure: &Failure| matches!(failure, Failure::Status(429 | 503 | 504));
    if let Some(failure) = overload.failures.keys().find(|failure| !refusal(failure)) {
        return Err(format!("a call was neither answered nor refused: {failure}").into());
    }
    Ok(Round { capacity, overload, resident: (before, resident()) })
}

fn goodput(record: &Record) -> f64 {
    record.good as f64 / record.elapsed.as_secs_f64()
}

fn overloaded(record: &Record) -> Sample {
    let (p50, p99) = (record.micros(0.5), record.micros(0.99));
    let client_busy = Some(record.busy);
    Sample { per_s: goodput(record), p50_us: Some(p50), p99_us: Some(p99), client_busy, ..Sample::default() }
}
