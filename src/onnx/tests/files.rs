//! Files as they should not be: each is refused, or loaded with a reason why it is served as it is; soon, in bounded memory,
//! and without a panic.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use burn::tensor::Device;
use onnx_ir::{AttributeProto, AttributeType, GraphProto, Message, ModelProto, NodeProto, TensorProto, ValueInfoProto};

use super::super::model::Model;
use super::super::probe::Description;
use super::operators::{Is, attribute};

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

#[test]
fn what_is_no_onnx_file_is_refused() {
    let folder = Folder::new("no-onnx");
    let no_graph = "it is not an ONNX file: it holds no graph";
    assert_eq!(folder.refusal(b""), no_graph);
    assert_eq!(folder.refusal(&bytes(&ModelProto::default())), no_graph);
    let parts = "it is not an ONNX file, or not all of it: ";
    for wrong in [&b"PK\x03\x04 not this one"[..], b"some text, as it were", &[0xff; 64], &[0; 64]] {
        let refusal = folder.refusal(wrong);
        assert!(refusal.starts_with(parts), "{refusal}");
    }
    assert_eq!(problem(&folder.0), "it is not a file");
    assert!(problem(&folder.0.join("none.onnx")).starts_with("No such file or directory"));
}

#[test]
fn a_file_that_is_cut_is_refused_or_whole() {
    let folder = Folder::new("cut");
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onnx/models");
    let mut wholes = vec![bytes(&valid())];
    // Those that come with the project, where they are.
    for entry in fs::read_dir(own).into_iter().flatten().flatten() {
        wholes.extend(fs::read(entry.path().join("model.onnx")));
    }
    for whole in wholes {
        let cuts = (0..16).map(|part| whole.len() * part / 16).chain(whole.len().saturating_sub(40)..whole.len());
        for cut in cuts {
            // A panic would be told as what it says.
            let refusal = folder.refusal(&whole[..cut]);
            let known =
                ["it is loaded", "it is not an ONNX file", "its output", "output \"", "tensor \"", "input \"", "node "];
            assert!(known.iter().any(|known| refusal.starts_with(known)), "{cut} of {} bytes: {refusal}", whole.len());
        }
    }
}

#[test]
fn external_data_is_whole_and_in_the_folder() {
    let folder = Folder::new("external");
    let outside = Folder::new("outside-external");
    outside.write("weights", &[0; 12]);
    folder.write("weights", &[0; 12]);
    folder.write("short", &[0; 11]);
    fs::create_dir(folder.0.join("folder")).expect("a folder");
    symlink(outside.0.join("weights"), folder.0.join("link")).expect("a link");
    symlink(folder.0.join("weights"), folder.0.join("own")).expect("a link");
    let refusal = |entries: &[(&str, &str)]| {
        let mut tensor = floats("w", &[3], &[]);
        // Field 14, of which 1 says that the data lies elsewhere: its type has no public name.
        tensor.data_location = TensorProto::parse_from_bytes(&[14 << 3, 1]).expect("a tensor").data_location;
        for (key, value) in entries {
            tensor.external_data.push(Default::default());
            let entry = tensor.external_data.last_mut().expect("just pushed");
            (entry.key, entry.value) = ((*key).to_owned(), (*value).to_owned());
        }
        let found = folder.refusal(&bytes(&model(vec![node("Add", &["x", "w"], &["y"])], vec![tensor])));
        found.replace(&folder.0.display().to_string(), "FOLDER")
    };
    let at = |location: &str| refusal(&[("location", location)]);
    let not_inside = |location: &str| {
        format!("tensor \"w\": its external data is in \"{location}\", which is not in the folder of the model")
    };
    assert_eq!(at("weights"), "it is loaded");
    assert_eq!(at("./weights"), "it is loaded");
    assert_eq!(at("own"), "it is loaded");
    assert_eq!(refusal(&[("location", "weights"), ("length", "12")]), "it is loaded");
    assert_eq!(refusal(&[]), "tensor \"w\": its external data has no location");
    assert_eq!(at("none"), "tensor \"w\": FOLDER/none: No such file or directory (os error 2)");
    assert_eq!(at("folder"), "tensor \"w\": FOLDER/folder: it is not a file");
    let absolute = outside.0.join("weights").display().to_string();
    for location in ["../weights", "folder/../weights", "..", "link", &absolute, "/dev/zero", ""] {
        let refusal = at(location);
        assert!(refusal == not_inside(location) || refusal.ends_with("it is not a file"), "{location}: {refusal}");
    }
    let takes = "tensor \"w\": it takes 12 bytes, found";
    assert_eq!(at("short"), format!("{takes} 11 in FOLDER/short from byte 0"));
    assert_eq!(
        refusal(&[("location", "weights"), ("length", "8")]),
        format!("{takes} 8 in FOLDER/weights from byte 0")
    );
    assert_eq!(
        refusal(&[("location", "weights"), ("offset", "4")]),
        format!("{takes} 8 in FOLDER/weights from byte 4")
    );
    assert_eq!(
        refusal(&[("location", "weights"), ("offset", "13")]),
        "tensor \"w\": FOLDER/weights ends before byte 13"
    );
    let huge = u64::MAX.to_string();
    assert_eq!(
        refusal(&[("location", "weights"), ("offset", &huge), ("length", &huge)]),
        format!("tensor \"w\": FOLDER/weights ends before byte {huge}")
    );
    assert_eq!(refusal(&[("location", "weights"), ("offset", "-1")]), "tensor \"w\": \"-1\" is no offset");
}

