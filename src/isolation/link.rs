//! One end of the connection between a parent and its child: messages with a length before them, and open files beside
//! them. The two take turns, so that there is never more than one message under way.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use serde::{Deserialize, Serialize};

/// Bytes of the length.
const HEAD: usize = 4;
/// The longest message: what is larger passes through shared memory, but for parameters and messages for people.
const LONGEST: usize = 64 << 20;
/// Bytes that are read at once, at most. A length that lies costs no more memory than what really comes.
const READ: usize = 64 << 10;
/// Open files with one message, at most.
const FILES: usize = 2;

/// One end.
#[derive(Debug)]
pub(super) struct Link {
    socket: UnixStream,
    out: Vec<u8>,
    read: Vec<u8>,
}

impl Link {
    pub(super) fn new(socket: UnixStream) -> Self {
        Self { socket, out: Vec::new(), read: vec![0; READ] }
    }

    pub(super) fn socket(&self) -> &UnixStream {
        &self.socket
    }

    /// Sends a message, and files with it.
    pub(super) fn send(&mut self, message: &impl Serialize, files: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.out.clear();
        self.out.extend_from_slice(&[0; HEAD]);
        // It takes the buffer by value, and gives it back.
        let out = postcard::to_extend(message, std::mem::take(&mut self.out)).map_err(io::Error::other)?;
        self.out = out;
        let len = self.out.len() - HEAD;
        if len > LONGEST {
            return Err(io::Error::other(format!("a message of {len} bytes is too long")));
        }
        self.out[..HEAD].copy_from_slice(&(len as u32).to_ne_bytes());

        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(files)) {
            return Err(io::Error::other("too many files for one message"));
        }
        let mut sent = 0;
        while sent < self.out.len() {
            let part = [IoSlice::new(&self.out[sent..])];
            match rustix::net::sendmsg(self.socket.as_fd(), &part, &mut control, NO_SIGNAL) {
                Ok(bytes) => sent += bytes,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            control.clear();
        }
        Ok(())
    }

    /// Receives a message, and the files that came with it.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] where the other side has hung up; [`io::ErrorKind::InvalidData`] where it says
    /// what makes no sense.
    pub(super) fn receive<'a, M: Deserialize<'a>>(&'a mut self) -> io::Result<(M, Vec<OwnedFd>)> {
        let mut files = Vec::new();
        let mut have = 0;
        let mut want = HEAD;
        while have < want {
            if self.read.len() < want {
                self.read.resize(want.min(have + READ), 0);
            }
            have += self.read_some(have, &mut files)?;
            if want == HEAD && have >= HEAD {
                let mut head = [0; HEAD];
                head.copy_from_slice(&self.read[..HEAD]);
                let len = u32::from_ne_bytes(head) as usize;
                if len > LONGEST {
                    return Err(nonsense(format!("a message of {len} bytes")));
                }
                want += len;
            }
        }
        if have > want {
            return Err(nonsense("more than one message at once"));
        }
        let (message, rest) = postcard::take_from_bytes(&self.read[HEAD..want]).map_err(nonsense)?;
        if !rest.is_empty() {
            return Err(nonsense("a message with a tail"));
        }
        Ok((message, files))
    }

    fn read_some(&mut self, at: usize, files: &mut Vec<OwnedFd>) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let bytes = loop {
            let mut part = [IoSliceMut::new(&mut self.read[at..])];
            match rustix::net::recvmsg(self.socket.as_fd(), &mut part, &mut control, CLOSE_ON_EXEC) {
                Ok(received) => break received.bytes,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                files.extend(received);
            }
        }
        if bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes)
    }
}

/// Whoever writes to a process that is gone wants an error, not a SIGPIPE. Where the flag does not exist, std has set the
/// socket so.
#[cfg(not(target_vendor = "apple"))]
const NO_SIGNAL: SendFlags = SendFlags::NOSIGNAL;
#[cfg(target_vendor = "apple")]
const NO_SIGNAL: SendFlags = SendFlags::empty();

#[cfg(not(target_vendor = "apple"))]
const CLOSE_ON_EXEC: RecvFlags = RecvFlags::CMSG_CLOEXEC;
#[cfg(target_vendor = "apple")]
const CLOSE_ON_EXEC: RecvFlags = RecvFlags::empty();

/// The other side says what makes no sense.
pub(super) fn nonsense(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};

    use super::*;

    fn pair() -> (Link, Link) {
        let (one, other) = UnixStream::pair().expect("a pair of sockets");
        (Link::new(one), Link::new(other))
    }

    #[test]
    fn messages_arrive_whole_and_files_with_them() {
        let (mut one, mut other) = pair();
        let long = "x".repeat(300_000);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                one.send(&"short", &[]).expect("it is sent");
                let (answer, _) = one.receive::<u64>().expect("an answer");
                assert_eq!(answer, 5);
                let file = File::open("/dev/zero").expect("a file");
                one.send(&long.as_str(), &[file.as_fd()]).expect("it is sent");
            });
            let (short, files) = other.receive::<&str>().expect("a message");
            assert_eq!((short, files.len()), ("short", 0));
            other.send(&5_u64, &[]).expect("it is sent");
            let (received, mut files) = other.receive::<String>().expect("a message");
            assert_eq!(received, long);
            let mut byte = [1];
            File::from(files.remove(0)).read_exact(&mut byte).expect("it can be read");
            assert_eq!(byte, [0]);
        });
    }

    #[test]
    fn what_makes_no_sense_is_an_error_and_not_a_panic() {
        let check = |bytes: &[u8], kind: io::ErrorKind| {
            let (one, mut other) = pair();
            (&one.socket).write_all(bytes).expect("it is sent");
            drop(one);
            let error = other.receive::<(u64, &str)>().expect_err("it makes no sense");
            assert_eq!(error.kind(), kind, "{bytes:?}: {error}");
        };
        let len = |len: u32| len.to_ne_bytes();
        check(b"", io::ErrorKind::UnexpectedEof);
        check(&len(4)[..3], io::ErrorKind::UnexpectedEof);
        check(&[&len(4)[..], &[1, 2]].concat(), io::ErrorKind::UnexpectedEof);
        check(&len(u32::MAX), io::ErrorKind::InvalidData);
        check(&len(50 << 20), io::ErrorKind::UnexpectedEof);
        check(&[&len(2)[..], &[1, 9]].concat(), io::ErrorKind::InvalidData);
        check(&[&len(3)[..], &[1, 1, 0xff]].concat(), io::ErrorKind::InvalidData);
        check(&[&len(4)[..], &[1, 1, b'a', 0]].concat(), io::ErrorKind::InvalidData);
        check(&[&len(3)[..], &[1, 1, b'a', 0]].concat(), io::ErrorKind::InvalidData);
    }
}
