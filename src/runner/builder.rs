//! A runner built in code.

use std::any::type_name;
use std::fmt;
use std::sync::Arc;

use super::strategy::Strategy;
use super::{LocalRunner, Runnable};
use crate::config::{CodeOptions, Isolation, Setting};

/// A named runnable plus its resources, limits and models, as code says; `runners.toml` and everything above it in the
/// layers overrides what is said here.
///
/// What is wrong with an option is reported when the app starts, with all other errors of its configuration.
pub struct Runner<R: Runnable> {
    pub(crate) name: String,
    pub(crate) params: R::Params,
    /// The one that it serves.
    pub(crate) model: Option<String>,
    pub(crate) models: Vec<String>,
    pub(crate) strategy: Option<Arc<dyn Strategy>>,
    settings: Vec<(&'static str, Setting)>,
    resources: Vec<(String, f64)>,
    methods: Vec<(String, MethodConfig)>,
}

impl<R: Runnable> Runner<R> {
    /// A runner of `R` with these parameters, named after the type: `iris_clf` for `IrisClf`.
    pub fn new(params: R::Params) -> Self {
        Self {
            name: snake_case(type_name::<R>()),
            params,
            model: None,
            models: Vec::new(),
            strategy: None,
            settings: Vec::new(),
            resources: Vec::new(),
            methods: Vec::new(),
        }
    }

    /// Its name: `[a-z0-9]([-._a-z0-9]*[a-z0-9])?`, at most 63 characters.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// How resources become executors.
    #[must_use]
    pub fn strategy(mut self, strategy: impl Strategy) -> Self {
        self.strategy = Some(Arc::new(strategy));
        self
    }

    /// The model that it serves, which is the first of its models: a tag in the model store, or a path.
    #[must_use]
    pub fn model(mut self, model: impl Into<String>) -> Self {
        let model = model.into();
        self.model = Some(model.clone());
        self.set("model", model)
    }

    /// More models that [`OpenContext::model`](super::OpenContext::model) finds: tags in the model store, or paths.
    #[must_use]
    pub fn models<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.models = tags.into_iter().map(Into::into).collect();
        let tags = self.models.clone();
        self.set("models", tags)
    }

    /// Whether the server is ready, for load balancers, only while this runner is; it is unless told otherwise.
    #[must_use]
    pub fn required(self, required: bool) -> Self {
        self.set("required", required)
    }

    /// CPUs, above 0.
    #[must_use]
    pub fn cpu(self, cpu: f64) -> Self {
        self.set("cpu", cpu)
    }

    /// NVIDIA GPUs: a count, or a list of indices (`vec![2, 7]`).
    #[must_use]
    pub fn nvidia_gpu(self, gpus: impl Into<Setting>) -> Self {
        self.set("nvidia_gpu", gpus)
    }

    /// GPUs that wgpu reaches, whatever the make: a count, a list of indices, or a part of a name.
    #[must_use]
    pub fn gpu(self, gpus: impl Into<Setting>) -> Self {
        self.set("gpu", gpus)
    }

    /// The device of its executors: "auto", "flex", "cuda:1".
    #[must_use]
    pub fn device(self, device: impl Into<String>) -> Self {
        self.set("device", device.into())
    }

    /// Executors for each unit of a resource, above 0: 2.0 is two on each GPU, 0.5 is one over two.
    #[must_use]
    pub fn workers_per_resource(self, workers: f64) -> Self {
        self.set("workers_per_resource", workers)
    }

    /// An amount of another resource, for a strategy of your own.
    #[must_use]
    pub fn custom_resource(mut self, name: impl Into<String>, amount: f64) -> Self {
        self.resources.push((name.into(), amount));
        self
    }

    /// Where its executors live: on threads, or in child processes, which a crash of model code does not outlive.
    ///
    /// Processes need [`App::run_child`](crate::App::run_child) as the first line of `main`.
    #[must_use]
    pub fn isolation(self, isolation: Isolation) -> Self {
        self.set("isolation", isolation.name())
    }

