//! Importing a model: from one file of a known kind, from an archive, or from a folder that was exported.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::archive::{self, ARCHIVE};
use super::digest::{self, CopyError};
use super::files::{FilePath, MANIFEST};
use super::format::Format;
use super::manifest::{FileEntry, Manifest};
use super::progress::{Meter, Progress};
use super::signature::MethodSignature;
use super::staging::Staging;
use super::tag::{ModelName, Version};
use super::{Model, ModelError, Store, draft, verify};

/// The most bytes of a model's files that an archive may ask for, unless the caller says otherwise: 256 GiB.
const MOST_BYTES: u64 = 256 << 30;

/// A model that is being imported.
#[must_use = "nothing is imported before `run`"]
pub struct Import<'a> {
    store: Store,
    path: PathBuf,
    name: Option<String>,
    version: Option<String>,
    labels: BTreeMap<String, String>,
    most_bytes: u64,
    progress: Box<dyn FnMut(Progress) + 'a>,
}

impl<'a> Import<'a> {
    pub(super) fn new(store: Store, path: PathBuf) -> Self {
        let (labels, progress) = (BTreeMap::new(), Box::new(|_| ()));
        Self { store, path, name: None, version: None, labels, most_bytes: MOST_BYTES, progress }
    }

    /// Its name, in place of that in the archive, or of the file's own.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Its version, in place of that in the archive, or of one made up that sorts by time.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// A label, beside those that an archive has.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// The most bytes that the files of an archive may take.
    pub fn most_bytes(mut self, most_bytes: u64) -> Self {
        self.most_bytes = most_bytes;
        self
    }

    /// Is told how far it is.
    pub fn progress<'b>(self, progress: impl FnMut(Progress) + 'b) -> Import<'b>
    where
        'a: 'b,
    {
        Import { progress: Box::new(progress), ..self }
    }

    /// Imports it. Nothing is seen of the model before all of it is on the disk and was found right, and nothing is left
    /// where that fails.
    ///
    /// # Errors
    /// [`ModelError`]: what is wrong with the path, with what lies there, or with what was said of it.
    pub fn run(self) -> Result<Model, ModelError> {
        let name: Option<ModelName> = self.name.as_deref().map(str::parse).transpose()?;
        let version: Option<Version> = self.version.as_deref().map(str::parse).transpose()?;
        let about = self.path.metadata().map_err(ModelError::io("read", &self.path))?;
        if about.is_dir() {
            return self.described(name, version, |import, staging, admit| import.folder(staging, admit));
        }
        if !about.is_file() {
            let problem = "it is neither a file nor a folder".to_owned();
            return Err(ModelError::Format { path: self.path, problem });
        }
        if self.path.extension().is_some_and(|extension| extension == ARCHIVE) {
            return self.described(name, version, |import, staging, admit| {
                archive::unpack(&import.path, staging.folder(), import.most_bytes, admit, &mut import.progress)
            });
        }
        let name = match name {
            Some(name) => name,
            None => name_of(&self.path)?,
        };
        draft::check_free(&self.store, &name, version.as_ref())?;
        self.file(name, version)
    }

    /// Imports what brings its own description.
    fn described(
        mut self,
        name: Option<ModelName>,
        version: Option<Version>,
        stage: impl FnOnce(
            &mut Self,
            &Staging,
            &dyn Fn(&Manifest) -> Result<(), ModelError>,
        ) -> Result<Manifest, ModelError>,
    ) -> Result<Model, ModelError> {
        let staging = Staging::begin(self.store.path())?;
        let store = self.store.clone();
        let admit = |manifest: &Manifest| {
            let name = name.as_ref().unwrap_or(&manifest.name);
            draft::check_free(&store, name, Some(version.as_ref().unwrap_or(&manifest.version)))
        };
        let mut manifest = stage(&mut self, &staging, &admit)?;
        manifest.labels.append(&mut self.labels);
        manifest.name = name.unwrap_or(manifest.name);
        let version = version.unwrap_or_else(|| manifest.version.clone());
        draft::commit(&self.store, &staging, manifest, Some(version))
    }

    /// Stages a folder that was exported.
    fn folder(
        &mut self,
        staging: &Staging,
        admit: &dyn Fn(&Manifest) -> Result<(), ModelError>,
    ) -> Result<Manifest, ModelError> {
        if !self.path.join(MANIFEST).is_file() {
            let problem = format!("the folder has no {MANIFEST}, and so is no model");
            return Err(ModelError::Format { path: self.path.clone(), problem });
        }
        let model = Model::in_folder(&self.path)?;
        admit(model.manifest())?;
        let mut meter = Meter::new(model.manifest().size(), &mut self.progress);
        for entry in &model.manifest().files {
            let from = entry.path.within(&self.path);
            let copied = copy(&from, &entry.path, staging.folder(), &mut meter)?;
            verify::check(entry, &from, copied.size, copied.sha256)?;
        }
        Ok(model.manifest().clone())
    }

    /// Imports a file that is a model by itself, with what belongs to it.
    fn file(mut self, name: ModelName, version: Option<Version>) -> Result<Model, ModelError> {
        let format = Format::of(&self.path).ok_or_else(|| {
            let problem = "what it is can be told by how its name ends: .onnx, .safetensors, .pt, .pth, or .ekiden for an archive";
            ModelError::Format { path: self.path.clone(), problem: problem.to_owned() }
        })?;
        let mut frameworks = format.inspect(&self.path)?;
        frameworks.append(&mut draft::frameworks());
        let signatures = match format {
            Format::Onnx => onnx_signatures(&self.path)?,
            _ => Vec::new(),
        };
        let sources = self.sources(&format)?;
        let sizes = sources.iter().map(|(path, _)| path.metadata().map(|about| about.len()).unwrap_or(0));
        let mut meter = Meter::new(sizes.sum(), &mut self.progress);
        let staging = Staging::begin(self.store.path())?;
        let mut files = Vec::new();
        for (from, to) in &sources {
            files.push(copy(from, to, staging.folder(), &mut meter)?);
        }
        let manifest = Manifest {
            name,
            version: draft::placeholder()?,
            created: Timestamp::now(),
            format,
            source: self.path.file_name().map(|name| name.to_string_lossy().into_owned()),
            labels: self.labels,
            metadata: serde_json::Map::new(),
            frameworks,
            signatures,
            files,
        };
        draft::commit(&self.store, &staging, manifest, version)
    }

    /// What is to be copied, each with its place in the model; the main file first.
    fn sources(&self, format: &Format) -> Result<Vec<(PathBuf, FilePath)>, ModelError> {
        let mut sources = vec![(self.path.clone(), format.file_name().parse()?)];
        if *format == Format::Onnx {
            let beside = self.path.parent().unwrap_or(Path::new(""));
            for file in onnx_external_files(&self.path)? {
                sources.push((file.within(beside), file));
            }
        }
        Ok(sources)
    }
}

