//! One HTTP/1.1 answer, as it comes in: where it ends, its status, and the beginning of its body.

use std::mem;

/// The longest status line with headers, in bytes.
const LONGEST_HEAD: usize = 16 * 1024;
/// The longest line with a chunk's size, and the longest trailer, in bytes.
const LONGEST_LINE: usize = 1024;
/// The longest body, in bytes: far beyond any real one, so that nonsense is not read for hours.
const LONGEST_BODY: u64 = 1 << 30;
/// How much of a body is kept, in bytes.
const KEPT: usize = 16 * 1024;

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("it does not begin with HTTP/1.0 or HTTP/1.1 and a status")]
    Status,
    #[error("its status line and headers are longer than {LONGEST_HEAD} bytes")]
    LongHead,
    #[error("its content-length is not one number")]
    Length,
    #[error("its transfer-encoding is not chunked")]
    Encoding,
    #[error("a chunk does not begin with its size, or end with its line")]
    Chunk,
    #[error("its body is longer than {LONGEST_BODY} bytes")]
    LongBody,
    #[error("bytes follow its end")]
    Excess,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    /// So many bytes of a body whose length was announced.
    Sized(u64),
    ChunkSize,
    Chunk(u64),
    /// The line end after a chunk.
    ChunkEnd,
    Trailer,
    /// A body that ends with the connection.
    UntilClose,
    Done,
}

/// An answer as far as it has come. Bodies of successes are skipped unless they are asked for.
pub(crate) struct Answer {
    keep_successes: bool,
    state: State,
    /// The head or line that has come in part.
    partial: Vec<u8>,
    status: u16,
    last: bool,
    bytes: u64,
    kept: Vec<u8>,
}

/// What the head says of the body.
struct Head {
    status: u16,
    length: Option<u64>,
    chunked: bool,
    close: bool,
}

impl Answer {
    pub(crate) fn new(keep_successes: bool) -> Self {
        let (partial, kept) = (Vec::new(), Vec::new());
        Self { keep_successes, state: State::Head, partial, status: 0, last: false, bytes: 0, kept }
    }

    /// Makes it ready for another one.
    pub(crate) fn clear(&mut self) {
        self.state = State::Head;
        self.partial.clear();
        self.kept.clear();
        self.bytes = 0;
    }

    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// Whether the server closes the connection after it.
    pub(crate) fn is_last(&self) -> bool {
        self.last
    }

    /// Bytes of its body so far.
    pub(crate) fn body_bytes(&self) -> u64 {
        self.bytes
    }

    /// The body as far as it was kept: the first 16 KiB, of a failure or where [`Answer::new`] was told so.
    pub(crate) fn body(&self) -> String {
        String::from_utf8_lossy(&self.kept).into_owned()
    }

