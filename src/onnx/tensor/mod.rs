//! A tensor whose rank and dtype are known only at run time, on any device.
//!
//! Its primitives are Burn's, chosen by the device at run time. Burn has no tensors of rank 0: here a scalar is a tensor
//! of one element that remembers that it has no dimensions.

pub(super) mod host;
mod layout;
mod math;
mod reduce;

use burn::backend::ops::{BoolTensorOps, FloatTensorOps, IntTensorOps, TransactionPrimitive};
use burn::backend::{
    Dispatch, DispatchDevice, DispatchTensor, TensorMetadata, TensorPrimitive, get_or_init_device_settings,
};
use burn::tensor::{BoolDType, FloatDType, IntDType, Scalar, Shape, TensorData, read_sync};
use smallvec::SmallVec;

use super::error::OpError;
use super::graph::host;
use crate::transfer;
use crate::value::{Array, DType};

pub(super) use super::limits::{count, step, work};
pub(super) use layout::{broadcast_dims, resolve_axis};
pub(super) use math::{Binary, Compare};
pub(super) use reduce::Reduction;

/// The sizes of a tensor's dimensions.
pub(super) type Dims = SmallVec<[usize; 6]>;

/// What a step of the graph comes to.
pub(super) type Result<T, E = OpError> = std::result::Result<T, E>;

/// A tensor of any rank and dtype on any device.
#[derive(Clone, Debug)]
pub(super) struct Tensor {
    raw: DispatchTensor,
    dtype: DType,
    /// Whether it has no dimensions, though Burn's tensor has one.
    scalar: bool,
}

/// Which of Burn's three families of operations a dtype belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Float,
    Int,
    Bool,
}

/// The family of `dtype`.
pub(super) fn kind_of(dtype: DType) -> Kind {
    match dtype {
        DType::Bool => Kind::Bool,
        dtype if dtype.is_float() => Kind::Float,
        _ => Kind::Int,
    }
}

/// Picks one of three expressions by the tensor's kind; in each, the name stands for Burn's tensor.
macro_rules! by_kind {
    ($tensor:expr, $raw:ident => $float:expr, $int:expr, $bool:expr) => {{
        let tensor = $tensor;
        let kind = tensor.kind();
        let $raw = tensor.raw;
        match kind {
            Kind::Float => $float,
            Kind::Int => $int,
            Kind::Bool => $bool,
        }
    }};
}
use by_kind;

fn float_dtype(dtype: DType) -> FloatDType {
    match dtype {
        DType::F64 => FloatDType::F64,
        DType::F16 => FloatDType::F16,
        DType::BF16 => FloatDType::BF16,
        _ => FloatDType::F32,
    }
}

fn int_dtype(dtype: DType) -> IntDType {
    match dtype {
        DType::U8 => IntDType::U8,
        DType::U16 => IntDType::U16,
        DType::U32 => IntDType::U32,
        DType::U64 => IntDType::U64,
        DType::I8 => IntDType::I8,
        DType::I16 => IntDType::I16,
        DType::I32 => IntDType::I32,
        _ => IntDType::I64,
    }
}

/// How a device stores booleans.
fn bool_dtype(device: &DispatchDevice) -> BoolDType {
    get_or_init_device_settings::<Dispatch>(device).bool_dtype
}

/// Reads tensors of one device back, in one synchronization.
pub(super) fn read<'a>(tensors: impl Iterator<Item = &'a Tensor> + Clone) -> Result<Vec<Array>> {
    let mut transaction = TransactionPrimitive::<Dispatch>::default();
    for tensor in tensors.clone() {
        let raw = tensor.raw.clone();
        match tensor.kind() {
            Kind::Float => transaction.register_float(TensorPrimitive::Float(raw)),
            Kind::Int => transaction.register_int(raw),
            Kind::Bool => transaction.register_bool(raw),
        }
    }
    let read = read_sync(transaction.execute_async()).map_err(|error| OpError::device(&error))?;
    tensors.zip(read).map(|(tensor, data)| tensor.array(data)).collect()
}

impl Tensor {
    /// Takes what one of Burn's operations has returned.
    fn wrap(raw: DispatchTensor) -> Self {
        // Only quantized tensors have no name here, and none of the operations used returns one.
        let dtype = transfer::host_dtype(raw.dtype()).unwrap_or(DType::F32);
        Self { raw, dtype, scalar: false }
    }

    /// The same, as a scalar where `scalar`.
    fn wrap_as(raw: DispatchTensor, scalar: bool) -> Self {
        Self { scalar, ..Self::wrap(raw) }
    }

