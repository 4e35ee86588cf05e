//! Which devices this program can use, here and now.

use std::fmt;

use burn::tensor::Device;
use ekiden_actors::guarded;

use super::backend;
use super::name::{Backend, DeviceName};

/// What a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A GPU with memory of its own.
    Gpu,
    /// A GPU that shares the CPU's memory.
    IntegratedGpu,
    /// A GPU that a virtual machine is given.
    VirtualGpu,
    /// Something that does not say.
    Other,
    /// A driver that computes on the CPU, such as Mesa's llvmpipe: to test with, and slower than flex.
    Software,
    /// The CPU.
    Cpu,
}

impl Kind {
    /// Whether it is hardware other than the CPU, as far as is known.
    pub fn is_gpu(self) -> bool {
        !matches!(self, Self::Software | Self::Cpu)
    }

    /// As it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gpu => "GPU",
            Self::IntegratedGpu => "integrated GPU",
            Self::VirtualGpu => "virtual GPU",
            Self::Other => "other",
            Self::Software => "software",
            Self::Cpu => "CPU",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A device that is here.
#[derive(Clone, Debug)]
pub struct Present {
    /// What to call it in configuration.
    pub name: DeviceName,
    /// What it is.
    pub kind: Kind,
    /// What it says of itself, or why it cannot be opened.
    pub facts: Result<Facts, String>,
}

/// What a device says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The name of the hardware.
    pub description: String,
    /// Bytes that it may be asked to hold at once; `None` where it does not say.
    pub memory: Option<u64>,
    /// Bytes of the largest tensor; `None`: as much as there is.
    pub largest_allocation: Option<u64>,
}

impl Facts {
    pub(super) fn of_this_machine() -> Self {
        Self {
            description: format!("{} CPUs", std::thread::available_parallelism().map_or(1, usize::from)),
            memory: total_memory(),
            largest_allocation: None,
        }
    }
}

/// `MemTotal` of Linux, in bytes.
fn total_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// A device that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAvailable {
    /// This program cannot reach devices of its kind.
    #[error(
        "device {device}: this program was built without the Cargo feature \"{}\"; it has: {}",
        .device.backend(), names(.built_in)
    )]
    NotBuiltIn {
        /// The device.
        device: DeviceName,
        /// What it can reach.
        built_in: Vec<Backend>,
    },
    /// There is no such device here.
    #[error("device {device} is not here; there are: {}", names(.present))]
    NotHere {
        /// The device.
        device: DeviceName,
        /// What there is.
        present: Vec<DeviceName>,
    },
}

fn names(of: &[impl fmt::Display]) -> String {
    of.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The backends that this program was built with: those that are fastest where they work first, flex last.
pub fn built_in() -> Vec<Backend> {
    Backend::ALL.into_iter().filter(|backend| backend::is_built_in(*backend)).collect()
}

/// The devices that are here and that this program was built for, and what each is: GPUs by the way that is fastest first,
/// flex last. Asks the drivers, which may take some 100 ms, and opens none.
pub fn listed() -> Vec<(DeviceName, Kind)> {
    built_in().into_iter().flat_map(here).map(|(name, device)| (name, backend::kind(&device))).collect()
}

/// The same, opened, with what each says of itself.
pub fn present() -> Vec<Present> {
    let all = built_in().into_iter().flat_map(here);
    all.map(|(name, device)| {
        let facts = guarded(|| backend::facts(&device)).map_err(|panic| panic.to_string());
        Present { name, kind: backend::kind(&device), facts }
    })
    .collect()
}

/// What a device says of itself. This opens it.
///
/// # Errors
/// Why it cannot be opened.
pub fn facts(name: &DeviceName) -> Result<Facts, String> {
    let device = open(name).map_err(|error| error.to_string())?;
    guarded(|| backend::facts(&device)).map_err(|panic| panic.to_string())
}

fn here(of: Backend) -> Vec<(DeviceName, Device)> {
    let devices = guarded(|| backend::enumerate(of)).unwrap_or_else(|panic| {
        tracing::warn!("no {of} device can be used: {panic}");
        Vec::new()
    });
    devices.into_iter().enumerate().map(|(index, device)| (of.device(index), device)).collect()
}

/// Checks that a device can be used, without opening it.
///
/// # Errors
/// [`NotAvailable`].
pub fn check(name: &DeviceName) -> Result<(), NotAvailable> {
    open(name).map(drop)
}

/// Burn's name of a device that is here. It is opened by who uses it first.
///
/// # Errors
/// [`NotAvailable`].
pub(crate) fn open(name: &DeviceName) -> Result<Device, NotAvailable> {
    if !backend::is_built_in(name.backend()) {
        return Err(NotAvailable::NotBuiltIn { device: name.clone(), built_in: built_in() });
    }
    here(name.backend()).into_iter().nth(name.index()).map(|(_, device)| device).ok_or_else(|| NotAvailable::NotHere {
        device: name.clone(),
        present: listed().into_iter().map(|(name, _)| name).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flex_is_always_here_and_last() {
        assert_eq!(built_in().last(), Some(&Backend::Flex));
        assert_eq!(listed().last(), Some(&(DeviceName::Flex, Kind::Cpu)));
        let flex = present().pop().expect("flex");
        assert_eq!((flex.name, flex.kind), (DeviceName::Flex, Kind::Cpu));
        assert!(flex.facts.expect("facts").description.ends_with("CPUs"));
        assert_eq!(check(&DeviceName::Flex), Ok(()));
    }

    #[test]
    fn what_is_not_here_is_refused_with_what_is() {
        for backend in Backend::ALL.into_iter().filter(|backend| *backend != Backend::Flex) {
            let device = backend.device(99);
            let message = check(&device).expect_err("no machine has 100").to_string();
            let cause = if backend::is_built_in(backend) { "is not here" } else { "Cargo feature" };
            assert!(message.contains(cause) && message.ends_with("flex"), "{message}");
        }
    }
}
