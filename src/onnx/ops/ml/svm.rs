//! Support vector machines.

use rayon::prelude::*;

use super::super::Family;
use super::scores::{Labels, Post, classified, largest, logistic};
use super::{Rows, index, integers, numbers};
use crate::onnx::error::OpError;
use crate::onnx::node::{Call, Node, Outputs, one};
use crate::onnx::tensor::{Result, Tensor, count};
use crate::value::DType;

pub(super) const OPS: Family = &[("SVMClassifier", classifier), ("SVMRegressor", regressor)];

/// Products of features from which on several threads are worth their start.
const PARALLEL: usize = 1 << 16;

/// How alike two vectors are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Likeness {
    /// `a · b`
    Linear,
    /// `(γ a · b + c) ^ degree`
    Poly,
    /// `exp(-γ |a - b|²)`
    Rbf,
    /// `tanh(γ a · b + c)`
    Sigmoid,
}

/// Vectors that rows are compared with; one after the other.
#[derive(Debug)]
struct Vectors {
    likeness: Likeness,
    /// `γ`, `c` and the degree.
    params: [f64; 3],
    values: Vec<f64>,
    count: usize,
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl Vectors {
    /// The support vectors of a node; with none, its coefficients are `otherwise` linear functions of the features.
    fn of(node: &Node, supports: usize, otherwise: usize) -> Result<Self> {
        let likeness = match node.text("kernel_type", "LINEAR") {
            "LINEAR" => Likeness::Linear,
            "POLY" => Likeness::Poly,
            "RBF" => Likeness::Rbf,
            "SIGMOID" => Likeness::Sigmoid,
            other => return Err(OpError::new(format!("the kernel_type \"{other}\" is not supported"))),
        };
        let given = numbers(node, "kernel_params")?;
        let params = std::array::from_fn(|at| given.get(at).copied().unwrap_or(0.0));
        let (likeness, values, count) = match supports {
            0 => (Likeness::Linear, numbers(node, "coefficients")?, otherwise),
            _ => (likeness, numbers(node, "support_vectors")?, supports),
        };
        if count == 0 || values.is_empty() || !values.len().is_multiple_of(count) {
            return Err(OpError::new(format!("{} numbers do not make {count} vectors", values.len())));
        }
        Ok(Self { likeness, params, values, count })
    }

    fn width(&self) -> usize {
        self.values.len() / self.count
    }

    /// The likeness of a row to each vector.
    fn compare(&self, row: &[f64]) -> Vec<f64> {
        let [gamma, offset, degree] = self.params;
        let vectors = self.values.chunks_exact(self.width());
        let like = |vector: &[f64]| match self.likeness {
            Likeness::Linear => dot(row, vector),
            Likeness::Poly => (gamma * dot(row, vector) + offset).powf(degree),
            Likeness::Sigmoid => (gamma * dot(row, vector) + offset).tanh(),
            Likeness::Rbf => {
                let distance: f64 = row.iter().zip(vector).map(|(a, b)| (a - b) * (a - b)).sum();
                (-gamma * distance).exp()
            }
        };
        vectors.map(like).collect()
    }

    /// What `function` makes of each row and its likenesses.
    fn each<T: Send>(&self, rows: &Rows, function: impl Fn(&[f64]) -> T + Sync) -> Result<Vec<T>> {
        if rows.width != self.width() {
            let (wanted, found) = (self.width(), rows.width);
            return Err(OpError::caller(format!("rows of {wanted} features were expected, found {found}")));
        }
        let one = |row: &[f64]| function(&self.compare(row));
        Ok(if rows.count.saturating_mul(self.values.len()) >= PARALLEL {
            rows.values.par_chunks_exact(rows.width).map(one).collect()
        } else {
            rows.iter().map(one).collect()
        })
    }
}

/// At least `wanted` numbers of an attribute.
fn enough(node: &Node, name: &str, wanted: usize) -> Result<Vec<f64>> {
    let values = numbers(node, name)?;
    if values.len() < wanted {
        return Err(OpError::new(format!("{name} must have {wanted} numbers, found {}", values.len())));
    }
    Ok(values)
}

struct Regressor {
    vectors: Vectors,
    /// Of each vector; none where the vectors are functions themselves.
    coefficients: Option<Vec<f64>>,
    rho: f64,
    post: Post,
    /// Whether only the side is asked for.
    one_class: bool,
}

impl Regressor {
    fn of(node: &Node) -> Result<Self> {
        let supports = index(node.int("n_supports", 0), "number of support vectors")?;
        Ok(Self {
            vectors: Vectors::of(node, supports, 1)?,
            coefficients: (supports > 0).then(|| enough(node, "coefficients", supports)).transpose()?,
            rho: enough(node, "rho", 1)?[0],
            post: Post::of(node)?,
            one_class: node.flag("one_class", false),
        })
    }

