//! What a call may ask a graph for: no more memory than it may hold.

use burn::tensor::TensorData;

use super::*;
use crate::onnx::{Fault, Given};

/// Bytes that a run may hold, here.
const LIMIT: usize = 1 << 20;

/// What becomes of a run of these nodes, which make `y` of the integers `n`.
fn run(name: &str, nodes: Vec<NodeProto>, constants: Vec<TensorProto>, n: &[i64]) -> Result<(), (bool, String)> {
    let folder = Folder::new(name);
    let model = of(graph(nodes, &[info("n", INT64, &[n.len() as i64])], &["y"]), constants);
    let model = Model::load(&folder.write("model.onnx", &bytes(&model))).unwrap_or_else(|error| panic!("{error}"));
    let session = model.session(&Device::flex()).expect("a session");
    match session.serve(vec![Given::Tensor(TensorData::new(n.to_vec(), [n.len()]))], LIMIT) {
        Ok(_) => Ok(()),
        Err(error) => Err((matches!(error.fault(), Fault::TooLarge), error.to_string())),
    }
}

#[test]
fn a_call_cannot_ask_for_more_memory_than_a_run_may_hold() {
    let number = |name: &str, value: i64| ints(name, &[], &[value]);
    let scalar = || ints("scalar", &[0], &[]);
    let to_scalar = || node("Reshape", &["n", "scalar"], &["end"]);
    let check =
        |nodes: &dyn Fn() -> Vec<NodeProto>, constants: &dyn Fn() -> Vec<TensorProto>, small: &[i64], large: &[i64]| {
            let name = nodes().iter().map(|node| node.op_type.to_lowercase()).collect::<Vec<_>>().join("-");
            assert_eq!(run(&name, nodes(), constants(), small), Ok(()), "{name}");
            let (too_large, message) = run(&name, nodes(), constants(), large).expect_err(&name);
            assert!(too_large, "{name}: {message}");
            assert!(message.contains(" beside the ") && message.contains("may hold 1048576"), "{name}: {message}");
        };
    let range = || vec![to_scalar(), node("Range", &["first", "end", "step"], &["y"])];
    check(&range, &|| vec![scalar(), number("first", 0), number("step", 1)], &[9], &[1 << 20]);
    check(&|| vec![node("ConstantOfShape", &["n"], &["y"])], &Vec::new, &[3, 4], &[1 << 10, 1 << 10]);
    let one = || vec![floats("w", &[1, 1, 2, 2], &[1.0; 4])];
    check(&|| vec![node("Expand", &["w", "n"], &["y"])], &one, &[9, 1, 2, 2], &[1 << 18, 1, 2, 2]);
    check(&|| vec![node("Tile", &["w", "n"], &["y"])], &one, &[1, 1, 2, 2], &[1, 1, 1 << 9, 1 << 9]);
    check(&|| vec![node("Resize", &["w", "", "", "n"], &["y"])], &one, &[1, 1, 4, 4], &[1, 1, 1 << 10, 1 << 10]);
    let pads = |n: i64| [0, 0, 0, 0, 0, 0, n, n];
    check(&|| vec![node("Pad", &["w", "n"], &["y"])], &one, &pads(1), &pads(1 << 10));
    let values = || vec![floats("values", &[2], &[0.0, 1.0]), vector("at", &[1, 2, 3])];
    check(&|| vec![node("OneHot", &["at", "n", "values"], &["y"])], &values, &[9], &[1 << 20]);
}

/// Each is small enough, and all of them together are not.
#[test]
fn what_a_run_holds_is_added_up() {
    let several = |count: usize| {
        let names: Vec<String> = (0..count).map(|at| format!("a{at}")).collect();
        let mut nodes: Vec<NodeProto> = names.iter().map(|name| node("ConstantOfShape", &["n"], &[name])).collect();
        nodes.push(node("Sum", &names.iter().map(String::as_str).collect::<Vec<_>>(), &["y"]));
        nodes
    };
    assert_eq!(run("a-few", several(4), vec![], &[1 << 14]), Ok(()));
    let (too_large, message) = run("many", several(40), vec![], &[1 << 14]).expect_err("too many");
    assert!(too_large && message.contains("beside the "), "{message}");
    // One after the other, each dropped before the next but one.
    let names: Vec<String> = (0..40).map(|at| format!("a{at}")).collect();
    let mut nodes = vec![node("ConstantOfShape", &["n"], &["a0"])];
    nodes.extend(names.windows(2).map(|pair| node("Neg", &[&pair[0]], &[&pair[1]])));
    nodes.push(node("Neg", &["a39"], &["y"]));
    assert_eq!(run("in-turn", nodes, vec![], &[1 << 14]), Ok(()));
}

#[test]
fn what_a_loop_yields_is_added_up() {
    let body = graph(
        vec![
            node("Identity", &["go_on"], &["still"]),
            node("Identity", &["state"], &["next"]),
            node("Neg", &["state"], &["each"]),
        ],
        &[info("at", INT64, &[]), info("go_on", 9, &[]), info("state", FLOAT, &[1])],
        &["still", "next", "each"],
    );
    let nodes = || {
        let repeat = node("Loop", &["trips", "", "w"], &["last", "y"]);
        vec![node("Reshape", &["n", "scalar"], &["trips"]), with(repeat, vec![graph_attribute("body", body.clone())])]
    };
    let constants = || vec![ints("scalar", &[0], &[]), floats("w", &[1 << 10], &[1.0; 1 << 10])];
    assert_eq!(run("loop", nodes(), constants(), &[60]), Ok(()));
    // What has been yielded counts, beside the one tensor that it is to become.
    let (too_large, message) = run("loop", nodes(), constants(), &[100]).expect_err("too much");
    assert!(too_large && message.starts_with("Loop \"the_loop\""), "{message}");
}

/// What a run held is forgotten with it, however it ended.
#[test]
fn a_refused_call_leaves_nothing_held() {
    for _ in 0..50 {
        let nodes = || vec![node("ConstantOfShape", &["n"], &["a"]), node("Neg", &["a"], &["y"])];
        assert_eq!(run("again", nodes(), vec![], &[1 << 15]), Ok(()));
        assert!(run("again", nodes(), vec![], &[1 << 20]).is_err());
    }
}
