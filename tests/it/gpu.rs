//! A GPU, or a driver that imitates one: the same models there and on the CPU, over HTTP. Built with the Cargo feature
//! `wgpu`, and in need of an adapter, such as Mesa's llvmpipe.

use std::time::Duration;

use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Shape, activation};
use ekiden::prelude::*;
use ekiden::runner::Onnx;
use serde_json::Value;

use crate::iris::IrisClf;
use crate::support::{Server, block_on_for};

/// What kernels take to be compiled and tuned, on a driver that runs them on the CPU.
const TUNING: Duration = Duration::from_secs(1200);

/// Two convolutions and a linear layer: 8x8 images of 3 channels in, five probabilities out.
struct Conv {
    first: Tensor<4>,
    second: Tensor<4>,
    last: Tensor<2>,
}

/// Numbers that are neither round nor random.
fn weights<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    let shape = Shape::from(shape);
    let numbers: Vec<f32> = (0..shape.num_elements()).map(|n| (n as f32 * 0.61).sin() * 0.3).collect();
    Tensor::<1>::from_floats(numbers.as_slice(), device).reshape(shape)
}

impl Runnable for Conv {
    type Params = ();
    const SUPPORTS: &'static [ResourceKind] = &[ResourceKind::Wgpu, ResourceKind::Cpu];
    const SUPPORTS_CPU_MULTI_THREADING: bool = true;

    fn open(ctx: &OpenContext<()>) -> Result<Self, OpenError> {
        let device = ctx.device();
        Ok(Self {
            first: weights([4, 3, 3, 3], device),
            second: weights([6, 4, 3, 3], device),
            last: weights([6 * 4 * 4, 5], device),
        })
    }

    fn methods(methods: &mut Methods<Self>) {
        methods
            .add("predict", |conv: &Self, x: Tensor<4>| {
                let options = || ConvOptions::new([1, 1], [0, 0], [1, 1], 1);
                let x = activation::relu(conv2d(x, conv.first.clone(), None, options()));
                let x = activation::relu(conv2d(x, conv.second.clone(), None, options()));
                Ok::<_, MethodError>(activation::softmax(x.flatten::<2>(1, 3).matmul(conv.last.clone()), 1))
            })
            .batchable()
            .input(TensorSpec::f32("images", [None, Some(3), Some(8), Some(8)]))
            .output(TensorSpec::f32("probabilities", [None, Some(5)]));
    }
}

/// The same runner twice, on the CPU and on the first adapter.
fn twice(name: &str, what: &str) -> String {
    let one = |place: &str, device: &str| {
        format!(
            "[[runners]]\nname = '{name}-{place}'\n{what}\ncpu = 1\ndevice = '{device}'\nmax_batch_size = 4\nbatch_buckets = [1, 4]\n"
        )
    };
    one("cpu", "flex") + &one("gpu", "wgpu")
}

/// Rows of such a shape.
fn body(rows: usize, shape: &[usize]) -> String {
    fn nested(shape: &[usize], next: &mut usize) -> Value {
        match shape {
            [] => {
                *next += 1;
                (((*next * 7) % 23) as f32 * 0.1 - 1.0).into()
            }
            [size, rest @ ..] => (0..*size).map(|_| nested(rest, next)).collect(),
        }
    }
    nested(&[&[rows], shape].concat(), &mut 0).to_string()
}

fn numbers(value: &Value, found: &mut Vec<f64>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| numbers(item, found)),
        other => found.push(other.as_f64().expect("a number")),
    }
}

#[test]
fn models_answer_on_a_gpu_what_they_answer_on_the_cpu() {
    const GRU: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/onnx/models/torch_mlp/model.onnx");
    let config = twice("iris", "runnable = 'iris_clf'")
        + &twice("conv", "runnable = 'conv'")
        + &twice("mlp", &format!("model = {GRU:?}"));
    let app = App::builder().runnable::<IrisClf>("iris_clf").runnable::<Conv>("conv").runnable::<Onnx>("onnx");
    let app = block_on_for(TUNING, app.config_text(config).start()).expect("it starts");
    let server = Server::start(&app);
    for (name, shape) in [("iris", &[4][..]), ("conv", &[3, 8, 8]), ("mlp", &[20])] {
        for rows in [1, 3, 9] {
            let body = body(rows, shape);
            let answers = ["cpu", "gpu"].map(|place| {
                let mut found = Vec::new();
                numbers(&server.post(&format!("/v1/runners/{name}-{place}/predict"), &body).json(), &mut found);
                found
            });
            let [cpu, gpu] = &answers;
            assert_eq!((cpu.len() % rows, cpu.len()), (0, gpu.len()), "{name}");
            for (cpu, gpu) in cpu.iter().zip(gpu) {
                assert!((cpu - gpu).abs() <= 1e-4, "{name}, {rows} rows: {cpu} on the CPU, {gpu} on the GPU");
            }
        }
        let about = server.get(&format!("/v1/runners/{name}-gpu")).json();
        assert_eq!(about["executors"][0]["device"], "wgpu:0", "{about}");
        // 9 rows are cut into 4, 4 and 1; 3 are padded to 4.
        let padding = format!("ekiden_padding_rows_total{{runner=\"{name}-gpu\",method=\"predict\"}}");
        server.counts(&[(padding.as_str(), 1.0)]);
        assert!(about["memory"][0]["reserved_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{about}");
    }
}

#[test]
fn a_device_of_this_program_that_is_not_here_is_refused_with_those_that_are() {
    let text = "[[runners]]\nname = 'conv'\ndevice = 'wgpu:99'\n";
    let error =
        App::builder().runnable::<Conv>("conv").config_text(text).check().expect_err("nobody has 100").to_string();
    assert!(error.contains("device wgpu:99 is not here; there are: ") && error.contains("wgpu:0"), "{error}");
}
