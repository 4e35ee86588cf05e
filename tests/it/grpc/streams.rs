//! `ModelStreamInfer`.

use ekiden::grpc::inference::infer_parameter::ParameterChoice;
use ekiden::grpc::inference::*;
use ekiden::prelude::*;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use super::{Grpc, bytes, counts, refused, request, text};
use crate::kit;
use crate::support::{Gate, PATIENCE, block_on};

/// Counts, from 0, and passes the gate before each number.
struct Counter {
    gate: Gate,
}

impl Runnable for Counter {
    type Params = Gate;

    fn open(ctx: &OpenContext<Gate>) -> Result<Self, OpenError> {
        Ok(Self { gate: ctx.params().clone() })
    }

    fn methods(methods: &mut Methods<Self>) {
        methods.add_stream("count", Self::count).input("end").output("number");
    }
}

impl Counter {
    /// To the end, or for ever; on the way to 5 it fails.
    fn count(&self, end: String) -> Result<Chunks<'_, String>, MethodError> {
        let end = end.parse().unwrap_or(usize::MAX);
        Ok(Box::new((0..end).map(move |number| {
            self.gate.pass("count", 1);
            if (end, number) == (5, 3) { Err(MethodError::failed("three is too much")) } else { Ok(number.to_string()) }
        })))
    }
}

fn counter(gate: &Gate) -> App {
    let runner = Runner::<Counter>::new(gate.clone()).name("kit").cpu(1.0);
    block_on(App::builder().runner(runner).start()).expect("the app starts")
}

fn count(end: &str, wants_end: bool) -> ModelInferRequest {
    let mut request = request("kit", "end", "BYTES", &[1], bytes(&[end]));
    request.id = end.to_owned();
    let choice = ParameterChoice::BoolParam(wants_end);
    let parameter = InferParameter { parameter_choice: Some(choice) };
    request.parameters.insert("triton_enable_empty_final_response".to_owned(), parameter);
    request
}

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
    kit::check_leaving(&app, &gate, || {
        let open = Open::new(&server);
        open.send(text("gone"));
        open.send(text("gone too"));
        kit::waits(&app, "text", 2);
    });
    counts(&app, "text", "cancelled", 2.0);
}

#[test]
fn a_method_that_streams_has_many_answers() {
    let app = counter(&Gate::default());
    let server = Grpc::start(&app);
    refused(server.infer(count("2", false)), Code::InvalidArgument, &["model \"kit\"", "ModelStreamInfer"]);
    let mut open = Open::new(&server);
    let next = |open: &mut Open<'_>| {
        let answer = server.runtime.block_on(open.answers.message()).expect("no failure").expect("an answer");
        let response = answer.infer_response.expect("which one it is");
        let last = response.parameters.get("triton_final_response").and_then(|last| last.parameter_choice.clone());
        let raw = response.raw_output_contents.first().map(|raw| raw.to_vec());
        (response.id, raw, last == Some(ParameterChoice::BoolParam(true)), answer.error_message)
    };
    let number = |id: &str, number: &str| (id.to_owned(), Some(bytes(&[number])), false, String::new());
    open.send(count("2", false));
    assert_eq!([next(&mut open), next(&mut open)], [number("2", "0"), number("2", "1")]);
    open.send(count("1", true));
    let end = ("1".to_owned(), None, true, String::new());
    assert_eq!([next(&mut open), next(&mut open)], [number("1", "0"), end]);
    open.send(count("5", true));
    assert_eq!([next(&mut open), next(&mut open), next(&mut open)].map(|answer| answer.3), [""; 3]);
    assert_eq!(next(&mut open), ("5".to_owned(), None, false, "three is too much".to_owned()));
    open.send = None;
    assert_eq!(open.next(), None);
}

#[test]
fn whoever_leaves_a_stream_stops_the_method() {
    let gate = Gate::closed();
    let app = counter(&gate);
    let server = Grpc::start(&app);
    let open = Open::new(&server);
    open.send(count("for ever", false));
    gate.wait_for_someone();
    drop(open);
    // Some numbers may be made before the server hears of it; it would count for ever.
    gate.open();
    counts(&app, "count", "cancelled", 1.0);
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
    refused(answer, Code::ResourceExhausted, &["max_body_bytes = 100"]);
}
