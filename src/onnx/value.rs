//! What flows along the edges of a graph.

use std::sync::Arc;

use super::error::OpError;
use super::tensor::{Result, Tensor, count};

/// What flows along an edge.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Tensor(Tensor),
    Strings(Strings),
    Sequence(Vec<Value>),
    /// An optional value that is not there.
    Nothing,
}

/// A tensor of strings: always on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Strings {
    pub(super) items: Arc<[String]>,
    pub(super) dims: Vec<usize>,
}

impl Strings {
    pub(super) fn new(items: Vec<String>, dims: Vec<usize>) -> Self {
        Self { items: items.into(), dims }
    }

    /// Copies of these, if there may be so many.
    pub(super) fn copied<'a>(items: impl Iterator<Item = &'a String> + Clone, dims: Vec<usize>) -> Result<Self> {
        Self::count(&dims, items.clone().map(String::len))?;
        Ok(Self::new(items.cloned().collect(), dims))
    }

    /// Checks that there may be strings of these lengths: their bytes count as a tensor's elements do.
    pub(super) fn count(dims: &[usize], lengths: impl Iterator<Item = usize>) -> Result<()> {
        let own = count(dims)?.saturating_mul(size_of::<String>());
        count(&[lengths.fold(own, usize::saturating_add)]).map(|_| ())
    }
}

impl From<Tensor> for Value {
    fn from(tensor: Tensor) -> Self {
        Self::Tensor(tensor)
    }
}

impl From<Strings> for Value {
    fn from(strings: Strings) -> Self {
        Self::Strings(strings)
    }
}

impl Value {
    /// What it is, for messages.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Tensor(_) => "a tensor",
            Self::Strings(_) => "a tensor of strings",
            Self::Sequence(_) => "a sequence",
            Self::Nothing => "nothing",
        }
    }

    /// How much memory it takes, where it shares none.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Tensor(tensor) => tensor.elements() * tensor.dtype().size(),
            Self::Strings(strings) => strings.items.iter().map(|item| item.len() + size_of::<String>()).sum(),
            Self::Sequence(values) => values.iter().map(|value| value.bytes() + size_of::<Self>()).sum(),
            Self::Nothing => 0,
        }
    }

    pub(super) fn tensor(self) -> Result<Tensor> {
        match self {
            Self::Tensor(tensor) => Ok(tensor),
            other => Err(OpError::new(format!("a tensor was expected, found {}", other.name()))),
        }
    }

    pub(super) fn strings(self) -> Result<Strings> {
        match self {
            Self::Strings(strings) => Ok(strings),
            other => Err(OpError::new(format!("a tensor of strings was expected, found {}", other.name()))),
        }
    }

    pub(super) fn sequence(self) -> Result<Vec<Value>> {
        match self {
            Self::Sequence(values) => Ok(values),
            other => Err(OpError::new(format!("a sequence was expected, found {}", other.name()))),
        }
    }
}
