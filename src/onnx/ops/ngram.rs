//! Counts of words and of their neighbours.

use std::collections::HashMap;
use std::hash::Hash;

use super::Family;
use crate::onnx::error::OpError;
use crate::onnx::node::{Call, Node, Outputs, one, sizes};
use crate::onnx::tensor::{Dims, Result, Tensor, count, work};
use crate::onnx::value::Value;
use crate::value::DType;

pub(super) const OPS: Family = &[("TfIdfVectorizer", vectorize)];

/// Runs of words, each with its place among the node's.
type Grams<'a, T> = HashMap<Vec<&'a T>, usize>;

/// How often each run of words of the node occurs in each row, as the node weighs it.
fn vectorize(call: &mut Call<'_>) -> Result<Outputs> {
    let node = call.node;
    let places = sizes(node.ints("ngram_indexes").ok_or_else(|| OpError::new("there are no ngram_indexes"))?)?;
    let width = places.iter().max().map_or(0, |most| most.saturating_add(1));
    let value = call.value(0)?;
    let dims = match &value {
        Value::Strings(words) => Dims::from_slice(&words.dims),
        Value::Tensor(words) => words.dims(),
        other => return Err(OpError::new(format!("a tensor was expected, found {}", other.name()))),
    };
    let (rows, length) = match dims.as_slice() {
        [] => (1, 1),
        [length] => (1, *length),
        [rows, length] => (*rows, *length),
        _ => return Err(OpError::caller(format!("rows of words were expected, found shape {dims:?}"))),
    };
    let mut shape: Dims = smallvec::smallvec![width];
    if dims.len() == 2 {
        shape.insert(0, rows);
    }
    let mut counts = vec![0.0; count(&shape)?];
    match value {
        Value::Strings(words) => {
            let pool = node.texts("pool_strings").ok_or_else(|| OpError::new("there are no pool_strings"))?;
            tally(node, pool, &words.items, [length, width], &places, &mut counts)?;
        }
        value => {
            let pool = node.ints("pool_int64s").ok_or_else(|| OpError::new("there are no pool_int64s"))?;
            tally(node, pool, &value.tensor()?.ints()?, [length, width], &places, &mut counts)?;
        }
    }
    weigh(node, &mut counts, &places, width)?;
    one(Tensor::from_f64s(&counts, &shape, DType::F32, call.device)?)
}

fn number(node: &Node, name: &str) -> Result<usize> {
    let given = node.int(name, 0);
    usize::try_from(given).map_err(|_| OpError::new(format!("{name} is {given}")))
}

/// The runs of a pool that lists those of one word first, then those of two, and so on.
fn grams<'a, T: Eq + Hash>(node: &Node, pool: &'a [T], places: &[usize]) -> Result<Grams<'a, T>> {
    let starts = sizes(node.ints("ngram_counts").ok_or_else(|| OpError::new("there are no ngram_counts"))?)?;
    let mut grams = Grams::new();
    let mut next = 0;
    for (at, &start) in starts.iter().enumerate() {
        let end = starts.get(at + 1).copied().unwrap_or(pool.len());
        let part = pool.get(start..end).ok_or_else(|| OpError::new(format!("ngram_counts {starts:?} are wrong")))?;
        for gram in part.chunks_exact(at + 1) {
            if next >= places.len() {
                return Err(OpError::new(format!("there are only {} ngram_indexes", places.len())));
            }
            grams.insert(gram.iter().collect(), next);
            next += 1;
        }
    }
    Ok(grams)
}

/// Counts the runs of a pool in rows of `length` words. Between the words of a run others may be skipped, always as many.
fn tally<T: Eq + Hash>(
    node: &Node,
    pool: &[T],
    words: &[T],
    [length, width]: [usize; 2],
    places: &[usize],
    counts: &mut [f64],
) -> Result<()> {
    let grams = grams(node, pool, places)?;
    let (least, most) = (number(node, "min_gram_length")?.max(1), number(node, "max_gram_length")?);
    let skips = number(node, "max_skip_count")?.min(length);
    work(&[words.len(), skips + 1, most.min(length)])?;
    for (row, counts) in words.chunks_exact(length.max(1)).zip(counts.chunks_exact_mut(width.max(1))) {
        for skip in 0..=skips {
            for start in 0..row.len() {
                let mut gram = Vec::new();
                for word in row[start..].iter().step_by(skip + 1).take(most) {
                    gram.push(word);
                    // A single word is the same whatever is skipped.
                    let counted = gram.len() >= least && (skip == 0 || gram.len() > 1);
                    if let Some(&found) = grams.get(&gram).filter(|_| counted) {
                        counts[places[found]] += 1.0;
                    }
                }
            }
        }
    }
    Ok(())
}

/// What is counted, whether it is there, or both, by weight.
fn weigh(node: &Node, counts: &mut [f64], places: &[usize], width: usize) -> Result<()> {
    let mode = node.text("mode", "");
    if !matches!(mode, "TF" | "IDF" | "TFIDF") {
        return Err(OpError::new(format!("mode \"{mode}\" is not supported")));
    }
    if mode == "IDF" {
        counts.iter_mut().for_each(|count| *count = count.min(1.0));
    }
    let Some(weights) = node.floats("weights").filter(|_| mode != "TF") else { return Ok(()) };
    if weights.len() != places.len() {
        return Err(OpError::new(format!("{} weights are not one for each of {} runs", weights.len(), places.len())));
    }
    let mut own = vec![0.0; width];
    places.iter().zip(weights).for_each(|(&place, &weight)| own[place] = f64::from(weight));
    counts.iter_mut().zip(own.iter().cycle()).for_each(|(count, weight)| *count *= weight);
    Ok(())
}