    fn score(&self, like: &[f64]) -> f64 {
        let sum = self.coefficients.as_ref().map_or_else(|| like.iter().sum(), |weights| dot(weights, like));
        let mut score = [sum + self.rho];
        self.post.apply(&mut score);
        match self.one_class {
            true if score[0] > 0.0 => 1.0,
            true => -1.0,
            false => score[0],
        }
    }
}

fn regressor(call: &mut Call<'_>) -> Result<Outputs> {
    let rows = Rows::of(call)?;
    let machine = call.node.compiled(Regressor::of)?;
    let scores = machine.vectors.each(&rows, |like| machine.score(like))?;
    one(Tensor::from_f64s(&scores, &[rows.count, 1], DType::F32, call.device)?)
}

struct Classifier {
    vectors: Vectors,
    pairs: Option<Pairs>,
    rho: Vec<f64>,
    post: Post,
    labels: Labels,
}

/// One machine for each two classes.
struct Pairs {
    classes: usize,
    /// The vectors of each class.
    ranges: Vec<std::ops::Range<usize>>,
    /// `classes - 1` rows, one number a vector: that of a vector of class `i` against class `j` is in row `j`, or `j - 1`
    /// where `j` comes after `i`.
    coefficients: Vec<f64>,
    /// For each pair, where scores become probabilities.
    sigmoids: Option<Vec<[f64; 2]>>,
}

impl Pairs {
    fn of(node: &Node, classes: usize) -> Result<Self> {
        let sizes = integers(node, "vectors_per_class");
        let mut ranges = Vec::with_capacity(classes);
        let mut vectors: usize = 0;
        for &size in sizes {
            let end = vectors.saturating_add(index(size, "number of vectors")?);
            ranges.push(vectors..end);
            vectors = end;
        }
        if ranges.len() != classes {
            return Err(OpError::new(format!("{classes} classes have vectors of {} classes", ranges.len())));
        }
        let pairs = classes.saturating_mul(classes.saturating_sub(1)) / 2;
        let coefficients = enough(node, "coefficients", classes.saturating_sub(1).saturating_mul(vectors))?;
        let sigmoids = if node.floats("prob_a").is_some_and(|slopes| !slopes.is_empty()) {
            let (slopes, offsets) = (enough(node, "prob_a", pairs)?, enough(node, "prob_b", pairs)?);
            Some(slopes.into_iter().zip(offsets).map(|(slope, offset)| [slope, offset]).collect())
        } else {
            None
        };
        Ok(Self { classes, ranges, coefficients, sigmoids })
    }

    fn vectors(&self) -> usize {
        self.ranges.last().map_or(0, |range| range.end)
    }

    /// The score of each pair: above 0, the first of the two classes is the answer.
    fn scores(&self, like: &[f64], rho: &[f64]) -> Vec<f64> {
        let part = |row: usize, range: &std::ops::Range<usize>| {
            dot(&self.coefficients[row * like.len()..][range.clone()], &like[range.clone()])
        };
        let pairs = (0..self.classes).flat_map(|i| (i + 1..self.classes).map(move |j| (i, j)));
        let sums = pairs.map(|(i, j)| part(j - 1, &self.ranges[i]) + part(i, &self.ranges[j]));
        sums.zip(rho).map(|(sum, rho)| sum + rho).collect()
    }

    /// The class that wins most pairs.
    fn winner(&self, scores: &[f64]) -> usize {
        let mut votes = vec![0.0; self.classes];
        let pairs = (0..self.classes).flat_map(|i| (i + 1..self.classes).map(move |j| (i, j)));
        pairs.zip(scores).for_each(|((i, j), &score)| votes[if score > 0.0 { i } else { j }] += 1.0);
        largest(&votes)
    }

