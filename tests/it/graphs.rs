//! ONNX files of a few nodes, and folders to keep them in.

use std::fs;
use std::path::PathBuf;

use onnx_ir::{ModelProto, NodeProto, TensorProto, ValueInfoProto};

use crate::protos;
pub(crate) use crate::protos::{FLOAT, INT64, info, node, vector};
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
        fs::write(&path, protos::bytes(model)).expect("is written");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub fn model(
    nodes: Vec<NodeProto>,
    input: ValueInfoProto,
    output: ValueInfoProto,
    constants: Vec<TensorProto>,
) -> ModelProto {
    let mut graph = protos::graph(nodes, &[input], &[]);
    graph.output = vec![output];
    protos::of(graph, constants)
}
