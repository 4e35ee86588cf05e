//! Forms of several parts.

use ekiden::service::{
    ApiError, Columns, File, Json, Limits, Multipart, MultipartAnswer, NdArray, Service, Text, form,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Running, built};
use crate::client::Response;
use crate::http::iris;

#[derive(Deserialize, ToSchema)]
struct Options {
    times: usize,
}

form! {
    struct Upload {
        flowers: NdArray<f32, Columns<2>>,
        options: Json<Options>,
        caption: Option<Text>,
        files: Vec<File>,
    }
}

#[derive(Serialize, ToSchema)]
struct Received {
    rows: usize,
    times: usize,
    caption: Option<String>,
    files: Vec<(Option<String>, Option<String>, usize)>,
}

async fn upload(Multipart(upload): Multipart<Upload>) -> Json<Received> {
    let file = |file: File| (file.name, file.media_type, file.bytes.len());
    Json(Received {
        rows: upload.flowers.dims()[0],
        times: upload.options.0.times,
        caption: upload.caption.map(|Text(caption)| caption),
        files: upload.files.into_iter().map(file).collect(),
    })
}

const FLOWERS: (&str, &str, &str) = ("flowers", "application/json", "[[1,2],[3,4]]");
const OPTIONS: (&str, &str, &str) = ("options", "application/json", "{\"times\":3}");

fn serving(limits: Limits) -> Running {
    Running::start(&built(Service::builder(&iris()).post("/upload", upload).limits(limits)))
}

/// Sends parts, each by its name (with a file's, after a `;`), media type and content.
fn send(running: &Running, parts: &[(&str, &str, &str)]) -> Response {
    let mut body = String::new();
    for (name, media_type, content) in parts {
        let (name, file) = name.split_once(';').unwrap_or((name, ""));
        let file = if file.is_empty() { String::new() } else { format!("; filename=\"{file}\"") };
        body.push_str(&format!("--edge\r\ncontent-disposition: form-data; name=\"{name}\"{file}\r\n"));
        body.push_str(&format!("content-type: {media_type}\r\n\r\n{content}\r\n"));
    }
    body.push_str("--edge--\r\n");
    running.post("/upload", &[("content-type", "multipart/form-data; boundary=edge")], body.as_bytes())
}

#[test]
fn forms_are_taken_apart() {
    let running = serving(Limits::default());
    let least = send(&running, &[FLOWERS, OPTIONS]);
    assert_eq!(least.text(), r#"{"rows":2,"times":3,"caption":null,"files":[]}"#);
    let large = "x".repeat(100_000);
    let files = [("files;a.txt", "text/plain", "abc"), ("files;b.bin", "application/octet-stream", large.as_str())];
    let all = send(&running, &[files[0], OPTIONS, ("caption", "text/plain", "hi"), FLOWERS, files[1]]);
    let expected = r#"{"rows":2,"times":3,"caption":"hi","files":[["a.txt","text/plain",3],["b.bin","application/octet-stream",100000]]}"#;
    assert_eq!(all.text(), expected);
}

#[test]
fn parts_are_refused_by_name() {
    let running = serving(Limits { max_part_bytes: 1000, max_parts: 4, ..Limits::default() });
    let check = |parts: &[(&str, &str, &str)], status, code: &str, part: &str| {
        send(&running, parts).refused(status, code, &["POST /upload: ", part]);
    };
    check(&[FLOWERS], 400, "invalid_input", "part \"options\" is missing");
    check(&[FLOWERS, OPTIONS, FLOWERS], 400, "invalid_input", "part \"flowers\": expected once, found 2 times");
    let unknown = ("captain", "text/plain", "hi");
    check(
        &[FLOWERS, OPTIONS, unknown],
        400,
        "invalid_input",
        "there is no part \"captain\"; did you mean \"caption\"?",
    );
    check(&[FLOWERS, unknown], 400, "invalid_input", "there is no part \"captain\"");
    let narrow = ("flowers", "application/json", "[[1]]");
    check(
        &[narrow, OPTIONS],
        400,
        "invalid_input",
        "input \"flowers\": expected float32 [any, 2], found float32 [1, 1]",
    );
    let text = ("flowers", "text/plain", "1,2");
    check(&[text, OPTIONS], 415, "unsupported_media_type", "input \"flowers\": expected content-type application/json");
    let large = "x".repeat(1001);
    let large = ("files", "text/plain", large.as_str());
    check(
        &[FLOWERS, OPTIONS, large],
        413,
        "too_large",
        "input \"files\": the part is larger than max_part_bytes = 1000",
    );
    let file = ("files", "text/plain", "x");
    check(&[FLOWERS, OPTIONS, file, file, file], 413, "too_large", "more than max_parts = 4 parts");

    let json = running.post("/upload", &[("content-type", "application/json")], b"{}");
    json.refused(415, "unsupported_media_type", &["expected content-type multipart/form-data"]);
    let edgeless = running.post("/upload", &[("content-type", "multipart/form-data")], b"--edge--");
    edgeless.refused(400, "invalid_input", &["the form cannot be read: Multipart boundary is not found"]);
    let form = ("content-type", "multipart/form-data; boundary=edge");
    let cut = running.post("/upload", &[form], b"--edge\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\nx");
    cut.refused(400, "invalid_input", &["the form cannot be read"]);
}

async fn parts() -> Result<MultipartAnswer, ApiError> {
    let file = File::new("text/plain", "a\r\n--b").named("a\"b.txt");
    MultipartAnswer::new().part("numbers", Json([1, 2]))?.part("file", file)
}

#[test]
fn answers_have_parts() {
    let running = Running::start(&built(Service::builder(&iris()).get("/parts", parts)));
    let answer = running.client().get("/parts");
    let edge = answer.header("content-type").and_then(|said| said.strip_prefix("multipart/form-data; boundary="));
    let edge = edge.expect("a boundary");
    let expected = format!(
        "--{edge}\r\ncontent-disposition: form-data; name=\"numbers\"\r\ncontent-type: application/json\r\n\r\n[1,2]\r\n\
         --{edge}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a%22b.txt\"\r\n\
         content-type: text/plain\r\n\r\na\r\n--b\r\n--{edge}--\r\n"
    );
    assert_eq!(answer.text(), expected);
}

#[test]
fn forms_describe_themselves() {
    let service = built(Service::builder(&iris()).post("/upload", upload));
    let document: serde_json::Value =
        serde_json::from_str(&service.openapi().to_json().expect("a document")).expect("JSON");
    let form = &document["paths"]["/upload"]["post"]["requestBody"]["content"]["multipart/form-data"];
    assert_eq!(form["schema"]["required"], serde_json::json!(["flowers", "options"]));
    assert_eq!(form["schema"]["properties"]["files"]["type"], "array");
    assert_eq!(form["encoding"]["flowers"]["contentType"], "application/json, application/x-npy");
}
