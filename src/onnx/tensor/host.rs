//! Functions of singles on the host, in place where nobody else has the tensor, on all threads of the pool, with the vector
//! units that this machine has. Burn's own are run on one thread, for any x86, and call the C library for each element.

use burn::backend::Dispatch;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::read_sync;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{Result, Tensor};
use crate::onnx::error::OpError;
use crate::onnx::graph::host;
use crate::value::DType;

/// So many elements are worth another thread.
const CHUNK: usize = 16 << 10;

/// Applies a function to each element of a slice. Its loop is compiled once for each kind of vector unit.
struct Each<'a, F>(&'a mut [f32], F);

impl<F: Fn(f32) -> f32> WithSimd for Each<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self(elements, function) = self;
        elements.iter_mut().for_each(|element| *element = function(*element));
    }
}

impl Tensor {
    /// The function of each element; where these are no singles on the host, what `otherwise` makes of the tensor.
    pub(in crate::onnx) fn each(
        self,
        function: impl Fn(f32) -> f32 + Copy + Send + Sync,
        otherwise: impl FnOnce(Self) -> Result<Self>,
    ) -> Result<Self> {
        if self.dtype != DType::F32 || self.device() != host() {
            return otherwise(self);
        }
        let scalar = self.scalar;
        let mut data = read_sync(Dispatch::float_into_data(self.raw)).map_err(|error| OpError::device(&error))?;
        let elements = data.as_mut_slice::<f32>().map_err(|error| OpError::new(format!("{error:?}")))?;
        let arch = Arch::new();
        let run = |elements: &mut [f32]| arch.dispatch(Each(elements, function));
        match elements.len() {
            0..CHUNK => run(elements),
            _ => elements.par_chunks_mut(CHUNK).for_each(run),
        }
        Ok(Self::from_data(data, scalar, &host()))
    }
}

/// `exp(x)`, to about two units in the last place; what would be less than 1e-38 is not 0.
///
/// Source: Cephes, `expf`: the power of two apart, a polynomial for the rest.
#[inline(always)]
pub(in crate::onnx) fn exp(x: f32) -> f32 {
    let x = x.clamp(-87.0, 88.0);
    let power = (x * std::f32::consts::LOG2_E + 0.5).floor();
    let rest = x - power * 0.693_359_4 + power * 2.121_944_4e-4;
    let mut sum = 1.987_569_2e-4;
    for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        sum = sum * rest + coefficient;
    }
    (sum * rest * rest + rest + 1.0) * f32::from_bits(((power as i32 + 127) as u32) << 23)
}

/// `1 / (1 + exp(-x))`
#[inline(always)]
pub(in crate::onnx) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The error function, to a few units in the last place.
///
/// Source: the rational function that Eigen and ONNX Runtime use: beyond ±4, singles hold nothing but ±1.
#[inline(always)]
pub(in crate::onnx) fn erf(x: f32) -> f32 {
    let x = x.clamp(-4.0, 4.0);
    let square = x * x;
    let mut above = -2.726_142_3e-10;
    for coefficient in [2.770_681_4e-8, -2.101_024e-6, -5.692_506_4e-5, -7.349_906_3e-4, -2.954_6e-3, -1.609_603_3e-2] {
        above = above * square + coefficient;
    }
    let mut below = -1.456_607_2e-5;
    for coefficient in [-2.133_740_6e-4, -1.682_827e-3, -7.373_329e-3, -1.426_473_9e-2] {
        below = below * square + coefficient;
    }
    x * above / below
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_right_to_the_last_digits() {
        let check = |name: &str, found: f32, expected: f64, tolerance: f64| {
            let off = (f64::from(found) - expected).abs() / expected.abs().max(1e-3);
            assert!(off <= tolerance, "{name}: {found}, expected {expected}");
        };
        for step in -4000..4000 {
            let x = step as f32 * 0.02;
            let wide = f64::from(x);
            check("exp", exp(x), wide.exp(), 4e-7);
            check("sigmoid", sigmoid(x), 1.0 / (1.0 + (-wide).exp()), 4e-7);
            check("erf", erf(x), libm::erf(wide), 1e-6);
        }
        assert!(exp(f32::NAN).is_nan() && sigmoid(f32::NAN).is_nan() && erf(f32::NAN).is_nan());
    }
}
