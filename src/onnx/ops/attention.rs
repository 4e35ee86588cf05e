//! Attention, and the rotation that tells it positions.

use burn::backend::Dispatch;
use burn::backend::ops::{BoolTensorOps, FloatTensorOps, ModuleOps};
use burn::tensor::Scalar;
use burn::tensor::ops::AttentionModuleOptions;

use super::Family;
use super::index::from_start;
use crate::onnx::error::OpError;
use crate::onnx::node::{Call, Node, Outputs, one};
use crate::onnx::tensor::{Binary, Compare, Dims, Result, Tensor, broadcast_dims, work};
use crate::value::DType;

pub(super) const OPS: Family =
    &[("Attention", attention), ("RotaryEmbedding", rotary_embedding), ("TensorScatter", tensor_scatter)];

/// How many heads an attribute says that there are.
fn heads(node: &Node, name: &str) -> Result<usize> {
    let count = node.int(name, 0);
    usize::try_from(count)
        .ok()
        .filter(|&heads| heads > 0)
        .ok_or_else(|| OpError::new(format!("inputs of 3 dimensions need {name}, found {count}")))
}

/// `[n, length, heads * size]` as `[n, heads, length, size]`.
fn split(x: Tensor, heads: usize) -> Result<Tensor> {
    let dims = x.dims();
    if !dims[2].is_multiple_of(heads) {
        return Err(OpError::caller(format!("shape {dims:?} does not consist of {heads} heads")));
    }
    x.reshape(&[dims[0], dims[1], heads, dims[2] / heads])?.permute(&[0, 2, 1, 3])
}

/// `[n, heads, length, size]` as `[n, length, heads * size]`.
fn joined(x: Tensor) -> Result<Tensor> {
    let dims = x.dims();
    x.permute(&[0, 2, 1, 3])?.reshape(&[dims[0], dims[2], dims[1] * dims[3]])
}

/// What queries, keys and values of four dimensions are: `[n, heads, length, size]`.
struct Inputs {
    query: Tensor,
    key: Tensor,
    value: Tensor,
    /// Keys that come before the first query.
    past: usize,
}

impl Inputs {
    /// The inputs of a call, with the keys and values of earlier calls in front.
    fn of(call: &mut Call<'_>, flat: bool) -> Result<Self> {
        let node = call.node;
        let input = |call: &mut Call<'_>, at: usize, name: &str| -> Result<Tensor> {
            let x = call.tensor(at)?.float_only("the input")?;
            if flat { split(x.of_rank(3, "the input")?, heads(node, name)?) } else { x.of_rank(4, "the input") }
        };
        let query = input(call, 0, "q_num_heads")?;
        let (mut key, mut value) = (input(call, 1, "kv_num_heads")?, input(call, 2, "kv_num_heads")?);
        let mut past = 0;
        match (call.optional(4)?, call.optional(5)?) {
            (Some(keys), Some(values)) => {
                past = keys.dim(2);
                key = Tensor::cat(vec![keys, key], 2)?;
                value = Tensor::cat(vec![values, value], 2)?;
            }
            (None, None) => {}
            _ => return Err(OpError::new("past keys and past values are only given together")),
        }
        let (q, k, v) = (query.dims(), key.dims(), value.dims());
        let dtypes = [query.dtype(), key.dtype(), value.dtype()];
        if dtypes.iter().any(|dtype| *dtype != dtypes[0]) {
            return Err(OpError::new(format!("queries, keys and values are of the dtypes {dtypes:?}")));
        }
        let fits = q[0] == k[0] && q[3] == k[3] && k[..3] == v[..3] && k[1] > 0 && q[1].is_multiple_of(k[1]);
        if !fits || q.contains(&0) || v.contains(&0) {
            return Err(OpError::caller(format!("queries {q:?}, keys {k:?} and values {v:?} do not fit together")));
        }
        Ok(Self { query, key, value, past })
    }

    /// `[n, query heads, queries, keys]`
    fn shape(&self) -> [usize; 4] {
        [self.query.dim(0), self.query.dim(1), self.query.dim(2), self.key.dim(2)]
    }

    /// `[n, heads, length, …]` of queries, with the heads that share a key in one matrix: `[n, key heads, …, …]`.
    fn grouped(&self, x: Tensor) -> Result<Tensor> {
        let (dims, shared) = (x.dims(), self.key.dim(1));
        x.reshape(&[dims[0], shared, dims[1] / shared * dims[2], dims[3]])
    }
}

