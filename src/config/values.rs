//! From a loose value to a valid one, or to what was expected instead.

mod resources;

use std::num::NonZeroUsize;
use std::sync::LazyLock;
use std::time::Duration;

use config::{Value, ValueKind};
use ekiden_actors::Batching;

pub(super) use resources::*;

use super::error::{Problem, nearest};
use super::isolation::Isolation;
use super::name::{BindAddress, RUNNER_NAME_RULE, RunnerName};
use super::server::LogFormat;
use crate::suggest::nearest as nearest_of;

/// Clocks can add this much to any instant without overflow: 365 days.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// More rows than any queue holds.
const MOST_ROWS: i128 = u32::MAX as i128;
/// What a number of bytes may be written with.
const MEMORY_UNITS: [(&str, u64); 7] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("KB", 1000),
    ("MB", 1000_u64.pow(2)),
    ("GB", 1000_u64.pow(3)),
];

type Parsed<T> = Result<T, Problem>;

fn wrong<T>(value: &Value, expected: impl Into<String>) -> Parsed<T> {
    Err(Problem::Value { expected: expected.into(), found: describe(value), nearest: None })
}

/// How a message shows a value: as it was written, tables and lists by their type.
pub(super) fn describe(value: &Value) -> String {
    const SHOWN: usize = 60;
    match &value.kind {
        ValueKind::String(text) if text.chars().count() > SHOWN => {
            format!("{:?}…", text.chars().take(SHOWN).collect::<String>())
        }
        ValueKind::String(text) => format!("{text:?}"),
        ValueKind::Float(float) => format!("{float:?}").to_lowercase(),
        ValueKind::Table(_) => "a table".to_owned(),
        ValueKind::Array(_) => "a list".to_owned(),
        ValueKind::Nil => "nothing".to_owned(),
        other => other.to_string(),
    }
}

fn whole(value: &Value, least: i128, most: i128) -> Parsed<i128> {
    let number = match value.kind {
        ValueKind::I64(number) => number.into(),
        ValueKind::I128(number) => number,
        ValueKind::U64(number) => number.into(),
        ValueKind::U128(number) => i128::try_from(number).unwrap_or(i128::MAX),
        _ => return wrong(value, format!("a whole number of at least {least}")),
    };
    match number {
        _ if number < least => wrong(value, format!("a whole number of at least {least}")),
        _ if number > most => wrong(value, format!("a whole number of at most {most}")),
        _ => Ok(number),
    }
}

fn count(value: &Value, most: i128) -> Parsed<NonZeroUsize> {
    let number = whole(value, 1, most)?;
    usize::try_from(number)
        .ok()
        .and_then(NonZeroUsize::new)
        .map_or_else(|| wrong(value, format!("a whole number of at most {}", usize::MAX)), Ok)
}

/// A finite number; whole ones count.
fn number(value: &Value) -> Option<f64> {
    match value.kind {
        ValueKind::Float(number) => Some(number).filter(|number| number.is_finite()),
        _ => whole(value, i128::MIN, i128::MAX).ok().map(|number| number as f64),
    }
}

pub(super) fn rows(value: &Value) -> Parsed<NonZeroUsize> {
    count(value, MOST_ROWS)
}

pub(super) fn batch_buckets(value: &Value) -> Parsed<Option<Vec<NonZeroUsize>>> {
    let expected = "a list of rows in rising order, such as [1, 8, 32], or [] for batches as they are";
    let ValueKind::Array(items) = &value.kind else { return wrong(value, expected) };
    let sizes: Option<Vec<NonZeroUsize>> = items.iter().map(|item| rows(item).ok()).collect();
    match sizes.filter(|sizes| sizes.is_sorted_by(|one, next| one < next)) {
        Some(sizes) => Ok(Some(sizes)),
        None => wrong(value, expected),
    }
}

pub(super) fn workers(value: &Value) -> Parsed<NonZeroUsize> {
    count(value, 1024)
}

pub(super) fn bytes(value: &Value) -> Parsed<usize> {
    count(value, i64::MAX.into()).map(NonZeroUsize::get)
}

pub(super) fn restarts(value: &Value) -> Parsed<u32> {
    whole(value, 0, u32::MAX.into()).map(|number| number as u32)
}

/// A unit of time that a key is named for.
struct Unit {
    name: &'static str,
    per_second: f64,
}

const MILLISECONDS: Unit = Unit { name: "milliseconds", per_second: 1e3 };
const SECONDS: Unit = Unit { name: "seconds", per_second: 1.0 };

/// From 0 to 365 days.
fn duration(value: &Value, unit: &Unit) -> Parsed<Duration> {
    let most = LONGEST.as_secs_f64() * unit.per_second;
    match number(value) {
        // A time above 0 stays above 0: "almost none" must not turn into the special meaning of 0.
        Some(number) if number > 0.0 && number <= most => {
            let time = Duration::try_from_secs_f64(number / unit.per_second).unwrap_or(LONGEST);
            Ok(time.clamp(Duration::from_nanos(1), LONGEST))
        }
        Some(0.0) => Ok(Duration::ZERO),
        _ => wrong(value, format!("a number of {} from 0 to {most}", unit.name)),
    }
}

pub(super) fn milliseconds(value: &Value) -> Parsed<Duration> {
    duration(value, &MILLISECONDS)
}

pub(super) fn seconds(value: &Value) -> Parsed<Duration> {
    duration(value, &SECONDS)
}

/// A window of no length would count nothing.
pub(super) fn window(value: &Value) -> Parsed<Duration> {
    match seconds(value) {
        Ok(window) if !window.is_zero() => Ok(window),
        _ => wrong(value, format!("a number of seconds above 0 and up to {}", LONGEST.as_secs())),
    }
}

