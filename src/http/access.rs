//! The access log: one line for each request that is answered, from the one place that sees every answer.
//!
//! A system call for each request would be dear beside a small model. So lines are printed into a buffer of the
//! worker's own, and written together: when there are many, or after a tenth of a second.

use std::cell::RefCell;
use std::io::{self, Write};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_web::Error;
use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use jiff::Timestamp;
use serde::Serialize;

use super::call::REQUEST_ID;

/// How the access log's lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Lines are written when there are as many bytes of them.
const FULL: usize = 32 * 1024;

/// The longest that a line waits to be written.
const WAIT: Duration = Duration::from_millis(100);

/// The log of one worker thread, on standard error; clones share it.
#[derive(Clone)]
pub(super) struct AccessLog(Rc<RefCell<Lines>>);

struct Lines {
    format: AccessFormat,
    buffer: Vec<u8>,
}

/// What a line tells.
#[derive(Serialize)]
struct Line<'a> {
    /// RFC 3339, in UTC.
    timestamp: Timestamp,
    level: &'static str,
    target: &'static str,
    client: Option<IpAddr>,
    method: &'a str,
    path: &'a str,
    status: u16,
    /// From when the request's head was there until its answer was ready to be sent.
    micros: u64,
    /// Empty where there is none.
    request_id: &'a str,
}

impl AccessLog {
    pub(super) fn new(format: AccessFormat) -> Self {
        Self(Rc::new(RefCell::new(Lines { format, buffer: Vec::new() })))
    }

    /// Has the request answered, and logs it. One whose client goes before that has no answer, and no line.
    pub(super) async fn observe(self, request: ServiceRequest, next: Next<BoxBody>) -> Result<ServiceResponse, Error> {
        let started = Instant::now();
        let response = next.call(request).await?;
        self.add(&response, started.elapsed());
        Ok(response)
    }

    fn add(&self, response: &ServiceResponse, took: Duration) {
        let mut lines = self.0.borrow_mut();
        let first = lines.buffer.is_empty();
        lines.add(response, took);
        if lines.buffer.len() >= FULL {
            lines.write();
        } else if first {
            let log = self.clone();
            actix_web::rt::spawn(async move {
                actix_web::rt::time::sleep(WAIT).await;
                log.0.borrow_mut().write();
            });
        }
    }
}

impl Lines {
    fn add(&mut self, response: &ServiceResponse, took: Duration) {
        let request = response.request();
        let id = response.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
        let line = Line {
            timestamp: Timestamp::now(),
            level: "INFO",
            target: "access",
            client: request.peer_addr().map(|client| client.ip()),
            method: request.method().as_str(),
            path: request.path(),
            status: response.status().as_u16(),
            micros: took.as_micros() as u64,
            request_id: id.unwrap_or_default(),
        };
        // Writing to memory does not fail.
        let _ = match self.format {
            AccessFormat::Text => line.text(&mut self.buffer),
            AccessFormat::Json => serde_json::to_writer(&mut self.buffer, &line).map_err(io::Error::from),
        };
        self.buffer.push(b'\n');
    }

    fn write(&mut self) {
        // A log that nobody can read any more is no reason to fail.
        let _ = io::stderr().write_all(&self.buffer);
        self.buffer.clear();
    }
}

impl Line<'_> {
    fn text(&self, to: &mut impl Write) -> io::Result<()> {
        let Self { timestamp, level, client, method, path, status, micros, request_id, .. } = self;
        write!(to, "{timestamp:.6}  {level} ")?;
        match client {
            Some(client) => write!(to, "{client}")?,
            None => to.write_all(b"-")?,
        }
        write!(to, " {method} {path} {status} {micros} µs {request_id}")
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.write();
    }
}
