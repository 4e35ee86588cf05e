//! Signals: Fourier transforms, windows, filters; and determinants.

use std::f64::consts::PI;

use super::Family;
use crate::onnx::error::OpError;
use crate::onnx::node::{Call, Outputs, one};
use crate::onnx::tensor::{Dims, Result, Tensor, count, resolve_axis, work};
use crate::value::DType;

pub(super) const OPS: Family = &[
    ("DFT", dft),
    ("STFT", stft),
    ("HannWindow", |call| window(call, [0.5, 0.5, 0.0])),
    ("HammingWindow", |call| window(call, [25.0 / 46.0, 21.0 / 46.0, 0.0])),
    ("BlackmanWindow", |call| window(call, [0.42, 0.5, 0.08])),
    ("MelWeightMatrix", mel_weights),
    ("Det", determinants),
];

/// A real and an imaginary part.
type Complex = [f64; 2];

fn add(a: Complex, b: Complex) -> Complex {
    [a[0] + b[0], a[1] + b[1]]
}

fn multiply(a: Complex, b: Complex) -> Complex {
    [a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]]
}

/// Fourier transforms of one length.
struct Fourier {
    /// `exp(∓2πi k / length)`
    roots: Vec<Complex>,
    inverse: bool,
    /// How many products one takes, at most.
    products: usize,
}

/// The smallest prime that divides `n`.
fn smallest_factor(n: usize) -> usize {
    (2..).take_while(|factor| factor * factor <= n).find(|factor| n.is_multiple_of(*factor)).unwrap_or(n)
}

impl Fourier {
    /// A length whose largest prime is so large that the transform takes forever is refused.
    fn new(length: usize, inverse: bool) -> Result<Self> {
        if length == 0 {
            return Err(OpError::caller("a signal without elements has no frequencies"));
        }
        let mut rest = length;
        while rest > 1 && smallest_factor(rest) < rest {
            rest /= smallest_factor(rest);
        }
        let products = count(&[length, rest.max(8)])?;
        let sign = if inverse { 1.0 } else { -1.0 };
        let root = |k: usize| {
            let angle = sign * 2.0 * PI * k as f64 / length as f64;
            [angle.cos(), angle.sin()]
        };
        Ok(Self { roots: (0..length).map(root).collect(), inverse, products })
    }

    fn length(&self) -> usize {
        self.roots.len()
    }

    /// How many frequencies a result has: of real signals, the second half mirrors the first.
    fn bins(&self, onesided: bool) -> usize {
        if onesided { self.length() / 2 + 1 } else { self.length() }
    }

    /// `Σ x[n] exp(∓2πi k n / length)` for each `k`; the inverse is divided by the length.
    fn transform(&self, x: &[Complex]) -> Vec<Complex> {
        let mut y = vec![[0.0; 2]; self.length()];
        self.part(x, 1, &mut y);
        if self.inverse {
            let length = self.length() as f64;
            y.iter_mut().for_each(|y| *y = y.map(|part| part / length));
        }
        y
    }

    /// The transform of each `stride`th element: transforms of every `p`th of them, put together, as Cooley and Tukey do.
    fn part(&self, x: &[Complex], stride: usize, y: &mut [Complex]) {
        let length = y.len();
        if length == 1 {
            y[0] = x[0];
            return;
        }
        let p = smallest_factor(length);
        let each = length / p;
        for (r, part) in y.chunks_exact_mut(each).enumerate() {
            self.part(&x[r * stride..], stride * p, part);
        }
        let mut old = vec![[0.0; 2]; p];
        for k in 0..each {
            for (r, old) in old.iter_mut().enumerate() {
                *old = y[r * each + k];
            }
            for at in (k..length).step_by(each) {
                // A root of this length is one of the whole length, `stride` times as far.
                let turned = |(r, old): (usize, &Complex)| multiply(*old, self.roots[r * at % length * stride]);
                y[at] = old.iter().enumerate().map(turned).fold([0.0; 2], add);
            }
        }
    }
}

/// Complex numbers from a last dimension of 1 or 2 numbers.
fn complex(x: &Tensor) -> Result<Vec<Complex>> {
    let values = x.floats()?;
    match x.dims().last() {
        Some(1) => Ok(values.into_iter().map(|real| [real, 0.0]).collect()),
        Some(2) => Ok(values.chunks_exact(2).map(|pair| [pair[0], pair[1]]).collect()),
        _ => Err(OpError::caller(format!("the last dimension must be 1 or 2, found shape {:?}", x.dims()))),
    }
}

