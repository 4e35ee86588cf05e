//! What runners ask of the machine.

use std::num::NonZeroUsize;

use config::{Value, ValueKind};
use ekiden_actors::Weight;

use super::{Parsed, count, describe, nearest_of, number, whole, wrong};
use crate::config::error::Problem;
use crate::config::resources::{Adapters, Amount, DeviceChoice, NvidiaGpus};
use crate::device::DeviceName;

/// More than any machine has.
const MOST_CPUS: f64 = 1024.0;

/// More than any machine has.
const MOST_GPUS: i128 = 1024;

const DEVICES: &str = "\"auto\", \"flex\" for the CPU, or one of cuda, rocm, metal, vulkan and wgpu with an index from 0, such as \"cuda:1\"";
/// More than any device needs to be kept busy, and each takes memory.
const MOST_PIPELINED: i128 = 8;

pub(in crate::config) fn pipeline_depth(value: &Value) -> Parsed<NonZeroUsize> {
    count(value, MOST_PIPELINED)
}

/// A number, or thousandths of a CPU as Kubernetes writes them: "500m".
pub(in crate::config) fn cpu(value: &Value) -> Parsed<f64> {
    let number = match &value.kind {
        ValueKind::String(text) => cpus(text),
        _ => number(value),
    };
    match number {
        Some(number) if number > 0.0 && number <= MOST_CPUS => Ok(number),
        Some(number) if number > 0.0 => wrong(value, format!("a number of at most {MOST_CPUS}")),
        _ => wrong(value, "a number above 0, or thousandths, as in \"500m\""),
    }
}

fn cpus(text: &str) -> Option<f64> {
    let (number, unit) = text.strip_suffix('m').map_or((text, 1.0), |number| (number, 1e-3));
    let is_plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    number.parse::<f64>().ok().filter(|_| is_plain).map(|number| number * unit)
}

pub(in crate::config) fn workers_per_resource(value: &Value) -> Parsed<f64> {
    match number(value) {
        Some(number) if number > 0.0 && number <= MOST_CPUS => Ok(number),
        _ => wrong(value, format!("a number above 0, at most {MOST_CPUS}")),
    }
}

pub(in crate::config) fn weight(value: &Value) -> Parsed<Weight> {
    match number(value).and_then(Weight::new) {
        Some(weight) => Ok(weight),
        None => wrong(value, format!("a number from {} to {}", Weight::MIN, Weight::MAX)),
    }
}

pub(in crate::config) fn nvidia_gpu(value: &Value) -> Parsed<NvidiaGpus> {
    let expected =
        || format!("a count from 0 to {MOST_GPUS}, a list of different indices, \"system\" for all, or -1 for none");
    match &value.kind {
        ValueKind::Array(items) => {
            indices(items).map_or_else(|| wrong(value, expected()), |found| Ok(NvidiaGpus::Indices(found)))
        }
        ValueKind::String(text) if text == "system" => Ok(NvidiaGpus::System),
        _ => match whole(value, -1, MOST_GPUS) {
            Ok(..=0) => Ok(NvidiaGpus::None),
            Ok(count) => Ok(NvidiaGpus::Count(usize::try_from(count).unwrap_or(0))),
            Err(_) => wrong(value, expected()),
        },
    }
}

pub(in crate::config) fn gpu(value: &Value) -> Parsed<Adapters> {
    let expected =
        || format!("a count from 0 to {MOST_GPUS}, a list of different indices, a part of a name, or -1 for none");
    match &value.kind {
        ValueKind::Array(items) => {
            indices(items).map_or_else(|| wrong(value, expected()), |found| Ok(Adapters::Indices(found)))
        }
        ValueKind::String(text) if !text.trim().is_empty() => Ok(Adapters::Named(text.trim().to_owned())),
        _ => match whole(value, -1, MOST_GPUS) {
            Ok(..=0) => Ok(Adapters::None),
            Ok(count) => Ok(Adapters::Count(usize::try_from(count).unwrap_or(0))),
            Err(_) => wrong(value, expected()),
        },
    }
}

/// At least one, each once.
fn indices(items: &[Value]) -> Option<Vec<usize>> {
    let found: Option<Vec<usize>> =
        items.iter().map(|item| usize::try_from(whole(item, 0, MOST_GPUS).ok()?).ok()).collect();
    found.filter(|found| !found.is_empty() && found.iter().enumerate().all(|(at, one)| !found[..at].contains(one)))
}

pub(in crate::config) fn device(value: &Value) -> Parsed<DeviceChoice> {
    match &value.kind {
        ValueKind::String(text) if text == "auto" => Ok(DeviceChoice::Auto),
        ValueKind::String(text) => match text.parse::<DeviceName>() {
            Ok(name) => Ok(DeviceChoice::Named(name)),
            Err(error) => Err(Problem::Value {
                expected: DEVICES.to_owned(),
                found: describe(value),
                nearest: error.nearest.or_else(|| nearest_of(text, ["auto"])).map(str::to_owned),
            }),
        },
        _ => wrong(value, DEVICES),
    }
}

pub(in crate::config) fn custom_resource(value: &Value) -> Parsed<Amount> {
    match &value.kind {
        ValueKind::String(text) => Ok(Amount::Text(text.clone())),
        _ => match number(value) {
            Some(number) if number >= 0.0 => Ok(Amount::Number(number)),
            _ => wrong(value, "a number of at least 0, or a text"),
        },
    }
}
