//! A closed-loop HTTP/1.1 client on one thread.
//!
//! It has to take as little as it can of the cores it shares with the server: bytes of the request made once, one
//! write and one read for each answer, and no more of the answer looked at than where it ends.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde::Serialize;

use crate::process::{self, Server};

/// The longest that any answer may take; beyond it the server hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest answer, head and body, in bytes.
const LONGEST_ANSWER: usize = 16 * 1024;

/// The bytes of a request.
pub(crate) struct Request(Vec<u8>);

impl Request {
    pub(crate) fn post_json(path: &str, body: &str) -> Self {
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        );
        Self([head.as_bytes(), body.as_bytes()].concat())
    }
}

/// What one measurement of one server found.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Sample {
    pub(crate) requests_per_s: f64,
    /// From before the request is written until the answer is complete, queueing in this client included.
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// CPU time of the server's process for a request; none where the system does not tell.
    pub(crate) server_cpu_us: Option<f64>,
    /// Share of one core that this client took: near 1, it was the bottleneck.
    pub(crate) client_busy: Option<f64>,
}

/// Why a load could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the connection was closed in place of an answer")]
    Closed,
    #[error("no answer for {} s", PATIENCE.as_secs())]
    Hangs,
    #[error("no answer came within the time of the measurement")]
    NothingMeasured,
    #[error("an answer of status {status}: {body}")]
    Status { status: u16, body: String },
    #[error("an answer that this client cannot read ({0})")]
    Malformed(&'static str),
    #[error("latencies could not be recorded: {0}")]
    Histogram(#[from] hdrhistogram::CreationError),
}

/// Sends `request` once, on a connection of its own, and returns the body of a 200.
pub(crate) fn ask(address: SocketAddr, request: &Request) -> Result<String, LoadError> {
    let mut stream = std::net::TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&request.0)?;
    let mut answer = Answer::new();
    while !answer.read_from(&mut stream)? {}
    Ok(answer.body())
}

/// Keeps `connections` busy for `warm_up`, then for `time`, and describes the latter.
pub(crate) fn run(
    server: &Server,
    request: &Request,
    connections: usize,
    warm_up: Duration,
    time: Duration,
) -> Result<Sample, LoadError> {
    let mut client = Client::connect(server.address, request, connections)?;
    client.drive_for(warm_up)?;
    client.latencies.reset();

    let cpu_before = (process::cpu_time(server.pid()), process::cpu_time(std::process::id()));
    let started = Instant::now();
    client.drive_for(time)?;
    let elapsed = started.elapsed();
    let cpu_after = (process::cpu_time(server.pid()), process::cpu_time(std::process::id()));

    let latencies = client.latencies.clone();
    client.finish()?;
    if latencies.is_empty() {
        return Err(LoadError::NothingMeasured);
    }
    let answers = latencies.len() as f64;
    let spent = |before: Option<Duration>, after: Option<Duration>| Some(after?.saturating_sub(before?).as_secs_f64());
    Ok(Sample {
        requests_per_s: answers / elapsed.as_secs_f64(),
        p50_us: latencies.value_at_quantile(0.50) as f64 / 1e3,
        p99_us: latencies.value_at_quantile(0.99) as f64 / 1e3,
        server_cpu_us: spent(cpu_before.0, cpu_after.0).map(|seconds| seconds * 1e6 / answers),
        client_busy: spent(cpu_before.1, cpu_after.1).map(|seconds| seconds / elapsed.as_secs_f64()),
    })
}

struct Client<'a> {
    request: &'a Request,
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
    /// Nanoseconds.
    latencies: Histogram<u64>,
}

struct Connection {
    stream: TcpStream,
    sent: Instant,
    answer: Answer,
}

