//! A runnable that says how unlike all flowers that are known one is.

use ekiden::prelude::*;

/// The means of the three species in Fisher's data, in centimetres.
const MEANS: [[f32; 4]; 3] = [[5.006, 3.428, 1.462, 0.246], [5.936, 2.770, 4.260, 1.326], [6.588, 2.974, 5.552, 2.026]];

pub(crate) struct Novelty {
    means: Tensor<3>,
}

impl Runnable for Novelty {
    type Params = ();

    fn open(ctx: &OpenContext<()>) -> Result<Self, OpenError> {
        Ok(Self { means: Tensor::<2>::from_data(MEANS, ctx.device()).unsqueeze_dim(0) })
    }

    fn methods(methods: &mut Methods<Self>) {
        methods
            .add("distance", Self::distance)
            .batchable()
            .input(TensorSpec::f32("features", [None, Some(4)]))
            .output(TensorSpec::f32("distances", [None, Some(1)]));
    }
}

impl Novelty {
    /// To the nearest of the means.
    fn distance(&self, features: Tensor<2>) -> Result<Tensor<2>, MethodError> {
        let apart = features.unsqueeze_dim::<3>(1) - self.means.clone();
        Ok(apart.powi_scalar(2).sum_dim(2).sqrt().min_dim(1).squeeze_dim(2))
    }
}
