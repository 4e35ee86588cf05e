//! What a client of HTTP gets of a stream, and when.

use super::{Script, TEXT, WORDS, app, calls, send};
use crate::support::Server;

#[test]
fn chunks_reach_a_client_before_the_stream_has_ended() {
    let script = Script::default();
    let server = Server::start(&app(&script));
    let mut client = send(&server, "ready steady go", &[]);
    script.allow(1);
    let head = client.receive_head();
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
    assert_eq!((head.header("transfer-encoding"), head.header("content-length")), (Some("chunked"), None));
    assert!(head.header("x-request-id").is_some());
    assert_eq!(client.receive_chunk().as_deref(), Some("data: \"ready\"\n\n"));
    assert_eq!(script.log(), ["begins with ready", "ready"], "the rest has not been made");
    script.allow(1);
    assert_eq!(client.receive_chunk().as_deref(), Some("data: \"steady\"\n\n"));
    script.allow(1);
    assert_eq!(client.receive_chunk().as_deref(), Some("data: \"go\"\n\n"));
    assert_eq!(client.receive_chunk().as_deref(), Some("event: done\ndata: {}\n\n"));
    assert_eq!(client.receive_chunk().as_deref(), Some(""));
    assert_eq!(client.post("/v1/runners/reader/length", "\"four\"").text(), "4", "the connection is kept");
    server.counts(&[(&calls("words", "ok"), 1.0)]);

    let about = client.get("/v1/runners/reader").json();
    let streams = |name: &str| {
        let methods = about["methods"].as_array().expect("methods");
        methods.iter().find(|method| method["name"] == name).expect("the method").get("stream").cloned()
    };
    assert_eq!((streams("words"), streams("length")), (Some(true.into()), None));
}

#[test]
fn the_document_says_how_chunks_come() {
    let server = Server::start(&app(&Script::default()));
    let document = server.get("/docs.json").json();
    let check = |method: &str, expected: &[&str]| {
        let answer = &document["paths"][format!("/v1/runners/reader/{method}")]["post"]["responses"]["200"];
        let types: Vec<&String> = answer["content"].as_object().expect("media types").keys().collect();
        assert_eq!(types, expected, "{method}");
    };
    check("words", &["text/event-stream", "text/plain"]);
    check("lengths", &["text/event-stream"]);
    check("bytes", &["application/octet-stream"]);
    check("length", &["application/json"]);
}

#[test]
fn texts_and_bytes_come_as_they_are() {
    let script = Script::default();
    let server = Server::start(&app(&script));
    let mut client = send(&server, "ready go", &[("accept", "text/plain")]);
    script.allow(2);
    let head = client.receive_head();
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/plain; charset=utf-8")));
    let mut text = String::new();
    while let Some(chunk) = client.receive_chunk().filter(|chunk| !chunk.is_empty()) {
        text.push_str(&chunk);
    }
    assert_eq!(text, "readygo");

    // What cannot be told in the text is told by breaking it off.
    let mut client = send(&server, "ready bad", &[("accept", "text/plain")]);
    script.allow(1);
    assert_eq!(client.receive_head().status, 200);
    assert_eq!(client.receive_chunk().as_deref(), Some("ready"));
    script.allow(1);
    assert_eq!(client.receive_chunk(), None, "there is no end");

    client = server.client();
    client.send("POST", "/v1/runners/reader/bytes", &[("content-type", "application/octet-stream")], b"ab");
    assert_eq!(client.receive_head().header("content-type"), Some("application/octet-stream"));
    let chunks: String = std::iter::from_fn(|| client.receive_chunk().filter(|chunk| !chunk.is_empty())).collect();
    assert_eq!(chunks, "ab");

    client.send("POST", "/v1/runners/reader/lengths", &[TEXT], b"go");
    assert_eq!(client.receive_head().status, 200);
    assert_eq!(client.receive_chunk().as_deref(), Some("data: {\"word\":\"go\",\"length\":[2]}\n\n"));
}

#[test]
fn what_fails_before_the_first_chunk_is_an_answer_and_later_an_event() {
    let script = Script::default();
    let server = Server::start(&app(&script));
    let mut client = send(&server, " ", &[]);
    client.receive().refused(400, "method_invalid_input", &["there are no words"]);
    client.request("POST", WORDS, &[], b"[1]").refused(400, "invalid_input", &["\"text\""]);
    script.allow(1);
    client.request("POST", WORDS, &[TEXT], b"bad").refused(400, "method_invalid_input", &["a bad word"]);

    client.send("POST", WORDS, &[TEXT], b"good bad never");
    script.allow(2);
    assert_eq!(client.receive_head().status, 200);
    assert_eq!(client.receive_chunk().as_deref(), Some("data: \"good\"\n\n"));
    let error = "event: error\ndata: {\"error\":\"a bad word\",\"code\":\"method_invalid_input\"}\n\n";
    assert_eq!(client.receive_chunk().as_deref(), Some(error));
    assert_eq!(client.receive_chunk().as_deref(), Some(""), "an error is the end");
    assert!(!script.said("never"));

    client.send("POST", "/v1/runners/reader/growing", &[], b"{}");
    assert_eq!(client.receive_head().status, 200);
    assert_eq!(client.receive_chunk().as_deref(), Some("data: [1.0,1.0]\n\n"));
    let event = client.receive_chunk().expect("an event");
    let wrong =
        "chunk 2 of the runnable's stream has a wrong output \\\"row\\\": expected float32 [2], found float32 [3]";
    assert!(event.starts_with("event: error\n") && event.contains(wrong), "{event}");
    server.counts(&[
        (&calls("words", "method_invalid_input"), 3.0),
        (&calls("words", "invalid_input"), 1.0),
        (&calls("growing", "method_failed"), 1.0),
    ]);
}

#[test]
fn a_client_that_hangs_up_stops_the_work() {
    let script = Script::default();
    let server = Server::start(&app(&script));
    let mut client = server.client();
    client.send("POST", "/v1/runners/reader/endless", &[], b"{}");
    assert_eq!(client.receive_head().status, 200);
    assert!(client.receive_chunk().is_some_and(|chunk| chunk.starts_with("data: 0\n\n")));
    assert!(!script.said("over"));
    drop(client);
    script.wait_for("over");
    server.counts(&[(&calls("endless", "cancelled"), 1.0)]);
    assert_eq!(server.post("/v1/runners/reader/length", "\"four\"").text(), "4", "the executor is free");
}

#[test]
fn a_client_that_stays_and_reads_nothing_gives_its_executor_back() {
    let script = Script::default();
    let server = Server::start(&app(&script));
    let mut client = server.client();
    client.send("POST", "/v1/runners/reader/hasty", &[], b"{}");
    script.wait_for("begins");
    // After 50 ms in which there was no room for a chunk.
    assert_eq!(server.post("/v1/runners/reader/length", "\"four\"").text(), "4");
    assert!(script.said("over"));
    server.counts(&[(&calls("hasty", "method_invalid_input"), 1.0)]);
    assert_eq!(client.receive_head().status, 200);
    let mut last = String::new();
    while let Some(chunk) = client.receive_chunk().filter(|chunk| !chunk.is_empty()) {
        last = chunk;
    }
    let error = "the reader of the stream was too slow: it has taken nothing for 0.05 s";
    assert!(last.starts_with("event: error\n") && last.contains(error), "{last}");
}
