//! Saving a model from the program that has made it.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;

use jiff::Timestamp;

use super::digest::{self, CopyError};
use super::files::FilePath;
use super::format::Format;
use super::manifest::{FileEntry, Manifest};
use super::signature::MethodSignature;
use super::staging::Staging;
use super::{Model, ModelError, Store, draft};
use crate::value::Signature;

/// A model that is being saved: what is to be known of it, and at last its files.
///
/// ```no_run
/// # fn write_weights(file: std::path::PathBuf) -> std::io::Result<()> { Ok(()) }
/// # fn main() -> Result<(), ekiden::models::ModelError> {
/// let model = ekiden::models::save("iris_clf")?
///     .label("team", "flowers")
///     .metadata("accuracy", 0.97)
///     .write(|folder| write_weights(folder.join("weights.safetensors")))?;
/// println!("saved {model}"); // saved iris_clf:20261126-143015-4f3a9c
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing is saved before `write`"]
pub struct Save {
    store: Store,
    name: String,
    version: Option<String>,
    format: Option<String>,
    labels: BTreeMap<String, String>,
    metadata: serde_json::Map<String, serde_json::Value>,
    frameworks: BTreeMap<String, String>,
    signatures: Vec<MethodSignature>,
}

impl Save {
    pub(super) fn new(store: Store, name: String) -> Self {
        Self {
            store,
            name,
            version: None,
            format: None,
            labels: BTreeMap::new(),
            metadata: serde_json::Map::new(),
            frameworks: draft::frameworks(),
            signatures: Vec::new(),
        }
    }

    /// A version of your own, in place of one made up that sorts by time. No model of that version may exist.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// The kind of its files; it is known from the files' names unless they are of no known kind.
    pub fn format(mut self, format: impl Into<String>) -> Self {
        self.format = Some(format.into());
        self
    }

    /// A label to find it by.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Anything else that is to be kept with it.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<serde_json::Value>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// The version of something that it was made with. That of Ekiden, and of what wrote the weights where they say so,
    /// are known by themselves.
    pub fn framework(mut self, name: impl Into<String>, version: impl Into<String>) -> Self {
        self.frameworks.insert(name.into(), version.into());
        self
    }

    /// What one of its methods takes and returns.
    pub fn signature(mut self, method: impl Into<String>, signature: Signature) -> Self {
        self.signatures.push(MethodSignature { method: method.into(), signature });
        self
    }

    /// Has `write` put the model's files into a folder, and saves all that is there then. Nothing is seen of the model
    /// before all of it is on the disk, and nothing is left where `write` fails.
    ///
    /// # Errors
    /// [`ModelError`]: what was said of the model is wrong, `write` has failed, or the system refused.
    pub fn write<E: Into<Box<dyn Error + Send + Sync>>>(
        self,
        write: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<Model, ModelError> {
        let name = self.name.parse()?;
        let version = self.version.map(|version| version.parse()).transpose()?;
        let format = self.format.map(|format| format.parse()).transpose()?;
        draft::check_free(&self.store, &name, version.as_ref())?;
        let staging = Staging::begin(self.store.path())?;
        write(staging.folder()).map_err(|error| ModelError::Write(error.into()))?;
        let mut files = Vec::new();
        collect(staging.folder(), staging.folder(), &mut files)?;
        files.sort_by(|one, other| one.path.cmp(&other.path));
        if files.is_empty() {
            return Err(ModelError::Empty);
        }
        let mut frameworks = BTreeMap::new();
        for file in &files {
            if let Some(format) = Format::of(Path::new(file.path.as_str())) {
                frameworks.extend(format.inspect(&file.path.within(staging.folder()))?);
            }
        }
        frameworks.extend(self.frameworks);
        let manifest = Manifest {
            name,
            // Until one is made up.
            version: draft::placeholder()?,
            created: Timestamp::now(),
            format: format.unwrap_or_else(|| Format::of_files(files.iter().map(|file| &file.path))),
            source: None,
            labels: self.labels,
            metadata: self.metadata,
            frameworks,
            signatures: self.signatures,
            files,
        };
        draft::commit(&self.store, &staging, manifest, version)
    }
}

/// Takes down every file below a folder, and has it be on the disk.
fn collect(root: &Path, folder: &Path, files: &mut Vec<FileEntry>) -> Result<(), ModelError> {
    for entry in fs::read_dir(folder).map_err(ModelError::io("read", folder))? {
        let path = entry.map_err(ModelError::io("read", folder))?.path();
        let kind = path.symlink_metadata().map_err(ModelError::io("read", &path))?;
        if kind.is_dir() {
            collect(root, &path, files)?;
            continue;
        }
        let relative = path.strip_prefix(root).unwrap_or(&path);
        if !kind.is_file() {
            let found = relative.display().to_string();
            return Err(ModelError::FilePath {
                found,
                why: "it is neither file nor folder, but a link or something else",
            });
        }
        files.push(take_down(&path, FilePath::of(relative)?)?);
    }
    Ok(())
}

fn take_down(path: &Path, name: FilePath) -> Result<FileEntry, ModelError> {
    // On Windows, only who may write may ask for it to be on the disk.
    let mut file =
        OpenOptions::new().read(true).write(cfg!(windows)).open(path).map_err(ModelError::io("read", path))?;
    let (size, sha256) = digest::copy(&mut file, io::sink(), |_| ()).map_err(|error| match error {
        CopyError::Read(error) | CopyError::Write(error) => ModelError::io("read", path)(error),
    })?;
    file.sync_all().map_err(ModelError::io("write", path))?;
    Ok(FileEntry { path: name, size, sha256 })
}
