//! How much of a device's memory is in use, where Burn says so.

use burn::tensor::Device;

/// What this process holds of a device's memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Bytes of tensors.
    pub(crate) in_use: u64,
    /// Bytes taken from the device, those kept for tensors to come included.
    pub(crate) reserved: u64,
}

/// What this process holds of it now; `None` for the CPU, which Burn keeps no books of.
pub(crate) fn memory(device: &Device) -> Option<Usage> {
    let usage = device.memory_pool_usage()?;
    Some(Usage { in_use: usage.bytes_in_use, reserved: usage.bytes_reserved })
}
