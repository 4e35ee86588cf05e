//! Between host arrays and Burn's tensors.

use burn::tensor::kind::Basic;
use burn::tensor::{AllocationProperty, BoolStore, DType as BurnDType, Device, Tensor, TensorData};
use bytes::Bytes;
use half::{bf16, f16};

use crate::value::gather::{self, Rows};
use crate::value::{Array, DType, Shape, Value, ValueSpec, Values};

/// From so many bytes on, sharing them costs less than copying them.
const SHARE: usize = 16 << 10;

/// Lays rows side by side along `dim` in one buffer, and makes it a tensor of rank `D` on `device`: one copy, one
/// upload. A large array that is the whole batch is not even copied; a backend that writes in place copies it then. A scalar becomes a tensor of shape `[1]`. The rows are of arrays of rank `D`.
pub(super) fn upload<const D: usize, K: Basic>(
    parts: &[Rows<'_>],
    dim: Option<usize>,
    device: &Device,
) -> Result<Tensor<D, K>, String> {
    let (first, _) = parts.first().ok_or("there is nothing to upload")?;
    let dtype = first.dtype();
    let data = match dim {
        Some(dim) => {
            let shape = gather::shape(parts, dim).ok_or("the inputs of a batch do not fit together")?;
            tensor_data(parts, dim, &shape, dtype)
        }
        None if first.shape().rank() == 0 => {
            let scalar = Array::from_bytes(dtype, Shape::from([1]), first.data().clone());
            let scalar = scalar.map_err(|error| error.to_string())?;
            tensor_data(&[(&scalar, 0..1)], 0, scalar.shape(), dtype)
        }
        None => {
            let rows = first.shape().dims().first().copied().unwrap_or(0);
            tensor_data(&[(first, 0..rows)], 0, first.shape(), dtype)
        }
    };
    let dtype = data.dtype();
    Ok(Tensor::from_data(data, (device, dtype)))
}

fn tensor_data(parts: &[Rows<'_>], dim: usize, shape: &Shape, dtype: DType) -> TensorData {
    if let Some(data) = whole(parts, dim).filter(|data| data.len() >= SHARE && is_aligned(data, dtype)) {
        let bytes = burn::tensor::Bytes::from_shared(data.clone(), AllocationProperty::Other);
        return TensorData::from_bytes(bytes, shape.dims().to_vec(), burn_dtype(dtype));
    }
    macro_rules! of {
        ($type:ty) => {
            TensorData::new(gather::elements::<$type>(parts, dim), shape.dims().to_vec())
        };
    }
    match dtype {
        DType::Bool => {
            TensorData::from_bytes_vec(gather::elements::<u8>(parts, dim), shape.dims().to_vec(), burn_dtype(dtype))
        }
        DType::U8 => of!(u8),
        DType::U16 => of!(u16),
        DType::U32 => of!(u32),
        DType::U64 => of!(u64),
        DType::I8 => of!(i8),
        DType::I16 => of!(i16),
        DType::I32 => of!(i32),
        DType::I64 => of!(i64),
        DType::F16 => of!(f16),
        DType::BF16 => of!(bf16),
        DType::F32 => of!(f32),
        DType::F64 => of!(f64),
    }
}

/// The buffer in which these rows lie side by side already: they are all the rows of one array, in order, be it one call's
/// or a batch that came from another process.
fn whole<'a>(parts: &[Rows<'a>], dim: usize) -> Option<&'a Bytes> {
    let (first, _) = parts.first()?;
    let mut end = 0;
    for (array, rows) in parts {
        let same = array.data().as_ptr() == first.data().as_ptr() && array.shape() == first.shape();
        if !same || rows.start != end {
            return None;
        }
        end = rows.end;
    }
    (first.shape().dims().get(dim) == Some(&end)).then(|| first.data())
}

fn is_aligned(data: &Bytes, dtype: DType) -> bool {
    data.as_ptr().addr().is_multiple_of(dtype.size())
}

fn burn_dtype(dtype: DType) -> BurnDType {
    match dtype {
        DType::Bool => BurnDType::Bool(BoolStore::Native),
        DType::U8 => BurnDType::U8,
        DType::U16 => BurnDType::U16,
        DType::U32 => BurnDType::U32,
        DType::U64 => BurnDType::U64,
        DType::I8 => BurnDType::I8,
        DType::I16 => BurnDType::I16,
        DType::I32 => BurnDType::I32,
        DType::I64 => BurnDType::I64,
        DType::F16 => BurnDType::F16,
        DType::BF16 => BurnDType::BF16,
        DType::F32 => BurnDType::F32,
        DType::F64 => BurnDType::F64,
    }
}

/// Makes scalars of tensors of shape `[1]` where the spec says so: Burn has no tensors of rank 0.
pub(super) fn restore_scalars(values: &mut Values, specs: &[ValueSpec]) {
    for (value, spec) in values.iter_mut().zip(specs) {
        let (Value::Tensor(array), ValueSpec::Tensor(spec)) = (&mut *value, spec) else { continue };
        let is_scalar = spec.shape().is_some_and(<[_]>::is_empty) && array.shape().dims() == [1];
        if is_scalar && let Ok(scalar) = Array::from_bytes(array.dtype(), Shape::default(), array.data().clone()) {
            *array = scalar;
        }
    }
}

/// Keeps Burn's buffer alive behind a [`Bytes`].
struct Read(burn::tensor::Bytes);

impl AsRef<[u8]> for Read {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Takes what was read back from a device as a host array, without copying it.
pub(super) fn array(data: TensorData) -> Result<Array, String> {
    let (bytes, shape, dtype) = data.into_parts();
    let shape = Shape::new(shape.as_slice());
    let dtype = match dtype {
        BurnDType::F64 => DType::F64,
        BurnDType::F32 | BurnDType::Flex32 => DType::F32,
        BurnDType::F16 => DType::F16,
        BurnDType::BF16 => DType::BF16,
        BurnDType::I64 => DType::I64,
        BurnDType::I32 => DType::I32,
        BurnDType::I16 => DType::I16,
        BurnDType::I8 => DType::I8,
        BurnDType::U64 => DType::U64,
        BurnDType::U32 => DType::U32,
        BurnDType::U16 => DType::U16,
        BurnDType::U8 => DType::U8,
        BurnDType::Bool(BoolStore::Native | BoolStore::U8) => DType::Bool,
        BurnDType::Bool(BoolStore::U32) => {
            let words: Vec<u32> = bytemuck::pod_collect_to_vec(&bytes);
            let bools = words.into_iter().map(|word| word != 0).collect();
            return Array::from_bools(bools, shape).map_err(|error| error.to_string());
        }
        BurnDType::QFloat(_) => return Err("a quantized tensor cannot be an output; dequantize it".to_owned()),
    };
    Array::from_bytes(dtype, shape, Bytes::from_owner(Read(bytes))).map_err(|error| error.to_string())
}
