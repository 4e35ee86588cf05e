//! Shapes: what moves elements about without looking at them.

use super::Family;
use crate::onnx::batch::BATCH_AXIS;
use crate::onnx::error::OpError;
use crate::onnx::node::{Call, Outputs, one, sizes};
use crate::onnx::tensor::{Dims, Result, Tensor, broadcast_dims, count, resolve_axis};
use crate::onnx::value::{Strings, Value};

pub(super) const OPS: Family = &[
    ("Reshape", reshape),
    ("Flatten", flatten),
    ("Transpose", |call| {
        let perm = call.node.ints("perm").map(sizes).transpose()?;
        let x = call.tensor(0)?;
        let perm = perm.unwrap_or_else(|| (0..x.rank()).rev().collect());
        one(x.permute(&perm)?)
    }),
    ("Squeeze", squeeze),
    ("Unsqueeze", unsqueeze),
    ("Concat", concat),
    ("Split", split),
    ("Slice", slice),
    ("Expand", |call| {
        let shape = sizes(&call.need_ints(1)?)?;
        let x = call.tensor(0)?;
        let dims = broadcast_dims(&x.dims(), &shape)?;
        one(x.expand(&dims)?)
    }),
    ("Tile", tile),
    ("Pad", pad),
    ("CenterCropPad", center_crop_pad),
    ("DepthToSpace", depth_to_space),
    ("SpaceToDepth", space_to_depth),
];

fn reshape(call: &mut Call<'_>) -> Result<Outputs> {
    let shape = call.ints_or(1, "shape")?.ok_or_else(|| OpError::new("there is no shape"))?;
    let zero_is_zero = call.node.flag("allowzero", false);
    let value = call.value(0)?;
    let (old, elements) = match &value {
        Value::Tensor(x) => (x.dims(), x.elements()),
        Value::Strings(strings) => (Dims::from_slice(&strings.dims), strings.items.len()),
        other => return Err(OpError::new(format!("a tensor was expected, found {}", other.name()))),
    };
    let problem = || OpError::caller(format!("shape {old:?} cannot be reshaped to {shape:?}"));
    // One size can be found out, not two.
    if shape.iter().filter(|&&size| size == -1).count() > 1 {
        return Err(problem());
    }
    let mut dims = Dims::new();
    for (at, &size) in shape.iter().enumerate() {
        dims.push(match size {
            0 if !zero_is_zero => *old.get(at).ok_or_else(problem)?,
            -1 => 1,
            size => usize::try_from(size).map_err(|_| problem())?,
        });
    }
    if let Some(free) = shape.iter().position(|&size| size == -1) {
        let known = dims.iter().try_fold(1_usize, |product, &dim| product.checked_mul(dim)).ok_or_else(problem)?;
        if known == 0 || !elements.is_multiple_of(known) {
            return Err(problem());
        }
        dims[free] = elements / known;
    }
    match value {
        Value::Strings(strings) if dims.iter().product::<usize>() == elements => {
            one(Strings { dims: dims.to_vec(), ..strings })
        }
        value => one(value.tensor()?.on_device(call.device).reshape(&dims)?),
    }
}

fn flatten(call: &mut Call<'_>) -> Result<Outputs> {
    let x = call.tensor(0)?;
    let dims = x.dims();
    let axis = call.node.int("axis", 1);
    let axis = if axis == dims.len() as i64 { dims.len() } else { resolve_axis(axis, dims.len())? };
    one(x.reshape(&[dims[..axis].iter().product(), dims[axis..].iter().product()])?)
}

fn squeeze(call: &mut Call<'_>) -> Result<Outputs> {
    let axes = call.ints_or(1, "axes")?;
    let x = call.tensor(0)?;
    let dims = x.dims();
    let axes: Vec<usize> = match axes {
        Some(axes) => axes.iter().map(|&axis| resolve_axis(axis, dims.len())).collect::<Result<_>>()?,
        None => (0..dims.len()).filter(|&axis| dims[axis] == 1).collect(),
    };
    if let Some(axis) = axes.iter().find(|&&axis| dims[axis] != 1) {
        return Err(OpError::caller(format!("dimension {axis} of shape {dims:?} is not 1")));
    }
    let kept: Dims = dims.iter().enumerate().filter(|(at, _)| !axes.contains(at)).map(|(_, dim)| *dim).collect();
    one(x.reshape(&kept)?)
}

