//! Files as they should not be: each is refused, or loaded with a reason why it is served as it is; soon, in bounded memory,
//! and without a panic.

mod growing;
mod kernels;
mod refused;
mod serving;
mod sizes;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use burn::tensor::Device;
use onnx_ir::{AttributeProto, AttributeType, GraphProto, Message, ModelProto, NodeProto, TensorProto, ValueInfoProto};

use super::operators::{Is, attribute};
use super::protos::{FLOAT, INT64, bytes, floats, graph, info, ints, node, of, vector};
use crate::onnx::model::Model;
use crate::onnx::probe::Description;

const STRING: i32 = 8;

/// What a file may take, at most, on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// A folder of a test's own, removed with it.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ekiden-onnx-files-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).expect("is written");
        path
    }

    /// Why these bytes are refused, after the path.
    fn refusal(&self, bytes: &[u8]) -> String {
        problem(&self.write("model.onnx", bytes))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Why a file is refused, after its path.
fn problem(path: &Path) -> String {
    let start = Instant::now();
    let error = match Model::load(path) {
        Ok(_) => "it is loaded".to_owned(),
        Err(error) => error.to_string(),
    };
    assert!(start.elapsed() < SOON, "{error}: took {:?}", start.elapsed());
    error.strip_prefix(&format!("{}: ", path.display())).unwrap_or(&error).to_owned()
}

/// What a model that is loaded is served as.
fn description(folder: &Folder, model: &ModelProto) -> Description {
    let start = Instant::now();
    let path = folder.write("model.onnx", &bytes(model));
    let model = Model::load(&path).unwrap_or_else(|error| panic!("{error}"));
    let session = model.session(&Device::flex()).expect("a session");
    let description = model.describe(&session);
    assert!(start.elapsed() < SOON, "{description:?}: took {:?}", start.elapsed());
    description
}

fn with(mut node: NodeProto, attributes: Vec<AttributeProto>) -> NodeProto {
    node.attribute.extend(attributes);
    node
}

fn graph_attribute(name: &str, graph: GraphProto) -> AttributeProto {
    let mut proto = AttributeProto { name: name.to_owned(), g: Some(graph).into(), ..Default::default() };
    proto.type_ = AttributeType::GRAPH.into();
    proto
}

/// Nodes that make `y` of `x`, of shape `[n, 3]`, and of constants.
fn model(nodes: Vec<NodeProto>, constants: Vec<TensorProto>) -> ModelProto {
    of(graph(nodes, &[info("x", FLOAT, &[-1, 3])], &["y"]), constants)
}

/// A model that is right.
fn valid() -> ModelProto {
    model(vec![node("Add", &["x", "w"], &["y"])], vec![floats("w", &[3], &[1.0, 2.0, 3.0])])
}

fn refused(name: &str, table: Vec<(ModelProto, &str)>) {
    let folder = Folder::new(name);
    let wrong: Vec<String> = table
        .into_iter()
        .map(|(model, expected)| (folder.refusal(&bytes(&model)), expected))
        .filter(|(found, expected)| found != expected)
        .map(|(found, expected)| format!("    found {found}\n expected {expected}\n"))
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Where a graph within the graph stands.
fn branches(body: &GraphProto) -> NodeProto {
    let graphs = ["then_branch", "else_branch"].map(|name| graph_attribute(name, body.clone()));
    with(node("If", &["c"], &["y"]), graphs.into())
}