impl fmt::Debug for Import<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { store, path, name, version, labels, most_bytes, progress: _ } = self;
        let mut debug = f.debug_struct("Import");
        debug.field("store", store).field("path", path).field("name", name).field("version", version);
        debug.field("labels", labels).field("most_bytes", most_bytes).finish_non_exhaustive()
    }
}

/// What an ONNX file is served as: found out by running it. One that cannot be served is not imported.
fn onnx_signatures(onnx: &Path) -> Result<Vec<MethodSignature>, ModelError> {
    let signature = crate::onnx::signature(onnx).map_err(|error| onnx_problem(onnx, &error.to_string()))?;
    Ok(vec![MethodSignature { method: "predict".to_owned(), signature }])
}

/// The files beside an ONNX file in which it keeps its larger tensors, relative to it.
fn onnx_external_files(onnx: &Path) -> Result<Vec<FilePath>, ModelError> {
    let files = crate::onnx::external_files(onnx).map_err(|error| onnx_problem(onnx, &error.to_string()))?;
    let beside = |file: &String| {
        let problem = |_| onnx_problem(onnx, &format!("it keeps tensors in \"{file}\", which is not beside it"));
        file.parse().map_err(problem)
    };
    files.iter().map(beside).collect()
}

/// The error names the file itself.
fn onnx_problem(onnx: &Path, error: &str) -> ModelError {
    let problem = error.strip_prefix(&format!("{}: ", onnx.display())).unwrap_or(error);
    ModelError::Format { path: onnx.to_owned(), problem: problem.to_owned() }
}

fn name_of(path: &Path) -> Result<ModelName, ModelError> {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let problem = "no name for the model can be made of the file's, which has no letter of a to z and no digit: give it one (--name)";
    ModelName::near(stem).ok_or_else(|| ModelError::Format { path: path.to_owned(), problem: problem.to_owned() })
}

/// Copies a file into a folder, where it is on the disk when this returns.
pub(super) fn copy(from: &Path, to: &FilePath, folder: &Path, meter: &mut Meter<'_>) -> Result<FileEntry, ModelError> {
    let path = to.within(folder);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(ModelError::io("create", parent))?;
    }
    let mut source = File::open(from).map_err(ModelError::io("read", from))?;
    let cannot_write = || ModelError::io("write", &path);
    let mut copy = OpenOptions::new().write(true).create_new(true).open(&path).map_err(cannot_write())?;
    let (size, sha256) =
        digest::copy(&mut source, &mut copy, |bytes| meter.add(bytes)).map_err(|error| match error {
            CopyError::Read(error) => ModelError::io("read", from)(error),
            CopyError::Write(error) => cannot_write()(error),
        })?;
    copy.sync_all().map_err(cannot_write())?;
    Ok(FileEntry { path: to.clone(), size, sha256 })
}
