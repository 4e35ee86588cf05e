//! Resizing, one axis after the other: each is a product with a matrix of weights, or for the nearest element a selection.

use super::Family;
use crate::onnx::error::OpError;
use crate::onnx::node::{Call, Node, Outputs, one};
use crate::onnx::tensor::{Dims, Kind, Result, Tensor, count, resolve_axis, work};
use crate::value::DType;

pub(super) const OPS: Family = &[("Resize", resize), ("Upsample", upsample)];

/// How one axis is resized.
#[derive(Clone, Copy)]
struct Axis {
    input: usize,
    output: usize,
    scale: f64,
    /// The part of the input that is meant, from 0 to 1, where only a part is.
    roi: (f64, f64),
}

/// What holds for all axes.
struct Mode<'a> {
    kind: &'a str,
    coordinates: &'a str,
    nearest: &'a str,
    cubic: f64,
    antialias: bool,
    exclude_outside: bool,
    /// What stands outside the input, where the coordinates say so.
    outside: f64,
}

impl Mode<'_> {
    /// The place in the input that place `at` of the output shows.
    fn source(&self, axis: &Axis, at: usize) -> Result<f64> {
        let (x, input, width) = (at as f64, axis.input as f64, axis.scale * axis.input as f64);
        Ok(match self.coordinates {
            "half_pixel" => (x + 0.5) / axis.scale - 0.5,
            "half_pixel_symmetric" => {
                let offset = input / 2.0 * (1.0 - axis.output as f64 / width);
                offset + (x + 0.5) / axis.scale - 0.5
            }
            "pytorch_half_pixel" if axis.output == 1 => 0.0,
            "pytorch_half_pixel" => (x + 0.5) / axis.scale - 0.5,
            "align_corners" if axis.output == 1 => 0.0,
            "align_corners" => x * (input - 1.0) / (width - 1.0),
            "asymmetric" => x / axis.scale,
            "tf_crop_and_resize" => {
                let (start, end) = axis.roi;
                let span = (end - start) * (input - 1.0);
                let own = if axis.output == 1 { span / 2.0 } else { x * span / (width - 1.0) };
                start * (input - 1.0) + own
            }
            other => return Err(OpError::new(format!("the coordinates \"{other}\" are not supported"))),
        })
    }

    fn is_outside(&self, axis: &Axis, source: f64) -> bool {
        self.coordinates == "tf_crop_and_resize" && !(0.0..=axis.input as f64 - 1.0).contains(&source)
    }

    fn nearest(&self, source: f64) -> f64 {
        match self.nearest {
            "floor" => source.floor(),
            "ceil" => source.ceil(),
            "round_prefer_ceil" => (source + 0.5).floor(),
            _ => (source - 0.5).ceil(),
        }
    }

    /// How many places of the input one of the output may be made of, about.
    fn taps(&self, axis: &Axis) -> usize {
        let stretch = if self.antialias { axis.scale.min(1.0) } else { 1.0 };
        (4.0 / stretch).ceil() as usize
    }

    /// Places of the input around `source` and the weight of each; places outside stand for the edge.
    fn weights(&self, axis: &Axis, source: f64) -> Vec<(i64, f64)> {
        let first = source.ceil() as i64 - 1;
        let ratio = source - first as f64;
        let stretch = if self.antialias { axis.scale.min(1.0) } else { 1.0 };
        let reach = if self.kind == "cubic" { 2.0 } else { 1.0 };
        let start = (-reach / stretch).floor() as i64 + 1;
        let kernel = |x: f64| {
            let x = x.abs();
            let a = self.cubic;
            match self.kind {
                "cubic" if x <= 1.0 => ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0,
                "cubic" if x < 2.0 => ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a,
                "cubic" => 0.0,
                _ => (1.0 - x).max(0.0),
            }
        };
        let mut weights: Vec<(i64, f64)> =
            (start..2 - start).map(|at| (first + at, kernel((at as f64 - ratio) * stretch))).collect();
        if self.exclude_outside {
            let last = axis.input as i64 - 1;
            weights.iter_mut().filter(|(place, _)| !(0..=last).contains(place)).for_each(|(_, weight)| *weight = 0.0);
        }
        let sum: f64 = weights.iter().map(|(_, weight)| weight).sum();
        if self.antialias || self.exclude_outside {
            weights.iter_mut().for_each(|(_, weight)| *weight /= sum);
        }
        weights
    }
}

