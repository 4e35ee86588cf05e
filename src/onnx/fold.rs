//! What a graph computes of constants only: once, when it is compiled.

use super::compile::Compiler;
use super::error::OpError;
use super::file::contained;
use super::graph::{Graph, Step};
use super::limits::{Limits, ROOM};
use super::node::{Attribute, Outputs};
use super::ops;
use super::value::Value;

/// Bytes of the constants that are computed, for each byte of the file's constants; beside [`ROOM`].
const GROWTH: usize = 8;

/// What the constants of a file and all its graphs may take.
#[derive(Debug)]
pub(super) struct Budget {
    limits: Limits,
    /// How many bytes may still come of it.
    room: usize,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self { limits: Limits::of_constants(), room: ROOM }
    }
}

/// Whether a step, or one of its graphs, answers differently each time.
fn is_random(step: &Step) -> bool {
    let within = |attribute: &Attribute| match attribute {
        Attribute::Graph(graph) => graph.steps.iter().any(is_random),
        _ => false,
    };
    ops::is_random(&step.node.operator) || step.node.attributes.iter().any(|(_, attribute)| within(attribute))
}

/// What was transposed is laid out so once, and not each time that it is read.
fn laid_out(step: &Step, values: Outputs) -> Result<Outputs, OpError> {
    if step.node.operator != "Transpose" {
        return Ok(values);
    }
    let lay_out = |value| match value {
        Value::Tensor(tensor) => tensor.laid_out().map(Value::Tensor),
        other => Ok(other),
    };
    values.into_iter().map(lay_out).collect()
}

impl Compiler<'_> {
    /// Computes what depends on constants only.
    ///
    /// # Errors
    /// What cannot be computed, where it would have to be whenever the graph is run: outside of `If` and loops.
    pub(super) fn fold(&mut self, graph: &mut Graph, depth: usize) -> Result<(), String> {
        let own = graph.constants.iter().flatten().map(Value::bytes).fold(0, usize::saturating_add);
        self.constants.room = self.constants.room.saturating_add(own.saturating_mul(GROWTH));
        let mut kept = Vec::with_capacity(graph.steps.len());
        for step in std::mem::take(&mut graph.steps) {
            match self.constant(graph, &step) {
                Ok(Some(values)) => {
                    for (slot, value) in step.outputs.iter().zip(values) {
                        if let Some(slot) = slot {
                            graph.constants[*slot] = Some(value);
                        }
                    }
                }
                Err(problem) if depth == 0 => return Err(problem),
                Ok(None) | Err(_) => kept.push(step),
            }
        }
        graph.steps = kept;
        Ok(())
    }

    /// What a step comes to that depends on constants only; `None` where it does not, or takes more than it is worth.
    fn constant(&mut self, graph: &Graph, step: &Step) -> Result<Option<Outputs>, String> {
        let mut needs = step.inputs.iter().flatten().chain(&step.captured);
        let constant = needs.all(|slot| graph.constants[*slot].is_some()) && !is_random(step);
        if !constant || self.constants.limits.are_over() {
            return Ok(None);
        }
        let limits = self.constants.limits.with_elements(self.constants.room / size_of::<f32>());
        let (outcome, short) = limits.within(|| contained(|| graph.call(step, &mut Vec::new())));
        match outcome {
            Ok(Ok(values)) => {
                let values = laid_out(step, values).map_err(|error| error.to_string())?;
                let bytes = values.iter().map(Value::bytes).fold(0, usize::saturating_add);
                let room = self.constants.room.checked_sub(bytes);
                self.constants.room = room.unwrap_or(self.constants.room);
                Ok(room.map(|_| values))
            }
            _ if short => Ok(None),
            Ok(Err(error)) => Err(error.to_string()),
            Err(problem) => Err(OpError::new(problem).at(&step.node.name, &step.node.operator).to_string()),
        }
    }
}
