//! A model as a runner names it, and where that was found.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::archive::ARCHIVE;
use super::fingerprint::Fingerprint;
use super::format::Format;
use super::verify::Verified;
use super::{Model, ModelError, Store};

/// A model as a runner names it, and where that was found. Where a tag says `latest`, it stays with the version that it was
/// then; where a path leads to something that changes, with what lay there. It goes to executors, and into their processes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LocatedModel {
    /// As the runner names it: a tag, or a path.
    pub(crate) asked: String,
    /// What that was: a tag with its version, or the digest of what lay at the path.
    pub(crate) found: String,
    /// The model's name.
    pub(crate) name: String,
    /// The format of its files.
    pub(crate) format: Format,
    path: PathBuf,
    fingerprint: Fingerprint,
    /// Shared by all executors of this process, and by those that replace them.
    #[serde(skip)]
    verified: Verified,
}

impl LocatedModel {
    /// Looks it up: a tag in the user's store, a path where it is, from this folder on.
    pub(crate) fn find(asked: String, from: &Path) -> Result<Self, ModelError> {
        let model = if is_path(&asked) {
            let path = from.join(&asked);
            let path = std::path::absolute(&path).map_err(ModelError::io("find", &path))?;
            Model::open(path)?
        } else {
            Store::open()?.get(&asked)?
        };
        let fingerprint = Fingerprint::take(&model)?;
        let found = if is_path(&asked) { format!("sha256 {}", fingerprint.short()) } else { model.to_string() };
        let (name, format) = (model.name().to_string(), model.manifest().format.clone());
        Ok(Self {
            found,
            name,
            format,
            path: model.path().to_owned(),
            fingerprint,
            verified: Verified::default(),
            asked,
        })
    }

    /// Opens it, its files checked.
    ///
    /// # Errors
    /// [`ModelError::Changed`] where it is not what it was, among others.
    pub(crate) fn open(&self) -> Result<Model, ModelError> {
        self.fingerprint.check()?;
        let model = Model::open(&self.path)?;
        model.verify_once(&self.verified)?;
        Ok(model)
    }
}

/// Whether it is a path rather than a tag: it has a separator, begins with a dot, or ends as a model's file does.
pub fn is_path(text: &str) -> bool {
    let path = Path::new(text);
    let is_file = Format::of(path).is_some() || path.extension().is_some_and(|extension| extension == ARCHIVE);
    text.contains(std::path::is_separator) || text.starts_with('.') || is_file && !text.contains(':')
}
