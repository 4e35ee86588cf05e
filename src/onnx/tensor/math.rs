//! Element by element: arithmetic, comparison, functions.

use burn::backend::ops::{BoolTensorOps, FloatTensorOps, IntTensorOps};
use burn::backend::{Dispatch, DispatchTensor};
use burn::tensor::Scalar;

use super::{Dims, Kind, Result, Tensor, bool_dtype, by_kind};
use crate::onnx::error::OpError;
use crate::value::DType;

/// An operation on two tensors of one dtype.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::onnx) enum Binary {
    Add,
    Sub,
    Mul,
    /// Integers are divided toward zero.
    Div,
    Min,
    Max,
    /// The sign is the divisor's.
    Mod,
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::onnx) enum Compare {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Both in the higher of their ranks, and whether that is none.
fn aligned(a: Tensor, b: Tensor) -> Result<(Tensor, Tensor, bool)> {
    if a.dtype != b.dtype {
        return Err(OpError::new(format!("the inputs are of the dtypes {} and {}", a.dtype, b.dtype)));
    }
    let scalar = a.scalar && b.scalar;
    if a.scalar != b.scalar || a.rank() != b.rank() || a.dims() != b.dims() {
        super::broadcast_dims(&a.dims(), &b.dims())?;
    }
    let rank = a.rank().max(b.rank()).max(1);
    Ok((a.with_rank(rank)?, b.with_rank(rank)?, scalar))
}

/// Integers have no quotient by 0, and the least of 64 bits none by -1.
fn check_divisors(a: &Tensor, b: &Tensor) -> Result<()> {
    let divisors = b.ints()?;
    if divisors.contains(&0) {
        return Err(OpError::caller("an integer is divided by 0"));
    }
    if a.dtype == DType::I64 && divisors.contains(&-1) && a.ints()?.contains(&i64::MIN) {
        return Err(OpError::caller(format!("{} divided by -1 is no int64", i64::MIN)));
    }
    Ok(())
}

impl Tensor {
    /// `self op other`, broadcast.
    pub(in crate::onnx) fn binary(self, op: Binary, other: Self) -> Result<Self> {
        if self.dtype == DType::Bool {
            return Err(OpError::new("booleans have no arithmetic"));
        }
        let (a, b, scalar) = aligned(self, other)?;
        if matches!(op, Binary::Min | Binary::Max) {
            return a.min_max(op, b, scalar);
        }
        if matches!(op, Binary::Div | Binary::Mod) && a.kind() == Kind::Int {
            check_divisors(&a, &b)?;
        }
        let b = b.raw;
        let raw = by_kind!(a, a => match op {
            Binary::Add => Dispatch::float_add(a, b),
            Binary::Sub => Dispatch::float_sub(a, b),
            Binary::Mul => Dispatch::float_mul(a, b),
            Binary::Div => Dispatch::float_div(a, b),
            _ => Dispatch::float_remainder(a, b),
        }, match op {
            Binary::Add => Dispatch::int_add(a, b),
            Binary::Sub => Dispatch::int_sub(a, b),
            Binary::Mul => Dispatch::int_mul(a, b),
            Binary::Div => Dispatch::int_div(a, b),
            _ => Dispatch::int_remainder(a, b),
        }, a);
        Ok(Self::wrap_as(raw, scalar))
    }

    /// The smaller or larger of each pair; not a number, where either is not.
    fn min_max(self, op: Binary, other: Self, scalar: bool) -> Result<Self> {
        let device = self.device();
        let dims: Dims = super::broadcast_dims(&self.dims(), &other.dims())?;
        let (a, b) = (self.expand(&dims)?, other.expand(&dims)?);
        let compare = if op == Binary::Min { Compare::Less } else { Compare::Greater };
        let mut take_b = b.clone().compare(compare, a.clone())?;
        if a.kind() == Kind::Float {
            let nan = Self::wrap(Dispatch::float_is_nan(b.raw.clone(), bool_dtype(&device)));
            take_b = Self::wrap(Dispatch::bool_or(take_b.raw, nan.raw));
        }
        Ok(Self { scalar, ..a.mask_where(take_b, b)? })
    }

    /// `self op number`.
    pub(in crate::onnx) fn with_number(self, op: Binary, number: f64) -> Self {
        let scalar = self.scalar;
        let by = Scalar::Float(number);
        let raw = by_kind!(self, raw => match op {
            Binary::Add => Dispatch::float_add_scalar(raw, by),
            Binary::Sub => Dispatch::float_sub_scalar(raw, by),
            Binary::Mul => Dispatch::float_mul_scalar(raw, by),
            Binary::Div => Dispatch::float_div_scalar(raw, by),
            Binary::Min => Dispatch::float_clamp_max(raw, by),
            Binary::Max => Dispatch::float_clamp_min(raw, by),
            Binary::Mod => Dispatch::float_remainder_scalar(raw, by),
        }, {
            let by = Scalar::Int(number as i64);
            match op {
                Binary::Add => Dispatch::int_add_scalar(raw, by),
                Binary::Sub => Dispatch::int_sub_scalar(raw, by),
                Binary::Mul => Dispatch::int_mul_scalar(raw, by),
                Binary::Div => Dispatch::int_div_scalar(raw, by),
                Binary::Min => Dispatch::int_clamp_max(raw, by),
                Binary::Max => Dispatch::int_clamp_min(raw, by),
                Binary::Mod => Dispatch::int_remainder_scalar(raw, by),
            }
        }, raw);
        Self::wrap_as(raw, scalar)
    }

    pub(in crate::onnx) fn add(self, other: Self) -> Result<Self> {
        self.binary(Binary::Add, other)
    }

    pub(in crate::onnx) fn sub(self, other: Self) -> Result<Self> {
        self.binary(Binary::Sub, other)
    }

    pub(in crate::onnx) fn mul(self, other: Self) -> Result<Self> {
        self.binary(Binary::Mul, other)
    }

    pub(in crate::onnx) fn div(self, other: Self) -> Result<Self> {
        self.binary(Binary::Div, other)
    }

    /// Compares each pair, broadcast.
    pub(in crate::onnx) fn compare(self, op: Compare, other: Self) -> Result<Self> {
        let (a, b, scalar) = aligned(self, other)?;
        let store = bool_dtype(&a.device());
        let dims = super::broadcast_dims(&a.dims(), &b.dims())?;
        let (a, b) = (a.expand(&dims)?, b.expand(&dims)?.raw);
        let raw = by_kind!(a, a => match op {
            Compare::Equal => Dispatch::float_equal(a, b, store),
            Compare::Less => Dispatch::float_lower(a, b, store),
            Compare::LessOrEqual => Dispatch::float_lower_equal(a, b, store),
            Compare::Greater => Dispatch::float_greater(a, b, store),
            Compare::GreaterOrEqual => Dispatch::float_greater_equal(a, b, store),
        }, match op {
            Compare::Equal => Dispatch::int_equal(a, b, store),
            Compare::Less => Dispatch::int_lower(a, b, store),
            Compare::LessOrEqual => Dispatch::int_lower_equal(a, b, store),
            Compare::Greater => Dispatch::int_greater(a, b, store),
            Compare::GreaterOrEqual => Dispatch::int_greater_equal(a, b, store),
        }, match op {
            Compare::Equal => Dispatch::bool_equal(a, b),
            _ => return Err(OpError::new("booleans have no order")),
        });
        Ok(Self::wrap_as(raw, scalar))
    }

    /// Compares each element with a number.
    pub(in crate::onnx) fn compare_with(self, op: Compare, number: f64) -> Result<Self> {
        let other = Self::scalar(Scalar::Float(number), self.dtype, &self.device())?;
        self.compare(op, other)
    }

    /// Both booleans, broadcast: `and`, `or` or `xor` of each pair.
    pub(in crate::onnx) fn logic(
        self,
        op: fn(DispatchTensor, DispatchTensor) -> DispatchTensor,
        other: Self,
    ) -> Result<Self> {
        if self.dtype != DType::Bool || other.dtype != DType::Bool {
            return Err(OpError::new(format!("booleans were expected, found {} and {}", self.dtype, other.dtype)));
        }
        let (a, b, scalar) = aligned(self, other)?;
        let dims = super::broadcast_dims(&a.dims(), &b.dims())?;
        Ok(Self::wrap_as(op(a.expand(&dims)?.raw, b.expand(&dims)?.raw), scalar))
    }

    pub(in crate::onnx) fn not(self) -> Result<Self> {
        if self.dtype != DType::Bool {
            return Err(OpError::new(format!("booleans were expected, found {}", self.dtype)));
        }
        let scalar = self.scalar;
        Ok(Self::wrap_as(Dispatch::bool_not(self.raw), scalar))
    }

    /// One of Burn's functions of floats, element by element.
    pub(in crate::onnx) fn map(self, function: impl FnOnce(DispatchTensor) -> DispatchTensor) -> Result<Self> {
        let scalar = self.scalar;
        Ok(Self::wrap_as(function(self.float_only("the input")?.raw), scalar))
    }

    /// One function of integers, element by element.
    pub(in crate::onnx) fn map_ints(self, function: impl FnOnce(DispatchTensor) -> DispatchTensor) -> Result<Self> {
        if self.kind() != Kind::Int {
            return Err(OpError::new(format!("integers were expected, found {}", self.dtype)));
        }
        let scalar = self.scalar;
        Ok(Self::wrap_as(function(self.raw), scalar))
    }

    /// One function of two tensors of integers, broadcast.
    pub(in crate::onnx) fn map_int_pairs(
        self,
        other: Self,
        function: fn(DispatchTensor, DispatchTensor) -> DispatchTensor,
    ) -> Result<Self> {
        if self.kind() != Kind::Int {
            return Err(OpError::new(format!("integers were expected, found {}", self.dtype)));
        }
        let (a, b, scalar) = aligned(self, other)?;
        let dims = super::broadcast_dims(&a.dims(), &b.dims())?;
        Ok(Self::wrap_as(function(a.expand(&dims)?.raw, b.expand(&dims)?.raw), scalar))
    }

    /// Each element to this power.
    pub(in crate::onnx) fn power(self, exponent: f64) -> Result<Self> {
        if exponent.is_nan() || exponent.abs() >= 1e9 {
            return Err(OpError::new(format!("an exponent of {exponent} is not supported")));
        }
        self.map(|raw| Dispatch::float_powf_scalar(raw, Scalar::Float(exponent)))
    }

    pub(in crate::onnx) fn neg(self) -> Result<Self> {
        let scalar = self.scalar;
        let raw = by_kind!(self, raw => Dispatch::float_neg(raw), Dispatch::int_neg(raw),
            return Err(OpError::new("booleans have no arithmetic")));
        Ok(Self::wrap_as(raw, scalar))
    }

    pub(in crate::onnx) fn abs(self) -> Result<Self> {
        let scalar = self.scalar;
        let raw = by_kind!(self, raw => Dispatch::float_abs(raw), Dispatch::int_abs(raw),
            return Err(OpError::new("booleans have no arithmetic")));
        Ok(Self::wrap_as(raw, scalar))
    }

    pub(in crate::onnx) fn sign(self) -> Result<Self> {
        let scalar = self.scalar;
        let raw = by_kind!(self, raw => Dispatch::float_sign(raw), Dispatch::int_sign(raw),
            return Err(OpError::new("booleans have no arithmetic")));
        Ok(Self::wrap_as(raw, scalar))
    }

    /// The matrix product over the last two dimensions; those before them broadcast. Both are of rank 2 or more.
    pub(in crate::onnx) fn matmul(self, other: Self) -> Result<Self> {
        if self.dtype != other.dtype {
            return Err(OpError::new(format!("the inputs are of the dtypes {} and {}", self.dtype, other.dtype)));
        }
        let (a, b) = (self.dims(), other.dims());
        let (k, l) = (a.last().copied().unwrap_or(1), b[b.len().saturating_sub(2)..].first().copied().unwrap_or(1));
        if a.len() < 2 || b.len() < 2 || k != l {
            return Err(OpError::caller(format!("matrices of shapes {a:?} and {b:?} cannot be multiplied")));
        }
        let mut product = super::broadcast_dims(&a[..a.len() - 2], &b[..b.len() - 2])?;
        product.extend([a[a.len() - 2], b[b.len() - 1]]);
        super::work(&[super::count(&product)?, k])?;
        // A stack of matrices by one matrix is one large product.
        if b.len() == 2 && a.len() > 2 {
            let rows = a[..a.len() - 1].iter().product();
            let mut dims = a.clone();
            dims[a.len() - 1] = b[1];
            return self.reshape(&[rows, k])?.matmul(other)?.reshape(&dims);
        }
        let dtype = self.dtype;
        if self.kind() == Kind::Int && !matches!(dtype, DType::I32 | DType::I64) {
            // Burn's CPU backend multiplies matrices of these two alone.
            return Ok(self.cast(DType::I64).matmul(other.cast(DType::I64))?.cast(dtype));
        }
        let rank = a.len().max(b.len());
        let (a, b) = (self.with_rank(rank)?, other.with_rank(rank)?);
        let b = b.raw;
        Ok(by_kind!(a, a => Self::wrap(Dispatch::float_matmul(a, b)), Self::wrap(Dispatch::int_matmul(a, b)),
            return Err(OpError::new("booleans have no arithmetic"))))
    }
}
