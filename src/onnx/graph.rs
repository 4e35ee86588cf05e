//! A graph made ready for one device: constants uploaded, what depends on nothing but them computed, and for each step
//! known which values it is the last to need.

use std::collections::HashMap;

use burn::backend::DispatchDevice;
use onnx_ir::{AttributeProto, GraphProto, NodeProto};
use smallvec::SmallVec;

use super::data::{self, Constant, Externals};
use super::error::{Missing, OpError};
use super::fold::Budget;
use super::limits::{self, Held};
use super::names::{Around, Names, find, needed};
use super::node::{Attribute, Call, Node, Op};
use super::ops;
use super::tensor::{Result, Tensor};
use super::value::Value;
use crate::value::DType;

/// Graphs within graphs, at most.
pub(super) const DEEPEST: usize = 32;

/// Integers of so few elements are sizes and indices: they stay on the host, whatever the device.
const FEW: usize = 64;

/// Where a value is kept while a graph runs.
pub(super) type Slot = usize;

/// What a graph is compiled with.
pub(super) struct Compiler<'a> {
    pub(super) device: &'a DispatchDevice,
    pub(super) externals: Externals,
    /// The version of each operator set, by domain.
    pub(super) opsets: HashMap<String, i64>,
    /// The nodes whose operators are not supported.
    pub(super) missing: Vec<Missing>,
    /// For constants that are computed.
    pub(super) constants: Budget,
}

/// A graph for one device.
#[derive(Clone, Debug)]
pub(super) struct Graph {
    device: DispatchDevice,
    pub(super) inputs: Vec<Slot>,
    /// Names that it takes from the graph around it.
    captures: Vec<(String, Slot)>,
    pub(super) constants: Vec<Option<Value>>,
    pub(super) steps: Vec<Step>,
    outputs: Vec<Slot>,
}

#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) node: Node,
    op: Op,
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

impl<'a> Compiler<'a> {
    pub(super) fn new(device: &'a DispatchDevice, externals: Externals, opsets: HashMap<String, i64>) -> Self {
        Self { device, externals, opsets, missing: Vec::new(), constants: Budget::new() }
    }

    /// Makes a graph ready. Operators that are not supported are left in [`Compiler::missing`].
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn compile(&mut self, proto: &GraphProto) -> Result<Graph, String> {
        self.graph(proto, 0, None)
    }

    fn graph(&mut self, proto: &GraphProto, depth: usize, outer: Option<&Names>) -> Result<Graph, String> {
        if depth > DEEPEST {
            return Err(format!("its graphs are nested more than {DEEPEST} deep"));
        }
        if !proto.sparse_initializer.is_empty() {
            return Err("it has sparse tensors, which are not supported".to_owned());
        }
        let mut names = Names::default();
        for tensor in &proto.initializer {
            let constant = data::constant(tensor, &mut self.externals)?;
            names.constant(&tensor.name, upload(&constant, self.device))?;
        }
        // Old files list their constants among the inputs.
        let inputs: Vec<&str> = proto.input.iter().map(|input| input.name.as_str()).collect();
        let inputs: Vec<&str> = inputs.into_iter().filter(|name| !names.slots.contains_key(*name)).collect();
        let inputs = inputs.into_iter().map(|name| names.define(name)).collect::<Result<_, _>>()?;
        let later: HashMap<&str, &NodeProto> =
            proto.node.iter().flat_map(|node| node.output.iter().map(move |output| (output.as_str(), node))).collect();
        let needed = needed(proto);
        let mut steps = Vec::with_capacity(proto.node.len());
        for (node, _) in proto.node.iter().zip(needed).filter(|(_, needed)| *needed) {
            if let Some(step) = self.step(node, depth, &mut names, &Around { outer, later: &later })? {
                steps.push(step);
            }
        }
        let outputs: Result<Vec<Slot>, String> = proto
            .output
            .iter()
            .map(|output| {
                find(&mut names, &output.name, &Around { outer, later: &later })
                    .map_err(|_| format!("its output \"{}\" is not computed by any node", output.name))
            })
            .collect();
        let mut graph = Graph {
            device: self.device.clone(),
            inputs,
            captures: names.captures,
            constants: names.constants,
            steps,
            outputs: outputs?,
        };
        if self.missing.is_empty() {
            self.fold(&mut graph, depth)?;
            graph.plan();
        }
        Ok(graph)
    }

