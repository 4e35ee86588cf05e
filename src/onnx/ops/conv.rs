//! Convolutions.

use burn::backend::Dispatch;
use burn::backend::ops::ModuleOps;
use burn::tensor::ops::{ConvOptions, ConvTransposeOptions};

use super::Family;
use crate::onnx::error::OpError;
use crate::onnx::node::{Call, Node, Outputs, one, sizes};
use crate::onnx::tensor::{Dims, Kind, Result, Tensor, count, work};

pub(super) const OPS: Family = &[("Conv", conv), ("ConvTranspose", conv_transpose)];

/// How a window moves over the spatial dimensions.
pub(super) struct Window {
    pub(super) kernel: Dims,
    pub(super) strides: Dims,
    pub(super) dilations: Dims,
    /// Elements before and after each dimension.
    pub(super) pads: Vec<(usize, usize)>,
}

impl Window {
    /// What the attributes say of a window of this size over an input of this size.
    pub(super) fn of(node: &Node, kernel: Dims, input: &[usize]) -> Result<Self> {
        let space = kernel.len();
        let all = |name: &str| -> Result<Dims> {
            let given = node.ints(name).map(sizes).transpose()?;
            let values = given.unwrap_or_else(|| smallvec::smallvec![1; space]);
            match values.len() == space && !values.contains(&0) {
                true => Ok(values),
                false => Err(OpError::new(format!("{name} {values:?} do not fit a window over {space} dimensions"))),
            }
        };
        let (strides, dilations) = (all("strides")?, all("dilations")?);
        if kernel.contains(&0) || input.len() != space {
            return Err(OpError::caller(format!("a window of {kernel:?} does not fit an input of {input:?}")));
        }
        let pads = match node.text("auto_pad", "NOTSET") {
            "NOTSET" => explicit(node, space)?,
            "VALID" => vec![(0, 0); space],
            same => (0..space)
                .map(|at| {
                    let output = input[at].div_ceil(strides[at]);
                    let span = (kernel[at] - 1) * dilations[at] + 1;
                    let needed = (output.saturating_sub(1) * strides[at] + span).saturating_sub(input[at]);
                    let half = needed / 2;
                    if same == "SAME_LOWER" { (needed - half, half) } else { (half, needed - half) }
                })
                .collect(),
        };
        Ok(Self { kernel, strides, dilations, pads })
    }

    /// What one window spans in a dimension.
    pub(super) fn span(&self, at: usize) -> usize {
        (self.kernel[at] - 1) * self.dilations[at] + 1
    }

    /// How many windows fit in each dimension of an input of this size; `None` where none does.
    pub(super) fn steps(&self, input: &[usize]) -> Option<Dims> {
        let padded = |at: usize| input[at].saturating_add(self.pads[at].0).saturating_add(self.pads[at].1);
        (0..input.len()).map(|at| Some(padded(at).checked_sub(self.span(at))? / self.strides[at] + 1)).collect()
    }

    /// Whether there are as many elements before as after, everywhere.
    pub(super) fn is_symmetric(&self) -> bool {
        self.pads.iter().all(|(before, after)| before == after)
    }
}

/// The attribute `pads`.
fn explicit(node: &Node, space: usize) -> Result<Vec<(usize, usize)>> {
    let Some(pads) = node.ints("pads") else { return Ok(vec![(0, 0); space]) };
    let pads = sizes(pads)?;
    if pads.len() != 2 * space {
        return Err(OpError::new(format!("pads {pads:?} do not fit {space} dimensions")));
    }
    Ok((0..space).map(|at| (pads[at], pads[at + space])).collect())
}

fn array<const N: usize, T: Copy>(values: &[T]) -> Result<[T; N]> {
    values.try_into().map_err(|_| OpError::new(format!("{N} dimensions were expected, found {}", values.len())))
}

fn options<const N: usize>(window: &Window, groups: usize) -> Result<ConvOptions<N>> {
    let (strides, pads, dilations) = (array(&window.strides)?, array(&window.pads)?, array(&window.dilations)?);
    Ok(ConvOptions::new_with_padding(strides, pads, dilations, groups))
}

pub(super) fn groups(node: &Node) -> Result<usize> {
    let group = node.int("group", 1);
    sizes(&[group])
        .ok()
        .map(|sizes| sizes[0])
        .filter(|&groups| groups > 0)
        .ok_or_else(|| OpError::new(format!("{group} groups")))
}

fn conv(call: &mut Call<'_>) -> Result<Outputs> {
    let groups = groups(call.node)?;
    let (x, weight) = (call.tensor(0)?, call.tensor(1)?);
    let bias = call.optional(2)?;
    one(convolve(call.node, x, weight, bias, groups)?)
}

/// Checks that all are of one float dtype, and that there is a bias for each of `channels`.
pub(super) fn check(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, channels: usize) -> Result<()> {
    let dtype = x.dtype();
    let same = weight.dtype() == dtype && bias.is_none_or(|bias| bias.dtype() == dtype);
    if x.kind() != Kind::Float || !same {
        let found = (dtype, weight.dtype(), bias.map(Tensor::dtype));
        return Err(OpError::new(format!("input, weights and bias must be of one float dtype, found {found:?}")));
    }
    match bias.map(Tensor::dims).filter(|dims| dims.as_slice() != [channels]) {
        Some(dims) => Err(OpError::new(format!("a bias of shape [{channels}] was expected, found {dims:?}"))),
        None => Ok(()),
    }
}

