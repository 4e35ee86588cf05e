//! Pooling.

use burn::backend::Dispatch;
use burn::backend::ops::ModuleOps;

use super::Family;
use super::conv::Window;
use super::reduce::over;
use crate::onnx::error::OpError;
use crate::onnx::node::{Call, Outputs, one, sizes};
use crate::onnx::tensor::{Dims, Kind, Reduction, Result, Tensor, count, work};
use crate::value::DType;

pub(super) const OPS: Family = &[
    ("MaxPool", max_pool),
    ("AveragePool", average_pool),
    ("LpPool", lp_pool),
    ("GlobalAveragePool", |call| global(call, |x, axes| over(x, Reduction::Mean, axes))),
    ("GlobalMaxPool", |call| global(call, |x, axes| over(x, Reduction::Max, axes))),
    ("GlobalLpPool", |call| {
        let p = call.node.int("p", 2) as f64;
        global(call, |x, axes| over(x.abs()?.power(p)?, Reduction::Sum, axes)?.power(1.0 / p))
    }),
];

fn global(call: &mut Call<'_>, by: impl Fn(Tensor, &[usize]) -> Result<Tensor>) -> Result<Outputs> {
    let x = call.tensor(0)?;
    let axes: Vec<usize> = (2..x.rank()).collect();
    one(by(x, &axes)?)
}

/// The window, and whether a last one that is only partly over the input counts.
fn window(call: &Call<'_>, dims: &[usize]) -> Result<(Window, bool)> {
    let kernel = call.node.ints("kernel_shape").ok_or_else(|| OpError::new("there is no kernel_shape"))?;
    if dims.len() < 3 {
        return Err(OpError::caller(format!("the input must have at least 3 dimensions, found shape {dims:?}")));
    }
    Ok((Window::of(call.node, sizes(kernel)?, &dims[2..])?, call.node.flag("ceil_mode", false)))
}

/// How many windows there are in a dimension. The last must start over the input or the padding before it.
fn steps(window: &Window, at: usize, input: usize, ceil: bool) -> Result<usize> {
    let (before, after) = window.pads[at];
    let padded = input + before + after;
    let room = padded.checked_sub(window.span(at)).ok_or_else(|| {
        OpError::caller(format!("an input of size {input} is smaller than a window of {}", window.span(at)))
    })?;
    let stride = window.strides[at];
    let steps = if ceil { room.div_ceil(stride) } else { room / stride } + 1;
    let outside = ceil && (steps - 1) * stride >= input + before;
    Ok(if outside { steps - 1 } else { steps })
}

fn max_pool(call: &mut Call<'_>) -> Result<Outputs> {
    let x = call.tensor(0)?;
    let dims = x.dims();
    let (window, ceil) = window(call, &dims)?;
    let plain = dims.len() == 4
        && window.is_symmetric()
        && !ceil
        && x.kind() == Kind::Float
        && call.node.outputs < 2
        && window.pads.iter().zip(&window.kernel).all(|((pad, _), kernel)| *pad <= kernel / 2);
    if plain {
        let two = |values: &[usize]| [values[0], values[1]];
        let pads = [window.pads[0].0, window.pads[1].0];
        let (kernel, strides, dilations) = (two(&window.kernel), two(&window.strides), two(&window.dilations));
        return one(x.map(|raw| Dispatch::max_pool2d(raw, kernel, strides, pads, dilations, false))?);
    }
    let (dtype, device) = (x.dtype(), call.device);
    let column = call.node.int("storage_order", 0) == 1;
    let mut places: Vec<i64> = Vec::new();
    let (values, shape) = over_windows(&x, &window, ceil, |plane, elements, _| {
        let best = elements.iter().filter(|(_, value)| !value.is_nan());
        let best = best.fold(None, |best: Option<&(usize, f64)>, next| match best {
            Some(best) if best.1 >= next.1 => Some(best),
            _ => Some(next),
        });
        let (place, value) = best.copied().unwrap_or((0, f64::NEG_INFINITY));
        places.push((plane * dims[2..].iter().product::<usize>() + stored(place, &dims[2..], column)) as i64);
        value
    })?;
    Ok(smallvec::smallvec![
        Tensor::from_f64s(&values, &shape, dtype, device)?.into(),
        Tensor::new(places, &shape, device)?.into()
    ])
}

