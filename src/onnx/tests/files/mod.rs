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
use crate::onnx::model::Model;
use crate::onnx::probe::Description;

const FLOAT: i32 = 1;
const INT64: i32 = 7;
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

pub(super) fn bytes(model: &ModelProto) -> Vec<u8> {
    model.write_to_bytes().expect("a file")
}

pub(super) fn node(operator: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let name = format!("the_{}", operator.to_lowercase());
    NodeProto { name, op_type: operator.to_owned(), input: owned(inputs), output: owned(outputs), ..Default::default() }
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

/// An input or output; a negative size is left open.
pub(super) fn info(name: &str, dtype: i32, dims: &[i64]) -> ValueInfoProto {
    let mut info = ValueInfoProto { name: name.to_owned(), ..Default::default() };
    let tensor = info.type_.mut_or_insert_default().mut_tensor_type();
    tensor.elem_type = dtype;
    let shape = tensor.shape.mut_or_insert_default();
    for &dim in dims {
        shape.dim.push(Default::default());
        if dim >= 0 {
            shape.dim.last_mut().expect("just pushed").set_dim_value(dim);
        }
    }
    info
}

fn ints(name: &str, dims: &[i64], values: &[i64]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: dims.to_vec(),
        data_type: INT64,
        int64_data: values.to_vec(),
        ..Default::default()
    }
}

pub(super) fn vector(name: &str, values: &[i64]) -> TensorProto {
    ints(name, &[values.len() as i64], values)
}

pub(super) fn floats(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: dims.to_vec(),
        data_type: FLOAT,
        float_data: values.to_vec(),
        ..Default::default()
    }
}

pub(super) fn graph(nodes: Vec<NodeProto>, inputs: &[ValueInfoProto], outputs: &[&str]) -> GraphProto {
    let outputs = outputs.iter().map(|name| ValueInfoProto { name: (*name).to_owned(), ..Default::default() });
    GraphProto { node: nodes, input: inputs.to_vec(), output: outputs.collect(), ..Default::default() }
}

pub(super) fn of(graph: GraphProto, constants: Vec<TensorProto>) -> ModelProto {
    let mut model = ModelProto { graph: Some(graph).into(), ..Default::default() };
    model.opset_import.push(Default::default());
    model.opset_import[0].version = 21;
    model.graph.mut_or_insert_default().initializer = constants;
    model
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