    /// A float tensor that an operation of a neural network has returned.
    pub(super) fn from_raw(raw: DispatchTensor) -> Self {
        Self::wrap(raw)
    }

    /// Burn's tensor; of a scalar, one of shape `[1]`.
    pub(super) fn raw(self) -> DispatchTensor {
        self.raw
    }

    /// Puts data on a device; `scalar` says that shape `[1]` stands for none.
    pub(super) fn from_data(data: TensorData, scalar: bool, device: &DispatchDevice) -> Self {
        let dtype = transfer::host_dtype(data.dtype()).unwrap_or(DType::F32);
        let raw = match kind_of(dtype) {
            Kind::Float => Dispatch::float_from_data(data, device),
            Kind::Int => Dispatch::int_from_data(data, device),
            Kind::Bool => Dispatch::bool_from_data(data.convert_dtype(bool_dtype(device).into()), device),
        };
        Self { raw, dtype, scalar }
    }

    /// Puts a host array on a device.
    pub(super) fn from_array(array: &Array, device: &DispatchDevice) -> Self {
        Self::from_data(transfer::whole_data(array), array.shape().rank() == 0, device)
    }

    /// A tensor of these elements; without dimensions, a scalar.
    pub(super) fn new<T: crate::value::Element>(
        elements: Vec<T>,
        dims: &[usize],
        device: &DispatchDevice,
    ) -> Result<Self> {
        let array = Array::new(elements, dims).map_err(|error| OpError::new(error.to_string()))?;
        Ok(Self::from_array(&array, device))
    }

    /// A tensor of booleans.
    pub(super) fn bools(elements: Vec<bool>, dims: &[usize], device: &DispatchDevice) -> Result<Self> {
        let array = Array::from_bools(elements, dims).map_err(|error| OpError::new(error.to_string()))?;
        Ok(Self::from_array(&array, device))
    }

    /// A tensor of `dtype` from numbers: integers are rounded toward zero and wrap, booleans are what is not zero.
    pub(super) fn from_f64s(values: &[f64], dims: &[usize], dtype: DType, device: &DispatchDevice) -> Result<Self> {
        let tensor = Self::new(values.to_vec(), dims, &host())?.cast(dtype);
        Ok(tensor.on_device(device))
    }

    /// A tensor filled with one value.
    pub(super) fn full(dims: &[usize], value: Scalar, dtype: DType, device: &DispatchDevice) -> Result<Self> {
        count(dims)?;
        let shape = Shape::from(if dims.is_empty() { vec![1] } else { dims.to_vec() });
        let raw = match kind_of(dtype) {
            Kind::Float => Dispatch::float_full(shape, value, device, float_dtype(dtype)),
            // Burn takes only what is an integer: an infinite one is the largest there is.
            Kind::Int => {
                let value = match value {
                    Scalar::Float(value) => Scalar::Int(value as i64),
                    integer => integer,
                };
                Dispatch::int_full(shape, value, device, int_dtype(dtype))
            }
            Kind::Bool if value.elem::<f64>() != 0.0 => Dispatch::bool_ones(shape, device, bool_dtype(device)),
            Kind::Bool => Dispatch::bool_zeros(shape, device, bool_dtype(device)),
        };
        Ok(Self { raw, dtype, scalar: dims.is_empty() })
    }

    /// A scalar.
    pub(super) fn scalar(value: Scalar, dtype: DType, device: &DispatchDevice) -> Result<Self> {
        Self::full(&[], value, dtype, device)
    }

    /// `start`, `start + 1`, … up to below `end`, as int64.
    pub(super) fn arange(end: usize, device: &DispatchDevice) -> Result<Self> {
        count(&[end])?;
        let end = i64::try_from(end).map_err(|_| OpError::new("a range is too long"))?;
        Ok(Self::wrap(Dispatch::int_arange(0..end, device, IntDType::I64)))
    }

    /// The sizes of its dimensions: none for a scalar.
    pub(super) fn dims(&self) -> Dims {
        if self.scalar { Dims::new() } else { Dims::from_slice(&self.raw.shape()) }
    }

    /// The size of one dimension.
    pub(super) fn dim(&self, axis: usize) -> usize {
        self.dims().get(axis).copied().unwrap_or(1)
    }

    pub(super) fn rank(&self) -> usize {
        if self.scalar { 0 } else { self.raw.shape().num_dims() }
    }

    pub(super) fn dtype(&self) -> DType {
        self.dtype
    }

    pub(super) fn kind(&self) -> Kind {
        kind_of(self.dtype)
    }

