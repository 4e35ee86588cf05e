//! How much of a device's memory is in use, where Burn says so.

use burn::tensor::Device;

/// What this process holds of a device's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceMemory {
    /// Bytes of tensors.
    pub in_use: u64,
    /// Bytes taken from the device, those kept for tensors to come included.
    pub reserved: u64,
}

/// What this process holds of it now; `None` for the CPU, which Burn keeps no books of.
pub fn memory(device: &Device) -> Option<DeviceMemory> {
    let usage = device.memory_pool_usage()?;
    Some(DeviceMemory { in_use: usage.bytes_in_use, reserved: usage.bytes_reserved })
}
