//! From a runner's resources to its executors: how many, on which devices, with how many threads.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;

use super::ResourceKind;
use crate::device::DeviceName;

/// What a runner asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resources {
    /// CPUs, above 0; all that the process may use where `None`.
    pub cpu: Option<f64>,
    /// CUDA devices.
    pub nvidia_gpu: u32,
    /// Others, by name.
    pub custom: BTreeMap<String, f64>,
}

/// What a runnable can use.
#[derive(Clone, Copy, Debug)]
pub struct Support {
    /// Kinds of resource.
    pub kinds: &'static [ResourceKind],
    /// Whether one instance makes use of several CPU threads.
    pub cpu_multi_threading: bool,
}

/// Where one executor runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Its device.
    pub device: DeviceName,
    /// Its CPU threads.
    pub threads: NonZeroUsize,
}

/// What a strategy has decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// One for each executor; at least one.
    pub executors: Vec<Placement>,
    /// Why, for people.
    pub reason: String,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// The resources cannot be had, or are of no use to the runnable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PlanError(pub String);

/// Turns resources into executors.
pub trait Strategy: fmt::Debug + Send + Sync + 'static {
    /// Decides for a runner that asks for `resources`, and a runnable that can use `support`.
    ///
    /// # Errors
    /// Why there is no way.
    fn plan(&self, resources: &Resources, support: Support) -> Result<Plan, PlanError>;
}

/// One executor per GPU where there are GPUs; otherwise one executor with all CPU threads for a runnable that uses
/// several, and one executor per CPU for one that does not.
#[derive(Clone, Copy, Debug, Default)]
pub struct DefaultStrategy;

impl Strategy for DefaultStrategy {
    fn plan(&self, resources: &Resources, support: Support) -> Result<Plan, PlanError> {
        let one = NonZeroUsize::MIN;
        if resources.nvidia_gpu > 0 {
            if !support.kinds.contains(&ResourceKind::NvidiaGpu) {
                let problem = format!("nvidia_gpu = {}, but the runnable does not support GPUs", resources.nvidia_gpu);
                return Err(PlanError(problem));
            }
            let gpus = 0..resources.nvidia_gpu as usize;
            return Ok(Plan {
                executors: gpus.map(|gpu| Placement { device: DeviceName::Cuda(gpu), threads: one }).collect(),
                reason: format!(
                    "nvidia_gpu = {0}: {1}, one per GPU",
                    resources.nvidia_gpu,
                    count(resources.nvidia_gpu as usize, "executor")
                ),
            });
        }
        if !support.kinds.contains(&ResourceKind::Cpu) {
            return Err(PlanError("the runnable does not support CPUs, and the runner asks for no GPU".to_owned()));
        }
        let available = std::thread::available_parallelism().unwrap_or(one);
        let (cpu, asked) = match resources.cpu {
            Some(cpu) if whole(cpu) > available => {
                (whole(cpu), format!("cpu = {cpu}, more than the {available} that this process may use"))
            }
            Some(cpu) => (whole(cpu), format!("cpu = {cpu}")),
            None => (available, format!("cpu not set, {available} available")),
        };
        Ok(if support.cpu_multi_threading {
            Plan {
                executors: vec![Placement { device: DeviceName::Flex, threads: cpu }],
                reason: format!("{asked}: 1 executor with {}, which the runnable can use", count(cpu.get(), "thread")),
            }
        } else {
            Plan {
                executors: vec![Placement { device: DeviceName::Flex, threads: one }; cpu.get()],
                reason: format!(
                    "{asked}: {} with 1 thread, as the runnable uses no more",
                    count(cpu.get(), "executor")
                ),
            }
        })
    }
}

/// "1 thread", "2 threads".
fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// The CPUs that a fraction of them takes up.
fn whole(cpu: f64) -> NonZeroUsize {
    // Configuration allows only finite numbers above 0; the cast saturates.
    NonZeroUsize::new(cpu.ceil() as usize).unwrap_or(NonZeroUsize::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &[ResourceKind] = &[ResourceKind::NvidiaGpu, ResourceKind::Cpu];

    fn plan(cpu: f64, nvidia_gpu: u32, kinds: &'static [ResourceKind], multi: bool) -> Result<Vec<String>, PlanError> {
        let resources = Resources { cpu: Some(cpu), nvidia_gpu, custom: BTreeMap::new() };
        let plan = DefaultStrategy.plan(&resources, Support { kinds, cpu_multi_threading: multi })?;
        Ok(plan.executors.iter().map(|place| format!("{} x{}", place.device, place.threads)).collect())
    }

    #[test]
    fn executors() {
        let check = |cpu, gpu, kinds, multi, expected: &[&str]| {
            let found = plan(cpu, gpu, kinds, multi).expect("a plan");
            assert_eq!(found, expected, "cpu {cpu} gpu {gpu} multi {multi}");
        };
        check(4.0, 0, ALL, true, &["flex x4"]);
        check(3.5, 0, ALL, true, &["flex x4"]);
        check(0.5, 0, ALL, true, &["flex x1"]);
        check(2.0, 0, ALL, false, &["flex x1", "flex x1"]);
        check(0.5, 0, ALL, false, &["flex x1"]);
        check(4.0, 2, ALL, true, &["cuda:0 x1", "cuda:1 x1"]);
    }

    #[test]
    fn what_the_runnable_cannot_use_is_refused() {
        assert!(plan(1.0, 1, &[ResourceKind::Cpu], true).is_err());
        assert!(plan(1.0, 0, &[ResourceKind::NvidiaGpu], true).is_err());
    }
}
