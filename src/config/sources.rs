//! What a configuration is loaded from.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::env::Names;
use super::error::{ConfigError, Problem};
use super::file::{self, FileLayer};
use super::name::RunnerName;
use super::origin::Origin;
use super::overrides::Override;

/// Where configuration comes from: at most one file, variables, and the command line. Empty until told otherwise.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    file: Option<File>,
    pub(super) variables: Vec<(OsString, OsString)>,
    pub(super) overrides: Vec<Override>,
    known: Names,
}

#[derive(Clone, Debug)]
enum File {
    Path(PathBuf),
    Text { name: String, text: String },
}

impl Sources {
    /// Built-in defaults only.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads this file when loaded; a missing one is an error. Relative paths in it start at its folder.
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(File::Path(path.into()));
        self
    }

    /// Takes `text` for the content of a file called `name` in messages.
    pub fn text(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.file = Some(File::Text { name: name.into(), text: text.into() });
        self
    }

    /// Adds variables; those that do not begin with `EKIDEN__` are ignored.
    pub fn variables<N: Into<OsString>, V: Into<OsString>>(
        mut self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        self.variables.extend(variables.into_iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// Adds the variables of this process.
    pub fn process_variables(self) -> Self {
        self.variables(std::env::vars_os())
    }

    /// Adds the argument of `--set`: `KEY=VALUE`. Later ones win.
    pub fn set(mut self, assignment: impl Into<String>) -> Self {
        self.overrides.push(Override::Set(assignment.into()));
        self
    }

    /// Adds a flag that sets one option: `flag("--bind", "server.bind", "0.0.0.0:80")`.
    pub fn flag(mut self, flag: impl Into<String>, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.overrides.push(Override::Flag { flag: flag.into(), key: key.into(), value: value.into() });
        self
    }

    /// Tells of a runner that code defines, so that variables and `--set` may name it, and of its methods.
    pub fn known_runner(mut self, name: &RunnerName, methods: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.known.entry(name.to_string()).or_default().extend(methods.into_iter().map(Into::into));
        self
    }

    /// The folder of the file, from where the paths in it lead; empty, the working directory, where there is no file.
    pub(crate) fn folder(&self) -> &Path {
        match &self.file {
            Some(File::Path(path)) => path.parent().unwrap_or(Path::new("")),
            Some(File::Text { .. }) | None => Path::new(""),
        }
    }

    /// Reads the file. `None`: it could not be read, as reported.
    pub(super) fn read_file(&self, errors: &mut Vec<ConfigError>) -> Option<FileLayer> {
        match &self.file {
            None => Some(FileLayer::default()),
            Some(File::Text { name, text }) => file::read(name, text, errors),
            Some(File::Path(path)) => {
                let name = path.display().to_string();
                match std::fs::read_to_string(path) {
                    Ok(text) => file::read(&name, &text, errors),
                    Err(error) => {
                        let origin = Origin::File { name: name.into(), line: 0 };
                        errors.push(ConfigError { origin, path: String::new(), problem: Problem::Unreadable(error) });
                        None
                    }
                }
            }
        }
    }

    /// The runners and methods that the file and the code name.
    pub(super) fn names(&self, file: &FileLayer) -> Names {
        let mut names = self.known.clone();
        for (runner, method) in file.labels.keys() {
            // Only runners with a valid name can be named elsewhere.
            if runner.parse::<RunnerName>().is_ok() {
                names.entry(runner.clone()).or_default().extend(method.clone());
            }
        }
        names
    }
}
