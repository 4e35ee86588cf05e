//! Products of matrices.

use super::Family;
use crate::onnx::error::OpError;
use crate::onnx::node::{Call, Outputs, one};
use crate::onnx::tensor::{Binary, Dims, Kind, Result, Tensor};

pub(super) const OPS: Family = &[
    ("MatMul", |call| {
        let (a, b) = (call.tensor(0)?, call.tensor(1)?);
        one(product(a, b)?)
    }),
    ("Gemm", gemm),
    ("Einsum", einsum),
];

/// A vector on the left is a row, on the right a column, and the result loses that dimension.
pub(super) fn product(a: Tensor, b: Tensor) -> Result<Tensor> {
    let (row, column) = (a.rank() == 1, b.rank() == 1);
    let a = if row { a.unsqueeze(0)? } else { a };
    let b = if column { b.unsqueeze(1)? } else { b };
    let product = a.matmul(b)?;
    let rank = product.rank();
    let product = if column { product.squeeze(rank - 1)? } else { product };
    if row { product.squeeze(rank - 2) } else { Ok(product) }
}

/// `alpha A B + beta C`, either transposed first.
fn gemm(call: &mut Call<'_>) -> Result<Outputs> {
    let node = call.node;
    let turn = |x: Tensor, name: &str| if node.flag(name, false) { x.swap(0, 1) } else { Ok(x) };
    let a = turn(call.tensor(0)?.of_rank(2, "A")?, "transA")?;
    let b = turn(call.tensor(1)?.of_rank(2, "B")?, "transB")?;
    let mut product = a.matmul(b)?;
    let (alpha, beta) = (node.float("alpha", 1.0), node.float("beta", 1.0));
    if alpha != 1.0 {
        product = scaled(product, alpha);
    }
    if let Some(c) = call.optional(2)? {
        product = product.add(if beta == 1.0 { c } else { scaled(c, beta) })?;
    }
    one(product)
}

fn scaled(x: Tensor, by: f64) -> Tensor {
    let dtype = x.dtype();
    if x.kind() == Kind::Float {
        x.with_number(Binary::Mul, by)
    } else {
        x.cast(crate::value::DType::F64).with_number(Binary::Mul, by).cast(dtype)
    }
}

/// An operand with the label of each of its dimensions.
struct Operand {
    tensor: Tensor,
    labels: Vec<char>,
}

/// Einstein's summation, two operands at a time.
fn einsum(call: &mut Call<'_>) -> Result<Outputs> {
    let equation: String = call.node.text("equation", "").chars().filter(|c| !c.is_whitespace()).collect();
    let tensors = call.tensors()?;
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left.to_owned(), Some(right.to_owned())),
        None => (equation.clone(), None),
    };
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != tensors.len() {
        return Err(OpError::new(format!("\"{equation}\" is for {} inputs, found {}", terms.len(), tensors.len())));
    }
    let dots = terms.iter().zip(&tensors).map(|(term, tensor)| behind_dots(term, tensor.rank())).max().unwrap_or(0);
    let mut operands = Vec::with_capacity(tensors.len());
    for (term, tensor) in terms.iter().zip(tensors) {
        operands.push(labelled(term, tensor, dots)?);
    }
    let right = match right {
        Some(right) => labels(&right, dots, dots),
        None => {
            // Without an arrow: labels that occur once, in alphabetical order, after what the dots stand for.
            let all: Vec<char> = terms.iter().flat_map(|term| term.chars()).filter(|c| *c != '.').collect();
            let mut once: Vec<char> =
                all.iter().copied().filter(|c| all.iter().filter(|other| *other == c).count() == 1).collect();
            once.sort_unstable();
            let mut right = labels(if dots > 0 { "..." } else { "" }, dots, dots);
            right.extend(once);
            right
        }
    };
    let mut rest = operands.into_iter();
    let mut result = rest.next().ok_or_else(|| OpError::new("there are no inputs"))?;
    let mut rest: std::collections::VecDeque<Operand> = rest.collect();
    while let Some(next) = rest.pop_front() {
        let needed = |label: &char| right.contains(label) || rest.iter().any(|other| other.labels.contains(label));
        result = contract(result, next, needed)?;
    }
    one(reordered(result, &right)?)
}

/// The dimensions that "..." stands for in a term of a tensor of this rank.
fn behind_dots(term: &str, rank: usize) -> usize {
    if term.contains("...") { (rank + 3).saturating_sub(term.len()) } else { 0 }
}

