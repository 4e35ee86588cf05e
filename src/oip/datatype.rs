//! What the protocol calls the types of elements.

use std::fmt;

use serde::{Serialize, Serializer};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::value::{DType, ValueSpec};

/// The type of a tensor's elements: a dtype of ours, or bytes of any length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Datatype {
    /// Numbers or booleans.
    Of(DType),
    /// `BYTES`: each element is a string of bytes, mostly a text.
    Bytes,
}

impl Datatype {
    /// The protocol's name: `FP32`, `BOOL`, `BYTES`, ….
    pub const fn name(self) -> &'static str {
        match self {
            Self::Of(DType::Bool) => "BOOL",
            Self::Of(DType::U8) => "UINT8",
            Self::Of(DType::U16) => "UINT16",
            Self::Of(DType::U32) => "UINT32",
            Self::Of(DType::U64) => "UINT64",
            Self::Of(DType::I8) => "INT8",
            Self::Of(DType::I16) => "INT16",
            Self::Of(DType::I32) => "INT32",
            Self::Of(DType::I64) => "INT64",
            Self::Of(DType::F16) => "FP16",
            Self::Of(DType::BF16) => "BF16",
            Self::Of(DType::F32) => "FP32",
            Self::Of(DType::F64) => "FP64",
            Self::Bytes => "BYTES",
        }
    }

    /// All datatypes.
    pub fn all() -> impl Iterator<Item = Self> {
        DType::ALL.into_iter().map(Self::Of).chain([Self::Bytes])
    }

    /// The datatype of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::all().find(|datatype| datatype.name() == name)
    }

    /// What a value of this spec is in the protocol.
    pub fn of_spec(spec: &ValueSpec) -> Self {
        match spec {
            ValueSpec::Tensor(tensor) => Self::Of(tensor.dtype()),
            ValueSpec::List(_)
            | ValueSpec::Texts(_)
            | ValueSpec::Json(_)
            | ValueSpec::Text(_)
            | ValueSpec::Bytes(_) => Self::Bytes,
        }
    }
}

impl fmt::Display for Datatype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl PartialSchema for Datatype {
    fn schema() -> RefOr<Schema> {
        let names = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(Self::all().map(Self::name)));
        names.build().into()
    }
}

impl ToSchema for Datatype {
    fn name() -> std::borrow::Cow<'static, str> {
        "oip.Datatype".into()
    }
}

impl Serialize for Datatype {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
