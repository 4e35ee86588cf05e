//! The Rust types that methods take and return, and callers give and get.

use std::any::TypeId;

use burn::tensor::{Bool, Device, Float, Int, Tensor};
use bytes::Bytes;
use ekiden_actors::{MethodError, Part};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::read_back::ReadBack;
use super::tensor;
use crate::serving::CallInput;
use crate::transfer;
use crate::value::{Array, Batching, DType, TensorSpec, TextsSpec, Value, ValueKind, ValueSpec, gather};

/// One input of all calls of a batch, as a method's parameter is made from it.
#[derive(Debug)]
pub struct InputBatch<'a> {
    pub(super) parts: &'a [Part<'a, CallInput>],
    pub(super) index: usize,
    pub(super) batching: Option<Batching>,
    pub(super) device: &'a Device,
}

impl InputBatch<'_> {
    /// Each call's value and the rows of it that are meant.
    pub(super) fn values(&self) -> impl Iterator<Item = (&Value, std::ops::Range<usize>)> {
        self.parts.iter().filter_map(|part| Some((part.input.values.get(self.index)?, part.rows.clone())))
    }

    pub(super) fn arrays(&self) -> Result<Vec<gather::Rows<'_>>, MethodError> {
        let rows: Option<Vec<_>> = self
            .values()
            .map(|(value, rows)| match value {
                Value::Tensor(array) => Some((array, rows)),
                _ => None,
            })
            .collect();
        rows.ok_or_else(|| MethodError::failed("an input is not a tensor"))
    }

    fn sole(&self) -> Result<&Value, MethodError> {
        match self.values().next() {
            Some((value, _)) if self.parts.len() == 1 => Ok(value),
            _ => Err(MethodError::failed("an input of this kind cannot be batched")),
        }
    }
}

/// A Rust type that a method can take or return, and a caller give or get:
///
/// | type | value | batched along |
/// |---|---|---|
/// | `Tensor<D, Float \| Int \| Bool>` | a tensor of rank `D` | any dimension |
/// | [`Array`] | a host tensor of any rank and dtype | any dimension |
/// | `Vec<T>`, `T` a serde type | a list; one element is one row | dimension 0 |
/// | [`Json<T>`] | one serde value | never |
/// | [`String`] | one text | never |
/// | [`Bytes`] | raw bytes | never |
pub trait Data: Sized + Send + 'static {
    /// The spec of such a value where the developer gave only a name.
    fn default_spec(name: String) -> ValueSpec;

    /// Whether values of this spec are of this type.
    ///
    /// # Errors
    /// What the type is, to follow what the spec is.
    fn check_spec(spec: &ValueSpec) -> Result<(), String>;

    /// Makes the parameter of a method from all calls of a batch.
    ///
    /// # Errors
    /// Why it cannot be made: the caller's fault only where types cannot be checked before, as with [`Json`].
    fn gather(batch: &InputBatch<'_>) -> Result<Self, MethodError>;

    /// Leaves what a method returned to be read back.
    ///
    /// # Errors
    /// Why it cannot be.
    fn stage(self, back: &mut ReadBack) -> Result<(), MethodError>;

    /// What a caller gives.
    ///
    /// # Errors
    /// Why it cannot be given.
    fn into_value(self) -> Result<Value, String>;

    /// What a caller gets.
    ///
    /// # Errors
    /// Why it cannot be this type.
    fn from_value(value: Value) -> Result<Self, String>;
}

fn check_kind(kind: ValueKind, spec: &ValueSpec) -> Result<(), String> {
    if spec.kind() == kind { Ok(()) } else { Err(format!("a {kind}")) }
}

/// Whether a `Tensor<D>` can be made of it; of a scalar, one of rank 1 can.
fn check_rank<const D: usize>(array: &Array) -> Result<(), String> {
    let rank = array.shape().rank();
    if rank == D || (rank == 0 && D == 1) {
        return Ok(());
    }
    Err(format!("expected a tensor of rank {D}, found {} {}", array.dtype(), array.shape()))
}

fn wrong_kind(expected: ValueKind, value: &Value) -> String {
    format!("expected a {expected}, found a {}", value.kind())
}

