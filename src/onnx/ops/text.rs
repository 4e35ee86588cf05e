//! Strings.

use regex::Regex;

use super::Family;
use crate::onnx::error::OpError;
use crate::onnx::graph::host;
use crate::onnx::node::{Call, Outputs, one};
use crate::onnx::tensor::{Result, Tensor, broadcast_dims, count};
use crate::onnx::value::Strings;

pub(super) const OPS: Family = &[
    ("StringConcat", concat),
    ("StringSplit", split),
    ("StringNormalizer", normalize),
    ("RegexFullMatch", full_match),
];

/// For each element of a tensor of shape `to`, the one of a tensor of shape `from` that is broadcast to it.
fn spread(from: &[usize], to: &[usize]) -> Vec<usize> {
    (0..to.iter().product())
        .map(|at: usize| {
            let (mut rest, mut place, mut span) = (at, 0, 1);
            for (axis, &size) in to.iter().enumerate().rev() {
                if let Some(&own) = (axis + from.len()).checked_sub(to.len()).and_then(|axis| from.get(axis)) {
                    place += rest % own * span;
                    span *= own;
                }
                rest /= size;
            }
            place
        })
        .collect()
}

fn concat(call: &mut Call<'_>) -> Result<Outputs> {
    let (a, b) = (call.strings(0)?, call.strings(1)?);
    let dims = broadcast_dims(&a.dims, &b.dims)?;
    let pairs: Vec<(usize, usize)> = spread(&a.dims, &dims).into_iter().zip(spread(&b.dims, &dims)).collect();
    Strings::count(&dims, pairs.iter().map(|(x, y)| a.items[*x].len() + b.items[*y].len()))?;
    let items = pairs.into_iter().map(|(x, y)| format!("{}{}", a.items[x], b.items[y])).collect();
    one(Strings::new(items, dims.to_vec()))
}

/// The parts of a string between delimiters, or without one between spaces, of which any number are one.
fn parts<'a>(text: &'a str, delimiter: &str, most: usize) -> Vec<&'a str> {
    if !delimiter.is_empty() {
        return text.splitn(most, delimiter).collect();
    }
    let (mut parts, mut rest) = (Vec::new(), text.trim_start());
    while !rest.is_empty() {
        let end = rest.find(char::is_whitespace).filter(|_| parts.len() + 1 < most);
        let (part, behind) = rest.split_at(end.unwrap_or(rest.len()));
        parts.push(part);
        rest = behind.trim_start();
    }
    parts
}

/// The parts of each string along a new last dimension, filled up with empty ones; and how many there are.
fn split(call: &mut Call<'_>) -> Result<Outputs> {
    let x = call.strings(0)?;
    let delimiter = call.node.text("delimiter", "");
    let most = call.node.try_int("maxsplit").and_then(|most| usize::try_from(most).ok());
    let most = most.map_or(usize::MAX, |most| most.saturating_add(1));
    let all: Vec<Vec<&str>> = x.items.iter().map(|text| parts(text, delimiter, most)).collect();
    let widest = all.iter().map(Vec::len).max().unwrap_or(0);
    let counts = all.iter().map(|parts| parts.len() as i64).collect();
    let mut dims = x.dims.clone();
    dims.push(widest);
    Strings::count(&dims, x.items.iter().map(String::len))?;
    let mut items = Vec::with_capacity(count(&dims)?);
    for parts in &all {
        items.extend(parts.iter().map(|part| (*part).to_owned()));
        items.resize(items.len() + widest - parts.len(), String::new());
    }
    let counts = Tensor::new(counts, &x.dims, &host())?;
    Ok(smallvec::smallvec![Strings::new(items, dims).into(), counts.into()])
}

/// Without stop words, in one case. What would be empty is one empty string.
fn normalize(call: &mut Call<'_>) -> Result<Outputs> {
    let node = call.node;
    let x = call.strings(0)?;
    if !matches!(x.dims.as_slice(), [_] | [1, _]) {
        return Err(OpError::caller(format!("strings of shape [n] or [1, n] were expected, found {:?}", x.dims)));
    }
    let exact = node.flag("is_case_sensitive", false);
    let comparable = |text: &str| if exact { text.to_owned() } else { text.to_lowercase() };
    let stops: Vec<String> = node.texts("stopwords").unwrap_or_default().iter().map(|word| comparable(word)).collect();
    let change: fn(&str) -> String = match node.text("case_change_action", "NONE") {
        "LOWER" => str::to_lowercase,
        "UPPER" => str::to_uppercase,
        "NONE" => str::to_owned,
        other => return Err(OpError::new(format!("there is no case_change_action \"{other}\""))),
    };
    let kept = x.items.iter().filter(|text| !stops.contains(&comparable(text)));
    let mut items: Vec<String> = kept.map(|text| change(text)).collect();
    if items.is_empty() {
        items.push(String::new());
    }
    let mut dims = x.dims;
    let last = dims.len() - 1;
    dims[last] = items.len();
    one(Strings::new(items, dims))
}

/// Whether the whole of each string is what the pattern says. Its classes, as `\d`, are Unicode's.
fn full_match(call: &mut Call<'_>) -> Result<Outputs> {
    let x = call.strings(0)?;
    let pattern = call.node.try_text("pattern").ok_or_else(|| OpError::new("there is no pattern"))?;
    let regex = Regex::new(&format!(r"\A(?:{pattern})\z"));
    let regex = regex.map_err(|error| OpError::new(format!("pattern \"{pattern}\" is not supported: {error}")))?;
    one(Tensor::bools(x.items.iter().map(|text| regex.is_match(text)).collect(), &x.dims, &host())?)
}
