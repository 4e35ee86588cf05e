//! Back from windows: what pooling and unfolding took apart.

use super::Family;
use super::conv::Window;
use crate::onnx::error::OpError;
use crate::onnx::node::{Call, Outputs, one, sizes};
use crate::onnx::tensor::{Dims, Result, Tensor, count};

pub(super) const OPS: Family = &[("MaxUnpool", max_unpool), ("Col2Im", col_to_image)];

/// Each element where a pooling found it, zeros elsewhere.
fn max_unpool(call: &mut Call<'_>) -> Result<Outputs> {
    let kernel = call.node.ints("kernel_shape").ok_or_else(|| OpError::new("there is no kernel_shape"))?;
    let kernel = sizes(kernel)?;
    let (x, places) = (call.tensor(0)?, call.need_ints(1)?);
    let dims = x.dims();
    if dims.len() != kernel.len() + 2 || places.len() != x.elements() {
        return Err(OpError::caller(format!(
            "{} indices and a window of {kernel:?} do not fit an input of shape {dims:?}",
            places.len()
        )));
    }
    let window = Window::of(call.node, kernel, &dims[2..])?;
    let mut shape: Dims = dims[..2].iter().copied().collect();
    for at in 0..dims.len() - 2 {
        let (before, after) = window.pads[at];
        let full = dims[at + 2].saturating_sub(1).saturating_mul(window.strides[at]).saturating_add(window.kernel[at]);
        shape.push(full.saturating_sub(before.saturating_add(after)));
    }
    let mut values = vec![0.0; count(&shape)?];
    for (value, place) in x.floats()?.into_iter().zip(places) {
        let slot = usize::try_from(place).ok().and_then(|place| values.get_mut(place));
        *slot.ok_or_else(|| OpError::caller(format!("index {place} is beyond a tensor of shape {shape:?}")))? = value;
    }
    let y = Tensor::from_f64s(&values, &shape, x.dtype(), call.device)?;
    let Some(wanted) = call.ints(2)? else { return one(y) };
    let wanted = sizes(&wanted)?;
    let pads: Option<Vec<(usize, usize)>> =
        wanted.iter().zip(&shape).map(|(to, from)| Some((0, to.checked_sub(*from)?))).collect();
    match pads.filter(|_| wanted.len() == shape.len()) {
        Some(pads) => one(y.pad(&pads, 0.0)?),
        None => Err(OpError::caller(format!("an output of shape {wanted:?} is smaller than {shape:?}"))),
    }
}

/// The sum of overlapping blocks, `[n, channels * block, blocks]`, in an image `[n, channels, …]`.
fn col_to_image(call: &mut Call<'_>) -> Result<Outputs> {
    let x = call.tensor(0)?.of_rank(3, "the input")?;
    let (image, block) = (sizes(&call.need_ints(1)?)?, sizes(&call.need_ints(2)?)?);
    let window = Window::of(call.node, block, &image)?;
    let dims = x.dims();
    let misfit =
        || OpError::caller(format!("blocks of {:?} in an image of {image:?} do not fit shape {dims:?}", window.kernel));
    let taps = count(&window.kernel)?;
    if !dims[1].is_multiple_of(taps) {
        return Err(misfit());
    }
    let mut shape: Dims = smallvec::smallvec![dims[0], dims[1] / taps];
    shape.extend_from_slice(&image);
    let total = count(&shape)?;
    let blocks: Option<Dims> = (0..image.len())
        .map(|at| {
            let padded = image[at].saturating_add(window.pads[at].0).saturating_add(window.pads[at].1);
            Some(padded.checked_sub(window.span(at))? / window.strides[at] + 1)
        })
        .collect();
    let blocks = blocks.filter(|blocks| blocks.iter().product::<usize>() == dims[2]).ok_or_else(misfit)?;
    let (values, size) = (x.floats()?, image.iter().product::<usize>());
    let mut sums = vec![0.0; total];
    for tap in 0..taps {
        for at in 0..dims[2] {
            let Some(place) = place(&window, &image, &blocks, tap, at) else { continue };
            for plane in 0..shape[0] * shape[1] {
                sums[plane * size + place] += values[(plane * taps + tap) * dims[2] + at];
            }
        }
    }
    one(Tensor::from_f64s(&sums, &shape, x.dtype(), call.device)?)
}

/// Where an element of a block lies in the image; `None` in the padding.
fn place(window: &Window, image: &[usize], blocks: &[usize], tap: usize, block: usize) -> Option<usize> {
    let (mut tap, mut block, mut place, mut span) = (tap, block, 0, 1);
    for at in (0..image.len()).rev() {
        let start = block % blocks[at] * window.strides[at] + tap % window.kernel[at] * window.dilations[at];
        let index = start.checked_sub(window.pads[at].0).filter(|&index| index < image[at])?;
        place += index * span;
        span *= image[at];
        block /= blocks[at];
        tap /= window.kernel[at];
    }
    Some(place)
}