/// A kind of tensor: which dtypes it holds.
pub trait Kind: burn::tensor::kind::Transaction + Send + 'static {
    /// Burn's name of it.
    const NAME: &'static str;
    /// The dtype of a tensor whose spec gives none: what Burn makes where it is not told otherwise.
    const DEFAULT: DType;
    /// Whether a tensor of this kind can hold `dtype`.
    fn holds(dtype: DType) -> bool;
}

impl Kind for Float {
    const NAME: &'static str = "Float";
    const DEFAULT: DType = DType::F32;
    fn holds(dtype: DType) -> bool {
        dtype.is_float()
    }
}

impl Kind for Int {
    const NAME: &'static str = "Int";
    const DEFAULT: DType = DType::I32;
    fn holds(dtype: DType) -> bool {
        !dtype.is_float() && dtype != DType::Bool
    }
}

impl Kind for Bool {
    const NAME: &'static str = "Bool";
    const DEFAULT: DType = DType::Bool;
    fn holds(dtype: DType) -> bool {
        dtype == DType::Bool
    }
}

impl<const D: usize, K: Kind> Data for Tensor<D, K>
where
    Tensor<D, K>: Send,
{
    fn default_spec(name: String) -> ValueSpec {
        TensorSpec::new(name, K::DEFAULT, vec![None; D]).into()
    }

    fn check_spec(spec: &ValueSpec) -> Result<(), String> {
        let problem = || format!("a Tensor<{D}, {}>", K::NAME);
        let ValueSpec::Tensor(spec) = spec else { return Err(problem()) };
        // Burn has no tensors of rank 0: a scalar is a tensor of shape [1].
        let rank_fits = spec.shape().is_none_or(|shape| shape.len() == D || (shape.is_empty() && D == 1));
        if K::holds(spec.dtype()) && rank_fits { Ok(()) } else { Err(problem()) }
    }

    fn gather(batch: &InputBatch<'_>) -> Result<Self, MethodError> {
        let dim = batch.batching.map(|batching| batching.input_dim);
        let arrays = batch.arrays()?;
        // A spec of any rank lets in what a tensor of one rank cannot take.
        arrays.iter().try_for_each(|(array, _)| check_rank::<D>(array)).map_err(MethodError::invalid_input)?;
        tensor::upload(&arrays, dim, batch.device).map_err(MethodError::failed)
    }

    fn stage(self, back: &mut ReadBack) -> Result<(), MethodError> {
        back.tensor(self);
        Ok(())
    }

    fn into_value(self) -> Result<Value, String> {
        let data = self.try_into_data().map_err(|error| error.to_string())?;
        transfer::array(data).map(Value::Tensor)
    }

    fn from_value(value: Value) -> Result<Self, String> {
        let Value::Tensor(array) = value else { return Err(wrong_kind(ValueKind::Tensor, &value)) };
        check_rank::<D>(&array)?;
        let rows = array.shape().dims().first().copied().unwrap_or(0);
        tensor::upload(&[(&array, 0..rows)], None, &Device::flex())
    }
}

impl Data for Array {
    fn default_spec(name: String) -> ValueSpec {
        TensorSpec::any_rank(name, DType::F32).into()
    }

    fn check_spec(spec: &ValueSpec) -> Result<(), String> {
        check_kind(ValueKind::Tensor, spec)
    }

    fn gather(batch: &InputBatch<'_>) -> Result<Self, MethodError> {
        let arrays = batch.arrays()?;
        match (batch.batching, arrays.as_slice()) {
            (_, [(array, rows)])
                if batch.batching.is_none_or(|b| array.shape().dims().get(b.input_dim) == Some(&rows.len())) =>
            {
                Ok((*array).clone())
            }
            (Some(batching), arrays) => gather::concat(arrays, batching.input_dim).map_err(MethodError::failed),
            (None, _) => Err(MethodError::failed("an input of a method that is not batchable met others")),
        }
    }

    fn stage(self, back: &mut ReadBack) -> Result<(), MethodError> {
        back.host(Value::Tensor(self));
        Ok(())
    }

    fn into_value(self) -> Result<Value, String> {
        Ok(Value::Tensor(self))
    }

    fn from_value(value: Value) -> Result<Self, String> {
        match value {
            Value::Tensor(array) => Ok(array),
            other => Err(wrong_kind(ValueKind::Tensor, &other)),
        }
    }
}

