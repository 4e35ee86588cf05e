//! Recurrent layers: RNN, GRU, LSTM, step by step.

use burn::backend::Dispatch;
use burn::backend::ops::{ActivationOps, FloatTensorOps};
use burn::tensor::Scalar;

use super::Family;
use crate::onnx::error::OpError;
use crate::onnx::node::{Call, Node, Outputs};
use crate::onnx::tensor::{Binary, Result, Tensor};

pub(super) const OPS: Family = &[
    ("RNN", |call| layer(call, &Cell { gates: 1, activations: &["Tanh"], step: rnn })),
    ("GRU", |call| layer(call, &Cell { gates: 3, activations: &["Sigmoid", "Tanh"], step: gru })),
    ("LSTM", |call| layer(call, &Cell { gates: 4, activations: &["Sigmoid", "Tanh", "Tanh"], step: lstm })),
];

/// A kind of cell.
struct Cell {
    gates: usize,
    /// The defaults of one direction.
    activations: &'static [&'static str],
    step: fn(&Direction, Tensor, State) -> Result<State>,
}

/// What a cell remembers: `[batch, hidden]` each; the second is the LSTM's cell.
#[derive(Clone)]
struct State {
    hidden: Tensor,
    cell: Option<Tensor>,
}

/// The weights of one direction, ready to multiply: of recurrence `[hidden, gates * hidden]`.
struct Direction {
    recurrence: Tensor,
    /// The recurrence's part of the bias, where it is not yet in the input's: `[gates * hidden]`.
    bias: Option<Tensor>,
    peephole: Option<Tensor>,
    hidden: usize,
    activations: Vec<Activation>,
    clip: Option<f64>,
    linear_before_reset: bool,
    input_forget: bool,
}

/// An activation function with its parameters.
struct Activation {
    name: String,
    alpha: f64,
    beta: f64,
}

impl Activation {
    fn apply(&self, x: Tensor, clip: Option<f64>) -> Result<Tensor> {
        let x = match clip {
            Some(clip) => x.with_number(Binary::Max, -clip).with_number(Binary::Min, clip),
            None => x,
        };
        let (alpha, beta) = (self.alpha, self.beta);
        match self.name.as_str() {
            "Sigmoid" => x.map(Dispatch::sigmoid),
            "Tanh" => x.map(Dispatch::float_tanh),
            "Relu" => x.map(Dispatch::relu),
            "LeakyRelu" => x.map(|raw| Dispatch::leaky_relu(raw, Scalar::Float(alpha))),
            "Affine" => Ok(x.with_number(Binary::Mul, alpha).with_number(Binary::Add, beta)),
            "ScaledTanh" => {
                Ok(x.with_number(Binary::Mul, beta).map(Dispatch::float_tanh)?.with_number(Binary::Mul, alpha))
            }
            "HardSigmoid" => {
                let line = x.with_number(Binary::Mul, alpha).with_number(Binary::Add, beta);
                Ok(line.with_number(Binary::Max, 0.0).with_number(Binary::Min, 1.0))
            }
            other => Err(OpError::new(format!("activation \"{other}\" is not supported"))),
        }
    }
}

/// The activations of one direction.
fn activations(node: &Node, cell: &Cell, direction: usize) -> Vec<Activation> {
    let count = cell.activations.len();
    let given = node.texts("activations").and_then(|texts| texts.get(direction * count..(direction + 1) * count));
    let names: Vec<String> = match given {
        Some(names) => names.to_vec(),
        None => cell.activations.iter().map(|name| (*name).to_owned()).collect(),
    };
    let parameter =
        |name: &str, at: usize| node.floats(name).and_then(|values| values.get(at)).map(|&value| f64::from(value));
    let with_default = |(at, name): (usize, String)| {
        let (alpha, beta) = match name.as_str() {
            "LeakyRelu" => (0.01, 0.0),
            "HardSigmoid" => (0.2, 0.5),
            _ => (1.0, 0.0),
        };
        let at = direction * count + at;
        let alpha = parameter("activation_alpha", at).unwrap_or(alpha);
        let beta = parameter("activation_beta", at).unwrap_or(beta);
        Activation { name, alpha, beta }
    };
    names.into_iter().enumerate().map(with_default).collect()
}

