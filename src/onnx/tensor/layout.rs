//! Shapes: reshaping, broadcasting, slicing, selecting, joining.

use burn::backend::Dispatch;
use burn::backend::ops::{BoolTensorOps, FloatTensorOps, IntTensorOps};
use burn::tensor::ops::PadMode;
use burn::tensor::{Scalar, Shape, Slice};

use super::{Dims, Kind, Result, Tensor, by_kind, count};
use crate::onnx::error::OpError;
use crate::value::DType;

/// An axis that may count from the end, of a tensor of this rank.
pub(in crate::onnx) fn resolve_axis(axis: i64, rank: usize) -> Result<usize> {
    let from_start = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
    usize::try_from(from_start)
        .ok()
        .filter(|&axis| axis < rank)
        .ok_or_else(|| OpError::new(format!("axis {axis} does not exist in a tensor of {rank} dimensions")))
}

/// The shape that both broadcast to, by NumPy's rules; one tensor may have it.
pub(in crate::onnx) fn broadcast_dims(a: &[usize], b: &[usize]) -> Result<Dims> {
    let rank = a.len().max(b.len());
    let at = |dims: &[usize], i: usize| (i + dims.len()).checked_sub(rank).map_or(1, |i| dims[i]);
    let dims: Dims = (0..rank)
        .map(|i| match (at(a, i), at(b, i)) {
            (a, b) if a == b => Ok(a),
            (1, b) => Ok(b),
            (a, 1) => Ok(a),
            _ => Err(OpError::caller(format!("shapes {a:?} and {b:?} do not broadcast"))),
        })
        .collect::<Result<_>>()?;
    count(&dims)?;
    Ok(dims)
}

impl Tensor {
    /// The same elements in another shape.
    pub(in crate::onnx) fn reshape(self, dims: &[usize]) -> Result<Self> {
        if self.dims().as_slice() == dims {
            return Ok(self);
        }
        let (dtype, found) = (self.dtype, self.elements());
        if dims.iter().try_fold(1_usize, |product, &dim| product.checked_mul(dim)) != Some(found) {
            return Err(OpError::caller(format!("{:?} cannot be reshaped to {dims:?}", self.dims())));
        }
        count(dims)?;
        let scalar = dims.is_empty();
        if scalar && self.raw_rank() == 1 {
            return Ok(Self { scalar, ..self });
        }
        let shape = Shape::from(if scalar { vec![1] } else { dims.to_vec() });
        let raw = by_kind!(self, raw =>
            Dispatch::float_reshape(raw, shape), Dispatch::int_reshape(raw, shape), Dispatch::bool_reshape(raw, shape));
        Ok(Self { raw, dtype, scalar })
    }

    fn raw_rank(&self) -> usize {
        if self.scalar { 1 } else { self.rank() }
    }

    /// With dimensions of size 1 in front, up to this rank.
    pub(in crate::onnx) fn with_rank(self, rank: usize) -> Result<Self> {
        let dims = self.dims();
        if dims.len() >= rank {
            return Ok(self);
        }
        let mut wider: Dims = smallvec::smallvec![1; rank - dims.len()];
        wider.extend_from_slice(&dims);
        self.reshape(&wider)
    }

    /// With a dimension of size 1 at `axis`.
    pub(in crate::onnx) fn unsqueeze(self, axis: usize) -> Result<Self> {
        let mut dims = self.dims();
        dims.insert(axis.min(dims.len()), 1);
        self.reshape(&dims)
    }

    /// Without the dimension `axis`, which is of size 1.
    pub(in crate::onnx) fn squeeze(self, axis: usize) -> Result<Self> {
        let mut dims = self.dims();
        if dims.get(axis) != Some(&1) {
            return Err(OpError::caller(format!("dimension {axis} of shape {dims:?} is not 1")));
        }
        dims.remove(axis);
        self.reshape(&dims)
    }

    /// Repeated along dimensions of size 1, to exactly this shape, which must be of at least its rank.
    pub(in crate::onnx) fn expand(self, dims: &[usize]) -> Result<Self> {
        count(dims)?;
        if self.dims().as_slice() == dims {
            return Ok(self);
        }
        if dims.is_empty() {
            return self.reshape(dims);
        }
        let dtype = self.dtype;
        let wide = self.with_rank(dims.len())?;
        let fits = wide.dims().iter().zip(dims).all(|(&from, &to)| from == to || from == 1);
        if wide.rank() != dims.len() || !fits {
            return Err(OpError::caller(format!("shape {:?} cannot be expanded to {dims:?}", wide.dims())));
        }
        let shape = Shape::from(dims.to_vec());
        let raw = by_kind!(wide, raw =>
            Dispatch::float_expand(raw, shape), Dispatch::int_expand(raw, shape), Dispatch::bool_expand(raw, shape));
        Ok(Self { raw, dtype, scalar: false })
    }

