//! What can be wrong with a file, and with a run.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::path::PathBuf;

use burn::tensor::ExecutionError;

/// Why a file cannot be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// It cannot be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// The file, or one that it refers to.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It is not what ONNX files are.
    #[error("{}: {problem}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// It is well formed, but has operators that are not supported: all of them.
    #[error("{}: {}", path.display(), list(missing))]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The nodes, in the graph's order.
        missing: Vec<Missing>,
    },
}

/// A node whose operator is not supported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    /// The node's name; empty where it has none.
    pub(crate) node: String,
    /// The operator, with its domain where that is not the default.
    pub(crate) operator: String,
    /// The version of its operator set.
    pub(crate) opset: i64,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, operator, opset } = self;
        match node.as_str() {
            "" => write!(f, "{operator} (opset {opset})"),
            node => write!(f, "{operator} (opset {opset}), node \"{node}\""),
        }
    }
}

/// Every node that is missing: a hundred nodes of one operator are one line.
fn list(missing: &[Missing]) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut known: HashMap<(&str, i64), usize> = HashMap::new();
    for Missing { node, operator, opset } in missing {
        match known.entry((operator, *opset)) {
            Entry::Occupied(line) => lines[*line.get()].push_str(&format!(", \"{node}\"")),
            Entry::Vacant(line) => {
                line.insert(lines.len());
                lines.push(format!("\n  {operator} (opset {opset}): \"{node}\""));
            }
        }
    }
    format!("{} nodes have operators that are not supported:{}", missing.len(), lines.concat())
}

/// Why a step of the graph cannot be run.
#[derive(Debug)]
pub(crate) struct OpError {
    /// What is wrong, and after [`OpError::at`] where.
    message: String,
    fault: Fault,
}

/// Whose fault it is.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The inputs': other inputs may work.
    Caller,
    /// The inputs', all together: fewer rows may work.
    TooLarge,
    /// The graph's.
    Graph,
    /// The device's.
    Device(Box<ExecutionError>),
}

impl OpError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), fault: Fault::Graph }
    }

    /// An error that other inputs would not have caused.
    pub(super) fn caller(message: impl Into<String>) -> Self {
        Self { message: message.into(), fault: Fault::Caller }
    }

    /// An error that smaller inputs, or fewer rows, would not have caused.
    pub(super) fn too_large(message: impl Into<String>) -> Self {
        Self { message: message.into(), fault: Fault::TooLarge }
    }

    pub(super) fn device(error: &ExecutionError) -> Self {
        Self { message: error.to_string(), fault: Fault::Device(Box::new(error.clone())) }
    }

    /// Says at which node.
    pub(super) fn at(self, node: &str, operator: &str) -> Self {
        let place = if node.is_empty() { operator.to_owned() } else { format!("{operator} \"{node}\"") };
        Self { message: format!("{place}: {}", self.message), ..self }
    }

    /// Whose fault it is.
    pub(crate) fn fault(&self) -> &Fault {
        &self.fault
    }
}

impl fmt::Display for OpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
