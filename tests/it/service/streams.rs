//! Answers that come in pieces.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};

use actix_web::web;
use ekiden::CallError;
use ekiden::prelude::MethodError;
use ekiden::service::{ChunkedText, Service, Sse, Text};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::{Running, built};
use crate::http::iris;
use crate::support::{PATIENCE, eventually};

type Item = Result<String, CallError>;

/// Hands a test's pieces to the endpoint that is called first.
#[derive(Clone)]
struct Source(Arc<Mutex<Option<UnboundedReceiver<Item>>>>);

impl Source {
    fn new() -> (UnboundedSender<Item>, web::Data<Self>) {
        let (sender, receiver) = unbounded_channel();
        (sender, web::Data::new(Self(Arc::new(Mutex::new(Some(receiver))))))
    }

    fn take(&self) -> UnboundedReceiverStream<Item> {
        let receiver = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        UnboundedReceiverStream::new(receiver.expect("it is called once"))
    }
}

fn serving(source: web::Data<Source>) -> Running {
    let source = source.into_inner();
    let (events, begun, text) = (Arc::clone(&source), Arc::clone(&source), source);
    let service = Service::builder(&iris())
        .get("/events", move || std::future::ready(Sse::new(events.take())))
        .get("/begun", move || {
            let source = begun.take();
            async move { Sse::begun(source).await }
        })
        .get("/now", async || Text("now".to_owned()))
        .get("/text", move || std::future::ready(ChunkedText::new(text.take())));
    Running::start(&built(service))
}

/// An answer that is read as it comes.
struct Reading(BufReader<TcpStream>);

impl Reading {
    fn get(running: &Running, path: &str) -> Self {
        let mut stream = TcpStream::connect(running.address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: ekiden\r\n\r\n").as_bytes()).expect("is sent");
        Self(BufReader::new(stream))
    }

    fn head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(self.0.read_line(&mut head).expect("a line") > 0, "{head}");
        }
        head
    }

    /// The next chunk; nothing at the body's end, and an error where the connection is closed before that.
    fn chunk(&mut self) -> Result<Option<String>, String> {
        let mut size = String::new();
        self.0.read_line(&mut size).map_err(|error| error.to_string())?;
        let size = usize::from_str_radix(size.trim(), 16).map_err(|_| format!("not a size: {size:?}"))?;
        let mut chunk = vec![0; size + 2];
        self.0.read_exact(&mut chunk).map_err(|error| error.to_string())?;
        chunk.truncate(size);
        Ok((size > 0).then(|| String::from_utf8(chunk).expect("text")))
    }

    #[track_caller]
    fn reads(&mut self, expected: &str) {
        assert_eq!(self.chunk(), Ok(Some(expected.to_owned())));
    }
}

fn say(sender: &UnboundedSender<Item>, item: &str) {
    sender.send(Ok(item.to_owned())).expect("somebody listens");
}

fn failure() -> CallError {
    MethodError::failed("it broke").into()
}

#[test]
fn events_come_as_they_happen() {
    let (sender, source) = Source::new();
    let running = serving(source);
    let mut reading = Reading::get(&running, "/events");
    let head = reading.head();
    assert!(head.starts_with("HTTP/1.1 200 OK") && head.contains("content-type: text/event-stream"), "{head}");
    // Each is read before the next is made.
    say(&sender, "one");
    reading.reads("data: \"one\"\n\n");
    say(&sender, "two\nlines");
    reading.reads("data: \"two\\nlines\"\n\n");
    drop(sender);
    reading.reads("event: done\ndata: {}\n\n");
    assert_eq!(reading.chunk(), Ok(None));
}

#[test]
fn what_fails_after_the_start_is_an_event() {
    let (sender, source) = Source::new();
    let running = serving(source);
    let mut reading = Reading::get(&running, "/events");
    reading.head();
    say(&sender, "one");
    sender.send(Err(failure())).expect("somebody listens");
    say(&sender, "never");
    reading.reads("data: \"one\"\n\n");
    reading.reads("event: error\ndata: {\"code\":\"method_failed\",\"error\":\"GET /events: it broke\"}\n\n");
    assert_eq!(reading.chunk(), Ok(None));
}

#[test]
fn what_fails_before_the_start_is_an_answer() {
    let (sender, source) = Source::new();
    let running = serving(source);
    sender.send(Err(failure())).expect("somebody listens");
    running.client().get("/begun").refused(500, "method_failed", &["GET /begun: it broke"]);

    let (sender, source) = Source::new();
    let running = serving(source);
    say(&sender, "one");
    let mut reading = Reading::get(&running, "/begun");
    reading.head();
    reading.reads("data: \"one\"\n\n");
    drop(sender);
    reading.reads("event: done\ndata: {}\n\n");
}

#[test]
fn whoever_hangs_up_has_the_stream_dropped() {
    let (sender, source) = Source::new();
    let running = serving(source);
    let mut reading = Reading::get(&running, "/events");
    reading.head();
    say(&sender, "one");
    reading.reads("data: \"one\"\n\n");
    drop(reading);
    eventually("the stream is dropped", || sender.is_closed());
}

#[test]
fn texts_come_in_pieces() {
    let (sender, source) = Source::new();
    let running = serving(source);
    let mut reading = Reading::get(&running, "/text");
    assert!(reading.head().contains("content-type: text/plain; charset=utf-8"));
    say(&sender, "once ");
    reading.reads("once ");
    // Nothing is no piece, and not the end.
    say(&sender, "");
    say(&sender, "upon");
    reading.reads("upon");
    drop(sender);
    assert_eq!(reading.chunk(), Ok(None));

    let (sender, source) = Source::new();
    let running = serving(source);
    let mut reading = Reading::get(&running, "/text");
    reading.head();
    say(&sender, "once ");
    reading.reads("once ");
    sender.send(Err(failure())).expect("somebody listens");
    assert!(reading.chunk().is_err(), "it is cut off, and not ended");
}

#[test]
fn a_stream_ends_before_the_service_does() {
    let (sender, source) = Source::new();
    let mut running = serving(source);
    let mut reading = Reading::get(&running, "/events");
    reading.head();
    running.begin_stop();
    // Others are told that it is going.
    eventually("new requests are refused", || running.client().get("/now").status == 503);
    say(&sender, "one");
    reading.reads("data: \"one\"\n\n");
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            running.wait().expect("it stops well");
            ended.store(true, Ordering::SeqCst);
        });
        say(&sender, "two");
        reading.reads("data: \"two\"\n\n");
        assert!(!ended.load(Ordering::SeqCst), "it waits for the stream");
        drop(sender);
        reading.reads("event: done\ndata: {}\n\n");
    });
}