    /// Probabilities of the classes from those of the pairs.
    fn probabilities(&self, scores: &[f64], sigmoids: &[[f64; 2]]) -> Vec<f64> {
        let n = self.classes;
        let mut wins = vec![0.0; n * n];
        let pairs = (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j)));
        for ((i, j), (score, [slope, offset])) in pairs.zip(scores.iter().zip(sigmoids)) {
            let win = (1.0 - logistic(score * slope + offset)).clamp(1e-7, 1.0 - 1e-7);
            wins[i * n + j] = win;
            wins[j * n + i] = 1.0 - win;
        }
        coupled(&wins, n)
    }
}

/// Probabilities of `n` classes that fit best how probably each wins over each other: the second method of Wu, Lin and
/// Weng, "Probability Estimates for Multi-class Classification by Pairwise Coupling", as libsvm has it.
fn coupled(wins: &[f64], n: usize) -> Vec<f64> {
    let mut q = vec![0.0; n * n];
    for t in 0..n {
        for j in (0..n).filter(|&j| j != t) {
            q[t * n + t] += wins[j * n + t] * wins[j * n + t];
            q[t * n + j] = -wins[j * n + t] * wins[t * n + j];
        }
    }
    let mut p = vec![1.0 / n as f64; n];
    for _ in 0..n.max(100) {
        let mut qp: Vec<f64> = q.chunks_exact(n).map(|row| dot(row, &p)).collect();
        let mut pqp = dot(&p, &qp);
        if qp.iter().all(|value| (value - pqp).abs() < 0.005 / n as f64) {
            break;
        }
        for t in 0..n {
            let step = (pqp - qp[t]) / q[t * n + t];
            p[t] += step;
            pqp = (pqp + step * (step * q[t * n + t] + 2.0 * qp[t])) / ((1.0 + step) * (1.0 + step));
            for j in 0..n {
                qp[j] = (qp[j] + step * q[t * n + j]) / (1.0 + step);
                p[j] /= 1.0 + step;
            }
        }
    }
    p
}

impl Classifier {
    fn of(node: &Node) -> Result<Self> {
        let labels = Labels::of(node, "classlabels_ints")?;
        let classes = labels.len();
        let pairs = match integers(node, "vectors_per_class") {
            [] => None,
            _ => Some(Pairs::of(node, classes)?),
        };
        let pairs = pairs.filter(|pairs| pairs.vectors() > 0);
        let vectors = Vectors::of(node, pairs.as_ref().map_or(0, Pairs::vectors), classes)?;
        let rho = enough(node, "rho", if pairs.is_some() { classes * (classes - 1) / 2 } else { 1 })?;
        let labels = if classes == 1 { labels.pair() } else { labels };
        Ok(Self { vectors, pairs, rho, post: Post::of(node)?, labels })
    }

    /// The class that is chosen, and the scores.
    fn classify(&self, like: &[f64]) -> (usize, Vec<f64>) {
        let Some(pairs) = &self.pairs else {
            let mut scores: Vec<f64> = like.iter().map(|like| like + self.rho[0]).collect();
            let chosen = if let [score] = scores[..] { usize::from(score > 0.0) } else { largest(&scores) };
            self.post.apply(&mut scores);
            return (chosen, scores);
        };
        let mut scores = pairs.scores(like, &self.rho);
        let chosen = pairs.winner(&scores);
        match (&pairs.sigmoids, &scores[..]) {
            (Some(sigmoids), _) => scores = pairs.probabilities(&scores, sigmoids),
            (None, [score]) => return (chosen, self.post.pair(*score, false).to_vec()),
            (None, _) => {}
        }
        self.post.apply(&mut scores);
        (chosen, scores)
    }
}

fn classifier(call: &mut Call<'_>) -> Result<Outputs> {
    let rows = Rows::of(call)?;
    let machine = call.node.compiled(Classifier::of)?;
    let width = machine.rho.len().max(machine.labels.len());
    count(&[rows.count, width])?;
    let (chosen, scores): (Vec<usize>, Vec<Vec<f64>>) =
        machine.vectors.each(&rows, |like| machine.classify(like))?.into_iter().unzip();
    classified(&machine.labels, &chosen, &scores.concat(), call.device)
}
