//! Large messages, compressed ones, full queues and deadlines.

use std::time::Duration;

use ekiden::grpc::GrpcOptions;
use ekiden::grpc::inference::*;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Request};

use super::{Grpc, block_on_in, bytes, counted, options, refused, request, text, whole};
use crate::kit::{self, waits};
use crate::support::{Gate, Made, eventually};

/// A tensor that needs so many bytes.
fn zeros(bytes: usize) -> ModelInferRequest {
    request("kit.u8", "x", "UINT8", &[bytes as i64], vec![0; bytes])
}

#[test]
fn messages_may_be_as_large_as_the_server_takes() {
    let app = kit::app(&Gate::default(), |runner| runner.set("max_batch_size", 100_000_000));
    let server = Grpc::with(&app, GrpcOptions { max_message_bytes: 32 << 20, ..options() });
    // More than the 4 MiB that gRPC takes where nothing else is said.
    let answer = server.infer(zeros(20 << 20)).expect("an answer");
    assert!(answer.raw_output_contents[0].iter().all(|&byte| byte == 1), "all are one more");
    assert_eq!(answer.raw_output_contents[0].len(), 20 << 20);
    let too_large = refused(server.infer(zeros(33 << 20)), Code::ResourceExhausted, &["max_body_bytes = 33554432"]);
    assert!(!too_large.details().is_empty(), "{too_large:?}");
    // Small when zipped: what counts is what it becomes.
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Deflate] {
        let bomb = server.ask(async |client| client.send_compressed(encoding).model_infer(zeros(33 << 20)).await);
        refused(bomb, Code::ResourceExhausted, &["33554432 bytes"]);
    }
    server.infer(zeros(1)).expect("the server goes on");
}

#[test]
fn messages_of_very_many_parts_are_refused() {
    let server = Grpc::start(&kit::app(&Gate::default(), |runner| runner));
    let inputs = vec![model_infer_request::InferInputTensor::default(); 1 << 20];
    let bomb = ModelInferRequest { inputs, ..request("kit.text", "x", "BYTES", &[1], "") };
    let answer = server.ask(async |client| client.send_compressed(CompressionEncoding::Gzip).model_infer(bomb).await);
    let refusal = refused(answer, Code::InvalidArgument, &["a request can have 4096 inputs, found more"]);
    assert!(!refusal.details().is_empty(), "{refusal:?}");
}

#[test]
fn messages_that_are_inflated_hold_only_so_much_together() {
    let (gate, large) = (Gate::closed(), "x".repeat(1_000_000));
    let app = kit::app(&gate, |runner| runner);
    // Room for four of the largest.
    let server = Grpc::with(&app, GrpcOptions { max_message_bytes: 1_100_000, ..options() });
    let begin = |word: &str| {
        let gzip = CompressionEncoding::Gzip;
        let mut client = server.client.clone().send_compressed(gzip).accept_compressed(gzip);
        let request = request("kit.text", "input", "BYTES", &[1], bytes(&[word]));
        server.runtime.spawn(async move { client.model_infer(request).await })
    };
    let first = begin(&large);
    gate.wait_for_someone();
    let held: Vec<_> = (0..3).map(|_| begin(&large)).collect();
    waits(&app, "text", 3);
    let one_more = block_on_in(&server.runtime, begin(&large)).expect("no panic");
    refused(one_more, Code::Unavailable, &["requests that come compressed take 4400004 bytes at once"]);
    // Numbers in lists take more than they took in the message, and these more than there will ever be room for.
    let mut numbers = request("kit.text", "input", "INT64", &[1_000_000], "");
    numbers.raw_input_contents.clear();
    let int64_contents = vec![1; 1_000_000];
    numbers.inputs[0].contents = Some(InferTensorContents { int64_contents, ..InferTensorContents::default() });
    let answer =
        server.ask(async |client| client.send_compressed(CompressionEncoding::Gzip).model_infer(numbers).await);
    refused(
        answer,
        Code::ResourceExhausted,
        &["bytes when it is inflated and read, and all together may take 4400004"],
    );
    // Small ones find room.
    let others = [begin("small")];
    waits(&app, "text", 4);
    gate.open();
    for call in held.into_iter().chain(others).chain([first]) {
        block_on_in(&server.runtime, call).expect("no panic").expect("an answer");
    }
    block_on_in(&server.runtime, begin(&large)).expect("no panic").expect("there is room again");
}

