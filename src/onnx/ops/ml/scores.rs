//! From scores to probabilities, and to labels.
//!
//! What the specification leaves open is done as ONNX Runtime does it, and what that leaves undone as the specification
//! says.

use burn::backend::DispatchDevice;

use crate::onnx::error::OpError;
use crate::onnx::node::{Node, Outputs};
use crate::onnx::tensor::{Result, Tensor};
use crate::onnx::value::{Strings, Value};
use crate::value::DType;

/// What is done to a row of scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Post {
    Nothing,
    Softmax,
    Logistic,
    /// Softmax over those scores that are not 0; the others stay 0.
    SoftmaxZero,
    /// The inverse of the normal distribution.
    Probit,
}

impl Post {
    /// The attribute `post_transform`: a name, or in newer operators a number.
    pub(super) fn of(node: &Node) -> Result<Self> {
        let name = match node.try_int("post_transform") {
            Some(number) => {
                let names = ["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"];
                usize::try_from(number).ok().and_then(|at| names.get(at).copied()).unwrap_or("")
            }
            None => node.text("post_transform", "NONE"),
        };
        Ok(match name {
            "NONE" => Self::Nothing,
            "SOFTMAX" => Self::Softmax,
            "LOGISTIC" => Self::Logistic,
            "SOFTMAX_ZERO" => Self::SoftmaxZero,
            "PROBIT" => Self::Probit,
            other => return Err(OpError::new(format!("post_transform \"{other}\" is not supported"))),
        })
    }

    /// Changes a row in place.
    pub(super) fn apply(self, row: &mut [f64]) {
        match self {
            Self::Nothing => {}
            Self::Softmax => softmax(row, |_| true),
            Self::SoftmaxZero => softmax(row, |score| score.abs() > 1e-7),
            Self::Logistic => row.iter_mut().for_each(|score| *score = logistic(*score)),
            Self::Probit => row.iter_mut().for_each(|score| *score = probit(*score)),
        }
    }

    /// The row of two classes of which only the second has a score. The first one's is the rest to 1 where scores are
    /// shares, else the score's negative.
    pub(super) fn pair(self, score: f64, shares: bool) -> [f64; 2] {
        let first = if self.shares(shares) { 1.0 - score } else { -score };
        let mut row = [first, score];
        self.apply(&mut row);
        row
    }

    /// Above which score the second of two classes is the answer.
    pub(super) fn threshold(self, shares: bool) -> f64 {
        if self.shares(shares) { 0.5 } else { 0.0 }
    }

    fn shares(self, shares: bool) -> bool {
        match self {
            Self::Nothing => shares,
            Self::Probit => true,
            Self::Softmax | Self::Logistic | Self::SoftmaxZero => false,
        }
    }
}

/// `exp(x) / Σ exp(x)` over the scores that count.
fn softmax(row: &mut [f64], counts: fn(f64) -> bool) {
    let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for score in row.iter_mut() {
        let counted = counts(*score);
        *score = if counted { (*score - largest).exp() } else { *score * (-largest).exp() };
        sum += if counted { *score } else { 0.0 };
    }
    if sum > 0.0 {
        row.iter_mut().for_each(|score| *score /= sum);
    }
}

/// `1 / (1 + exp(-x))`.
pub(super) fn logistic(x: f64) -> f64 {
    let upper = 1.0 / (1.0 + (-x.abs()).exp());
    if x < 0.0 { 1.0 - upper } else { upper }
}

/// `√2 erf⁻¹(2 x - 1)`, by Winitzki's approximation, which the reference implementation uses too.
fn probit(x: f64) -> f64 {
    let y = 2.0 * x - 1.0;
    let log = ((1.0 - y) * (1.0 + y)).ln();
    let half = 2.0 / (std::f64::consts::PI * 0.147) + 0.5 * log;
    let root = (-half + (half * half - log / 0.147).sqrt()).sqrt();
    std::f64::consts::SQRT_2 * root.copysign(y)
}

/// The index of the first of the largest scores.
pub(super) fn largest(row: &[f64]) -> usize {
    let mut best = 0;
    for (at, score) in row.iter().enumerate() {
        if *score > row[best] {
            best = at;
        }
    }
    best
}

/// What classes are called.
#[derive(Clone, Debug)]
pub(super) enum Labels {
    Ints(Vec<i64>),
    Texts(Vec<String>),
}

impl Labels {
    /// The attribute `ints`, or where that is empty `classlabels_strings`.
    pub(super) fn of(node: &Node, ints: &str) -> Result<Self> {
        match (node.ints(ints), node.texts("classlabels_strings")) {
            (Some(ints), _) if !ints.is_empty() => Ok(Self::Ints(ints.to_vec())),
            (_, Some(texts)) if !texts.is_empty() => Ok(Self::Texts(texts.to_vec())),
            _ => Err(OpError::new("there are no class labels")),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Ints(ints) => ints.len(),
            Self::Texts(texts) => texts.len(),
        }
    }

    /// The labels of no and yes: 0 and 1 unless there are two.
    pub(super) fn pair(self) -> Self {
        match self {
            Self::Ints(ints) if ints.len() != 2 => Self::Ints(vec![0, 1]),
            Self::Texts(texts) if texts.len() != 2 => Self::Texts(vec!["0".to_owned(), "1".to_owned()]),
            two => two,
        }
    }

    /// A label for each row, by the class that was chosen.
    fn of_rows(&self, chosen: &[usize], device: &DispatchDevice) -> Result<Value> {
        let missing = || OpError::new("there are more scores than class labels");
        let dims = [chosen.len()];
        match self {
            Self::Ints(ints) => {
                let labels: Option<Vec<i64>> = chosen.iter().map(|&class| ints.get(class).copied()).collect();
                Ok(Tensor::new(labels.ok_or_else(missing)?, &dims, device)?.into())
            }
            Self::Texts(texts) => {
                let labels: Option<Vec<String>> = chosen.iter().map(|&class| texts.get(class).cloned()).collect();
                Ok(Strings::new(labels.ok_or_else(missing)?, dims.to_vec()).into())
            }
        }
    }
}

/// The two outputs of a classifier: labels, and a row of scores for each.
pub(super) fn classified(
    labels: &Labels,
    chosen: &[usize],
    scores: &[f64],
    device: &DispatchDevice,
) -> Result<Outputs> {
    let width = scores.len().checked_div(chosen.len()).unwrap_or(0);
    let scores = Tensor::from_f64s(scores, &[chosen.len(), width], DType::F32, device)?;
    Ok(smallvec::smallvec![labels.of_rows(chosen, device)?, scores.into()])
}
