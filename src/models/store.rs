//! The store: a folder of models, `<name>/<version>/`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::files::MANIFEST;
use super::staging::{self, Staging};
use super::tag::{ModelName, Selector, Tag, Version};
use super::{Export, Import, Model, ModelError, Save};
use crate::home;
use crate::suggest::suggest;

/// A folder of models. Any number of processes may use it at once: a version appears whole or not at all, and never
/// changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    root: PathBuf,
}

/// What a store has.
#[derive(Debug, Default)]
pub struct Listing {
    /// The models by name, of each the newest version first.
    pub models: Vec<Model>,
    /// Folders that should be models, by name.
    pub broken: Vec<Broken>,
}

/// A folder where a model should be.
#[derive(Debug)]
pub struct Broken {
    /// What lies there should be called this.
    pub tag: Tag,
    /// The folder.
    pub path: PathBuf,
    /// What is wrong with it.
    pub error: ModelError,
}

impl Store {
    /// The user's store: `$EKIDEN_HOME/models`, or `~/.ekiden/models` without that variable.
    ///
    /// # Errors
    /// [`ModelError::NoHome`].
    pub fn open() -> Result<Self, ModelError> {
        Ok(Self::at(home::folder().ok_or(ModelError::NoHome)?.join("models")))
    }

    /// The store in this folder, which is made when the first model is saved.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { root: folder.into() }
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Begins to save a model, which is described first and written at last.
    pub fn save(&self, name: impl Into<String>) -> Save {
        Save::new(self.clone(), name.into())
    }