fn unsqueeze(call: &mut Call<'_>) -> Result<Outputs> {
    let axes = call.ints_or(1, "axes")?.ok_or_else(|| OpError::new("there are no axes"))?;
    let x = call.tensor(0)?;
    let rank = x.rank() + axes.len();
    let axes: Vec<usize> = axes.iter().map(|&axis| resolve_axis(axis, rank)).collect::<Result<_>>()?;
    let old = x.dims();
    let mut rest = old.iter();
    let dims: Option<Dims> =
        (0..rank).map(|at| if axes.contains(&at) { Some(1) } else { rest.next().copied() }).collect();
    one(x.reshape(&dims.ok_or_else(|| OpError::new("an axis is given twice"))?)?)
}

fn concat(call: &mut Call<'_>) -> Result<Outputs> {
    if matches!(call.inputs.first(), Some(Some(Value::Strings(_)))) {
        return concat_strings(call);
    }
    let mut tensors = call.tensors()?;
    let rank = tensors.first().map_or(0, Tensor::rank);
    let axis = call.axis(1, rank)?;
    if let Some(batch) = call.node.try_int(BATCH_AXIS).map(|axis| axis as usize) {
        let rows = tensors.iter().map(|tensor| tensor.dim(batch)).max().unwrap_or(1);
        for tensor in &mut tensors {
            let mut dims = tensor.dims();
            dims[batch] = rows;
            *tensor = tensor.clone().expand(&dims)?;
        }
    }
    one(Tensor::cat(tensors, axis)?)
}

fn concat_strings(call: &mut Call<'_>) -> Result<Outputs> {
    let parts: Vec<Strings> = (0..call.inputs.len()).map(|at| call.strings(at)).collect::<Result<_>>()?;
    let mut dims = parts.first().map_or_else(Vec::new, |part| part.dims.clone());
    let axis = call.axis(1, dims.len())?;
    let outer: usize = dims[..axis].iter().product();
    dims[axis] = parts.iter().map(|part| part.dims.get(axis).copied().unwrap_or(0)).sum();
    count(&dims)?;
    let block = |part: &'_ Strings, block: usize| {
        let size = part.items.len() / outer.max(1);
        block * size..(block + 1) * size
    };
    let items = (0..outer).flat_map(|at| parts.iter().flat_map(move |part| &part.items[block(part, at)]));
    if items.clone().count() != dims.iter().product::<usize>() {
        return Err(OpError::caller("the tensors of strings do not fit together"));
    }
    one(Strings::copied(items, dims)?)
}

/// In parts of the given sizes, or in equal ones, of which the last may be smaller.
fn split(call: &mut Call<'_>) -> Result<Outputs> {
    let parts = call.ints_or(1, "split")?;
    let x = call.tensor(0)?;
    let axis = call.axis(0, x.rank())?;
    let size = x.dim(axis);
    let parts = match parts {
        Some(parts) => sizes(&parts)?,
        None => {
            let count = call.node.outputs.max(1);
            let each = size.div_ceil(count);
            (0..count).map(|at| each.min(size.saturating_sub(at * each))).collect()
        }
    };
    if parts.iter().sum::<usize>() != size || parts.len() < call.node.outputs {
        return Err(OpError::caller(format!("dimension {axis} of size {size} cannot be split into {parts:?}")));
    }
    let mut start = 0;
    let mut outputs = Outputs::new();
    for part in parts {
        outputs.push(x.clone().slice(axis, start, start + part, 1)?.into());
        start += part;
    }
    Ok(outputs)
}