/// Checks why each model is refused.
#[track_caller]
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

#[test]
fn a_graph_that_cannot_be_is_refused() {
    let add = |inputs: &[&str], output: &str| node("Add", inputs, &[output]);
    let w = || floats("w", &[3], &[1.0, 2.0, 3.0]);
    let mut functions = valid();
    functions.functions.push(Default::default());
    let mut sparse = valid();
    sparse.graph.mut_or_insert_default().sparse_initializer.push(Default::default());
    let mut sparse_constant = node("Constant", &[], &["y"]);
    let mut attribute = AttributeProto { name: "sparse_value".to_owned(), ..Default::default() };
    attribute.type_ = AttributeType::SPARSE_TENSOR.into();
    sparse_constant.attribute.push(attribute);
    let with_output = |change: fn(&mut ValueInfoProto)| {
        let mut model = valid();
        change(&mut model.graph.mut_or_insert_default().output[0]);
        model
    };
    let inputs = |inputs: &[ValueInfoProto]| of(graph(vec![add(&["x", "w"], "y")], inputs, &["y"]), vec![w()]);
    let twice = of(graph(vec![add(&["x", "w"], "y")], &[info("x", FLOAT, &[3])], &["y", "y"]), vec![w()]);
    let cycle = vec![add(&["x", "b"], "a"), node("Relu", &["a"], &["b"]), node("Relu", &["b"], &["y"])];
    let within = graph(vec![node("Relu", &["nowhere"], &["z"])], &[], &["z"]);
    let c = || ints("c", &[], &[1]);
    refused(
        "graphs",
        vec![
            (functions, "it defines functions of its own, which are not supported; export it with them inlined"),
            (sparse, "it has sparse tensors, which are not supported"),
            (model(vec![sparse_constant], vec![]), "Constant \"the_constant\": it has no value that is supported"),
            (
                model(cycle, vec![]),
                "node \"the_add\" of Add: it needs \"b\", which node \"the_relu\" computes only later: the nodes are \
                 not in order, or form a cycle",
            ),
            (
                model(vec![add(&["y", "x"], "y")], vec![]),
                "node \"the_add\" of Add: it needs \"y\", which node \"the_add\" computes only later: the nodes are not \
                 in order, or form a cycle",
            ),
            (
                model(vec![add(&["x", "v"], "y")], vec![w()]),
                "node \"the_add\" of Add: it needs \"v\", which nothing computes",
            ),
            (
                model(vec![branches(&within)], vec![c()]),
                "node \"the_if\" of If: it needs \"nowhere\", which nothing computes",
            ),
            (model(vec![], vec![w()]), "its output \"y\" is not computed by any node"),
            (
                model(vec![add(&["x", "w"], "y"), node("Relu", &["x"], &["y"])], vec![w()]),
                "node \"the_relu\" of Relu: \"y\" is given or computed twice",
            ),
            (
                model(vec![add(&["x", "w"], "x"), node("Relu", &["x"], &["y"])], vec![w()]),
                "node \"the_add\" of Add: \"x\" is given or computed twice",
            ),
            (model(vec![add(&["x", "w"], "y")], vec![w(), w()]), "\"w\" is given or computed twice"),
            (inputs(&[info("x", FLOAT, &[3]), info("x", FLOAT, &[3])]), "\"x\" is given or computed twice"),
            (twice, "it has two outputs \"y\""),
            (
                with_output(|output| {
                    output.type_.mut_or_insert_default().mut_sequence_type();
                }),
                "output \"y\" is a sequence, which cannot be served",
            ),
            (
                with_output(|output| {
                    output.type_.mut_or_insert_default().mut_map_type();
                }),
                "output \"y\" is a map, which cannot be served",
            ),
            (
                with_output(|output| *output = info("y", 17, &[3])),
                "output \"y\" is of dtype float8e4m3fn, which is not supported",
            ),
            (inputs(&[info("x", 22, &[3])]), "input \"x\" is of dtype int4, which is not supported"),
            (inputs(&[info("x", 99, &[3])]), "input \"x\" is of dtype data type 99, which is not supported"),
            (
                inputs(&[info("x", FLOAT, &[1; 40])]),
                "input \"x\" has 40 dimensions, where no more than 32 are supported",
            ),
        ],
    );
}

