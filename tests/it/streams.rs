//! Methods that answer with streams: what reaches the caller and when, and what becomes of the work when somebody goes.

use std::ops::ControlFlow;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ekiden::prelude::*;
use ekiden::value::{Value, Values};
use ekiden::{App, CallOptions};
use serde::Deserialize;

use crate::client::Client;
use crate::support::{ON_PURPOSE, PATIENCE, Server, block_on, eventually, hush_panics_on_purpose};

const WORDS: &str = "/v1/runners/reader/words";
const TEXT: (&str, &str) = ("content-type", "text/plain");

/// What a test and its runnable share: each chunk has to be allowed, and what happens is written down.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Script {
    #[serde(skip)]
    inner: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    allowed: usize,
    log: Vec<String>,
}

impl Script {
    fn allow(&self, chunks: usize) {
        self.state().allowed += chunks;
        self.inner.1.notify_all();
    }

    /// For the runnable: waits until one more chunk is allowed.
    fn take(&self) {
        let mut state = self.inner.1.wait_while(self.state(), |state| state.allowed == 0);
        state.as_deref_mut().unwrap_or_else(|_| panic!("the test has failed")).allowed -= 1;
    }

    fn say(&self, what: impl Into<String>) {
        self.state().log.push(what.into());
        self.inner.1.notify_all();
    }

    fn said(&self, what: &str) -> bool {
        self.state().log.iter().any(|said| said == what)
    }

    /// Waits until that has happened.
    #[track_caller]
    fn wait_for(&self, what: &str) {
        let missing = |state: &mut State| !state.log.iter().any(|said| said == what);
        let waited = self.inner.1.wait_timeout_while(self.state(), PATIENCE, missing);
        let (state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!waited.timed_out(), "there is no \"{what}\" in {:?}", state.log);
    }

    fn log(&self) -> Vec<String> {
        self.state().log.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says that a stream is over, however it ends.
struct Ends<'a>(&'a Script);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.say("over");
    }
}

/// Reads texts out, word by word.
struct Reader {
    script: Script,
}

impl Runnable for Reader {
    type Params = Script;

    fn open(ctx: &OpenContext<Script>) -> Result<Self, OpenError> {
        Ok(Self { script: ctx.params().clone() })
    }

    fn methods(methods: &mut Methods<Self>) {
        methods.add_stream("words", Self::words).input("text").output("word");
        methods.add_stream("endless", Self::endless).output("number");
        methods.add_stream("lengths", Self::lengths).input("text").output("word").output("length");
        methods.add_stream("bytes", Self::bytes);
        let spec = TensorSpec::f32("row", [Some(2)]);
        methods.add_stream("growing", Self::growing).output(spec);
        methods.add("length", |_: &Self, text: String| Ok(Json(text.len())));
    }
}

impl Reader {
    /// "panic" panics, "bad" is refused, and no words are no text.
    fn words(&self, text: String) -> Result<Chunks<'_, String>, MethodError> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        let Some(first) = words.first() else { return Err(MethodError::invalid_input("there are no words")) };
        self.script.say(format!("begins with {first}"));
        let ends = Ends(&self.script);
        Ok(Box::new(words.into_iter().map(move |word| {
            // All of it, so that it ends with the iterator.
            let ends = &ends;
            ends.0.take();
            ends.0.say(word.as_str());
            match word.as_str() {
                "panic" => panic!("{ON_PURPOSE}a word"),
                "bad" => Err(MethodError::invalid_input("a bad word")),
                _ => Ok(word),
            }
        })))
    }

    /// Numbers, each of them allowed by nobody.
    fn endless(&self) -> Result<Chunks<'_, Json<u64>>, MethodError> {
        self.script.say("begins");
        let ends = Ends(&self.script);
        Ok(Box::new((0..).map(move |number| {
            let _ends = &ends;
            Ok(Json(number))
        })))
    }

    fn lengths(&self, text: String) -> Result<Chunks<'_, (String, Tensor<1, Int>)>, MethodError> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        Ok(Box::new(words.into_iter().map(|word| {
            let length = Tensor::from_ints([word.len() as i32], &Device::flex());
            Ok((word, length))
        })))
    }

    fn bytes(&self, bytes: Bytes) -> Result<Chunks<'_, Bytes>, MethodError> {
        Ok(Box::new((0..bytes.len()).map(move |at| Ok(bytes.slice(at..=at)))))
    }

    /// A row of two, as is said, and one of three.
    fn growing(&self) -> Result<Chunks<'_, Tensor<1>>, MethodError> {
        Ok(Box::new((2..4).map(|size| Ok(Tensor::ones([size], &Device::flex())))))
    }
}

fn runner(script: &Script) -> Runner<Reader> {
    Runner::<Reader>::new(script.clone()).cpu(1.0).set("restart_backoff_ms", 0_u32)
}

fn app(script: &Script) -> App {
    block_on(App::builder().runner(runner(script)).start()).expect("the app starts")
}

fn words(app: &App) -> Method<String, String> {
    app.runner("reader").expect("the runner").method("words").expect("the method")
}

