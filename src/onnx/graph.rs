//! A graph made ready for one device: constants uploaded, what depends on nothing but them computed, and for each step
//! known which values it is the last to need.

use burn::backend::DispatchDevice;
use smallvec::SmallVec;

use super::data::Constant;
use super::error::OpError;
use super::limits::{self, Held};
use super::node::{Call, Node, Op};
use super::tensor::{Result, Tensor};
use super::value::Value;
use crate::value::DType;

/// Integers of so few elements are sizes and indices: they stay on the host, whatever the device.
const FEW: usize = 64;

/// Where a value is kept while a graph runs.
pub(super) type Slot = usize;

/// A graph for one device.
#[derive(Clone, Debug)]
pub(super) struct Graph {
    pub(super) device: DispatchDevice,
    pub(super) inputs: Vec<Slot>,
    /// Names that it takes from the graph around it.
    pub(super) captures: Vec<(String, Slot)>,
    pub(super) constants: Vec<Option<Value>>,
    pub(super) steps: Vec<Step>,
    pub(super) outputs: Vec<Slot>,
}

#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) node: Node,
    pub(super) op: Op,
    pub(super) inputs: Vec<Option<Slot>>,
    /// What the node's own graphs take, one graph after the other.
    pub(super) captured: Vec<Slot>,
    pub(super) outputs: Vec<Option<Slot>>,
    /// Slots that no later step needs, nor the graph's outputs.
    pub(super) last: Vec<Slot>,
}

impl Step {
    /// Keeps what the step came to, and drops what it was the last to need.
    pub(super) fn keep(
        &self,
        outputs: super::node::Outputs,
        values: &mut [Option<Value>],
        held: &mut Held,
    ) -> Result<()> {
        for (slot, value) in self.outputs.iter().zip(outputs) {
            if let Some(slot) = slot {
                held.set(*slot, value.bytes()).map_err(|error| error.at(&self.node.name, &self.node.operator))?;
                values[*slot] = Some(value);
            }
        }
        for slot in &self.last {
            held.set(*slot, 0)?;
            values[*slot] = None;
        }
        Ok(())
    }
}

/// The host: where sizes and indices are.
pub(super) fn host() -> DispatchDevice {
    burn::tensor::Device::flex().as_dispatch().clone()
}

/// A constant on its device.
pub(super) fn upload(constant: &Constant, device: &DispatchDevice) -> Value {
    match constant {
        Constant::Strings(strings) => strings.clone().into(),
        Constant::Array(array) => {
            let few = array.shape().elements().is_some_and(|elements| elements <= FEW);
            let index = matches!(array.dtype(), DType::I64 | DType::I32);
            let host = host();
            Tensor::from_array(array, if few && index { &host } else { device }).into()
        }
    }
}

impl Graph {
    /// The names that it takes from around it.
    pub(super) fn captures(&self) -> usize {
        self.captures.len()
    }

    /// Finds for each value the step that is the last to need it, and forgets constants that none does.
    pub(super) fn plan(&mut self) {
        let mut needed = vec![false; self.constants.len()];
        self.outputs.iter().for_each(|slot| needed[*slot] = true);
        for step in self.steps.iter_mut().rev() {
            step.last.clear();
            for slot in step.inputs.iter().flatten().chain(&step.captured) {
                if !std::mem::replace(&mut needed[*slot], true) {
                    step.last.push(*slot);
                }
            }
            // What nobody takes is dropped at once.
            let unused = step.outputs.iter().flatten().filter(|slot| !needed[**slot]);
            step.last.extend(unused);
        }
        for (constant, needed) in self.constants.iter_mut().zip(needed) {
            if !needed {
                *constant = None;
            }
        }
    }

    /// Runs the graph.
    ///
    /// # Errors
    /// [`OpError`], at the node where it happened.
    pub(super) fn run(&self, inputs: Vec<Value>, captured: &[Value]) -> Result<Vec<Value>> {
        let mut values: Vec<Option<Value>> = vec![None; self.constants.len()];
        if inputs.len() != self.inputs.len() || captured.len() != self.captures.len() {
            return Err(OpError::new(format!("the graph has {} inputs, found {}", self.inputs.len(), inputs.len())));
        }
        let mut held = Held::new(self.constants.len());
        for (slot, value) in self.inputs.iter().zip(inputs) {
            held.set(*slot, value.bytes())?;
            values[*slot] = Some(value);
        }
        // What the graph around this one holds is counted there.
        for ((_, slot), value) in self.captures.iter().zip(captured) {
            values[*slot] = Some(value.clone());
        }
        for step in &self.steps {
            limits::step()?;
            let outputs = self.call(step, &mut values)?;
            step.keep(outputs, &mut values, &mut held)?;
        }
        let output = |slot: &Slot| {
            let value = values[*slot].clone().or_else(|| self.constants[*slot].clone());
            value.ok_or_else(|| OpError::new("an output of the graph was not computed"))
        };
        self.outputs.iter().map(output).collect()
    }

    /// Runs one step. Without `values`, on constants only.
    pub(super) fn call(&self, step: &Step, values: &mut [Option<Value>]) -> Result<super::node::Outputs> {
        let mut value = |slot: Slot, last: bool| {
            let kept = values.get_mut(slot).and_then(|kept| if last { kept.take() } else { kept.clone() });
            kept.or_else(|| self.constants[slot].clone())
        };
        let missing = || OpError::new("an input was not computed").at(&step.node.name, &step.node.operator);
        let captured: Option<Vec<Value>> = step.captured.iter().map(|slot| value(*slot, false)).collect();
        let captured = captured.ok_or_else(missing)?;
        let mut inputs: SmallVec<[Option<Value>; 4]> = SmallVec::with_capacity(step.inputs.len());
        for (at, slot) in step.inputs.iter().enumerate() {
            let Some(slot) = slot else {
                inputs.push(None);
                continue;
            };
            let last = step.last.contains(slot) && !step.inputs[at + 1..].contains(&Some(*slot));
            inputs.push(Some(value(*slot, last).ok_or_else(missing)?));
        }
        let host = host();
        // Sizes and indices among themselves are computed where they are.
        let on_device = |value: &Option<Value>| match value {
            Some(Value::Tensor(tensor)) => tensor.device() == self.device,
            _ => false,
        };
        let any = inputs.iter().any(Option::is_some);
        let device = if any && !inputs.iter().any(on_device) { &host } else { &self.device };
        let mut call = Call { node: &step.node, inputs, captured, device };
        let outputs = (step.op)(&mut call).map_err(|error| error.at(&step.node.name, &step.node.operator))?;
        if outputs.len() < step.outputs.len() {
            let problem = format!("{} outputs are asked for, found {}", step.outputs.len(), outputs.len());
            return Err(OpError::new(problem).at(&step.node.name, &step.node.operator));
        }
        Ok(outputs)
    }
}
