//! The models: fixed random weights, as nobody asks whether the answers make sense.

use burn::tensor::activation::{relu, softmax};
use burn::tensor::{Device, Tensor, TensorData};
use ekiden::prelude::*;
use ekiden::value::Array;

/// The MLP of the HTTP cases.
pub(crate) const MLP: &[usize] = &[784, 512, 512, 10];
/// As many numbers in and out, and next to nothing to compute: what it costs to bring them shows.
pub(crate) const LAYER: &[usize] = &[784, 10];
/// A large MLP, whose batches take milliseconds.
pub(crate) const LARGE: &[usize] = &[784, 2048, 2048, 10];
/// Few numbers in and out and milliseconds for a batch: the server has nothing to do but compute.
pub(crate) const DEEP: &[usize] = &[4, 2048, 2048, 2048, 3];

/// Dense layers with a ReLU between any two, and a softmax at the end.
#[derive(Clone, Debug)]
pub(crate) struct Mlp {
    layers: Vec<(Tensor<2>, Tensor<1>)>,
}

impl Mlp {
    /// `sizes`: features in, those between, classes out. The same sizes give the same weights.
    pub(crate) fn new(sizes: &[usize], device: &Device) -> Self {
        let mut random = fastrand::Rng::with_seed(1);
        let mut layer = |from: usize, to: usize| {
            // Variance 2/n keeps activations at one scale through layers with a ReLU (He et al., 2015); a uniform
            // distribution on ±a has the variance a²/3.
            let bound = (6.0 / from as f32).sqrt();
            let mut numbers = |count: usize| (0..count).map(|_| (2.0 * random.f32() - 1.0) * bound).collect();
            let weights = TensorData::new::<f32, _>(numbers(from * to), [from, to]);
            let biases = TensorData::new::<f32, _>(numbers(to), [to]);
            (Tensor::from_data(weights, device), Tensor::from_data(biases, device))
        };
        Self { layers: sizes.windows(2).map(|pair| layer(pair[0], pair[1])).collect() }
    }

    /// Probabilities `[rows, classes]` of `[rows, features]`.
    pub(crate) fn forward(&self, features: Tensor<2>) -> Tensor<2> {
        let mut signal = features;
        for (at, (weights, biases)) in self.layers.iter().enumerate() {
            let sums = signal.matmul(weights.clone()) + biases.clone().unsqueeze();
            signal = if at + 1 == self.layers.len() { softmax(sums, 1) } else { relu(sums) };
        }
        signal
    }
}

/// Serves an [`Mlp`] of these sizes.
pub(crate) struct Dense {
    net: Mlp,
}

impl Runnable for Dense {
    type Params = Vec<usize>;

    fn open(ctx: &OpenContext<Self::Params>) -> Result<Self, OpenError> {
        Ok(Self { net: Mlp::new(ctx.params(), ctx.device()) })
    }

    fn methods(methods: &mut Methods<Self>) {
        methods.add("predict", |dense: &Self, x: Tensor<2>| Ok(dense.net.forward(x))).batchable().input("x");
    }
}

/// Does nothing: what is left is the way to a runnable and back.
pub(crate) struct Noop;

impl Runnable for Noop {
    type Params = ();

    fn open(_: &OpenContext<()>) -> Result<Self, OpenError> {
        Ok(Self)
    }

    fn methods(methods: &mut Methods<Self>) {
        methods.add("array", |_: &Self, x: Array| Ok(x)).batchable().input(row()).output(row());
        methods.add("tensor", |_: &Self, x: Tensor<2>| Ok(x)).batchable().input(row()).output(row());
    }
}

/// Reads much and computes little, so that what it costs to bring the numbers shows.
pub(crate) struct Pixels;

impl Runnable for Pixels {
    type Params = ();

    fn open(_: &OpenContext<()>) -> Result<Self, OpenError> {
        Ok(Self)
    }

    fn methods(methods: &mut Methods<Self>) {
        methods.add("mean", |_: &Self, x: Tensor<2>| Ok(x.mean_dim(1))).batchable();
        methods.add("softmax", |_: &Self, x: Tensor<2>| Ok(softmax(x, 1))).batchable();
        methods.add("halve", |_: &Self, x: Tensor<2>| Ok(x * 0.5)).batchable();
    }
}

fn row() -> TensorSpec {
    TensorSpec::f32("x", [None, Some(4)])
}

/// `count` numbers between 0 and 1, as an image's pixels are: of 256 steps, and the same each time.
pub(crate) fn pixels(count: usize) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(2);
    (0..count).map(|_| f32::from(random.u8(..)) / 255.0).collect()
}
