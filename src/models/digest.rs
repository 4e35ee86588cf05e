//! SHA-256 of files, as they are read or copied.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// Read and written at a time.
const CHUNK: usize = 1 << 20;

/// The SHA-256 of a file. Prints as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Stands where there is none.
    pub(super) const NONE: Self = Self([0; 32]);
}

impl FromStr for Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut digest = [0; 32];
        let digits: Option<Vec<u8>> =
            text.bytes().map(|digit| (digit as char).to_digit(16).and_then(|digit| digit.try_into().ok())).collect();
        let digits = digits.filter(|digits| digits.len() == 64);
        let digits = digits.ok_or_else(|| format!("expected 64 hexadecimal digits, found {text:?}"))?;
        for (byte, pair) in digest.iter_mut().zip(digits.chunks(2)) {
            *byte = pair.iter().fold(0, |byte, digit| byte << 4 | digit);
        }
        Ok(Self(digest))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Takes a digest piece by piece.
pub(super) struct Hasher(Sha256);

impl Hasher {
    pub(super) fn new() -> Self {
        Self(Sha256::new())
    }

    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(super) fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

/// Which side of a copy failed.
pub(super) enum CopyError {
    Read(io::Error),
    Write(io::Error),
}

/// Copies all of `from`, and returns how many bytes that were, and their digest. Tells `progress` of each chunk's bytes.
pub(super) fn copy(
    mut from: impl Read,
    mut to: impl Write,
    mut progress: impl FnMut(u64),
) -> Result<(u64, Digest), CopyError> {
    let mut hasher = Hasher::new();
    let mut chunk = vec![0; CHUNK];
    let mut size = 0;
    loop {
        let read = match from.read(&mut chunk) {
            Ok(0) => return Ok((size, hasher.finish())),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(CopyError::Read(error)),
        };
        let bytes = &chunk[..read];
        hasher.add(bytes);
        to.write_all(bytes).map_err(CopyError::Write)?;
        size += read as u64;
        progress(read as u64);
    }
}
