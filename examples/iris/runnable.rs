//! The runnable: what `ekiden serve` serves under the name `iris_clf`.

#[path = "model.rs"]
mod model;

use burn::tensor::activation::softmax;
use ekiden::prelude::*;
use model::Mlp;

/// Iris classifier: four measurements in, three class probabilities out. Its weights are those of its runner's model, else
/// those that are built in.
pub(crate) struct IrisClf {
    net: Mlp,
}

impl Runnable for IrisClf {
    type Params = ();
    const SUPPORTS: &[ResourceKind] = &[ResourceKind::NvidiaGpu, ResourceKind::Wgpu, ResourceKind::Cpu];
    const SUPPORTS_CPU_MULTI_THREADING: bool = true;

    fn open(ctx: &OpenContext<()>) -> Result<Self, OpenError> {
        if ctx.models().next().is_none() {
            return Ok(Self { net: Mlp::load(include_bytes!("iris.safetensors"), ctx.device())? });
        }
        let mut net = Mlp::new(ctx.device());
        ctx.first_model()?.weights().load_into(&mut net)?;
        Ok(Self { net })
    }

    fn methods(methods: &mut Methods<Self>) {
        methods
            .add("predict", Self::predict)
            .batchable()
            .warm_up()
            .input(TensorSpec::f32("features", [None, Some(model::FEATURES)]))
            .output(TensorSpec::f32("probabilities", [None, Some(model::CLASSES)]))
            .example(serde_json::json!([[5.1, 3.5, 1.4, 0.2]]));
    }
}

impl IrisClf {
    fn predict(&self, features: Tensor<2>) -> Result<Tensor<2>, MethodError> {
        Ok(softmax(self.net.forward(features), 1))
    }
}
