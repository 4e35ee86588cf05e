//! An HTTP client that shows everything of an exchange and hides nothing, wrong requests included.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::support::PATIENCE;

/// One keep-alive connection.
pub struct Client {
    stream: BufReader<TcpStream>,
}

/// An answer.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
        stream.set_nodelay(true).expect("no delay");
        Self { stream: BufReader::new(stream) }
    }

    pub fn get(&mut self, path: &str) -> Response {
        self.request("GET", path, &[], b"")
    }

    /// Posts JSON.
    pub fn post(&mut self, path: &str, body: &str) -> Response {
        self.request("POST", path, &[("content-type", "application/json")], body.as_bytes())
    }

    pub fn request(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        self.send(method, path, headers, body);
        self.receive()
    }

    /// Sends a request and leaves its answer to be received.
    pub fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) {
        self.send_part(method, path, headers, body, 1.0);
    }

    /// Sends this part of a request, from nothing (0) to all of it (1).
    pub fn send_part(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8], part: f64) {
        let mut request = head(method, path, headers).into_bytes();
        request.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
        request.extend_from_slice(body);
        request.truncate((request.len() as f64 * part) as usize);
        // A server may answer and hang up before it has read a body that it refuses.
        let _ = self.write(&request);
    }

    /// Sends a request whose body comes in these chunks.
    pub fn chunked(&mut self, path: &str, headers: &[(&str, &str)], chunks: &[&[u8]]) -> Response {
        let mut request = head("POST", path, headers).into_bytes();
        request.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
        for chunk in chunks {
            request.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            request.extend_from_slice(chunk);
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"0\r\n\r\n");
        let _ = self.write(&request);
        self.receive()
    }

    pub fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Waits until the server has closed the connection, without anything more said.
    pub fn is_over(&mut self) -> bool {
        let more = self.stream.read(&mut [0]);
        more.map_or_else(|error| error.kind() == ErrorKind::ConnectionReset, |length| length == 0)
    }

    pub fn receive(&mut self) -> Response {
        let mut response = self.receive_head();
        let length = response.header("content-length").and_then(|length| length.parse().ok());
        response.body = vec![0; length.expect("every answer has a length")];
        self.stream.read_exact(&mut response.body).expect("the whole body");
        response
    }

    /// Receives an answer up to its body, which is left to be received.
    pub fn receive_head(&mut self) -> Response {
        let status_line = self.line();
        let status = status_line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.unwrap_or_else(|| panic!("not a status line: {status_line:?}"));
        let mut headers = Vec::new();
        loop {
            let line = self.line();
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Response { status, headers, body: Vec::new() }
    }

    /// The next chunk of a body that comes in chunks; empty at its end, and `None` where it is broken off.
    pub fn receive_chunk(&mut self) -> Option<String> {
        let line = self.line();
        let mut chunk = vec![0; usize::from_str_radix(&line, 16).ok()?];
        self.stream.read_exact(&mut chunk).ok()?;
        assert_eq!(self.line(), "", "a chunk ends with a line break");
        Some(String::from_utf8(chunk).expect("text"))
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("a line");
        line.truncate(line.trim_end().len());
        line
    }
}

fn head(method: &str, path: &str, headers: &[(&str, &str)]) -> String {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: ekiden\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Checks that it is a refusal of this status and code, whose message has these parts.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str, parts: &[&str]) {
        let body = self.json();
        assert_eq!((self.status, body["code"].as_str()), (status, Some(code)), "{body}");
        assert_eq!(self.header("content-type"), Some("application/json"));
        let message = body["error"].as_str().expect("a message");
        for part in parts {
            assert!(message.contains(part), "`{part}` is not in `{message}`");
        }
    }
}

/// The value of one metric line: `ekiden_calls_total{runner="a",method="b",outcome="ok"}`.
pub fn metric(metrics: &str, name: &str) -> Option<f64> {
    let mut found = metrics.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    found.next().and_then(|value| value.parse().ok())
}
