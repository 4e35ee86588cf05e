//! Made-up inputs that fit what a method says of them.

use ekiden::value::{Array, DType, Shape, Signature, TensorSpec, Value, ValueSpec, Values};
use fastrand::Rng;
use half::{bf16, f16};

/// The largest input that is made up, in bytes.
pub(crate) const LARGEST: usize = 256 << 20;

/// Inputs for a method, of so many rows along its batch dimension. The same seed gives the same inputs.
///
/// # Errors
/// Which input would be too large.
pub(crate) fn inputs(signature: &Signature, rows: usize, seed: u64) -> Result<Values, String> {
    let mut random = Rng::with_seed(seed);
    let dimension = signature.batching.map(|batching| batching.input_dim);
    signature.inputs.iter().map(|spec| value(spec, dimension, rows, &mut random)).collect()
}

/// A value that fits `spec`, of so many rows along the batch dimension.
fn value(spec: &ValueSpec, dimension: Option<usize>, rows: usize, random: &mut Rng) -> Result<Value, String> {
    Ok(match spec {
        ValueSpec::Tensor(spec) => Value::Tensor(tensor(spec, dimension, rows, random)?),
        ValueSpec::List(_) => Value::List(vec!["example".into(); rows]),
        ValueSpec::Texts(spec) => Value::List(spec.filled("example", rows)),
        ValueSpec::Json(_) => Value::Json(serde_json::json!({})),
        ValueSpec::Text(_) => Value::Text("example".to_owned()),
        ValueSpec::Bytes(_) => Value::Bytes("example".into()),
    })
}

/// Floats from 0 up to 1, whole numbers from 0 to 9; 1 for each size that can be any.
fn tensor(spec: &TensorSpec, dimension: Option<usize>, rows: usize, random: &mut Rng) -> Result<Array, String> {
    let any_rank = vec![None; dimension.unwrap_or(0) + 1];
    let sizes = spec.shape().unwrap_or(&any_rank).iter().enumerate();
    let size = |(at, &size): (usize, &Option<usize>)| size.unwrap_or(if Some(at) == dimension { rows } else { 1 });
    let shape = Shape::from(sizes.map(size).collect::<Vec<usize>>().as_slice());
    let count = shape.elements().filter(|elements| elements.checked_mul(8).is_some_and(|bytes| bytes <= LARGEST));
    let count = count.ok_or_else(|| format!("input \"{}\" of shape {shape} is too large", spec.name()))?;
    let float = |random: &mut Rng| random.f32();
    macro_rules! whole {
        ($($dtype:ident: $type:ty),+) => {
            match spec.dtype() {
                $(DType::$dtype => Array::new((0..count).map(|_| random.u8(..10) as $type).collect::<Vec<_>>(), shape),)+
                DType::Bool => Array::from_bools((0..count).map(|_| random.bool()).collect(), shape),
                DType::F16 => Array::new((0..count).map(|_| f16::from_f32(float(random))).collect::<Vec<_>>(), shape),
                DType::BF16 => Array::new((0..count).map(|_| bf16::from_f32(float(random))).collect::<Vec<_>>(), shape),
                DType::F32 => Array::new((0..count).map(|_| float(random)).collect::<Vec<_>>(), shape),
                DType::F64 => Array::new((0..count).map(|_| random.f64()).collect::<Vec<_>>(), shape),
            }
        };
    }
    let array = whole!(U8: u8, U16: u16, U32: u32, U64: u64, I8: i8, I16: i16, I32: i32, I64: i64);
    array.map_err(|error| error.to_string())
}
