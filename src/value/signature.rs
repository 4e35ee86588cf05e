//! What a whole method takes and returns.

use super::{Array, DType, Shape, Value, ValueSpec, Values};

/// Along which dimensions the calls of a method can be batched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batching {
    /// The batch dimension of every input.
    pub input_dim: usize,
    /// The batch dimension of every output.
    pub output_dim: usize,
}

/// What a method takes and returns, and whether its calls can be batched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The inputs, in the order of the method's parameters.
    pub inputs: Vec<ValueSpec>,
    /// The outputs, in the order in which the method returns them.
    pub outputs: Vec<ValueSpec>,
    /// How calls are batched; `None` for a method that is run once per call.
    pub batching: Option<Batching>,
    /// Whether a call is answered with a stream of such outputs, as they come, and not with one of them.
    pub streams: bool,
}

impl Signature {
    /// Inputs of `rows` rows, all zeros.
    ///
    /// # Errors
    /// Which input is no tensor, or has a size that is not given and not that of the batch dimension.
    pub fn zeros(&self, rows: usize) -> Result<Values, String> {
        self.filled(rows, |_, _, bytes| bytes)
    }

    /// Inputs of `rows` rows that are neither round nor random: floats between -1 and 1, and 0 or 1 for everything else.
    ///
    /// # Errors
    /// As of [`zeros`](Self::zeros).
    pub(crate) fn sample(&self, rows: usize) -> Result<Values, String> {
        self.filled(rows, |dtype, input, mut bytes| {
            let wave = |index: usize| ((index + 17 * input) as f32 * 0.37).sin();
            for (index, element) in bytes.chunks_exact_mut(dtype.size()).enumerate() {
                let number = wave(index);
                match dtype {
                    DType::F32 => element.copy_from_slice(&number.to_le_bytes()),
                    DType::F64 => element.copy_from_slice(&f64::from(number).to_le_bytes()),
                    DType::F16 => element.copy_from_slice(&half::f16::from_f32(number).to_le_bytes()),
                    DType::BF16 => element.copy_from_slice(&half::bf16::from_f32(number).to_le_bytes()),
                    // 1, of whatever width.
                    _ => element[0] = u8::from(number > 0.0),
                }
            }
            bytes
        })
    }

    /// Inputs of `rows` rows, made of zero bytes by `fill`, which is told the dtype and which input it is.
    fn filled(&self, rows: usize, fill: impl Fn(DType, usize, Vec<u8>) -> Vec<u8>) -> Result<Values, String> {
        let dim = self.batching.map(|batching| batching.input_dim);
        let make = |(input, spec): (usize, &ValueSpec)| {
            let problem = |problem: &str| format!("input \"{}\" is a {spec}, {problem}", spec.name());
            let ValueSpec::Tensor(tensor) = spec else { return Err(problem("of which there is no zero")) };
            let sizes = tensor.shape().ok_or_else(|| problem("and its rank is not given"))?;
            let size = |(at, size): (usize, &Option<usize>)| size.or((Some(at) == dim).then_some(rows));
            let sizes: Option<Vec<usize>> = sizes.iter().enumerate().map(size).collect();
            let shape = Shape::new(&sizes.ok_or_else(|| problem("and not all sizes are given"))?);
            let bytes = shape.elements().and_then(|elements| elements.checked_mul(tensor.dtype().size()));
            let bytes = fill(tensor.dtype(), input, vec![0_u8; bytes.ok_or_else(|| problem("which is too large"))?]);
            let array = Array::from_bytes(tensor.dtype(), shape, bytes.into()).map_err(|error| error.to_string())?;
            Ok(Value::Tensor(array))
        };
        self.inputs.iter().enumerate().map(make).collect()
    }

    /// Checks the inputs of a call and counts its rows (1 for a method that is not batchable).
    ///
    /// # Errors
    /// A message that names the input, what was expected and what came.
    pub fn check_inputs(&self, values: &[Value]) -> Result<usize, String> {
        if values.len() != self.inputs.len() {
            return Err(format!("expected {} inputs, found {}", self.inputs.len(), values.len()));
        }
        for (spec, value) in self.inputs.iter().zip(values) {
            spec.check(value).map_err(|problem| format!("input \"{}\": {problem}", spec.name()))?;
        }
        let Some(batching) = self.batching else { return Ok(1) };
        let mut agreed: Option<(usize, &str)> = None;
        for (spec, value) in self.inputs.iter().zip(values) {
            let rows = value.rows(batching.input_dim).ok_or_else(|| {
                format!(
                    "input \"{}\": expected a batch dimension {}, found {}",
                    spec.name(),
                    batching.input_dim,
                    match value {
                        Value::Tensor(array) => format!("a tensor of shape {}", array.shape()),
                        other => other.kind().to_string(),
                    }
                )
            })?;
            match agreed {
                None => agreed = Some((rows, spec.name())),
                Some((expected, first)) if expected != rows => {
                    return Err(format!(
                        "input \"{}\": expected {expected} rows, as many as \"{first}\" has, found {rows}",
                        spec.name()
                    ));
                }
                Some(_) => {}
            }
        }
        Ok(agreed.map_or(1, |(rows, _)| rows))
    }

    /// Checks the outputs of a run, which took `rows` rows.
    ///
    /// # Errors
    /// A message that names the output, what was expected and what came.
    pub fn check_outputs(&self, values: &[Value], rows: usize) -> Result<(), String> {
        if values.len() != self.outputs.len() {
            return Err(format!("expected {} outputs, found {}", self.outputs.len(), values.len()));
        }
        for (spec, value) in self.outputs.iter().zip(values) {
            spec.check(value).map_err(|problem| format!("output \"{}\": {problem}", spec.name()))?;
            if let Some(batching) = self.batching {
                let found = value.rows(batching.output_dim);
                if found != Some(rows) {
                    return Err(format!(
                        "output \"{}\": expected {rows} rows along dimension {}, found {}",
                        spec.name(),
                        batching.output_dim,
                        found.map_or_else(|| "no such dimension".to_owned(), |found| found.to_string())
                    ));
                }
            }
        }
        Ok(())
    }

    /// What a call of no rows is answered with, without running anything: outputs of no rows.
    ///
    /// # Errors
    /// A message, where an output's spec does not give its sizes in the other dimensions.
    pub fn empty_outputs(&self) -> Result<Values, String> {
        let dim = self.batching.map_or(0, |batching| batching.output_dim);
        self.outputs
            .iter()
            .map(|spec| match spec {
                ValueSpec::List(_) | ValueSpec::Texts(_) => Ok(Value::List(Vec::new())),
                ValueSpec::Tensor(spec) => {
                    let sizes: Option<Vec<usize>> = spec.shape().and_then(|shape| {
                        shape.iter().enumerate().map(|(at, size)| if at == dim { Some(0) } else { *size }).collect()
                    });
                    sizes
                        .filter(|sizes| dim < sizes.len())
                        .and_then(|sizes| {
                            super::Array::from_bytes(spec.dtype(), Shape::new(&sizes), bytes::Bytes::new()).ok()
                        })
                        .map(Value::Tensor)
                        .ok_or_else(|| unknown_size(spec.name()))
                }
                other => Err(unknown_size(other.name())),
            })
            .collect()
    }
}

fn unknown_size(output: &str) -> String {
    format!("the call has no rows, and the size of output \"{output}\" is not known without running it")
}