/// One axis of a tensor resized.
fn resize_axis(x: Tensor, at: usize, axis: &Axis, mode: &Mode<'_>) -> Result<Tensor> {
    let device = x.device();
    let sources: Vec<f64> = (0..axis.output).map(|place| mode.source(axis, place)).collect::<Result<_>>()?;
    let last = axis.input as i64 - 1;
    let outside: Vec<bool> = sources.iter().map(|&source| mode.is_outside(axis, source)).collect();
    let resized = if mode.kind == "nearest" {
        let indices: Vec<i64> = sources.iter().map(|&source| (mode.nearest(source) as i64).clamp(0, last)).collect();
        x.select(at, Tensor::new(indices, &[axis.output], &device)?)?
    } else {
        work(&[axis.output, count(&[4, mode.taps(axis)])?])?;
        let mut matrix = vec![0.0; count(&[axis.input, axis.output])?];
        for (place, &source) in sources.iter().enumerate() {
            for (from, weight) in mode.weights(axis, source) {
                matrix[from.clamp(0, last) as usize * axis.output + place] += weight;
            }
        }
        let matrix = Tensor::from_f64s(&matrix, &[axis.input, axis.output], x.dtype(), &device)?;
        let end = x.rank() - 1;
        let turned = if at == end { x } else { x.swap(at, end)? };
        let product = if turned.rank() == 1 {
            turned.unsqueeze(0)?.matmul(matrix)?.squeeze(0)?
        } else {
            turned.matmul(matrix)?
        };
        if at == end { product } else { product.swap(at, end)? }
    };
    if !outside.contains(&true) {
        return Ok(resized);
    }
    let mut dims: Dims = smallvec::smallvec![1; resized.rank()];
    dims[at] = axis.output;
    let mask = Tensor::bools(outside, &dims, &device)?;
    let fill = Tensor::scalar(burn::tensor::Scalar::Float(mode.outside), resized.dtype(), &device)?;
    resized.mask_where(mask, fill)
}

fn run(mut x: Tensor, axes: &[(usize, Axis)], mode: &Mode<'_>) -> Result<Outputs> {
    let dtype = x.dtype();
    let mut dims = x.dims();
    axes.iter().for_each(|(at, axis)| dims[*at] = axis.output);
    count(&dims)?;
    if mode.kind != "nearest" && x.kind() != Kind::Float {
        x = x.cast(DType::F32);
    }
    // Inner axes first, those that shrink before those that grow.
    let mut order: Vec<&(usize, Axis)> = axes.iter().collect();
    order.sort_by_key(|(at, axis)| (axis.output > axis.input, std::cmp::Reverse(*at)));
    for (at, axis) in order {
        let same = axis.input == axis.output && axis.scale == 1.0 && mode.coordinates != "tf_crop_and_resize";
        if !same {
            x = resize_axis(x, *at, axis, mode)?;
        }
    }
    one(x.cast(dtype))
}