fn send(server: &Server, text: &str, headers: &[(&str, &str)]) -> Client {
    let mut client = server.client();
    client.send("POST", WORDS, &[&[TEXT], headers].concat(), text.as_bytes());
    client
}

fn calls(method: &str, outcome: &str) -> String {
    format!(r#"ekiden_calls_total{{runner="reader",method="{method}",outcome="{outcome}"}}"#)
}

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

/// Whoever reads slowly, or nothing, must not have an executor taken for stuck: two would end the runner.
#[test]
fn the_timeout_of_batches_is_not_for_streams() {
    let script = Script::default();
    let app = App::builder().runner(runner(&script).set("batch_timeout_ms", 50)).launch().expect("it launches");
    let entry = app.entry("reader").expect("it is there");
    let limit = |method: &str| entry.method(method).expect("a method").limits().batch_timeout;
    assert_eq!((limit("words"), limit("length")), (None, Some(Duration::from_millis(50))));
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
    client.send("POST", "/v1/runners/reader/endless", &[], b"{}");
    script.wait_for("begins");
    // After ten seconds in which there was no room for a chunk.
    assert_eq!(server.post("/v1/runners/reader/length", "\"four\"").text(), "4");
    assert!(script.said("over"));
    server.counts(&[(&calls("endless", "method_invalid_input"), 1.0)]);
    assert_eq!(client.receive_head().status, 200);
    let mut last = String::new();
    while let Some(chunk) = client.receive_chunk().filter(|chunk| !chunk.is_empty()) {
        last = chunk;
    }
    let error = "the reader of the stream was too slow: it has taken nothing for 10 s";
    assert!(last.starts_with("event: error\n") && last.contains(error), "{last}");
}

#[test]
fn a_stream_that_is_dropped_stops_between_two_chunks() {
    let script = Script::default();
    let app = app(&script);
    let server = Server::start(&app);
    let mut stream = words(&app).stream("one two three four".to_owned()).expect("it is taken");
    script.allow(1);
    assert_eq!(block_on(stream.next()), Some(Ok("one".to_owned())));
    drop(stream);
    script.allow(1);
    script.wait_for("over");
    assert_eq!(script.log(), ["begins with one", "one", "two", "over"]);
    server.counts(&[(&calls("words", "cancelled"), 1.0)]);
}

#[test]
fn a_stream_that_is_dropped_in_the_queue_never_runs() {
    let script = Script::default();
    let app = app(&script);
    let server = Server::start(&app);
    let words = words(&app);
    let running = words.stream("one".to_owned()).expect("it is taken");
    script.wait_for("begins with one");
    let waiting = words.stream("two".to_owned()).expect("it is taken");
    drop(waiting);
    let last = words.stream("three".to_owned()).expect("it is taken");
    script.allow(3);
    for (stream, word) in [(running, "one"), (last, "three")] {
        let chunks: Vec<_> = stream.blocking().expect("no runtime").collect();
        assert_eq!(chunks, [Ok(word.to_owned())]);
    }
    assert!(!script.said("begins with two"));
    server.counts(&[(&calls("words", "cancelled"), 1.0), (&calls("words", "ok"), 2.0)]);
}

#[test]
fn a_deadline_ends_a_stream_between_two_chunks_and_one_whose_chunks_never_cease() {
    let script = Script::default();
    let app = app(&script);
    let server = Server::start(&app);
    let late = |timeout| CallError::DeadlineExceeded { timeout, expected: None };
    script.allow(1);
    let timeout = Duration::from_secs(1);
    let mut stream = words(&app).timeout(timeout).stream("one two three".to_owned()).expect("it is taken");
    assert_eq!(block_on(stream.next()), Some(Ok("one".to_owned())));
    assert_eq!(block_on(stream.next()), Some(Err(late(timeout))));
    assert_eq!(block_on(stream.next()), None, "an error is the end");
    // Its thread finds out when it has made one more.
    assert!(!script.said("over"));
    script.allow(1);
    script.wait_for("over");
    assert!(!script.said("three"));

    let endless: Method<(), Json<u64>> =
        app.runner("reader").expect("the runner").method("endless").expect("the method");
    let timeout = Duration::from_millis(200);
    let stream = endless.timeout(timeout).stream(()).expect("it is taken").blocking().expect("no runtime");
    server.counts(&[(&calls("words", "deadline_exceeded"), 1.0), (&calls("endless", "deadline_exceeded"), 1.0)]);
    // What was there by then can be read, and no more.
    let mut chunks: Vec<_> = stream.collect();
    assert_eq!(chunks.pop(), Some(Err(late(timeout))));
    assert_eq!(chunks, (0..16).map(|number| Ok(Json(number))).collect::<Vec<_>>());
}

#[test]
fn a_panic_in_the_middle_is_told_and_not_retried() {
    hush_panics_on_purpose();
    let script = Script::default();
    let app = app(&script);
    let server = Server::start(&app);
    let words = words(&app);
    script.allow(3);
    let chunks: Vec<_> = words.stream("one panic".to_owned()).expect("it is taken").blocking().expect("none").collect();
    let crashed = CallError::Crashed("panicked: on purpose: a word".into());
    assert_eq!(chunks, [Ok("one".to_owned()), Err(crashed)]);
    script.wait_for("over");
    let chunks: Vec<_> = words.stream("two".to_owned()).expect("it is taken").blocking().expect("none").collect();
    assert_eq!(chunks, [Ok("two".to_owned())], "its runner has been rebuilt");
    assert_eq!(script.log(), ["begins with one", "one", "panic", "over", "begins with two", "two", "over"]);
    server.counts(&[
        (&calls("words", "crashed"), 1.0),
        (&calls("words", "ok"), 1.0),
        (r#"ekiden_executor_restarts_total{runner="reader"}"#, 1.0),
    ]);
}

#[test]
fn a_graceful_stop_finishes_streams_and_without_grace_they_are_broken_off() {
    let script = Script::default();
    let app_one = app(&script);
    let mut server = Server::start(&app_one);
    let mut client = send(&server, "one two", &[]);
    script.allow(1);
    assert_eq!(client.receive_head().status, 200);
    assert_eq!(client.receive_chunk().as_deref(), Some("data: \"one\"\n\n"));
    server.begin_stop();
    eventually("it drains", || app_one.runners()[0].status().state.name() == "draining");
    script.allow(1);
    assert_eq!(client.receive_chunk().as_deref(), Some("data: \"two\"\n\n"));
    assert_eq!(client.receive_chunk().as_deref(), Some("event: done\ndata: {}\n\n"));
    server.wait();

    let script = Script::default();
    let app = app(&script);
    let mut stream = words(&app).stream("one two three".to_owned()).expect("it is taken");
    script.allow(1);
    assert_eq!(block_on(stream.next()), Some(Ok("one".to_owned())));
    block_on(app.shutdown(Duration::ZERO));
    let next = block_on(stream.next());
    assert!(matches!(next, Some(Err(CallError::Unavailable { .. }))), "{next:?}");
    script.allow(1);
    script.wait_for("over");
    assert!(!script.said("three"));
}

#[test]
fn a_stream_holds_its_executor_until_it_ends() {
    let script = Script::default();
    let app = app(&script);
    let server = Server::start(&app);
    let mut stream = words(&app).stream("one two".to_owned()).expect("it is taken");
    script.allow(1);
    assert_eq!(block_on(stream.next()), Some(Ok("one".to_owned())));
    let length = app.entry("reader").and_then(|runner| runner.method("length").cloned()).expect("the method");
    let inputs = Values::from_iter([Value::Text("four".to_owned())]);
    let mut waiting = Box::pin(length.async_run(inputs, CallOptions::default()));
    let mut poll = || waiting.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    assert!(poll().is_pending());
    assert_eq!(length.queued_rows(), 1);
    script.allow(1);
    assert_eq!(block_on(stream.next()), Some(Ok("two".to_owned())));
    assert_eq!(block_on(stream.next()), None);
    assert_eq!(block_on(waiting), Ok(Values::from_iter([Value::Json(4.into())])));
    server.counts(&[(&calls("words", "ok"), 1.0)]);
}

#[test]
fn a_method_is_called_as_it_answers() {
    let script = Script::default();
    let app = app(&script);
    let streaming = words(&app);
    let refused = |error: CallError, part: &str| {
        assert!(matches!(&error, CallError::InvalidInput(message) if message.contains(part)), "{error:?}");
    };
    refused(streaming.run("one".to_owned()).expect_err("it streams"), "\"words\" answers with a stream");
    let length: Method<String, Json<usize>> =
        app.runner("reader").expect("the runner").method("length").expect("the method");
    let error = length.stream("one".to_owned()).map(drop).expect_err("it does not stream");
    refused(error, "\"length\" does not answer with a stream");
    let inside = block_on(async { streaming.stream("one".to_owned()).and_then(|stream| stream.blocking().map(drop)) });
    assert_eq!(inside, Err(CallError::InsideRuntime));
}

#[test]
fn a_local_runner_streams_too() {
    let script = Script::default();
    script.allow(3);
    let local = runner(&script).init_local().expect("it opens");
    let words = local.method("words").expect("the method");
    let mut chunks: Vec<String> = Vec::new();
    let streamed = words.stream("one two three".to_owned(), |chunk: String| {
        chunks.push(chunk);
        if chunks.len() < 2 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    assert_eq!((streamed, chunks), (Ok(()), vec!["one".to_owned(), "two".to_owned()]));
    assert_eq!(script.log(), ["begins with one", "one", "two", "over"]);
    let failed = words.stream("bad".to_owned(), |_: String| ControlFlow::Continue(()));
    assert_eq!(failed, Err(CallError::Method(MethodError::invalid_input("a bad word"))));
    let error = words.run::<_, String>("one".to_owned()).expect_err("it streams");
    assert!(error.to_string().contains("answers with a stream"), "{error}");
}