/// A length that an input says.
fn length(call: &mut Call<'_>, at: usize, default: usize) -> Result<usize> {
    let Some(length) = call.ints(at)?.and_then(|lengths| lengths.first().copied()) else { return Ok(default) };
    usize::try_from(length)
        .ok()
        .filter(|&length| length > 0)
        .ok_or_else(|| OpError::caller(format!("{length} is no length of a signal")))
}

fn dft(call: &mut Call<'_>) -> Result<Outputs> {
    let node = call.node;
    let x = call.tensor(0)?;
    let dims = x.dims();
    let axis = match node.opset {
        20.. => call.ints(2)?.and_then(|axes| axes.first().copied()).unwrap_or(-2),
        _ => node.int("axis", 1),
    };
    let axis = resolve_axis(axis, dims.len())?;
    if axis + 1 >= dims.len() {
        return Err(OpError::new(format!("axis {axis} holds the parts of complex numbers")));
    }
    let fourier = Fourier::new(length(call, 1, dims[axis])?, node.flag("inverse", false))?;
    let onesided = node.flag("onesided", false);
    if onesided && dims[dims.len() - 1] != 1 {
        return Err(OpError::caller("a transform of complex numbers is not one-sided"));
    }
    let (size, bins) = (dims[axis], fourier.bins(onesided));
    let (outer, inner) =
        (dims[..axis].iter().product::<usize>(), dims[axis + 1..dims.len() - 1].iter().product::<usize>());
    let mut shape = dims.clone();
    (shape[axis], shape[dims.len() - 1]) = (bins, 2);
    work(&[outer, inner, fourier.products])?;
    let mut result = vec![0.0; count(&shape)?];
    let values = complex(&x)?;
    let mut signal = vec![[0.0; 2]; fourier.length()];
    for line in 0..outer * inner {
        let (start, place) = (line / inner, line % inner);
        for (at, value) in signal.iter_mut().enumerate().take(size) {
            *value = values[(start * size + at) * inner + place];
        }
        for (bin, value) in fourier.transform(&signal).into_iter().take(bins).enumerate() {
            let at = ((start * bins + bin) * inner + place) * 2;
            result[at..at + 2].copy_from_slice(&value);
        }
    }
    one(Tensor::from_f64s(&result, &shape, x.dtype(), call.device)?)
}

/// The transforms of frames of a signal, one each `frame_step` elements, weighted by a window.
fn stft(call: &mut Call<'_>) -> Result<Outputs> {
    let x = call.tensor(0)?;
    let x = if x.rank() == 2 { x.unsqueeze(2)? } else { x.of_rank(3, "the signal")? };
    let (dims, step) = (x.dims(), length(call, 1, 1)?);
    let window = call.optional(2)?.map(|window| window.floats()).transpose()?;
    let default = window.as_ref().map_or(dims[1], Vec::len);
    let fourier = Fourier::new(length(call, 3, default)?, false)?;
    let window = window.unwrap_or_else(|| vec![1.0; fourier.length()]);
    let onesided = call.node.flag("onesided", true);
    if onesided && dims[2] != 1 {
        return Err(OpError::caller("a transform of complex numbers is not one-sided"));
    }
    let room = dims[1].checked_sub(fourier.length()).filter(|_| window.len() <= fourier.length());
    let room = room.ok_or_else(|| {
        let (frame, window) = (fourier.length(), window.len());
        OpError::caller(format!("frames of {frame} and a window of {window} do not fit a signal of shape {dims:?}"))
    })?;
    let (frames, bins) = (room / step + 1, fourier.bins(onesided));
    let shape = [dims[0], frames, bins, 2];
    work(&[dims[0], frames, fourier.products])?;
    let mut result = Vec::with_capacity(count(&shape)?);
    let values = complex(&x)?;
    let mut signal = vec![[0.0; 2]; fourier.length()];
    for frame in 0..dims[0] * frames {
        let start = frame / frames * dims[1] + frame % frames * step;
        for ((value, own), weight) in signal.iter_mut().zip(&values[start..]).zip(&window) {
            *value = own.map(|part| part * weight);
        }
        result.extend(fourier.transform(&signal).into_iter().take(bins).flatten());
    }
    one(Tensor::from_f64s(&result, &shape, x.dtype(), call.device)?)
}

