//! A runnable of pictures, without weights: what colours they have, and where their edges are.

use ekiden::prelude::*;

pub(crate) struct Pictures;

impl Runnable for Pictures {
    type Params = ();

    fn open(_: &OpenContext<()>) -> Result<Self, OpenError> {
        Ok(Self)
    }

    fn methods(methods: &mut Methods<Self>) {
        // Pictures, rows, columns, and red, green and blue.
        methods
            .add("colors", Self::colors)
            .batchable()
            .input(TensorSpec::f32("pictures", [None, None, None, Some(3)]))
            .output(TensorSpec::f32("means", [None, Some(3)]));
        methods
            .add("edges", Self::edges)
            .input(TensorSpec::f32("picture", [None, None, Some(3)]))
            .output(TensorSpec::f32("edges", [None, None, Some(3)]));
    }
}

impl Pictures {
    fn colors(&self, pictures: Tensor<4>) -> Result<Tensor<2>, MethodError> {
        Ok(pictures.flatten::<3>(1, 2).mean_dim(1).squeeze_dim(1))
    }

    /// How much each pixel differs from the one to its left.
    fn edges(&self, picture: Tensor<3>) -> Result<Tensor<3>, MethodError> {
        let width = picture.dims()[1];
        if width < 2 {
            return Err(MethodError::invalid_input(format!(
                "expected a picture two pixels wide or more, found {width}"
            )));
        }
        let (left, right) = (picture.clone().slice_dim(1, 0..width - 1), picture.slice_dim(1, 1..width));
        Ok((right - left).abs())
    }
}
