//! Clients, the calls that they make, and which answers are justified.

use std::time::{Duration, Instant};

use ekiden::codec::npy;
use ekiden::value::Value;
use fastrand::Rng;

use super::ledger::{Alarm, Goal, Ledger, Round};
use super::mortal::{numbers, reversed};
use crate::client::{Client, Response};
use crate::http::NPY;
use crate::support::Server;

/// How much later than its deadline a call may be answered, on a machine that has much else to do.
const SLACK: Duration = Duration::from_secs(5);
/// The deadline of calls that bring none.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// What the input of a call is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Nature {
    Good,
    /// It breaks its executor, in this way, each time that it runs.
    Guilty(&'static str),
    /// The method refuses its batch.
    Refused,
    /// The method fails one of its rows.
    Flawed,
}

#[derive(Debug)]
struct Call {
    number: usize,
    runner: &'static str,
    method: &'static str,
    nature: Nature,
    rows: usize,
    timeout: Option<Duration>,
}

/// How guilty calls break executors in child processes.
const ENDS: [&str; 6] = ["panic", "abort", "segv", "exit", "kill", "poison"];

impl Call {
    fn random(number: usize, rng: &mut Rng) -> Self {
        let runner = ["far", "far", "far", "near", "near", "guest"][rng.usize(..6)];
        let method = if rng.u8(..5) == 0 { "negate" } else { "reverse" };
        let guilty = if runner == "far" { ENDS[rng.usize(..ENDS.len())] } else { "panic" };
        let nature = match rng.u32(..20_000) {
            _ if method == "negate" => Nature::Good,
            0..2 if runner == "far" => Nature::Guilty("hang"),
            0..120 => Nature::Guilty(guilty),
            120..300 => Nature::Refused,
            300..600 => Nature::Flawed,
            _ => Nature::Good,
        };
        let timeout = match rng.u8(..40) {
            0 => Some(rng.u64(1..4)),
            1 => Some(rng.u64(4..60)),
            2 => Some(rng.u64(60..1_000)),
            _ => None,
        };
        let rows = if rng.u8(..200) == 0 { rng.usize(8..12) } else { rng.usize(1..4) };
        Self { number, runner, method, nature, rows, timeout: timeout.map(Duration::from_millis) }
    }

    fn words(&self) -> Vec<String> {
        let at = self.number % self.rows;
        let word = |row| match self.nature {
            Nature::Guilty(peril) if row == at => format!("{peril} {}", self.number),
            Nature::Refused if row == at => format!("refuse {}", self.number),
            Nature::Flawed if row == at => format!("row {}", self.number),
            _ => format!("ok {}-{row}", self.number),
        };
        (0..self.rows).map(word).collect()
    }

    fn numbers(&self, sign: f32) -> Vec<u8> {
        npy::encode(&[Value::Tensor(numbers(self.number, self.rows, sign))]).expect("NumPy has it")
    }

    fn send(&self, client: &mut Client, part: f64) {
        let (media_type, body) = match self.method {
            "negate" => (NPY, self.numbers(1.0)),
            _ => ("application/json", serde_json::json!(self.words()).to_string().into_bytes()),
        };
        let timeout = self.timeout.map(|timeout| timeout.as_millis().to_string());
        let mut headers = vec![("content-type", media_type)];
        headers.extend(timeout.as_deref().map(|timeout| ("ekiden-timeout-ms", timeout)));
        let path = format!("/v1/runners/{}/{}", self.runner, self.method);
        client.send_part("POST", &path, &headers, &body, part);
    }

    /// Checks that the answer is one that the call may get, and says how it is counted.
    fn judge(&self, answer: &Response, took: Duration) -> String {
        let is_late = took > self.timeout.unwrap_or(TIMEOUT) + SLACK;
        assert!(!is_late, "{self:?} was answered after {took:?}");
        if answer.status == 200 {
            assert_eq!(self.nature, Nature::Good, "{self:?} was answered");
            match self.method {
                "negate" => assert!(answer.body == self.numbers(-1.0), "{self:?} got a wrong answer"),
                _ => {
                    let right: Vec<String> = self.words().iter().map(|word| reversed(word)).collect();
                    assert_eq!(answer.json(), serde_json::json!(right), "{self:?}");
                }
            }
            return "ok".to_owned();
        }
        let body = answer.json();
        let (code, message) = (body["code"].as_str().unwrap_or_default(), body["error"].as_str().unwrap_or_default());
        let is_justified = match (code, answer.status) {
            ("crashed", 500) => matches!(self.nature, Nature::Guilty(_)),
            ("method_invalid_input", 400) => match self.nature {
                Nature::Refused => message.contains("refused"),
                Nature::Flawed => message.contains("it cannot be turned around"),
                Nature::Good | Nature::Guilty(_) => false,
            },
            ("queue_full", 429) => answer.header("retry-after").is_some() && message.contains("max_queue_size"),
            ("deadline_exceeded", 504) => self.timeout.is_some(),
            // Nobody is up, and will not be in time; or it is just being removed.
            ("unavailable", 503) => {
                self.runner == "guest" || (self.timeout.is_some() && message.contains("will not be back in time"))
            }
            // It comes and goes.
            ("not_found", 404) => self.runner == "guest",
            _ => false,
        };
        assert!(is_justified, "{self:?} was answered with {} {body} after {took:?}", answer.status);
        code.to_owned()
    }
}

/// Makes calls until the round is over.
pub fn make(client: usize, round: &Round<'_>, goal: Goal, server: &Server, mut rng: Rng) {
    let ledger: &Ledger = round.ledger;
    let _alarm = Alarm(ledger);
    let mut connection = server.client();
    while let Some(number) = round.begin(client, goal) {
        let call = Call::random(number, &mut rng);
        if rng.u8(..50) == 0 {
            // It hangs up, most often when all of its call has been sent.
            call.send(&mut connection, if rng.u8(..4) == 0 { rng.f64() } else { 1.0 });
            connection = server.client();
            ledger.drop_call(client, call.runner, call.method);
            continue;
        }
        let begun = Instant::now();
        call.send(&mut connection, 1.0);
        let outcome = call.judge(&connection.receive(), begun.elapsed());
        ledger.end(client, (call.runner.to_owned(), call.method.to_owned(), outcome));
    }
}
