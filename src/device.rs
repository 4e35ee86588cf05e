//! Devices: the one file that knows which backends this program was built with.

use std::fmt;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

/// A device, by name: what a strategy chooses and an executor opens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DeviceName {
    /// The CPU, through Burn's Flex backend.
    Flex,
    /// The best adapter that wgpu finds (Vulkan, Metal, DX12 or WebGPU). Needs the Cargo feature `wgpu`.
    Wgpu,
    /// The CUDA device of this index. Needs the Cargo feature `cuda`.
    Cuda(usize),
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flex => f.write_str("flex"),
            Self::Wgpu => f.write_str("wgpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

/// The device is of a kind that this program was built without.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("device {0}: this program was built without the Cargo feature \"{1}\"; it has: {has}", has = built_in().join(", "))]
pub struct NotBuiltIn(DeviceName, &'static str);

/// The kinds of device that this program was built with.
pub fn built_in() -> Vec<&'static str> {
    let mut kinds = vec!["flex"];
    if cfg!(feature = "wgpu") {
        kinds.push("wgpu");
    }
    if cfg!(feature = "cuda") {
        kinds.push("cuda");
    }
    kinds
}

/// Opens a device.
///
/// # Errors
/// [`NotBuiltIn`].
pub(crate) fn open(name: &DeviceName) -> Result<Device, NotBuiltIn> {
    match name {
        DeviceName::Flex => Ok(Device::flex()),
        #[cfg(feature = "wgpu")]
        DeviceName::Wgpu => Ok(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
        #[cfg(not(feature = "wgpu"))]
        DeviceName::Wgpu => Err(NotBuiltIn(name.clone(), "wgpu")),
        #[cfg(feature = "cuda")]
        DeviceName::Cuda(index) => Ok(Device::cuda(*index)),
        #[cfg(not(feature = "cuda"))]
        DeviceName::Cuda(_) => Err(NotBuiltIn(name.clone(), "cuda")),
    }
}

/// Checks that a device can be opened, without opening it.
///
/// # Errors
/// [`NotBuiltIn`].
pub(crate) fn check(name: &DeviceName) -> Result<(), NotBuiltIn> {
    match name {
        DeviceName::Wgpu if !cfg!(feature = "wgpu") => Err(NotBuiltIn(name.clone(), "wgpu")),
        DeviceName::Cuda(_) if !cfg!(feature = "cuda") => Err(NotBuiltIn(name.clone(), "cuda")),
        DeviceName::Flex | DeviceName::Wgpu | DeviceName::Cuda(_) => Ok(()),
    }
}
