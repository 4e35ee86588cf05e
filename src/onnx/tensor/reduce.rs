//! Along dimensions: sums, extremes, sorting.

use burn::backend::Dispatch;
use burn::backend::ops::{ActivationOps, FloatTensorOps, IntTensorOps};
use burn::tensor::IntDType;

use super::{Kind, Result, Tensor, by_kind};
use crate::onnx::error::OpError;

/// How a dimension is reduced to one element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::onnx) enum Reduction {
    Sum,
    Mean,
    Prod,
    Max,
    Min,
}

impl Tensor {
    /// Along `axis`, which stays with size 1.
    pub(in crate::onnx) fn reduce(self, by: Reduction, axis: usize) -> Result<Self> {
        let dims = self.dims();
        let neutral = by == Reduction::Sum || by == Reduction::Prod;
        if dims.get(axis).is_none_or(|&size| size == 0 && !neutral) {
            return Err(OpError::caller(format!("there is nothing along axis {axis} of shape {dims:?}")));
        }
        let raw = by_kind!(self, raw => match by {
            Reduction::Sum => Dispatch::float_sum_dim(raw, axis),
            Reduction::Mean => Dispatch::float_mean_dim(raw, axis),
            Reduction::Prod => Dispatch::float_prod_dim(raw, axis),
            Reduction::Max => Dispatch::float_max_dim(raw, axis),
            Reduction::Min => Dispatch::float_min_dim(raw, axis),
        }, match by {
            Reduction::Sum => Dispatch::int_sum_dim(raw, axis),
            Reduction::Mean => Dispatch::int_mean_dim(raw, axis),
            Reduction::Prod => Dispatch::int_prod_dim(raw, axis),
            Reduction::Max => Dispatch::int_max_dim(raw, axis),
            Reduction::Min => Dispatch::int_min_dim(raw, axis),
        }, return Err(OpError::new("booleans have no arithmetic")));
        Ok(Self::wrap(raw))
    }

    pub(in crate::onnx) fn softmax(self, axis: usize) -> Result<Self> {
        if self.elements() == 0 { Ok(self) } else { self.map(|raw| Dispatch::softmax(raw, axis)) }
    }

    pub(in crate::onnx) fn log_softmax(self, axis: usize) -> Result<Self> {
        if self.elements() == 0 { Ok(self) } else { self.map(|raw| Dispatch::log_softmax(raw, axis)) }
    }

    /// Sorted along `axis`, with the int64 indices that the elements had.
    pub(in crate::onnx) fn sort(self, axis: usize, descending: bool) -> Result<(Self, Self)> {
        let (values, indices) = by_kind!(self, raw =>
            Dispatch::float_sort_with_indices(raw, axis, descending, IntDType::I64),
            Dispatch::int_sort_with_indices(raw, axis, descending),
            return Err(OpError::new("booleans have no order")));
        Ok((Self::wrap(values), Self::wrap(indices).cast(crate::value::DType::I64)))
    }

    /// The int64 index of the first largest or smallest element along `axis`, which stays with size 1.
    pub(in crate::onnx) fn arg_extreme(self, axis: usize, largest: bool) -> Result<Self> {
        if self.elements() == 0 {
            return Err(OpError::caller(format!("shape {:?} has no extreme", self.dims())));
        }
        let raw = match (self.kind(), largest) {
            (Kind::Float, true) => Dispatch::float_argmax(self.raw, axis, IntDType::I64),
            (Kind::Float, false) => Dispatch::float_argmin(self.raw, axis, IntDType::I64),
            (Kind::Int, true) => Dispatch::int_argmax(self.raw, axis),
            (Kind::Int, false) => Dispatch::int_argmin(self.raw, axis),
            (Kind::Bool, _) => return Err(OpError::new("booleans have no order")),
        };
        Ok(Self::wrap(raw).cast(crate::value::DType::I64))
    }

    /// Products from the start up to each element along `axis`.
    pub(in crate::onnx) fn cumprod(self, axis: usize) -> Result<Self> {
        Ok(Self::wrap(by_kind!(self, raw => Dispatch::float_cumprod(raw, axis), Dispatch::int_cumprod(raw, axis),
            return Err(OpError::new("booleans have no arithmetic")))))
    }

    /// Sums from the start up to each element along `axis`.
    pub(in crate::onnx) fn cumsum(self, axis: usize) -> Result<Self> {
        Ok(Self::wrap(by_kind!(self, raw => Dispatch::float_cumsum(raw, axis), Dispatch::int_cumsum(raw, axis),
            return Err(OpError::new("booleans have no arithmetic")))))
    }
}