/// `x` of `[n, channels, …]` with `weight` of `[out, channels / groups, …]`.
pub(super) fn convolve(node: &Node, x: Tensor, weight: Tensor, bias: Option<Tensor>, groups: usize) -> Result<Tensor> {
    let (dims, kernel) = (x.dims(), weight.dims());
    let fits = dims.len() == kernel.len()
        && dims.len() > 2
        && dims[1] == kernel[1] * groups
        && kernel[0].is_multiple_of(groups);
    if !fits {
        return Err(OpError::caller(format!("weights of shape {kernel:?} do not fit an input of shape {dims:?}")));
    }
    let window = Window::of(node, kernel[2..].iter().copied().collect(), &dims[2..])?;
    let steps = window.steps(&dims[2..]).ok_or_else(|| {
        OpError::caller(format!("an input of shape {dims:?} is smaller than a window of {:?}", window.kernel))
    })?;
    let mut result: Dims = smallvec::smallvec![dims[0], kernel[0]];
    result.extend(steps);
    work(&[count(&result)?, kernel[1..].iter().product()])?;
    check(&x, &weight, bias.as_ref(), kernel[0])?;
    let (weight, bias) = (weight.raw(), bias.map(Tensor::raw));
    Ok(Tensor::from_raw(match dims.len() {
        3 => Dispatch::conv1d(x.raw(), weight, bias, options(&window, groups)?),
        4 => Dispatch::conv2d(x.raw(), weight, bias, options(&window, groups)?),
        5 => Dispatch::conv3d(x.raw(), weight, bias, options(&window, groups)?),
        _ => return Err(OpError::new("convolutions over more than 3 dimensions are not supported")),
    }))
}

/// The sizes of the spatial dimensions, before which others may stand.
fn last_of(shape: &[usize], space: usize) -> Result<Dims> {
    let last = shape.len().checked_sub(space).map(|start| Dims::from_slice(&shape[start..]));
    last.ok_or_else(|| OpError::new(format!("output_shape {shape:?} does not have {space} dimensions")))
}

fn conv_transpose(call: &mut Call<'_>) -> Result<Outputs> {
    let groups = groups(call.node)?;
    let (x, weight) = (call.tensor(0)?, call.tensor(1)?);
    let bias = call.optional(2)?;
    let (dims, kernel) = (x.dims(), weight.dims());
    if dims.len() != kernel.len() || dims.len() < 3 || dims[1] != kernel[0] || !dims[1].is_multiple_of(groups) {
        return Err(OpError::caller(format!("weights of shape {kernel:?} do not fit an input of shape {dims:?}")));
    }
    check(&x, &weight, bias.as_ref(), kernel[1].saturating_mul(groups))?;
    let space = dims.len() - 2;
    let node = call.node;
    let mut window = Window::of(node, kernel[2..].iter().copied().collect(), &dims[2..])?;
    let mut extra = match node.ints("output_padding") {
        Some(extra) => sizes(extra)?,
        None => smallvec::smallvec![0; space],
    };
    // Without pads, an output of this size; the pads are cut from it.
    if dims.contains(&0) || extra.len() != space {
        return Err(OpError::caller(format!("an output padding of {extra:?} does not fit an input of shape {dims:?}")));
    }
    let full: Vec<usize> = (0..space).map(|at| (dims[at + 2] - 1) * window.strides[at] + window.span(at)).collect();
    let mut result: Dims = smallvec::smallvec![dims[0], kernel[1].saturating_mul(groups)];
    result.extend(full.iter().zip(&extra).map(|(full, extra)| full + extra));
    count(&result)?;
    // Before they are summed up, there is a window for each element.
    work(&[count(&[&dims[2..], &kernel[1..]].concat())?, dims[0], dims[1]])?;
    let auto = node.text("auto_pad", "NOTSET");
    let wanted: Option<Dims> = match node.ints("output_shape") {
        Some(shape) => Some(last_of(&sizes(shape)?, space)?),
        None if auto.starts_with("SAME") => Some((0..space).map(|at| dims[at + 2] * window.strides[at]).collect()),
        None => None,
    };
    if let Some(wanted) = wanted {
        for at in 0..space {
            let cut = (full[at] + extra[at]).saturating_sub(wanted[at]);
            extra[at] += wanted[at].saturating_sub(full[at] + extra[at]);
            let half = cut / 2;
            window.pads[at] = if auto == "SAME_UPPER" { (half, cut - half) } else { (cut - half, half) };
        }
    }
    // Burn pads evenly and wants less output padding than stride: what is uneven is added and cut here.
    let even: Vec<usize> = window.pads.iter().map(|(before, after)| *before.min(after)).collect();
    let grow: Vec<usize> =
        (0..space).map(|at| extra[at].min(window.strides[at].max(window.dilations[at]) - 1)).collect();
    let (w, b) = (weight.raw(), bias.map(Tensor::raw));
    macro_rules! run {
        ($function:ident) => {{
            let options = ConvTransposeOptions::new(
                array(&window.strides)?,
                array(&even)?,
                array(&grow)?,
                array(&window.dilations)?,
                groups,
            );
            Tensor::from_raw(Dispatch::$function(x.raw(), w, b, options))
        }};
    }
    let mut y = match space {
        1 => run!(conv_transpose1d),
        2 => run!(conv_transpose2d),
        3 => run!(conv_transpose3d),
        _ => return Err(OpError::new("convolutions over more than 3 dimensions are not supported")),
    };
    for at in 0..space {
        let size = y.dim(at + 2);
        let (before, after) = (window.pads[at].0 - even[at], window.pads[at].1 - even[at]);
        if before + after > size {
            return Err(OpError::caller("the pads are larger than the output"));
        }
        y = y.slice(at + 2, before, size - after, 1)?;
        if extra[at] > grow[at] {
            let mut pads = vec![(0, 0); space + 2];
            pads[at + 2].1 = extra[at] - grow[at];
            y = y.pad(&pads, 0.0)?;
        }
    }
    one(y)
}
