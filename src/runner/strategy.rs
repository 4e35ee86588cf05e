//! From a runner's resources to its executors: how many, on which devices, with how many threads.

use std::fmt;
use std::num::NonZeroUsize;

use super::ResourceKind;
use super::resources::{Granted, Resources};
use crate::config::{DeviceChoice, NvidiaGpus};
use crate::device::{DeviceName, Placement};

/// What a runnable can use.
#[derive(Clone, Copy, Debug)]
pub struct Support {
    /// Kinds of resource.
    pub kinds: &'static [ResourceKind],
    /// Whether one instance makes use of several CPU threads.
    pub cpu_multi_threading: bool,
}

impl Support {
    fn takes(&self, device: &DeviceName) -> bool {
        self.kinds.contains(&match device {
            DeviceName::Flex => ResourceKind::Cpu,
            DeviceName::Cuda(_) => ResourceKind::NvidiaGpu,
            _ => ResourceKind::Wgpu,
        })
    }
}

/// What a strategy decides about.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// What the runner asks for.
    pub asked: &'a Resources,
    /// What it gets of that, all of which the machine has.
    pub granted: &'a Granted,
    /// The device that it asks for by name; `None`: the CPU, unless it asks for GPUs.
    pub device: Option<&'a DeviceChoice>,
    /// Executors for each unit of a resource; above 0.
    pub workers_per_resource: f64,
    /// What its runnable can use.
    pub support: Support,
    /// The devices of the machine, the best first and flex last; whether each is hardware other than the CPU.
    pub devices: &'a [(DeviceName, bool)],
}

/// What a strategy has decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// One for each executor; at least one.
    pub executors: Vec<Placement>,
    /// Why, for people.
    pub reason: String,
    /// What may not have been meant, for people.
    pub warning: Option<String>,
}

/// "2 executors with 1 thread each on flex".
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", count(self.executors.len(), "executor"))?;
        let cpus = || self.executors.iter().filter(|place| place.device().is_cpu());
        if let Some(first) = cpus().next() {
            let each = if cpus().count() > 1 { " each" } else { "" };
            write!(f, " with {}{each} on flex", count(first.threads.get(), "thread"))?;
        }
        let gpus = self.executors.iter().filter(|place| !place.device().is_cpu());
        let gpus: Vec<String> = gpus.map(|place| list(&place.devices)).collect();
        if gpus.is_empty() { Ok(()) } else { write!(f, " on {}", gpus.join("; ")) }
    }
}

/// The resources are of no use to the runnable, or contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PlanError(pub String);

/// Turns resources into executors. It decides by what it is given alone, so that the same machine always gets the same plan.
pub trait Strategy: fmt::Debug + Send + Sync + 'static {
    /// Decides where a runner's executors run.
    ///
    /// # Errors
    /// Why there is no way.
    fn plan(&self, request: &Request<'_>) -> Result<Plan, PlanError>;
}

/// On GPUs, where they are asked for and supported, `workers_per_resource` executors each, or one over several. Otherwise on
/// the CPU: `workers_per_resource` executors that share its threads for a runnable that uses several threads, and as many
/// for each CPU for one that does not.
///
/// With `workers_per_resource` = 2 there are two executors on each GPU; with 0.5 one over two GPUs, with 0.4 as well, as
/// 1/0.4 rounds to 2. No GPU is left idle: 3 GPUs with 0.5 get two executors, of which the last has one GPU.
#[derive(Clone, Copy, Debug, Default)]
pub struct DefaultStrategy;

impl Strategy for DefaultStrategy {
    fn plan(&self, request: &Request<'_>) -> Result<Plan, PlanError> {
        let asked = asked_gpus(request)?;
        match request.device {
            None => {}
            Some(DeviceChoice::Named(device)) => {
                contradiction(device, &asked)?;
                if device.is_cpu() {
                    return on_cpu(request, "device = \"flex\"".to_owned());
                }
                refuse_unsupported(request, device)?;
                return Ok(on_gpus(vec![device.clone()], request, format!("device = \"{device}\"")));
            }
            Some(DeviceChoice::Auto) if asked.is_empty() => return auto(request),
            Some(DeviceChoice::Auto) => {}
        }
        let Some(first) = asked.first() else {
            if request.asked.nvidia_gpu != NvidiaGpus::System {
                return on_cpu(request, "no GPU is asked for".to_owned());
            }
            let mut plan = on_cpu(request, "nvidia_gpu = \"system\": this process sees no GPU".to_owned())?;
            plan.warning = Some("nvidia_gpu = \"system\" has found no GPU, and fell back to the CPU".to_owned());
            return Ok(plan);
        };
        refuse_unsupported(request, first)?;
        let reason = format!("{} asked for", count(asked.len(), "GPU"));
        Ok(on_gpus(asked, request, reason))
    }
}

