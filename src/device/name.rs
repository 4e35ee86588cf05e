//! How devices are written: `flex`, `cuda:0`, `vulkan:1`, `wgpu`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::suggest::nearest;

/// A way to a device: one of Burn's backends, and for those on wgpu the graphics API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// NVIDIA GPUs. Needs the Cargo feature `cuda`.
    Cuda,
    /// AMD GPUs. Needs the Cargo feature `rocm`.
    Rocm,
    /// Apple GPUs, by shaders in Metal's language. Needs the Cargo feature `metal`.
    Metal,
    /// Any GPU with a Vulkan driver, by shaders in SPIR-V. Needs the Cargo feature `vulkan`.
    Vulkan,
    /// Any adapter that wgpu finds (Vulkan, Metal, DX12). Needs the Cargo feature `wgpu`.
    Wgpu,
    /// The CPU. Always there.
    Flex,
}

impl Backend {
    /// All of them, those that are fastest where they work first.
    pub const ALL: [Self; 6] = [Self::Cuda, Self::Rocm, Self::Metal, Self::Vulkan, Self::Wgpu, Self::Flex];

    /// What it is called in a device's name, and so is the Cargo feature that builds it in.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cuda => "cuda",
            Self::Rocm => "rocm",
            Self::Metal => "metal",
            Self::Vulkan => "vulkan",
            Self::Wgpu => "wgpu",
            Self::Flex => "flex",
        }
    }

    /// Its device of this index; there is only one flex.
    pub fn device(self, index: usize) -> DeviceName {
        match self {
            Self::Cuda => DeviceName::Cuda(index),
            Self::Rocm => DeviceName::Rocm(index),
            Self::Metal => DeviceName::Metal(index),
            Self::Vulkan => DeviceName::Vulkan(index),
            Self::Wgpu => DeviceName::Wgpu(index),
            Self::Flex => DeviceName::Flex,
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A device, by name: what a strategy chooses and an executor opens. Indices count from 0 among the devices that the
/// backend finds; where the system hides some (`CUDA_VISIBLE_DEVICES` and the like), among those it shows.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceName {
    /// The CPU, through Burn's Flex backend.
    Flex,
    /// An NVIDIA GPU.
    Cuda(usize),
    /// An AMD GPU.
    Rocm(usize),
    /// An adapter of wgpu: GPUs first, then what only imitates one.
    Wgpu(usize),
    /// A Vulkan device.
    Vulkan(usize),
    /// A Metal device.
    Metal(usize),
}

impl DeviceName {
    /// The way to it.
    pub fn backend(&self) -> Backend {
        match self {
            Self::Flex => Backend::Flex,
            Self::Cuda(_) => Backend::Cuda,
            Self::Rocm(_) => Backend::Rocm,
            Self::Wgpu(_) => Backend::Wgpu,
            Self::Vulkan(_) => Backend::Vulkan,
            Self::Metal(_) => Backend::Metal,
        }
    }

    /// Which of its backend's devices, from 0.
    pub fn index(&self) -> usize {
        match self {
            Self::Flex => 0,
            Self::Cuda(index) | Self::Rocm(index) | Self::Wgpu(index) | Self::Vulkan(index) | Self::Metal(index) => {
                *index
            }
        }
    }

    /// Whether it is the CPU through Flex: kernels run on the executor's own threads, in the process's own memory.
    pub fn is_cpu(&self) -> bool {
        *self == Self::Flex
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flex => f.write_str("flex"),
            other => write!(f, "{}:{}", other.backend(), other.index()),
        }
    }
}

impl From<DeviceName> for String {
    fn from(name: DeviceName) -> Self {
        name.to_string()
    }
}

impl TryFrom<String> for DeviceName {
    type Error = InvalidDevice;

    fn try_from(text: String) -> Result<Self, InvalidDevice> {
        text.parse()
    }
}

/// A text that names no device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{found}\" names no device{}; devices are {}, those but flex with an index from 0, as in \"cuda:1\"",
    .nearest.map(|nearest| format!(" (did you mean \"{nearest}\"?)")).unwrap_or_default(),
    Backend::ALL.map(Backend::name).join(", ")
)]
pub struct InvalidDevice {
    /// What was written.
    pub found: String,
    /// The backend that may have been meant.
    pub nearest: Option<&'static str>,
}

impl FromStr for DeviceName {
    type Err = InvalidDevice;

    /// Reads `flex`, or a backend with an index behind a colon; without one, index 0.
    fn from_str(text: &str) -> Result<Self, InvalidDevice> {
        let (backend, index) = text.split_once(':').map_or((text, None), |(backend, index)| (backend, Some(index)));
        let known = Backend::ALL.into_iter().find(|known| known.name() == backend);
        let index =
            index.map_or(Some(0), |index| index.parse().ok().filter(|_| index.bytes().all(|b| b.is_ascii_digit())));
        match (known, index) {
            (Some(Backend::Flex), Some(0)) => Ok(Self::Flex),
            (Some(known), Some(index)) if known != Backend::Flex => Ok(known.device(index)),
            _ => {
                let nearest = nearest(backend, Backend::ALL.map(Backend::name)).filter(|_| known.is_none());
                Err(InvalidDevice { found: text.to_owned(), nearest })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for (text, name) in [
            ("flex", DeviceName::Flex),
            ("cuda", DeviceName::Cuda(0)),
            ("cuda:12", DeviceName::Cuda(12)),
            ("rocm:1", DeviceName::Rocm(1)),
            ("vulkan:1", DeviceName::Vulkan(1)),
            ("metal", DeviceName::Metal(0)),
            ("wgpu:0", DeviceName::Wgpu(0)),
        ] {
            assert_eq!(text.parse(), Ok(name.clone()), "{text}");
            assert_eq!(name.to_string().parse(), Ok(name), "{text}");
        }
    }

    #[test]
    fn what_is_no_name_is_told_what_is_one() {
        let error = |text: &str| text.parse::<DeviceName>().expect_err(text).to_string();
        assert_eq!(
            error("cude:0"),
            "\"cude:0\" names no device (did you mean \"cuda\"?); devices are cuda, rocm, metal, vulkan, wgpu, flex, \
             those but flex with an index from 0, as in \"cuda:1\""
        );
        for text in
            ["", "cuda:", "cuda:-1", "cuda:+1", "cuda:x", "cuda:99999999999999999999", "flex:1", "CUDA", "cuda 0"]
        {
            assert!(text.parse::<DeviceName>().is_err(), "{text}");
        }
    }
}