impl<'a> Client<'a> {
    /// Connects and sends the first request on each connection.
    fn connect(address: SocketAddr, request: &'a Request, connections: usize) -> Result<Self, LoadError> {
        let poll = Poll::new()?;
        let connect = |index| -> io::Result<Connection> {
            let stream = std::net::TcpStream::connect_timeout(&address, PATIENCE)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(index), Interest::READABLE)?;
            let sent = Instant::now();
            stream.write_all(&request.0)?;
            Ok(Connection { stream, sent, answer: Answer::new() })
        };
        let connections: Vec<Connection> = (0..connections).map(connect).collect::<io::Result<_>>()?;
        let latencies = Histogram::new_with_bounds(1, PATIENCE.as_nanos() as u64 * 2, 3)?;
        Ok(Self { request, events: Events::with_capacity(connections.len()), poll, connections, latencies })
    }

    /// Takes answers, and sends the next request for each, until `time` is over.
    fn drive_for(&mut self, time: Duration) -> Result<(), LoadError> {
        let end = Instant::now() + time;
        let mut now = Instant::now();
        while now < end {
            self.wait()?;
            for event in &self.events {
                let connection = &mut self.connections[event.token().0];
                if !connection.answered()? {
                    continue;
                }
                now = Instant::now();
                let latency = now.duration_since(connection.sent).as_nanos() as u64;
                self.latencies.saturating_record(latency);
                // A request is far smaller than an empty socket's buffer: it goes in one write or something is wrong.
                connection.sent = now;
                connection.stream.write_all(&self.request.0)?;
            }
        }
        Ok(())
    }

    /// Takes the answers that are still under way, so that the next measurement meets an idle server.
    fn finish(mut self) -> Result<(), LoadError> {
        let mut under_way = self.connections.len();
        while under_way > 0 {
            self.wait()?;
            for event in &self.events {
                under_way -= usize::from(self.connections[event.token().0].answered()?);
            }
        }
        Ok(())
    }

    fn wait(&mut self) -> Result<(), LoadError> {
        match self.poll.poll(&mut self.events, Some(PATIENCE)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error.into()),
            Ok(()) if self.events.is_empty() => Err(LoadError::Hangs),
            Ok(()) => Ok(()),
        }
    }
}

impl Connection {
    /// Reads what is there; true when it completes an answer, which must be a 200.
    ///
    /// The poll is edge-triggered. To stop at a complete answer without reading until the socket is empty is right
    /// because nothing can follow it before the next request is sent.
    fn answered(&mut self) -> Result<bool, LoadError> {
        loop {
            match self.answer.read_from(&mut self.stream) {
                Ok(true) => {
                    self.answer.clear();
                    return Ok(true);
                }
                Ok(false) => {}
                Err(LoadError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(LoadError::Io(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// An answer as far as it has come.
struct Answer {
    buffer: Box<[u8; LONGEST_ANSWER]>,
    filled: usize,
    /// Where the body lies, once the head is complete.
    body: Option<std::ops::Range<usize>>,
}

impl Answer {
    fn new() -> Self {
        Self { buffer: Box::new([0; LONGEST_ANSWER]), filled: 0, body: None }
    }

    fn clear(&mut self) {
        self.filled = 0;
        self.body = None;
    }

    fn body(&self) -> String {
        let body = self.body.clone().unwrap_or_default();
        String::from_utf8_lossy(self.buffer.get(body).unwrap_or_default()).into_owned()
    }

    /// Reads once; true when the answer is complete.
    fn read_from(&mut self, stream: &mut impl Read) -> Result<bool, LoadError> {
        let read = stream.read(&mut self.buffer[self.filled..])?;
        if read == 0 {
            return Err(if self.filled == LONGEST_ANSWER {
                LoadError::Malformed("too long")
            } else {
                LoadError::Closed
            });
        }
        self.filled += read;
        let received = &self.buffer[..self.filled];
        if self.body.is_none() {
            let Some(head) = received.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(false) };
            let length = content_length(&received[..head]).ok_or(LoadError::Malformed("no content-length"))?;
            self.body = Some(head + 4..head + 4 + length);
        }
        match &self.body {
            Some(body) if body.end == self.filled => {}
            Some(body) if body.end < self.filled => return Err(LoadError::Malformed("more than one answer")),
            _ => return Ok(false),
        }
        // "HTTP/1.1 200 OK"
        match received.get(9..12) {
            Some(b"200") => Ok(true),
            Some(digits) => {
                let status = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
                let status = status.ok_or(LoadError::Malformed("no status"))?;
                Err(LoadError::Status { status, body: self.body() })
            }
            None => Err(LoadError::Malformed("no status")),
        }
    }
}

fn content_length(head: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length:";
    let line = head
        .split(|&byte| byte == b'\n')
        .find(|line| line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME))?;
    std::str::from_utf8(&line[NAME.len()..]).ok()?.trim().parse().ok()
}