/// Labels of a term; the dots are given private ones, the last of `dots`.
fn labels(term: &str, own: usize, dots: usize) -> Vec<char> {
    let private = |at: usize| char::from_u32(0xE000 + at as u32).unwrap_or('?');
    let (before, after) = term.split_once("...").unwrap_or((term, ""));
    let mut labels: Vec<char> = before.chars().collect();
    if term.contains("...") {
        labels.extend((dots - own..dots).map(private));
    }
    labels.extend(after.chars());
    labels
}

/// An operand whose repeated labels have become the diagonal.
fn labelled(term: &str, tensor: Tensor, dots: usize) -> Result<Operand> {
    let mut labels = labels(term, behind_dots(term, tensor.rank()), dots);
    if labels.len() != tensor.rank() {
        return Err(OpError::new(format!("\"{term}\" does not fit shape {:?}", tensor.dims())));
    }
    let mut tensor = tensor;
    while let Some((a, b)) = repeated(&labels) {
        let size = tensor.dim(a);
        let slices: Result<Vec<Tensor>> =
            (0..size).map(|at| tensor.clone().slice(a, at, at + 1, 1)?.index(b, at)).collect();
        tensor = Tensor::cat(slices?, a)?;
        labels.remove(b);
    }
    Ok(Operand { tensor, labels })
}

fn repeated(labels: &[char]) -> Option<(usize, usize)> {
    (0..labels.len()).find_map(|b| labels[..b].iter().position(|label| *label == labels[b]).map(|a| (a, b)))
}

/// The dimensions with these labels first, in this order; those of size 1 where the operand lacks the label.
fn arranged(operand: &Operand, order: &[char]) -> Result<Tensor> {
    let mut axes: Dims = order.iter().filter_map(|label| operand.labels.iter().position(|own| own == label)).collect();
    let dims = operand.tensor.dims();
    if axes.len() != dims.len() {
        axes = (0..dims.len()).collect();
    }
    let full: Dims =
        order.iter().map(|label| operand.labels.iter().position(|own| own == label).map_or(1, |at| dims[at])).collect();
    operand.tensor.clone().permute(&axes)?.reshape(&full)
}

/// Sums over the labels that nobody needs any more.
fn summed(mut operand: Operand, needed: impl Fn(&char) -> bool) -> Result<Operand> {
    while let Some(at) = operand.labels.iter().position(|label| !needed(label)) {
        operand.tensor = operand.tensor.reduce(crate::onnx::tensor::Reduction::Sum, at)?.squeeze(at)?;
        operand.labels.remove(at);
    }
    Ok(operand)
}

/// Two operands as a stack of matrix products: labels of both that stay are the stack, of both that go are summed over.
fn contract(a: Operand, b: Operand, needed: impl Fn(&char) -> bool) -> Result<Operand> {
    let a = summed(a, |label| needed(label) || b.labels.contains(label))?;
    let b = summed(b, |label| needed(label) || a.labels.contains(label))?;
    let both = |keep: bool| -> Vec<char> {
        a.labels.iter().copied().filter(|label| b.labels.contains(label) && needed(label) == keep).collect()
    };
    let (stack, inner) = (both(true), both(false));
    let alone = |one: &Operand, other: &Operand| -> Vec<char> {
        one.labels.iter().copied().filter(|label| !other.labels.contains(label)).collect()
    };
    let (rows, columns) = (alone(&a, &b), alone(&b, &a));
    let size = |label: &char| {
        let of =
            |operand: &Operand| operand.labels.iter().position(|own| own == label).map(|at| operand.tensor.dim(at));
        of(&a).unwrap_or(1).max(of(&b).unwrap_or(1))
    };
    let flat = |operand: &Operand, order: [&[char]; 3]| -> Result<Tensor> {
        let labels: Vec<char> = order.concat();
        let tensor = arranged(operand, &labels)?;
        let dims: Dims = labels.iter().map(size).collect();
        let [x, y, z] = order.map(|labels| labels.iter().map(size).product::<usize>());
        tensor.expand(&dims)?.reshape(&[x, y, z])
    };
    let left = flat(&a, [&stack, &rows, &inner])?;
    let right = flat(&b, [&stack, &inner, &columns])?;
    let labels: Vec<char> = [stack.as_slice(), &rows, &columns].concat();
    let dims: Dims = labels.iter().map(size).collect();
    Ok(Operand { tensor: left.matmul(right)?.reshape(&dims)?, labels })
}

fn reordered(operand: Operand, right: &[char]) -> Result<Tensor> {
    let operand = summed(operand, |label| right.contains(label))?;
    if right.iter().any(|label| !operand.labels.contains(label)) {
        return Err(OpError::new("the equation's result has labels that no input has"));
    }
    arranged(&operand, right)
}