#[test]
fn a_tensor_that_lies_about_its_data_is_refused() {
    let of = |tensor: TensorProto| model(vec![node("Add", &["x", "w"], &["y"])], vec![tensor]);
    let raw = |dims: &[i64], dtype: i32, bytes: usize| {
        let (raw_data, dims) = (vec![0; bytes].into(), dims.to_vec());
        of(TensorProto { name: "w".to_owned(), dims, data_type: dtype, raw_data, ..Default::default() })
    };
    let strings = TensorProto { name: "w".to_owned(), dims: vec![2], data_type: STRING, ..Default::default() };
    refused(
        "tensors",
        vec![
            (of(floats("w", &[3], &[1.0, 2.0])), "tensor \"w\": shape [3] of float32 takes 12 bytes, found 8"),
            (of(floats("w", &[3], &[1.0; 4])), "tensor \"w\": shape [3] of float32 takes 12 bytes, found 16"),
            (of(floats("w", &[], &[])), "tensor \"w\": shape [] of float32 takes 4 bytes, found 0"),
            (of(floats("w", &[-3], &[1.0; 3])), "tensor \"w\": its shape is [-3]"),
            (
                of(floats("w", &[i64::MAX, 2], &[1.0; 3])),
                "tensor \"w\": a tensor of shape [9223372036854775807, 2] has more than 1073741824 elements",
            ),
            (
                of(floats("w", &[1 << 32, 1 << 32], &[])),
                "tensor \"w\": a tensor of shape [4294967296, 4294967296] has more than 1073741824 elements",
            ),
            (
                of(floats("w", &[1 << 40, 0], &[])),
                "tensor \"w\": a tensor of shape [1099511627776, 0] has more than 1073741824 elements",
            ),
            (
                of(floats("w", &[1 << 30], &[1.0])),
                "tensor \"w\": shape [1073741824] of float32 takes 4294967296 bytes, found 4",
            ),
            (of(floats("w", &[1; 33], &[1.0])), "tensor \"w\": 33 dimensions are not supported, only up to 32"),
            (of(ints("w", &[3], &[1])), "tensor \"w\": shape [3] of int64 takes 24 bytes, found 8"),
            (raw(&[3], FLOAT, 8), "tensor \"w\": shape [3] of float32 takes 12 bytes, found 8"),
            (raw(&[3], FLOAT, 13), "tensor \"w\": 13 bytes are no whole number of float32"),
            (raw(&[0], FLOAT, 4), "tensor \"w\": shape [0] of float32 takes 0 bytes, found 4"),
            (raw(&[3], 22, 3), "tensor \"w\": shape [3] takes 2 bytes, found 3"),
            (raw(&[3], 17, 3), "tensor \"w\": its dtype is float8e4m3fn, which is not supported"),
            (raw(&[3], 14, 24), "tensor \"w\": its dtype is complex64, which is not supported"),
            (raw(&[3], 0, 12), "tensor \"w\": its dtype is undefined, which is not supported"),
            (raw(&[3], -1, 12), "tensor \"w\": its dtype is data type -1, which is not supported"),
            (of(strings), "tensor \"w\": shape [2] has 2 strings, found 0"),
        ],
    );
}

