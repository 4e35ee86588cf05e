//! Samples between the elements of a tensor.

use burn::backend::Dispatch;
use burn::backend::ops::{FloatTensorOps, ModuleOps};
use burn::tensor::ops::{DeformConvOptions, GridSampleOptions, GridSamplePaddingMode, InterpolateMode};

use super::Family;
use super::conv::{Window, check};
use crate::onnx::error::OpError;
use crate::onnx::node::{Call, Node, Outputs, one, sizes};
use crate::onnx::tensor::{Dims, Kind, Result, Tensor, count, work};

pub(super) const OPS: Family =
    &[("GridSample", grid_sample), ("AffineGrid", affine_grid), ("RoiAlign", roi_align), ("DeformConv", deform_conv)];

/// Which elements a sample is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Nearest,
    Linear,
    Cubic,
}

/// What lies beside the tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outside {
    Zeros,
    Border,
    Reflection,
}

/// How samples are taken.
#[derive(Clone, Copy, Debug)]
struct Sampler {
    mode: Mode,
    outside: Outside,
    /// Whether -1 and 1 are the centres of the outermost elements, not their outer edges.
    corners: bool,
}

/// Elements of a plane with their weights.
type Taps = Vec<(usize, f64)>;

impl Sampler {
    fn of(node: &Node) -> Result<Self> {
        let mode = match node.text("mode", "linear") {
            "nearest" => Mode::Nearest,
            "linear" | "bilinear" => Mode::Linear,
            "cubic" | "bicubic" => Mode::Cubic,
            other => return Err(OpError::new(format!("mode \"{other}\" is not supported"))),
        };
        let outside = match node.text("padding_mode", "zeros") {
            "zeros" => Outside::Zeros,
            "border" => Outside::Border,
            "reflection" => Outside::Reflection,
            other => return Err(OpError::new(format!("padding_mode \"{other}\" is not supported"))),
        };
        Ok(Self { mode, outside, corners: node.flag("align_corners", false) })
    }

    /// The same as Burn's options, where it has such.
    fn burn(self) -> Option<GridSampleOptions> {
        let padding_mode = match self.outside {
            Outside::Zeros => GridSamplePaddingMode::Zeros,
            Outside::Border => GridSamplePaddingMode::Border,
            Outside::Reflection => GridSamplePaddingMode::Reflection,
        };
        let options = GridSampleOptions { mode: InterpolateMode::Bilinear, padding_mode, align_corners: self.corners };
        (self.mode == Mode::Linear).then_some(options)
    }

    /// From -1 … 1 to the index of an element, and between two.
    fn index(self, normal: f64, size: usize) -> f64 {
        let size = size as f64;
        if self.corners { (normal + 1.0) / 2.0 * (size - 1.0) } else { ((normal + 1.0) * size - 1.0) / 2.0 }
    }

    /// An index beside the tensor, thrown back at its borders until it is within.
    fn reflected(self, index: f64, size: usize) -> f64 {
        let edge = if self.corners { 0.0 } else { 0.5 };
        let (low, span) = (-edge, size as f64 - 1.0 + 2.0 * edge);
        if span <= 0.0 {
            return 0.0;
        }
        let there_and_back = (index - low).rem_euclid(2.0 * span);
        low + if there_and_back <= span { there_and_back } else { 2.0 * span - there_and_back }
    }

    /// The element at an index, if there is one.
    fn element(self, index: f64, size: usize) -> Option<usize> {
        let last = size as f64 - 1.0;
        match self.outside {
            Outside::Zeros => (index >= 0.0 && index <= last).then_some(index as usize),
            Outside::Border => Some(index.clamp(0.0, last) as usize),
            Outside::Reflection => Some(self.reflected(index, size).clamp(0.0, last) as usize),
        }
    }

    /// The elements of one dimension that a sample is made of, each with its weight.
    fn taps(self, index: f64, size: usize) -> Taps {
        let index = match self.outside {
            Outside::Zeros => index,
            Outside::Border => index.clamp(0.0, size as f64 - 1.0),
            Outside::Reflection if self.mode == Mode::Nearest => index,
            Outside::Reflection => self.reflected(index, size),
        };
        let floor = index.floor();
        let part = index - floor;
        let weighted = |first: f64, weights: &[f64]| {
            let element = |(at, weight): (usize, &f64)| Some((self.element(first + at as f64, size)?, *weight));
            weights.iter().enumerate().filter_map(element).collect()
        };
        match self.mode {
            Mode::Nearest => weighted(index.round_ties_even(), &[1.0]),
            Mode::Linear => weighted(floor, &[1.0 - part, part]),
            Mode::Cubic => weighted(floor - 1.0, &cubic(part)),
        }
    }

