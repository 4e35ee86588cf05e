//! Watched by Prometheus and writing an access log, beside neither.

use std::error::Error;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use super::{Outcome, iris};
use crate::args::Plan;
use crate::process::Server;
use crate::rounds::{Contender, rounds};
use crate::sample::{self, Measured, SampleError, Time};
use crate::servers;
use crate::target::{Finding, Target};
use crate::timing;

pub(super) const ABOUT: &str = "The server of iris on 64 connections: `/metrics` scraped once a second and the access \
    log written to a file, beside neither.";

const CONNECTIONS: usize = 64;
const SCRAPE: &[u8] = b"GET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
const EVERY: Duration = Duration::from_secs(1);

pub(super) fn run(plan: &Plan) -> Result<Outcome, Box<dyn Error>> {
    let request = sample::post(iris::PREDICT, "application/json", "", iris::BODY);
    let plain = servers::spawn_iris("ekiden", &plan.ekiden, &[])?;
    let observed = servers::spawn_iris("ekiden, observed", &plan.ekiden, &["--set", "server.access_log=true"])?;
    for server in [&plain, &observed] {
        iris::checked_answer(server, &request)?;
    }

    // So small a difference takes more rounds to be seen.
    let often = timing::Plan { rounds: plan.timing.rounds * 2, ..plan.timing.clone() };
    let series = rounds(
        &often,
        vec![
            Contender::new("ekiden", |time| Ok(sample::take(&plain, &request, CONNECTIONS, time)?)),
            Contender::new("ekiden, observed", |time| scraped(&observed, &request, time)),
        ],
    )?;
    let [plain, observed] = &series[..] else { return Err("a contender has gone".into()) };
    let what = "/metrics once a second and access log";
    let target = Target::AtLeast(0.97);
    let findings = vec![Finding::new(what, "requests/s ÷ without", target, observed.rate_by(plain))];
    Ok(Outcome { findings, series })
}

/// A sample of a server that is scraped meanwhile.
fn scraped(server: &Server, request: &[u8], time: Time) -> Measured {
    let (stop, stopped) = channel::<()>();
    thread::scope(|scope| {
        let scraper = scope.spawn(move || {
            loop {
                sample::ask(server, SCRAPE)?;
                if stopped.recv_timeout(EVERY) != Err(RecvTimeoutError::Timeout) {
                    return Ok::<(), SampleError>(());
                }
            }
        });
        let sample = sample::take(server, request, CONNECTIONS, time);
        drop(stop);
        scraper.join().map_err(|_| "the scraper has panicked")??;
        Ok(sample?)
    })
}
