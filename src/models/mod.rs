//! The model store: saved models, addressed by tag.
//!
//! ```text
//! $EKIDEN_HOME/models/           ~/.ekiden/models/ without that variable
//!   iris_clf/                    a name
//!     20261126-143015-4f3a9c/    a version: made up, so that it sorts by time, or given
//!       model.toml               what it is: format, signatures, labels, and the size and SHA-256 of each file
//!       weights.safetensors      its files
//!   .tmp/                        what is in the making
//! ```
//! A tag is `name`, `name:latest`, `name:version`, or as much of the version as is unique.
//!
//! What always holds, for any number of processes that are killed at any moment: a version is there whole or not at all; it
//! never changes; of two that save one version, one succeeds. What comes from elsewhere is checked before it is there, and
//! what is loaded is checked before it is used.
//!
//! In the order of reading: [`tag`](Tag), `files` and `digest`, [`manifest`](Manifest) with `signature` and [`format`](Format),
//! [`model`](Model), [`store`](Store); `staging` and `draft` are how a version appears; [`save`](Save), [`import`](Import) and
//! [`export`](Export) with `archive`; `verify`. `located` and `fingerprint` are how a runner holds on to what it was given.

mod archive;
mod digest;
mod draft;
mod error;
mod export;
mod files;
mod fingerprint;
mod format;
mod import;
mod located;
mod manifest;
mod model;
mod progress;
mod save;
mod signature;
mod staging;
mod store;
mod tag;
mod verify;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use archive::ARCHIVE;
pub use digest::Digest;
pub use error::ModelError;
pub use export::Export;
pub use files::{FilePath, MANIFEST};
pub use format::Format;
pub use import::Import;
pub(crate) use located::LocatedModel;
pub use located::is_path;
pub use manifest::{FileEntry, Manifest};
pub use model::Model;
pub use progress::Progress;
pub use save::Save;
pub use signature::MethodSignature;
pub use store::{Broken, Listing, Store};
pub use tag::{ModelName, Selector, Tag, Version};

/// Begins to save a model in the user's store: see [`Save`].
///
/// # Errors
/// [`ModelError::NoHome`].
pub fn save(name: impl Into<String>) -> Result<Save, ModelError> {
    Ok(Store::open()?.save(name))
}

/// The model of this tag in the user's store.
///
/// # Errors
/// As of [`Store::get`].
pub fn get(tag: &str) -> Result<Model, ModelError> {
    Store::open()?.get(tag)
}

/// All models in the user's store.
///
/// # Errors
/// As of [`Store::list`].
pub fn list() -> Result<Listing, ModelError> {
    Store::open()?.list()
}

/// Deletes the model of this tag from the user's store, and returns its tag with the version in full.
///
/// # Errors
/// As of [`Store::delete`].
pub fn delete(tag: &str) -> Result<Tag, ModelError> {
    Store::open()?.delete(tag)
}

/// Begins to import a file, an archive or an exported folder into the user's store: see [`Import`].
///
/// # Errors
/// [`ModelError::NoHome`].
pub fn import(path: impl Into<PathBuf>) -> Result<Import<'static>, ModelError> {
    Ok(Store::open()?.import(path))
}

/// Begins to export the model of this tag from the user's store: see [`Export`].
///
/// # Errors
/// As of [`Store::export`].
pub fn export(tag: &str) -> Result<Export<'static>, ModelError> {
    Store::open()?.export(tag)
}

/// The model that lies at this path, in no store: see [`Model::open`].
///
/// # Errors
/// As there.
pub fn open(path: impl AsRef<Path>) -> Result<Model, ModelError> {
    Model::open(path)
}
