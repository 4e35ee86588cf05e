//! The one file that knows which backends this program was built with.

use burn::tensor::Device;

use super::name::Backend;
use super::presence::{Facts, Kind};

/// Whether this program was built with a backend.
pub(super) const fn is_built_in(backend: Backend) -> bool {
    match backend {
        Backend::Flex => true,
        Backend::Cuda => cfg!(feature = "cuda"),
        Backend::Rocm => cfg!(feature = "rocm"),
        Backend::Metal => cfg!(feature = "metal"),
        Backend::Vulkan => cfg!(feature = "vulkan"),
        Backend::Wgpu => cfg!(feature = "wgpu"),
    }
}

/// The devices that a backend finds, in the order of their indices. It may panic where a driver is broken.
pub(super) fn enumerate(backend: Backend) -> Vec<Device> {
    #[cfg(feature = "gpu")]
    if backend != Backend::Flex {
        keep_compiled();
    }
    match backend {
        Backend::Flex => vec![Device::flex()],
        #[cfg(feature = "cuda")]
        Backend::Cuda => Device::enumerate(burn::tensor::DeviceType::Cuda).into_vec(),
        #[cfg(feature = "rocm")]
        Backend::Rocm => Device::enumerate(burn::tensor::DeviceType::Rocm).into_vec(),
        #[cfg(feature = "metal")]
        Backend::Metal => adapters(burn::tensor::DeviceType::Metal),
        #[cfg(feature = "vulkan")]
        Backend::Vulkan => adapters(burn::tensor::DeviceType::Vulkan),
        #[cfg(feature = "wgpu")]
        Backend::Wgpu => adapters(burn::tensor::DeviceType::Wgpu),
        #[allow(unreachable_patterns, reason = "not where all backends are built in")]
        _ => Vec::new(),
    }
}

/// Those of wgpu, GPUs first.
#[cfg(feature = "wgpu")]
fn adapters(of: burn::tensor::DeviceType) -> Vec<Device> {
    let mut devices = Device::enumerate(of).into_vec();
    devices.sort_by_key(kind);
    devices
}

/// What a device is, by what the system says of it, without opening it.
pub(super) fn kind(device: &Device) -> Kind {
    #[cfg(feature = "gpu")]
    if let burn::backend::DispatchDevice::Cube(cube) = device.as_dispatch() {
        #[cfg(feature = "wgpu")]
        if let burn::cubecl::Device::Wgpu(adapter) = cube {
            use burn::cubecl::device::WgpuDeviceKind;
            return match adapter.kind {
                WgpuDeviceKind::DiscreteGpu(_) => Kind::Gpu,
                WgpuDeviceKind::IntegratedGpu(_) => Kind::IntegratedGpu,
                WgpuDeviceKind::VirtualGpu(_) => Kind::VirtualGpu,
                WgpuDeviceKind::Cpu => Kind::Software,
                _ => Kind::Other,
            };
        }
        let _ = cube;
        return Kind::Gpu;
    }
    let _ = device;
    Kind::Cpu
}

/// What a device says of itself. This opens it, which takes memory on it and may panic.
pub(super) fn facts(device: &Device) -> Facts {
    #[cfg(feature = "gpu")]
    if let burn::backend::DispatchDevice::Cube(cube) = device.as_dispatch() {
        let client = cube.client();
        let properties = client.properties();
        return Facts {
            description: properties.identity.name.clone(),
            memory: properties.memory.max_memory(),
            largest_allocation: Some(properties.memory.max_page_size),
        };
    }
    let _ = device;
    Facts::of_this_machine()
}

/// Has compiled kernels, and what was found out about which are fastest, kept in Ekiden's folder: the next start need not
/// compile and measure again. It counts only before the process has opened its first GPU.
///
/// Who has a `cubecl.toml` with a path of their own keeps it.
#[cfg(feature = "gpu")]
fn keep_compiled() {
    use burn::cubecl::config::cache::CacheConfig;
    use burn::cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};
    let Some(home) = crate::home::folder() else { return };
    let mut config = CubeClRuntimeConfig::from_current_dir().override_from_env();
    if matches!(config.environment.path, CacheConfig::Target) {
        config.environment.path = CacheConfig::Directory(home.join("compiled"));
    }
    CubeClRuntimeConfig::try_set(config);
}