    /// The number of elements.
    pub(super) fn elements(&self) -> usize {
        self.raw.shape().num_elements()
    }

    pub(super) fn device(&self) -> DispatchDevice {
        self.raw.device()
    }

    /// The same on another device.
    pub(super) fn on_device(self, device: &DispatchDevice) -> Self {
        if self.raw.device() == *device {
            return self;
        }
        let scalar = self.scalar;
        match self.to_array() {
            Ok(array) => Self::from_array(&array, device),
            // What cannot be read stays where it is: the operation that needs it reports that.
            Err(_) => Self { scalar, ..self },
        }
    }

    /// Reads it back.
    pub(super) fn to_array(&self) -> Result<Array> {
        let raw = self.raw.clone();
        let data = match self.kind() {
            Kind::Float => read_sync(Dispatch::float_into_data(raw)),
            Kind::Int => read_sync(Dispatch::int_into_data(raw)),
            Kind::Bool => read_sync(Dispatch::bool_into_data(raw)),
        };
        self.array(data.map_err(|error| OpError::device(&error))?)
    }

    /// What was read of it, with the shape that it has.
    fn array(&self, data: TensorData) -> Result<Array> {
        let array = transfer::array(data).map_err(OpError::new)?;
        if !self.scalar {
            return Ok(array);
        }
        let (dtype, _, bytes) = array.into_parts();
        Array::from_bytes(dtype, crate::value::Shape::default(), bytes).map_err(|error| OpError::new(error.to_string()))
    }

    /// Its elements as int64, read back; floats are rounded toward zero.
    /// The same, in memory in the order of its elements: what was transposed is only told to be.
    pub(super) fn laid_out(self) -> Result<Self> {
        let device = self.device();
        Ok(Self::from_array(&self.to_array()?, &device))
    }

    pub(super) fn ints(&self) -> Result<Vec<i64>> {
        self.clone().cast(DType::I64).to_array()?.to_vec::<i64>().ok_or_else(|| OpError::new("integers were expected"))
    }

    /// Its elements as float64, read back.
    pub(super) fn floats(&self) -> Result<Vec<f64>> {
        self.clone().cast(DType::F64).to_array()?.to_vec::<f64>().ok_or_else(|| OpError::new("numbers were expected"))
    }

    /// Its one element, read back.
    pub(super) fn float(&self) -> Result<f64> {
        match self.floats()?.as_slice() {
            [value] => Ok(*value),
            values => Err(OpError::new(format!("one number was expected, found {}", values.len()))),
        }
    }

    /// Its elements in another dtype. A float becomes an integer rounded toward zero, anything but 0 becomes `true`.
    pub(super) fn cast(self, to: DType) -> Self {
        if self.dtype == to {
            return self;
        }
        let (from, scalar, device) = (self.kind(), self.scalar, self.raw.device());
        let raw = self.raw;
        let raw = match (from, kind_of(to)) {
            (Kind::Float, Kind::Float) => Dispatch::float_cast(raw, float_dtype(to)),
            (Kind::Float, Kind::Int) => Dispatch::float_into_int(raw, int_dtype(to)),
            (Kind::Float, Kind::Bool) => Dispatch::float_not_equal_elem(raw, Scalar::Float(0.0), bool_dtype(&device)),
            (Kind::Int, Kind::Float) => Dispatch::int_into_float(raw, float_dtype(to)),
            (Kind::Int, Kind::Int) => Dispatch::int_cast(raw, int_dtype(to)),
            (Kind::Int, Kind::Bool) => Dispatch::int_not_equal_elem(raw, Scalar::Int(0), bool_dtype(&device)),
            (Kind::Bool, Kind::Float) => Dispatch::bool_into_float(raw, float_dtype(to)),
            (Kind::Bool, Kind::Int) => Dispatch::bool_into_int(raw, int_dtype(to)),
            (Kind::Bool, Kind::Bool) => raw,
        };
        Self { raw, dtype: to, scalar }
    }

    /// The tensor as it is, if it holds floats.
    pub(super) fn float_only(self, what: &str) -> Result<Self> {
        match self.kind() {
            Kind::Float => Ok(self),
            _ => Err(OpError::new(format!("{what} must be of a float dtype, found {}", self.dtype))),
        }
    }

    /// The tensor as it is, if it has this rank.
    pub(super) fn of_rank(self, rank: usize, what: &str) -> Result<Self> {
        if self.rank() == rank {
            return Ok(self);
        }
        Err(OpError::new(format!("{what} must have {rank} dimensions, found shape {:?}", self.dims())))
    }
}