    /// The elements of a plane of these sizes that a sample is made of.
    fn plane(self, indices: impl Iterator<Item = f64>, dims: &[usize]) -> Taps {
        indices.zip(dims).fold(vec![(0, 1.0)], |taps, (index, &size)| {
            let own = self.taps(index, size);
            let both = |(place, weight): (usize, f64)| {
                own.iter().map(move |(at, factor)| (place * size + at, weight * factor)).collect::<Taps>()
            };
            taps.into_iter().flat_map(both).collect()
        })
    }
}

/// Keys's weights of the four elements about a point, with `a = -0.75`.
fn cubic(part: f64) -> [f64; 4] {
    let a = -0.75;
    let near = |x: f64| ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    let far = |x: f64| ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a;
    [far(part + 1.0), near(part), near(1.0 - part), far(2.0 - part)]
}

/// Samples of `[n, channels, …]` at the places that `[n, …, space]` names, the innermost dimension first.
fn grid_sample(call: &mut Call<'_>) -> Result<Outputs> {
    let sampler = Sampler::of(call.node)?;
    let (x, grid) = (call.tensor(0)?, call.tensor(1)?);
    let (dims, places) = (x.dims(), grid.dims());
    let space = dims.len().saturating_sub(2);
    if space == 0 || places.len() != dims.len() || places[0] != dims[0] || places[space + 1] != space {
        return Err(OpError::caller(format!("a grid of shape {places:?} does not fit an input of shape {dims:?}")));
    }
    let mut shape: Dims = dims[..2].iter().copied().collect();
    shape.extend_from_slice(&places[1..=space]);
    // Each sample is made of up to four elements in each dimension.
    work(&[count(&shape)?, count(&vec![4; space])?])?;
    let total = count(&shape)?;
    if dims[2..].contains(&0) {
        return Err(OpError::caller(format!("there is nothing to sample in an input of shape {dims:?}")));
    }
    if let Some(options) = sampler.burn().filter(|_| space == 2 && x.kind() == Kind::Float && total > 0) {
        let grid = grid.cast(x.dtype()).raw();
        return one(x.map(|raw| Dispatch::float_grid_sample_2d(raw, grid, options))?);
    }
    let (values, grid) = (x.floats()?, grid.floats()?);
    let (size, each) = (dims[2..].iter().product::<usize>(), shape[2..].iter().product::<usize>());
    let mut samples = vec![0.0; total];
    for (at, point) in grid.chunks_exact(space).enumerate() {
        let indices = point.iter().rev().zip(&dims[2..]).map(|(normal, &size)| sampler.index(*normal, size));
        let taps = sampler.plane(indices, &dims[2..]);
        let (n, place) = (at / each, at % each);
        for plane in n * dims[1]..(n + 1) * dims[1] {
            samples[plane * each + place] = sample(&values[plane * size..][..size], &taps);
        }
    }
    one(Tensor::from_f64s(&samples, &shape, x.dtype(), call.device)?)
}

fn sample(plane: &[f64], taps: &[(usize, f64)]) -> f64 {
    taps.iter().map(|(place, weight)| plane[*place] * weight).sum()
}