    /// Takes what was read; true when it completes the answer.
    ///
    /// # Errors
    /// [`Malformed`]; the connection is of no more use then.
    pub(crate) fn take(&mut self, mut bytes: &[u8]) -> Result<bool, Malformed> {
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Head => self.take_head(bytes)?,
                State::Sized(left) => self.take_body(bytes, left, State::Sized, State::Done)?,
                State::Chunk(left) => self.take_body(bytes, left, State::Chunk, State::ChunkEnd)?,
                State::UntilClose => self.take_body(bytes, LONGEST_BODY, |_| State::UntilClose, State::Done)?,
                State::ChunkSize | State::ChunkEnd | State::Trailer => self.take_line(bytes)?,
                State::Done => return Err(Malformed::Excess),
            };
        }
        Ok(self.state == State::Done)
    }

    /// Takes the end of the connection; true when it completes the answer.
    pub(crate) fn take_end(&mut self) -> bool {
        if self.state == State::UntilClose {
            self.state = State::Done;
        }
        self.state == State::Done
    }

    fn take_head<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], Malformed> {
        let before = self.partial.len();
        if before == 0
            && let Some(end) = end_of_head(bytes)
        {
            self.begin(&bytes[..end])?;
            return Ok(&bytes[end + 4..]);
        }
        let taken = &bytes[..bytes.len().min(LONGEST_HEAD - before)];
        self.partial.extend_from_slice(taken);
        let known = self.partial.len().min(7);
        if self.partial[..known] != b"HTTP/1."[..known] {
            return Err(Malformed::Status);
        }
        let searched = before.saturating_sub(3);
        match end_of_head(&self.partial[searched..]) {
            None if self.partial.len() == LONGEST_HEAD => Err(Malformed::LongHead),
            None => Ok(&bytes[taken.len()..]),
            Some(at) => {
                let end = searched + at;
                let head = mem::take(&mut self.partial);
                self.begin(&head[..end])?;
                Ok(&bytes[end + 4 - before..])
            }
        }
    }

    /// Goes on from the head to the body.
    fn begin(&mut self, head: &[u8]) -> Result<(), Malformed> {
        if head.len() > LONGEST_HEAD {
            return Err(Malformed::LongHead);
        }
        let head = Head::read(head)?;
        (self.status, self.last) = (head.status, head.close);
        self.state = match head {
            // Information ahead of the answer; no request here asks for another protocol (101).
            Head { status: 100..=199, .. } => State::Head,
            Head { status: 204 | 304, .. } => State::Done,
            Head { chunked: true, .. } => State::ChunkSize,
            Head { length: Some(0), .. } => State::Done,
            Head { length: Some(length), .. } if length > LONGEST_BODY => return Err(Malformed::LongBody),
            Head { length: Some(length), .. } => State::Sized(length),
            Head { .. } => {
                self.last = true;
                State::UntilClose
            }
        };
        Ok(())
    }

    fn take_body<'b>(
        &mut self,
        bytes: &'b [u8],
        left: u64,
        unfinished: fn(u64) -> State,
        finished: State,
    ) -> Result<&'b [u8], Malformed> {
        let now = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let (body, rest) = bytes.split_at(now);
        self.bytes += now as u64;
        if self.bytes > LONGEST_BODY {
            return Err(Malformed::LongBody);
        }
        if self.keep_successes || self.status >= 300 {
            let room = KEPT.saturating_sub(self.kept.len());
            self.kept.extend_from_slice(&body[..now.min(room)]);
        }
        self.state = match left - now as u64 {
            0 => finished,
            left => unfinished(left),
        };
        Ok(rest)
    }

    fn take_line<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], Malformed> {
        let end = bytes.iter().position(|&byte| byte == b'\n');
        let (line, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
        if self.partial.len() + line.len() > LONGEST_LINE {
            return Err(Malformed::Chunk);
        }
        self.partial.extend_from_slice(line);
        if end.is_some() {
            self.state = after_line(self.state, self.partial.trim_ascii())?;
            self.partial.clear();
        }
        Ok(rest)
    }
}

