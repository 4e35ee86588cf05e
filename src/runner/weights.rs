//! A model's weights, on their way into a module of Burn.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use burn::store::{
    ApplyError, ApplyResult, KeyRemapper, ModuleSnapshot, ModuleStore, PyTorchToBurnAdapter, PytorchStore,
    SafetensorsStore,
};

use crate::models::{Format, Model, ModelError};

/// Weights of a model, and how to fit them into a module.
///
/// ```no_run
/// # use ekiden::prelude::*;
/// # use burn::nn::Linear;
/// # fn load(ctx: &OpenContext<()>, mut net: Linear) -> Result<Linear, OpenError> {
/// ctx.model("iris_clf")?.weights().rename("^encoder\\.", "").load_into(&mut net)?;
/// # Ok(net)
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is loaded before `load_into`"]
pub struct Weights {
    model: Model,
    file: Option<String>,
    renames: Vec<(String, String)>,
    top_level_key: Option<String>,
    from_pytorch: bool,
    allow_missing: bool,
    allow_unexpected: bool,
}

impl Model {
    /// Its weights: those in its main file, `.safetensors` or a checkpoint of PyTorch, unless
    /// [`file`](Weights::file) names another.
    pub fn weights(&self) -> Weights {
        Weights {
            model: self.clone(),
            file: None,
            renames: Vec::new(),
            top_level_key: None,
            from_pytorch: false,
            allow_missing: false,
            allow_unexpected: false,
        }
    }
}

impl Weights {
    /// Those in another of the model's files: `encoder.safetensors`.
    pub fn file(mut self, path: impl Into<String>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// Replaces what a regular expression finds in the keys of the file, where `$1` is its first group. One after the other
    /// is applied, in the order in which they are given.
    pub fn rename(mut self, pattern: impl Into<String>, with: impl Into<String>) -> Self {
        self.renames.push((pattern.into(), with.into()));
        self
    }

    /// The key in a checkpoint of PyTorch below which its tensors are: `state_dict`.
    pub fn top_level_key(mut self, key: impl Into<String>) -> Self {
        self.top_level_key = Some(key.into());
        self
    }

    /// Takes a `.safetensors` file for one that PyTorch has written: weights of linear layers are transposed, and norms have
    /// their names. Checkpoints always are.
    pub fn from_pytorch(mut self) -> Self {
        self.from_pytorch = true;
        self
    }

    /// Leaves as they are the module's tensors that the file does not have.
    pub fn allow_missing(mut self) -> Self {
        self.allow_missing = true;
        self
    }

    /// Passes over the file's tensors that the module does not have.
    pub fn allow_unexpected(mut self) -> Self {
        self.allow_unexpected = true;
        self
    }

    /// Loads them into a module, which is to be thrown away where that fails: some of its tensors may be new, and others not.
    ///
    /// # Errors
    /// [`WeightsError`], with every key that is missing, unexpected or of another shape.
    pub fn load_into<M: ModuleSnapshot>(self, module: &mut M) -> Result<(), WeightsError> {
        let path = match &self.file {
            Some(file) => self.model.file(file)?,
            None => self.model.main_file()?,
        };
        let mut remapper = KeyRemapper::new();
        for (pattern, with) in &self.renames {
            remapper = remapper
                .add_pattern(pattern, with)
                .map_err(|error| WeightsError::Rename { pattern: pattern.clone(), message: error.to_string() })?;
        }
        let format = Format::of(&path);
        let applied = match format {
            Some(Format::Safetensors) => {
                let store = || {
                    let store = SafetensorsStore::from_file(&path).validate(false).allow_partial(true);
                    match self.from_pytorch {
                        true => store.with_from_adapter(PyTorchToBurnAdapter).skip_enum_variants(true),
                        false => store,
                    }
                };
                apply(module, &path, store(), &mut store().remap(remapper), !self.renames.is_empty())?
            }
            Some(Format::Pytorch) => {
                let store = || {
                    let store = PytorchStore::from_file(&path).validate(false).allow_partial(true);
                    match &self.top_level_key {
                        Some(key) => store.with_top_level_key(key),
                        None => store,
                    }
                };
                apply(module, &path, store(), &mut store().remap(remapper), !self.renames.is_empty())?
            }
            _ => return Err(unreadable(&path, &"its name ends neither in .safetensors nor in .pt or .pth")),
        };
        let mismatch = self.judge(&applied);
        mismatch.map_or(Ok(()), |mismatch| Err(WeightsError::Mismatch { path, mismatch }))
    }

    fn judge(&self, applied: &ApplyResult) -> Option<WeightsMismatch> {
        let mut found = WeightsMismatch {
            missing: applied.missing.iter().map(|(name, _container)| name.clone()).collect(),
            unexpected: applied.unused.clone(),
            unfit: applied.errors.iter().map(unfit).collect(),
        };
        if self.allow_missing {
            found.missing.clear();
        }
        if self.allow_unexpected {
            found.unexpected.clear();
        }
        // The store reports in no certain order.
        [&mut found.missing, &mut found.unexpected, &mut found.unfit].into_iter().for_each(|names| names.sort());
        (found != WeightsMismatch::default()).then_some(found)
    }
}

/// Applies a store's tensors to a module, whose keys may have been renamed; `plain` is the same store without.
fn apply<S: ModuleStore>(
    module: &mut impl ModuleSnapshot,
    path: &Path,
    mut plain: S,
    store: &mut S,
    is_renamed: bool,
) -> Result<ApplyResult, WeightsError> {
    let bad = |error: S::Error| unreadable(path, &error);
    if is_renamed {
        // Of two tensors that have become one, the store would keep either, and say nothing.
        let before: BTreeSet<String> = plain.keys().map_err(bad)?.into_iter().collect();
        let after: BTreeSet<String> = store.keys().map_err(bad)?.into_iter().collect();
        if after.len() < before.len() {
            let lost = before.len() - after.len();
            return Err(WeightsError::Clash { path: path.to_owned(), lost });
        }
    }
    module.load_from(store).map_err(bad)
}

fn unreadable(path: &Path, problem: &dyn fmt::Display) -> WeightsError {
    WeightsError::Unreadable { path: path.to_owned(), message: problem.to_string() }
}

fn unfit(error: &ApplyError) -> String {
    match error {
        ApplyError::ShapeMismatch { path, expected, found } => {
            format!("{path} of shape {:?} in place of {:?}", found.as_slice(), expected.as_slice())
        }
        ApplyError::DTypeMismatch { path, expected, found } => {
            format!("{path} of dtype {found:?} in place of {expected:?}")
        }
        ApplyError::AdapterError { path, message } | ApplyError::LoadError { path, message } => {
            format!("{path} ({message})")
        }
    }
}

/// Why weights were not loaded.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The model has no such file.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// It is no file of weights, or one cut short.
    #[error("the weights {} cannot be read: {message}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The reader's reason.
        message: String,
    },
    /// No regular expression.
    #[error("the keys cannot be renamed by {pattern:?}: {message}")]
    Rename {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        message: String,
    },
    /// Several tensors have the same key once they have been renamed.
    #[error("the keys of {} cannot be renamed so: {lost} would have the same name as another", path.display())]
    Clash {
        /// The file.
        path: PathBuf,
        /// How many would be lost.
        lost: usize,
    },
    /// They are of another module.
    #[error("the weights {} do not fit: {mismatch}", path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// All of it.
        mismatch: WeightsMismatch,
    },
}

