//! What a child prints, line by line in its parent's log.

use std::io::{self, Read};
use std::time::{Duration, Instant};

/// Bytes of a line that are logged together, at most.
const LINE: usize = 4 << 10;
/// Lines that are logged in a second, at most. The others are counted.
const RATE: u32 = 1000;
const SECOND: Duration = Duration::from_secs(1);

/// Logs everything that comes, until nothing can come any more. However much that is, it is read, so that the child never
/// waits for a reader, and none of it is kept.
pub(super) fn forward(mut output: impl Read, name: &str) {
    let mut lines = Lines::default();
    let mut meter = Meter::new(Instant::now());
    let mut log = |line: &[u8]| {
        let line = String::from_utf8_lossy(line);
        let line = line.trim_end();
        if line.is_empty() {
            return;
        }
        let (pass, suppressed) = meter.pass(Instant::now());
        if suppressed > 0 {
            tracing::warn!(executor = name, suppressed, "the child process prints too much; lines were left out");
        }
        if pass {
            tracing::info!(executor = name, "{line}");
        }
    };
    let mut read = [0; LINE];
    loop {
        match output.read(&mut read) {
            Ok(0) => break,
            Ok(bytes) => lines.push(&read[..bytes], &mut log),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    lines.finish(&mut log);
}

/// Cuts bytes into lines.
#[derive(Default)]
struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    fn push(&mut self, mut bytes: &[u8], line: &mut impl FnMut(&[u8])) {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            self.begun.extend_from_slice(&bytes[..end]);
            line(&self.begun);
            self.begun.clear();
            bytes = &bytes[end + 1..];
        }
        self.begun.extend_from_slice(bytes);
        if self.begun.len() >= LINE {
            self.finish(line);
        }
    }

    fn finish(&mut self, line: &mut impl FnMut(&[u8])) {
        if !self.begun.is_empty() {
            line(&self.begun);
            self.begun.clear();
        }
    }
}

/// Lets [`RATE`] lines a second pass.
struct Meter {
    since: Instant,
    seen: u32,
}

impl Meter {
    fn new(now: Instant) -> Self {
        Self { since: now, seen: 0 }
    }

    /// Whether the next line passes, and how many did not in the second that has just ended.
    fn pass(&mut self, now: Instant) -> (bool, u32) {
        let mut suppressed = 0;
        if now.saturating_duration_since(self.since) >= SECOND {
            suppressed = self.seen.saturating_sub(RATE);
            *self = Self::new(now);
        }
        self.seen = self.seen.saturating_add(1);
        (self.seen <= RATE, suppressed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_where_they_end_or_are_too_long() {
        let mut found: Vec<String> = Vec::new();
        let mut lines = Lines::default();
        let mut line = |line: &[u8]| found.push(String::from_utf8_lossy(line).into_owned());
        for bytes in ["a\nb", "c\n\nd", &"x".repeat(LINE), "y\ne"] {
            lines.push(bytes.as_bytes(), &mut line);
        }
        lines.finish(&mut line);
        let long = format!("d{}", "x".repeat(LINE));
        assert_eq!(found, ["a", "bc", "", &long, "y", "e"]);
    }

    #[test]
    fn so_many_lines_a_second_and_the_others_counted() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        let passed = (0..RATE + 5).filter(|_| meter.pass(start).0).count();
        assert_eq!(passed, RATE as usize);
        assert_eq!(meter.pass(start + SECOND), (true, 5));
        assert_eq!(meter.pass(start + SECOND * 2), (true, 0));
    }
}
