//! No call has a graph hold more memory than it may.

use ekiden::prelude::*;
use ekiden::runner::{Onnx, OnnxParams};

use crate::graphs::{FLOAT, Folder, INT64, info, model, node, vector};
use crate::support::{Server, block_on};

#[test]
fn a_call_that_asks_for_too_much_is_its_callers_fault() {
    let folder = Folder::new("asks-too-much");
    let zeros = model(
        vec![node("ConstantOfShape", &["n"], &["y"])],
        info("n", INT64, &[2]),
        info("y", FLOAT, &[-1, -1]),
        Vec::new(),
    );
    let path = folder.write("zeros.onnx", &zeros);
    let config = format!(
        "[[runners]]\nname = \"zeros\"\nmodel = {path:?}\n[runners.params]\nmax_run_memory = \"1MiB\"\n\
         [[runners]]\nname = \"bytes\"\nmodel = {path:?}\n[runners.params]\nmax_run_memory = 1000\n\
         [[runners]]\nname = \"generous\"\nmodel = {path:?}\n"
    );
    let app = block_on(App::builder().runnable::<Onnx>("onnx").config_text(config).start()).expect("it starts");
    let server = Server::start(&app);
    for size in [1 << 10, 1 << 14, 1 << 29] {
        let answer = server.post("/v1/runners/zeros/predict", &format!("[{size}, {size}]"));
        answer.refused(400, "method_invalid_input", &["ConstantOfShape", &format!("[{size}, {size}]")]);
    }
    let answer = server.post("/v1/runners/zeros/predict", "[1024, 1024]");
    answer.refused(400, "method_invalid_input", &["8388608 bytes", "the graph may hold 1048576"]);
    let answer = server.post("/v1/runners/bytes/predict", "[1024, 1024]");
    answer.refused(400, "method_invalid_input", &["the graph may hold 1000"]);
    // Nobody said anything of this one.
    let answer = server.post("/v1/runners/generous/predict", "[32768, 32767]");
    answer.refused(400, "method_invalid_input", &["the graph may hold 4294967296"]);
    assert_eq!(server.post("/v1/runners/zeros/predict", "[1, 2]").text().trim(), "[[0.0,0.0]]");
}

#[test]
fn a_batch_that_is_too_large_is_run_in_smaller_ones() {
    let folder = Folder::new("large-batch");
    // Each row becomes 3 by 4096 numbers, of which the largest is the answer.
    let wide = model(
        vec![
            node("Unsqueeze", &["x", "axis"], &["a"]),
            node("Tile", &["a", "times"], &["b"]),
            node("ReduceMax", &["b", "axis"], &["c"]),
            node("Squeeze", &["c", "axis"], &["y"]),
        ],
        info("x", FLOAT, &[-1, 3]),
        info("y", FLOAT, &[-1, 3]),
        vec![vector("axis", &[2]), vector("times", &[1, 1, 4096])],
    );
    let params = OnnxParams::default().max_run_memory(1 << 20);
    let path = folder.write("wide.onnx", &wide);
    let runner = Runner::<Onnx>::new(params).name("wide").model(path.to_string_lossy()).max_batch_size(64);
    let app = block_on(App::builder().runner(runner).start()).expect("it starts");
    let server = Server::start(&app);
    let rows: Vec<Vec<f32>> = (0..64_u8).map(|row| vec![f32::from(row), 0.5, -1.0]).collect();
    let body = serde_json::to_string(&rows).expect("JSON");
    for _ in 0..3 {
        assert_eq!(server.post("/v1/runners/wide/predict", &body).text().trim(), body);
    }
}

#[test]
fn how_much_a_run_may_hold_is_bytes() {
    let folder = Folder::new("memory-option");
    let same = model(vec![node("Relu", &["x"], &["y"])], info("x", FLOAT, &[-1]), info("y", FLOAT, &[-1]), Vec::new());
    let path = folder.write("same.onnx", &same);
    let check = |said: &str| {
        let config =
            format!("[[runners]]\nname = \"same\"\nmodel = {path:?}\n[runners.params]\nmax_run_memory = {said}\n");
        let checked = App::builder().runnable::<Onnx>("onnx").config_text(config).check();
        checked.map(drop).map_err(|error| error.to_string())
    };
    for right in ["1", "\"1.5GiB\"", "\"800 MB\""] {
        assert_eq!(check(right), Ok(()), "{right}");
    }
    for wrong in ["0", "-1", "\"much\"", "\"0GiB\"", "true", "1.5"] {
        let error = check(wrong).expect_err(wrong);
        assert!(error.contains("max_run_memory: expected bytes above 0"), "{wrong}: {error}");
    }
}
