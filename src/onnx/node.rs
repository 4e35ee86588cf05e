//! One node: its operator's attributes, and what a call of it is given.

use std::any::Any;
use std::sync::{Arc, OnceLock};

use burn::backend::DispatchDevice;
use burn::tensor::Scalar;
use smallvec::{SmallVec, smallvec};

use super::data::Constant;
use super::error::OpError;
use super::graph::Graph;
use super::limits::MOST_ELEMENTS;
use super::tensor::{Dims, Result, Tensor, resolve_axis};
use super::value::{Strings, Value};
use crate::value::DType;

/// What an operator returns.
pub(super) type Outputs = SmallVec<[Value; 1]>;

/// The function of an operator.
pub(super) type Op = fn(&mut Call<'_>) -> Result<Outputs>;

/// The only output of an operator.
pub(super) fn one(value: impl Into<Value>) -> Result<Outputs> {
    Ok(smallvec![value.into()])
}

/// An attribute of a node.
#[derive(Clone, Debug)]
pub(super) enum Attribute {
    Int(i64),
    Float(f32),
    Text(String),
    Constant(Constant),
    Graph(Graph),
    Ints(Vec<i64>),
    Floats(Vec<f32>),
    Texts(Vec<String>),
    /// A dtype of a tensor; other types are not needed.
    Type(i32),
    /// One that no supported operator has.
    Other,
}

/// A node of the graph.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) operator: String,
    /// The version of its operator set.
    pub(super) opset: i64,
    pub(super) attributes: Vec<(String, Attribute)>,
    /// How many outputs its operator is asked for.
    pub(super) outputs: usize,
    /// What its operator has made of the attributes.
    pub(super) compiled: OnceLock<Arc<dyn Any + Send + Sync>>,
}

impl Node {
    /// What `make` makes of the node, kept from the first call on: an operator asks for one type only.
    pub(super) fn compiled<T: Any + Send + Sync>(&self, make: impl FnOnce(&Self) -> Result<T>) -> Result<&T> {
        let kept = match self.compiled.get() {
            Some(kept) => kept,
            None => {
                let made = make(self)?;
                self.compiled.get_or_init(|| Arc::new(made))
            }
        };
        kept.downcast_ref().ok_or_else(|| OpError::new("its operator has kept something else"))
    }

    fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, attribute)| attribute)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }

    pub(super) fn try_int(&self, name: &str) -> Option<i64> {
        match self.attribute(name) {
            Some(Attribute::Int(value)) => Some(*value),
            _ => None,
        }
    }

    pub(super) fn int(&self, name: &str, default: i64) -> i64 {
        self.try_int(name).unwrap_or(default)
    }

    pub(super) fn flag(&self, name: &str, default: bool) -> bool {
        self.int(name, i64::from(default)) != 0
    }

    pub(super) fn try_float(&self, name: &str) -> Option<f64> {
        match self.attribute(name) {
            Some(Attribute::Float(value)) => Some(f64::from(*value)),
            _ => None,
        }
    }

    pub(super) fn float(&self, name: &str, default: f64) -> f64 {
        self.try_float(name).unwrap_or(default)
    }

    pub(super) fn try_text(&self, name: &str) -> Option<&str> {
        match self.attribute(name) {
            Some(Attribute::Text(value)) => Some(value),
            _ => None,
        }
    }

    pub(super) fn text<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        self.try_text(name).unwrap_or(default)
    }

    pub(super) fn ints(&self, name: &str) -> Option<&[i64]> {
        match self.attribute(name) {
            Some(Attribute::Ints(values)) => Some(values),
            _ => None,
        }
    }

    pub(super) fn floats(&self, name: &str) -> Option<&[f32]> {
        match self.attribute(name) {
            Some(Attribute::Floats(values)) => Some(values),
            _ => None,
        }
    }

    pub(super) fn texts(&self, name: &str) -> Option<&[String]> {
        match self.attribute(name) {
            Some(Attribute::Texts(values)) => Some(values),
            _ => None,
        }
    }

    pub(super) fn constant(&self, name: &str) -> Option<&Constant> {
        match self.attribute(name) {
            Some(Attribute::Constant(constant)) => Some(constant),
            _ => None,
        }
    }

    pub(super) fn graph(&self, name: &str) -> Result<&Graph> {
        match self.attribute(name) {
            Some(Attribute::Graph(graph)) => Ok(graph),
            _ => Err(OpError::new(format!("there is no graph \"{name}\""))),
        }
    }

    /// The dtype that an attribute names by its number.
    pub(super) fn dtype(&self, name: &str) -> Result<Option<DType>> {
        let number = match self.attribute(name) {
            Some(Attribute::Int(number)) => i32::try_from(*number).unwrap_or(0),
            Some(Attribute::Type(number)) => *number,
            _ => return Ok(None),
        };
        match super::data::dtype(number) {
            Some(dtype) => Ok(Some(dtype)),
            None => Err(OpError::new(format!("dtype {} is not supported", super::data::dtype_name(number)))),
        }
    }
}

