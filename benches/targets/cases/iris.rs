//! The iris classifier, whose model costs next to nothing: what is left is the way to a model and back.

use std::error::Error;

use serde_json::Value;

use super::Outcome;
use crate::args::Plan;
use crate::process::Server;
use crate::rounds::{Contender, Series, rounds};
use crate::sample;
use crate::servers::{self, Role};
use crate::target::{Finding, Target};

pub(super) const ABOUT: &str = "`ekiden serve` with the iris classifier, 4 numbers a call as JSON, beside a bare \
    actix-web server that parses the same body and returns the very bytes that Ekiden answered: no server on actix-web \
    can beat it.";

/// The path of the method.
pub(super) const PREDICT: &str = "/v1/runners/iris_clf/predict";
/// One flower, a setosa.
pub(super) const BODY: &[u8] = b"[[5.1,3.5,1.4,0.2]]";

const CONNECTIONS: [usize; 4] = [1, 8, 64, 256];

pub(super) fn run(plan: &Plan) -> Result<Outcome, Box<dyn Error>> {
    let request = sample::post(PREDICT, "application/json", "", BODY);
    // Ekiden first: the bare server repeats its answer, so that both send as many bytes.
    let ekiden = servers::spawn_iris("ekiden", &plan.ekiden, &[])?;
    let bare = servers::spawn("bare", Role::Bare, Some(&checked_answer(&ekiden, &request)?))?;

    let request = request.as_slice();
    let contender = |server, connections| {
        Contender::new(format!("{}, {connections} connections", Server::name(server)), move |time| {
            checked_answer(server, request)?;
            Ok(sample::take(server, request, connections, time)?)
        })
    };
    let contenders = CONNECTIONS.iter().flat_map(|&n| [contender(&bare, n), contender(&ekiden, n)]).collect();
    let series = rounds(&plan.timing, contenders)?;
    let findings = CONNECTIONS.iter().zip(series.chunks_exact(2)).flat_map(|(&n, pair)| judge(n, &pair[0], &pair[1]));
    Ok(Outcome { findings: findings.collect(), series })
}

fn judge(connections: usize, bare: &Series, ekiden: &Series) -> Vec<Finding> {
    let what = format!("iris, JSON, {connections} connections");
    let rate = |target| Finding::new(&what, "requests/s ÷ bare", target, ekiden.rate_by(bare));
    let p99 = || ekiden.with(bare, |ekiden, bare| ekiden.p99() / bare.p99());
    match connections {
        1 => {
            let added = ekiden.with(bare, |ekiden, bare| ekiden.p50() - bare.p50());
            vec![Finding::new("iris, JSON, a lone caller", "p50 − bare, µs", Target::AtMost(25.0), added)]
        }
        8 => vec![rate(Target::AtLeast(0.6))],
        _ => vec![rate(Target::AtLeast(0.7)), Finding::new(&what, "p99 ÷ bare", Target::AtMost(2.0), p99())],
    }
}

/// What `server` answers, which must be right: a server of wrong answers is quick to no purpose.
pub(super) fn checked_answer(server: &Server, request: &[u8]) -> Result<String, Box<dyn Error>> {
    let answer = sample::ask(server, request)?;
    let json: Value = serde_json::from_str(&answer).map_err(|error| format!("the answer is no JSON: {error}"))?;
    let classes: Option<Vec<f64>> = json[0].as_array().and_then(|row| row.iter().map(Value::as_f64).collect());
    match classes.as_deref() {
        Some(&[setosa, versicolor, virginica]) if setosa > versicolor && setosa > virginica => Ok(answer),
        _ => Err(format!("the answer is not the classes of a setosa: {answer}").into()),
    }
}
