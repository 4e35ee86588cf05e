//! User code: what a runnable is, and what it is given when it is opened.

use burn::tensor::Device;
use ekiden_actors::OpenError;
use serde::de::DeserializeOwned;

use super::Methods;
use crate::models::{LocatedModel, Model};

/// A kind of resource that a runnable can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResourceKind {
    /// CUDA devices.
    NvidiaGpu,
    /// GPUs of any make: through wgpu, Vulkan, Metal or ROCm.
    Wgpu,
    /// CPU cores.
    Cpu,
}

impl ResourceKind {
    /// As messages name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::NvidiaGpu => "nvidia_gpu",
            Self::Wgpu => "gpu",
            Self::Cpu => "cpu",
        }
    }
}

/// User code that serves: a type with methods, opened once per executor on that executor's device and thread.
///
/// It never leaves its thread, so that it need not be `Send`; where a method panics, the value is thrown away and
/// opened anew.
pub trait Runnable: Sized + 'static {
    /// What `[runners.params]` holds in `runners.toml`; `()` for none.
    type Params: DeserializeOwned + Clone + Send + Sync + 'static;

    /// The kinds of resource it can run on.
    const SUPPORTS: &'static [ResourceKind] = &[ResourceKind::Cpu];

    /// Whether one instance makes use of several CPU threads. If so, a runner has one executor with all its threads;
    /// otherwise, as many executors as it has CPUs.
    const SUPPORTS_CPU_MULTI_THREADING: bool = false;

    /// Opens it on a device: loads weights, builds tables.
    ///
    /// # Errors
    /// Why it cannot be opened. The first time, that makes its runner `failed`; later, it is tried again.
    fn open(ctx: &OpenContext<Self::Params>) -> Result<Self, OpenError>;

    /// Declares its methods.
    fn methods(methods: &mut Methods<Self>);

    /// Declares its methods where they depend on its parameters or models, as those of a graph in a file do. It is called
    /// whenever a configuration is checked; the device of `ctx` is the CPU.
    ///
    /// # Errors
    /// Why they cannot be told.
    fn declare(ctx: &OpenContext<Self::Params>, methods: &mut Methods<Self>) -> Result<(), OpenError> {
        let _ = ctx;
        Self::methods(methods);
        Ok(())
    }
}

/// What a runnable is given when it is opened.
#[derive(Clone, Debug)]
pub struct OpenContext<P> {
    pub(super) params: P,
    pub(super) device: Device,
    pub(super) others: Vec<Device>,
    pub(super) threads: usize,
    pub(super) models: Vec<LocatedModel>,
}

impl<P> OpenContext<P> {
    /// Before there are executors.
    pub(crate) fn on_host(params: P, models: Vec<LocatedModel>) -> Self {
        Self { params, device: Device::flex(), others: Vec::new(), threads: 1, models }
    }

    /// The device to put weights and inputs on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// All devices of this executor, that one first: several where `workers_per_resource` is below 1.
    pub fn devices(&self) -> impl Iterator<Item = &Device> {
        std::iter::once(&self.device).chain(&self.others)
    }

    /// The parameters of its runner.
    pub fn params(&self) -> &P {
        &self.params
    }

    /// CPU threads that it may use; Burn's CPU operations do so by themselves.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// The models of its runner, as its configuration names them.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        self.models.iter().map(|model| model.asked.as_str())
    }

    /// A model of its runner: as the runner's configuration names it, or by the model's name alone. It is the version that
    /// was found when the runner was prepared, whatever has become the latest since, and its files have been compared
    /// with their digests.
    ///
    /// # Errors
    /// If the runner lists no such model, or it is gone or damaged.
    pub fn model(&self, name: &str) -> Result<Model, OpenError> {
        let mut by_name = self.models.iter().filter(|model| model.name == name);
        let found = self.models.iter().find(|model| model.asked == name).or_else(|| by_name.next());
        let unknown =
            || format!("the runner lists no model \"{name}\"{}", crate::serving::suggest(name, self.models()));
        found.ok_or_else(|| OpenError::new(unknown()))?.open().map_err(OpenError::from)
    }

    /// The model that the runner serves: the one that `model` names, else the first of its `models`.
    ///
    /// # Errors
    /// If the runner has none, or it is gone or damaged.
    pub fn first_model(&self) -> Result<Model, OpenError> {
        let first = self
            .models
            .first()
            .ok_or_else(|| OpenError::new("the runner has no model: say which, as in model = \"name:latest\""))?;
        first.open().map_err(OpenError::from)
    }
}
