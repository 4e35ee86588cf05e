//! One kept-alive connection, with at most one request under way.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::{Answer, Failure};

/// After a connection could not be opened, how long until it is tried again.
const BACKOFF: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Opened with the next request.
    Closed,
    /// As closed, and to be left alone until then.
    Backoff(Instant),
    /// Being opened, with a request to send.
    Connecting,
    /// Open, with nothing under way.
    Idle,
    /// Open, with a request under way.
    Busy,
}

pub(super) struct Connection {
    pub(super) state: State,
    stream: Option<TcpStream>,
    /// Bytes of the request that are sent.
    written: usize,
    /// From when the request's latency counts.
    pub(super) due: Instant,
    pub(super) sent: Instant,
    pub(super) answer: Answer,
}

/// Why a request got no answer.
pub(super) struct Lost(pub(super) Failure, pub(super) String);

impl Connection {
    /// An open connection.
    pub(super) fn open(
        address: SocketAddr,
        registry: &Registry,
        token: Token,
        patience: Duration,
    ) -> Result<Self, io::Error> {
        let stream = std::net::TcpStream::connect_timeout(&address, patience)?;
        stream.set_nonblocking(true)?;
        let stream = register(TcpStream::from_std(stream), registry, token)?;
        let now = Instant::now();
        let answer = Answer::new(false);
        Ok(Self { state: State::Idle, stream: Some(stream), written: 0, due: now, sent: now, answer })
    }

    pub(super) fn is_under_way(&self) -> bool {
        matches!(self.state, State::Connecting | State::Busy)
    }

    /// Begins a request.
    pub(super) fn send(
        &mut self,
        request: &[u8],
        address: SocketAddr,
        registry: &Registry,
        token: Token,
    ) -> Result<(), Lost> {
        self.written = 0;
        self.answer.clear();
        if self.stream.is_some() {
            match self.write(request) {
                Ok(()) => {
                    self.state = State::Busy;
                    return Ok(());
                }
                // The server has closed it while it was idle, and has seen nothing of this request.
                Err(_) if self.written == 0 => self.close(),
                Err(error) => return Err(self.lost(Failure::Closed, error.to_string())),
            }
        }
        let stream = TcpStream::connect(address).and_then(|stream| register(stream, registry, token));
        self.stream = Some(stream.map_err(|error| self.not_connected(&error))?);
        self.state = State::Connecting;
        Ok(())
    }

    /// Goes on as far as it can; true when an answer is complete.
    pub(super) fn advance(&mut self, request: &[u8], buffer: &mut [u8]) -> Result<bool, Lost> {
        match self.state {
            State::Closed | State::Backoff(_) => return Ok(false),
            State::Idle => {
                // Nothing was asked for, so whatever comes is the end.
                if !self.is_quiet(buffer) {
                    self.close();
                }
                return Ok(false);
            }
            State::Connecting => match self.is_connected()? {
                true => self.state = State::Busy,
                false => return Ok(false),
            },
            State::Busy => {}
        }
        let written = self.write(request);
        let answered = self.read(buffer)?;
        match written {
            // An answer to half a request is one, but the connection is of no more use.
            _ if answered => {
                self.state = State::Idle;
                if self.written < request.len() || self.answer.is_last() {
                    self.close();
                }
                Ok(true)
            }
            Ok(()) => Ok(false),
            Err(error) => Err(self.lost(Failure::Closed, error.to_string())),
        }
    }

    /// Gives up on the request.
    pub(super) fn lost(&mut self, failure: Failure, why: String) -> Lost {
        self.close();
        Lost(failure, why)
    }

    pub(super) fn close(&mut self) {
        self.stream = None;
        self.state = State::Closed;
    }

    fn not_connected(&mut self, error: &io::Error) -> Lost {
        let lost = self.lost(Failure::Connect, error.to_string());
        self.state = State::Backoff(Instant::now() + BACKOFF);
        lost
    }

    fn is_connected(&mut self) -> Result<bool, Lost> {
        let Some(stream) = &self.stream else { return Ok(false) };
        let error = match (stream.take_error(), stream.peer_addr()) {
            (Ok(Some(error)) | Err(error), _) => error,
            (Ok(None), Ok(_)) => return Ok(true),
            (Ok(None), Err(error)) if error.kind() == ErrorKind::NotConnected => return Ok(false),
            (Ok(None), Err(error)) => error,
        };
        Err(self.not_connected(&error))
    }

    /// Writes what the socket takes of the request.
    fn write(&mut self, request: &[u8]) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Err(ErrorKind::NotConnected.into()) };
        while self.written < request.len() {
            match stream.write(&request[self.written..]) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what is there; true when it completes the answer.
    ///
    /// The poll is edge-triggered. To stop at a complete answer without reading until the socket is empty is right
    /// because nothing but the connection's end can follow it before the next request is sent.
    fn read(&mut self, buffer: &mut [u8]) -> Result<bool, Lost> {
        loop {
            let Some(stream) = &mut self.stream else { return Ok(false) };
            match stream.read(buffer) {
                Ok(0) if self.answer.take_end() => return Ok(true),
                Ok(0) => return Err(self.lost(Failure::Closed, "the server closed the connection".to_owned())),
                Ok(read) => match self.answer.take(&buffer[..read]) {
                    Ok(true) => return Ok(true),
                    Ok(false) => {}
                    Err(malformed) => return Err(self.lost(Failure::Malformed, malformed.to_string())),
                },
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.lost(Failure::Closed, error.to_string())),
            }
        }
    }

    fn is_quiet(&mut self, buffer: &mut [u8]) -> bool {
        let read = self.stream.as_mut().map(|stream| stream.read(buffer));
        matches!(read, Some(Err(error)) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted))
    }
}

fn register(mut stream: TcpStream, registry: &Registry, token: Token) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
    Ok(stream)
}
