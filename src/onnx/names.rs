//! The names of a graph: what each stands for while it is compiled, and which nodes are needed at all.

use std::collections::{HashMap, HashSet};

use onnx_ir::{GraphProto, NodeProto};

use super::graph::{DEEPEST, Slot};
use super::value::Value;

/// The names of a graph while it is compiled.
#[derive(Default)]
pub(super) struct Names {
    pub(super) slots: HashMap<String, Slot>,
    pub(super) captures: Vec<(String, Slot)>,
    pub(super) constants: Vec<Option<Value>>,
}

impl Names {
    /// The slot of a name that the graph itself has.
    pub(super) fn define(&mut self, name: &str) -> Result<Slot, String> {
        if self.slots.contains_key(name) {
            return Err(format!("\"{name}\" is given or computed twice"));
        }
        Ok(self.new_slot(name))
    }

    pub(super) fn new_slot(&mut self, name: &str) -> Slot {
        self.constants.push(None);
        let slot = self.constants.len() - 1;
        if !name.is_empty() {
            self.slots.insert(name.to_owned(), slot);
        }
        slot
    }

    pub(super) fn constant(&mut self, name: &str, value: Value) -> Result<(), String> {
        let slot = self.define(name)?;
        self.constants[slot] = Some(value);
        Ok(())
    }
}

/// What a name may refer to beside what is known already.
pub(super) struct Around<'a> {
    pub(super) outer: Option<&'a Names>,
    /// The nodes that compute each name, for messages.
    pub(super) later: &'a HashMap<&'a str, &'a NodeProto>,
}

/// The slot of a name. One of the graph around becomes a capture.
pub(super) fn find(names: &mut Names, name: &str, around: &Around<'_>) -> Result<Slot, String> {
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
pub(super) fn needed(proto: &GraphProto) -> Vec<bool> {
    let mut wanted: HashSet<String> = proto.output.iter().map(|output| output.name.clone()).collect();
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
fn inputs_of(node: &NodeProto, wanted: &mut HashSet<String>, depth: usize) {
    wanted.extend(node.input.iter().cloned());
    if depth > DEEPEST {
        return;
    }
    for graph in node.attribute.iter().filter_map(|attribute| attribute.g.as_ref()) {
        wanted.extend(graph.output.iter().map(|output| output.name.clone()));
        graph.node.iter().for_each(|node| inputs_of(node, wanted, depth + 1));
    }
}