impl<T: Serialize + DeserializeOwned + Send + 'static> Data for Vec<T> {
    /// Texts are told apart from other lists, for callers who must know which of the two an element is.
    fn default_spec(name: String) -> ValueSpec {
        let is_text = TypeId::of::<T>() == TypeId::of::<String>();
        if is_text { TextsSpec::new(name, [None]).into() } else { ValueSpec::List(name) }
    }

    fn check_spec(spec: &ValueSpec) -> Result<(), String> {
        check_kind(ValueKind::List, spec)
    }

    fn gather(batch: &InputBatch<'_>) -> Result<Self, MethodError> {
        let mut gathered = Vec::new();
        for (value, rows) in batch.values() {
            let Value::List(items) = value else { return Err(MethodError::failed(wrong_kind(ValueKind::List, value))) };
            let rows = if batch.batching.is_some() { rows } else { 0..items.len() };
            for (row, item) in items.iter().enumerate().take(rows.end).skip(rows.start) {
                let item = T::deserialize(item)
                    .map_err(|error| MethodError::invalid_input(format!("element [{row}]: {error}")))?;
                gathered.push(item);
            }
        }
        Ok(gathered)
    }

    fn stage(self, back: &mut ReadBack) -> Result<(), MethodError> {
        back.host(self.into_value().map_err(MethodError::failed)?);
        Ok(())
    }

    fn into_value(self) -> Result<Value, String> {
        let items: Result<Vec<_>, _> = self.iter().map(serde_json::to_value).collect();
        items.map(Value::List).map_err(|error| error.to_string())
    }

    fn from_value(value: Value) -> Result<Self, String> {
        let Value::List(items) = value else { return Err(wrong_kind(ValueKind::List, &value)) };
        items
            .into_iter()
            .enumerate()
            .map(|(row, item)| serde_json::from_value(item).map_err(|error| format!("element [{row}]: {error}")))
            .collect()
    }
}

/// One serde value: a method that takes or returns it is not batchable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl<T: Serialize + DeserializeOwned + Send + 'static> Data for Json<T> {
    fn default_spec(name: String) -> ValueSpec {
        ValueSpec::Json(name)
    }

    fn check_spec(spec: &ValueSpec) -> Result<(), String> {
        check_kind(ValueKind::Json, spec)
    }

    fn gather(batch: &InputBatch<'_>) -> Result<Self, MethodError> {
        match batch.sole()? {
            Value::Json(value) => T::deserialize(value).map(Self).map_err(MethodError::invalid_input),
            other => Err(MethodError::failed(wrong_kind(ValueKind::Json, other))),
        }
    }

    fn stage(self, back: &mut ReadBack) -> Result<(), MethodError> {
        back.host(self.into_value().map_err(MethodError::failed)?);
        Ok(())
    }

    fn into_value(self) -> Result<Value, String> {
        serde_json::to_value(self.0).map(Value::Json).map_err(|error| error.to_string())
    }

    fn from_value(value: Value) -> Result<Self, String> {
        match value {
            Value::Json(value) => serde_json::from_value(value).map(Self).map_err(|error| error.to_string()),
            other => Err(wrong_kind(ValueKind::Json, &other)),
        }
    }
}

/// Types that are a value as they are, and cannot be batched.
macro_rules! whole_values {
    ($($type:ty => $kind:ident),+ $(,)?) => {
        $(impl Data for $type {
            fn default_spec(name: String) -> ValueSpec {
                ValueSpec::$kind(name)
            }

            fn check_spec(spec: &ValueSpec) -> Result<(), String> {
                check_kind(ValueKind::$kind, spec)
            }

            fn gather(batch: &InputBatch<'_>) -> Result<Self, MethodError> {
                Self::from_value(batch.sole()?.clone()).map_err(MethodError::failed)
            }

            fn stage(self, back: &mut ReadBack) -> Result<(), MethodError> {
                back.host(Value::$kind(self));
                Ok(())
            }

            fn into_value(self) -> Result<Value, String> {
                Ok(Value::$kind(self))
            }

            fn from_value(value: Value) -> Result<Self, String> {
                match value {
                    Value::$kind(value) => Ok(value),
                    other => Err(wrong_kind(ValueKind::$kind, &other)),
                }
            }
        })+
    };
}

whole_values! { String => Text, Bytes => Bytes }
