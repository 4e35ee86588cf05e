//! What this process may use of the machine.

use std::path::Path;
use std::{env, fmt, fs, thread};

use crate::device::{self, Backend, DeviceName, Kind};

/// What a process may use of a machine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct System {
    /// CPUs: those of its affinity mask, or fewer where a cgroup's quota leaves less; above 0.
    pub cpus: f64,
    /// The cores of its affinity mask, by the system's numbers.
    pub cores: Vec<usize>,
    /// NVIDIA GPUs, as many as it may see.
    pub nvidia_gpus: usize,
    /// GPUs that wgpu reaches, whatever the make.
    pub adapters: Vec<Adapter>,
    /// What devices it has, and whether each is hardware other than the CPU; the best first, flex last.
    pub devices: Vec<(DeviceName, bool)>,
}

/// A GPU that wgpu reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adapter {
    /// By which device.
    pub device: DeviceName,
    /// What it calls itself; empty where nobody has asked.
    pub name: String,
}

/// What is to be found out: to ask takes a moment, and may open devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inquiry {
    /// Which GPUs there are.
    pub gpus: bool,
    /// What they call themselves.
    pub names: bool,
}

impl System {
    /// This machine, as this process may use it.
    pub fn this(inquiry: Inquiry) -> Self {
        let cores = cores();
        let listed = if inquiry.gpus { device::listed() } else { vec![(DeviceName::Flex, Kind::Cpu)] };
        Self {
            cpus: cpus(cores.len(), quota(Path::new("/proc/self/cgroup"), Path::new("/sys/fs/cgroup"))),
            cores,
            nvidia_gpus: if inquiry.gpus { nvidia_gpus(&listed) } else { 0 },
            adapters: adapters(&listed, inquiry.names),
            devices: listed.into_iter().map(|(name, kind)| (name, kind.is_gpu())).collect(),
        }
    }
}

/// What a runner may ask for, as far as it has been asked what there is.
impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} CPU{}", self.cpus, if self.cpus == 1.0 { "" } else { "s" })?;
        self.devices.iter().filter(|(device, _)| !device.is_cpu()).try_for_each(|(device, _)| write!(f, ", {device}"))
    }
}

fn cpus(cores: usize, quota: Option<f64>) -> f64 {
    let cores = if cores == 0 { thread::available_parallelism().map_or(1, usize::from) } else { cores };
    quota.map_or(cores as f64, |quota| quota.min(cores as f64))
}