fn asked_gpus(request: &Request<'_>) -> Result<Vec<DeviceName>, PlanError> {
    let nvidia: Vec<_> = request.granted.nvidia_gpus.iter().map(|index| DeviceName::Cuda(*index)).collect();
    match (nvidia.is_empty(), request.granted.gpus.is_empty()) {
        (false, false) => Err(PlanError("nvidia_gpu and gpu are both asked for: choose one of them".to_owned())),
        (true, _) => Ok(request.granted.gpus.clone()),
        (false, true) => Ok(nvidia),
    }
}

fn contradiction(device: &DeviceName, asked: &[DeviceName]) -> Result<(), PlanError> {
    if asked.is_empty() {
        return Ok(());
    }
    let hint = match device.is_cpu() {
        true => "leave one of them out".to_owned(),
        false => format!(
            "leave out `device`, or the count of GPUs; to choose GPUs by index, write nvidia_gpu = [{}]",
            device.index()
        ),
    };
    Err(PlanError(format!(
        "device = \"{device}\" and {} asked for besides ({}): {hint}",
        count(asked.len(), "GPU"),
        list(asked)
    )))
}

fn refuse_unsupported(request: &Request<'_>, device: &DeviceName) -> Result<(), PlanError> {
    if request.support.takes(device) {
        return Ok(());
    }
    let kinds: Vec<&str> = request.support.kinds.iter().map(|kind| kind.name()).collect();
    Err(PlanError(format!(
        "{device} is asked for, but the runnable does not support it; it supports: {}",
        kinds.join(", ")
    )))
}

/// The best that is here.
fn auto(request: &Request<'_>) -> Result<Plan, PlanError> {
    let best = request.devices.iter().find(|(device, is_gpu)| *is_gpu && request.support.takes(device));
    if let Some((best, _)) = best {
        return Ok(on_gpus(vec![best.clone()], request, format!("device = \"auto\": {best} is the best that is here")));
    }
    let mut plan = on_cpu(request, "device = \"auto\": no GPU that the runnable supports is here".to_owned())?;
    plan.warning =
        Some("device = \"auto\" has found no GPU that the runnable supports, and fell back to the CPU".to_owned());
    Ok(plan)
}

fn on_gpus(gpus: Vec<DeviceName>, request: &Request<'_>, reason: String) -> Plan {
    let workers = request.workers_per_resource;
    let executors: Vec<Placement> = if workers < 1.0 {
        // At least 2 where it is less than two thirds.
        let each = (1.0 / workers).round_ties_even() as usize;
        gpus.chunks(each.max(1)).map(|gpus| Placement::on(gpus.to_vec())).collect()
    } else {
        let number = whole(gpus.len() as f64 * workers).get();
        let gpu = |executor: usize| gpus.get((executor as f64 / workers) as usize).or(gpus.last());
        (0..number).filter_map(gpu).map(|gpu| Placement::on(vec![gpu.clone()])).collect()
    };
    Plan { executors, reason: format!("{reason}; workers_per_resource = {workers}"), warning: None }
}

fn on_cpu(request: &Request<'_>, reason: String) -> Result<Plan, PlanError> {
    if !request.support.takes(&DeviceName::Flex) {
        return Err(PlanError("the runnable does not support CPUs, and the runner asks for no GPU".to_owned()));
    }
    let (threads, workers) = (whole(request.granted.cpu), request.workers_per_resource);
    let (executors, each, why) = if request.support.cpu_multi_threading {
        let executors = whole(workers);
        let each = NonZeroUsize::new(threads.get() / executors.get()).unwrap_or(NonZeroUsize::MIN);
        (executors, each, "the runnable uses several threads, which its executors share")
    } else {
        let executors = whole(threads.get() as f64 * workers);
        (executors, NonZeroUsize::MIN, "the runnable uses one thread")
    };
    let workers = if workers == 1.0 { String::new() } else { format!("; workers_per_resource = {workers}") };
    Ok(Plan {
        executors: vec![Placement::cpu(each); executors.get()],
        reason: format!("{reason}; {why}{workers}"),
        warning: None,
    })
}

