//! A model between its files, which are staged, and its place in the store.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;

use jiff::{Span, Timestamp};

use super::files::MANIFEST;
use super::manifest::Manifest;
use super::staging::{CommitError, Staging};
use super::tag::{ModelName, Tag, Version};
use super::{Model, ModelError, Store};

/// How often a version is made up before it is given up: each is one in 16 within its microsecond.
const TRIES: u32 = 64;

/// Writes `model.toml` beside the staged files, and puts all of it in its place. Where no version is given, one is made
/// up, so that it sorts by time.
pub(super) fn commit(
    store: &Store,
    staging: &Staging,
    mut manifest: Manifest,
    version: Option<Version>,
) -> Result<Model, ModelError> {
    let mut tries = 0;
    loop {
        manifest.version = match &version {
            Some(version) => version.clone(),
            None => new_version(manifest.created, tries)?,
        };
        write(staging, &manifest)?;
        let folder = store.folder(&manifest.name, &manifest.version);
        match staging.commit(&folder) {
            Ok(()) => return Model::in_folder(&folder),
            Err(CommitError::Taken) if version.is_none() && tries < TRIES => tries += 1,
            Err(CommitError::Taken) => return Err(ModelError::Exists { tag: manifest.tag() }),
            Err(CommitError::Other(error)) => return Err(error),
        }
    }
}

/// Refuses at once what would be refused at last.
pub(super) fn check_free(store: &Store, name: &ModelName, version: Option<&Version>) -> Result<(), ModelError> {
    match version {
        Some(version) if store.folder(name, version).exists() => {
            Err(ModelError::Exists { tag: Tag::new(name, version) })
        }
        _ => Ok(()),
    }
}

/// What a model was made with, whatever else.
pub(super) fn frameworks() -> BTreeMap<String, String> {
    BTreeMap::from([("ekiden".to_owned(), env!("CARGO_PKG_VERSION").to_owned())])
}

/// Stands in a manifest until its version is known.
pub(super) fn placeholder() -> Result<Version, ModelError> {
    "0".parse()
}

/// `20261126-143015-4f3a9c`: the time in UTC, in microseconds at last, in five digits to the base of 16, and one by chance; a
/// microsecond later for each try that somebody was before.
fn new_version(created: Timestamp, tries: u32) -> Result<Version, ModelError> {
    let created = created.checked_add(Span::new().microseconds(tries)).unwrap_or(created);
    let microsecond = created.subsec_microsecond();
    format!("{}-{microsecond:05x}{:x}", created.strftime("%Y%m%d-%H%M%S"), fastrand::u8(..16)).parse()
}

fn write(staging: &Staging, manifest: &Manifest) -> Result<(), ModelError> {
    let path = staging.folder().join(MANIFEST);
    let text = manifest.to_toml().map_err(|problem| ModelError::Manifest { path: path.clone(), problem })?;
    let written = OpenOptions::new().write(true).create(true).truncate(true).open(&path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(ModelError::io("write", &path))
}