    /// Begins to import a file, an archive or an exported folder.
    pub fn import(&self, path: impl Into<PathBuf>) -> Import<'static> {
        Import::new(self.clone(), path.into())
    }

    /// Begins to export the model of this tag.
    ///
    /// # Errors
    /// As of [`get`](Self::get).
    pub fn export(&self, tag: &str) -> Result<Export<'static>, ModelError> {
        Ok(Export::new(self.get(tag)?))
    }

    /// All models.
    ///
    /// # Errors
    /// Only if the store itself cannot be read; a store that was never made has no models.
    pub fn list(&self) -> Result<Listing, ModelError> {
        let mut listing = Listing::default();
        let mut names: Vec<ModelName> = self.names()?;
        names.sort();
        for name in names {
            let mut versions = self.versions(&name)?;
            listing.models.append(&mut versions.models);
            listing.broken.append(&mut versions.broken);
        }
        Ok(listing)
    }

    /// All versions of one model, the newest first.
    ///
    /// # Errors
    /// If they cannot be read. Of a name that nobody has, there are none.
    pub fn versions(&self, name: &ModelName) -> Result<Listing, ModelError> {
        let mut listing = Listing::default();
        for version in entries::<Version>(&self.root.join(name.as_str()))? {
            match self.version(name, &version) {
                Ok(model) => listing.models.push(model),
                // Somebody has deleted it since.
                Err(ModelError::Io { .. }) if !self.folder(name, &version).exists() => {}
                Err(error) => {
                    let (tag, path) = (Tag::new(name, &version), self.folder(name, &version));
                    listing.broken.push(Broken { tag, path, error });
                }
            }
        }
        let age = |model: &Model| (model.manifest().created, model.manifest().version.clone());
        listing.models.sort_by_key(|model| std::cmp::Reverse(age(model)));
        listing.broken.sort_by(|one, other| one.tag.cmp(&other.tag));
        Ok(listing)
    }

    /// The model of this tag. `name` and `name:latest` are the version that was created last; a beginning of a version
    /// will do, where it is the only one that begins so.
    ///
    /// # Errors
    /// [`ModelError`]: it is no tag, there is no such model, there are several, or it cannot be read. Where a version is
    /// broken and might be the one that is meant, another one is not taken for it.
    pub fn get(&self, tag: &str) -> Result<Model, ModelError> {
        self.find(&tag.parse()?)
    }

    /// The model of this tag, parsed; as [`get`](Self::get).
    ///
    /// # Errors
    /// As there.
    pub fn find(&self, tag: &Tag) -> Result<Model, ModelError> {
        if let Some((version, _)) = self.exact(tag) {
            return self.version(&tag.name, &version);
        }
        let Listing { models, mut broken } = self.versions(&tag.name)?;
        let begins = |found: &Tag| match (&tag.version, &found.version) {
            (Selector::Latest, _) => true,
            (Selector::Version(begin), Selector::Version(version)) => version.starts_with(begin),
            (Selector::Version(_), Selector::Latest) => false,
        };
        broken.retain(|broken| begins(&broken.tag));
        if let Some(Broken { tag: broken, error, .. }) = broken.into_iter().next() {
            return Err(ModelError::Broken { tag: tag.clone(), broken, error: Box::new(error) });
        }
        let mut found: Vec<&Model> = models.iter().filter(|model| begins(&model.tag())).collect();
        if tag.version == Selector::Latest {
            found.truncate(1);
        }
        match *found.as_slice() {
            [only] => Ok(only.clone()),
            [] => Err(self.not_found(tag, &models)),
            _ => {
                let mut versions: Vec<String> =
                    found.iter().map(|model| model.manifest().version.to_string()).collect();
                versions.reverse();
                Err(ModelError::Ambiguous { tag: tag.clone(), versions })
            }
        }
    }

    /// Deletes the model of this tag, at once for everybody, and returns its tag with the version in full. What is named in
    /// full may be broken.
    ///
    /// # Errors
    /// As of [`get`](Self::get), or what the system refused.
    pub fn delete(&self, tag: &str) -> Result<Tag, ModelError> {
        let tag: Tag = tag.parse()?;
        let (tag, folder) = match self.exact(&tag) {
            Some((version, folder)) => (Tag::new(&tag.name, &version), folder),
            None => {
                let model = self.find(&tag)?;
                (model.tag(), model.path().to_owned())
            }
        };
        let folder = folder.as_path();
        let staging = Staging::begin(&self.root)?;
        fs::rename(folder, staging.folder().join("deleted")).map_err(ModelError::io("delete", folder))?;
        if let Some(name) = folder.parent() {
            staging::sync_folder(name)?;
            // It stays where it has other versions.
            let _ = fs::remove_dir(name);
        }
        Ok(tag)
    }

    /// The version that a tag names in full, and its folder, if there is one.
    fn exact(&self, tag: &Tag) -> Option<(Version, PathBuf)> {
        let Selector::Version(version) = &tag.version else { return None };
        let version: Version = version.parse().ok()?;
        let folder = self.folder(&tag.name, &version);
        folder.is_dir().then_some((version, folder))
    }

    /// Where a version lies, or would.
    pub(super) fn folder(&self, name: &ModelName, version: &Version) -> PathBuf {
        self.root.join(name.as_str()).join(version.as_str())
    }

    fn version(&self, name: &ModelName, version: &Version) -> Result<Model, ModelError> {
        let folder = self.folder(name, version);
        let model = Model::in_folder(&folder)?;
        let said = model.tag();
        if said == Tag::new(name, version) {
            return Ok(model);
        }
        let problem = format!("it says that it is {said}, and lies where {name}:{version} should");
        Err(ModelError::Manifest { path: folder.join(MANIFEST), problem })
    }

    fn names(&self) -> Result<Vec<ModelName>, ModelError> {
        entries(&self.root)
    }

    fn not_found(&self, tag: &Tag, versions: &[Model]) -> ModelError {
        let hint = if versions.is_empty() {
            let names: Vec<String> = self.names().unwrap_or_default().iter().map(ToString::to_string).collect();
            suggest(tag.name.as_str(), names.iter().map(String::as_str))
        } else {
            let versions: Vec<&str> = versions.iter().map(|model| model.manifest().version.as_str()).collect();
            suggest(&tag.version.to_string(), versions.into_iter())
        };
        ModelError::NotFound { tag: tag.clone(), store: self.root.clone(), hint }
    }
}

/// The folders in a folder whose names are such; a folder that is not there has none.
fn entries<T: std::str::FromStr>(folder: &Path) -> Result<Vec<T>, ModelError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(ModelError::io("read", folder)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(ModelError::io("read", folder))?;
        let name = entry.file_name().to_str().and_then(|name| name.parse().ok());
        names.extend(name.filter(|_| entry.path().is_dir()));
    }
    Ok(names)
}
