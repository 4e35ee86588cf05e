//! A model that is there: where it lies, and what it is.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::files::{FilePath, MANIFEST};
use super::format::Format;
use super::manifest::{self, FileEntry, Manifest};
use super::tag::{ModelName, Tag};
use super::verify::{self, Verified};
use super::{ModelError, digest};
use crate::suggest::suggest;

/// A model that is there, in the store or anywhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Its folder; for a file that was never imported, that file.
    path: PathBuf,
    manifest: Manifest,
    is_loose_file: bool,
}

impl Model {
    /// The model that lies at this path: a folder with a `model.toml`, or a file that was never imported, of which
    /// nothing is known that could be checked.
    ///
    /// # Errors
    /// [`ModelError`]: there is no model, or its description is wrong. Its files are not read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ModelError> {
        let path = path.as_ref();
        let about = path.metadata().map_err(ModelError::io("read", path))?;
        if about.is_dir() { Self::in_folder(path) } else { Self::of_file(path, about.len()) }
    }

    pub(super) fn in_folder(path: &Path) -> Result<Self, ModelError> {
        let file = path.join(MANIFEST);
        let mut text = String::new();
        let opened = File::open(&file).map_err(ModelError::io("read", &file))?;
        opened.take(manifest::LARGEST).read_to_string(&mut text).map_err(ModelError::io("read", &file))?;
        let manifest = Manifest::parse(&text).map_err(|problem| ModelError::Manifest { path: file, problem })?;
        Ok(Self { path: path.to_owned(), manifest, is_loose_file: false })
    }

    fn of_file(path: &Path, size: u64) -> Result<Self, ModelError> {
        let bad = |problem: &str| ModelError::Format { path: path.to_owned(), problem: problem.to_owned() };
        let format = Format::of(path).ok_or_else(|| {
            bad(match path.extension().is_some_and(|extension| extension == super::ARCHIVE) {
                true => "an archive is to be imported first: `ekiden models import`",
                false => "expected a folder with a model.toml, or a file that ends in .onnx, .safetensors, .pt or .pth",
            })
        })?;
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let name = ModelName::near(stem).map_or_else(|| "model".parse(), Ok)?;
        let manifest = Manifest {
            name,
            version: "file".parse()?,
            created: Timestamp::UNIX_EPOCH,
            files: vec![FileEntry {
                path: format.file_name().parse()?,
                size,
                // Of nothing: there is no digest to compare with.
                sha256: digest::Digest::NONE,
            }],
            format,
            source: path.file_name().map(|name| name.to_string_lossy().into_owned()),
            labels: Default::default(),
            metadata: Default::default(),
            frameworks: Default::default(),
            signatures: Vec::new(),
        };
        Ok(Self { path: path.to_owned(), manifest, is_loose_file: true })
    }

    /// Its name.
    pub fn name(&self) -> &ModelName {
        &self.manifest.name
    }

    /// Its tag, with its version in full; that of a file that was never imported says `file` for a version.
    pub fn tag(&self) -> Tag {
        self.manifest.tag()
    }

    /// What its `model.toml` says.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Its folder; for a file that was never imported, that file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is a file that was never imported.
    pub(super) fn is_loose_file(&self) -> bool {
        self.is_loose_file
    }

    /// One of its files, by its path in the model: `weights.safetensors`.
    ///
    /// # Errors
    /// [`ModelError::NoFile`], which lists the files.
    pub fn file(&self, path: &str) -> Result<PathBuf, ModelError> {
        let entry = self.manifest.file(path).ok_or_else(|| self.no_file(path))?;
        Ok(self.place(&entry.path))
    }

    /// Its main file: the only one of its format.
    ///
    /// # Errors
    /// [`ModelError::NoFile`], if there is none or more than one.
    pub fn main_file(&self) -> Result<PathBuf, ModelError> {
        let of_format =
            |file: &&FileEntry| Format::of(Path::new(file.path.as_str())).as_ref() == Some(&self.manifest.format);
        let mut files = self.manifest.files.iter().filter(of_format);
        match (files.next(), files.next()) {
            (Some(only), None) => Ok(self.place(&only.path)),
            _ => Err(self.no_file(&format!("that alone is {}", self.manifest.format))),
        }
    }

    /// Reads its files, and compares them with their digests.
    ///
    /// # Errors
    /// [`ModelError::Damaged`], or what the system refused.
    pub fn verify(&self) -> Result<(), ModelError> {
        self.verify_once(&Verified::default())
    }

    /// The same, but for files that are `verified`, and whose size and time of change stay what they were.
    pub(super) fn verify_once(&self, verified: &Verified) -> Result<(), ModelError> {
        if self.is_loose_file { Ok(()) } else { verify::files(&self.path, &self.manifest, verified) }
    }

    fn place(&self, file: &FilePath) -> PathBuf {
        if self.is_loose_file { self.path.clone() } else { file.within(&self.path) }
    }

    fn no_file(&self, path: &str) -> ModelError {
        let files = self.manifest.files.iter().map(|file| file.path.as_str());
        ModelError::NoFile { model: self.to_string(), file: path.to_owned(), hint: suggest(path, files) }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_loose_file { self.path.display().fmt(f) } else { self.tag().fmt(f) }
    }
}
