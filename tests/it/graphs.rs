//! ONNX files of a few nodes, and folders to keep them in.

use std::fs;
use std::path::PathBuf;

use onnx_ir::{Message, ModelProto, NodeProto, TensorProto, ValueInfoProto};

pub const FLOAT: i32 = 1;
pub const INT64: i32 = 7;
pub const STRING: i32 = 8;

/// A folder of a test's own, removed with it.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ekiden-it-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    pub fn write(&self, name: &str, model: &ModelProto) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, model.write_to_bytes().expect("a file")).expect("is written");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub fn node(operator: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let name = format!("the_{}", operator.to_lowercase());
    NodeProto { name, op_type: operator.to_owned(), input: owned(inputs), output: owned(outputs), ..Default::default() }
}

/// An input or output; a negative size is left open.
pub fn info(name: &str, dtype: i32, dims: &[i64]) -> ValueInfoProto {
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

pub fn ints(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: vec![values.len() as i64],
        data_type: INT64,
        int64_data: values.to_vec(),
        ..Default::default()
    }
}

pub fn model(
    nodes: Vec<NodeProto>,
    input: ValueInfoProto,
    output: ValueInfoProto,
    constants: Vec<TensorProto>,
) -> ModelProto {
    let mut model = ModelProto::default();
    model.opset_import.push(Default::default());
    model.opset_import[0].version = 21;
    let graph = model.graph.mut_or_insert_default();
    (graph.node, graph.input, graph.output, graph.initializer) = (nodes, vec![input], vec![output], constants);
    model
}
