//! What one input or output of a method must look like.

use std::fmt;

use super::{DType, TextsSpec, Value};

/// The kinds of value, for specs and messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueKind {
    /// [`Value::Tensor`].
    Tensor,
    /// [`Value::List`].
    List,
    /// [`Value::Json`].
    Json,
    /// [`Value::Text`].
    Text,
    /// [`Value::Bytes`].
    Bytes,
}

impl ValueKind {
    /// The name in messages and the HTTP API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tensor => "tensor",
            Self::List => "list",
            Self::Json => "json",
            Self::Text => "text",
            Self::Bytes => "bytes",
        }
    }
}

impl fmt::Display for ValueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The name, dtype and shape of one tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    name: String,
    dtype: DType,
    shape: Option<Vec<Option<usize>>>,
}

macro_rules! constructors {
    ($($name:ident => $dtype:ident),+ $(,)?) => {
        $(#[doc = concat!("A tensor of `", stringify!($name), "`; in `shape`, `None` is any size.")]
        pub fn $name(name: impl Into<String>, shape: impl AsRef<[Option<usize>]>) -> Self {
            Self::new(name, DType::$dtype, shape)
        })+
    };
}

impl TensorSpec {
    /// A tensor of this dtype; in `shape`, `None` is any size.
    pub fn new(name: impl Into<String>, dtype: DType, shape: impl AsRef<[Option<usize>]>) -> Self {
        Self { name: name.into(), dtype, shape: Some(shape.as_ref().to_vec()) }
    }

    /// A tensor of this dtype and of any rank.
    pub fn any_rank(name: impl Into<String>, dtype: DType) -> Self {
        Self { name: name.into(), dtype, shape: None }
    }

    constructors! {
        bool => Bool, u8 => U8, u16 => U16, u32 => U32, u64 => U64, i8 => I8, i16 => I16, i32 => I32, i64 => I64,
        f16 => F16, bf16 => BF16, f32 => F32, f64 => F64,
    }

    /// The tensor's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The sizes, `None` where any is allowed; `None` altogether for any rank.
    pub fn shape(&self) -> Option<&[Option<usize>]> {
        self.shape.as_deref()
    }
}

impl fmt::Display for TensorSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.dtype)?;
        let Some(shape) = &self.shape else { return f.write_str("tensor of any shape") };
        write_shape(shape, f)
    }
}

/// `[any, 3]`.
pub(super) fn write_shape(shape: &[Option<usize>], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("[")?;
    for (at, size) in shape.iter().enumerate() {
        if at > 0 {
            f.write_str(", ")?;
        }
        match size {
            Some(size) => write!(f, "{size}")?,
            None => f.write_str("any")?,
        }
    }
    f.write_str("]")
}

/// What one input or output of a method must look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueSpec {
    /// A tensor.
    Tensor(TensorSpec),
    /// A list of serde values, by its name.
    List(String),
    /// Texts of a shape: a list of them, or of lists.
    Texts(TextsSpec),
    /// One serde value, by its name.
    Json(String),
    /// One text, by its name.
    Text(String),
    /// Raw bytes, by their name.
    Bytes(String),
}

impl ValueSpec {
    /// A spec of this kind and name; a tensor is `float32` of any rank.
    pub fn of_kind(kind: ValueKind, name: impl Into<String>) -> Self {
        let name = name.into();
        match kind {
            ValueKind::Tensor => Self::Tensor(TensorSpec::any_rank(name, DType::F32)),
            ValueKind::List => Self::List(name),
            ValueKind::Json => Self::Json(name),
            ValueKind::Text => Self::Text(name),
            ValueKind::Bytes => Self::Bytes(name),
        }
    }

    /// The value's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Tensor(spec) => spec.name(),
            Self::Texts(spec) => spec.name(),
            Self::List(name) | Self::Json(name) | Self::Text(name) | Self::Bytes(name) => name,
        }
    }

    /// What its elements are called, where it has a shape: a tensor's dtype, or "string".
    pub fn dtype_name(&self) -> Option<&'static str> {
        match self {
            Self::Tensor(spec) => Some(spec.dtype().name()),
            Self::Texts(_) => Some(TextsSpec::DTYPE),
            Self::List(_) | Self::Json(_) | Self::Text(_) | Self::Bytes(_) => None,
        }
    }

    /// Its sizes, of which those that are `None` may be any; `None` where it has no shape, or one of any rank.
    pub fn shape(&self) -> Option<&[Option<usize>]> {
        match self {
            Self::Tensor(spec) => spec.shape(),
            Self::Texts(spec) => Some(spec.shape()),
            Self::List(_) | Self::Json(_) | Self::Text(_) | Self::Bytes(_) => None,
        }
    }

    /// The kind of value.
    pub fn kind(&self) -> ValueKind {
        match self {
            Self::Tensor(_) => ValueKind::Tensor,
            Self::List(_) | Self::Texts(_) => ValueKind::List,
            Self::Json(_) => ValueKind::Json,
            Self::Text(_) => ValueKind::Text,
            Self::Bytes(_) => ValueKind::Bytes,
        }
    }

    /// Compares a value with the spec.
    ///
    /// # Errors
    /// What was expected and what came, to follow the value's name in a message.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        if let (Self::Texts(spec), Value::List(items)) = (self, value) {
            return spec.check(items);
        }
        let (Self::Tensor(spec), Value::Tensor(array)) = (self, value) else {
            return if self.kind() == value.kind() {
                Ok(())
            } else {
                Err(format!("expected {self}, found {}", value.kind()))
            };
        };
        let fits = spec.dtype == array.dtype()
            && spec.shape.as_ref().is_none_or(|shape| {
                shape.len() == array.shape().rank()
                    && shape.iter().zip(array.shape().dims()).all(|(want, &size)| want.is_none_or(|want| want == size))
            });
        if fits {
            return Ok(());
        }
        let ranks = match &spec.shape {
            Some(shape) if shape.len() != array.shape().rank() => {
                format!(" (rank {}, found rank {})", shape.len(), array.shape().rank())
            }
            _ => String::new(),
        };
        Err(format!("expected {spec}{ranks}, found {} {}", array.dtype(), array.shape()))
    }
}

impl fmt::Display for ValueSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tensor(spec) => spec.fmt(f),
            Self::Texts(spec) => spec.fmt(f),
            other => other.kind().fmt(f),
        }
    }
}

impl From<TextsSpec> for ValueSpec {
    fn from(spec: TextsSpec) -> Self {
        Self::Texts(spec)
    }
}

impl From<TensorSpec> for ValueSpec {
    fn from(spec: TensorSpec) -> Self {
        Self::Tensor(spec)
    }
}