/// Sizes that no machine has memory for, as constants: they are computed when the file is loaded.
#[test]
fn absurd_sizes_are_refused_before_memory_is_taken() {
    const HUGE: i64 = 1 << 40;
    let of = |node: NodeProto, constants: Vec<TensorProto>| model(vec![node], constants);
    let small = || floats("w", &[1, 1], &[1.0]);
    let image = || floats("w", &[1, 1, 2, 2], &[1.0; 4]);
    let number = |name: &str, value: i64| ints(name, &[], &[value]);
    let text = |name, text| attribute(name, Is::Text(text));
    let chain = |last: NodeProto| {
        // Each step is allowed, and what the last makes of them is not.
        let wide = node("Expand", &["w", "s"], &["a"]);
        let nodes = vec![wide, node("Transpose", &["a"], &["b"]), last];
        model(nodes, vec![small(), vector("s", &[1, 1 << 20])])
    };
    refused(
        "absurd",
        vec![
            (
                of(node("ConstantOfShape", &["s"], &["y"]), vec![vector("s", &[HUGE])]),
                "ConstantOfShape \"the_constantofshape\": 1099511627776 is no size of a dimension, which is at most 1073741824",
            ),
            (
                of(node("ConstantOfShape", &["s"], &["y"]), vec![vector("s", &[1 << 31, 1 << 33])]),
                "ConstantOfShape \"the_constantofshape\": 2147483648 is no size of a dimension, which is at most 1073741824",
            ),
            (
                of(node("ConstantOfShape", &["s"], &["y"]), vec![vector("s", &[-1])]),
                "ConstantOfShape \"the_constantofshape\": -1 is no size of a dimension, which is at most 1073741824",
            ),
            (
                of(node("ConstantOfShape", &["s"], &["y"]), vec![vector("s", &[0, HUGE])]),
                "ConstantOfShape \"the_constantofshape\": 1099511627776 is no size of a dimension, which is at most 1073741824",
            ),
            (
                of(node("Expand", &["w", "s"], &["y"]), vec![small(), vector("s", &[HUGE, 1])]),
                "Expand \"the_expand\": 1099511627776 is no size of a dimension, which is at most 1073741824",
            ),
            (
                of(node("Tile", &["w", "s"], &["y"]), vec![small(), vector("s", &[i64::MAX, i64::MAX])]),
                "Tile \"the_tile\": 9223372036854775807 is no size of a dimension, which is at most 1073741824",
            ),
            (
                of(node("Tile", &["w", "s"], &["y"]), vec![small(), vector("s", &[1 << 20, 1 << 20])]),
                "Tile \"the_tile\": a tensor of shape [1048576, 1048576] has more than 1073741824 elements",
            ),
            (
                of(node("Range", &["a", "b", "c"], &["y"]), vec![number("a", 0), number("b", HUGE), number("c", 1)]),
                "Range \"the_range\": a tensor of shape [1099511627776] has more than 1073741824 elements",
            ),
            (
                of(node("Range", &["a", "b", "c"], &["y"]), vec![number("a", 0), number("b", 1), number("c", 0)]),
                "Range \"the_range\": the range is too long, or its step is 0",
            ),
            (
                of(
                    node("Range", &["a", "b", "c"], &["y"]),
                    ["a", "b", "c"].map(|name| floats(name, &[], &[if name == "b" { 1e30 } else { 1.0 }])).into(),
                ),
                "Range \"the_range\": a tensor of shape [18446744073709551615] has more than 1073741824 elements",
            ),
            (
                of(node("Pad", &["w", "s"], &["y"]), vec![small(), vector("s", &[0, i64::MAX, 0, i64::MAX])]),
                "Pad \"the_pad\": a tensor of shape [1, 18446744073709551615] has more than 1073741824 elements",
            ),
            (
                of(
                    with(node("Pad", &["w", "s"], &["y"]), vec![text("mode", "edge")]),
                    vec![small(), vector("s", &[0, i64::MAX, 0, i64::MAX])],
                ),
                "Pad \"the_pad\": a tensor of shape [18446744073709551615] has more than 1073741824 elements",
            ),
            (of(node("Pad", &["w", "s"], &["y"]), vec![small(), vector("s", &[0, i64::MIN, 0, 0])]), "it is loaded"),
            (
                of(node("Resize", &["w", "", "", "s"], &["y"]), vec![image(), vector("s", &[1, 1, HUGE, HUGE])]),
                "Resize \"the_resize\": a tensor of shape [1, 1, 1099511627776, 1099511627776] has more than 1073741824 elements",
            ),
            (
                of(
                    node("Resize", &["w", "", "s"], &["y"]),
                    vec![image(), floats("s", &[4], &[1.0, 1.0, 1e30, f32::INFINITY])],
                ),
                "Resize \"the_resize\": a tensor of shape [1, 1, 18446744073709551615, 18446744073709551615] has more than 1073741824 elements",
            ),
            (
                of(
                    with(
                        node("Resize", &["w", "", "s"], &["y"]),
                        vec![text("mode", "linear"), attribute("antialias", Is::Int(1))],
                    ),
                    vec![image(), floats("s", &[4], &[1.0, 1.0, 1e-30, 1.0])],
                ),
                "Resize \"the_resize\": a tensor of shape [4, 18446744073709551615] has more than 1073741824 elements",
            ),
            (
                of(
                    node("OneHot", &["i", "d", "v"], &["y"]),
                    vec![vector("i", &[1, 2]), number("d", HUGE), floats("v", &[2], &[0.0, 1.0])],
                ),
                "OneHot \"the_onehot\": a tensor of shape [2, 1099511627776] has more than 1073741824 elements",
            ),
            (
                of(
                    node("OneHot", &["i", "d", "v"], &["y"]),
                    vec![vector("i", &[1, 2]), number("d", -1), floats("v", &[2], &[0.0, 1.0])],
                ),
                "OneHot \"the_onehot\": a depth of -1",
            ),
            (
                model(
                    vec![node("Expand", &["w", "s"], &["a"]), node("EyeLike", &["a"], &["y"])],
                    vec![small(), vector("s", &[HUGE, HUGE])],
                ),
                "Expand \"the_expand\": 1099511627776 is no size of a dimension, which is at most 1073741824",
            ),
            (
                of(
                    with(node("Conv", &["w", "k"], &["y"]), vec![attribute("pads", Is::Ints(&[1 << 29; 4]))]),
                    vec![image(), floats("k", &[1, 1, 1, 1], &[1.0])],
                ),
                "Conv \"the_conv\": a tensor of shape [1, 1, 1073741826, 1073741826] has more than 1073741824 elements",
            ),
            (
                of(
                    with(node("ConvTranspose", &["w", "k"], &["y"]), vec![attribute("strides", Is::Ints(&[HUGE; 2]))]),
                    vec![image(), floats("k", &[1, 1, 1, 1], &[1.0])],
                ),
                "ConvTranspose \"the_convtranspose\": 1099511627776 is no size of a dimension, which is at most 1073741824",
            ),
            (
                of(
                    with(
                        node("MaxPool", &["w"], &["y"]),
                        vec![
                            attribute("kernel_shape", Is::Ints(&[1 << 28; 2])),
                            attribute("pads", Is::Ints(&[1 << 29; 4])),
                        ],
                    ),
                    vec![image()],
                ),
                "MaxPool \"the_maxpool\": a tensor of shape [1, 1, 805306371, 805306371] has more than 1073741824 elements",
            ),
            (
                chain(node("Add", &["a", "b"], &["y"])),
                "Add \"the_add\": a tensor of shape [1048576, 1048576] has more than 1073741824 elements",
            ),
            (
                chain(node("Less", &["a", "b"], &["y"])),
                "Less \"the_less\": a tensor of shape [1048576, 1048576] has more than 1073741824 elements",
            ),
            (
                chain(node("MatMul", &["b", "a"], &["y"])),
                "MatMul \"the_matmul\": a tensor of shape [1048576, 1048576] has more than 1073741824 elements",
            ),
            (
                chain(node("Reshape", &["a", "w"], &["y"])),
                "Reshape \"the_reshape\": [1, 1048576] cannot be reshaped to [1]",
            ),
            (
                of(node("HannWindow", &["n"], &["y"]), vec![number("n", HUGE)]),
                "HannWindow \"the_hannwindow\": a tensor of shape [1099511627776] has more than 1073741824 elements",
            ),
            (
                of(with(node("RandomNormal", &[], &["y"]), vec![attribute("shape", Is::Ints(&[HUGE]))]), vec![]),
                "it is loaded",
            ),
        ],
    );
}

