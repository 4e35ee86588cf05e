//! ONNX files, served as they are: by the program, from a configuration and from code.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use ekiden::models::Store;
use ekiden::prelude::*;
use ekiden::runner::Onnx;
use ekiden::value::Array;

use crate::client::Client;
use crate::support::{Program, Server, block_on};

/// Trained by scikit-learn: six numbers in, a label and three probabilities out.
const FOREST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/onnx/models/random_forest/model.onnx");
/// Exported by PyTorch with a batch of one: twenty numbers in, ten probabilities out.
const MLP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/onnx/models/torch_mlp_fixed/model.onnx");

fn rows(count: usize, numbers: usize) -> serde_json::Value {
    let row = |at: usize| (0..numbers).map(|number| ((at * 7 + number) % 5) as f32 * 0.5 - 1.0).collect::<Vec<_>>();
    (0..count).map(row).collect::<Vec<_>>().into()
}

#[test]
fn a_file_is_all_that_serve_needs() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ekiden"));
    command.args(["serve", MLP, "--name", "small", "--bind", "127.0.0.1:0", "--admin-bind", ""]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the program starts");
    let mut program = Program(child);
    let mut lines =
        BufReader::new(program.0.stdout.take().expect("its output")).lines().map(|line| line.expect("text"));
    let said: Vec<String> = lines.by_ref().take_while(|line| !line.contains("ready")).collect();
    let said = said.join("\n");
    assert!(said.contains("float32 [any, 20]) -> ") && said.contains("float32 [any, 10]"), "{said}");
    let address = said.split("http://").nth(1).and_then(|rest| rest.lines().next()).expect("where it listens");
    let mut client = Client::connect(address.parse().expect("an address"));
    let alone: Vec<serde_json::Value> = (0..3)
        .map(|row| {
            let one = serde_json::json!([rows(3, 20)[row]]);
            client.post("/v1/runners/small/predict", &one.to_string()).json()[0].clone()
        })
        .collect();
    let together = client.post("/v1/runners/small/predict", &rows(3, 20).to_string()).json();
    for (row, alone) in alone.iter().enumerate() {
        let pairs = alone.as_array().expect("numbers").iter().zip(together[row].as_array().expect("numbers"));
        let sum: f64 = alone.as_array().expect("numbers").iter().filter_map(serde_json::Value::as_f64).sum();
        assert!((sum - 1.0).abs() < 1e-5, "{alone}: probabilities");
        for (a, b) in pairs {
            let (a, b) = (a.as_f64().expect("a number"), b.as_f64().expect("a number"));
            assert!((a - b).abs() < 1e-6, "row {row}: {a} alone, {b} together");
        }
    }
    let refused = client.post("/v1/runners/small/predict", "[[1, 2, 3]]");
    refused.refused(400, "invalid_input", &["[any, 20]", "[1, 3]"]);
}

#[test]
fn a_runner_names_a_file_as_its_model() {
    let config = format!("[[runners]]\nname = \"forest\"\nmodel = {FOREST:?}\nmax_batch_size = 8\n");
    let app = App::builder().runnable::<Onnx>("onnx").config_text(config);
    let app = block_on(app.start()).expect("it starts");
    let server = Server::start(&app);
    let answer = server.post("/v1/runners/forest/predict", &rows(20, 6).to_string()).json();
    let labels = answer["label"].as_array();
    assert_eq!(labels.map(Vec::len), Some(20), "{answer}");
    server.post("/v1/runners/forest/predict", "[[1, 2]]").refused(400, "invalid_input", &["[any, 6]"]);
}

#[test]
fn a_saved_graph_becomes_a_runner() {
    let folder = std::env::temp_dir().join(format!("ekiden-it-onnx-{}", std::process::id()));
    let store = Store::at(&folder);
    let model = store.import(MLP).name("small").run().expect("imported");
    let app = block_on(App::builder().runner(model.to_runner().max_batch_size(4)).start()).expect("it starts");
    let runner = app.runner("small").expect("it is there");
    let predict = runner.method::<Array, Array>("predict").expect("a method");
    let input = Array::new(vec![0.5_f32; 6 * 20], [6, 20]).expect("fits");
    let answer = block_on(predict.async_run(input)).expect("answered");
    assert_eq!(answer.shape().dims(), [6, 10]);
    std::fs::remove_dir_all(&folder).expect("removed");
}
