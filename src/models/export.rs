//! Exporting a model: to an archive, or to a folder.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::archive::{self, ARCHIVE};
use super::files::MANIFEST;
use super::progress::{Meter, Progress};
use super::{Model, ModelError, import, staging, verify};

/// A model that is being exported.
#[must_use = "nothing is exported before `to`"]
pub struct Export<'a> {
    model: Model,
    progress: Box<dyn FnMut(Progress) + 'a>,
}

impl<'a> Export<'a> {
    pub(super) fn new(model: Model) -> Self {
        Self { model, progress: Box::new(|_| ()) }
    }

    /// Is told how far it is.
    pub fn progress<'b>(self, progress: impl FnMut(Progress) + 'b) -> Export<'b>
    where
        'a: 'b,
    {
        Export { progress: Box::new(progress), ..self }
    }

    /// Writes it to an archive where the path ends in `.ekiden`, else to a folder, and returns what it was. Nothing may be
    /// there yet, and what is there then is whole: its files are checked on the way.
    ///
    /// # Errors
    /// [`ModelError`]: something is there, a file is damaged, or what the system refused.
    pub fn to(mut self, path: impl AsRef<Path>) -> Result<Model, ModelError> {
        let path = path.as_ref();
        if path.symlink_metadata().is_ok() {
            return Err(ModelError::TargetExists { path: path.to_owned() });
        }
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // Else the error would name what is being made.
        parent.metadata().map_err(ModelError::io("write into", parent))?;
        let making = Making::beside(path);
        let mut meter = Meter::new(self.model.manifest().size(), &mut self.progress);
        if path.extension().is_some_and(|extension| extension == ARCHIVE) {
            archive::pack(&self.model, &making.0, &mut meter)?;
        } else {
            folder(&self.model, &making.0, &mut meter)?;
        }
        fs::rename(&making.0, path).map_err(ModelError::io("write", path))?;
        staging::sync_folder(parent)?;
        Ok(self.model)
    }
}

impl fmt::Debug for Export<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export").field("model", &self.model).finish_non_exhaustive()
    }
}

/// What is being written, under a name of its own beside that which it is to get; removed unless it got there.
struct Making(PathBuf);

impl Making {
    fn beside(path: &Path) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Self(path.with_file_name(format!(".{name}.{}-{:08x}.part", std::process::id(), fastrand::u32(..))))
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        let _ = if self.0.is_dir() { fs::remove_dir_all(&self.0) } else { fs::remove_file(&self.0) };
    }
}

fn folder(model: &Model, to: &Path, meter: &mut Meter<'_>) -> Result<(), ModelError> {
    fs::create_dir(to).map_err(ModelError::io("create", to))?;
    for entry in &model.manifest().files {
        let from = model.file(entry.path.as_str())?;
        let copied = import::copy(&from, &entry.path, to, meter)?;
        verify::check(entry, &from, copied.size, copied.sha256)?;
    }
    let path = to.join(MANIFEST);
    let text = model.manifest().to_toml().map_err(|problem| ModelError::Manifest { path: path.clone(), problem })?;
    fs::write(&path, text).map_err(ModelError::io("write", &path))
}
