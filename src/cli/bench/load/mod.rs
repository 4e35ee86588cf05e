//! A load generator: HTTP/1.1 over kept-alive connections, closed loop or open loop, on one thread.
//!
//! * [`Answer`]: finds the end of an answer.
//! * [`Arrivals`]: when the requests of an open loop are due.
//! * [`Client`]: the connections and the loop that drives them.
//! * [`Record`]: what was found.
//!
//! In a closed loop each connection sends its next request when it has the last one's answer, so that a slow server
//! is asked less. An open loop sends when requests are due, whatever the server does, and a latency counts from then:
//! the wait for a free connection is part of it, as it is part of what a user sees. (A closed loop that is read as if it
//! were open leaves just those waits out: coordinated omission.)

mod answer;
mod arrivals;
mod client;
mod connection;
mod record;
#[cfg(test)]
mod tests;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub(crate) use answer::{Answer, Malformed};
pub(crate) use arrivals::{Arrivals, Spacing};
pub(crate) use client::{Client, Pace, Plan};
pub(crate) use record::{Failure, Record};

/// Why a load could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("connection {} of {connections} could not be opened: {error}", index + 1)]
    Connect { index: usize, connections: usize, error: io::Error },
    #[error("the connection was closed in place of an answer")]
    Closed,
    #[error("no HTTP/1.1 answer: {0}")]
    Malformed(#[from] Malformed),
    #[error("latencies could not be recorded: {0}")]
    Histogram(#[from] hdrhistogram::CreationError),
}

/// Sends `request` once, on a connection of its own, and returns the answer with its body.
pub(crate) fn ask(address: SocketAddr, request: &[u8], patience: Duration) -> Result<Answer, LoadError> {
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    // A server may answer and close before it has read it all: what it says matters more than that.
    let written = stream.write_all(request);
    let mut answer = Answer::new(true);
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = match stream.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read,
        };
        match read {
            Ok(0) if answer.take_end() => return Ok(answer),
            Ok(0) => return written.map_err(LoadError::Io).and(Err(LoadError::Closed)),
            Ok(read) if answer.take(&buffer[..read])? => return Ok(answer),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