/// Where each element of an output comes from: its position, of -1 … 1 in each dimension, by a matrix `[space, space + 1]`.
fn affine_grid(call: &mut Call<'_>) -> Result<Outputs> {
    let theta = call.tensor(0)?.of_rank(3, "theta")?.float_only("theta")?;
    let size = sizes(&call.need_ints(1)?)?;
    let space = size.len().saturating_sub(2);
    let matrices = theta.dims();
    if space == 0 || matrices.as_slice() != [size[0], space, space + 1] {
        return Err(OpError::caller(format!("matrices of shape {matrices:?} do not fit a size of {size:?}")));
    }
    let (dims, corners) = (&size[2..], call.node.flag("align_corners", false));
    let mut shape: Dims = smallvec::smallvec![size[0]];
    shape.extend_from_slice(dims);
    shape.push(space);
    count(&shape)?;
    let places = dims.iter().product::<usize>();
    let position = |index: usize, size: usize| match (corners, size) {
        (true, 1) => -1.0,
        (true, size) => index as f64 * 2.0 / (size as f64 - 1.0) - 1.0,
        (false, size) => (index as f64 * 2.0 + 1.0) / size as f64 - 1.0,
    };
    let mut positions = Vec::with_capacity(places * (space + 1));
    for place in 0..places {
        let mut rest = place;
        for &size in dims.iter().rev() {
            positions.push(position(rest % size, size));
            rest /= size;
        }
        positions.push(1.0);
    }
    let positions = Tensor::from_f64s(&positions, &[1, places, space + 1], theta.dtype(), call.device)?;
    one(positions.matmul(theta.swap(1, 2)?)?.reshape(&shape)?)
}

/// What a box covers of a plane: `bins` bins in each dimension, of `samples` samples each.
struct Region {
    start: [f64; 2],
    bin: [f64; 2],
    samples: [usize; 2],
}

impl Region {
    /// The box `x1, y1, x2, y2` of an image.
    fn of(node: &Node, corners: &[f64], bins: [usize; 2]) -> Self {
        let half_pixel = node.text("coordinate_transformation_mode", "half_pixel").eq_ignore_ascii_case("half_pixel");
        // Until opset 16, coordinates are not shifted.
        let half_pixel = half_pixel && node.opset >= 16;
        let (scale, offset) = (node.float("spatial_scale", 1.0), if half_pixel { 0.5 } else { 0.0 });
        let start = [corners[1], corners[0]].map(|corner| corner * scale - offset);
        let end = [corners[3], corners[2]].map(|corner| corner * scale - offset);
        let bin: [f64; 2] = std::array::from_fn(|at| {
            let size = end[at] - start[at];
            (if half_pixel { size } else { size.max(1.0) }) / bins[at] as f64
        });
        let ratio = usize::try_from(node.int("sampling_ratio", 0)).unwrap_or(0);
        let samples = bin.map(|bin| if ratio > 0 { ratio } else { bin.ceil().max(0.0) as usize });
        Self { start, bin, samples }
    }

    /// The elements that a sample of a bin is made of; none beside the plane.
    fn taps(&self, bin: [usize; 2], at: [usize; 2], dims: &[usize]) -> Taps {
        let sampler = Sampler { mode: Mode::Linear, outside: Outside::Border, corners: false };
        let point: [f64; 2] = std::array::from_fn(|axis| {
            let (own, step) = (self.bin[axis], (at[axis] as f64 + 0.5) / self.samples[axis] as f64);
            self.start[axis] + bin[axis] as f64 * own + step * own
        });
        let beside = point.iter().zip(dims).any(|(&point, &size)| point < -1.0 || point > size as f64);
        if beside { Taps::new() } else { sampler.plane(point.into_iter(), dims) }
    }
}

/// The mean, or the largest weighted element, of the samples in each bin of each box: `[boxes, channels, height, width]`.
fn roi_align(call: &mut Call<'_>) -> Result<Outputs> {
    let node = call.node;
    let (x, boxes, images) = (call.tensor(0)?.of_rank(4, "the input")?, call.tensor(1)?, call.need_ints(2)?);
    let dims = x.dims();
    if boxes.dims().as_slice() != [images.len(), 4] || dims.contains(&0) {
        let found = boxes.dims();
        return Err(OpError::caller(format!(
            "{} boxes of shape {found:?} do not fit an input of {dims:?}",
            images.len()
        )));
    }
    let bins = sizes(&[node.int("output_height", 1), node.int("output_width", 1)])?;
    let largest = match node.text("mode", "avg").to_ascii_lowercase().as_str() {
        "avg" => false,
        "max" => true,
        other => return Err(OpError::new(format!("mode \"{other}\" is not supported"))),
    };
    let shape = [images.len(), dims[1], bins[0], bins[1]];
    let mut pooled = vec![0.0; count(&shape)?];
    let (values, boxes, size) = (x.floats()?, boxes.floats()?, dims[2] * dims[3]);
    for (at, (corners, image)) in boxes.chunks_exact(4).zip(images).enumerate() {
        let image = usize::try_from(image).ok().filter(|&image| image < dims[0]);
        let image =
            image.ok_or_else(|| OpError::caller(format!("a box is in an image beyond the {} given", dims[0])))?;
        let region = Region::of(node, corners, [bins[0], bins[1]]);
        let [rows, columns] = region.samples;
        // Each sample is made of four elements.
        work(&[shape[1], shape[2], shape[3], count(&[rows, columns, 16])?])?;
        for bin in 0..bins[0] * bins[1] {
            let place = [bin / bins[1], bin % bins[1]];
            let samples: Vec<Taps> = (0..rows * columns)
                .map(|sample| region.taps(place, [sample / columns, sample % columns], &dims[2..]))
                .collect();
            for channel in 0..dims[1] {
                let plane = &values[(image * dims[1] + channel) * size..][..size];
                pooled[(at * dims[1] + channel) * bins[0] * bins[1] + bin] = pool(plane, &samples, largest);
            }
        }
    }
    one(Tensor::from_f64s(&pooled, &shape, x.dtype(), call.device)?)
}