    fn step(
        &mut self,
        proto: &NodeProto,
        depth: usize,
        names: &mut Names,
        around: &Around<'_>,
    ) -> Result<Option<Step>, String> {
        let place = |problem: String| match proto.name.as_str() {
            "" => format!("node of {}: {problem}", proto.op_type),
            name => format!("node \"{name}\" of {}: {problem}", proto.op_type),
        };
        let domain = if proto.domain == "ai.onnx" { "" } else { proto.domain.as_str() };
        let opset = self.opsets.get(domain).copied().unwrap_or(1);
        let inputs: Result<Vec<Option<Slot>>, String> = proto
            .input
            .iter()
            .map(|name| if name.is_empty() { Ok(None) } else { find(names, name, around).map(Some).map_err(place) })
            .collect();
        let inputs = inputs?;
        let mut attributes = Vec::with_capacity(proto.attribute.len());
        let mut captured = Vec::new();
        for attribute in &proto.attribute {
            let value = self.attribute(attribute, depth, names).map_err(place)?;
            if let Attribute::Graph(graph) = &value {
                for (name, _) in &graph.captures {
                    captured.push(find(names, name, around).map_err(place)?);
                }
            }
            attributes.push((attribute.name.clone(), value));
        }
        let output = |name: &String| (!name.is_empty()).then(|| names.define(name)).transpose();
        let outputs: Vec<Option<Slot>> = proto.output.iter().map(output).collect::<Result<_, _>>().map_err(place)?;
        let Some(op) = ops::find(domain, &proto.op_type) else {
            let operator =
                if domain.is_empty() { proto.op_type.clone() } else { format!("{domain}.{}", proto.op_type) };
            self.missing.push(Missing { node: proto.name.clone(), operator, opset });
            return Ok(None);
        };
        let node = Node {
            name: proto.name.clone(),
            operator: proto.op_type.clone(),
            opset,
            attributes,
            outputs: proto.output.len(),
        };
        Ok(Some(Step { node, op, inputs, captured, outputs, last: Vec::new() }))
    }

    fn attribute(&mut self, proto: &AttributeProto, depth: usize, names: &Names) -> Result<Attribute, String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(match proto.type_.value() {
            1 => Attribute::Float(proto.f),
            2 => Attribute::Int(proto.i),
            3 => Attribute::Text(text(&proto.s)),
            4 => {
                let tensor = proto.t.as_ref().ok_or_else(|| format!("attribute \"{}\" has no tensor", proto.name))?;
                Attribute::Constant(data::constant(tensor, &mut self.externals)?)
            }
            5 => {
                let graph = proto.g.as_ref().ok_or_else(|| format!("attribute \"{}\" has no graph", proto.name))?;
                Attribute::Graph(self.graph(graph, depth + 1, Some(names))?)
            }
            6 => Attribute::Floats(proto.floats.clone()),
            7 => Attribute::Ints(proto.ints.clone()),
            8 => Attribute::Texts(proto.strings.iter().map(|bytes| text(bytes)).collect()),
            13 => Attribute::Type(proto.tp.as_ref().map_or(0, |tp| tp.tensor_type().elem_type)),
            _ => Attribute::Other,
        })
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
        for (slot, value) in self.inputs.iter().zip(inputs) {
            values[*slot] = Some(value);
        }
        for ((_, slot), value) in self.captures.iter().zip(captured) {
            values[*slot] = Some(value.clone());
        }
        let mut held = Held::new(self.constants.len());
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
    pub(super) fn call(&self, step: &Step, values: &mut Vec<Option<Value>>) -> Result<super::node::Outputs> {
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