    /// Dimension `i` of the result is dimension `axes[i]` of the tensor.
    pub(in crate::onnx) fn permute(self, axes: &[usize]) -> Result<Self> {
        let rank = self.rank();
        let mut seen = vec![false; rank];
        let fits =
            axes.len() == rank && axes.iter().all(|&axis| axis < rank && !std::mem::replace(&mut seen[axis], true));
        if !fits {
            return Err(OpError::new(format!("{axes:?} is no permutation of {rank} dimensions")));
        }
        if axes.iter().enumerate().all(|(at, &axis)| at == axis) {
            return Ok(self);
        }
        let dtype = self.dtype;
        let raw = by_kind!(self, raw =>
            Dispatch::float_permute(raw, axes), Dispatch::int_permute(raw, axes), Dispatch::bool_permute(raw, axes));
        Ok(Self { raw, dtype, scalar: false })
    }

    /// With two dimensions exchanged.
    pub(in crate::onnx) fn swap(self, a: usize, b: usize) -> Result<Self> {
        let mut axes: Dims = (0..self.rank()).collect();
        if a >= axes.len() || b >= axes.len() {
            return Err(OpError::new(format!("shape {:?} has no dimensions {a} and {b}", self.dims())));
        }
        axes.swap(a, b);
        self.permute(&axes)
    }

    /// With its elements in reverse order along `axis`.
    pub(in crate::onnx) fn flip(self, axis: usize) -> Self {
        let (dtype, scalar) = (self.dtype, self.scalar);
        let raw = by_kind!(self, raw =>
            Dispatch::float_flip(raw, &[axis]), Dispatch::int_flip(raw, &[axis]), Dispatch::bool_flip(raw, &[axis]));
        Self { raw, dtype, scalar }
    }

    /// Elements `start`, `start + step`, … below `end` along `axis`; both in range, `step` at least 1.
    pub(in crate::onnx) fn slice(self, axis: usize, start: usize, end: usize, step: usize) -> Result<Self> {
        let dims = self.dims();
        let size = dims.get(axis).copied().unwrap_or(0);
        if start > end || end > size || step == 0 {
            return Err(OpError::caller(format!("{start}..{end} is no part of dimension {axis} of shape {dims:?}")));
        }
        if start == 0 && end == size && step == 1 {
            return Ok(self);
        }
        if start == end {
            let mut empty = dims;
            empty[axis] = 0;
            return Self::full(&empty, Scalar::Int(0), self.dtype, &self.device());
        }
        let slices: Vec<Slice> = dims
            .iter()
            .enumerate()
            .map(|(at, &size)| match at == axis {
                true => Slice::new(start as isize, Some(end as isize), step as isize),
                false => Slice::new(0, Some(size as isize), 1),
            })
            .collect();
        let dtype = self.dtype;
        let raw = by_kind!(self, raw =>
            Dispatch::float_slice(raw, &slices), Dispatch::int_slice(raw, &slices), Dispatch::bool_slice(raw, &slices));
        Ok(Self { raw, dtype, scalar: false })
    }

    /// One index of a dimension, which it loses.
    pub(in crate::onnx) fn index(self, axis: usize, at: usize) -> Result<Self> {
        self.slice(axis, at, at + 1, 1)?.squeeze(axis)
    }

