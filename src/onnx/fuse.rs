//! Steps made one at load: a normalization that follows a convolution or a product becomes part of its weights. And weights
//! laid out as they are read.

use std::collections::HashMap;

use burn::backend::Dispatch;
use burn::backend::ops::FloatTensorOps;

use smallvec::SmallVec;

use super::graph::{Graph, Slot, Step};
use super::tensor::{Binary, Dims, Result, Tensor};
use super::value::Value;

impl Graph {
    /// Makes one step of two where that changes nothing but rounding.
    pub(super) fn fuse(&mut self) {
        let users = self.users();
        let mut gone = vec![false; self.steps.len()];
        for at in 0..self.steps.len() {
            let [Some(output)] = self.steps[at].outputs.as_slice() else { continue };
            if let [next] = users[*output].as_slice()
                && !self.outputs.contains(output)
                && self.normalization_into_weights(at, *next).is_some()
            {
                gone[*next] = true;
            }
        }
        let mut gone = gone.into_iter();
        self.steps.retain(|_| gone.next() != Some(true));
        self.turn_weights();
    }

    /// Gives products their weights row by row: a product of few rows is several times as slow on weights that are to be
    /// transposed on the way.
    fn turn_weights(&mut self) {
        let mut turned: HashMap<Slot, Slot> = HashMap::new();
        for at in 0..self.steps.len() {
            let step = &self.steps[at];
            let slot = step.inputs.get(1).copied().flatten();
            let (true, Some(slot)) = (step.node.operator == "Gemm" && step.node.flag("transB", false), slot) else {
                continue;
            };
            let new = match turned.get(&slot) {
                Some(new) => *new,
                None => {
                    let turn = |weight: Tensor| weight.of_rank(2, "B")?.swap(0, 1)?.laid_out();
                    let Some(Ok(weight)) = self.constant(Some(slot)).map(turn) else { continue };
                    self.constants.push(Some(weight.into()));
                    *turned.entry(slot).or_insert(self.constants.len() - 1)
                }
            };
            let step = &mut self.steps[at];
            step.inputs[1] = Some(new);
            step.node.attributes.retain(|(name, _)| name != "transB");
        }
    }

    /// The steps that take each value: two of them at most, for who asks whether there is but one.
    fn users(&self) -> Vec<SmallVec<[usize; 2]>> {
        let mut users = vec![SmallVec::new(); self.constants.len()];
        for (at, step) in self.steps.iter().enumerate() {
            for slot in step.inputs.iter().flatten().chain(&step.captured) {
                let users: &mut SmallVec<[usize; 2]> = &mut users[*slot];
                if users.len() < 2 {
                    users.push(at);
                }
            }
        }
        users
    }

    fn constant(&self, slot: Option<Slot>) -> Option<Tensor> {
        match self.constants.get(slot?)?.as_ref()? {
            Value::Tensor(tensor) => Some(tensor.clone()),
            _ => None,
        }
    }

    /// `gamma (W x + b - mean) / sqrt(variance + epsilon) + beta` as `W' x + b'`, with step `at` computing `W x + b`.
    fn normalization_into_weights(&mut self, at: usize, next: usize) -> Option<()> {
        let (step, norm) = (&self.steps[at], &self.steps[next]);
        let first = norm.inputs.first() == Some(&step.outputs[0]);
        let plain = norm.node.operator == "BatchNormalization" && !norm.node.flag("training_mode", false) && first;
        if !plain || norm.outputs.len() != 1 {
            return None;
        }
        // The dimension of the weights that the outputs are along.
        let along = match step.node.operator.as_str() {
            "Conv" => 0,
            "Gemm" if step.node.float("alpha", 1.0) == 1.0 && step.node.float("beta", 1.0) == 1.0 => {
                usize::from(!step.node.flag("transB", false))
            }
            _ => return None,
        };
        let input = |step: &Step, at: usize| step.inputs.get(at).copied().flatten();
        let of_norm = |at| self.constant(input(norm, at));
        let (gamma, beta, mean, variance) = (of_norm(1)?, of_norm(2)?, of_norm(3)?, of_norm(4)?);
        let weight = self.constant(input(step, 1))?;
        let bias = match input(step, 2) {
            Some(slot) => Some(self.constant(Some(slot))?),
            None => None,
        };
        let epsilon = norm.node.float("epsilon", 1e-5);
        let (weight, bias) = folded(weight, bias, along, [gamma, beta, mean, variance], epsilon).ok()?;
        let output = norm.outputs.clone();
        self.constants.extend([Some(weight.into()), Some(bias.into())]);
        let last = self.constants.len() - 1;
        let step = &mut self.steps[at];
        step.inputs.truncate(1);
        step.inputs.extend([Some(last - 1), Some(last)]);
        step.outputs = output;
        Some(())
    }
}

fn folded(
    weight: Tensor,
    bias: Option<Tensor>,
    along: usize,
    [gamma, beta, mean, variance]: [Tensor; 4],
    epsilon: f64,
) -> Result<(Tensor, Tensor)> {
    let factor = gamma.div(variance.with_number(Binary::Add, epsilon).map(Dispatch::float_sqrt)?)?;
    let bias = match bias {
        Some(bias) => bias.sub(mean)?,
        None => mean.neg()?,
    };
    let bias = bias.mul(factor.clone())?.add(beta)?;
    let mut dims: Dims = smallvec::smallvec![1; weight.rank()];
    dims[along] = factor.elements();
    Ok((weight.mul(factor.reshape(&dims)?)?, bias))
}
