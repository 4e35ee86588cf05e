//! Trees that no exporter writes, and some that are known by heart.

use std::sync::OnceLock;

use crate::onnx::data::Constant;
use crate::onnx::error::{Fault, OpError};
use crate::onnx::graph::host;
use crate::onnx::node::{Attribute, Call, Node};
use crate::onnx::ops;
use crate::onnx::tensor::Tensor;
use crate::value::Array;

fn node(operator: &str, attributes: Vec<(&str, Attribute)>) -> Node {
    Node {
        name: String::new(),
        operator: operator.to_owned(),
        opset: 5,
        attributes: attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        outputs: 1,
        compiled: OnceLock::new(),
    }
}

/// Two branches and three leaves: up to 0 it is 10; else up to `split` of the second feature 20, else 30.
fn two_branches(next: [i64; 4], targets: i64) -> Node {
    let [first_yes, first_no, second_yes, second_no] = next;
    let floats = |values: Vec<f32>| {
        let count = values.len();
        Attribute::Constant(Constant::Array(Array::new(values, [count]).expect("an array")))
    };
    let modes = Array::new(vec![0_u8, 0], [2]).expect("an array");
    node(
        "TreeEnsemble",
        vec![
            ("tree_roots", Attribute::Ints(vec![0])),
            ("nodes_featureids", Attribute::Ints(vec![0, 1])),
            ("nodes_modes", Attribute::Constant(Constant::Array(modes))),
            ("nodes_splits", floats(vec![0.0, 5.0])),
            ("nodes_truenodeids", Attribute::Ints(vec![first_yes, second_yes])),
            ("nodes_trueleafs", Attribute::Ints(vec![1, 1])),
            ("nodes_falsenodeids", Attribute::Ints(vec![first_no, second_no])),
            ("nodes_falseleafs", Attribute::Ints(vec![0, 1])),
            ("leaf_targetids", Attribute::Ints(vec![0, 0, 0])),
            ("leaf_weights", floats(vec![10.0, 20.0, 30.0])),
            ("n_targets", Attribute::Int(targets)),
        ],
    )
}

fn texts(texts: &[&str]) -> Attribute {
    Attribute::Texts(texts.iter().map(|text| (*text).to_owned()).collect())
}

fn run(node: &Node, rows: Vec<f32>, width: usize) -> Result<Vec<f64>, OpError> {
    let device = host();
    let count = rows.len() / width;
    let x = Tensor::new(rows, &[count, width], &device)?;
    let op = ops::find("ai.onnx.ml", &node.operator).expect("an operator");
    let mut call = Call { node, inputs: smallvec::smallvec![Some(x.into())], captured: Vec::new(), device: &device };
    op(&mut call)?.remove(0).tensor()?.floats()
}

fn problem(outcome: Result<Vec<f64>, OpError>) -> String {
    outcome.expect_err("a problem").to_string()
}

#[test]
fn a_tree_is_laid_out_once() {
    let tree = two_branches([0, 1, 1, 2], 1);
    let rows = vec![0.0, 9.0, 1.0, 5.0, 1.0, 6.0];
    assert_eq!(run(&tree, rows.clone(), 2).expect("scores"), [10.0, 20.0, 30.0]);
    let kept = |node: &Node| node.compiled.get().map(|kept| std::ptr::from_ref(kept.as_ref()).cast::<u8>());
    let first = kept(&tree).expect("what was laid out");
    assert_eq!(run(&tree, rows, 2).expect("scores"), [10.0, 20.0, 30.0]);
    assert_eq!(kept(&tree), Some(first));
}

#[test]
fn many_rows_are_answered_as_few_are() {
    let tree = two_branches([0, 1, 1, 2], 1);
    let rows: Vec<f32> = (0..20_001).flat_map(|at| [(at % 3) as f32 - 1.0, (at % 11) as f32]).collect();
    let expected: Vec<f64> = rows
        .chunks_exact(2)
        .map(|row| if row[0] <= 0.0 { 10.0 } else { 20.0 + 10.0 * f64::from(u8::from(row[1] > 5.0)) })
        .collect();
    assert!(run(&tree, rows, 2).expect("scores") == expected);
}

#[test]
fn branches_may_meet_again() {
    // Where the first feature is 1 or 2 the second decides between 10 and 11, else it is 20.
    let tree = node(
        "TreeEnsembleRegressor",
        vec![
            ("nodes_treeids", Attribute::Ints(vec![0; 6])),
            ("nodes_nodeids", Attribute::Ints(vec![0, 1, 2, 3, 4, 5])),
            ("nodes_featureids", Attribute::Ints(vec![0, 0, 1, 0, 0, 0])),
            ("nodes_modes", texts(&["BRANCH_EQ", "BRANCH_EQ", "BRANCH_GT", "LEAF", "LEAF", "LEAF"])),
            ("nodes_values", Attribute::Floats(vec![1.0, 2.0, 0.0, 0.0, 0.0, 0.0])),
            ("nodes_truenodeids", Attribute::Ints(vec![2, 2, 3, 0, 0, 0])),
            ("nodes_falsenodeids", Attribute::Ints(vec![1, 5, 4, 0, 0, 0])),
            ("target_treeids", Attribute::Ints(vec![0; 3])),
            ("target_nodeids", Attribute::Ints(vec![3, 4, 5])),
            ("target_ids", Attribute::Ints(vec![0; 3])),
            ("target_weights", Attribute::Floats(vec![11.0, 10.0, 20.0])),
        ],
    );
    let rows = vec![1.0, 0.0, 2.0, 0.0, 3.0, 0.0, 1.0, 1.0, 2.0, 1.0, 3.0, 1.0];
    assert_eq!(run(&tree, rows, 2).expect("scores"), [10.0, 10.0, 20.0, 11.0, 11.0, 20.0]);
}

#[test]
fn branches_may_share_a_leaf() {
    let tree = two_branches([2, 1, 2, 2], 1);
    assert_eq!(run(&tree, vec![0.0, 9.0, 1.0, 5.0, 1.0, 6.0], 2).expect("scores"), [30.0; 3]);
}

#[test]
fn what_is_no_tree_is_refused() {
    let one = || vec![1.0, 1.0];
    assert_eq!(problem(run(&two_branches([0, 0, 1, 2], 1), one(), 2)), "the trees run in circles at node 0");
    assert_eq!(problem(run(&two_branches([0, 2, 1, 2], 1), one(), 2)), "the trees have no node 2");
    assert_eq!(problem(run(&two_branches([0, 1, 1, 3], 1), one(), 2)), "the trees have no node 5");
    assert_eq!(problem(run(&two_branches([0, -1, 1, 3], 1), one(), 2)), "-1 is no node");
    assert_eq!(problem(run(&two_branches([0, 1, 1, 2], 0), one(), 2)), "the trees have no targets");
    let huge = problem(run(&two_branches([0, 1, 1, 2], i64::MAX), one(), 2));
    assert!(huge.contains("more than"), "{huge}");
}

#[test]
fn rows_that_are_too_short_are_the_callers_fault() {
    let error = run(&two_branches([0, 1, 1, 2], 1), vec![1.0], 1).expect_err("a problem");
    assert_eq!(error.to_string(), "the trees ask for 2 features, found rows of 1");
    assert!(matches!(error.fault(), Fault::Caller), "{error}");
}
