//! What prepares features that are numbers: scaling, filling in, picking.

use super::super::Family;
use super::numbers;
use crate::onnx::error::OpError;
use crate::onnx::node::{Call, Outputs, one, sizes};
use crate::onnx::tensor::{Compare, Dims, Kind, Result, Tensor};
use crate::onnx::value::{Strings, Value};
use crate::value::DType;

pub(super) const OPS: Family = &[
    ("Scaler", scaler),
    ("Normalizer", normalizer),
    ("Imputer", imputer),
    ("Binarizer", |call| {
        let threshold = call.node.float("threshold", 0.0);
        let x = call.tensor(0)?;
        let dtype = x.dtype();
        one(x.compare_with(Compare::Greater, threshold)?.cast(dtype))
    }),
    ("FeatureVectorizer", feature_vectorizer),
    ("ArrayFeatureExtractor", array_feature_extractor),
];

/// `(x - offset) scale`, feature by feature.
fn scaler(call: &mut Call<'_>) -> Result<Outputs> {
    let x = call.tensor(0)?;
    let node = call.node;
    let [offset, scale] = node.compiled(|node| {
        let tensor = |name: &str, default: f64| {
            let values = numbers(node, name)?;
            let values = if values.is_empty() { vec![default] } else { values };
            Tensor::from_f64s(&values, &[values.len()], DType::F32, call.device)
        };
        Ok([tensor("offset", 0.0)?, tensor("scale", 1.0)?])
    })?;
    let features = x.dims().last().copied().unwrap_or(1);
    if let Some(other) = [offset, scale].into_iter().find(|values| ![1, features].contains(&values.elements())) {
        let found = other.elements();
        return Err(OpError::caller(format!("rows of {found} features were expected, found {features}")));
    }
    let wide = if x.dtype() == DType::F32 { DType::F32 } else { DType::F64 };
    one(x.cast(wide).sub(offset.clone().cast(wide))?.mul(scale.clone().cast(wide))?.cast(DType::F32))
}

/// Rows, each divided by its norm: of `MAX` the largest number, whatever the sizes of those below 0.
fn normalizer(call: &mut Call<'_>) -> Result<Outputs> {
    let norm: fn(&[f64]) -> f64 = match call.node.text("norm", "MAX") {
        "MAX" => |row| row.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        "L1" => |row| row.iter().map(|x| x.abs()).sum(),
        "L2" => |row| row.iter().map(|x| x * x).sum::<f64>().sqrt(),
        other => return Err(OpError::new(format!("the norm \"{other}\" is not supported"))),
    };
    let x = call.tensor(0)?;
    let (dims, mut values) = (x.dims(), x.floats()?);
    let width = dims.last().copied().unwrap_or(1).max(1);
    for row in values.chunks_exact_mut(width) {
        let norm = norm(row);
        if norm != 0.0 {
            row.iter_mut().for_each(|x| *x /= norm);
        }
    }
    one(Tensor::from_f64s(&values, &dims, DType::F32, call.device)?)
}

/// Puts `values` (one for all features, or one for each) where something is missing.
fn impute<T: Copy>(x: &mut [T], width: usize, values: &[T], missing: impl Fn(T) -> bool) -> Result<()> {
    if values.len() != 1 && values.len() != width {
        let found = values.len();
        return Err(OpError::caller(format!("rows of {found} features were expected, found {width}")));
    }
    for row in x.chunks_exact_mut(width.max(1)) {
        for (at, x) in row.iter_mut().enumerate().filter(|(_, x)| missing(**x)) {
            *x = values[at % values.len()];
        }
    }
    Ok(())
}

fn imputer(call: &mut Call<'_>) -> Result<Outputs> {
    let x = call.tensor(0)?;
    let (dims, dtype) = (x.dims(), x.dtype());
    let width = dims.last().copied().unwrap_or(1);
    if x.kind() == Kind::Int {
        let replaced = call.node.int("replaced_value_int64", 0);
        let mut values = x.ints()?;
        impute(&mut values, width, super::integers(call.node, "imputed_value_int64s"), |x| x == replaced)?;
        return one(Tensor::new(values, &dims, call.device)?.cast(dtype));
    }
    let replaced = call.node.float("replaced_value_float", 0.0);
    let mut values = x.floats()?;
    let imputed = numbers(call.node, "imputed_value_floats")?;
    impute(&mut values, width, &imputed, |x| x == replaced || (x.is_nan() && replaced.is_nan()))?;
    one(Tensor::from_f64s(&values, &dims, dtype, call.device)?)
}

/// The inputs side by side, each cut or filled with 0 to its number of features.
fn feature_vectorizer(call: &mut Call<'_>) -> Result<Outputs> {
    let wanted = sizes(super::integers(call.node, "inputdimensions"))?;
    let mut parts = Vec::with_capacity(wanted.len());
    for (at, x) in call.tensors()?.into_iter().enumerate() {
        let rows = x.dim(0);
        let x = if x.rank() == 1 { x.reshape(&[rows, 1])? } else { x.of_rank(2, "an input")? };
        let found = x.dim(1);
        let size = wanted.get(at).copied().unwrap_or(found);
        let cut = x.cast(DType::F32).slice(1, 0, found.min(size), 1)?;
        parts.push(cut.pad(&[(0, 0), (0, size.saturating_sub(found))], 0.0)?);
    }
    one(Tensor::cat(parts, 1)?)
}

/// The features at the indices of the second input. What comes of a vector is one row.
fn array_feature_extractor(call: &mut Call<'_>) -> Result<Outputs> {
    let indices = call.need_ints(1)?;
    let x = call.value(0)?;
    let mut dims: Dims = match &x {
        Value::Tensor(x) => x.dims(),
        Value::Strings(x) => x.dims.iter().copied().collect(),
        other => return Err(OpError::new(format!("a tensor was expected, found {}", other.name()))),
    };
    let width = dims.last().copied().ok_or_else(|| OpError::caller("the input has no dimensions"))?;
    if let Some(wrong) = indices.iter().find(|&&at| usize::try_from(at).map_or(true, |at| at >= width)) {
        return Err(OpError::caller(format!("feature {wrong} was asked for of rows of {width}")));
    }
    if width == 0 {
        return Err(OpError::caller("the rows have no features"));
    }
    let axis = dims.len() - 1;
    dims[axis] = indices.len();
    if axis == 0 {
        dims.insert(0, 1);
    }
    match x {
        Value::Strings(x) => {
            let rows = x.items.chunks_exact(width);
            let items = rows.flat_map(|row| indices.iter().map(|&at| &row[at as usize]));
            one(Strings::copied(items, dims.to_vec())?)
        }
        x => {
            let count = indices.len();
            let x = x.tensor()?.on_device(call.device);
            one(x.select(axis, Tensor::new(indices, &[count], call.device)?)?.reshape(&dims)?)
        }
    }
}