/// `X`, region of interest, scales, sizes; before opset 11, `X` and scales.
fn resize(call: &mut Call<'_>) -> Result<Outputs> {
    let node = call.node;
    if node.opset < 11 {
        return upsample(call);
    }
    let numbers = |call: &mut Call<'_>, at: usize| -> Result<Option<Vec<f64>>> {
        let Some(tensor) = call.optional(at)? else { return Ok(None) };
        let values = tensor.floats()?;
        Ok(Some(values).filter(|values| !values.is_empty()))
    };
    let (roi, scales, sizes) = (numbers(call, 1)?, numbers(call, 2)?, numbers(call, 3)?);
    let x = call.tensor(0)?;
    let dims = x.dims();
    let named: Vec<usize> = match node.ints("axes") {
        Some(axes) => axes.iter().map(|&axis| resolve_axis(axis, dims.len())).collect::<Result<_>>()?,
        None => (0..dims.len()).collect(),
    };
    let given = scales.as_ref().or(sizes.as_ref()).ok_or_else(|| OpError::new("there are neither scales nor sizes"))?;
    let roi_fits = roi.as_ref().is_none_or(|roi| roi.len() == 2 * named.len());
    if given.len() != named.len() || !roi_fits || dims.contains(&0) || !given.iter().all(|&number| number > 0.0) {
        return Err(OpError::caller(format!("{given:?} do not resize shape {dims:?}")));
    }
    let policy = node.text("keep_aspect_ratio_policy", "stretch");
    let ratios = named.iter().zip(given).map(|(&at, &size)| size / dims[at] as f64);
    let common = match policy {
        "not_larger" => Some(ratios.fold(f64::INFINITY, f64::min)),
        "not_smaller" => Some(ratios.fold(0.0, f64::max)),
        _ => None,
    };
    let axis = |(index, &at): (usize, &usize)| {
        let input = dims[at];
        let (scale, output) = match (&scales, common) {
            (Some(scales), _) => (scales[index], (input as f64 * scales[index]).floor()),
            (None, Some(scale)) => (scale, (scale * input as f64 + 0.5).floor()),
            (None, None) => (given[index] / input as f64, given[index]),
        };
        let roi = roi.as_ref().map_or((0.0, 1.0), |roi| (roi[index], roi[index + named.len()]));
        (at, Axis { input, output: output as usize, scale, roi })
    };
    if (1..named.len()).any(|at| named[..at].contains(&named[at])) {
        return Err(OpError::new(format!("an axis of {named:?} is given twice")));
    }
    let axes: Vec<(usize, Axis)> = named.iter().enumerate().map(axis).collect();
    run(x, &axes, &mode(node))
}

fn mode(node: &Node) -> Mode<'_> {
    Mode {
        kind: node.text("mode", "nearest"),
        coordinates: node.text("coordinate_transformation_mode", "half_pixel"),
        nearest: node.text("nearest_mode", "round_prefer_floor"),
        cubic: node.float("cubic_coeff_a", -0.75),
        antialias: node.flag("antialias", false),
        exclude_outside: node.flag("exclude_outside", false),
        outside: node.float("extrapolation_value", 0.0),
    }
}

/// The older form: only scales, each place of the output shows `place / scale`.
fn upsample(call: &mut Call<'_>) -> Result<Outputs> {
    let scales = match call.optional(1)? {
        Some(scales) => scales.floats()?,
        None => call
            .node
            .floats("scales")
            .map(|scales| scales.iter().map(|&scale| f64::from(scale)).collect())
            .unwrap_or_default(),
    };
    let x = call.tensor(0)?;
    let dims = x.dims();
    if scales.len() != dims.len() || dims.contains(&0) || !scales.iter().all(|&scale| scale > 0.0) {
        return Err(OpError::caller(format!("{scales:?} do not resize shape {dims:?}")));
    }
    let axis = |(at, (&input, &scale)): (usize, (&usize, &f64))| {
        (at, Axis { input, output: (input as f64 * scale).floor() as usize, scale, roi: (0.0, 1.0) })
    };
    let axes: Vec<(usize, Axis)> = dims.iter().zip(&scales).enumerate().map(axis).collect();
    let kind = call.node.text("mode", "nearest");
    let mode = Mode {
        kind: if kind == "bilinear" { "linear" } else { kind },
        coordinates: "asymmetric",
        nearest: "floor",
        ..mode(call.node)
    };
    run(x, &axes, &mode)
}
