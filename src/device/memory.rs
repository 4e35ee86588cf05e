//! How much of a device's memory is in use, where Burn says so.

use burn::tensor::Device;

/// Bytes of tensors that this process holds on a device now, and those that it has taken from it, which include what is kept
/// for tensors to come; `None` for the CPU, which Burn keeps no books of.
pub(crate) fn memory(device: &Device) -> Option<(u64, u64)> {
    device.memory_pool_usage().map(|usage| (usage.bytes_in_use, usage.bytes_reserved))
}
