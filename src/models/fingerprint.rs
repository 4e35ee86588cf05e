//! What a model was when a runner was prepared: whoever opens it later must find the same.
//!
//! A version in the store never changes, but a path leads to whatever lies there now, and the methods of a runner are those
//! of what lay there then.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::digest::{self, CopyError, Hasher};
use super::files::{FilePath, MANIFEST};
use super::format::Format;
use super::{Model, ModelError};

/// The files that tell whether a model is the same still: a folder's description, which has the digests of the others, or a
/// loose file with those beside it that it keeps tensors in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fingerprint(Vec<Print>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Print {
    path: PathBuf,
    size: u64,
    /// `None` where the system does not know.
    changed: Option<SystemTime>,
    /// Its SHA-256, in digits.
    sha256: String,
}

impl Fingerprint {
    /// Takes it of a model: reads a loose file to its end.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub(super) fn take(model: &Model) -> Result<Self, ModelError> {
        let path = model.path();
        if !model.is_loose_file() {
            return Ok(Self(vec![Print::take(path.join(MANIFEST))?]));
        }
        let mut prints = vec![Print::take(path.to_owned())?];
        if model.manifest().format == Format::Onnx {
            let beside = path.parent().unwrap_or(Path::new(""));
            // What is wrong with the file is said by whoever loads it.
            let names = crate::onnx::external_files(path).unwrap_or_default();
            let files = names.iter().filter_map(|name| Some(name.parse::<FilePath>().ok()?.within(beside)));
            for file in files.filter(|file| file.is_file()) {
                prints.push(Print::take(file)?);
            }
        }
        Ok(Self(prints))
    }

    /// Looks whether the files are what they were: reads those that look different.
    ///
    /// # Errors
    /// [`ModelError::Changed`], or what the system refused.
    pub(super) fn check(&self) -> Result<(), ModelError> {
        self.0.iter().try_for_each(Print::check)
    }

    /// A few digits of it, to be told apart by: those of the file's own SHA-256 where it is one file.
    pub(super) fn short(&self) -> String {
        let digits = match self.0.as_slice() {
            [only] => only.sha256.clone(),
            prints => {
                let mut hasher = Hasher::new();
                prints.iter().for_each(|print| hasher.add(print.sha256.as_bytes()));
                hasher.finish().to_string()
            }
        };
        digits.chars().take(16).collect()
    }
}

impl Print {
    fn take(path: PathBuf) -> Result<Self, ModelError> {
        // Before it is read: what is changed meanwhile looks different afterwards.
        let (size, changed) = look(&path)?;
        let sha256 = sha256(&path)?;
        Ok(Self { path, size, changed, sha256 })
    }

    fn check(&self) -> Result<(), ModelError> {
        let (size, changed) = look(&self.path)?;
        let looks_the_same = size == self.size && changed.is_some() && changed == self.changed;
        // A file that was only touched, or copied over with the same, is the same.
        if looks_the_same || size == self.size && sha256(&self.path)? == self.sha256 {
            return Ok(());
        }
        Err(ModelError::Changed { path: self.path.clone() })
    }
}

fn look(path: &Path) -> Result<(u64, Option<SystemTime>), ModelError> {
    let about = fs::metadata(path).map_err(ModelError::io("read", path))?;
    Ok((about.len(), about.modified().ok()))
}

fn sha256(path: &Path) -> Result<String, ModelError> {
    let mut file = File::open(path).map_err(ModelError::io("read", path))?;
    match digest::copy(&mut file, io::sink(), |_| ()) {
        Ok((_, sha256)) => Ok(sha256.to_string()),
        Err(CopyError::Read(error) | CopyError::Write(error)) => Err(ModelError::io("read", path)(error)),
    }
}
