//! Graphs that take strings, in any shape.

use ekiden::prelude::*;
use ekiden::runner::Onnx;
use serde_json::json;

use crate::graphs::{Folder, STRING, info, model, node};
use crate::support::{Server, block_on};

#[test]
fn strings_come_in_the_shape_that_the_graph_has() {
    let folder = Folder::new("strings");
    let mut config = String::new();
    for (name, dims) in
        [("row", &[-1][..]), ("one", &[-1, 1]), ("pair", &[-1, 2]), ("cube", &[-1, 2, 3]), ("open", &[-1, -1])]
    {
        // As long as they are, and each twice over.
        let nodes = vec![node("StringConcat", &["x", "x"], &["y"])];
        let path = folder.write(
            &format!("{name}.onnx"),
            &model(nodes, info("x", STRING, dims), info("y", STRING, dims), Vec::new()),
        );
        config.push_str(&format!("[[runners]]\nname = \"{name}\"\nmodel = {path:?}\n"));
    }
    let app = block_on(App::builder().runnable::<Onnx>("onnx").config_text(config).start()).expect("it starts");
    let server = Server::start(&app);
    let post =
        |name: &str, body: &serde_json::Value| server.post(&format!("/v1/runners/{name}/predict"), &body.to_string());
    let check = |name: &str, body: serde_json::Value, expected: serde_json::Value| {
        assert_eq!(post(name, &body).json(), expected, "{name} {body}");
    };
    check("row", json!(["a", "b"]), json!(["aa", "bb"]));
    check("one", json!(["a", ["b"]]), json!([["aa"], ["bb"]]));
    check("pair", json!([["a", "b"], ["c", "d"]]), json!([["aa", "bb"], ["cc", "dd"]]));
    check("pair", json!({"x": [["a", "b"]]}), json!([["aa", "bb"]]));
    check("pair", json!([]), json!([]));
    let cube = json!([[["a", "b", "c"], ["d", "e", "f"]]]);
    check("cube", cube, json!([[["aa", "bb", "cc"], ["dd", "ee", "ff"]]]));
    check("open", json!([["a", "b", "c"]]), json!([["aa", "bb", "cc"]]));
    let refused = |name: &str, body: serde_json::Value, expected: &str| {
        post(name, &body).refused(400, "invalid_input", &[&format!("input \"x\": expected text {expected}")]);
    };
    refused("row", json!([["a"]]), "[any], found a list instead of a text at [0]");
    refused("one", json!([["a", "b"]]), "[any, 1], found 2 instead of 1 at [0]");
    refused("pair", json!(["a", "b"]), "[any, 2], found a text instead of a list at [0]");
    refused("pair", json!([["a", "b"], ["c"]]), "[any, 2], found 1 instead of 2 at [1]");
    refused("pair", json!([["a", 1]]), "[any, 2], found a number instead of a text at [0][1]");
    refused("open", json!([["a", "b"], ["c"]]), "[any, any], found 1 instead of 2 at [1]");
    let about = server.get("/v1/runners/pair").json();
    let input = &about["methods"][0]["inputs"][0];
    assert_eq!(
        (&input["kind"], &input["dtype"], &input["shape"]),
        (&json!("list"), &json!("string"), &json!([null, 2]))
    );
    assert_eq!(about["methods"][0]["batch_dims"], json!({"input": 0, "output": 0}), "{about}");
    let about = server.get("/v1/runners/open").json();
    assert_eq!(about["methods"][0]["batch_dims"], json!(null), "rows of any width do not share batches: {about}");
}
