//! Files that were exported with a batch of one row, made to take any.
//!
//! Such a file has the one row written into its shapes. The graph is run on one row and on two, step by step; where a
//! `Reshape` has the row in its target, the target is told to find out that size, and where a `Concat` meets a constant of
//! one row, that is repeated. Whether the result is right is not decided here: the probe compares what comes out.

use std::collections::HashMap;

use super::error::OpError;
use super::graph::{Graph, Slot, Step};
use super::limits::{self, Held};
use super::node::Attribute;
use super::tensor::{Dims, Result, Tensor};
use super::value::Value;

/// The axis along which a `Concat` repeats what has one row; no operator of ONNX has such an attribute.
pub(super) const BATCH_AXIS: &str = "ekiden.batch_axis";

/// Values while both batches run, by slot.
type Values = Vec<Option<Value>>;

/// Values whose rows are an inner part of a dimension: how many elements of it stand before the rows. `[7, rows, 96]`, made
/// `[7 * rows, 96]`, has 7.
type Inner = HashMap<Slot, usize>;

impl Graph {
    /// The same graph for any batch, given inputs of one row and of two.
    ///
    /// # Errors
    /// Where a step cannot be run on two rows.
    pub(super) fn with_free_batch(mut self, one: Vec<Value>, two: Vec<Value>) -> Result<Self> {
        let inputs = self.inputs.clone();
        let start = |values: Vec<Value>, graph: &Self| -> Values {
            let mut slots = vec![None; graph.constants.len()];
            inputs.iter().zip(values).for_each(|(slot, value)| slots[*slot] = Some(value));
            slots
        };
        let (mut one, mut two) = (start(one, &self), start(two, &self));
        let mut steps = std::mem::take(&mut self.steps);
        let mut inner = Inner::new();
        // Each `Reshape` may add a slot for its target.
        let slots = self.constants.len() + steps.len();
        let mut held = [Held::new(slots), Held::new(slots)];
        for step in &mut steps {
            // Values are dropped at their last use, in both runs.
            let before = self.sizes(step, &one, &two);
            let ones = self.call(step, &mut one)?;
            self.free(step, before.as_deref(), &ones, &mut inner)?;
            for values in [&mut one, &mut two] {
                values.resize(self.constants.len(), None);
            }
            let twos = self.call(step, &mut two)?;
            let [held_by_one, held_by_two] = &mut held;
            step.keep(ones, &mut one, held_by_one)?;
            step.keep(twos, &mut two, held_by_two)?;
            limits::step()?;
        }
        self.steps = steps;
        self.plan();
        Ok(self)
    }

    /// The shapes of a step's inputs in both runs, where all are tensors.
    fn sizes(&self, step: &Step, one: &Values, two: &Values) -> Option<Vec<(Dims, Dims)>> {
        let dims = |values: &Values, slot: Slot| match values
            .get(slot)
            .and_then(Option::as_ref)
            .or(self.constants[slot].as_ref())
        {
            Some(Value::Tensor(tensor)) => Some(tensor.dims()),
            _ => None,
        };
        step.inputs.iter().map(|slot| slot.and_then(|slot| Some((dims(one, slot)?, dims(two, slot)?)))).collect()
    }

    /// Frees the batch of one step.
    fn free(
        &mut self,
        step: &mut Step,
        sizes: Option<&[(Dims, Dims)]>,
        outputs: &[Value],
        inner: &mut Inner,
    ) -> Result<()> {
        let Some(sizes) = sizes else { return Ok(()) };
        let own = step.inputs.iter().flatten().find_map(|slot| inner.get(slot).copied()).unwrap_or(1);
        if own > 1 && step.node.operator != "Reshape" {
            step.outputs.iter().flatten().for_each(|slot| _ = inner.insert(*slot, own));
        }
        match step.node.operator.as_str() {
            "Reshape" => {
                let (Some((one, two)), Some(Value::Tensor(output))) = (sizes.first(), outputs.first()) else {
                    return Ok(());
                };
                let Some(axis) = grown(one, two) else { return Ok(()) };
                let constant = step.inputs.get(1).copied().flatten().filter(|slot| self.constants[*slot].is_some());
                if constant.is_none() {
                    return Ok(());
                }
                let mut target: Vec<i64> = output.dims().iter().map(|&dim| dim as i64).collect();
                let ahead = one[..axis].iter().product::<usize>() * own;
                let place = place(ahead, one.get(axis + 1), &output.dims());
                let left = ahead / output.dims().iter().take(place).product::<usize>().max(1);
                if left > 1 {
                    step.outputs.iter().flatten().for_each(|slot| _ = inner.insert(*slot, left));
                }
                *target.get_mut(place).ok_or_else(|| OpError::new("a batch is reshaped to a scalar"))? = -1;
                let length = target.len();
                self.constants.push(Some(Tensor::new(target, &[length], &super::graph::host())?.into()));
                step.inputs[1] = Some(self.constants.len() - 1);
            }
            "Concat" => {
                let axis = sizes.iter().find_map(|(one, two)| grown(one, two));
                let along = step.node.int("axis", 0);
                if let Some(axis) = axis.filter(|_| sizes.iter().any(|(one, two)| one == two)) {
                    let rank = sizes.first().map_or(0, |(one, _)| one.len()) as i64;
                    if along != axis as i64 && along != axis as i64 - rank {
                        step.node.attributes.push((BATCH_AXIS.to_owned(), Attribute::Int(axis as i64)));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// The one axis that has twice the size with two rows.
fn grown(one: &[usize], two: &[usize]) -> Option<usize> {
    let mut differ = one.iter().zip(two).enumerate().filter(|(_, (one, two))| one != two);
    let (axis, (one_size, two_size)) = differ.next()?;
    (one.len() == two.len() && differ.next().is_none() && *two_size == 2 * one_size).then_some(axis)
}

/// The dimension of a target that holds the rows, of which `ahead` elements stand before each round of rows, and which
/// dimension `next` follows. With as many elements before it, that is one of size 1, or one that the rows have become the outer part of, as of heads; where what follows the
/// rows is unchanged, or all of it is one dimension, or none begins there, the rows have become the inner part of the dimension before.
fn place(ahead: usize, next: Option<&usize>, target: &[usize]) -> usize {
    let before = |at: usize| target[..at].iter().product::<usize>();
    let begins = |at: &usize| before(*at) == ahead;
    if let Some(own) = (0..target.len()).filter(begins).find(|&at| target[at] == 1) {
        return own;
    }
    match (0..target.len()).find(begins) {
        Some(outer) if outer == 0 || (next != Some(&target[outer]) && outer + 1 < target.len()) => outer,
        Some(outer) => outer - 1,
        None => (0..target.len()).rfind(|&at| before(at) < ahead).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn rows_are_found_in_a_target() {
        let check = |ahead: usize, next: usize, target: &[usize], expected| {
            assert_eq!(place(ahead, Some(&next), target), expected, "{target:?}");
        };
        // An image flattened, and tokens.
        check(1, 512, &[1, 512], 0);
        check(1, 16, &[16, 96], 0);
        // Heads apart, and heads merged with the rows.
        check(7, 96, &[7, 1, 3, 32], 1);
        check(7, 32, &[7, 4, 8], 1);
        check(1, 12, &[12, 16, 32], 0);
        // Steps and rows flattened for a product, and apart again.
        check(7, 96, &[7, 96], 0);
        check(7, 4, &[7, 32], 0);
        check(7, 96, &[7, 1, 96], 1);
    }
}
