//! Whether a device computes what flex computes: a small product.

use std::time::{Duration, Instant};

use burn::tensor::{Device, Tensor, activation};
use ekiden_actors::guarded;

use super::name::DeviceName;
use super::presence::{NotAvailable, open};

/// Answers further apart than this, relative to the largest one, are wrong: sums of 64 products in float32, in another
/// order, differ by some 1e-6.
const TOLERANCE: f64 = 1e-4;

/// A device that computed what flex computes.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    /// The largest difference, relative to the largest number.
    pub difference: f64,
    /// How long it took the first time, which compiles kernels.
    pub first: Duration,
    /// How long it took the second time.
    pub second: Duration,
}

/// A device that did not.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TrialError {
    /// It cannot be used.
    #[error(transparent)]
    NotAvailable(#[from] NotAvailable),
    /// It failed.
    #[error("the device failed: {0}")]
    Failed(String),
    /// Its answers are not flex's.
    #[error(
        "its answers differ from those of flex by {difference:e} of the largest one; at most {TOLERANCE:e} is rounding"
    )]
    Wrong {
        /// The largest difference, relative to the largest number.
        difference: f64,
    },
}

/// Multiplies two matrices, adds, and takes a softmax, on the device and on flex.
///
/// # Errors
/// [`TrialError`].
pub fn try_out(name: &DeviceName) -> Result<Trial, TrialError> {
    let device = open(name)?;
    let run = |device: &Device| {
        let started = Instant::now();
        let computed = guarded(|| compute(device)).map_err(|panic| panic.to_string()).and_then(|computed| computed);
        computed.map(|computed| (computed, started.elapsed())).map_err(TrialError::Failed)
    };
    let (expected, _) = run(&Device::flex())?;
    let (computed, first) = run(&device)?;
    let (_, second) = run(&device)?;
    let difference = difference(&computed, &expected);
    if difference <= TOLERANCE {
        Ok(Trial { difference, first, second })
    } else {
        Err(TrialError::Wrong { difference })
    }
}

fn compute(device: &Device) -> Result<Vec<f64>, String> {
    let matrix = |rows: usize, columns: usize| {
        // Numbers that are neither round nor random.
        let numbers: Vec<f32> = (0..rows * columns).map(|n| (n as f32 * 0.37).sin()).collect();
        Tensor::<1>::from_floats(numbers.as_slice(), device).reshape([rows, columns])
    };
    let product = matrix(48, 64).matmul(matrix(64, 32)) + matrix(1, 32);
    let outputs = Tensor::<2>::cat(vec![product.clone(), activation::softmax(product, 1)], 0);
    let data = outputs.try_into_data().map_err(|error| error.to_string())?;
    let numbers = data.try_to_vec::<f32>().map_err(|error| format!("{error:?}"))?;
    Ok(numbers.into_iter().map(f64::from).collect())
}

/// The largest difference, relative to the largest number of what is right, which is taken for no less than 1e-4: where all
/// of it is next to nothing, so is a difference. Infinite where the two cannot be compared.
pub(crate) fn difference(computed: &[f64], expected: &[f64]) -> f64 {
    if computed.len() != expected.len() {
        return f64::INFINITY;
    }
    let finite = expected.iter().filter(|number| number.is_finite());
    let scale = finite.fold(1e-4, |most: f64, number| most.max(number.abs()));
    let apart = computed.iter().zip(expected).map(|(one, other)| match (one - other).abs() {
        _ if one == other || one.is_nan() && other.is_nan() => 0.0,
        // NaN, or an infinity, is no small difference.
        difference if difference.is_nan() => f64::INFINITY,
        difference => difference / scale,
    });
    apart.fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flex_computes_what_flex_computes() {
        let trial = try_out(&DeviceName::Flex).expect("flex works");
        assert_eq!(trial.difference, 0.0);
    }

    #[test]
    fn a_difference_is_relative_to_the_largest_number() {
        assert_eq!(difference(&[1.0, 199.0], &[1.0, 200.0]), 0.005);
        assert_eq!(difference(&[0.0], &[0.0]), 0.0);
        assert_eq!(difference(&[1e-9], &[0.0]), 1e-5, "next to nothing");
        assert_eq!(difference(&[1.0], &[1.0, 1.0]), f64::INFINITY);
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(difference(&[number, 1.0], &[1.0, 1.0]), f64::INFINITY, "{number} is not 1");
            assert_eq!(difference(&[1.0], &[number]), f64::INFINITY, "1 is not {number}");
            assert_eq!(difference(&[number], &[number]), 0.0, "unless it is right");
        }
    }
}