/// What follows this line, which is free of its end.
fn after_line(state: State, line: &[u8]) -> Result<State, Malformed> {
    match state {
        State::ChunkEnd if line.is_empty() => Ok(State::ChunkSize),
        State::Trailer if line.is_empty() => Ok(State::Done),
        State::Trailer => Ok(State::Trailer),
        State::ChunkSize => {
            let digits = line.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
            let size = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'));
            match size.and_then(|digits| u64::from_str_radix(digits, 16).ok()) {
                None => Err(Malformed::Chunk),
                Some(0) => Ok(State::Trailer),
                Some(size) if size > LONGEST_BODY => Err(Malformed::LongBody),
                Some(size) => Ok(State::Chunk(size)),
            }
        }
        _ => Err(Malformed::Chunk),
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n")
}

impl Head {
    fn read(head: &[u8]) -> Result<Self, Malformed> {
        let mut lines = head.split(|&byte| byte == b'\n');
        // "HTTP/1.1 200 OK"; the reason may be missing, with its blank.
        let status = lines.next().unwrap_or_default().trim_ascii_end();
        let version = status.strip_prefix(b"HTTP/1.").and_then(|rest| rest.split_at_checked(2));
        let (persistent, rest) = match version {
            Some((b"1 ", rest)) => (true, rest),
            Some((b"0 ", rest)) => (false, rest),
            _ => return Err(Malformed::Status),
        };
        let status = number(rest.split(|&byte| byte == b' ').next().unwrap_or_default());
        let status = status.filter(|status| (100..1000).contains(status)).ok_or(Malformed::Status)?;
        let mut head = Self { status: status as u16, length: None, chunked: false, close: !persistent };
        for line in lines {
            if let Some(colon) = line.iter().position(|&byte| byte == b':') {
                head.take(&line[..colon], line[colon + 1..].trim_ascii())?;
            }
        }
        Ok(head)
    }

    fn take(&mut self, name: &[u8], value: &[u8]) -> Result<(), Malformed> {
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = number(value).filter(|&length| self.length.is_none_or(|known| known == length));
            self.length = Some(length.ok_or(Malformed::Length)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.chunked = value.eq_ignore_ascii_case(b"chunked");
            return if self.chunked { Ok(()) } else { Err(Malformed::Encoding) };
        } else if name.eq_ignore_ascii_case(b"connection") {
            let has =
                |word: &[u8]| value.split(|&byte| byte == b',').any(|x| x.trim_ascii().eq_ignore_ascii_case(word));
            self.close = has(b"close") || (self.close && !has(b"keep-alive"));
        }
        Ok(())
    }
}

/// A number in decimal digits and nothing else.
fn number(digits: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";
    const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
        2\r\nhe\r\n00a;x=\"y\"\r\nllo, world\r\n0\r\nx-sum: 1\r\n\r\n";

    fn read(pieces: &[&[u8]]) -> Result<(bool, Answer), Malformed> {
        let mut answer = Answer::new(true);
        let mut done = false;
        for piece in pieces {
            done = answer.take(piece)?;
        }
        Ok((done, answer))
    }

    #[test]
    fn an_answer_is_the_same_wherever_it_is_split() {
        let check = |text: &[u8], status, body: &str, last| {
            for split in 0..=text.len() {
                let (head, tail) = text.split_at(split);
                let (done, answer) = read(&[head, tail]).expect("is well-formed");
                assert!(done, "split at {split}");
                assert_eq!((answer.status(), answer.body().as_str(), answer.is_last()), (status, body, last));
                assert_eq!(answer.body_bytes(), body.len() as u64);
                assert!(!read(&[&text[..text.len() - 1]]).expect("is well-formed so far").0);
            }
            let bytes: Vec<&[u8]> = text.chunks(1).collect();
            assert!(read(&bytes).expect("is well-formed").0);
        };
        check(PLAIN, 200, "hello", false);
        check(CHUNKED, 200, "hello, world", false);
        check(b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 2\r\nconnection: Close\r\n\r\n{}", 429, "{}", true);
        check(b"HTTP/1.1 503\r\ncontent-length: 0\r\n\r\n", 503, "", false);
        check(b"HTTP/1.1 204 No Content\r\n\r\n", 204, "", false);
        check(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx", 200, "x", false);
        check(b"HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\nx", 200, "x", true);
        check(b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 1\r\n\r\nx", 200, "x", false);
    }

    #[test]
    fn a_body_without_a_length_ends_with_the_connection() {
        let (done, mut answer) = read(&[b"HTTP/1.1 200 OK\r\n\r\nhel", b"lo"]).expect("is well-formed");
        assert!(!done && answer.take_end() && answer.is_last());
        assert_eq!(answer.body(), "hello");
        let (_, mut cut) = read(&[&PLAIN[..PLAIN.len() - 1]]).expect("is well-formed so far");
        assert!(!cut.take_end());
    }

    #[test]
    fn an_answer_can_follow_another() {
        let mut answer = Answer::new(false);
        for _ in 0..3 {
            assert!(answer.take(CHUNKED).expect("is well-formed"));
            assert_eq!((answer.body_bytes(), answer.body().as_str()), (12, ""));
            answer.clear();
        }
    }

    #[test]
    fn malformed_answers_are_refused() {
        let check = |text: &[u8], expected| {
            assert_eq!(read(&[text]).map(|(done, _)| done), Err(expected), "{}", String::from_utf8_lossy(text));
            let bytes: Vec<&[u8]> = text.chunks(1).collect();
            assert_eq!(read(&bytes).map(|(done, _)| done), Err(expected));
        };
        check(b"SSH-2.0-OpenSSH_9.6\r\n", Malformed::Status);
        check(b"HTTP/2 200\r\n\r\n", Malformed::Status);
        check(b"HTTP/1.1 OK\r\n\r\n", Malformed::Status);
        check(b"HTTP/1.1 99 Low\r\n\r\n", Malformed::Status);
        check(b"HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\n", Malformed::Length);
        check(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n", Malformed::Length);
        check(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n", Malformed::LongBody);
        check(b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n", Malformed::Encoding);
        check(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n", Malformed::Chunk);
        check(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n", Malformed::Chunk);
        check(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffff\r\n", Malformed::LongBody);
        check(&[PLAIN, b"!"].concat(), Malformed::Excess);
        check(&[b"HTTP/1.1 200 OK\r\nx: ", [b'x'; LONGEST_HEAD].as_slice()].concat(), Malformed::LongHead);
        check(&[&CHUNKED[..47], [b'0'; LONGEST_LINE + 1].as_slice()].concat(), Malformed::Chunk);
    }

    #[test]
    fn of_a_long_body_only_the_beginning_is_kept() {
        let head = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 100000\r\n\r\n".as_slice();
        let mut answer = Answer::new(false);
        assert!(answer.take(&[head, &[b'x'; 100_000]].concat()).expect("is well-formed"));
        assert_eq!((answer.body().len(), answer.body_bytes()), (KEPT, 100_000));
    }
}
