//! Numbers drawn by chance. A node with a seed draws the same ones each time.

use std::f64::consts::PI;

use fastrand::Rng;

use super::Family;
use crate::onnx::error::OpError;
use crate::onnx::node::{Call, Node, Outputs, one, sizes};
use crate::onnx::tensor::{Dims, Kind, Result, Tensor, count, kind_of};
use crate::value::DType;

pub(super) const OPS: Family = &[
    ("RandomNormal", |call| of_shape(call, normal)),
    ("RandomNormalLike", |call| like(call, normal)),
    ("RandomUniform", |call| of_shape(call, uniform)),
    ("RandomUniformLike", |call| like(call, uniform)),
    ("Bernoulli", bernoulli),
    ("Multinomial", multinomial),
];

fn generator(node: &Node) -> Rng {
    node.try_float("seed").map_or_else(Rng::new, |seed| Rng::with_seed(seed.to_bits()))
}

/// A number of the distribution that the node describes.
type Draw = fn(&Node, &mut Rng) -> f64;

/// Box and Muller's.
fn normal(node: &Node, rng: &mut Rng) -> f64 {
    let (distance, angle) = ((-2.0 * (1.0 - rng.f64()).ln()).sqrt(), 2.0 * PI * rng.f64());
    node.float("mean", 0.0) + node.float("scale", 1.0) * distance * angle.cos()
}

fn uniform(node: &Node, rng: &mut Rng) -> f64 {
    let (low, high) = (node.float("low", 0.0), node.float("high", 1.0));
    low + (high - low) * rng.f64()
}

fn filled(call: &Call<'_>, dims: &[usize], dtype: DType, draw: Draw) -> Result<Outputs> {
    if kind_of(dtype) != Kind::Float {
        return Err(OpError::new(format!("random numbers must be of a float dtype, found {dtype}")));
    }
    let mut rng = generator(call.node);
    let values: Vec<f64> = (0..count(dims)?).map(|_| draw(call.node, &mut rng)).collect();
    one(Tensor::from_f64s(&values, dims, dtype, call.device)?)
}

fn of_shape(call: &mut Call<'_>, draw: Draw) -> Result<Outputs> {
    let dims = sizes(call.node.ints("shape").ok_or_else(|| OpError::new("there is no shape"))?)?;
    let dtype = call.node.dtype("dtype")?.unwrap_or(DType::F32);
    filled(call, &dims, dtype, draw)
}

fn like(call: &mut Call<'_>, draw: Draw) -> Result<Outputs> {
    let x = call.tensor(0)?;
    let dtype = call.node.dtype("dtype")?.unwrap_or(x.dtype());
    filled(call, &x.dims(), dtype, draw)
}

/// 1 by the chance that each element says, else 0.
fn bernoulli(call: &mut Call<'_>) -> Result<Outputs> {
    let x = call.tensor(0)?;
    let dtype = call.node.dtype("dtype")?.unwrap_or(x.dtype());
    let mut rng = generator(call.node);
    let values: Vec<f64> = x.floats()?.into_iter().map(|chance| f64::from(rng.f64() < chance)).collect();
    one(Tensor::from_f64s(&values, &x.dims(), dtype, call.device)?)
}

/// Classes by the logarithms of their chances, `[n, classes]`, which need not sum up to 1.
fn multinomial(call: &mut Call<'_>) -> Result<Outputs> {
    let x = call.tensor(0)?.of_rank(2, "the input")?;
    let dims = x.dims();
    let samples = call.node.int("sample_size", 1);
    let samples = usize::try_from(samples).map_err(|_| OpError::new(format!("there are no {samples} samples")))?;
    let shape: Dims = smallvec::smallvec![dims[0], samples];
    let dtype = call.node.dtype("dtype")?.unwrap_or(DType::I32);
    let mut drawn = Vec::with_capacity(count(&shape)?);
    let mut rng = generator(call.node);
    if dims[1] == 0 {
        return Err(OpError::caller("there is no class to draw"));
    }
    for row in x.floats()?.chunks_exact(dims[1]) {
        let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sums: Vec<f64> = row
            .iter()
            .scan(0.0, |sum, chance| {
                *sum += (chance - most).exp();
                Some(*sum)
            })
            .collect();
        let total = sums[dims[1] - 1];
        for _ in 0..samples {
            let point = rng.f64() * total;
            drawn.push(sums.partition_point(|sum| *sum <= point).min(dims[1] - 1) as f64);
        }
    }
    one(Tensor::from_f64s(&drawn, &shape, dtype, call.device)?)
}
