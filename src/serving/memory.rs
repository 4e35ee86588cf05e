//! How much memory of its device an executor has found in use.

use std::sync::atomic::{AtomicU64, Ordering};

/// What this process holds of a device's memory, as one of its executors has found it after its last batch. Executors that
/// share a device find the same.
#[derive(Debug, Default)]
pub struct DeviceMemory {
    in_use: AtomicU64,
    reserved: AtomicU64,
    peak: AtomicU64,
}

impl DeviceMemory {
    pub(crate) fn found(&self, in_use: u64, reserved: u64) {
        // Numbers for people: it does no harm if they are of two moments.
        self.in_use.store(in_use, Ordering::Relaxed);
        self.reserved.store(reserved, Ordering::Relaxed);
        self.peak.fetch_max(in_use, Ordering::Relaxed);
    }

    /// Bytes of tensors.
    pub fn in_use(&self) -> u64 {
        self.in_use.load(Ordering::Relaxed)
    }

    /// Bytes taken from the device, those kept for tensors to come included. 0: the device does not tell, as the CPU does not.
    pub fn reserved(&self) -> u64 {
        self.reserved.load(Ordering::Relaxed)
    }

    /// The most bytes of tensors that were found after a batch; what a batch needs while it runs may be more.
    pub fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_stays() {
        let memory = DeviceMemory::default();
        memory.found(5, 8);
        memory.found(3, 16);
        assert_eq!((memory.in_use(), memory.reserved(), memory.peak()), (3, 16, 5));
    }
}