/// `0` where a query may look at a key, minus infinity where not, and what else is added to the scores: of four
/// dimensions that broadcast to `shape`.
fn bias(call: &mut Call<'_>, inputs: &Inputs, causal: bool) -> Result<Option<Tensor>> {
    let (shape, dtype) = (inputs.shape(), inputs.query.dtype());
    let [n, _, queries, keys] = shape;
    let mut allowed: Option<Tensor> = None;
    let mut both = |more: Tensor| -> Result<()> {
        allowed = Some(match allowed.take() {
            Some(allowed) => allowed.logic(Dispatch::bool_and, more)?,
            None => more,
        });
        Ok(())
    };
    let mut added = None;
    if let Some(mask) = call.optional(3)? {
        let mask = full_width(mask, keys)?;
        let dims = broadcast_dims(&mask.dims(), &shape)?;
        if dims.as_slice() != shape {
            return Err(OpError::caller(format!("a mask of shape {:?} does not fit scores of {shape:?}", mask.dims())));
        }
        if mask.dtype() == DType::Bool { both(mask)? } else { added = Some(mask.cast(dtype)) }
    }
    let places = Tensor::arange(keys, call.device)?.reshape(&[1, 1, 1, keys])?;
    if causal {
        let last = Tensor::arange(queries, call.device)?.with_number(Binary::Add, inputs.past as f64);
        both(places.clone().compare(Compare::LessOrEqual, last.reshape(&[1, 1, queries, 1])?)?)?;
    }
    if let Some(lengths) = call.optional(6)? {
        both(places.compare(Compare::Less, lengths.cast(DType::I64).reshape(&[n, 1, 1, 1])?)?)?;
    }
    let Some(allowed) = allowed else { return Ok(added) };
    let never = Tensor::scalar(Scalar::Float(f64::NEG_INFINITY), dtype, call.device)?;
    let added = match added {
        Some(added) => added,
        None => Tensor::scalar(Scalar::Float(0.0), dtype, call.device)?,
    };
    added.mask_where(allowed.not()?, never).map(Some)
}

/// A mask of four dimensions, of which the last may be too short: what it does not mention is not looked at.
fn full_width(mask: Tensor, keys: usize) -> Result<Tensor> {
    let mask = mask.with_rank(4)?.of_rank(4, "the mask")?;
    let width = mask.dim(3);
    if width == 1 || width >= keys {
        return Ok(mask);
    }
    let never = if mask.dtype() == DType::Bool { 0.0 } else { f64::NEG_INFINITY };
    mask.pad(&[(0, 0), (0, 0), (0, 0), (0, keys - width)], never)
}

/// `softmax(scale Q Kᵀ + bias) V`
fn attention(call: &mut Call<'_>) -> Result<Outputs> {
    let node = call.node;
    let flat = matches!(call.inputs.first(), Some(Some(crate::onnx::value::Value::Tensor(query))) if query.rank() == 3);
    let inputs = Inputs::of(call, flat)?;
    let scale = node.float("scale", (inputs.query.dim(3) as f64).powf(-0.5));
    let softcap = node.float("softcap", 0.0);
    let [n, heads, queries, keys] = inputs.shape();
    work(&[n, heads, queries, keys, inputs.query.dim(3).max(inputs.value.dim(3))])?;
    let causal = node.flag("is_causal", false);
    let precise = node.dtype("softmax_precision")?.is_some_and(|dtype| dtype != inputs.query.dtype());
    let (mut y, scores) = if node.outputs < 4 && softcap == 0.0 && !precise && heads == inputs.key.dim(1) {
        // Burn's own causal mask ends at the last key, ONNX's begins at the first.
        let own = causal && queries + inputs.past == keys;
        let bias = bias(call, &inputs, causal && !own)?.map(|bias| spread(bias, queries, keys)).transpose()?;
        // Were the scale left to Burn, some GPUs would compute in half precision whatever the inputs are.
        let options = AttentionModuleOptions { scale: Some(scale), softcap: None, is_causal: own };
        let (key, value) = (inputs.key.clone().raw(), inputs.value.clone().raw());
        let bias = bias.map(Tensor::raw);
        (inputs.query.map(|query| Dispatch::attention(query, key, value, None, bias, options))?, None)
    } else {
        let bias = bias(call, &inputs, causal)?;
        let (y, scores) = step_by_step(node, &inputs, bias, scale, softcap)?;
        (y, Some(scores))
    };
    if flat {
        y = joined(y)?;
    }
    let mut outputs: Outputs = smallvec::smallvec![y.into(), inputs.key.into(), inputs.value.into()];
    outputs.extend(scores.map(Into::into));
    Ok(outputs)
}

