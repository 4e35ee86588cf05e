//! Comparisons and booleans.

use burn::backend::Dispatch;
use burn::backend::ops::BoolTensorOps;

use super::Family;
use crate::onnx::error::OpError;
use crate::onnx::node::{Call, Outputs, one};
use crate::onnx::tensor::{Compare, Result, broadcast_dims};
use crate::onnx::value::{Strings, Value};

pub(super) const OPS: Family = &[
    ("Equal", equal),
    ("Less", |call| compare(call, Compare::Less)),
    ("LessOrEqual", |call| compare(call, Compare::LessOrEqual)),
    ("Greater", |call| compare(call, Compare::Greater)),
    ("GreaterOrEqual", |call| compare(call, Compare::GreaterOrEqual)),
    ("And", |call| logic(call, Dispatch::bool_and)),
    ("Or", |call| logic(call, Dispatch::bool_or)),
    ("Xor", |call| logic(call, Dispatch::bool_xor)),
    ("Not", |call| one(call.tensor(0)?.not()?)),
    ("Where", choose),
    ("IsNaN", |call| {
        let x = call.tensor(0)?.float_only("the input")?;
        one(x.clone().compare(Compare::Equal, x)?.not()?)
    }),
    ("IsInf", is_inf),
];

fn compare(call: &mut Call<'_>, op: Compare) -> Result<Outputs> {
    let (a, b) = (call.tensor(0)?, call.tensor(1)?);
    one(a.compare(op, b)?)
}

type Logic = fn(burn::backend::DispatchTensor, burn::backend::DispatchTensor) -> burn::backend::DispatchTensor;

fn logic(call: &mut Call<'_>, op: Logic) -> Result<Outputs> {
    let (a, b) = (call.tensor(0)?, call.tensor(1)?);
    one(a.logic(op, b)?)
}

fn equal(call: &mut Call<'_>) -> Result<Outputs> {
    if !matches!(call.inputs.first(), Some(Some(Value::Strings(_)))) {
        return compare(call, Compare::Equal);
    }
    let (a, b) = (call.strings(0)?, call.strings(1)?);
    let dims = broadcast_dims(&a.dims, &b.dims)?;
    let equal = indices(&a, &dims).zip(indices(&b, &dims)).map(|(i, j)| a.items[i] == b.items[j]);
    one(crate::onnx::tensor::Tensor::bools(equal.collect(), &dims, call.device)?)
}

/// The element of `strings` that stands at each place of `dims`, to which it broadcasts.
fn indices<'a>(strings: &'a Strings, dims: &'a [usize]) -> impl Iterator<Item = usize> + 'a {
    (0..dims.iter().product::<usize>()).map(move |mut place| {
        let (mut index, mut stride) = (0, 1);
        for (at, dim) in dims.iter().enumerate().rev() {
            let own = (at + strings.dims.len()).checked_sub(dims.len()).map_or(1, |at| strings.dims[at]);
            index += if own == 1 { 0 } else { place % dim * stride };
            stride *= own;
            place /= dim;
        }
        index
    })
}

/// The first where the condition holds, else the second.
fn choose(call: &mut Call<'_>) -> Result<Outputs> {
    let mask = call.tensor(0)?;
    if matches!(call.inputs.get(1), Some(Some(Value::Strings(_)))) {
        let (yes, no) = (call.strings(1)?, call.strings(2)?);
        let dims = broadcast_dims(&broadcast_dims(&mask.dims(), &yes.dims)?, &no.dims)?;
        let mask = mask.expand(&dims)?.ints()?;
        let pairs = mask.into_iter().zip(indices(&yes, &dims).zip(indices(&no, &dims)));
        let chosen: Vec<&String> =
            pairs.map(|(mask, (i, j))| if mask != 0 { &yes.items[i] } else { &no.items[j] }).collect();
        return one(Strings::copied(chosen.iter().copied(), dims.to_vec())?);
    }
    let (yes, no) = (call.tensor(1)?, call.tensor(2)?);
    if yes.dtype() != no.dtype() {
        return Err(OpError::new(format!("the inputs are of the dtypes {} and {}", yes.dtype(), no.dtype())));
    }
    one(no.mask_where(mask, yes)?)
}

fn is_inf(call: &mut Call<'_>) -> Result<Outputs> {
    let x = call.tensor(0)?.float_only("the input")?;
    let (negative, positive) = (call.node.flag("detect_negative", true), call.node.flag("detect_positive", true));
    let (low, high) = (
        x.clone().compare_with(Compare::Equal, f64::NEG_INFINITY)?,
        x.clone().compare_with(Compare::Equal, f64::INFINITY)?,
    );
    one(match (negative, positive) {
        (true, true) => low.logic(Dispatch::bool_or, high)?,
        (true, false) => low,
        (false, true) => high,
        (false, false) => low.logic(Dispatch::bool_and, high)?,
    })
}