/// A few nodes that double what they are given, one after the other.
#[test]
fn what_doubles_is_not_computed_for_ever() {
    let doubled = |operator: &str, first: &str, last: &str| -> Vec<NodeProto> {
        let name = |at: usize| if at == 0 { first.to_owned() } else { format!("{first}{at}") };
        let step = |at: usize| {
            let own = node(operator, &[&name(at), &name(at)], &[&name(at + 1)]);
            if operator == "Concat" { with(own, vec![attribute("axis", Is::Int(0))]) } else { own }
        };
        let mut nodes: Vec<NodeProto> = (0..50).map(step).collect();
        nodes.push(node(last, &[&name(50)], &["y"]));
        nodes
    };
    let text = TensorProto {
        name: "t".to_owned(),
        dims: vec![1],
        data_type: STRING,
        string_data: vec![b"ab".to_vec().into()],
        ..Default::default()
    };
    // Half of it is computed when the file is loaded, and the rest is refused when it is run.
    let folder = Folder::new("doubled");
    for (operator, constant) in
        [("Concat", floats("w", &[1], &[1.0])), ("Concat", text.clone()), ("StringConcat", text)]
    {
        let name = constant.name.clone();
        let model = model(doubled(operator, &name, "Identity"), vec![constant]);
        let unbatched = description(&folder, &model).unbatched.expect("is not batched");
        assert!(unbatched.contains(&format!("{operator} \"the_")) && unbatched.contains(" more than "), "{unbatched}");
    }
    let sequences = model(doubled("SequenceConstruct", "w", "SequenceLength"), vec![floats("w", &[1], &[1.0])]);
    let refusal = "SequenceConstruct \"the_sequenceconstruct\": a sequence of sequences is not supported";
    assert_eq!(folder.refusal(&bytes(&sequences)), refusal);
}