fn pool(plane: &[f64], samples: &[Taps], largest: bool) -> f64 {
    if !largest {
        return samples.iter().map(|taps| sample(plane, taps)).sum::<f64>() / samples.len().max(1) as f64;
    }
    let top = |taps: &Taps| taps.iter().map(|(place, weight)| plane[*place] * weight).reduce(f64::max).unwrap_or(0.0);
    samples.iter().map(top).reduce(f64::max).unwrap_or(0.0)
}

/// A convolution whose taps are moved, each by an offset of its own.
fn deform_conv(call: &mut Call<'_>) -> Result<Outputs> {
    let node = call.node;
    let (x, weight, offset) = (call.tensor(0)?.float_only("the input")?, call.tensor(1)?, call.tensor(2)?);
    let (bias, mask) = (call.optional(3)?, call.optional(4)?);
    let (dims, kernel) = (x.dims(), weight.dims());
    if dims.len() != 4 || kernel.len() != 4 {
        return Err(OpError::new("deformable convolutions over other than 2 dimensions are not supported"));
    }
    let numbers = sizes(&[node.int("group", 1).max(1), node.int("offset_group", 1).max(1)])?;
    let (groups, offset_groups) = (numbers[0], numbers[1]);
    check(&x, &weight, bias.as_ref(), kernel[0])?;
    let window = Window::of(node, kernel[2..].iter().copied().collect(), &dims[2..])?;
    // Zeros lie about the input anyway: pads may as well be part of it.
    let pads = [(0, 0), (0, 0), window.pads[0], window.pads[1]];
    let x = x.pad(&pads, 0.0)?;
    let padded = x.dims();
    let output: Option<Dims> =
        (0..2).map(|at| Some(padded[at + 2].checked_sub(window.span(at))? / window.strides[at] + 1)).collect();
    let output =
        output.ok_or_else(|| OpError::caller(format!("the window does not fit an input of shape {dims:?}")))?;
    let taps = kernel[2] * kernel[3] * offset_groups;
    let moved = [dims[0], 2 * taps, output[0], output[1]];
    let masked = [dims[0], taps, output[0], output[1]];
    let same = offset.dtype() == x.dtype() && mask.as_ref().is_none_or(|mask| mask.dtype() == x.dtype());
    let fits = same
        && dims[1] == kernel[1] * groups
        && kernel[0].is_multiple_of(groups)
        && dims[1].is_multiple_of(offset_groups)
        && offset.dims().as_slice() == moved
        && mask.as_ref().is_none_or(|mask| mask.dims().as_slice() == masked);
    if !fits {
        let found = offset.dims();
        return Err(OpError::caller(format!(
            "weights {kernel:?}, offsets {found:?} and masks do not fit an input of shape {dims:?}"
        )));
    }
    work(&[count(&[dims[0], kernel[0].max(dims[1].saturating_mul(taps)), output[0], output[1]])?, taps])?;
    let two = |values: &Dims| [values[0], values[1]];
    let options = DeformConvOptions::new(two(&window.strides), [0, 0], two(&window.dilations), groups, offset_groups);
    let (offset, weight) = (offset.raw(), weight.raw());
    let (mask, bias) = (mask.map(Tensor::raw), bias.map(Tensor::raw));
    one(x.map(|x| Dispatch::deform_conv2d(x, offset, weight, mask, bias, options))?)
}