/// Where an element stands in a plane that is stored column by column, if it is.
fn stored(place: usize, dims: &[usize], column: bool) -> usize {
    if !column {
        return place;
    }
    let (mut rest, mut index, mut span) = (place, Vec::with_capacity(dims.len()), 1);
    for dim in dims.iter().rev() {
        index.push(rest % dim);
        rest /= dim;
    }
    let mut result = 0;
    for (own, dim) in index.into_iter().rev().zip(dims) {
        result += own * span;
        span *= dim;
    }
    result
}

/// Applies a function to each window on the host: the plane it is in, its elements with their places in the plane, and
/// how many elements it covers with the padding.
fn over_windows(
    x: &Tensor,
    window: &Window,
    ceil: bool,
    mut function: impl FnMut(usize, &[(usize, f64)], usize) -> f64,
) -> Result<(Vec<f64>, Dims)> {
    let dims = x.dims();
    let input = &dims[2..];
    let space = input.len();
    let counts: Dims = (0..space).map(|at| steps(window, at, input[at], ceil)).collect::<Result<_>>()?;
    let mut shape: Dims = dims[..2].iter().copied().collect();
    shape.extend_from_slice(&counts);
    let total = count(&shape)?;
    let values = x.floats()?;
    let (size, windows, taps) =
        (input.iter().product::<usize>(), counts.iter().product::<usize>(), window.kernel.iter().product::<usize>());
    work(&[total, taps])?;
    let mut results = Vec::with_capacity(total);
    let mut elements = Vec::new();
    for plane in 0..dims[0] * dims[1] {
        for at in 0..windows {
            elements.clear();
            let mut covered = 0;
            'taps: for tap in 0..taps {
                let (mut windows_left, mut taps_left, mut place, mut span, mut inside) = (at, tap, 0, 1, true);
                for level in (0..space).rev() {
                    let step = windows_left % counts[level];
                    let own = taps_left % window.kernel[level];
                    windows_left /= counts[level];
                    taps_left /= window.kernel[level];
                    let position = step * window.strides[level] + own * window.dilations[level];
                    let (before, after) = window.pads[level];
                    if position >= input[level] + before + after {
                        continue 'taps;
                    }
                    match position.checked_sub(before).filter(|&position| position < input[level]) {
                        Some(position) => place += position * span,
                        None => inside = false,
                    }
                    span *= input[level];
                }
                covered += 1;
                if inside {
                    elements.push((place, values[plane * size + place]));
                }
            }
            results.push(function(plane, &elements, covered));
        }
    }
    Ok((results, shape))
}

fn average_pool(call: &mut Call<'_>) -> Result<Outputs> {
    let x = call.tensor(0)?;
    let dims = x.dims();
    let (window, ceil) = window(call, &dims)?;
    let with_pads = call.node.flag("count_include_pad", false);
    let plain = dims.len() == 4
        && window.is_symmetric()
        && !ceil
        && window.dilations.iter().all(|&dilation| dilation == 1)
        && window.pads.iter().zip(&window.kernel).all(|((pad, _), kernel)| *pad <= kernel / 2);
    if plain {
        let two = |values: &[usize]| [values[0], values[1]];
        let pads = [window.pads[0].0, window.pads[1].0];
        let (kernel, strides) = (two(&window.kernel), two(&window.strides));
        return one(x.map(|raw| Dispatch::avg_pool2d(raw, kernel, strides, pads, with_pads, false))?);
    }
    let (values, shape) = over_windows(&x, &window, ceil, |_, elements, covered| {
        let sum: f64 = elements.iter().map(|(_, value)| value).sum();
        sum / if with_pads { covered } else { elements.len() } as f64
    })?;
    one(Tensor::from_f64s(&values, &shape, x.dtype(), call.device)?)
}

fn lp_pool(call: &mut Call<'_>) -> Result<Outputs> {
    let x = call.tensor(0)?;
    let dims = x.dims();
    let (window, ceil) = window(call, &dims)?;
    let p = call.node.int("p", 2) as f64;
    let (values, shape) = over_windows(&x, &window, ceil, |_, elements, _| {
        elements.iter().map(|(_, value)| value.abs().powf(p)).sum::<f64>().powf(1.0 / p)
    })?;
    let dtype: DType = x.dtype();
    one(Tensor::from_f64s(&values, &shape, dtype, call.device)?)
}