/// `X` `[steps, batch, input]`, `W` `[directions, gates * hidden, input]`, `R` `[directions, gates * hidden, hidden]`, `B`
/// `[directions, 2 * gates * hidden]`, lengths, initial states, peepholes; with `layout` 1, the batch comes first.
fn layer(call: &mut Call<'_>, cell: &Cell) -> Result<Outputs> {
    let node = call.node;
    let batch_first = node.int("layout", 0) == 1;
    let turn = |x: Tensor| if batch_first { x.swap(0, 1) } else { Ok(x) };
    let x = turn(call.tensor(0)?.of_rank(3, "X")?)?;
    let (w, r) = (call.tensor(1)?.of_rank(3, "W")?, call.tensor(2)?.of_rank(3, "R")?);
    let bias = call.optional(3)?;
    let lengths = call.ints(4)?;
    let first = call.optional(5)?.map(turn).transpose()?;
    let (first_cell, peephole) =
        if cell.gates == 4 { (call.optional(6)?.map(turn).transpose()?, call.optional(7)?) } else { (None, None) };
    let (steps, batch, hidden) = (x.dim(0), x.dim(1), r.dim(2));
    let directions = match node.text("direction", "forward") {
        "forward" => vec![false],
        "reverse" => vec![true],
        "bidirectional" => vec![false, true],
        other => return Err(OpError::new(format!("there is no direction \"{other}\""))),
    };
    if w.dim(0) != directions.len() || w.dim(1) != cell.gates * hidden || w.dim(2) != x.dim(2) {
        return Err(OpError::caller(format!(
            "weights of shape {:?} do not fit an input of shape {:?}",
            w.dims(),
            x.dims()
        )));
    }
    // All sequences that are as long as the batch need no masks.
    let lengths = lengths.filter(|lengths| lengths.iter().any(|&length| length != steps as i64));
    let mut outputs = Vec::new();
    let mut last = Vec::new();
    for (at, reverse) in directions.into_iter().enumerate() {
        let own = |tensor: &Option<Tensor>| tensor.clone().map(|tensor| tensor.index(0, at)).transpose();
        let zero = || call.full(&[batch, hidden], 0.0, x.dtype());
        // A state of one row starts every row.
        let initial = |state: &Option<Tensor>| own(state)?.map_or_else(zero, |state| state.expand(&[batch, hidden]));
        let cell_state = if cell.gates == 4 { Some(initial(&first_cell)?) } else { None };
        let mut state = State { hidden: initial(&first)?, cell: cell_state };
        if steps == 0 {
            // The state stays what it was.
            outputs.push(call.full(&[0, 1, batch, hidden], 0.0, x.dtype())?);
            last.push(state);
            continue;
        }
        let (direction, inputs) = prepare(
            node,
            cell,
            (x.clone(), w.clone().index(0, at)?, r.clone().index(0, at)?),
            (own(&bias)?, own(&peephole)?),
            at,
        )?;
        let mut seen: Vec<Tensor> = Vec::with_capacity(steps);
        for step in 0..steps {
            crate::onnx::limits::step()?;
            let step = if reverse { steps - 1 - step } else { step };
            let next = (cell.step)(&direction, inputs.clone().index(0, step)?, state.clone())?;
            state = match &lengths {
                None => {
                    seen.push(next.hidden.clone().unsqueeze(0)?);
                    next
                }
                Some(lengths) => {
                    let alive = lengths.iter().map(|&length| (step as i64) < length).collect();
                    let alive = Tensor::bools(alive, &[batch, 1], call.device)?;
                    let zero = call.full(&[], 0.0, x.dtype())?;
                    seen.push(zero.mask_where(alive.clone(), next.hidden.clone())?.unsqueeze(0)?);
                    let keep = |old: Tensor, new: Tensor| old.mask_where(alive.clone(), new);
                    let cell = state.cell.zip(next.cell).map(|(old, new)| keep(old, new)).transpose()?;
                    State { hidden: keep(state.hidden, next.hidden)?, cell }
                }
            };
        }
        if reverse {
            seen.reverse();
        }
        outputs.push(Tensor::cat(seen, 0)?.unsqueeze(1)?);
        last.push(state);
    }
    let stacked = |tensors: Vec<Tensor>| -> Result<Tensor> {
        let tensors = tensors.into_iter().map(|tensor| tensor.unsqueeze(0)).collect::<Result<_>>()?;
        turn(Tensor::cat(tensors, 0)?)
    };
    let y = Tensor::cat(outputs, 1)?;
    let y = if batch_first { y.permute(&[2, 0, 1, 3])? } else { y };
    let mut results: Outputs = smallvec::smallvec![y.into()];
    let cells: Option<Vec<Tensor>> = last.iter().map(|state| state.cell.clone()).collect();
    results.push(stacked(last.into_iter().map(|state| state.hidden).collect())?.into());
    if let Some(cells) = cells {
        results.push(stacked(cells)?.into());
    }
    Ok(results)
}