/// A bias whose last two dimensions are whole.
fn spread(bias: Tensor, queries: usize, keys: usize) -> Result<Tensor> {
    let bias = bias.with_rank(4)?;
    let (n, heads) = (bias.dim(0), bias.dim(1));
    bias.expand(&[n, heads, queries, keys])
}

/// Attention whose scores are known: they are the second result, as of the step that the node asks for.
fn step_by_step(
    node: &Node,
    inputs: &Inputs,
    bias: Option<Tensor>,
    scale: f64,
    softcap: f64,
) -> Result<(Tensor, Tensor)> {
    let (shape, dtype) = (inputs.shape(), inputs.query.dtype());
    let query = inputs.grouped(inputs.query.clone())?.with_number(Binary::Mul, scale);
    let mut scores = query.matmul(inputs.key.clone().swap(2, 3)?)?.reshape(&shape)?;
    let mut steps = vec![scores.clone()];
    // Before the mask: what is masked must stay at minus infinity.
    if softcap > 0.0 {
        let capped = scores.with_number(Binary::Div, softcap).map(Dispatch::float_tanh)?;
        scores = capped.with_number(Binary::Mul, softcap);
    }
    steps.push(scores.clone());
    if let Some(bias) = bias {
        scores = scores.add(bias)?;
    }
    steps.push(scores.clone());
    let wide = node.dtype("softmax_precision")?.unwrap_or(dtype);
    let chances = scores.cast(wide).softmax(3)?.cast(dtype);
    steps.push(chances.clone());
    let mode = node.int("qk_matmul_output_mode", 0);
    let asked = usize::try_from(mode).ok().and_then(|mode| steps.into_iter().nth(mode));
    let asked = asked.ok_or_else(|| OpError::new(format!("there is no qk_matmul_output_mode {mode}")))?;
    let y = inputs.grouped(chances)?.matmul(inputs.value.clone())?;
    let [n, heads, queries, _] = shape;
    Ok((y.reshape(&[n, heads, queries, inputs.value.dim(3)])?, asked))
}

/// Turns each pair of numbers, which are neighbours or half a head apart, by the angle of the token's position.
fn rotary_embedding(call: &mut Call<'_>) -> Result<Outputs> {
    let node = call.node;
    let x = call.tensor(0)?.float_only("the input")?;
    let flat = x.rank() == 3;
    let x = if flat { split(x, heads(node, "num_heads")?)? } else { x.of_rank(4, "the input")? };
    let dims = x.dims();
    let size = dims[3];
    let turned = match usize::try_from(node.int("rotary_embedding_dim", 0)) {
        Ok(0) => size,
        Ok(turned) if turned <= size => turned,
        _ => return Err(OpError::new(format!("rotary_embedding_dim is more than the {size} numbers of a head"))),
    };
    if !turned.is_multiple_of(2) || turned == 0 {
        return Err(OpError::caller(format!("{turned} numbers are not pairs")));
    }
    let (cos, sin, positions) = (call.tensor(1)?, call.tensor(2)?, call.optional(3)?);
    let [cos, sin] = [cos, sin].map(|cache| angles(cache, positions.as_ref(), &dims, turned / 2));
    let (cos, sin) = (cos?.cast(x.dtype()), sin?.cast(x.dtype()));
    let (head, rest) = (x.clone().slice(3, 0, turned, 1)?, x.slice(3, turned, size, 1)?);
    let interleaved = node.flag("interleaved", false);
    let (a, b) = match interleaved {
        true => (head.clone().slice(3, 0, turned, 2)?, head.slice(3, 1, turned, 2)?),
        false => (head.clone().slice(3, 0, turned / 2, 1)?, head.slice(3, turned / 2, turned, 1)?),
    };
    let real = a.clone().mul(cos.clone())?.sub(b.clone().mul(sin.clone())?)?;
    let imaginary = a.mul(sin)?.add(b.mul(cos)?)?;
    let pairs = match interleaved {
        true => {
            let pairs = Tensor::cat(vec![real.unsqueeze(4)?, imaginary.unsqueeze(4)?], 4)?;
            pairs.reshape(&[dims[0], dims[1], dims[2], turned])?
        }
        false => Tensor::cat(vec![real, imaginary], 3)?,
    };
    let y = if turned == size { pairs } else { Tensor::cat(vec![pairs, rest], 3)? };
    one(if flat { joined(y)? } else { y })
}

