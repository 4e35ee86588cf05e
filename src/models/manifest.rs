//! `model.toml`: what a model is, who made it with what, and what its files must be.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::files::FilePath;
use super::format::Format;
use super::signature::{MethodSignature, RawSignature};
use super::tag::{ModelName, Tag, Version};

/// The form of the file that this program writes, and the newest that it reads.
const SCHEMA: u32 = 1;

/// The most files of a model.
const MOST_FILES: usize = 10_000;

/// The largest `model.toml`, in bytes.
pub(super) const LARGEST: u64 = 4 << 20;

/// What a model is.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The model's name.
    pub name: ModelName,
    /// Its version.
    pub version: Version,
    /// When it was made; it keeps this time where it is exported and imported.
    pub created: Timestamp,
    /// The kind of its files.
    pub format: Format,
    /// What the file was called that it was imported from.
    pub source: Option<String>,
    /// For people and programs to find it by.
    pub labels: BTreeMap<String, String>,
    /// Anything else that is to be kept with it: no nulls, which TOML does not have.
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// Versions of what it was made with, by name.
    pub frameworks: BTreeMap<String, String>,
    /// What its methods take and return.
    pub signatures: Vec<MethodSignature>,
    /// Its files, each once, at least one.
    pub files: Vec<FileEntry>,
}

/// One file of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Where it lies in the model's folder.
    pub path: FilePath,
    /// Bytes.
    pub size: u64,
    /// The digest of its content.
    pub sha256: Digest,
}

/// The file as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    schema: u32,
    name: String,
    version: String,
    created: Timestamp,
    format: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    metadata: serde_json::Map<String, serde_json::Value>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    frameworks: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    signatures: Vec<RawSignature>,
    files: Vec<RawFile>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    path: String,
    size: u64,
    sha256: String,
}

/// The one key that every form of the file has.
#[derive(Deserialize)]
struct Schema {
    schema: u32,
}

impl Manifest {
    /// Reads a `model.toml`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let message = |error: toml::de::Error| error.to_string().trim_end().to_owned();
        let Schema { schema } = toml::from_str(text).map_err(message)?;
        if schema != SCHEMA {
            return Err(format!("schema {schema} is not known to this version of Ekiden, which reads {SCHEMA}"));
        }
        toml::from_str::<Raw>(text).map_err(message)?.try_into()
    }

    /// The `model.toml`.
    ///
    /// # Errors
    /// What TOML cannot hold.
    pub fn to_toml(&self) -> Result<String, String> {
        let file = |file: &FileEntry| RawFile {
            path: file.path.to_string(),
            size: file.size,
            sha256: file.sha256.to_string(),
        };
        let raw = Raw {
            schema: SCHEMA,
            name: self.name.to_string(),
            version: self.version.to_string(),
            created: self.created,
            format: self.format.to_string(),
            source: self.source.clone(),
            labels: self.labels.clone(),
            metadata: self.metadata.clone(),
            frameworks: self.frameworks.clone(),
            signatures: self.signatures.iter().map(RawSignature::from).collect(),
            files: self.files.iter().map(file).collect(),
        };
        let text = toml::to_string(&raw).map_err(|error| error.to_string())?;
        if text.len() as u64 > LARGEST {
            return Err(format!("it would have {} bytes, more than {LARGEST}", text.len()));
        }
        // What is written is read again by the same rules, so that no program can save what none can open.
        Self::parse(&text)?;
        Ok(text)
    }

    /// The model's tag, with its version in full.
    pub fn tag(&self) -> Tag {
        Tag::new(&self.name, &self.version)
    }

    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).fold(0, u64::saturating_add)
    }

    /// The file of this path.
    pub fn file(&self, path: &str) -> Option<&FileEntry> {
        self.files.iter().find(|file| file.path.as_str() == path)
    }
}

impl TryFrom<Raw> for Manifest {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, String> {
        let problem = |error: super::ModelError| error.to_string();
        let mut files = Vec::new();
        for file in raw.files {
            let at = |problem: String| format!("file {:?}: {problem}", file.path);
            files.push(FileEntry {
                path: file.path.parse().map_err(problem)?,
                size: file.size,
                sha256: file.sha256.parse().map_err(|error| at(format!("sha256: {error}")))?,
            });
        }
        check_files(&files)?;
        if let Some(key) = raw.labels.keys().find(|key| key.is_empty() || key.contains('=')) {
            return Err(format!("label {key:?}: a key is not empty and has no \"=\""));
        }
        let signatures: Vec<MethodSignature> =
            raw.signatures.into_iter().map(MethodSignature::try_from).collect::<Result<_, _>>()?;
        let mut methods = BTreeSet::new();
        if let Some(twice) = signatures.iter().find(|signature| !methods.insert(signature.method.as_str())) {
            return Err(format!("method {:?} has two signatures", twice.method));
        }
        Ok(Self {
            name: raw.name.parse().map_err(problem)?,
            version: raw.version.parse().map_err(problem)?,
            created: raw.created,
            format: raw.format.parse().map_err(problem)?,
            source: raw.source,
            labels: raw.labels,
            metadata: raw.metadata,
            frameworks: raw.frameworks,
            signatures,
            files,
        })
    }
}

/// Looks whether a folder can hold these files.
fn check_files(files: &[FileEntry]) -> Result<(), String> {
    if files.is_empty() || files.len() > MOST_FILES {
        return Err(format!("a model has 1 to {MOST_FILES} files, and this one {}", files.len()));
    }
    let mut paths = BTreeSet::new();
    if let Some(twice) = files.iter().find(|file| !paths.insert(file.path.as_str())) {
        return Err(format!("file {:?} is there twice", twice.path.as_str()));
    }
    for path in &paths {
        let mut folders = path.match_indices('/').map(|(end, _)| &path[..end]);
        if let Some(file) = folders.find(|folder| paths.contains(folder)) {
            return Err(format!("{file:?} is a file, and a folder of {path:?}"));
        }
    }
    let total = files.iter().try_fold(0_u64, |total, file| total.checked_add(file.size));
    total.map(drop).ok_or_else(|| "the sizes of the files are no sizes of files".to_owned())
}