/// `a - b cos(2πn / N) + c cos(4πn / N)`; where it is not periodic, its last element is its first again.
fn window(call: &mut Call<'_>, [a, b, c]: [f64; 3]) -> Result<Outputs> {
    let size = call.need_ints(0)?.first().copied().unwrap_or(0);
    let size = usize::try_from(size).map_err(|_| OpError::caller(format!("{size} is no size of a window")))?;
    let span = if call.node.flag("periodic", true) { size } else { size.saturating_sub(1) }.max(1) as f64;
    let value = |n: usize| {
        let angle = 2.0 * PI * n as f64 / span;
        a - b * angle.cos() + c * (2.0 * angle).cos()
    };
    let values: Vec<f64> = (0..count(&[size])?).map(value).collect();
    let dtype = call.node.dtype("output_datatype")?.unwrap_or(DType::F32);
    one(Tensor::from_f64s(&values, &[size], dtype, call.device)?)
}

/// Triangles that gather the frequencies of a transform, `[length / 2 + 1, bands]`: they are evenly spaced by pitch,
/// `2595 log10(1 + f / 700)`.
fn mel_weights(call: &mut Call<'_>) -> Result<Outputs> {
    let numbers: Result<Vec<f64>> =
        (0..5).map(|at| call.number(at)?.ok_or_else(|| OpError::new(format!("input {at} is missing")))).collect();
    let numbers = numbers?;
    let (length, rate) = (numbers[1], numbers[2]);
    let (bands, bins) = (numbers[0].max(0.0) as usize, (length / 2.0).floor().max(0.0) as usize + 1);
    let mut weights = vec![0.0; count(&[bins, bands])?];
    let [low, high] = [numbers[3], numbers[4]].map(|hertz| 2595.0 * (1.0 + hertz / 700.0).log10());
    let bin = |at: usize| {
        let mel = low + at as f64 * (high - low) / (bands as f64 + 2.0);
        ((length + 1.0) * 700.0 * (10.0_f64.powf(mel / 2595.0) - 1.0) / rate).floor().max(0.0) as usize
    };
    for band in 0..bands {
        let (from, centre, to) = (bin(band), bin(band + 1), bin(band + 2));
        for at in from.min(bins)..to.max(centre + 1).min(bins) {
            let weight = match at {
                at if at < centre => (at - from) as f64 / (centre - from) as f64,
                at if at == centre => 1.0,
                at => (to - at) as f64 / (to - centre) as f64,
            };
            weights[at * bands + band] = weight;
        }
    }
    let dtype = call.node.dtype("output_datatype")?.unwrap_or(DType::F32);
    one(Tensor::from_f64s(&weights, &[bins, bands], dtype, call.device)?)
}

/// Of each matrix of `[…, size, size]`.
fn determinants(call: &mut Call<'_>) -> Result<Outputs> {
    let x = call.tensor(0)?;
    let dims = x.dims();
    let rank = dims.len();
    if rank < 2 || dims[rank - 1] != dims[rank - 2] {
        return Err(OpError::caller(format!("square matrices were expected, found shape {dims:?}")));
    }
    let size = dims[rank - 1];
    let shape: Dims = dims[..rank - 2].iter().copied().collect();
    work(&[x.elements(), size])?;
    let mut values = x.floats()?;
    let determinants: Vec<f64> = match size {
        0 => vec![1.0; count(&shape)?],
        size => values.chunks_exact_mut(size * size).map(|matrix| determinant(matrix, size)).collect(),
    };
    one(Tensor::from_f64s(&determinants, &shape, x.dtype(), call.device)?)
}

/// The product of the pivots of Gauss's elimination, which changes the matrix.
fn determinant(matrix: &mut [f64], size: usize) -> f64 {
    let mut product = 1.0;
    for at in 0..size {
        let largest = |a: &usize, b: &usize| matrix[a * size + at].abs().total_cmp(&matrix[b * size + at].abs());
        let pivot = (at..size).max_by(largest).unwrap_or(at);
        if pivot != at {
            (0..size).for_each(|column| matrix.swap(at * size + column, pivot * size + column));
            product = -product;
        }
        let own = matrix[at * size + at];
        product *= own;
        if own == 0.0 {
            return 0.0;
        }
        for row in at + 1..size {
            let factor = matrix[row * size + at] / own;
            for column in at..size {
                matrix[row * size + column] -= factor * matrix[at * size + column];
            }
        }
    }
    product
}
