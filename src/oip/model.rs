//! Methods as the protocol's models: their names and versions.

use std::sync::Arc;

use ekiden_actors::CallError;

use crate::serving::{MethodHandle, RunnerEntry, Serving, suggest};

/// A method of a runner, as a model: `{runner}` where the runner has one method, `{runner}.{method}` otherwise. Its version is
/// that of the runner's model in the model store, where it has one.
#[derive(Clone, Debug)]
pub struct Model {
    runner: Arc<RunnerEntry>,
    /// Of the method.
    index: usize,
}

impl Model {
    /// The model of this name, and of this version where one is given. A runner's own name goes before a method's.
    ///
    /// # Errors
    /// [`CallError::NotFound`], which says what there is.
    pub fn find(serving: &Serving, name: &str, version: Option<&str>) -> Result<Self, CallError> {
        let runners = serving.runners();
        let sole = runners.iter().find(|runner| runner.name == name && runner.methods.len() == 1);
        let found = sole.map(|runner| (runner, 0)).or_else(|| {
            runners.iter().filter(|runner| runner.methods.len() > 1).find_map(|runner| {
                let method = name.strip_prefix(runner.name.as_str())?.strip_prefix('.')?;
                let index = runner.methods.iter().position(|own| own.name() == method)?;
                Some((runner, index))
            })
        });
        let Some((runner, index)) = found else { return Err(not_found(serving, name)) };
        let model = Self { runner: Arc::clone(runner), index };
        match (version, model.version()) {
            (None, _) => Ok(model),
            (Some(asked), Some(served)) if asked == served => Ok(model),
            (Some(asked), Some(served)) => {
                let problem =
                    format!("model \"{name}\" has no version \"{asked}\"; it is served in version \"{served}\"");
                Err(CallError::NotFound(problem.into()))
            }
            (Some(asked), None) => {
                let problem =
                    format!("model \"{name}\" has no version \"{asked}\", as it is from no model store: ask for none");
                Err(CallError::NotFound(problem.into()))
            }
        }
    }

    /// All models, in the order of the configuration.
    pub fn all(serving: &Serving) -> Vec<Self> {
        let runners = serving.runners();
        let of = |runner: &Arc<RunnerEntry>| {
            let runner = Arc::clone(runner);
            (0..runner.methods.len()).map(move |index| Self { runner: Arc::clone(&runner), index })
        };
        runners.iter().flat_map(of).collect()
    }

    /// Its name.
    pub fn name(&self) -> String {
        match self.runner.methods.len() {
            1 => self.runner.name.clone(),
            _ => format!("{}.{}", self.runner.name, self.method().name()),
        }
    }

    /// Its version, where it has one.
    pub fn version(&self) -> Option<&str> {
        self.runner.version.as_deref()
    }

    /// The runner.
    pub fn runner(&self) -> &Arc<RunnerEntry> {
        &self.runner
    }

    /// The method.
    pub fn method(&self) -> &MethodHandle {
        &self.runner.methods[self.index]
    }

    /// Why it takes no calls; `None` where it does.
    pub fn not_ready(&self) -> Option<String> {
        self.runner.not_ready()
    }
}

fn not_found(serving: &Serving, name: &str) -> CallError {
    let runners = serving.runners();
    let several = runners.iter().find(|runner| runner.name == name && runner.methods.len() > 1);
    let hint = match several {
        Some(runner) => {
            let models: Vec<String> =
                runner.methods.iter().map(|method| format!("\"{name}.{}\"", method.name())).collect();
            format!("; runner \"{name}\" has several methods, which are the models {}", models.join(", "))
        }
        None => {
            let names: Vec<String> = Model::all(serving).iter().map(Model::name).collect();
            suggest(name, names.iter().map(String::as_str))
        }
    };
    CallError::NotFound(format!("there is no model \"{name}\"{hint}").into())
}
