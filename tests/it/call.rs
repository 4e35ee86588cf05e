//! `ekiden call`: the program against servers.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use ekiden::prelude::*;
use ekiden::value::Array;

use crate::bench::{Served, ekiden};
use crate::http::npy_body;
use crate::kit;
use crate::support::{Gate, Server, block_on};

/// A folder of this test's own, removed with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("ekiden-it-call-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        Self(folder)
    }

    /// The path of a file with this content.
    fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, content).expect("is written");
        path.to_str().expect("a path in UTF-8").to_owned()
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.0.join(name)).expect("is there")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Calls with what standard input holds.
fn call(url: &str, arguments: &[&str], input: &[u8]) -> Output {
    let mut command = ekiden();
    command.arg("call").args(arguments).args(["--url", url]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    // One that reads nothing may have gone already.
    let _ = child.stdin.take().expect("is piped").write_all(input);
    child.wait_with_output().expect("the program ends")
}

#[track_caller]
fn answered(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("is text")
}

#[track_caller]
fn refused(output: Output, code: i32, parts: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for part in parts {
        assert!(said.contains(part), "`{part}` is not in `{said}`");
    }
}

const FLOWERS: &str = "[[5.1,3.5,1.4,0.2],[6.7,3.0,5.2,2.3]]";

#[test]
fn an_answer_is_a_table() {
    let server = Served::start();
    let iris = ["iris_clf", "predict"];
    let folder = Folder::new("table");
    let call = |more: &[&str], input: &str| call(&server.url, &[&iris, more].concat(), input.as_bytes());

    let table = answered(call(&["--data", FLOWERS], ""));
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 5, "{table}");
    assert_eq!(lines[..2], ["probabilities: float32 [2, 3]", ""]);
    let cells = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(cells(lines[2]), ["ROW", "probabilities[0]", "probabilities[1]", "probabilities[2]"]);
    let rows = [cells(lines[3]), cells(lines[4])];
    assert!(rows[0][0] == "0" && rows[0][1].starts_with("0.9999") && rows[1][3].starts_with("0.9"), "{table}");

    // The same, however it comes.
    let csv = folder
        .file("flowers.csv", b"sepal_length,sepal_width,petal_length,petal_width\n5.1,3.5,1.4,0.2\n6.7,3,5.2,2.3\n");
    assert_eq!(answered(call(&["--file", &csv], "")), table);
    let flowers = Array::new(vec![5.1_f32, 3.5, 1.4, 0.2, 6.7, 3.0, 5.2, 2.3], [2, 4]).expect("an array");
    let npy = folder.file("flowers.npy", &npy_body(flowers));
    assert_eq!(answered(call(&["--file", &npy, "--priority", "high", "--timeout", "60000"], "")), table);
    let json = folder.file("flowers.json", FLOWERS.as_bytes());
    assert_eq!(answered(call(&["--file", &json], "")), table);
    assert_eq!(answered(call(&["--data", "-"], FLOWERS)), table);
    assert_eq!(answered(call(&["--file", "-"], &format!("{{\"features\": {FLOWERS}}}"))), table);

    let json = answered(call(&["--data", FLOWERS, "--output", "json"], ""));
    let json: serde_json::Value = serde_json::from_str(&json).expect("is JSON");
    assert_eq!((json.as_array().map(Vec::len), json[0].as_array().map(Vec::len)), (Some(2), Some(3)));
    let out = folder.0.join("probabilities.npy");
    let said = answered(call(&["--data", FLOWERS, "-o", out.to_str().expect("UTF-8")], ""));
    let npy = folder.read("probabilities.npy");
    assert!(npy.starts_with(b"\x93NUMPY") && said.contains(&format!("{} bytes", npy.len())), "{said}");
    let npy_again = call(&["--data", FLOWERS, "--output", "npy"], "");
    assert_eq!(npy_again.stdout, npy);
}

#[test]
fn each_kind_of_input_has_its_way() {
    let server = Server::start(&kit::app(&Gate::default(), |runner| runner));
    let url = format!("http://{}", server.address);
    let folder = Folder::new("kinds");
    let kit = |method: &str, more: &[&str], input: &[u8]| call(&url, &[&["kit", method], more].concat(), input);
    assert_eq!(answered(kit("text", &["--data", "[hi]"], b"")), "output: [HI]\n");
    assert_eq!(answered(kit("text", &["--file", &folder.file("x.txt", b"hi")], b"")), "output: HI\n");
    assert_eq!(answered(kit("list", &["--data", "hello"], b"")), "output: list of 1\n\nROW  output\n  0       5\n");
    assert_eq!(answered(kit("nothing", &[], b"")), "output: something\n");
    // Raw bytes go on to whatever reads them, or into a file.
    let bytes = kit("bytes", &["--file", "-"], b"\x00\xff\x01\xfe");
    assert_eq!(bytes.stdout, b"\x01\xfe");
    let (png, out) = (folder.file("x.png", b"\x89PNG"), folder.0.join("half.png"));
    answered(kit("bytes", &["--file", &png, "-o", out.to_str().expect("UTF-8")], b""));
    assert_eq!(folder.read("half.png"), b"NG");
    assert_eq!(
        answered(kit("bytes", &["--file", &png, "--output", "table"], b"")),
        "2 bytes of application/octet-stream: -o FILE keeps them\n"
    );
    // What goes to a file is written, or refused.
    let named = folder.0.join("half.json");
    answered(kit("bytes", &["--file", &png, "-o", named.to_str().expect("UTF-8")], b""));
    assert_eq!(folder.read("half.json"), b"NG");
    for asked in ["json", "table"] {
        let unwritten = kit("bytes", &["--file", &png, "--output", asked, "-o", "nowhere"], b"");
        refused(unwritten, 2, &["is for JSON, and bytes answers with application/octet-stream"]);
    }
    let mixed = r#"{"x": [[2], [3]], "n": [3, 1], "words": ["hi", "you"]}"#;
    let table = answered(kit("mixed", &["--data", mixed], b""));
    let expected = "ROW  lengths  scaled[0]  words\n  0        2        6.0  hi\n  1        3        3.0  you\n";
    assert!(table.ends_with(expected), "{table}");
}

