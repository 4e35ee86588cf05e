//! Whether calls share batches, and steps made one: graphs built here, by what they are served as and answer.

use burn::tensor::Device;
use onnx_ir::{AttributeProto, AttributeType, ModelProto, ValueInfoProto};

use super::files::Folder;
use super::protos::{FLOAT, bytes, floats, graph, info, node, of, vector};
use crate::onnx::model::{Given, Model};
use crate::transfer;
use crate::value::{Array, Value};

fn load(name: &str, model: &ModelProto) -> Model {
    let folder = Folder::new(name);
    Model::load(&folder.write("model.onnx", &bytes(model))).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Why calls of this model do not share batches.
fn unbatched(name: &str, model: &ModelProto) -> Option<String> {
    let model = load(name, model);
    model.describe(&model.session(&Device::flex()).expect("a session")).unbatched
}

fn open(name: &str) -> ValueInfoProto {
    info(name, FLOAT, &[-1, 4])
}

#[test]
fn rows_that_meet_only_where_they_are_large_are_found_out() {
    // What is divided by is the largest of all rows, from ten on.
    let nodes = |keep: &[&str]| {
        let largest = node("ReduceMax", keep, &["largest"]);
        vec![
            node("Abs", &["x"], &["sizes"]),
            largest,
            node("Max", &["largest", "ten"], &["by"]),
            node("Div", &["x", "by"], &["y"]),
        ]
    };
    let ten = || floats("ten", &[], &[10.0]);
    let of_all = of(graph(nodes(&["sizes"]), &[open("x")], &["y"]), vec![ten()]);
    let problem = unbatched("largest", &of_all).expect("rows depend on each other");
    assert!(problem.contains("depends on the other rows"), "{problem}");
    // The same of each row by itself.
    let axis = vector("axis", &[1]);
    let of_each = of(graph(nodes(&["sizes", "axis"]), &[open("x")], &["y"]), vec![ten(), axis]);
    assert_eq!(unbatched("own", &of_each), None);
}

#[test]
fn an_input_of_one_row_beside_any_number_does_not_follow() {
    let inputs = [open("x"), info("weights", FLOAT, &[1, 4])];
    let model = of(graph(vec![node("Mul", &["x", "weights"], &["y"])], &inputs, &["y"]), Vec::new());
    let problem = unbatched("beside", &model).expect("they cannot share batches");
    assert!(problem.contains("\"x\" has any number of rows") && problem.contains("\"weights\""), "{problem}");
}

#[test]
fn a_normalization_within_the_weights_answers_as_one_behind_them() {
    let constants = || {
        vec![
            floats("w", &[4, 2], &[1.0, -2.0, 0.5, 3.0, -1.0, 0.25, 2.0, 1.5]),
            floats("b", &[2], &[0.5, -0.5]),
            floats("gamma", &[2], &[2.0, 0.5]),
            floats("beta", &[2], &[0.1, 0.2]),
            floats("mean", &[2], &[1.0, -1.0]),
            floats("variance", &[2], &[4.0, 0.25]),
        ]
    };
    let product = node("Gemm", &["x", "w", "b"], &["sum"]);
    let norm = node("BatchNormalization", &["sum", "gamma", "beta", "mean", "variance"], &["y"]);
    let answer = |outputs: &[&str]| {
        let model = load("norm", &of(graph(vec![product.clone(), norm.clone()], &[open("x")], outputs), constants()));
        let x = Array::new(vec![1.0_f32, 2.0, 3.0, 4.0], [1, 4]).expect("fits");
        let session = model.session(&Device::flex()).expect("a session");
        let answer = session.run(vec![Given::Tensor(transfer::whole_data(&x))]).expect("an answer");
        let Value::Tensor(y) = &answer[0] else { panic!("{answer:?}") };
        (y.to_vec::<f32>().expect("singles"), session.steps())
    };
    // Where somebody else takes the sum too, it is computed as it is.
    let ((folded, one), (apart, two)) = (answer(&["y"]), answer(&["y", "sum"]));
    assert_eq!((one, two), (1, 2));
    let expected =
        [2.0 * (7.5 - 1.0) / (4.0_f32 + 1e-5).sqrt() + 0.1, 0.5 * (10.25 + 1.0) / (0.25_f32 + 1e-5).sqrt() + 0.2];
    for (at, expected) in expected.into_iter().enumerate() {
        assert!((folded[at] - expected).abs() < 1e-4, "{folded:?}, expected {expected} at {at}");
        assert!((apart[at] - expected).abs() < 1e-4, "{apart:?}, expected {expected} at {at}");
    }
}

#[test]
fn turned_weights_answer_as_before() {
    let product = |input: &str, output: &str| {
        let mut product = node("Gemm", &[input, "w"], &[output]);
        product.attribute.push(AttributeProto {
            name: "transB".to_owned(),
            i: 1,
            type_: AttributeType::INT.into(),
            ..AttributeProto::default()
        });
        product
    };
    // Square, so that the answer would have the same shape if they were not turned.
    let nodes = vec![product("x", "once"), product("once", "twice")];
    let model =
        of(graph(nodes, &[info("x", FLOAT, &[-1, 2])], &["twice"]), vec![floats("w", &[2, 2], &[1.0, 2.0, 3.0, 5.0])]);
    let session = load("turned", &model).session(&Device::flex()).expect("a session");
    let x = Array::new(vec![1.0_f32, 10.0], [1, 2]).expect("fits");
    let answer = session.run(vec![Given::Tensor(transfer::whole_data(&x))]).expect("an answer");
    let Value::Tensor(y) = &answer[0] else { panic!("{answer:?}") };
    // x W' = [21, 53]; once more: [21 + 106, 63 + 265].
    assert_eq!(y.to_vec::<f32>().expect("singles"), [127.0, 328.0]);
}
