//! ONNX files of a few nodes, made here: for these tests, and for those of the whole.

use onnx_ir::{GraphProto, Message, ModelProto, NodeProto, TensorProto, ValueInfoProto};

pub(crate) const FLOAT: i32 = 1;
pub(crate) const INT64: i32 = 7;

pub(crate) fn bytes(model: &ModelProto) -> Vec<u8> {
    model.write_to_bytes().expect("a file")
}

pub(crate) fn node(operator: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let name = format!("the_{}", operator.to_lowercase());
    NodeProto { name, op_type: operator.to_owned(), input: owned(inputs), output: owned(outputs), ..Default::default() }
}

/// An input or output; a negative size is left open.
pub(crate) fn info(name: &str, dtype: i32, dims: &[i64]) -> ValueInfoProto {
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

pub(crate) fn ints(name: &str, dims: &[i64], values: &[i64]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: dims.to_vec(),
        data_type: INT64,
        int64_data: values.to_vec(),
        ..Default::default()
    }
}

pub(crate) fn vector(name: &str, values: &[i64]) -> TensorProto {
    ints(name, &[values.len() as i64], values)
}

pub(crate) fn floats(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: dims.to_vec(),
        data_type: FLOAT,
        float_data: values.to_vec(),
        ..Default::default()
    }
}

pub(crate) fn graph(nodes: Vec<NodeProto>, inputs: &[ValueInfoProto], outputs: &[&str]) -> GraphProto {
    let outputs = outputs.iter().map(|name| ValueInfoProto { name: (*name).to_owned(), ..Default::default() });
    GraphProto { node: nodes, input: inputs.to_vec(), output: outputs.collect(), ..Default::default() }
}

pub(crate) fn of(graph: GraphProto, constants: Vec<TensorProto>) -> ModelProto {
    let mut model = ModelProto { graph: Some(graph).into(), ..Default::default() };
    model.opset_import.push(Default::default());
    model.opset_import[0].version = 21;
    model.graph.mut_or_insert_default().initializer = constants;
    model
}