#[test]
fn all_that_is_not_supported_is_listed() {
    let folder = Folder::new("unsupported");
    let mut nodes: Vec<NodeProto> = ["Teleport", "Relu", "Teleport", "Levitate"]
        .iter()
        .enumerate()
        .map(|(at, operator)| {
            let mut node = node(operator, &["x"], &[&format!("a{at}")]);
            node.name = format!("node{at}");
            node
        })
        .collect();
    nodes[3].domain = "org.example".to_owned();
    let mut within = node("Vanish", &["x"], &["z"]);
    within.domain = "ai.onnx".to_owned();
    nodes.push(branches(&graph(vec![within], &[], &["z"])));
    nodes.push(with(node("Concat", &["a0", "a1", "a2", "a3"], &["b"]), vec![attribute("axis", Is::Int(0))]));
    let mut unneeded = node("Nothing", &["x"], &["unneeded"]);
    unneeded.name = String::new();
    nodes.push(unneeded);
    let graph = graph(nodes, &[info("x", FLOAT, &[3])], &["y", "b"]);
    let mut model = of(graph, vec![ints("c", &[], &[1])]);
    model.opset_import.push(Default::default());
    (model.opset_import[1].domain, model.opset_import[1].version) = ("org.example".to_owned(), 4);
    assert_eq!(
        folder.refusal(&bytes(&model)),
        "5 nodes have operators that are not supported:\n  Teleport (opset 21): \"node0\", \"node2\"\n  \
         org.example.Levitate (opset 4): \"node3\"\n  Vanish (opset 21): \"the_vanish\", \"the_vanish\""
    );
    // As many nodes as a large file has, each of its own kind.
    let nodes = (0..50_000).map(|at| node(&format!("Op{at}"), &["x"], &[&format!("y{at}")]));
    let outputs: Vec<String> = (0..50_000).map(|at| format!("y{at}")).collect();
    let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
    let many = of(super::files::graph(nodes.collect(), &[info("x", FLOAT, &[3])], &outputs), vec![]);
    let refusal = folder.refusal(&bytes(&many));
    assert!(refusal.starts_with("50000 nodes have") && refusal.ends_with("Op49999 (opset 21): \"the_op49999\""));
}

#[test]
fn graphs_are_nested_only_so_deep() {
    let nested = |depth: usize| {
        let identity = || graph(vec![node("Identity", &["x"], &["y"])], &[], &["y"]);
        let inner = (0..depth).fold(identity(), |inner, _| {
            let graphs = vec![graph_attribute("then_branch", inner), graph_attribute("else_branch", identity())];
            graph(vec![with(node("If", &["c"], &["y"]), graphs)], &[], &["y"])
        });
        GraphProto { input: vec![info("x", FLOAT, &[3])], ..inner }
    };
    let of = |depth| of(nested(depth), vec![ints("c", &[], &[1])]);
    let folder = Folder::new("nested");
    assert_eq!(folder.refusal(&bytes(&of(20))), "it is loaded");
    let refusal = folder.refusal(&bytes(&of(33)));
    assert!(refusal.ends_with(""), "{refusal}");
    let refusal = folder.refusal(&bytes(&of(1000)));
    assert!(refusal.starts_with("it is not an ONNX file, or not all of it:"), "{refusal}");
}

/// A loop that goes on as long as its condition holds, which is always.
fn endless(body: Vec<NodeProto>, inputs: &[&str]) -> NodeProto {
    let mut nodes = vec![node("Identity", &["go_on"], &["still"])];
    nodes.extend(body);
    let given = [info("at", INT64, &[]), info("go_on", 9, &[]), info("state", FLOAT, &[1])];
    let body = graph(nodes, &given, &["still", "next"]);
    with(node("Loop", inputs, &["y"]), vec![graph_attribute("body", body)])
}