/// Since opset 10, bounds are inputs and there are steps.
fn slice(call: &mut Call<'_>) -> Result<Outputs> {
    let starts = call.ints_or(1, "starts")?.ok_or_else(|| OpError::new("there are no starts"))?;
    let ends = call.ints_or(2, "ends")?.ok_or_else(|| OpError::new("there are no ends"))?;
    let axes = call.ints_or(3, "axes")?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = call.ints(4)?.unwrap_or_else(|| vec![1; starts.len()]);
    let mut x = call.tensor(0)?;
    if starts.len() != ends.len() || axes.len() != starts.len() || steps.len() != starts.len() {
        return Err(OpError::new("starts, ends, axes and steps are of different lengths"));
    }
    for (((start, end), axis), step) in starts.into_iter().zip(ends).zip(axes).zip(steps) {
        let axis = resolve_axis(axis, x.rank())?;
        x = slice_axis(x, axis, (start, end, step))?;
    }
    one(x)
}

fn slice_axis(x: Tensor, axis: usize, (start, end, step): (i64, i64, i64)) -> Result<Tensor> {
    let size = x.dim(axis) as i64;
    let from_start = |at: i64| if at < 0 { at.saturating_add(size) } else { at };
    if step > 0 {
        let (start, end) = (from_start(start).clamp(0, size), from_start(end).clamp(0, size));
        return x.slice(axis, start as usize, end.max(start) as usize, step.min(size.max(1)) as usize);
    }
    if step == 0 {
        return Err(OpError::new("a step of 0"));
    }
    // Backwards: the same elements forwards, turned round.
    let (start, end) = (from_start(start).clamp(-1, size - 1), from_start(end).clamp(-1, size - 1));
    let stride = step.unsigned_abs().min(size.max(1) as u64) as i64;
    if end >= start {
        return x.slice(axis, 0, 0, 1);
    }
    let count = (start - end + stride - 1) / stride;
    let lowest = start - (count - 1) * stride;
    Ok(x.slice(axis, lowest as usize, start as usize + 1, stride as usize)?.flip(axis))
}

fn tile(call: &mut Call<'_>) -> Result<Outputs> {
    let repeats = sizes(&call.need_ints(1)?)?;
    let x = call.tensor(0)?;
    let dims = x.dims();
    if repeats.len() != dims.len() {
        return Err(OpError::caller(format!(
            "{repeats:?} repeats shape {dims:?}, which has {} dimensions",
            dims.len()
        )));
    }
    let tiled: Dims = dims.iter().zip(&repeats).map(|(dim, times)| dim.saturating_mul(*times)).collect();
    count(&tiled)?;
    // [a, b] as [1, a, 1, b], expanded to [m, a, n, b].
    let apart: Dims = dims.iter().flat_map(|&dim| [1, dim]).collect();
    let wide: Dims = dims.iter().zip(&repeats).flat_map(|(&dim, &times)| [times, dim]).collect();
    one(x.reshape(&apart)?.expand(&wide)?.reshape(&tiled)?)
}

