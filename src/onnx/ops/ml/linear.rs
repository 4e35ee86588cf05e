//! Linear models: `x Wᵀ + b`.

use super::super::Family;
use super::scores::{Labels, Post, classified, largest};
use super::{matrix, numbers};
use crate::onnx::error::OpError;
use crate::onnx::node::{Call, Node, Outputs, one};
use crate::onnx::tensor::{Result, Tensor};
use crate::value::DType;

pub(super) const OPS: Family = &[("LinearClassifier", classifier), ("LinearRegressor", regressor)];

/// What a node's attributes say.
struct Linear {
    /// Of each target a row.
    coefficients: Tensor,
    /// One for each target, if there are any.
    intercepts: Option<Tensor>,
    post: Post,
    labels: Option<Labels>,
}

impl Linear {
    fn of(call: &Call<'_>, labels: fn(&Node) -> Result<Option<Labels>>) -> Result<Self> {
        let tensor = |name: &str| -> Result<Option<Tensor>> {
            let values = numbers(call.node, name)?;
            let tensor = || Tensor::from_f64s(&values, &[values.len()], DType::F32, call.device);
            (!values.is_empty()).then(tensor).transpose()
        };
        Ok(Self {
            coefficients: tensor("coefficients")?.ok_or_else(|| OpError::new("there are no coefficients"))?,
            intercepts: tensor("intercepts")?,
            post: Post::of(call.node)?,
            labels: labels(call.node)?,
        })
    }

    /// The scores of rows `x`: a column for each target.
    fn scores(&self, x: Tensor) -> Result<Tensor> {
        let (features, all) = (x.dim(1), self.coefficients.elements());
        if features == 0 || !all.is_multiple_of(features) {
            return Err(OpError::caller(format!("rows of {features} features do not fit {all} coefficients")));
        }
        let weights = self.coefficients.clone().reshape(&[all / features, features])?.swap(0, 1)?;
        let scores = x.cast(DType::F32).matmul(weights)?;
        match &self.intercepts {
            Some(intercepts) => scores.add(intercepts.clone()),
            None => Ok(scores),
        }
    }
}

fn regressor(call: &mut Call<'_>) -> Result<Outputs> {
    let x = matrix(call)?;
    let linear = call.node.compiled(|_| Linear::of(call, |_| Ok(None)))?;
    let scores = linear.scores(x)?;
    if linear.post == Post::Nothing {
        return one(scores);
    }
    let (dims, mut values) = (scores.dims(), scores.floats()?);
    values.chunks_exact_mut(dims[1].max(1)).for_each(|row| linear.post.apply(row));
    one(Tensor::from_f64s(&values, &dims, DType::F32, call.device)?)
}

fn classifier(call: &mut Call<'_>) -> Result<Outputs> {
    let x = matrix(call)?;
    let linear = call.node.compiled(|_| Linear::of(call, |node| Labels::of(node, "classlabels_ints").map(Some)))?;
    let labels = linear.labels.clone().ok_or_else(|| OpError::new("there are no class labels"))?;
    let scores = linear.scores(x)?;
    let targets = scores.dim(1);
    let mut values = scores.floats()?;
    if targets > 1 {
        let chosen: Vec<usize> = values.chunks_exact(targets).map(largest).collect();
        values.chunks_exact_mut(targets).for_each(|row| linear.post.apply(row));
        return classified(&labels, &chosen, &values, call.device);
    }
    let chosen: Vec<usize> = values.iter().map(|&score| usize::from(score > 0.0)).collect();
    if labels.len() == 2 {
        values = values.iter().flat_map(|&score| linear.post.pair(score, true)).collect();
    } else {
        values.iter_mut().for_each(|score| linear.post.apply(std::slice::from_mut(score)));
    }
    classified(&labels.pair(), &chosen, &values, call.device)
}