/// "1 thread", "2 threads".
fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn list(devices: &[DeviceName]) -> String {
    devices.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What a fraction takes up; at least 1.
fn whole(amount: f64) -> NonZeroUsize {
    // Configuration allows only finite numbers above 0; the cast saturates. 10 times 1.1 is meant to be 11, and not more.
    NonZeroUsize::new((amount - 1e-9).ceil() as usize).unwrap_or(NonZeroUsize::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &[ResourceKind] = &[ResourceKind::NvidiaGpu, ResourceKind::Wgpu, ResourceKind::Cpu];

    struct Case {
        asked: Resources,
        granted: Granted,
        device: Option<DeviceChoice>,
        workers: f64,
        kinds: &'static [ResourceKind],
        multi: bool,
        devices: Vec<(DeviceName, bool)>,
    }

    impl Case {
        fn gpus(indices: &[usize], workers: f64) -> Self {
            let granted = Granted { cpu: 4.0, nvidia_gpus: indices.to_vec(), ..Granted::default() };
            Self {
                asked: Resources::default(),
                granted,
                device: None,
                workers,
                kinds: ALL,
                multi: true,
                devices: Vec::new(),
            }
        }

        fn cpu(cpu: f64, workers: f64, multi: bool) -> Self {
            Self { granted: Granted { cpu, ..Granted::default() }, multi, ..Self::gpus(&[], workers) }
        }

        fn device(device: &str) -> Self {
            let choice = match device {
                "auto" => DeviceChoice::Auto,
                name => DeviceChoice::Named(name.parse().expect("a name")),
            };
            Self { device: Some(choice), ..Self::cpu(2.0, 1.0, true) }
        }

        fn plan(&self) -> Result<Plan, PlanError> {
            DefaultStrategy.plan(&Request {
                asked: &self.asked,
                granted: &self.granted,
                device: self.device.as_ref(),
                workers_per_resource: self.workers,
                support: Support { kinds: self.kinds, cpu_multi_threading: self.multi },
                devices: &self.devices,
            })
        }

        /// The devices and threads of its executors.
        fn executors(&self) -> Vec<String> {
            let plan = self.plan().expect("a plan");
            plan.executors.iter().map(|place| format!("{} x{}", list(&place.devices), place.threads)).collect()
        }

        fn problem(&self) -> String {
            self.plan().expect_err("no plan").to_string()
        }
    }

    #[test]
    fn executors_on_gpus() {
        let check = |gpus: &[usize], workers, expected: &[&str]| {
            let found: Vec<String> = Case::gpus(gpus, workers)
                .executors()
                .iter()
                .map(|one| one.replace("cuda:", "").replace(" x1", ""))
                .collect();
            assert_eq!(found, expected, "{gpus:?} with {workers}");
        };
        check(&[0, 1], 1.0, &["0", "1"]);
        check(&[0, 1], 2.0, &["0", "0", "1", "1"]);
        check(&[2, 7], 0.5, &["2, 7"]);
        // Counted from 0, executor 1 is on GPU 2 and executor 2 on GPU 7.
        check(&[2, 7], 2.0, &["2", "2", "7", "7"]);
        check(&[2, 7, 8, 9], 0.5, &["2, 7", "8, 9"]);
        check(&[2, 6, 7, 8, 9], 0.4, &["2, 6", "7, 8", "9"]);
        check(&[0, 1, 2], 0.5, &["0, 1", "2"]);
        check(&[0, 1], 1.5, &["0", "0", "1"]);
        check(&[0], 0.01, &["0"]);
        check(&[0, 1, 2], 1e-300, &["0, 1, 2"]);
    }

    #[test]
    fn executors_on_the_cpu() {
        let check = |cpu, workers, multi, expected: &[&str]| {
            assert_eq!(
                Case::cpu(cpu, workers, multi).executors(),
                expected,
                "cpu {cpu} workers {workers} multi {multi}"
            );
        };
        check(2.0, 1.0, false, &["flex x1"; 2]);
        check(0.5, 1.0, false, &["flex x1"]);
        check(2.0, 2.0, false, &["flex x1"; 4]);
        check(4.0, 0.5, false, &["flex x1"; 2]);
        check(10.0, 1.1, false, &["flex x1"; 11]);
        check(4.0, 1.0, true, &["flex x4"]);
        check(3.5, 1.0, true, &["flex x4"]);
        check(4.0, 2.0, true, &["flex x2"; 2]);
        check(0.5, 3.0, true, &["flex x1"; 3]);
        check(4.0, 0.5, true, &["flex x4"]);
    }

    #[test]
    fn a_device_may_be_named() {
        assert_eq!(Case::device("vulkan:1").executors(), ["vulkan:1 x1"]);
        assert_eq!(Case::device("flex").executors(), ["flex x2"]);
        assert_eq!(Case { workers: 2.0, ..Case::device("cuda:1") }.executors(), ["cuda:1 x1", "cuda:1 x1"]);
    }

    #[test]
    fn auto_takes_the_best_gpu_that_the_runnable_supports() {
        let here = || {
            vec![
                (DeviceName::Cuda(0), true),
                (DeviceName::Wgpu(0), true),
                (DeviceName::Wgpu(1), false),
                (DeviceName::Flex, false),
            ]
        };
        assert_eq!(Case { devices: here(), ..Case::device("auto") }.executors(), ["cuda:0 x1"]);
        let kinds = &[ResourceKind::Wgpu, ResourceKind::Cpu];
        assert_eq!(Case { devices: here(), kinds, ..Case::device("auto") }.executors(), ["wgpu:0 x1"]);
        let none = Case { devices: here()[2..].to_vec(), ..Case::device("auto") };
        assert_eq!(none.executors(), ["flex x2"]);
        let warning = none.plan().expect("a plan").warning.expect("a warning");
        assert!(warning.contains("fell back to the CPU"), "{warning}");
        let asked = Case { device: Some(DeviceChoice::Auto), ..Case::gpus(&[1], 1.0) };
        assert_eq!(asked.executors(), ["cuda:1 x1"], "GPUs that are asked for are no matter of what is best");
    }

    #[test]
    fn all_gpus_of_a_machine_that_has_none_are_the_cpu_with_a_warning() {
        let mut none = Case::cpu(2.0, 1.0, true);
        none.asked.nvidia_gpu = NvidiaGpus::System;
        let plan = none.plan().expect("a plan");
        assert!(plan.reason.contains("sees no GPU"), "{}", plan.reason);
        assert!(plan.warning.is_some_and(|warning| warning.contains("fell back to the CPU")));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let both = Case { device: Some(DeviceChoice::Named(DeviceName::Flex)), ..Case::gpus(&[0], 1.0) };
        assert_eq!(both.problem(), "device = \"flex\" and 1 GPU asked for besides (cuda:0): leave one of them out");
        let both = Case { device: Some(DeviceChoice::Named(DeviceName::Cuda(1))), ..Case::gpus(&[0, 1], 1.0) };
        assert!(both.problem().ends_with("write nvidia_gpu = [1]"), "{}", both.problem());
        let mut both = Case::gpus(&[0], 1.0);
        both.granted.gpus = vec![DeviceName::Wgpu(0)];
        assert!(both.problem().contains("choose one of them"));
    }

    #[test]
    fn what_the_runnable_cannot_use_is_refused() {
        let cpu_only = Case { kinds: &[ResourceKind::Cpu], ..Case::gpus(&[0], 1.0) };
        assert_eq!(cpu_only.problem(), "cuda:0 is asked for, but the runnable does not support it; it supports: cpu");
        let gpu_only = Case { kinds: &[ResourceKind::NvidiaGpu], ..Case::cpu(1.0, 1.0, true) };
        assert!(gpu_only.problem().contains("asks for no GPU"));
        let nothing = Case { kinds: &[], ..Case::cpu(1.0, 1.0, true) };
        assert!(nothing.plan().is_err());
    }

    #[test]
    fn a_plan_says_what_it_is() {
        let say = |case: Case| case.plan().expect("a plan").to_string();
        assert_eq!(say(Case::cpu(4.0, 1.0, true)), "1 executor with 4 threads on flex");
        assert_eq!(say(Case::cpu(2.0, 1.0, false)), "2 executors with 1 thread each on flex");
        assert_eq!(say(Case::gpus(&[2, 7, 9], 0.5)), "2 executors on cuda:2, cuda:7; cuda:9");
    }
}
