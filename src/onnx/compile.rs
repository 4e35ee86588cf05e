//! From the messages of a file to a graph: names become slots, operators functions.

use std::collections::HashMap;
use std::sync::OnceLock;

use burn::backend::DispatchDevice;
use onnx_ir::{AttributeProto, GraphProto, NodeProto};

use super::data::{self, Externals};
use super::error::Missing;
use super::fold::Budget;
use super::graph::{Graph, Slot, Step, upload};
use super::node::{Attribute, Node};
use super::ops;
use super::tensor::Result;
use super::value::Value;

/// Graphs within graphs, at most.
const DEEPEST: usize = 32;

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

/// The names of a graph while it is compiled.
#[derive(Default)]
struct Names {
    slots: HashMap<String, Slot>,
    captures: Vec<(String, Slot)>,
    constants: Vec<Option<Value>>,
}

impl Names {
    /// The slot of a name that the graph itself has.
    fn define(&mut self, name: &str) -> Result<Slot, String> {
        if self.slots.contains_key(name) {
            return Err(format!("\"{name}\" is given or computed twice"));
        }
        Ok(self.new_slot(name))
    }

    fn new_slot(&mut self, name: &str) -> Slot {
        self.constants.push(None);
        let slot = self.constants.len() - 1;
        if !name.is_empty() {
            self.slots.insert(name.to_owned(), slot);
        }
        slot
    }

    fn constant(&mut self, name: &str, value: Value) -> Result<(), String> {
        let slot = self.define(name)?;
        self.constants[slot] = Some(value);
        Ok(())
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
            graph.fuse();
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
            compiled: OnceLock::new(),
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

/// What a name may refer to beside what is known already.
struct Around<'a> {
    outer: Option<&'a Names>,
    /// The nodes that compute each name, for messages.
    later: &'a HashMap<&'a str, &'a NodeProto>,
}

/// The slot of a name. One of the graph around becomes a capture.
fn find(names: &mut Names, name: &str, around: &Around<'_>) -> Result<Slot, String> {
    if let Some(slot) = names.slots.get(name) {
        return Ok(*slot);
    }
    if let Some(node) = around.later.get(name) {
        let node = if node.name.is_empty() { node.op_type.as_str() } else { node.name.as_str() };
        return Err(format!(
            "it needs \"{name}\", which node \"{node}\" computes only later: the nodes are not in order, or form a cycle"
        ));
    }
    // Whether an outer graph has it, is asked by the node that this graph belongs to.
    if around.outer.is_some() {
        let slot = names.new_slot(name);
        names.captures.push((name.to_owned(), slot));
        return Ok(slot);
    }
    Err(format!("it needs \"{name}\", which nothing computes"))
}

/// Which nodes the graph's outputs depend on.
fn needed(proto: &GraphProto) -> Vec<bool> {
    let mut wanted: std::collections::HashSet<String> = proto.output.iter().map(|output| output.name.clone()).collect();
    let mut needed = vec![false; proto.node.len()];
    for (at, node) in proto.node.iter().enumerate().rev() {
        if node.output.iter().any(|output| wanted.contains(output)) {
            needed[at] = true;
            inputs_of(node, &mut wanted, 0);
        }
    }
    needed
}

/// All names that a node needs, those within its graphs too.
fn inputs_of(node: &NodeProto, wanted: &mut std::collections::HashSet<String>, depth: usize) {
    wanted.extend(node.input.iter().cloned());
    if depth > DEEPEST {
        return;
    }
    for graph in node.attribute.iter().filter_map(|attribute| attribute.g.as_ref()) {
        wanted.extend(graph.output.iter().map(|output| output.name.clone()));
        graph.node.iter().for_each(|node| inputs_of(node, wanted, depth + 1));
    }
}
