//! Whether a model's files are what its `model.toml` says.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::ModelError;
use super::digest::{self, CopyError, Digest};
use super::manifest::{FileEntry, Manifest};

/// What was seen when a file was found right.
#[derive(PartialEq)]
struct Seen {
    sha256: Digest,
    size: u64,
    changed: SystemTime,
}

/// Files that were found right, so that an executor that is rebuilt after a crash is not kept waiting while gigabytes are
/// read again. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Verified(Arc<Mutex<HashMap<PathBuf, Seen>>>);

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verified")
    }
}

/// Compares the files of a model with their digests, but for those that have been found right and look the same still.
pub(super) fn files(folder: &Path, manifest: &Manifest, verified: &Verified) -> Result<(), ModelError> {
    // Held meanwhile, so that of several executors one reads.
    let mut verified = verified.0.lock().unwrap_or_else(PoisonError::into_inner);
    for entry in &manifest.files {
        let path = entry.path.within(folder);
        let seen = look(entry, &path)?;
        if seen.as_ref().is_some_and(|seen| verified.get(&path) == Some(seen)) {
            continue;
        }
        let mut file = File::open(&path).map_err(ModelError::io("read", &path))?;
        let (size, sha256) = digest::copy(&mut file, io::sink(), |_| ()).map_err(|error| match error {
            CopyError::Read(error) | CopyError::Write(error) => ModelError::io("read", &path)(error),
        })?;
        check(entry, &path, size, sha256)?;
        if let Some(seen) = seen {
            verified.insert(path, seen);
        }
    }
    Ok(())
}

/// What can be seen of a file without reading it; `None` where the system does not know when it was changed.
fn look(entry: &FileEntry, path: &Path) -> Result<Option<Seen>, ModelError> {
    let damaged = |problem: String| ModelError::Damaged { path: path.to_owned(), problem };
    let about = match fs::metadata(path) {
        Ok(about) if about.is_file() => about,
        Ok(_) => return Err(damaged("it is no file".to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(damaged("it is not there".to_owned())),
        Err(error) => return Err(ModelError::io("read", path)(error)),
    };
    if about.len() != entry.size {
        return Err(damaged(wrong_size(entry.size, about.len())));
    }
    Ok(about.modified().ok().map(|changed| Seen { sha256: entry.sha256, size: entry.size, changed }))
}

/// Compares what was read with what must be there.
pub(super) fn check(entry: &FileEntry, path: &Path, size: u64, sha256: Digest) -> Result<(), ModelError> {
    let damaged = |problem: String| ModelError::Damaged { path: path.to_owned(), problem };
    if size != entry.size {
        return Err(damaged(wrong_size(entry.size, size)));
    }
    if sha256 != entry.sha256 {
        return Err(damaged(wrong_digest(entry.sha256, sha256)));
    }
    Ok(())
}

pub(super) fn wrong_size(expected: u64, found: u64) -> String {
    format!("expected {expected} bytes, found {found}")
}

pub(super) fn wrong_digest(expected: Digest, found: Digest) -> String {
    format!("expected the SHA-256 {expected}, found {found}")
}