    /// Rows in a batch, at most.
    #[must_use]
    pub fn max_batch_size(self, rows: usize) -> Self {
        self.set("max_batch_size", rows)
    }

    /// Milliseconds that the oldest call may be kept waiting for company while an executor is free.
    #[must_use]
    pub fn max_latency_ms(self, milliseconds: u64) -> Self {
        self.set("max_latency_ms", milliseconds)
    }

    /// Any other option, by its key in `runners.toml`: `set("max_restarts", 3_u32)`.
    #[must_use]
    pub fn set(mut self, key: &'static str, value: impl Into<Setting>) -> Self {
        self.settings.push((key, value.into()));
        self
    }

    /// What holds for one method only.
    #[must_use]
    pub fn method_config(mut self, method: impl Into<String>, config: MethodConfig) -> Self {
        self.methods.push((method.into(), config));
        self
    }

    /// Opens the runnable here and now, on this thread and the CPU: no actors, no batching, no supervision.
    ///
    /// For tests and notebooks; it logs a warning that says so, and one that the runner's resources and limits are
    /// ignored.
    ///
    /// # Errors
    /// Why it cannot be opened.
    pub fn init_local(self) -> Result<LocalRunner<R>, super::LocalError> {
        LocalRunner::open(self)
    }

    pub(crate) fn options(&self) -> CodeOptions {
        let mut options = CodeOptions::new(&self.name);
        for (key, value) in &self.settings {
            options = options.set(key, value.clone());
        }
        for (name, amount) in &self.resources {
            options = options.custom_resource(name, *amount);
        }
        for (method, config) in &self.methods {
            for (key, value) in &config.settings {
                options = options.method(method, key, value.clone());
            }
        }
        options
    }
}

// By hand, since a derived one would ask the runnable itself to be `Clone`.
impl<R: Runnable> Clone for Runner<R> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            params: self.params.clone(),
            model: self.model.clone(),
            models: self.models.clone(),
            strategy: self.strategy.clone(),
            settings: self.settings.clone(),
            resources: self.resources.clone(),
            methods: self.methods.clone(),
        }
    }
}

impl<R: Runnable> fmt::Debug for Runner<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner").field("name", &self.name).field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// What holds for one method of a runner.
#[derive(Clone, Debug, Default)]
pub struct MethodConfig {
    settings: Vec<(&'static str, Setting)>,
}

impl MethodConfig {
    /// Nothing but the runner's own options.
    pub fn new() -> Self {
        Self::default()
    }

    /// Rows in a batch, at most.
    #[must_use]
    pub fn max_batch_size(self, rows: usize) -> Self {
        self.set("max_batch_size", rows)
    }

    /// Milliseconds that the oldest call may be kept waiting for company while an executor is free.
    #[must_use]
    pub fn max_latency_ms(self, milliseconds: u64) -> Self {
        self.set("max_latency_ms", milliseconds)
    }

    /// Any other option, by its key in `runners.toml`.
    #[must_use]
    pub fn set(mut self, key: &'static str, value: impl Into<Setting>) -> Self {
        self.settings.push((key, value.into()));
        self
    }
}

/// `iris_clf` for `some::path::IrisClf<T>`.
fn snake_case(type_name: &str) -> String {
    let base = type_name.split('<').next().unwrap_or(type_name);
    let base = base.rsplit("::").next().unwrap_or(base);
    let mut name = String::new();
    let mut last_lower = false;
    for c in base.chars() {
        if c.is_ascii_uppercase() && last_lower {
            name.push('_');
        }
        last_lower = c.is_ascii_lowercase() || c.is_ascii_digit();
        name.push(c.to_ascii_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::snake_case;

    #[test]
    fn names_after_types() {
        let check = |name, expected| assert_eq!(snake_case(name), expected);
        check("IrisClf", "iris_clf");
        check("my_crate::models::IrisClf", "iris_clf");
        check("a::Gpt2<b::C>", "gpt2");
        check("BERTBase", "bertbase");
    }
}
