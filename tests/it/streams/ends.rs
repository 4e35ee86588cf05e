//! Streams that end before their last chunk, and what becomes of the work.

use std::time::Duration;

use ekiden::prelude::*;

use super::{Script, app, calls, send, words};
use crate::support::{Server, block_on, eventually, hush_panics_on_purpose};

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
