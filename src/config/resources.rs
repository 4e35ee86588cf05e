//! What a runner asks of the machine.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;

use ekiden_actors::Weight;

use super::origin::Sourced;
use super::runner::stronger_of;
use crate::device::DeviceName;

/// NVIDIA GPUs, by their indices among those that this process may see (`CUDA_VISIBLE_DEVICES`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NvidiaGpus {
    /// None: 0 or -1.
    #[default]
    None,
    /// The first so many; at least one.
    Count(usize),
    /// These; at least one, each once.
    Indices(Vec<usize>),
    /// All that there are, be it none: "system".
    System,
}

impl fmt::Display for NvidiaGpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("0"),
            Self::Count(count) => count.fmt(f),
            Self::Indices(indices) => write!(f, "{indices:?}"),
            Self::System => f.write_str("system"),
        }
    }
}

/// Adapters of wgpu, by their indices as `ekiden devices` lists them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Adapters {
    /// None: 0 or -1.
    #[default]
    None,
    /// The first so many; at least one.
    Count(usize),
    /// These; at least one, each once.
    Indices(Vec<usize>),
    /// All whose name contains this, in whatever case.
    Named(String),
}

impl fmt::Display for Adapters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("0"),
            Self::Count(count) => count.fmt(f),
            Self::Indices(indices) => write!(f, "{indices:?}"),
            Self::Named(name) => write!(f, "{name:?}"),
        }
    }
}

/// How much of a custom resource, as it was written: its kind knows what texts mean.
#[derive(Clone, Debug, PartialEq)]
pub enum Amount {
    /// A number of at least 0.
    Number(f64),
    /// A text, for a kind that reads one.
    Text(String),
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// Which device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The best that is here and that the runnable supports, be it the CPU.
    Auto,
    /// This one.
    Named(DeviceName),
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Named(name) => name.fmt(f),
        }
    }
}

/// What a runner asks of the machine; `None`: not said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResourceOptions {
    /// CPUs: above 0, at most 1024.
    pub cpu: Option<Sourced<f64>>,
    /// NVIDIA GPUs.
    pub nvidia_gpu: Option<Sourced<NvidiaGpus>>,
    /// Adapters of wgpu.
    pub gpu: Option<Sourced<Adapters>>,
    /// Other resources by name.
    pub custom: BTreeMap<String, Sourced<Amount>>,
    /// The device of its executors.
    pub device: Option<Sourced<DeviceChoice>>,
    /// The name of the strategy that makes executors of all this.
    pub strategy: Option<Sourced<String>>,
    /// Executors for each unit of a resource: above 0, at most 1024.
    pub workers_per_resource: Option<Sourced<f64>>,
    /// Whether the executors' threads are bound to cores.
    pub pin: Option<Sourced<bool>>,
    /// Batches that an executor on a GPU is given at once: 1 to 8.
    pub pipeline_depth: Option<Sourced<NonZeroUsize>>,
    /// Whether what a GPU computes is compared with the CPU's when a model is opened.
    pub golden_check: Option<Sourced<bool>>,
    /// Its share of GPUs that other runners use too.
    pub weight: Option<Sourced<Weight>>,
}

impl ResourceOptions {
    /// Batches that an executor on a GPU is given at once, unless somebody says otherwise: one that its device works on, and
    /// the next.
    pub(crate) const PIPELINE_DEPTH: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);

    pub(super) fn overlay(self, stronger: Self) -> Self {
        let mut custom = self.custom;
        custom.extend(stronger.custom);
        Self {
            cpu: stronger_of(self.cpu, stronger.cpu),
            nvidia_gpu: stronger_of(self.nvidia_gpu, stronger.nvidia_gpu),
            gpu: stronger_of(self.gpu, stronger.gpu),
            custom,
            device: stronger_of(self.device, stronger.device),
            strategy: stronger_of(self.strategy, stronger.strategy),
            workers_per_resource: stronger_of(self.workers_per_resource, stronger.workers_per_resource),
            pin: stronger_of(self.pin, stronger.pin),
            pipeline_depth: stronger_of(self.pipeline_depth, stronger.pipeline_depth),
            golden_check: stronger_of(self.golden_check, stronger.golden_check),
            weight: stronger_of(self.weight, stronger.weight),
        }
    }
}