/// One direction, and what the inputs of all steps contribute to its gates: `[steps, batch, gates * hidden]`.
fn prepare(
    node: &Node,
    cell: &Cell,
    (x, w, r): (Tensor, Tensor, Tensor),
    (bias, peephole): (Option<Tensor>, Option<Tensor>),
    at: usize,
) -> Result<(Direction, Tensor)> {
    let (hidden, wide) = (r.dim(1), r.dim(0));
    let linear_before_reset = node.flag("linear_before_reset", false);
    let mut inputs = x.matmul(w.swap(0, 1)?)?;
    let mut recurrent_bias = None;
    if let Some(bias) = bias {
        let of_recurrence = bias.clone().slice(0, wide, 2 * wide, 1)?;
        inputs = inputs.add(bias.slice(0, 0, wide, 1)?)?;
        // A GRU's last gate may need its part after it has been reset.
        if cell.gates == 3 {
            recurrent_bias = Some(of_recurrence);
        } else {
            inputs = inputs.add(of_recurrence)?;
        }
    }
    let direction = Direction {
        recurrence: r.swap(0, 1)?,
        bias: recurrent_bias,
        peephole,
        hidden,
        activations: activations(node, cell, at),
        clip: node.try_float("clip"),
        linear_before_reset,
        input_forget: node.flag("input_forget", false),
    };
    Ok((direction, inputs))
}

impl Direction {
    fn gate(&self, gates: &Tensor, at: usize) -> Result<Tensor> {
        gates.clone().slice(1, at * self.hidden, (at + 1) * self.hidden, 1)
    }

    fn activate(&self, at: usize, x: Tensor) -> Result<Tensor> {
        let activation = self.activations.get(at).ok_or_else(|| OpError::new("an activation is missing"))?;
        activation.apply(x, self.clip)
    }

    fn peep(&self, x: Tensor, cell: &Tensor, at: usize) -> Result<Tensor> {
        match &self.peephole {
            Some(weights) => {
                x.add(weights.clone().slice(0, at * self.hidden, (at + 1) * self.hidden, 1)?.mul(cell.clone())?)
            }
            None => Ok(x),
        }
    }
}

fn rnn(direction: &Direction, input: Tensor, state: State) -> Result<State> {
    let sum = input.add(state.hidden.matmul(direction.recurrence.clone())?)?;
    Ok(State { hidden: direction.activate(0, sum)?, cell: None })
}

/// Gates: update, reset, hidden.
fn gru(direction: &Direction, input: Tensor, state: State) -> Result<State> {
    let size = direction.hidden;
    let biased = |x: Tensor, from: usize, to: usize| match &direction.bias {
        Some(bias) => x.add(bias.clone().slice(0, from * size, to * size, 1)?),
        None => Ok(x),
    };
    let weights = |from: usize, to: usize| direction.recurrence.clone().slice(1, from * size, to * size, 1);
    let recurrent = biased(state.hidden.clone().matmul(weights(0, 2)?)?, 0, 2)?;
    let gates = input.clone().slice(1, 0, 2 * size, 1)?.add(recurrent)?;
    let update = direction.activate(0, direction.gate(&gates, 0)?)?;
    let reset = direction.activate(0, direction.gate(&gates, 1)?)?;
    let own = direction.gate(&input, 2)?;
    let new = if direction.linear_before_reset {
        own.add(biased(state.hidden.clone().matmul(weights(2, 3)?)?, 2, 3)?.mul(reset)?)?
    } else {
        own.add(biased(reset.mul(state.hidden.clone())?.matmul(weights(2, 3)?)?, 2, 3)?)?
    };
    let new = direction.activate(1, new)?;
    // (1 - z) new + z old, as new + z (old - new).
    let hidden = new.clone().add(update.mul(state.hidden.sub(new)?)?)?;
    Ok(State { hidden, cell: None })
}

/// Gates: input, output, forget, cell.
fn lstm(direction: &Direction, input: Tensor, state: State) -> Result<State> {
    let cell = state.cell.ok_or_else(|| OpError::new("there is no cell"))?;
    let gates = input.add(state.hidden.matmul(direction.recurrence.clone())?)?;
    let take = direction.activate(0, direction.peep(direction.gate(&gates, 0)?, &cell, 0)?)?;
    let forget = if direction.input_forget {
        take.clone().neg()?.with_number(Binary::Add, 1.0)
    } else {
        direction.activate(0, direction.peep(direction.gate(&gates, 2)?, &cell, 2)?)?
    };
    let new = direction.activate(1, direction.gate(&gates, 3)?)?;
    let cell = forget.mul(cell)?.add(take.mul(new)?)?;
    let give = direction.activate(0, direction.peep(direction.gate(&gates, 1)?, &cell, 1)?)?;
    // The last activation is not clipped.
    let last = direction.activations.get(2).ok_or_else(|| OpError::new("an activation is missing"))?;
    Ok(State { hidden: give.mul(last.apply(cell.clone(), None)?)?, cell: Some(cell) })
}
