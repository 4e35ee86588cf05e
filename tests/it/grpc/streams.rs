//! `ModelStreamInfer`.

use ekiden::grpc::inference::*;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use super::{Grpc, counts, request, text, waits};
use crate::kit;
use crate::support::{Gate, Made, PATIENCE, eventually};

/// A stream that is open: what is sent on it, and what comes back.
struct Open<'a> {
    server: &'a Grpc,
    send: Option<mpsc::Sender<ModelInferRequest>>,
    answers: Streaming<ModelStreamInferResponse>,
}

impl<'a> Open<'a> {
    fn new(server: &'a Grpc) -> Self {
        let (send, requests) = mpsc::channel(16);
        let answers = server.ask(async |mut client| client.model_stream_infer(ReceiverStream::new(requests)).await);
        Self { server, send: Some(send), answers: answers.expect("a stream").into_inner() }
    }

    fn send(&self, request: ModelInferRequest) {
        self.send.as_ref().expect("it is open").blocking_send(request).expect("it is read");
    }

    /// The next answer: its id and its error; `None` at the end.
    fn next(&mut self) -> Option<(String, String)> {
        let answer =
            self.server.runtime.block_on(async { tokio::time::timeout(PATIENCE, self.answers.message()).await });
        let answer = answer.expect("in time").expect("no failure")?;
        Some((answer.infer_response.expect("which one it is").id, answer.error_message))
    }
}

fn ok(id: &str) -> Option<(String, String)> {
    Some((id.to_owned(), String::new()))
}

#[test]
fn answers_come_as_they_are_done_and_errors_among_them() {
    let gate = Gate::closed();
    let server = Grpc::start(&kit::app(&gate, |runner| runner));
    let mut open = Open::new(&server);
    open.send(text("held"));
    gate.wait_for_someone();
    let mut wrong = request("kit.i64", "x", "INT64", &[2], vec![0; 8]);
    wrong.id = "wrong".to_owned();
    open.send(wrong);
    let (id, error) = open.next().expect("an answer");
    assert_eq!(id, "wrong");
    assert!(error.contains("input \"x\""), "{error}");
    gate.open();
    assert_eq!(open.next(), ok("held"));
    open.send(text("after"));
    assert_eq!(open.next(), ok("after"), "the stream goes on");
    open.send = None;
    assert_eq!(open.next(), None, "it ends when all are answered");
}

#[test]
fn whoever_sends_no_more_is_answered_to_the_end() {
    let gate = Gate::closed();
    let server = Grpc::start(&kit::app(&gate, |runner| runner));
    let mut open = Open::new(&server);
    (0..10).for_each(|index| open.send(text(&index.to_string())));
    open.send = None;
    gate.wait_for_someone();
    gate.open();
    let mut ids: Vec<String> = std::iter::from_fn(|| open.next()).map(|(id, error)| id + &error).collect();
    ids.sort();
    assert_eq!(ids, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
}

#[test]
fn a_stream_that_is_dropped_cancels_its_calls() {
    let gate = Gate::closed();
    let app = kit::app(&gate, |runner| runner.set("max_queue_size", 2));
    let server = Grpc::start(&app);
    let method = app.runner("kit").expect("the runner").method::<String, String>("text").expect("the method");
    let plug = Made::held(method.async_run("first".to_owned()));
    gate.wait_for_someone();
    let open = Open::new(&server);
    open.send(text("gone"));
    open.send(text("gone too"));
    waits(&app, "text", 2);
    drop(open);
    let mut last = None;
    eventually("there is room again", || {
        last = Made::try_held(method.async_run("last".to_owned()));
        last.is_some()
    });
    gate.open();
    assert_eq!(plug.answer().as_deref(), Ok("FIRST"));
    assert_eq!(last.expect("it was taken").answer().as_deref(), Ok("LAST"));
    counts(&app, "text", "cancelled", 2.0);
    assert_eq!(gate.batches("text"), [1, 1], "the first and the last");
}

#[test]
fn a_stream_ends_when_the_server_has_finished() {
    let gate = Gate::closed();
    let mut server = Grpc::start(&kit::app(&gate, |runner| runner));
    let open = Open::new(&server);
    open.send(text("accepted"));
    gate.wait_for_someone();
    let Open { send, mut answers, .. } = open;
    server.begin_stop();
    gate.open();
    let (answer, end) = server.runtime.block_on(async { (answers.message().await, answers.message().await) });
    let answer = answer.expect("no failure").expect("an answer").infer_response.expect("which one it is");
    assert_eq!(answer.id, "accepted");
    assert_eq!(end.expect("no failure"), None);
    drop(send);
    server.wait();
}

#[test]
fn a_message_that_is_too_large_ends_the_stream() {
    let app = kit::app(&Gate::default(), |runner| runner);
    let server = Grpc::with(&app, ekiden::grpc::GrpcOptions { max_message_bytes: 100, ..super::options() });
    let mut open = Open::new(&server);
    open.send(text("small"));
    assert_eq!(open.next(), ok("small"));
    open.send(text(&"large".repeat(100)));
    let answer = server.runtime.block_on(open.answers.message());
    super::refused(answer, Code::ResourceExhausted, &["max_body_bytes = 100"]);
}