/// A call of an operator: the node, and the values of its inputs. Those that nobody else needs are the call's own, so that
/// they may be changed in place.
pub(super) struct Call<'a> {
    pub(super) node: &'a Node,
    pub(super) inputs: SmallVec<[Option<Value>; 4]>,
    /// What the node's graphs take from around it, for each in the order of its captures, one graph after the other.
    pub(super) captured: Vec<Value>,
    /// Where it runs.
    pub(super) device: &'a DispatchDevice,
}

impl Call<'_> {
    /// An input, if it is given. It can be taken once.
    pub(super) fn take(&mut self, at: usize) -> Option<Value> {
        self.inputs.get_mut(at).and_then(Option::take)
    }

    /// An input that must be there.
    pub(super) fn value(&mut self, at: usize) -> Result<Value> {
        self.take(at).ok_or_else(|| OpError::new(format!("input {at} is missing")))
    }

    /// A tensor that may be there, on the device of the call.
    pub(super) fn optional(&mut self, at: usize) -> Result<Option<Tensor>> {
        match self.take(at) {
            None | Some(Value::Nothing) => Ok(None),
            Some(value) => Ok(Some(value.tensor()?.on_device(self.device))),
        }
    }

    /// A tensor, on the device of the call.
    pub(super) fn tensor(&mut self, at: usize) -> Result<Tensor> {
        self.optional(at)?.ok_or_else(|| OpError::new(format!("input {at} is missing")))
    }

    pub(super) fn strings(&mut self, at: usize) -> Result<Strings> {
        self.value(at)?.strings()
    }

    /// All inputs, which are tensors.
    pub(super) fn tensors(&mut self) -> Result<Vec<Tensor>> {
        (0..self.inputs.len()).map(|at| self.tensor(at)).collect()
    }

    /// The integers of an input, read on the host, if it is given.
    pub(super) fn ints(&mut self, at: usize) -> Result<Option<Vec<i64>>> {
        match self.take(at) {
            None | Some(Value::Nothing) => Ok(None),
            Some(value) => value.tensor()?.ints().map(Some),
        }
    }

    /// The integers of an input that must be there.
    pub(super) fn need_ints(&mut self, at: usize) -> Result<Vec<i64>> {
        self.ints(at)?.ok_or_else(|| OpError::new(format!("input {at} is missing")))
    }

    /// The one number of an input, read on the host, if it is given.
    pub(super) fn number(&mut self, at: usize) -> Result<Option<f64>> {
        match self.take(at) {
            None | Some(Value::Nothing) => Ok(None),
            Some(value) => value.tensor()?.float().map(Some),
        }
    }

    /// The integers of input `at`, or where it is not given of the attribute, as older operator sets have it.
    pub(super) fn ints_or(&mut self, at: usize, attribute: &str) -> Result<Option<Vec<i64>>> {
        match self.ints(at)? {
            Some(ints) => Ok(Some(ints)),
            None => Ok(self.node.ints(attribute).map(<[i64]>::to_vec)),
        }
    }

    /// The attribute `axis` for a tensor of this rank.
    pub(super) fn axis(&self, default: i64, rank: usize) -> Result<usize> {
        resolve_axis(self.node.int("axis", default), rank)
    }

    /// A tensor filled with one value, on the device of the call.
    pub(super) fn full(&self, dims: &[usize], value: f64, dtype: DType) -> Result<Tensor> {
        Tensor::full(dims, Scalar::Float(value), dtype, self.device)
    }
}

/// Sizes from integers: each one that a dimension of a tensor may have.
pub(super) fn sizes(ints: &[i64]) -> Result<Dims> {
    let size = |&int: &i64| {
        let size = usize::try_from(int).ok().filter(|&size| size <= MOST_ELEMENTS);
        size.ok_or_else(|| {
            OpError::caller(format!("{int} is no size of a dimension, which is at most {MOST_ELEMENTS}"))
        })
    };
    ints.iter().map(size).collect()
}
