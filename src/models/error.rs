//! What can be wrong with a model, or with what was asked of the store: each error says what, where, and what to do.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use super::tag::{NAME_RULE, Tag};

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A name or a version that none may have.
    #[error("{found:?} cannot be a model's {what}: it is {NAME_RULE}")]
    Name {
        /// `name` or `version`.
        what: &'static str,
        /// The text as found.
        found: String,
    },
    /// Text that is no tag.
    #[error("{found:?} is no model's tag; expected \"name\", \"name:latest\" or \"name:version\"")]
    Tag {
        /// The text as found.
        found: String,
    },
    /// A path that no file of a model may have.
    #[error("{found:?} cannot be a file of a model: {why}")]
    FilePath {
        /// The path as found.
        found: String,
        /// Which rule it breaks.
        why: &'static str,
    },
    /// There is no folder to keep models in.
    #[error("neither EKIDEN_HOME nor HOME is set, so that there is no model store")]
    NoHome,
    /// The store has no such model.
    #[error("there is no model \"{tag}\" in {}{hint}", store.display())]
    NotFound {
        /// What was asked for.
        tag: Tag,
        /// Where it was looked for.
        store: PathBuf,
        /// Near names, or the versions that there are.
        hint: String,
    },
    /// A version that might be the one that is meant cannot be read.
    #[error(
        "\"{tag}\" might be {broken}, which is broken: {error}; name another version, or delete that one: \
             `ekiden models delete {broken}`"
    )]
    Broken {
        /// What was asked for.
        tag: Tag,
        /// The version, named in full.
        broken: Tag,
        /// What is wrong with it.
        error: Box<ModelError>,
    },
    /// Several versions begin like that.
    #[error("\"{tag}\" could be any of {}; write more of it", versions.join(", "))]
    Ambiguous {
        /// What was asked for.
        tag: Tag,
        /// The versions, oldest first.
        versions: Vec<String>,
    },
    /// Somebody has saved that version before.
    #[error("model \"{tag}\" exists already, and versions never change; give another version, or delete that one")]
    Exists {
        /// The tag.
        tag: Tag,
    },
    /// A file or folder that would be written over.
    #[error("{} exists already, and is not written over", path.display())]
    TargetExists {
        /// Where it is.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// `read`, `write`, ….
        doing: &'static str,
        /// What.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A `model.toml` that does not describe a model.
    #[error("{}: {problem}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A model whose files are not what its `model.toml` says.
    #[error("{} is damaged: {problem}; import the model again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was expected and what is there.
        problem: String,
    },
    /// A file that a runner was prepared for, and that is another one now.
    #[error("{} has changed since its runner was prepared; `ekiden reload` takes over what it is now", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// An archive that is not whole, or not to be trusted.
    #[error("{} is refused: {problem}; nothing was imported", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A file that is not what its name says, or of which nothing is known.
    #[error("{}: {problem}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The model has no such file.
    #[error("model \"{model}\" has no file {file:?}{hint}")]
    NoFile {
        /// The model's tag, or where it lies.
        model: String,
        /// The file as asked for.
        file: String,
        /// The files that there are.
        hint: String,
    },
    /// What was to write the model's files has failed; nothing was saved.
    #[error("the model's files could not be written, and nothing was saved: {0}")]
    Write(#[source] Box<dyn Error + Send + Sync>),
    /// The runnable whose signatures were to be saved is declared wrongly.
    #[error("the runnable's signatures cannot be saved: it is declared wrongly: {0}")]
    Signatures(String),
    /// There is nothing to save.
    #[error("the model has no files, and nothing was saved")]
    Empty,
}

impl ModelError {
    /// For `map_err` on what the system was asked.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }
}