/// Says the words of a text; at "stop", it fails.
struct Speaker;

impl Runnable for Speaker {
    type Params = ();

    fn open(_: &OpenContext<()>) -> Result<Self, OpenError> {
        Ok(Self)
    }

    fn methods(methods: &mut Methods<Self>) {
        methods.add_stream("say", Self::say).input("text").output("word");
        methods.add_stream("spell", Self::spell).input("text").output("letters");
    }
}

impl Speaker {
    fn say(&self, text: String) -> Result<Chunks<'_, String>, MethodError> {
        let words: Vec<String> = text.split_whitespace().map(|word| format!(" {word}")).collect();
        let word = |word: String| if word == " stop" { Err(MethodError::failed("no more")) } else { Ok(word) };
        Ok(Box::new(words.into_iter().map(word)))
    }

    fn spell(&self, text: String) -> Result<Chunks<'_, Json<Vec<char>>>, MethodError> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        Ok(Box::new(words.into_iter().map(|word| Ok(Json(word.chars().collect())))))
    }
}

#[test]
fn a_stream_is_shown_to_its_end() {
    let runner = Runner::<Speaker>::new(()).name("speaker").cpu(1.0);
    let server = Server::start(&block_on(App::builder().runner(runner).start()).expect("the app starts"));
    let url = format!("http://{}", server.address);
    let folder = Folder::new("stream");
    let speaker = |arguments: &[&str]| call(&url, &[&["speaker"], arguments].concat(), b"");
    assert_eq!(answered(speaker(&["say", "--data", "some words"])), " some words\n");
    assert_eq!(answered(speaker(&["say", "--data", "some words", "--output", "json"])), "\" some\"\n\" words\"\n");
    assert_eq!(answered(speaker(&["spell", "--data", "a bc"])), "[\"a\"]\n[\"b\",\"c\"]\n");
    let file = folder.0.join("words.txt");
    answered(speaker(&["say", "--data", "some words", "-o", file.to_str().expect("UTF-8")]));
    assert_eq!(folder.read("words.txt"), b" some words");
    let broken = speaker(&["say", "--data", "some stop words"]);
    assert_eq!(broken.stdout, b" some\n");
    refused(broken, 1, &["speaker.say: broken off, method_failed: no more"]);
    refused(speaker(&["say", "--data", "some", "--output", "npy"]), 2, &["answers with a stream"]);
    let document = server.get("/docs.json").json();
    let say = &document["paths"]["/v1/runners/speaker/say"]["post"]["responses"]["200"]["content"];
    assert_eq!(say["text/event-stream"], serde_json::json!({}), "lines of events are no value with a schema");
    // The protocol over HTTP has one answer to a request.
    let input = serde_json::json!({"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a"]});
    let body = serde_json::json!({"inputs": [input]}).to_string();
    let answer = server.client().post("/v2/models/speaker.say/infer", &body);
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("ModelStreamInfer, or POST to /v1/runners/speaker/say"), "{}", answer.text());
}

#[test]
fn what_cannot_be_called_is_said() {
    let server = Served::start();
    let iris = |arguments: &[&str]| call(&server.url, &[&["iris_clf"], arguments].concat(), b"");
    refused(iris(&["predict"]), 2, &["predict takes features: float32 [any, 4]", "--data '[[5.1,3.5,1.4,0.2]]'"]);
    refused(iris(&["predit", "--data", "[]"]), 1, &["no method predit; it has: predict"]);
    refused(
        iris(&["predict", "--data", "[[1]]"]),
        1,
        &["iris_clf.predict answered 400, invalid_input: input \"features\": expected float32 [any, 4]"],
    );
    refused(iris(&["predict", "--data", "[]", "--content-type", "text/csv"]), 1, &["415, unsupported_media_type"]);
    refused(iris(&["predict", "--file", "nowhere.json"]), 2, &["--file nowhere.json: "]);
    refused(iris(&["predict", "--data", "[]", "--file", "x"]), 2, &["cannot be used with"]);
    refused(iris(&["predict", "--data", "[]", "--timeout", "0"]), 2, &["--timeout"]);
    refused(call(&server.url, &["iris", "predict", "--data", "[]"], b""), 1, &["did you mean \"iris_clf\"?"]);
    refused(call("http://127.0.0.1:1", &["a", "b"], b""), 1, &["is the server running?"]);
    refused(call("https://x", &["a", "b"], b""), 2, &["begins with http://"]);

    let kit = Server::start(&kit::app(&Gate::default(), |runner| runner));
    let url = format!("http://{}", kit.address);
    refused(
        call(&url, &["kit", "text", "--data", "x", "--output", "npy"], b""),
        2,
        &["--output npy is for one tensor"],
    );
    let folder = Folder::new("refused");
    let csv = folder.file("x.csv", b"a,b\n1,two\n");
    refused(call(&url, &["kit", "rank2", "--file", &csv], b""), 2, &["line 2, column 2: expected a number"]);
}
