//! A server in a process of its own: started, found by what it prints, ended with its handle.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// The longest that a server may take until it is ready.
const START: Duration = Duration::from_secs(60);

/// What a server prints before its address.
const LISTENING: &str = "http://127.0.0.1:";

/// A running server; dropping it ends the process.
pub(crate) struct Server {
    name: &'static str,
    pub(crate) address: SocketAddr,
    child: Guard,
}

/// Why a server did not come up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("{name} cannot be started: {error}")]
    Spawn { name: &'static str, error: std::io::Error },
    #[error("{name} ended before it was ready; it said:\n{said}")]
    Ended { name: &'static str, said: String },
    #[error("{name} was not ready within {} s; it said:\n{said}", START.as_secs())]
    Slow { name: &'static str, said: String },
}

impl Server {
    /// Starts `command` and waits for a line with its address, then for one that holds `ready`, on its output, or on its
    /// standard error where that is a pipe.
    pub(crate) fn spawn(
        name: &'static str,
        command: &mut Command,
        stderr: Stdio,
        ready: Option<&str>,
    ) -> Result<Self, StartError> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
        let mut child = Guard(command.spawn().map_err(|error| StartError::Spawn { name, error })?);
        let (lines, said) = channel();
        let outputs: [Option<Box<dyn Read + Send>>; 2] = [
            child.0.stdout.take().map(|stdout| Box::new(stdout) as _),
            child.0.stderr.take().map(|stderr| Box::new(stderr) as _),
        ];
        for output in outputs.into_iter().flatten() {
            pass_on(output, lines.clone());
        }
        drop(lines);
        let address = await_line(name, &said, address_in)?;
        if let Some(ready) = ready {
            await_line(name, &said, |line| line.contains(ready).then_some(()))?;
        }
        Ok(Self { name, address, child })
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.0.id()
    }
}

/// Ends the process: the servers have no state worth a graceful stop.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // Both fail only for a process that is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads `output` until it ends, wanted or not: a full pipe would stop the server in the middle of a measurement.
fn pass_on(output: Box<dyn Read + Send>, lines: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let _ = lines.send(line);
        }
    });
}

fn await_line<T>(
    name: &'static str,
    said: &Receiver<String>,
    find: impl Fn(&str) -> Option<T>,
) -> Result<T, StartError> {
    let deadline = Instant::now() + START;
    let mut heard = Vec::new();
    loop {
        match said.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => match find(&line) {
                Some(found) => return Ok(found),
                None => heard.push(line),
            },
            Err(RecvTimeoutError::Disconnected) => return Err(StartError::Ended { name, said: heard.join("\n") }),
            Err(RecvTimeoutError::Timeout) => return Err(StartError::Slow { name, said: heard.join("\n") }),
        }
    }
}

fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once(LISTENING)?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).map_or(rest, |end| &rest[..end]);
    let port: u16 = digits.parse().ok()?;
    (port != 0).then(|| ([127, 0, 0, 1], port).into())
}

/// CPU time that the process has taken, in user and kernel mode, all threads; none where there is no `/proc`.
pub(crate) fn cpu_time(pid: u32) -> Option<Duration> {
    // proc(5): utime and stime are fields 14 and 15, and the second field, in parentheses, may hold blanks.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    // USER_HZ, which is 100 on every Linux that Rust runs on.
    Some(Duration::from_millis(ticks * 10))
}

/// Memory of the process that is in RAM, in bytes; none where there is no `/proc`.
pub(crate) fn resident_bytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    // proc(5): "VmRSS: 1234 kB".
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}