/// 0 is none.
pub(super) fn timeout(value: &Value) -> Parsed<Option<Duration>> {
    Ok(Some(milliseconds(value)?).filter(|timeout| !timeout.is_zero()))
}

pub(super) fn flag(value: &Value) -> Parsed<bool> {
    match value.kind {
        ValueKind::Boolean(flag) => Ok(flag),
        _ => wrong(value, "true or false"),
    }
}

fn word<T: Copy>(value: &Value, all: &[T], name: fn(T) -> &'static str) -> Parsed<T> {
    let names = || all.iter().map(|item| name(*item));
    let text = match &value.kind {
        ValueKind::String(text) => text.as_str(),
        _ => "",
    };
    all.iter().copied().find(|item| name(*item) == text).ok_or_else(|| Problem::Value {
        expected: names().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(" or "),
        found: describe(value),
        nearest: nearest(text, names()).map(str::to_owned),
    })
}

pub(super) fn batching(value: &Value) -> Parsed<Batching> {
    word(value, &[Batching::Adaptive, Batching::Window, Batching::Off], Batching::name)
}

pub(super) fn isolation(value: &Value) -> Parsed<Isolation> {
    word(value, &Isolation::ALL, Isolation::name)
}

pub(super) fn nice(value: &Value) -> Parsed<i32> {
    whole(value, -20, 19).map(|nice| nice as i32)
}

/// Bytes, with a unit or without: `"2GiB"`, `"512 MB"`, `1073741824`.
pub(super) fn memory(value: &Value) -> Parsed<u64> {
    let text = match &value.kind {
        ValueKind::String(text) => text.trim(),
        _ => return count(value, i64::MAX.into()).map(|bytes| bytes.get() as u64),
    };
    match bytes_of(text) {
        Some(bytes) => Ok(bytes),
        None => wrong(value, BYTES_RULE.as_str()),
    }
}

/// What a number of bytes is, for messages.
pub(crate) static BYTES_RULE: LazyLock<String> = LazyLock::new(|| {
    let units: Vec<&str> = MEMORY_UNITS.iter().map(|(name, _)| *name).collect();
    format!("bytes above 0: a whole number, or a number with one of {}", units.join(", "))
});

/// A number of bytes above 0, with its unit: `2GiB`.
pub(crate) fn bytes_of(text: &str) -> Option<u64> {
    let unit = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    let scale = MEMORY_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale)?;
    // Casts of what is too large saturate.
    let bytes = (number.trim().parse::<f64>().ok()? * scale as f64) as u64;
    Some(bytes).filter(|&bytes| bytes > 0)
}

pub(super) fn log_format(value: &Value) -> Parsed<LogFormat> {
    word(value, &LogFormat::ALL, LogFormat::name)
}

/// Text with something in it.
pub(super) fn text(value: &Value) -> Parsed<String> {
    match &value.kind {
        ValueKind::String(text) if !text.trim().is_empty() => Ok(text.clone()),
        _ => wrong(value, "text that is not empty"),
    }
}

pub(super) fn runner_name(value: &Value) -> Parsed<RunnerName> {
    match &value.kind {
        ValueKind::String(name) => name.parse().or_else(|_| wrong(value, RUNNER_NAME_RULE)),
        _ => wrong(value, RUNNER_NAME_RULE),
    }
}

pub(super) fn bind(value: &Value) -> Parsed<BindAddress> {
    const EXPECTED: &str = "an address and a port, such as \"127.0.0.1:3000\" or \"[::1]:3000\"";
    match &value.kind {
        ValueKind::String(text) => text.parse().or_else(|_| wrong(value, EXPECTED)),
        _ => wrong(value, EXPECTED),
    }
}

/// "" is nowhere.
pub(super) fn optional_bind(value: &Value) -> Parsed<Option<BindAddress>> {
    match &value.kind {
        ValueKind::String(text) if text.is_empty() => Ok(None),
        _ => bind(value).map(Some),
    }
}

pub(super) fn models(value: &Value) -> Parsed<Vec<String>> {
    const EXPECTED: &str = "a list of model tags, such as [\"iris:latest\"]";
    let ValueKind::Array(items) = &value.kind else { return wrong(value, EXPECTED) };
    let tag = |item: &Value| match &item.kind {
        ValueKind::String(tag) if !tag.is_empty() && !tag.contains(char::is_whitespace) => Ok(tag.clone()),
        _ => Err(Problem::Value {
            expected: EXPECTED.to_owned(),
            found: format!("a list with {}", describe(item)),
            nearest: None,
        }),
    };
    items.iter().map(tag).collect()
}

/// Anything that JSON can say.
pub(super) fn json(value: &Value) -> Parsed<serde_json::Value> {
    Ok(match &value.kind {
        ValueKind::Nil => serde_json::Value::Null,
        ValueKind::Boolean(flag) => (*flag).into(),
        ValueKind::String(text) => text.clone().into(),
        ValueKind::Float(float) => match serde_json::Number::from_f64(*float) {
            Some(number) => number.into(),
            None => return wrong(value, "a finite number"),
        },
        ValueKind::Array(items) => items.iter().map(json).collect::<Parsed<_>>()?,
        ValueKind::Table(table) => {
            let entries = table.iter().map(|(key, value)| Ok((key.clone(), json(value)?)));
            serde_json::Value::Object(entries.collect::<Parsed<_>>()?)
        }
        _ => match whole(value, i64::MIN.into(), u64::MAX.into())? {
            number if number < 0 => (number as i64).into(),
            number => (number as u64).into(),
        },
    })
}

/// The runnable's parameters: a table.
pub(super) fn params(value: &Value) -> Parsed<serde_json::Value> {
    match value.kind {
        ValueKind::Table(_) => json(value),
        _ => wrong(value, "a table"),
    }
}
