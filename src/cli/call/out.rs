//! Where an answer goes: into a file, or to standard output.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use crate::cli::{Failure, print};

/// A file, or standard output.
pub(super) struct Out {
    file: Option<(PathBuf, File)>,
    is_terminal: bool,
    bytes: u64,
    is_closed: bool,
}

impl Out {
    /// # Errors
    /// [`Failure::Run`] if the file cannot be made.
    pub(super) fn of(file: Option<&Path>) -> Result<Self, Failure> {
        let is_terminal = file.is_none() && io::stdout().is_terminal();
        let open =
            |path: &Path| File::create(path).map(|file| (path.to_owned(), file)).map_err(|error| lost(path, &error));
        Ok(Self { file: file.map(open).transpose()?, is_terminal, bytes: 0, is_closed: false })
    }

    /// Writes a piece, at once. A terminal shows control characters, and does not obey them: what a model has made is data.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.bytes += bytes.len() as u64;
        if let Some((path, file)) = &mut self.file {
            return file.write_all(bytes).map_err(|error| lost(path, &error));
        }
        let shown = match std::str::from_utf8(bytes) {
            Ok(text) if self.is_terminal => Cow::Owned(shown(text).into_bytes()),
            _ => Cow::Borrowed(bytes),
        };
        match io::stdout().write_all(&shown).and_then(|()| io::stdout().flush()) {
            // A reader that has seen enough is no failure.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(())
            }
            Err(error) => Err(Failure::Run(format!("standard output cannot be written: {error}"))),
            Ok(()) => Ok(()),
        }
    }

    /// Whether nobody reads any more.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Ends a text that was shown piece by piece; a file has it as it is.
    pub(super) fn end_line(&mut self) -> Result<(), Failure> {
        if self.file.is_some() { Ok(()) } else { self.put(b"\n") }
    }

    /// Says what was written to a file.
    pub(super) fn finish(self) -> Result<(), Failure> {
        match self.file {
            Some((path, _)) => print(format_args!("wrote {}: {} bytes\n", path.display(), self.bytes)),
            None => Ok(()),
        }
    }
}

fn lost(path: &Path, error: &io::Error) -> Failure {
    Failure::Run(format!("{} cannot be written: {error}", path.display()))
}

/// A text with its control characters escaped, but for line breaks and tabs.
fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && !matches!(c, '\n' | '\t') {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_obeys_no_model() {
        assert_eq!(shown("a\u{1b}[2J\u{9b}\tü\n"), "a\\u{1b}[2J\\u{9b}\tü\n");
    }
}
