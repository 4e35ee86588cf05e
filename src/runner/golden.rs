//! Whether a model computes on its device what it computes on the CPU: GPU backends have had bugs that made answers wrong
//! and nothing else.

use ekiden_actors::{CallError, OpenError, Part, guarded};

use crate::device;
use crate::serving::{CallInput, Model};
use crate::value::{Array, DType, Value};

/// How far apart answers of float32 may be, relative to the largest number of an output: sums in another order, kernels of
/// another precision.
const TOLERANCE: f64 = 1e-3;
/// The same for 16 bits, of which 8 or 11 are significant.
const TOLERANCE_16: f64 = 2e-2;

/// Runs each method once on both, on inputs that are made up, and compares the floats of their outputs. A method whose
/// inputs cannot be made up, or that refuses them on the CPU, is not compared.
///
/// # Errors
/// The first output that is too far apart, or the device's failure where the CPU does not fail.
pub(super) fn check(
    place: &str,
    methods: &[(usize, &str)],
    computed: &mut dyn Model,
    expected: &mut dyn Model,
) -> Result<(), OpenError> {
    for &(method, name) in methods {
        // A stream has no end that could be waited for.
        let Some(signature) = expected.signature(method).filter(|signature| !signature.streams).cloned() else {
            continue;
        };
        let rows = if signature.batching.is_some() { 2 } else { 1 };
        let Ok(values) = signature.sample(rows) else {
            tracing::debug!("{name} is not compared with the CPU: its inputs cannot be made up");
            continue;
        };
        tracing::info!("comparing {name} on {place} with the CPU");
        let input = CallInput::new(values, signature.batching);
        let parts = [Part { input: &input, rows: 0..rows }];
        let right = match guarded(|| expected.run(method, &parts)) {
            Ok(Ok(right)) => right,
            Ok(Err(_)) => continue,
            // What a panic leaves behind is not compared with anything.
            Err(panic) => {
                tracing::warn!("{name} panics on made-up inputs on the CPU, and nothing is compared with it: {panic}");
                return Ok(());
            }
        };
        let on_device = guarded(|| computed.run(method, &parts))
            .map_err(|panic| panic.to_string())
            .and_then(|ran| ran.map_err(|error| CallError::from(error).to_string()))
            .map_err(|error| {
                OpenError::new(format!("{name} fails on {place}, on inputs that the CPU takes: {error}"))
            })?;
        if on_device.failed.len() != right.failed.len() {
            return Err(OpenError::new(format!(
                "{name} fails rows on {place} that the CPU takes, or takes what it fails"
            )));
        }
        let specs = signature.outputs.iter().map(crate::value::ValueSpec::name);
        for ((one, other), output) in on_device.outputs.iter().zip(&right.outputs).zip(specs) {
            let (Value::Tensor(one), Value::Tensor(other)) = (one, other) else { continue };
            let Some(tolerance) = tolerance(other.dtype()) else { continue };
            let (one, other) = (floats(one).unwrap_or_default(), floats(other).unwrap_or_default());
            let difference = device::difference(&one, &other);
            if difference > tolerance {
                return Err(OpenError::new(format!(
                    "{name}: output \"{output}\" on {place} differs from the CPU's by {difference:.1e} of its largest \
                     number, on the same inputs; at most {tolerance:.0e} is rounding. The device or its driver computes \
                     wrongly; if the method is random by nature, set golden_check = false"
                )));
            }
        }
    }
    Ok(())
}

fn tolerance(dtype: DType) -> Option<f64> {
    match dtype {
        DType::F32 | DType::F64 => Some(TOLERANCE),
        DType::F16 | DType::BF16 => Some(TOLERANCE_16),
        _ => None,
    }
}

fn floats(array: &Array) -> Option<Vec<f64>> {
    let bytes = array.data();
    Some(match array.dtype() {
        DType::F32 => bytes.as_chunks().0.iter().map(|number| f32::from_le_bytes(*number).into()).collect(),
        DType::F64 => bytes.as_chunks().0.iter().map(|number| f64::from_le_bytes(*number)).collect(),
        DType::F16 => bytes.as_chunks().0.iter().map(|number| half::f16::from_le_bytes(*number).into()).collect(),
        DType::BF16 => bytes.as_chunks().0.iter().map(|number| half::bf16::from_le_bytes(*number).into()).collect(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use ekiden_actors::{MethodError, RunError};

    use super::*;
    use crate::serving::Answer;
    use crate::value::{Batching, Shape, Signature, TensorSpec};

    /// Adds to what it is given, or fails.
    struct Adds {
        signature: Signature,
        add: Result<f32, &'static str>,
    }

    impl Adds {
        fn new(add: Result<f32, &'static str>) -> Self {
            let spec = |name: &str| vec![TensorSpec::f32(name, [None, Some(3)]).into()];
            let batching = Some(Batching { input_dim: 0, output_dim: 0 });
            Self { signature: Signature { inputs: spec("x"), outputs: spec("y"), batching, streams: false }, add }
        }
    }

    impl Model for Adds {
        fn signature(&self, method: usize) -> Option<&Signature> {
            (method == 0).then_some(&self.signature)
        }

        fn run(&mut self, _: usize, parts: &[Part<'_, CallInput>]) -> Result<Answer, RunError> {
            assert_ne!(self.add, Err("panic"), "on purpose");
            let add = self.add.map_err(MethodError::failed)?;
            let Some(Value::Tensor(x)) = parts[0].input.values.first() else { panic!("a tensor") };
            let sum: Vec<u8> =
                floats(x).expect("floats").iter().flat_map(|x| (*x as f32 + add).to_le_bytes()).collect();
            let y = Array::from_bytes(DType::F32, Shape::new(x.shape().dims()), sum.into()).expect("it fits");
            Ok(Answer::from([Value::Tensor(y)].into_iter().collect::<crate::value::Values>()))
        }
    }

    fn compared(computed: Result<f32, &'static str>, expected: Result<f32, &'static str>) -> Result<(), String> {
        let (mut computed, mut expected) = (Adds::new(computed), Adds::new(expected));
        check("wgpu:0", &[(0, "predict")], &mut computed, &mut expected).map_err(|error| error.to_string())
    }

    #[test]
    fn rounding_is_no_difference_and_more_is_named() {
        assert_eq!(compared(Ok(1e-5), Ok(0.0)), Ok(()));
        let message = compared(Ok(0.01), Ok(0.0)).expect_err("too far apart");
        assert!(
            message.starts_with("predict: output \"y\" on wgpu:0 differs from the CPU's by 1.0e-2 of its"),
            "{message}"
        );
        assert!(compared(Ok(f32::NAN), Ok(0.0)).is_err(), "NaN is no number");
        assert_eq!(compared(Ok(f32::NAN), Ok(f32::NAN)), Ok(()), "unless it is right");
        assert_eq!(compared(Ok(f32::INFINITY), Ok(f32::INFINITY)), Ok(()));
    }

    #[test]
    fn a_device_that_fails_where_the_cpu_does_not_is_wrong() {
        let message = compared(Err("no kernel"), Ok(0.0)).expect_err("it fails");
        assert_eq!(message, "predict fails on wgpu:0, on inputs that the CPU takes: no kernel");
        assert_eq!(compared(Ok(0.0), Err("nobody likes these")), Ok(()), "then nothing can be said");
        assert_eq!(compared(Ok(1.0), Err("panic")), Ok(()), "nor here");
        let message = compared(Err("panic"), Ok(0.0)).expect_err("it panics");
        assert!(message.starts_with("predict fails on wgpu:0"), "{message}");
    }
}