#[test]
fn answers_are_compressed_as_their_requests() {
    let server = Grpc::start(&kit::app(&Gate::default(), |runner| runner));
    for (encoding, name) in [(CompressionEncoding::Gzip, "gzip"), (CompressionEncoding::Deflate, "deflate")] {
        let plain = server.ask(async |client| client.accept_compressed(encoding).model_infer(zeros(9)).await);
        assert!(plain.expect("an answer").metadata().get("grpc-encoding").is_none(), "nobody has asked for it");
        let zipped = server.ask(async |client| {
            client.accept_compressed(encoding).send_compressed(encoding).model_infer(zeros(9)).await
        });
        let zipped = zipped.expect("an answer");
        assert_eq!(zipped.metadata().get("grpc-encoding").map(|name| name.as_bytes()), Some(name.as_bytes()));
        assert_eq!(zipped.into_inner().raw_output_contents[0].as_ref(), [1; 9]);
    }
}

#[test]
fn a_full_queue_says_when_to_try_again() {
    let gate = Gate::closed();
    let app = kit::app(&gate, |runner| runner.set("max_queue_size", 1));
    let server = Grpc::start(&app);
    let method = app.runner("kit").expect("the runner").method::<String, String>("text").expect("the method");
    let plug = Made::held(method.async_run("first".to_owned()));
    gate.wait_for_someone();
    let waiting = Made::held(method.async_run("second".to_owned()));
    let status = refused(server.infer(text("third")), Code::ResourceExhausted, &["the queue is full: 1 rows wait"]);
    let pushback = status.metadata().get("grpc-retry-pushback-ms").expect("when to try again");
    assert!(pushback.to_str().is_ok_and(|millis| millis.parse::<u64>().is_ok()), "{pushback:?}");
    gate.open();
    assert_eq!((plug.answer().as_deref(), waiting.answer().as_deref()), (Ok("FIRST"), Ok("SECOND")));
}

#[test]
fn a_clients_deadline_is_its_calls() {
    let gate = Gate::closed();
    let app = kit::app(&gate, |runner| runner);
    let server = Grpc::start(&app);
    let method = app.runner("kit").expect("the runner").method::<String, String>("text").expect("the method");
    let plug = Made::held(method.async_run("first".to_owned()));
    gate.wait_for_someone();
    // The client gives up at the same time, and may be first where the machine is busy.
    eventually("the server says so", || {
        let late = server.ask(async |mut client| {
            let mut request = Request::new(text("late"));
            request.set_timeout(Duration::from_millis(400));
            client.model_infer(request).await
        });
        let status = late.expect_err("it is late");
        status.code() == Code::DeadlineExceeded && status.message().starts_with("the deadline of 3")
    });
    waits(&app, "text", 0);
    // The parameter counts where it is smaller.
    let late = server.ask(async |mut client| {
        let mut message = text("late");
        message.parameters.insert("timeout".to_owned(), whole(20_000));
        let mut request = Request::new(message);
        request.set_timeout(Duration::from_secs(50));
        client.model_infer(request).await
    });
    refused(late, Code::DeadlineExceeded, &["the deadline of 20 ms has passed"]);
    waits(&app, "text", 0);
    gate.open();
    assert_eq!(plug.answer().as_deref(), Ok("FIRST"));
    // Callers have their answers before they are counted.
    eventually("both are counted", || counted(&app, "text", "deadline_exceeded") >= 2.0);
    assert_eq!(gate.batches("text"), [1], "the first alone");
}
