//! Where an executor runs.

use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};

use super::DeviceName;

/// Where one executor runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Its devices, at least one. The first is the one that it is opened on.
    pub devices: Vec<DeviceName>,
    /// Its CPU threads.
    pub threads: NonZeroUsize,
    /// The cores that these are bound to, by the system's numbers; none: wherever the system puts them.
    pub cores: Vec<usize>,
}

impl Placement {
    /// On the CPU.
    pub fn cpu(threads: NonZeroUsize) -> Self {
        Self { devices: vec![DeviceName::Flex], threads, cores: Vec::new() }
    }

    /// On GPUs, with the one thread that feeds them.
    pub fn on(devices: Vec<DeviceName>) -> Self {
        Self { devices, threads: NonZeroUsize::MIN, cores: Vec::new() }
    }

    /// The device that the executor is opened on.
    pub fn device(&self) -> &DeviceName {
        self.devices.first().unwrap_or(&DeviceName::Flex)
    }
}