#[test]
fn an_endless_loop_ends() {
    let folder = Folder::new("loops");
    let body = || vec![node("Relu", &["state"], &["next"])];
    let go_on = || vec![ints("c", &[], &[1]), floats("w", &[1], &[1.0])];
    // Of constants only: left to run time.
    let constant = of(graph(vec![endless(body(), &["", "", "w"])], &[], &["y"]), go_on());
    let takes_long = "the graph takes too long to be tried";
    let unbatched = description(&folder, &constant).unbatched.expect("is not batched");
    assert!(unbatched.ends_with(takes_long), "{unbatched}");
    // A loop in a loop.
    let outer = endless(vec![endless(body(), &["", "", "state"]), node("Relu", &["y"], &["next"])], &["", "", "x"]);
    let nested = of(graph(vec![outer], &[info("x", FLOAT, &[1])], &["y"]), go_on());
    let unbatched = description(&folder, &nested).unbatched.expect("is not batched");
    assert!(unbatched.ends_with(takes_long), "{unbatched}");
    // One that doubles its state.
    let double = with(node("Concat", &["state", "state"], &["next"]), vec![attribute("axis", Is::Int(0))]);
    let growing = of(graph(vec![endless(vec![double], &["", "", "x"])], &[info("x", FLOAT, &[1])], &["y"]), go_on());
    let unbatched = description(&folder, &growing).unbatched.expect("is not batched");
    assert!(unbatched.contains(" more than "), "{unbatched}");
}

#[test]
fn inputs_of_absurd_shapes_are_not_tried() {
    let folder = Folder::new("inputs");
    let relu = |dtype: i32, dims: &[i64]| {
        of(graph(vec![node("Identity", &["x"], &["y"])], &[info("x", dtype, dims)], &["y"]), vec![])
    };
    let too_large = "its inputs are too large to try it";
    for (dtype, dims, unbatched) in [
        // Dimension 0 is the batch's.
        (FLOAT, &[1_i64 << 40][..], None),
        (STRING, &[1 << 40], None),
        (FLOAT, &[1, 1 << 40], Some(too_large)),
        (FLOAT, &[-1, 1 << 40], Some(too_large)),
        (FLOAT, &[-1, i64::MAX, i64::MAX], Some(too_large)),
        (FLOAT, &[-1, 1 << 26], Some(too_large)),
        (STRING, &[-1, 1 << 40], Some(too_large)),
    ] {
        let found = description(&folder, &relu(dtype, dims));
        assert_eq!(found.unbatched.as_deref(), unbatched, "{dims:?}");
    }
    // Each is small, and all together are not.
    let names: Vec<String> = (0..300).map(|at| format!("x{at}")).collect();
    let infos: Vec<ValueInfoProto> = names.iter().map(|name| info(name, FLOAT, &[1, 1 << 18])).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let many = of(graph(vec![node("Sum", &names, &["y"])], &infos, &["y"]), vec![]);
    assert_eq!(description(&folder, &many).unbatched.as_deref(), Some(too_large));
}

/// Values of which each may be, and that are all needed at the end.
#[test]
fn a_graph_that_keeps_too_much_at_once_is_not_tried_further() {
    let folder = Folder::new("held");
    let mut nodes = vec![node("Shape", &["x"], &["s"])];
    let names: Vec<String> = (0..100).map(|at| format!("a{at}")).collect();
    nodes.extend(names.iter().map(|name| node("ConstantOfShape", &["s"], &[name])));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    nodes.push(node("Sum", &names, &["y"]));
    let model = of(graph(nodes, &[info("x", FLOAT, &[-1, 1 << 20])], &["y"]), vec![]);
    let unbatched = description(&folder, &model).unbatched.expect("is not batched");
    assert!(unbatched.contains("its values take more than"), "{unbatched}");
}

/// What the fuzzer builds graphs of.
#[test]
fn the_fuzzer_knows_all_operators() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/operators.txt");
    let text = fs::read_to_string(&path).expect("a list of operators");
    let known: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(known, super::super::ops::names(), "{} is to list them", path.display());
}

