//! Graphs within the graph.

use smallvec::SmallVec;

use super::Family;
use crate::onnx::error::OpError;
use crate::onnx::graph::{Graph, host};
use crate::onnx::limits::Held;
use crate::onnx::node::{Call, Outputs};
use crate::onnx::tensor::{Result, Tensor, count, resolve_axis, step};
use crate::onnx::value::Value;

pub(super) const OPS: Family = &[("If", branch), ("Loop", repeat), ("Scan", scan)];

fn branch(call: &mut Call<'_>) -> Result<Outputs> {
    let yes = call.number(0)?.is_some_and(|condition| condition != 0.0);
    let (first, second) = (call.node.graph("then_branch")?, call.node.graph("else_branch")?);
    // What the two capture stands in the order of the attributes.
    let then_first = call.node.attributes.iter().find(|(name, _)| name.ends_with("_branch"));
    let then_first = then_first.is_some_and(|(name, _)| name == "then_branch");
    let (ahead, behind) = if then_first { (first, second) } else { (second, first) };
    let (own, other) = call.captured.split_at(ahead.captures());
    let (then_captured, else_captured) = if then_first { (own, other) } else { (other, own) };
    debug_assert_eq!(other.len(), behind.captures());
    let values = if yes { first.run(Vec::new(), then_captured)? } else { second.run(Vec::new(), else_captured)? };
    Ok(SmallVec::from_vec(values))
}

/// Iterations of one loop, at most.
const MOST_ITERATIONS: i64 = 1 << 20;

/// Values that the loop carries come first among the outputs, then what each iteration yields, stacked.
fn repeat(call: &mut Call<'_>) -> Result<Outputs> {
    let most = call.ints(0)?.and_then(|trips| trips.first().copied()).unwrap_or(i64::MAX);
    let mut go_on = call.number(1)?.is_none_or(|condition| condition != 0.0);
    let body = call.node.graph("body")?;
    let mut carried: Vec<Value> = (2..call.inputs.len()).map(|at| call.value(at)).collect::<Result<_>>()?;
    let count = carried.len();
    let yields = call.node.outputs.saturating_sub(count);
    let mut yielded: Vec<Vec<Tensor>> = vec![Vec::new(); yields];
    let mut iteration = 0;
    let mut held = Yielded::default();
    while go_on && iteration < most {
        if iteration >= MOST_ITERATIONS {
            return Err(OpError::caller(format!("the loop has not ended after {MOST_ITERATIONS} iterations")));
        }
        let mut inputs: Vec<Value> =
            vec![Tensor::new(vec![iteration], &[], &host())?.into(), Tensor::bools(vec![true], &[], &host())?.into()];
        inputs.append(&mut carried);
        let mut outputs = body.run(inputs, &call.captured)?.into_iter();
        let condition = outputs.next().ok_or_else(|| OpError::new("the body has no outputs"))?.tensor()?;
        go_on = condition.float()? != 0.0;
        carried = outputs.by_ref().take(count).collect();
        for (stack, value) in yielded.iter_mut().zip(outputs) {
            stack.push(held.keep(value)?.unsqueeze(0)?);
        }
        step()?;
        iteration += 1;
    }
    let mut values: Outputs = SmallVec::from_vec(carried);
    for stack in yielded {
        values.push(stacked(stack, 0)?.into());
    }
    Ok(values)
}

/// What the iterations yield, until it is stacked: all of it may have as many elements together as one tensor.
struct Yielded {
    elements: usize,
    bytes: usize,
    held: Held,
}

impl Default for Yielded {
    fn default() -> Self {
        Self { elements: 0, bytes: 0, held: Held::new(1) }
    }
}

impl Yielded {
    /// A tensor that one iteration yields.
    fn keep(&mut self, value: Value) -> Result<Tensor> {
        self.bytes = self.bytes.saturating_add(value.bytes());
        let tensor = value.tensor()?;
        self.elements += tensor.elements().max(1);
        // The one tensor that all of it is to become has to have room beside it.
        count(&[self.elements])?;
        self.held.set(0, self.bytes)?;
        Ok(tensor)
    }
}

fn stacked(stack: Vec<Tensor>, axis: usize) -> Result<Tensor> {
    if stack.is_empty() {
        return Err(OpError::caller("a loop without iterations has nothing to stack"));
    }
    Tensor::cat(stack, axis)
}

/// States come first among inputs and outputs, then what is scanned, one slice an iteration.
fn scan(call: &mut Call<'_>) -> Result<Outputs> {
    let body: &Graph = call.node.graph("body")?;
    let scanned = usize::try_from(call.node.int("num_scan_inputs", 0)).unwrap_or(0);
    if call.node.opset < 9 {
        return Err(OpError::new("Scan of opset 8 is not supported"));
    }
    let states = call.inputs.len().checked_sub(scanned);
    let states = states.ok_or_else(|| OpError::new(format!("there are no {scanned} inputs to scan")))?;
    let mut carried: Vec<Value> = (0..states).map(|at| call.value(at)).collect::<Result<_>>()?;
    let inputs: Vec<Tensor> = (states..states + scanned).map(|at| call.tensor(at)).collect::<Result<_>>()?;
    let attribute = |name: &str, at: usize| call.node.ints(name).and_then(|ints| ints.get(at)).copied().unwrap_or(0);
    let axes: Vec<usize> = inputs
        .iter()
        .enumerate()
        .map(|(at, input)| resolve_axis(attribute("scan_input_axes", at), input.rank()))
        .collect::<Result<_>>()?;
    let length = inputs.first().map_or(0, |input| input.dim(axes[0]));
    if inputs.iter().zip(&axes).any(|(input, &axis)| input.dim(axis) != length) {
        return Err(OpError::caller("the inputs to scan are of different lengths"));
    }
    let yields = call.node.outputs.saturating_sub(states);
    let mut yielded: Vec<Vec<Tensor>> = vec![Vec::new(); yields];
    let mut held = Yielded::default();
    for at in 0..length {
        let mut given = std::mem::take(&mut carried);
        for (index, (input, &axis)) in inputs.iter().zip(&axes).enumerate() {
            let reverse = attribute("scan_input_directions", index) == 1;
            given.push(input.clone().index(axis, if reverse { length - 1 - at } else { at })?.into());
        }
        let mut outputs = body.run(given, &call.captured)?.into_iter();
        carried = outputs.by_ref().take(states).collect();
        for (stack, value) in yielded.iter_mut().zip(outputs) {
            stack.push(held.keep(value)?);
        }
        step()?;
    }
    let mut values: Outputs = SmallVec::from_vec(carried);
    for (index, mut stack) in yielded.into_iter().enumerate() {
        if attribute("scan_output_directions", index) == 1 {
            stack.reverse();
        }
        let rank = stack.first().map_or(0, Tensor::rank) + 1;
        let axis = resolve_axis(attribute("scan_output_axes", index), rank)?;
        let slices = stack.into_iter().map(|slice| slice.unsqueeze(axis)).collect::<Result<_>>()?;
        values.push(stacked(slices, axis)?.into());
    }
    Ok(values)
}
