//! Streams in code: which methods answer so, and what they hold.

use std::ops::ControlFlow;
use std::time::Duration;

use ekiden::CallOptions;
use ekiden::prelude::*;
use ekiden::value::{Value, Values};

use super::{Script, app, calls, runner, words};
use crate::support::{Server, block_on};

/// Whoever reads slowly, or nothing, must not have an executor taken for stuck: two would end the runner. And what a caller may
/// have read is not run again.
#[test]
fn the_timeout_of_batches_and_retries_are_not_for_streams() {
    let script = Script::default();
    let runner = runner(&script).set("batch_timeout_ms", 50).set("retry", true);
    let checked = App::builder().runner(runner).check().expect("it is right");
    let report = checked.report();
    let says = |key: &str| {
        let row = report.lines().map(str::trim_start).find(|row| row.starts_with(key)).expect("the key");
        row.split_whitespace().nth(1).expect("a value").to_owned()
    };
    assert_eq!((says("words.retry "), says("words.batch_timeout_ms ")), ("false".to_owned(), "0".to_owned()));
    assert_eq!(says("words.batching "), "off");
    assert_eq!((says("length.retry "), says("length.batch_timeout_ms ")), ("true".to_owned(), "50".to_owned()));
    let app = checked.launch().expect("it launches");
    let entry = app.entry("reader").expect("it is there");
    let limits = |method: &str| {
        let limits = entry.method(method).expect("a method").limits();
        (limits.batch_timeout, limits.retry)
    };
    assert_eq!((limits("words"), limits("length")), ((None, false), (Some(Duration::from_millis(50)), true)));
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