/// So many elements more before and after each axis; fewer, where the number is negative.
fn pad(call: &mut Call<'_>) -> Result<Outputs> {
    let pads = call.ints_or(1, if call.node.opset < 2 { "paddings" } else { "pads" })?;
    let pads = pads.ok_or_else(|| OpError::new("there are no pads"))?;
    let value = match call.number(2)? {
        Some(value) => value,
        None => call.node.float("value", 0.0),
    };
    let axes = call.ints(3)?;
    let mut x = call.tensor(0)?;
    let rank = x.rank();
    let axes: Vec<usize> = match axes {
        Some(axes) => axes.iter().map(|&axis| resolve_axis(axis, rank)).collect::<Result<_>>()?,
        None => (0..rank).collect(),
    };
    if pads.len() != 2 * axes.len() {
        return Err(OpError::new(format!("{} axes take {} pads, found {}", axes.len(), 2 * axes.len(), pads.len())));
    }
    let mut more = vec![(0, 0); rank];
    for (at, &axis) in axes.iter().enumerate() {
        let (before, after) = (pads[at], pads[at + axes.len()]);
        let size = x.dim(axis);
        let cut = |pad: i64| pad.min(0).unsigned_abs() as usize;
        let (cut_before, cut_after) = (cut(before), cut(after));
        x = x.slice(axis, cut_before.min(size), size.saturating_sub(cut_after).max(cut_before.min(size)), 1)?;
        more[axis] = (before.max(0) as usize, after.max(0) as usize);
    }
    let mode = call.node.text("mode", "constant");
    if mode == "constant" {
        return one(x.pad(&more, value)?);
    }
    for (axis, (before, after)) in more.into_iter().enumerate().filter(|(_, pads)| *pads != (0, 0)) {
        let size = x.dim(axis) as i64;
        if size == 0 {
            return Err(OpError::caller("there is nothing to pad with"));
        }
        count(&[before.saturating_add(after).saturating_add(size as usize)])?;
        let (before, after) = (before as i64, after as i64);
        let source = |at: i64| match mode {
            "edge" => at.clamp(0, size - 1),
            "wrap" => at.rem_euclid(size),
            _ if size == 1 => 0,
            _ => {
                let period = 2 * (size - 1);
                let at = at.rem_euclid(period);
                at.min(period - at)
            }
        };
        let indices: Vec<i64> = (-before..size + after).map(source).collect();
        let length = indices.len();
        x = x.select(axis, Tensor::new(indices, &[length], call.device)?)?;
    }
    one(x)
}

/// Cut or padded with zeros, evenly on both sides, to the given sizes.
fn center_crop_pad(call: &mut Call<'_>) -> Result<Outputs> {
    let shape = sizes(&call.need_ints(1)?)?;
    let mut x = call.tensor(0)?;
    let rank = x.rank();
    let axes: Vec<usize> = match call.node.ints("axes") {
        Some(axes) => axes.iter().map(|&axis| resolve_axis(axis, rank)).collect::<Result<_>>()?,
        None => (0..rank).collect(),
    };
    let mut pads = vec![(0, 0); rank];
    for (&axis, &wanted) in axes.iter().zip(&shape) {
        let size = x.dim(axis);
        if wanted < size {
            let start = (size - wanted) / 2;
            x = x.slice(axis, start, start + wanted, 1)?;
        } else {
            let before = (wanted - size) / 2;
            pads[axis] = (before, wanted - size - before);
        }
    }
    one(x.pad(&pads, 0.0)?)
}

fn depth_to_space(call: &mut Call<'_>) -> Result<Outputs> {
    let x = call.tensor(0)?.of_rank(4, "the input")?;
    let block = sizes(&[call.node.int("blocksize", 1)])?[0];
    let [n, c, h, w] = [x.dim(0), x.dim(1), x.dim(2), x.dim(3)];
    if block == 0 || c % (block * block) != 0 {
        return Err(OpError::caller(format!("{c} channels do not make blocks of {block} by {block}")));
    }
    let depth = c / (block * block);
    let x = if call.node.text("mode", "DCR") == "DCR" {
        x.reshape(&[n, block, block, depth, h, w])?.permute(&[0, 3, 4, 1, 5, 2])?
    } else {
        x.reshape(&[n, depth, block, block, h, w])?.permute(&[0, 1, 4, 2, 5, 3])?
    };
    one(x.reshape(&[n, depth, h * block, w * block])?)
}

fn space_to_depth(call: &mut Call<'_>) -> Result<Outputs> {
    let x = call.tensor(0)?.of_rank(4, "the input")?;
    let block = sizes(&[call.node.int("blocksize", 1)])?[0];
    let [n, c, h, w] = [x.dim(0), x.dim(1), x.dim(2), x.dim(3)];
    if block == 0 || h % block != 0 || w % block != 0 {
        return Err(OpError::caller(format!("an image of {h} by {w} does not consist of blocks of {block}")));
    }
    let x = x.reshape(&[n, c, h / block, block, w / block, block])?.permute(&[0, 3, 5, 1, 2, 4])?;
    one(x.reshape(&[n, c * block * block, h / block, w / block])?)
}
