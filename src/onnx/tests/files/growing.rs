//! What is small in the file, and grows as it runs.

use super::*;

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
        assert!(
            unbatched.contains(&format!("{operator} \"the_")) && unbatched.contains("the graph may hold"),
            "{unbatched}"
        );
    }
    let sequences = model(doubled("SequenceConstruct", "w", "SequenceLength"), vec![floats("w", &[1], &[1.0])]);
    let refusal = "SequenceConstruct \"the_sequenceconstruct\": a sequence of sequences is not supported";
    assert_eq!(folder.refusal(&bytes(&sequences)), refusal);
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
    assert!(unbatched.contains("the graph may hold"), "{unbatched}");
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
    assert!(unbatched.contains("the graph may hold"), "{unbatched}");
}