/// How the tensors of a file differ from those of a module; at least one list has an element.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WeightsMismatch {
    /// Tensors that the module needs and the file lacks.
    pub missing: Vec<String>,
    /// Tensors that the file has and the module knows nothing of, by the names that they were given.
    pub unexpected: Vec<String>,
    /// Tensors that both have, each with what differs: shape or dtype.
    pub unfit: Vec<String>,
}

impl WeightsMismatch {
    /// What stands before each name that the file has, where all would fit without it.
    fn prefix(&self) -> Option<&str> {
        let before = |name: &String| {
            self.unexpected
                .iter()
                .find_map(|found| found.strip_suffix(name.as_str()).filter(|before| before.ends_with('.')))
        };
        let mut prefixes = self.missing.iter().map(before);
        let first = prefixes.next()??;
        prefixes.all(|prefix| prefix == Some(first)).then_some(first)
    }
}

impl fmt::Display for WeightsMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lists = [("missing", &self.missing), ("unexpected", &self.unexpected), ("unfit", &self.unfit)];
        let lists = lists.iter().filter(|(_, names)| !names.is_empty());
        let parts: Vec<String> = lists.map(|(kind, names)| format!("{kind} {}", names.join(", "))).collect();
        f.write_str(&parts.join("; "))?;
        match self.prefix() {
            Some(prefix) => {
                write!(
                    f,
                    "; without \"{prefix}\" before them, all are there: .rename(\"^{}\", \"\")",
                    prefix.replace('.', "\\\\.")
                )
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
