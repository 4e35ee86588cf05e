//! What cannot be a model at all, lies about its data, or needs what is not supported.

use std::os::unix::fs::symlink;

use super::*;

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
    let mut model = of(graph(nodes, &[info("x", FLOAT, &[3])], &["y", "b"]), vec![ints("c", &[], &[1])]);
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
    let many = of(graph(nodes.collect(), &[info("x", FLOAT, &[3])], &outputs), vec![]);
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
