//! What prepares features that are categories: integers, floats or strings that stand for something.

use std::collections::HashMap;
use std::hash::Hash;

use burn::backend::DispatchDevice;

use super::super::Family;
use super::{integers, numbers};
use crate::onnx::data::Constant;
use crate::onnx::error::OpError;
use crate::onnx::graph::host;
use crate::onnx::node::{Call, Node, Outputs, one};
use crate::onnx::tensor::{Kind, Result, Tensor, count, kind_of};
use crate::onnx::value::{Strings, Value};
use crate::value::DType;

pub(super) const OPS: Family = &[
    ("OneHotEncoder", one_hot_encoder),
    ("LabelEncoder", label_encoder),
    ("CategoryMapper", |call| two_way(call, "cats_strings")),
];

/// What categories are known by, each with its number. Of one that comes twice, the last counts.
#[derive(Debug)]
enum Keys {
    Ints(HashMap<i64, usize>),
    /// By the bits of a double.
    Floats(HashMap<u64, usize>),
    Texts(HashMap<String, usize>),
}

/// One pattern for all numbers that are equal, and one for what is no number.
fn bits(number: f64) -> u64 {
    if number.is_nan() { f64::NAN.to_bits() } else { (number + 0.0).to_bits() }
}

fn numbered<K: Eq + Hash>(keys: impl IntoIterator<Item = K>) -> HashMap<K, usize> {
    keys.into_iter().enumerate().map(|(at, key)| (key, at)).collect()
}

impl Keys {
    fn ints(keys: &[i64]) -> Self {
        Self::Ints(numbered(keys.iter().copied()))
    }

    fn floats(keys: &[f64]) -> Self {
        Self::Floats(numbered(keys.iter().copied().map(bits)))
    }

    fn texts(keys: &[String]) -> Self {
        Self::Texts(numbered(keys.iter().cloned()))
    }

    fn len(&self) -> usize {
        match self {
            Self::Ints(keys) => keys.len(),
            Self::Floats(keys) => keys.len(),
            Self::Texts(keys) => keys.len(),
        }
    }

    /// The category of each element, if it is known; and the shape.
    fn find(&self, x: Value) -> Result<(Vec<Option<usize>>, Vec<usize>)> {
        match (self, x) {
            (Self::Texts(keys), Value::Strings(x)) => {
                Ok((x.items.iter().map(|item| keys.get(item).copied()).collect(), x.dims))
            }
            (Self::Ints(keys), Value::Tensor(x)) => {
                Ok((x.ints()?.iter().map(|item| keys.get(item).copied()).collect(), x.dims().to_vec()))
            }
            (Self::Floats(keys), Value::Tensor(x)) => {
                Ok((x.floats()?.iter().map(|item| keys.get(&bits(*item)).copied()).collect(), x.dims().to_vec()))
            }
            (keys, x) => {
                let kind = if matches!(keys, Self::Texts(_)) { "strings" } else { "numbers" };
                Err(OpError::new(format!("the categories are {kind}, found {}", x.name())))
            }
        }
    }
}

/// What categories become, and what everything else does.
#[derive(Debug)]
enum Values {
    Ints(Vec<i64>, i64, DType),
    Floats(Vec<f64>, f64, DType),
    Texts(Vec<String>, String),
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Self::Ints(values, ..) => values.len(),
            Self::Floats(values, ..) => values.len(),
            Self::Texts(values, _) => values.len(),
        }
    }
}

/// The values of the categories that were found.
fn pick<T: Clone>(found: &[Option<usize>], values: &[T], default: &T) -> Vec<T> {
    found.iter().map(|at| at.and_then(|at| values.get(at)).unwrap_or(default).clone()).collect()
}

/// From categories to values.
#[derive(Debug)]
struct Mapping {
    keys: Keys,
    values: Values,
}

impl Mapping {
    fn apply(&self, x: Value, device: &DispatchDevice) -> Result<Outputs> {
        let (found, dims) = self.keys.find(x)?;
        match &self.values {
            Values::Ints(values, default, dtype) => {
                one(Tensor::new(pick(&found, values, default), &dims, device)?.cast(*dtype))
            }
            Values::Floats(values, default, dtype) => {
                one(Tensor::from_f64s(&pick(&found, values, default), &dims, *dtype, device)?)
            }
            Values::Texts(values, default) => one(Strings::new(pick(&found, values, default), dims)),
        }
    }
}

/// 1 at the place of each element's category, along a new last dimension.
fn one_hot_encoder(call: &mut Call<'_>) -> Result<Outputs> {
    let x = call.value(0)?;
    let node = call.node;
    let keys = node.compiled(|node| match (integers(node, "cats_int64s"), node.texts("cats_strings")) {
        ([], Some(texts)) if !texts.is_empty() => Ok(Keys::texts(texts)),
        ([], _) => Err(OpError::new("there are no categories")),
        (ints, _) => Ok(Keys::ints(ints)),
    })?;
    let (found, mut dims) = keys.find(x)?;
    if !node.flag("zeros", true) && found.contains(&None) {
        return Err(OpError::caller("an element is of no known category"));
    }
    let width = integers(node, "cats_int64s").len().max(node.texts("cats_strings").map_or(0, <[String]>::len));
    dims.push(width);
    let mut hot = vec![0_f32; count(&dims)?];
    for (row, at) in hot.chunks_exact_mut(width).zip(found) {
        if let Some(at) = at {
            row[at] = 1.0;
        }
    }
    one(Tensor::new(hot, &dims, call.device)?)
}