    /// Side by side along `axis`; they are of one dtype, and of one shape but for `axis`.
    pub(in crate::onnx) fn cat(tensors: Vec<Self>, axis: usize) -> Result<Self> {
        let first = tensors.first().ok_or_else(|| OpError::new("there is nothing to concatenate"))?.clone();
        let dims = first.dims();
        let fits = |other: &Self| {
            let others = other.dims();
            other.dtype == first.dtype
                && others.len() == dims.len()
                && others.iter().zip(&dims).enumerate().all(|(at, (a, b))| at == axis || a == b)
        };
        if let Some(other) = tensors.iter().find(|other| !fits(other)) {
            let (a, b) = (first.dtype, other.dtype);
            let problem = format!("{a} {dims:?} and {b} {:?} cannot be concatenated along {axis}", other.dims());
            return Err(OpError::caller(problem));
        }
        if axis >= dims.len() {
            return Err(OpError::new(format!("axis {axis} does not exist in a tensor of shape {dims:?}")));
        }
        let mut whole = dims.clone();
        whole[axis] = tensors.iter().map(|tensor| tensor.dim(axis)).fold(0, usize::saturating_add);
        count(&whole)?;
        let mut raws: Vec<_> = tensors.into_iter().filter(|tensor| tensor.elements() > 0).map(Self::raw).collect();
        if raws.len() < 2 {
            // Of nothing but empty tensors, the sizes still add up.
            return raws.pop().map_or_else(|| first.reshape(&whole), |only| Ok(Self::wrap(only)));
        }
        Ok(Self::wrap(match first.kind() {
            Kind::Float => Dispatch::float_cat(raws, axis),
            Kind::Int => Dispatch::int_cat(raws, axis),
            Kind::Bool => Dispatch::bool_cat(raws, axis),
        }))
    }

    /// The slices at `indices` (int64, one dimension, all in range) along `axis`.
    pub(in crate::onnx) fn select(self, axis: usize, indices: Self) -> Result<Self> {
        if self.kind() == Kind::Bool {
            // Burn's CPU backend forgets that selected booleans are booleans.
            return Ok(self.cast(DType::U8).select(axis, indices)?.cast(DType::Bool));
        }
        let mut dims = self.dims();
        dims[axis] = indices.elements();
        count(&dims)?;
        if dims.contains(&0) {
            return Self::full(&dims, Scalar::Int(0), self.dtype, &self.device());
        }
        let indices = indices.raw;
        Ok(by_kind!(self, raw => Self::wrap(Dispatch::float_select(raw, axis, indices)),
            Self::wrap(Dispatch::int_select(raw, axis, indices)), Self::wrap(raw)))
    }

    /// For each element of `indices` (int64, all in range), the element of the tensor at that index of `axis` and the
    /// same index of all other dimensions.
    pub(in crate::onnx) fn gather(self, axis: usize, indices: Self) -> Self {
        if self.kind() == Kind::Bool {
            return self.cast(DType::U8).gather(axis, indices).cast(DType::Bool);
        }
        let indices = indices.raw;
        by_kind!(self, raw => Self::wrap(Dispatch::float_gather(axis, raw, indices)),
            Self::wrap(Dispatch::int_gather(axis, raw, indices)), Self::wrap(raw))
    }

    /// `value` where `mask`, else the tensor's own element; all three broadcast.
    pub(in crate::onnx) fn mask_where(self, mask: Self, value: Self) -> Result<Self> {
        if mask.dtype != DType::Bool || self.dtype != value.dtype {
            let (mask, own, value) = (mask.dtype, self.dtype, value.dtype);
            return Err(OpError::new(format!(
                "a bool and two of one dtype were expected, found {mask}, {value} and {own}"
            )));
        }
        let dims = broadcast_dims(&broadcast_dims(&self.dims(), &mask.dims())?, &value.dims())?;
        let scalar = dims.is_empty();
        let full: Dims = if scalar { smallvec::smallvec![1] } else { dims };
        let (own, mask, value) = (self.expand(&full)?, mask.expand(&full)?.raw, value.expand(&full)?.raw);
        let raw = by_kind!(own, raw => Dispatch::float_mask_where(raw, mask, value),
            Dispatch::int_mask_where(raw, mask, value), Dispatch::bool_mask_where(raw, mask, value));
        Ok(Self::wrap_as(raw, scalar))
    }

    /// With so many more elements before and after, in each dimension.
    pub(in crate::onnx) fn pad(self, pads: &[(usize, usize)], value: f64) -> Result<Self> {
        let dims: Dims =
            self.dims().iter().zip(pads).map(|(dim, (a, b))| dim.saturating_add(*a).saturating_add(*b)).collect();
        count(&dims)?;
        if pads.iter().all(|pad| *pad == (0, 0)) {
            return Ok(self);
        }
        let mode = PadMode::Constant(value as f32);
        Ok(match self.kind() {
            Kind::Float => Self::wrap(Dispatch::float_pad(self.raw, pads, mode)),
            Kind::Int if value.is_nan() || value.abs() >= 9e18 => {
                return Err(OpError::new(format!("{value} is no integer to pad with")));
            }
            Kind::Int => Self::wrap(Dispatch::int_pad(self.raw, pads, mode)),
            Kind::Bool => self.cast(DType::I32).pad(pads, value)?.cast(DType::Bool),
        })
    }
}