/// What the fuzzer has found: each was a panic in a kernel.
#[test]
fn what_kernels_do_not_bear_does_not_reach_them() {
    let number = |name: &str, value: f32| floats(name, &[], &[value]);
    let int8 = |name: &str, dims: &[i64], values: &[i32]| TensorProto {
        name: name.to_owned(),
        dims: dims.to_vec(),
        data_type: 3,
        int32_data: values.to_vec(),
        ..Default::default()
    };
    let of = |operator: &str, attributes: Vec<AttributeProto>, constants: Vec<TensorProto>| {
        let names: Vec<&str> = constants.iter().map(|tensor| tensor.name.as_str()).collect();
        let node = with(node(operator, &names, &["y"]), attributes);
        model(vec![node], constants)
    };
    let classic = |operator: &str, constants: Vec<TensorProto>| {
        let mut model = of(operator, vec![], constants);
        "ai.onnx.ml".clone_into(&mut model.graph.mut_or_insert_default().node[0].domain);
        model
    };
    let strings = |name: &str, dims: &[i64]| TensorProto {
        name: name.to_owned(),
        dims: dims.to_vec(),
        data_type: STRING,
        ..Default::default()
    };
    let row = || floats("a", &[3], &[1.0, 2.0, 3.0]);
    let image = || floats("a", &[1, 1, 2, 2], &[1.0; 4]);
    let kernel = || floats("b", &[1, 1, 1, 1], &[1.0]);
    let mut resize = node("Resize", &["a", "", "b"], &["y"]);
    resize.attribute.push(attribute("axes", Is::Ints(&[2, 2])));
    refused(
        "kernels",
        vec![
            (of("LRN", vec![attribute("size", Is::Int(3))], vec![row()]), "LRN \"the_lrn\": the input has no channels"),
            (
                model(vec![resize], vec![image(), floats("b", &[2], &[0.5, 0.5])]),
                "Resize \"the_resize\": an axis of [2, 2] is given twice",
            ),
            (
                of("Conv", vec![], vec![image(), kernel(), floats("c", &[3], &[1.0; 3])]),
                "Conv \"the_conv\": a bias of shape [1] was expected, found [3]",
            ),
            (
                of("Conv", vec![], vec![image(), int8("b", &[1, 1, 1, 1], &[1])]),
                "Conv \"the_conv\": input, weights and bias must be of one float dtype, found (F32, I8, None)",
            ),
            (of("MatMul", vec![], vec![int8("a", &[1, 1], &[2]), int8("b", &[1, 1], &[3])]), "it is loaded"),
            (
                of("Mod", vec![], vec![vector("a", &[1, 2]), vector("b", &[0, 1])]),
                "Mod \"the_mod\": an integer is divided by 0",
            ),
            (
                of("Reshape", vec![], vec![vector("a", &[1, 2, 3, 4]), vector("b", &[-1, -1])]),
                "Reshape \"the_reshape\": shape [4] cannot be reshaped to [-1, -1]",
            ),
            (
                of("Div", vec![], vec![vector("a", &[i64::MIN]), vector("b", &[-1])]),
                "Div \"the_div\": -9223372036854775808 divided by -1 is no int64",
            ),
            (
                of("Where", vec![], vec![row(), floats("b", &[3], &[1.0; 3]), floats("c", &[3], &[1.0; 3])]),
                "Where \"the_where\": a bool and two of one dtype were expected, found float32, float32 and float32",
            ),
            (of("GlobalMaxPool", vec![], vec![floats("a", &[1, 1, 0], &[])]), "it is loaded"),
            (of("Softmax", vec![], vec![floats("a", &[1, 0], &[])]), "it is loaded"),
            (
                classic("ArrayFeatureExtractor", vec![strings("a", &[1, 0]), ints("b", &[0], &[])]),
                "ArrayFeatureExtractor \"the_arrayfeatureextractor\": the rows have no features",
            ),
            (
                of(
                    "ReverseSequence",
                    vec![attribute("batch_axis", Is::Int(0))],
                    vec![floats("a", &[2, 2], &[1.0; 4]), vector("b", &[1, 2])],
                ),
                "ReverseSequence \"the_reversesequence\": axis 0 is both the batch's and time's",
            ),
            (
                of("Hardmax", vec![], vec![floats("a", &[1, 0], &[])]),
                "Hardmax \"the_hardmax\": shape [1, 0] has no extreme",
            ),
            (
                of("GlobalLpPool", vec![attribute("p", Is::Int(i64::MAX))], vec![image()]),
                "GlobalLpPool \"the_globallppool\": an exponent of 9223372036854776000 is not supported",
            ),
            (
                of("Celu", vec![attribute("alpha", Is::Float(0.5))], vec![vector("a", &[1])]),
                "Celu \"the_celu\": the input must be of a float dtype, found int64",
            ),
            (
                of("DynamicQuantizeLinear", vec![], vec![floats("a", &[0], &[])]),
                "DynamicQuantizeLinear \"the_dynamicquantizelinear\": there is nothing along axis 0 of shape [0]",
            ),
            (
                of("Pad", vec![], vec![vector("a", &[1]), vector("b", &[1, 1]), number("c", f32::INFINITY)]),
                "Pad \"the_pad\": inf is no integer to pad with",
            ),
        ],
    );
}