/// Integers to strings and strings to integers: `names` are the strings, `cats_int64s` the integers or else 0, 1, …
fn two_way(call: &mut Call<'_>, names: &str) -> Result<Outputs> {
    let x = call.value(0)?;
    let [from_texts, from_ints] = call.node.compiled(|node| {
        let texts = node.texts(names).ok_or_else(|| OpError::new(format!("there are no {names}")))?;
        let counted = || (0..texts.len() as i64).collect();
        let ints = node.ints("cats_int64s").map_or_else(counted, <[i64]>::to_vec);
        if ints.len() != texts.len() {
            return Err(OpError::new(format!("{} integers stand for {} strings", ints.len(), texts.len())));
        }
        let text = node.text("default_string", UNUSED).to_owned();
        let from_ints = Mapping { keys: Keys::ints(&ints), values: Values::Texts(texts.to_vec(), text) };
        let values = Values::Ints(ints, node.int("default_int64", -1), DType::I64);
        Ok([Mapping { keys: Keys::texts(texts), values }, from_ints])
    })?;
    let mapping = if matches!(x, Value::Strings(_)) { from_texts } else { from_ints };
    mapping.apply(x, call.device)
}

/// What the specification says for strings of no known category.
const UNUSED: &str = "_Unused";

fn label_encoder(call: &mut Call<'_>) -> Result<Outputs> {
    if call.node.has("classes_strings") {
        return two_way(call, "classes_strings");
    }
    let x = call.value(0)?;
    let mapping = call.node.compiled(|node| {
        let mapping = Mapping { keys: keys(node)?, values: values(node)? };
        // Keys that come twice are counted once.
        if mapping.keys.len() > mapping.values.len() {
            let (keys, values) = (mapping.keys.len(), mapping.values.len());
            return Err(OpError::new(format!("{keys} keys have {values} values")));
        }
        Ok(mapping)
    })?;
    mapping.apply(x, call.device)
}

fn keys(node: &Node) -> Result<Keys> {
    if let Some(ints) = node.ints("keys_int64s") {
        return Ok(Keys::ints(ints));
    }
    if let Some(texts) = node.texts("keys_strings") {
        return Ok(Keys::texts(texts));
    }
    if node.has("keys_floats") {
        return Ok(Keys::floats(&numbers(node, "keys_floats")?));
    }
    match node.constant("keys_tensor") {
        Some(Constant::Strings(texts)) => Ok(Keys::texts(&texts.items)),
        Some(Constant::Array(array)) if kind_of(array.dtype()) == Kind::Float => {
            Ok(Keys::floats(&Tensor::from_array(array, &host()).floats()?))
        }
        Some(Constant::Array(array)) => Ok(Keys::ints(&Tensor::from_array(array, &host()).ints()?)),
        None => Err(OpError::new("there are no keys")),
    }
}

fn values(node: &Node) -> Result<Values> {
    let (int, float) = (node.int("default_int64", -1), node.float("default_float", -0.0));
    if let Some(ints) = node.ints("values_int64s") {
        return Ok(Values::Ints(ints.to_vec(), int, DType::I64));
    }
    if let Some(texts) = node.texts("values_strings") {
        return Ok(Values::Texts(texts.to_vec(), node.text("default_string", UNUSED).to_owned()));
    }
    if node.has("values_floats") {
        return Ok(Values::Floats(numbers(node, "values_floats")?, float, DType::F32));
    }
    let default = node.constant("default_tensor");
    match node.constant("values_tensor") {
        Some(Constant::Strings(texts)) => {
            let default = match default {
                Some(Constant::Strings(default)) => default.items.first().cloned(),
                _ => None,
            };
            Ok(Values::Texts(texts.items.to_vec(), default.unwrap_or_else(|| UNUSED.to_owned())))
        }
        Some(Constant::Array(array)) => {
            let tensor = Tensor::from_array(array, &host());
            let default = match default {
                Some(Constant::Array(default)) => Some(Tensor::from_array(default, &host())),
                _ => None,
            };
            if tensor.kind() == Kind::Float {
                let default = default.map(|default| default.float()).transpose()?.unwrap_or(float);
                return Ok(Values::Floats(tensor.floats()?, default, array.dtype()));
            }
            let default = default.map(|default| default.ints()).transpose()?;
            let default = default.and_then(|default| default.first().copied()).unwrap_or(int);
            Ok(Values::Ints(tensor.ints()?, default, array.dtype()))
        }
        None => Err(OpError::new("there are no values")),
    }
}
