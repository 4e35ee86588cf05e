//! Clients that go away, and a server that does.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use ekiden::App;
use ekiden::grpc::GrpcOptions;
use ekiden::grpc::inference::*;
use tonic::Code;

use super::{Grpc, counts, options, refused, text};
use crate::kit::{self, waits};
use crate::support::{Gate, PATIENCE, eventually};

/// Has a call wait behind another, in a queue with room for one; `leave` has its client go, before the call runs.
fn check(leave: impl FnOnce(&Grpc, &App)) {
    let gate = Gate::closed();
    let app = kit::app(&gate, |runner| runner.set("max_queue_size", 1));
    let server = Grpc::start(&app);
    kit::check_leaving(&app, &gate, || leave(&server, &app));
    counts(&app, "text", "cancelled", 1.0);
    server.infer(text("next")).expect("the server goes on");
}

#[test]
fn a_client_that_cancels_cancels_its_call_before_it_runs() {
    check(|server, app| {
        let mut client = server.client.clone();
        let gone = server.runtime.spawn(async move { client.model_infer(text("gone")).await });
        waits(app, "text", 1);
        gone.abort();
    });
}

#[test]
fn a_client_that_hangs_up_cancels_its_calls() {
    check(|server, app| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let mut client = Grpc::connect(&runtime, server.address);
        runtime.spawn(async move { client.model_infer(text("gone")).await });
        waits(app, "text", 1);
        // With its connection.
        runtime.shutdown_background();
    });
}

#[test]
fn what_was_accepted_is_finished_when_the_server_stops() {
    let gate = Gate::closed();
    let app = kit::app(&gate, |runner| runner);
    let mut server = Grpc::start(&app);
    let mut client = server.client.clone();
    let accepted = server.runtime.spawn(async move { client.model_infer(text("accepted")).await });
    gate.wait_for_someone();
    server.begin_stop();
    let ready = || {
        let answer = server.ask(async |mut client| client.server_ready(ServerReadyRequest {}).await);
        answer.expect("it answers to the end").into_inner().ready
    };
    eventually("it is not ready", || !ready());
    // Whoever comes now is told.
    let mut late = None;
    eventually("nothing more is taken", || {
        let mut client = server.client.clone();
        let call = server.runtime.spawn(async move { client.model_infer(text("late")).await });
        let call = server.runtime.block_on(async { tokio::time::timeout(PATIENCE, call).await });
        late = Some(call.expect("an answer").expect("no panic"));
        late.as_ref().is_some_and(Result::is_err)
    });
    refused(late.expect("an answer"), Code::Unavailable, &[]);
    gate.open();
    let answer = server.runtime.block_on(accepted).expect("no panic").expect("an answer").into_inner();
    assert_eq!(answer.id, "accepted");
    server.wait();
    assert_eq!(gate.batches("text"), [1]);
}

#[test]
fn a_connection_that_says_nothing_is_not_waited_for() {
    let grace = PATIENCE * 60;
    let mut server = Grpc::with(&kit::app(&Gate::default(), |runner| runner), GrpcOptions { grace, ..options() });
    // HTTP/2 with no settings of its own, by a client that heeds nothing that it is told.
    let mut idle = TcpStream::connect(server.address).expect("a connection");
    idle.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").expect("it is sent");
    idle.read_exact(&mut [0; 9]).expect("the server's settings");
    let since = Instant::now();
    server.begin_stop();
    server.wait();
    // Without an answer to its pings, the server gives such a connection up after 30 s.
    assert!(since.elapsed() < PATIENCE / 3, "{:?}", since.elapsed());
}
