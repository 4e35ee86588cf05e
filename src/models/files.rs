//! Where a file may lie in a model's folder.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::ModelError;

/// The description of a model, beside its files.
pub const MANIFEST: &str = "model.toml";

/// As much as the header of a tar entry holds without an extension, which archives of ours do without.
const LONGEST: usize = 100;

/// The path of a file in a model's folder: relative, with `/` between its parts, and certain to stay in that folder.
///
/// No part is empty, `.` or `..`; there are no backslashes, colons or control characters, which other systems take for
/// more than a name; it is at most 100 bytes long; and it is not `model.toml`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilePath(String);

impl FilePath {
    /// The path, with `/` between its parts.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where it is, in this folder.
    pub fn within(&self, folder: &Path) -> PathBuf {
        folder.join(self.0.split('/').collect::<PathBuf>())
    }

    /// The path of something in a folder, relative to which it is given.
    pub(super) fn of(path: &Path) -> Result<Self, ModelError> {
        let parts: Option<Vec<&str>> = path.iter().map(|part| part.to_str()).collect();
        match parts {
            Some(parts) => parts.join("/").parse(),
            None => Err(ModelError::FilePath { found: path.display().to_string(), why: "it is not UTF-8" }),
        }
    }
}

impl FromStr for FilePath {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, ModelError> {
        let bad = |why| Err(ModelError::FilePath { found: text.to_owned(), why });
        if text.is_empty() || text.len() > LONGEST {
            return bad("it is not 1 to 100 bytes long");
        }
        if text.contains(['\\', ':']) || text.contains(char::is_control) {
            return bad("it has a backslash, a colon or a control character");
        }
        if text.starts_with('/') {
            return bad("it is absolute");
        }
        if text.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return bad("a part of it is empty, \".\" or \"..\"");
        }
        // On some systems, a file of the one name is that of the other.
        if text.eq_ignore_ascii_case(MANIFEST) {
            return bad("that is where the model's description lies");
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
