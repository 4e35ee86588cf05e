//! Fisher's iris measurements (R. A. Fisher, "The use of multiple measurements in taxonomic problems", 1936).
//!
//! Copies of this data set differ. `iris.csv` holds the rows of scikit-learn, which agree with the paper; the copy in
//! the UCI repository has typing errors in the 35th and the 38th flower.

use crate::model::{CLASSES, FEATURES};

/// The species by class number.
pub(crate) const SPECIES: [&str; CLASSES] = ["setosa", "versicolor", "virginica"];

/// One flower.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Flower {
    /// Centimetres, in the order of the CSV's columns.
    pub(crate) features: [f32; FEATURES],
    /// Index in [`SPECIES`].
    pub(crate) class: usize,
}

/// A line of the CSV that is not a flower.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("line {line}: expected {FEATURES} numbers and a species of {SPECIES:?}, found {text:?}")]
pub(crate) struct ParseError {
    line: usize,
    text: String,
}

/// Reads a CSV with one header line, four measurements and the species' name.
pub(crate) fn parse(csv: &str) -> Result<Vec<Flower>, ParseError> {
    let lines = csv.lines().enumerate().skip(1).filter(|(_, text)| !text.trim().is_empty());
    lines
        .map(|(index, text)| flower(text).ok_or_else(|| ParseError { line: index + 1, text: text.to_owned() }))
        .collect()
}

fn flower(line: &str) -> Option<Flower> {
    let cells: Vec<&str> = line.split(',').map(str::trim).collect();
    let (species, numbers) = cells.split_last()?;
    let numbers: Vec<f32> = numbers.iter().map(|cell| cell.parse().ok()).collect::<Option<_>>()?;
    let features = numbers.try_into().ok()?;
    let class = SPECIES.iter().position(|name| name == species)?;
    Some(Flower { features, class })
}

/// Flowers to learn from, and flowers that the network never sees.
#[derive(Debug)]
pub(crate) struct Split {
    pub(crate) train: Vec<Flower>,
    pub(crate) held_out: Vec<Flower>,
}

/// Holds out `held_out_per_class` flowers of each species, drawn with `seed`.
pub(crate) fn split(mut flowers: Vec<Flower>, held_out_per_class: usize, seed: u64) -> Split {
    fastrand::Rng::with_seed(seed).shuffle(&mut flowers);
    let mut taken = [0; CLASSES];
    let (held_out, train) = flowers.into_iter().partition(|flower| {
        taken[flower.class] += 1;
        taken[flower.class] <= held_out_per_class
    });
    Split { train, held_out }
}

/// The share, 0 to 1, of `predicted` classes that are right; 0 when there are none.
pub(crate) fn accuracy(predicted: &[usize], actual: &[usize]) -> f64 {
    debug_assert_eq!(predicted.len(), actual.len());
    let right = predicted.iter().zip(actual).filter(|(predicted, actual)| predicted == actual).count();
    right as f64 / predicted.len().max(1) as f64
}
