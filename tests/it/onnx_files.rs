//! `ekiden serve FILE.onnx`: files that cannot be served, and calls that cannot be answered.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use onnx_ir::{Message, ModelProto, NodeProto, TensorProto};

use crate::client::Client;
use crate::support::{PATIENCE, Program};

/// A folder of a test's own, removed with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ekiden-it-onnx-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn serve(&self, bytes: &[u8]) -> Command {
        fs::write(self.0.join("model.onnx"), bytes).expect("is written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_ekiden"));
        command.args(["serve", "model.onnx", "--bind", "127.0.0.1:0"]).current_dir(&self.0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The rows of a table that tokens name: `tokens`, int64 `[any, any]`, to `y`, float32 `[any, any, 2]`.
fn lookup(operator: &str, rows: i64) -> ModelProto {
    let mut model = ModelProto::default();
    model.opset_import.push(Default::default());
    model.opset_import[0].version = 21;
    let graph = model.graph.mut_or_insert_default();
    let (name, op_type) = ("the_lookup".to_owned(), operator.to_owned());
    let (input, output) = (vec!["table".to_owned(), "tokens".to_owned()], vec!["y".to_owned()]);
    graph.node.push(NodeProto { name, op_type, input, output, ..NodeProto::default() });
    let (name, float_data) = ("table".to_owned(), (0..10_u8).map(f32::from).collect());
    graph.initializer.push(TensorProto {
        name,
        data_type: 1,
        dims: vec![rows, 2],
        float_data,
        ..TensorProto::default()
    });
    for (infos, name, dtype, rank) in [(&mut graph.input, "tokens", 7, 2), (&mut graph.output, "y", 1, 3)] {
        infos.push(Default::default());
        name.clone_into(&mut infos[0].name);
        let tensor = infos[0].type_.mut_or_insert_default().mut_tensor_type();
        tensor.elem_type = dtype;
        tensor.shape.mut_or_insert_default().dim.resize(rank, Default::default());
    }
    model
}

#[test]
fn a_file_that_cannot_be_served_is_one_clear_message() {
    let bytes = |model: ModelProto| model.write_to_bytes().expect("a file");
    let whole = bytes(lookup("Gather", 5));
    let table: [(&[u8], &str); 6] = [
        (b"", "it is not an ONNX file: it holds no graph"),
        (b"some text, as it were", "it is not an ONNX file, or not all of it: "),
        (&whole[..whole.len() - 3], "it is not an ONNX file, or not all of it: "),
        (&bytes(lookup("Teleport", 5)), "Teleport (opset 21): \"the_lookup\""),
        (&bytes(lookup("Gather", 6)), "tensor \"table\": "),
        (&bytes(lookup("Gather", 1 << 40)), "tensor \"table\": a tensor of shape [1099511627776, 2] has more than "),
    ];
    let folder = Folder::new("bad");
    for (bytes, expected) in table {
        let start = Instant::now();
        let output = folder.serve(bytes).output().expect("the program runs");
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(start.elapsed() < PATIENCE, "{expected}");
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains("model.onnx: ") && message.contains(expected), "{expected} is not in\n{message}");
        assert_eq!(message.matches(expected).count(), 1, "{message}");
        assert!(!message.contains("panicked"), "{message}");
    }
}

#[test]
fn a_call_that_cannot_be_answered_leaves_the_server_as_it_was() {
    let folder = Folder::new("calls");
    let whole = lookup("Gather", 5).write_to_bytes().expect("a file");
    let mut command = folder.serve(&whole);
    let mut served = Program(command.stderr(Stdio::null()).spawn().expect("the program starts"));
    let mut lines = BufReader::new(served.0.stdout.take().expect("is piped")).lines().map_while(Result::ok);
    let url = lines.find_map(|line| line.strip_prefix("listening on http://").map(str::to_owned)).expect("it listens");
    assert!(lines.any(|line| line.starts_with("ready in")), "it gets ready");
    let address: SocketAddr = url.trim_end_matches('/').parse().expect("an address");
    let mut client = Client::connect(address);
    let index = |wrong: i64| format!("Gather \"the_lookup\": index {wrong} does not exist in a dimension of size 5");
    for (body, code, expected) in [
        ("[1, 2]", "invalid_input", "input \"tokens\"".to_owned()),
        ("[[[1]]]", "invalid_input", "input \"tokens\"".to_owned()),
        ("[[1.5]]", "invalid_input", "input \"tokens\" at [0][0]".to_owned()),
        ("[[0, 5]]", "method_invalid_input", index(5)),
        ("[[0, -6]]", "method_invalid_input", index(-6)),
        ("[[9223372036854775807]]", "method_invalid_input", index(i64::MAX)),
        ("[[-9223372036854775808]]", "method_invalid_input", index(i64::MIN)),
    ] {
        let answer = client.post("/v1/runners/model/predict", body);
        answer.refused(400, code, &[&expected]);
        let answer = client.post("/v1/runners/model/predict", "[[4, -5]]");
        assert_eq!((answer.status, answer.text().trim()), (200, "[[[8.0,9.0],[0.0,1.0]]]"));
    }
    let runner = client.get("/v1/runners/model").json();
    assert_eq!((&runner["state"], &runner["restarts"]), (&"ready".into(), &0.into()), "{runner}");
}