/// The cosines or sines of the angles: `[n, 1, length, pairs]`. Without positions, the cache has them for each token.
fn angles(cache: Tensor, positions: Option<&Tensor>, dims: &[usize], pairs: usize) -> Result<Tensor> {
    let (n, length) = (dims[0], dims[2]);
    let cache = match positions {
        Some(positions) => {
            let cache = cache.of_rank(2, "the cache of positions")?;
            let (rows, width) = (cache.dim(0), cache.dim(1));
            let positions = positions.clone().expand(&[n, length])?.reshape(&[n * length])?;
            cache.select(0, from_start(positions, rows)?)?.reshape(&[n, length, width])?
        }
        None => cache.of_rank(3, "the cache without positions")?,
    };
    let found: Dims = cache.dims();
    if found[2] < pairs {
        return Err(OpError::caller(format!("a cache of shape {found:?} has no {pairs} angles for each token")));
    }
    cache.slice(2, 0, pairs, 1)?.unsqueeze(1)
}

/// A cache with new elements along `axis`, for each row from an index of its own. In a circular one they go on at the start.
fn tensor_scatter(call: &mut Call<'_>) -> Result<Outputs> {
    let (cache, update) = (call.tensor(0)?, call.tensor(1)?);
    let (dims, new) = (cache.dims(), update.dims());
    let axis = call.axis(-2, dims.len())?;
    let fits = dims.len() == new.len()
        && dims.iter().zip(&new).enumerate().all(|(at, (old, new))| old == new || (at == axis && new <= old));
    if !fits || axis == 0 {
        return Err(OpError::caller(format!("an update of shape {new:?} does not fit a cache of shape {dims:?}")));
    }
    let circular = match call.node.text("mode", "linear") {
        "linear" => false,
        "circular" => true,
        other => return Err(OpError::new(format!("mode \"{other}\" is not supported"))),
    };
    let starts = call.ints(2)?.unwrap_or_else(|| vec![0; dims[0]]);
    let (size, length) = (dims[axis], new[axis]);
    let rows: Result<Vec<Tensor>> = (0..dims[0])
        .map(|row| {
            let start = starts.get(row).and_then(|&start| usize::try_from(start).ok());
            let start = start.filter(|&start| circular || start.checked_add(length).is_some_and(|end| end <= size));
            let start =
                start.ok_or_else(|| OpError::caller(format!("row {row} of the update goes beyond the cache")))?;
            let (start, row) = (start % size.max(1), |x: &Tensor| x.clone().slice(0, row, row + 1, 1));
            let (old, new) = (row(&cache)?, row(&update)?);
            // What does not fit before the end comes first.
            let over = (start + length).saturating_sub(size);
            let parts = vec![
                new.clone().slice(axis, length - over, length, 1)?,
                old.clone().slice(axis, over, start, 1)?,
                new.slice(axis, 0, length - over, 1)?,
                old.slice(axis, start + length - over, size, 1)?,
            ];
            Tensor::cat(parts, axis)
        })
        .collect();
    one(Tensor::cat(rows?, 0)?)
}
