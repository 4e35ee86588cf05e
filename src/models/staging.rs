//! Where a model is made before it is one: a folder that nobody lists, held by a lock, and renamed into place at last.
//!
//! ```text
//! models/.tmp/gate          locked while a folder is made or swept, so that nobody sweeps one that is being made
//! models/.tmp/<id>.lock     locked by the process that works in <id>, until it ends, however it ends
//! models/.tmp/<id>/         what it makes
//! ```
//! The rename is the moment from which there is the model, whole and on the disk. A process that is killed before leaves a folder
//! whose lock is free: the next one that makes anything removes it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::ModelError;

/// The folder of folders in the making; no name of a model begins with a dot.
const FOLDER: &str = ".tmp";
const GATE: &str = "gate";
const LOCK: &str = "lock";

/// How often a rename is tried while others remove the folder that it goes to.
const TRIES: usize = 100;

/// A folder in the making, and removed unless it is committed.
pub(super) struct Staging {
    folder: PathBuf,
    lock_file: PathBuf,
    /// Held for as long as the folder is in use.
    _lock: File,
}

/// Why a folder did not get to its place.
pub(super) enum CommitError {
    /// There is something.
    Taken,
    Other(ModelError),
}

impl From<ModelError> for CommitError {
    fn from(error: ModelError) -> Self {
        Self::Other(error)
    }
}

impl Staging {
    /// Makes an empty folder in the store, after sweeping what dead processes have left.
    pub(super) fn begin(store: &Path) -> Result<Self, ModelError> {
        let parent = store.join(FOLDER);
        fs::create_dir_all(&parent).map_err(ModelError::io("create", &parent))?;
        let gate = lock_file(&parent.join(GATE))?;
        gate.lock().map_err(ModelError::io("lock", &parent.join(GATE)))?;
        sweep(&parent);
        let id = format!("{}-{:08x}", std::process::id(), fastrand::u32(..));
        let folder = parent.join(&id);
        let lock_path = parent.join(format!("{id}.{LOCK}"));
        let lock = lock_file(&lock_path)?;
        lock.try_lock().map_err(|error| ModelError::io("lock", &lock_path)(error.into()))?;
        fs::create_dir(&folder).map_err(ModelError::io("create", &folder))?;
        Ok(Self { folder, lock_file: lock_path, _lock: lock })
    }

    /// The folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Puts the folder in its place, where nothing may be, once all of it is on the disk.
    pub(super) fn commit(&self, to: &Path) -> Result<(), CommitError> {
        sync_folders(&self.folder)?;
        let parent = to.parent().unwrap_or(to);
        let mut tries = 0;
        loop {
            fs::create_dir_all(parent).map_err(ModelError::io("create", parent))?;
            match fs::rename(&self.folder, to) {
                Ok(()) => break,
                // A folder cannot replace one that has something in it, and every model has.
                Err(_) if to.symlink_metadata().is_ok() => return Err(CommitError::Taken),
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < TRIES => tries += 1,
                Err(error) => return Err(ModelError::io("write", to)(error).into()),
            }
        }
        sync_folder(parent)?;
        parent.parent().map_or(Ok(()), sync_folder)?;
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Whatever stays is swept later. The lock's file goes last: a folder without one is nobody's.
        let _ = fs::remove_dir_all(&self.folder);
        let _ = fs::remove_file(&self.lock_file);
    }
}

fn lock_file(path: &Path) -> Result<File, ModelError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).open(path).map_err(ModelError::io("open", path))
}

/// Removes what belongs to nobody who lives. What cannot be removed now is tried again by the next.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.with_extension(LOCK).exists() {
            let _ = fs::remove_dir_all(&path);
        } else if path.extension().is_some_and(|extension| extension == LOCK) {
            let is_free = File::open(&path).is_ok_and(|file| file.try_lock().is_ok());
            let folder = path.with_extension("");
            if is_free && (!folder.exists() || fs::remove_dir_all(&folder).is_ok()) {
                let _ = fs::remove_file(&path);
            }
        }
    }
}

/// Has the names in this folder, and in those below it, survive a loss of power.
fn sync_folders(folder: &Path) -> Result<(), ModelError> {
    for entry in fs::read_dir(folder).map_err(ModelError::io("read", folder))? {
        let entry = entry.map_err(ModelError::io("read", folder))?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            sync_folders(&entry.path())?;
        }
    }
    sync_folder(folder)
}

/// On systems where a folder cannot be opened, they see to it themselves.
pub(super) fn sync_folder(folder: &Path) -> Result<(), ModelError> {
    if !cfg!(unix) {
        return Ok(());
    }
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(ModelError::io("write", folder))
}
