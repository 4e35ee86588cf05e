//! The models: fixed random weights, as nobody asks whether the answers make sense.

use std::time::{Duration, Instant};

use burn::tensor::activation::relu;
use burn::tensor::module::{conv2d, max_pool2d};
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{Device, Tensor, TensorData};
use clap::ValueEnum;
use ekiden::prelude::*;
use ekiden::runner::Json;
use ekiden::value::{Array, ArrayError};
use serde::Deserialize;

/// Which model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
pub(crate) enum Kind {
    /// Dense layers of 784-512-512-10.
    Mlp,
    /// ResNet-18 (He et al., 2015) on images of 3 x 224 x 224, its normalization folded into the convolutions.
    Resnet18,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mlp => "MLP 784-512-512-10",
            Self::Resnet18 => "ResNet-18",
        }
    }

    /// Numbers in a row.
    fn numbers(self) -> usize {
        match self {
            Self::Mlp => 784,
            Self::Resnet18 => 3 * 224 * 224,
        }
    }

    /// Rows of numbers between 0 and 1.
    pub(crate) fn rows(self, rows: usize) -> Result<Array, ArrayError> {
        let mut random = fastrand::Rng::with_seed(2);
        let numbers: Vec<f32> = (0..rows * self.numbers()).map(|_| random.f32()).collect();
        Array::new(numbers, [rows, self.numbers()])
    }
}

/// Serves a model; `bare` is a loop around it, with nothing of Ekiden's.
pub(crate) struct Net {
    kind: Kind,
    layers: Layers,
    device: Device,
}

enum Layers {
    Mlp(Vec<(Tensor<2>, Tensor<1>)>),
    Resnet(Box<Resnet>),
}

impl Runnable for Net {
    type Params = Kind;
    const SUPPORTS: &'static [ResourceKind] = &[ResourceKind::NvidiaGpu, ResourceKind::Wgpu, ResourceKind::Cpu];
    const SUPPORTS_CPU_MULTI_THREADING: bool = true;

    fn open(ctx: &OpenContext<Kind>) -> Result<Self, OpenError> {
        let (kind, device) = (*ctx.params(), ctx.device().clone());
        let mut made = Weights { random: fastrand::Rng::with_seed(1), device: device.clone() };
        let layers = match kind {
            Kind::Mlp => Layers::Mlp([784, 512, 512, 10].windows(2).map(|pair| made.dense(pair[0], pair[1])).collect()),
            Kind::Resnet18 => Layers::Resnet(Box::new(Resnet::new(&mut made))),
        };
        Ok(Self { kind, layers, device })
    }

    fn methods(_: &mut Methods<Self>) {}

    fn declare(ctx: &OpenContext<Kind>, methods: &mut Methods<Self>) -> Result<(), OpenError> {
        methods
            .add("predict", |net: &Self, x: Tensor<2>| Ok(net.forward(x)))
            .batchable()
            .input(TensorSpec::f32("x", [None, Some(ctx.params().numbers())]));
        methods.add("bare", Self::bare).input("rows and seconds").output("rows per second");
        Ok(())
    }
}

impl Net {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        match &self.layers {
            Layers::Mlp(layers) => layers.iter().enumerate().fold(x, |signal, (at, (weights, biases))| {
                let sums = signal.matmul(weights.clone()) + biases.clone().unsqueeze();
                if at + 1 == layers.len() { sums } else { relu(sums) }
            }),
            Layers::Resnet(net) => {
                let [rows, _] = x.dims();
                net.forward(x.reshape([rows, 3, 224, 224]))
            }
        }
    }

    /// Uploads, computes and reads back batches of so many rows for so many seconds: the rows per second.
    fn bare(&self, Json((rows, seconds)): Json<(usize, f64)>) -> Result<Json<f64>, MethodError> {
        let batch = self.kind.rows(rows).map_err(MethodError::failed)?;
        let numbers = batch.to_vec::<f32>().ok_or_else(|| MethodError::failed("not floats"))?;
        let step = || {
            let data = TensorData::new(numbers.clone(), [rows, self.kind.numbers()]);
            self.forward(Tensor::from_data(data, &self.device)).try_into_data().map_err(MethodError::failed).map(drop)
        };
        // Kernels are tuned for a size when it first comes.
        step()?;
        let (started, mut steps) = (Instant::now(), 0_usize);
        while started.elapsed() < Duration::from_secs_f64(seconds) {
            step()?;
            steps += 1;
        }
        Ok(Json((steps * rows) as f64 / started.elapsed().as_secs_f64()))
    }
}

/// Weights that keep activations at one scale.
struct Weights {
    random: fastrand::Rng,
    device: Device,
}

impl Weights {
    fn tensor<const D: usize>(&mut self, shape: [usize; D], inputs: usize) -> Tensor<D> {
        // Variance 2/n through layers with a ReLU (He et al., 2015); a uniform distribution on ±a has the variance a²/3.
        let bound = (6.0 / inputs as f32).sqrt();
        let numbers: Vec<f32> = (0..shape.iter().product()).map(|_| (2.0 * self.random.f32() - 1.0) * bound).collect();
        Tensor::from_data(TensorData::new(numbers, shape), &self.device)
    }

    fn dense(&mut self, from: usize, to: usize) -> (Tensor<2>, Tensor<1>) {
        (self.tensor([from, to], from), self.tensor([to], from))
    }

    fn conv(&mut self, from: usize, to: usize, size: usize, stride: usize) -> Conv {
        let inputs = from * size * size;
        Conv { weights: self.tensor([to, from, size, size], inputs), biases: self.tensor([to], inputs), stride, size }
    }
}

struct Conv {
    weights: Tensor<4>,
    biases: Tensor<1>,
    stride: usize,
    size: usize,
}

impl Conv {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let (stride, padding) = ([self.stride; 2], [self.size / 2; 2]);
        let options = ConvOptions::new(stride, padding, [1, 1], 1);
        conv2d(x, self.weights.clone(), Some(self.biases.clone()), options)
    }
}

/// Two convolutions of 3 x 3 beside a way past them.
struct Block {
    one: Conv,
    two: Conv,
    past: Option<Conv>,
}

struct Resnet {
    stem: Conv,
    blocks: Vec<Block>,
    head: (Tensor<2>, Tensor<1>),
}

impl Resnet {
    fn new(made: &mut Weights) -> Self {
        let stem = made.conv(3, 64, 7, 2);
        let mut blocks = Vec::new();
        let mut from = 64;
        for (to, stride) in [(64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)] {
            let past = (from != to).then(|| made.conv(from, to, 1, stride));
            blocks.push(Block { one: made.conv(from, to, 3, stride), two: made.conv(to, to, 3, 1), past });
            from = to;
        }
        Self { stem, blocks, head: made.dense(from, 1000) }
    }

    /// Scores `[rows, 1000]` of images `[rows, 3, 224, 224]`.
    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let options = MaxPoolOptions::new([3, 3]).with_stride([2, 2]).with_padding([1, 1]);
        let mut x = max_pool2d(relu(self.stem.forward(images)), options);
        for Block { one, two, past } in &self.blocks {
            let beside = past.as_ref().map_or_else(|| x.clone(), |past| past.forward(x.clone()));
            // Halved, so that sums stay at one scale.
            x = relu((two.forward(relu(one.forward(x))) + beside) * 0.5);
        }
        let [rows, channels, ..] = x.dims();
        let mean = x.mean_dim(3).mean_dim(2).reshape([rows, channels]);
        mean.matmul(self.head.0.clone()) + self.head.1.clone().unsqueeze()
    }
}
