//! Between host arrays and Burn's tensors.

use burn::tensor::kind::Basic;
use burn::tensor::{Device, Tensor, TensorData};

use crate::transfer;
use crate::value::gather::{self, Rows};
use crate::value::{Array, Shape, Value, ValueSpec, Values};

/// Lays rows side by side along `dim` in one buffer, and makes it a tensor of rank `D` on `device`: one copy, one
/// upload. A large array that is the whole batch is not even copied; a backend that writes in place copies it then. A scalar becomes a tensor of shape `[1]`. The rows are of arrays of rank `D`.
pub(super) fn upload<const D: usize, K: Basic>(
    parts: &[Rows<'_>],
    dim: Option<usize>,
    device: &Device,
) -> Result<Tensor<D, K>, String> {
    let data = gathered(parts, dim)?;
    let dtype = data.dtype();
    Ok(Tensor::from_data(data, (device, dtype)))
}

/// All rows of a batch in one buffer; without a batch dimension, the one array that there is.
pub(super) fn gathered(parts: &[Rows<'_>], dim: Option<usize>) -> Result<TensorData, String> {
    let (first, _) = parts.first().ok_or("there is nothing to upload")?;
    let Some(dim) = dim else { return Ok(transfer::whole_data(first)) };
    let shape = gather::shape(parts, dim).ok_or("the inputs of a batch do not fit together")?;
    Ok(transfer::tensor_data(parts, dim, &shape, first.dtype()))
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
