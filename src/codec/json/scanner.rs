//! A cursor over a body.

use serde::de::DeserializeOwned;

use super::super::DecodeError;
use super::fault::{byte_offset_of, without_position};

/// A cursor over a body. It is small and `Copy`, so that a hot loop works on its own copy, in registers.
#[derive(Clone, Copy)]
pub(crate) struct Scanner<'a> {
    pub(crate) body: &'a [u8],
    /// Bytes consumed.
    pub(crate) at: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Self {
        Self { body, at: 0 }
    }

    /// The next byte; at the end 0, which no JSON text has.
    #[inline]
    pub(crate) fn peek(&self) -> u8 {
        self.body.get(self.at).copied().unwrap_or(0)
    }

    /// What is left of the body.
    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.body.get(self.at..).unwrap_or_default()
    }

    /// Takes `byte` if it comes next.
    #[inline]
    pub(crate) fn eat(&mut self, byte: u8) -> bool {
        let next = self.peek() == byte;
        self.at += usize::from(next);
        next
    }

    /// Skips JSON's whitespace.
    #[inline]
    pub(crate) fn skip_space(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    /// Reads one value with serde. `what` names it in a message.
    pub(crate) fn serde<T: DeserializeOwned>(&mut self, what: impl FnOnce() -> String) -> Result<T, DecodeError> {
        let rest = self.rest();
        let mut stream = serde_json::Deserializer::from_slice(rest).into_iter::<T>();
        match stream.next() {
            Some(Ok(value)) => {
                self.at += stream.byte_offset();
                Ok(value)
            }
            Some(Err(error)) => {
                let at = self.at + byte_offset_of(&error, rest);
                Err(DecodeError(format!("{}: {} (byte {at})", what(), without_position(&error))))
            }
            None => Err(DecodeError(format!("{}: the body ends (byte {}) where it is expected", what(), self.at))),
        }
    }
}
