//! Between host arrays and what Burn reads and writes.

use burn::tensor::{AllocationProperty, BoolStore, DType as BurnDType, TensorData};
use bytes::Bytes;
use half::{bf16, f16};

use crate::value::gather::{self, Rows};
use crate::value::{Array, DType, Shape};

/// From so many bytes on, sharing them costs less than copying them.
const SHARE: usize = 16 << 10;

/// Rows laid side by side along `dim`, of the shape `shape`: one copy. A large array that is the whole batch is not even
/// copied; a backend that writes in place copies it then.
pub(crate) fn tensor_data(parts: &[Rows<'_>], dim: usize, shape: &Shape, dtype: DType) -> TensorData {
    if let Some(data) = whole(parts, dim).filter(|data| data.len() >= SHARE && is_aligned(data, dtype)) {
        return shared(data, shape.dims(), dtype);
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

/// A whole array, with dimensions `[1]` where it is a scalar: Burn has no tensors of rank 0.
pub(crate) fn whole_data(array: &Array) -> TensorData {
    let dtype = array.dtype();
    let scalar = (array.shape().rank() == 0).then(|| Array::from_bytes(dtype, Shape::from([1]), array.data().clone()));
    // One element of a dtype takes as many bytes with a dimension as without.
    let array = scalar.as_ref().and_then(|scalar| scalar.as_ref().ok()).unwrap_or(array);
    let rows = array.shape().dims().first().copied().unwrap_or(0);
    tensor_data(&[(array, 0..rows)], 0, array.shape(), dtype)
}

fn shared(data: &Bytes, dims: &[usize], dtype: DType) -> TensorData {
    let bytes = burn::tensor::Bytes::from_shared(data.clone(), AllocationProperty::Other);
    TensorData::from_bytes(bytes, dims.to_vec(), burn_dtype(dtype))
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

/// Burn's name of a dtype.
pub(crate) fn burn_dtype(dtype: DType) -> BurnDType {
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

/// Our name of one of Burn's dtypes; `None` for quantized ones.
pub(crate) fn host_dtype(dtype: BurnDType) -> Option<DType> {
    Some(match dtype {
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
        BurnDType::Bool(_) => DType::Bool,
        BurnDType::QFloat(_) => return None,
    })
}

/// Keeps Burn's buffer alive behind a [`Bytes`].
struct Read(burn::tensor::Bytes);

impl AsRef<[u8]> for Read {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Takes what was read back from a device as a host array, without copying it.
pub(crate) fn array(data: TensorData) -> Result<Array, String> {
    let (bytes, shape, burn) = data.into_parts();
    let shape = Shape::new(shape.as_slice());
    if burn == BurnDType::Bool(BoolStore::U32) {
        let words: Vec<u32> = bytemuck::pod_collect_to_vec(&bytes);
        let bools = words.into_iter().map(|word| word != 0).collect();
        return Array::from_bools(bools, shape).map_err(|error| error.to_string());
    }
    let dtype = host_dtype(burn).ok_or("a quantized tensor cannot be an output; dequantize it")?;
    Array::from_bytes(dtype, shape, Bytes::from_owner(Read(bytes))).map_err(|error| error.to_string())
}