/// The cores that this process may run on; none where the system does not say.
#[cfg(target_os = "linux")]
fn cores() -> Vec<usize> {
    let Ok(set) = rustix::thread::sched_getaffinity(None) else { return Vec::new() };
    (0..rustix::thread::CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect()
}

#[cfg(not(target_os = "linux"))]
fn cores() -> Vec<usize> {
    Vec::new()
}

/// CPUs that the tightest quota above this process leaves it: `cpu.max` of cgroup v2, `cpu.cfs_quota_us` of v1.
fn quota(membership: &Path, root: &Path) -> Option<f64> {
    let membership = fs::read_to_string(membership).ok()?;
    let lines = membership.lines().filter_map(|line| {
        // hierarchy:controllers:path
        let mut parts = line.splitn(3, ':').skip(1);
        Some((parts.next()?, parts.next()?.trim_start_matches('/')))
    });
    let quotas = lines.flat_map(|(controllers, path)| {
        let v1 = controllers.split(',').any(|controller| controller == "cpu");
        let (root, read): (_, fn(&Path) -> Option<f64>) = match controllers {
            "" => (root.to_owned(), quota_v2),
            _ if v1 => (root.join(if root.join(controllers).exists() { controllers } else { "cpu" }), quota_v1),
            _ => return Vec::new(),
        };
        // In a container the path may be that of the host: what is mounted is this process's own then.
        let own = root.join(path);
        let start = if own.exists() { own } else { root.clone() };
        start.ancestors().take_while(|folder| folder.starts_with(&root)).filter_map(read).collect()
    });
    quotas.reduce(f64::min)
}

fn quota_v2(folder: &Path) -> Option<f64> {
    let text = fs::read_to_string(folder.join("cpu.max")).ok()?;
    let (quota, period) = text.trim().split_once(' ')?;
    share(quota.parse().ok()?, period.parse().ok()?)
}

fn quota_v1(folder: &Path) -> Option<f64> {
    let number = |file: &str| fs::read_to_string(folder.join(file)).ok()?.trim().parse::<f64>().ok();
    share(number("cpu.cfs_quota_us")?, number("cpu.cfs_period_us")?)
}

fn share(quota: f64, period: f64) -> Option<f64> {
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

/// How many NVIDIA GPUs this process may see. The driver's own files are asked where this program cannot ask CUDA.
fn nvidia_gpus(listed: &[(DeviceName, Kind)]) -> usize {
    if device::built_in().contains(&Backend::Cuda) {
        return listed.iter().filter(|(name, _)| name.backend() == Backend::Cuda).count();
    }
    let there = fs::read_dir("/proc/driver/nvidia/gpus").map_or(0, Iterator::count);
    visible(there, env::var("CUDA_VISIBLE_DEVICES").ok().as_deref())
}

/// How many of so many GPUs `CUDA_VISIBLE_DEVICES` shows. As CUDA reads it: a list of indices or ids, which ends at the
/// first that is none.
fn visible(there: usize, variable: Option<&str>) -> usize {
    let Some(list) = variable else { return there };
    let is_one = |entry: &&str| match entry.parse::<i64>() {
        Ok(index) => usize::try_from(index).is_ok_and(|index| index < there),
        Err(_) => entry.starts_with("GPU-") || entry.starts_with("MIG-"),
    };
    list.split(',').map(str::trim).take_while(is_one).count()
}

/// By the way that is fastest of those that reach any.
fn adapters(listed: &[(DeviceName, Kind)], names: bool) -> Vec<Adapter> {
    let ways = [Backend::Metal, Backend::Vulkan, Backend::Wgpu];
    let Some((first, _)) = listed.iter().find(|(name, _)| ways.contains(&name.backend())) else { return Vec::new() };
    let same = listed.iter().filter(|(name, _)| name.backend() == first.backend());
    same.map(|(device, _)| Adapter {
        device: device.clone(),
        name: if names {
            device::facts(device).map(|facts| facts.description).unwrap_or_default()
        } else {
            String::new()
        },
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_visible_gpus_are_those_before_the_first_that_is_none() {
        for (variable, expected) in [
            (None, 4),
            (Some(""), 0),
            (Some("-1"), 0),
            (Some("0,2"), 2),
            (Some(" 3 , 1,0"), 3),
            (Some("0,7,1"), 1),
            (Some("0,-1,1"), 1),
            (Some("GPU-8932f937,MIG-1"), 2),
            (Some("NoDevFiles"), 0),
        ] {
            assert_eq!(visible(4, variable), expected, "{variable:?}");
        }
    }

    #[test]
    fn the_tightest_quota_counts() {
        let folder = std::env::temp_dir().join(format!("ekiden-cgroup-{}", std::process::id()));
        let write = |file: &str, text: &str| {
            let path = folder.join(file);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        };
        let quota = |membership: &str, root: &str| {
            write("membership", membership);
            super::quota(&folder.join("membership"), &folder.join(root))
        };
        write("v2/cpu.max", "max 100000");
        write("v2/a/cpu.max", "250000 100000");
        write("v2/a/b/cpu.max", "max 100000\n");
        assert_eq!(quota("0::/a/b\n", "v2"), Some(2.5), "of the parent");
        assert_eq!(quota("0::/\n", "v2"), None, "no quota");
        write("v2/cpu.max", "50000 100000");
        assert_eq!(quota("0::/a/b\n", "v2"), Some(0.5), "of the root, which is tighter");
        assert_eq!(quota("0::/../host/pod\n", "v2"), Some(0.5), "what is mounted, where the path is the host's");
        write("v1/cpu,cpuacct/docker/cpu.cfs_quota_us", "150000\n");
        write("v1/cpu,cpuacct/docker/cpu.cfs_period_us", "100000\n");
        write("v1/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
        write("v1/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
        assert_eq!(quota("5:memory:/docker\n4:cpu,cpuacct:/docker\n", "v1"), Some(1.5), "v1");
        assert_eq!(quota("4:cpu,cpuacct:/\n", "v1"), None, "v1 without a quota");
        assert_eq!(quota("nonsense", "v2"), None);
        fs::remove_dir_all(&folder).expect("it is ours");
    }

    #[test]
    fn a_quota_leaves_at_most_the_cores() {
        assert_eq!(cpus(8, None), 8.0);
        assert_eq!(cpus(8, Some(2.5)), 2.5);
        assert_eq!(cpus(2, Some(16.0)), 2.0);
    }

    #[test]
    fn this_machine_has_a_cpu() {
        let system = System::this(Inquiry::default());
        assert!(system.cpus > 0.0);
        assert_eq!(system.devices, [(DeviceName::Flex, false)]);
    }
}
