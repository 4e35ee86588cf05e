//! An MLP for images: parsing 784 numbers and computing cost something, and batching has to pay for itself.

use std::error::Error;

use ekiden::codec::npy;
use ekiden::value::{Array, Value};

use super::Outcome;
use crate::args::Plan;
use crate::models;
use crate::process::Server;
use crate::rounds::{Contender, rounds};
use crate::sample;
use crate::servers::{self, INFER, PREDICT, Role};
use crate::target::{Finding, Target};

pub(super) const ABOUT: &str = "An MLP of 784-512-512-10, 784 numbers a call, on 64 connections. Beside it a bare \
    actix-web server that parses the body and answers with a constant, and one that runs the same MLP on Burn in its \
    handler, a row at a time. Binary tensors are those of the Open Inference Protocol. One layer, 784-10, costs next to \
    nothing to compute: there the cost of bringing the numbers shows, which is no more than a part of the MLP's.";

const CONNECTIONS: usize = 64;

pub(super) fn run(plan: &Plan) -> Result<Outcome, Box<dyn Error>> {
    let pixels = models::pixels(models::MLP[0]);
    let json = sample::post(PREDICT, "application/json", "", serde_json::to_string(&[&pixels])?.as_bytes());
    let array = Value::Tensor(Array::new(pixels.clone(), [1, pixels.len()])?);
    let npy = sample::post(PREDICT, "application/x-npy", "", &npy::encode(&[array])?);
    let binary = binary(&pixels);

    let ekiden = servers::spawn("ekiden", Role::EkidenMlp, None)?;
    let computing = servers::spawn("bare, computing", Role::BareMlp, None)?;
    let layer = servers::spawn("ekiden, one layer", Role::EkidenLayer, None)?;
    let answer = sample::ask(&ekiden, &json)?;
    same_numbers(&answer, &sample::ask(&computing, &json)?)?;
    let bare = servers::spawn("bare", Role::Bare, Some(&answer))?;

    let contender = |server, request: &'_ [u8], format| {
        let request = request.to_vec();
        Contender::new(format!("{}, {format}", Server::name(server)), move |time| {
            Ok(sample::take(server, &request, CONNECTIONS, time)?)
        })
    };
    let series = rounds(
        &plan.timing,
        vec![
            contender(&bare, &json, "JSON"),
            contender(&computing, &json, "JSON"),
            contender(&ekiden, &json, "JSON"),
            contender(&ekiden, &npy, ".npy"),
            contender(&ekiden, &binary, "binary, /v2"),
            contender(&layer, &json, "JSON"),
            contender(&layer, &npy, ".npy"),
            contender(&layer, &binary, "binary, /v2"),
        ],
    )?;
    let [bare, computing, json, npy, binary, layer_json, layer_npy, layer_binary] = &series[..] else {
        return Err("a contender has gone".into());
    };
    let finding = |what, number, least, rounds| Finding::new(what, number, Target::AtLeast(least), rounds);
    let findings = vec![
        finding("MLP, JSON, 64 connections", "requests/s ÷ bare", 0.5, json.rate_by(bare)),
        finding("MLP, JSON, 64 connections", "requests/s ÷ bare, computing", 1.2, json.rate_by(computing)),
        finding("MLP, .npy, 64 connections", "requests/s ÷ its own with JSON", 2.0, npy.rate_by(json)),
        finding("MLP, binary tensors, 64 connections", "requests/s ÷ its own with JSON", 2.0, binary.rate_by(json)),
        finding(
            "one layer, .npy, 64 connections",
            "requests/s ÷ its own with JSON",
            2.0,
            layer_npy.rate_by(layer_json),
        ),
        finding(
            "one layer, binary tensors, 64 connections",
            "requests/s ÷ its own with JSON",
            2.0,
            layer_binary.rate_by(layer_json),
        ),
    ];
    Ok(Outcome { findings, series })
}

/// One row as the Open Inference Protocol has it: a head in JSON, and the numbers behind it as they lie in memory.
fn binary(row: &[f32]) -> Vec<u8> {
    let numbers: Vec<u8> = row.iter().flat_map(|number| number.to_le_bytes()).collect();
    let head = serde_json::json!({
        "inputs": [{
            "name": "x", "datatype": "FP32", "shape": [1, row.len()],
            "parameters": {"binary_data_size": numbers.len()},
        }],
        "parameters": {"binary_data_output": true},
    });
    let head = head.to_string();
    let length = format!("inference-header-content-length: {}\r\n", head.len());
    sample::post(INFER, "application/octet-stream", &length, &[head.as_bytes(), &numbers].concat())
}

/// Two servers of one model must agree; how many rows they compute at once may show in the last digits.
fn same_numbers(one: &str, other: &str) -> Result<(), Box<dyn Error>> {
    let [ones, others]: [Vec<Vec<f32>>; 2] = [serde_json::from_str(one)?, serde_json::from_str(other)?];
    let close = |(one, other): (&f32, &f32)| (one - other).abs() <= 1e-4;
    let same = ones.len() == 1 && ones.len() == others.len() && ones[0].len() == others[0].len();
    match same && ones[0].iter().zip(&others[0]).all(close) {
        true => Ok(()),
        false => Err(format!("two servers of one model differ: {one} and {other}").into()),
    }
}
