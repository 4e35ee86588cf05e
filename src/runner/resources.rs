//! From what a runner asks for to what it gets of the machine.

use std::collections::BTreeMap;
use std::fmt;

use super::system::System;
use crate::config::{Adapters, Amount, NvidiaGpus};
use crate::device::{Backend, DeviceName};

/// What a runner asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resources {
    /// CPUs, above 0; all that the process may use where `None`.
    pub cpu: Option<f64>,
    /// NVIDIA GPUs.
    pub nvidia_gpu: NvidiaGpus,
    /// Adapters of wgpu.
    pub gpu: Adapters,
    /// Others, by name.
    pub custom: BTreeMap<String, Amount>,
}

/// What it gets, all of which the machine has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Granted {
    /// CPUs, above 0.
    pub cpu: f64,
    /// NVIDIA GPUs, by their indices among those that are visible.
    pub nvidia_gpus: Vec<usize>,
    /// Adapters of wgpu.
    pub gpus: Vec<DeviceName>,
    /// Others, by name: numbers of at least 0.
    pub custom: BTreeMap<String, f64>,
}

/// A resource that the machine has not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {asked}: {problem}")]
pub struct ResourceError {
    /// The key that asks for it.
    pub key: String,
    /// What was asked for.
    pub asked: String,
    /// What is wrong, and what the machine has.
    pub problem: String,
}

/// A kind of resource that Ekiden does not know by itself, such as TPUs: an app that registers it by its name has
/// `custom_resources = { tpu = 2 }` read and checked, for a [`Strategy`](super::Strategy) of its own. A resource without a
/// kind is a number that nobody checks.
#[expect(clippy::wrong_self_convention, reason = "as BentoML's users know them")]
pub trait CustomResource: fmt::Debug + Send + Sync + 'static {
    /// How much a text or a number in configuration asks for, at least 0.
    ///
    /// # Errors
    /// What is expected instead.
    fn from_spec(&self, spec: &Amount) -> Result<f64, String> {
        match spec {
            Amount::Number(number) => Ok(*number),
            Amount::Text(text) => text.trim().parse().map_err(|_| "expected a number".to_owned()),
        }
    }

    /// How much the machine has; `None` where nobody can say.
    fn from_system(&self) -> Option<f64>;

    /// Checks an amount that is asked for. As it is written here: the machine has so much.
    ///
    /// # Errors
    /// What is wrong with it, and what there is.
    fn validate(&self, amount: f64) -> Result<(), String> {
        match self.from_system() {
            Some(there) if amount > there => Err(format!("this machine has {there}")),
            _ => Ok(()),
        }
    }
}

/// Kinds of custom resources by name.
pub(crate) type CustomResources = BTreeMap<String, Box<dyn CustomResource>>;

impl Resources {
    /// What a runner that asks for this gets of this machine.
    ///
    /// # Errors
    /// The first resource that the machine has not enough of.
    pub(crate) fn granted(&self, system: &System, kinds: &CustomResources) -> Result<Granted, ResourceError> {
        Ok(Granted {
            cpu: self.cpus(system)?,
            nvidia_gpus: self.nvidia_gpus(system)?,
            gpus: self.adapters(system)?,
            custom: self.customs(kinds)?,
        })
    }

    fn cpus(&self, system: &System) -> Result<f64, ResourceError> {
        match self.cpu {
            // As many threads as a quota of 2.5 rounds up to run there.
            Some(cpu) if cpu > system.cpus.ceil() => {
                let there = system.cpus;
                Err(error(
                    "cpu",
                    &cpu,
                    format!("this process may use {there} CPUs of this machine; ask for at most that, or leave it out"),
                ))
            }
            Some(cpu) => Ok(cpu),
            None => Ok(system.cpus),
        }
    }

    fn nvidia_gpus(&self, system: &System) -> Result<Vec<usize>, ResourceError> {
        let there = system.nvidia_gpus;
        let has = || match there {
            0 => "this process sees no NVIDIA GPU on this machine".to_owned(),
            1 => "this process sees one NVIDIA GPU on this machine, of index 0".to_owned(),
            _ => format!("this process sees {there} NVIDIA GPUs on this machine, of indices 0 to {}", there - 1),
        };
        match &self.nvidia_gpu {
            NvidiaGpus::None => Ok(Vec::new()),
            NvidiaGpus::System => Ok((0..there).collect()),
            NvidiaGpus::Count(count) if *count <= there => Ok((0..*count).collect()),
            NvidiaGpus::Indices(indices) if indices.iter().all(|index| *index < there) => Ok(indices.clone()),
            asked => Err(error("nvidia_gpu", asked, has())),
        }
    }

    fn adapters(&self, system: &System) -> Result<Vec<DeviceName>, ResourceError> {
        let there = &system.adapters;
        let has = || match there.as_slice() {
            [] => {
                let built_in = [Backend::Metal, Backend::Vulkan, Backend::Wgpu].map(Backend::name).join(", ");
                format!("this program finds no such GPU on this machine; it needs one of the Cargo features {built_in}")
            }
            there => {
                let each = there.iter().map(|one| match one.name.as_str() {
                    "" => one.device.to_string(),
                    name => format!("{} ({name})", one.device),
                });
                format!("this machine has {}", each.collect::<Vec<_>>().join(", "))
            }
        };
        let at = |index: &usize| there.get(*index).map(|one| one.device.clone());
        let found: Option<Vec<DeviceName>> = match &self.gpu {
            Adapters::None => return Ok(Vec::new()),
            Adapters::Count(count) => (0..*count).map(|index| at(&index)).collect(),
            Adapters::Indices(indices) => indices.iter().map(at).collect(),
            Adapters::Named(name) => {
                let fits = |one: &&super::Adapter| one.name.to_lowercase().contains(&name.to_lowercase());
                Some(there.iter().filter(fits).map(|one| one.device.clone()).collect())
            }
        };
        found.filter(|found| !found.is_empty()).ok_or_else(|| error("gpu", &self.gpu, has()))
    }

    fn customs(&self, kinds: &CustomResources) -> Result<BTreeMap<String, f64>, ResourceError> {
        let amount = |(name, spec): (&String, &Amount)| {
            let problem = |problem: String| error(&format!("custom_resources.{name}"), spec, problem);
            let amount = match (kinds.get(name), spec) {
                (Some(kind), spec) => {
                    let amount = kind.from_spec(spec).map_err(problem)?;
                    if !(amount.is_finite() && amount >= 0.0) {
                        return Err(problem("expected a number of at least 0".to_owned()));
                    }
                    kind.validate(amount).map_err(problem)?;
                    amount
                }
                (None, Amount::Number(number)) => *number,
                (None, Amount::Text(_)) => {
                    return Err(problem(
                        "nobody knows what this text means; a resource without a kind is a number".to_owned(),
                    ));
                }
            };
            Ok((name.clone(), amount))
        };
        self.custom.iter().map(amount).collect()
    }
}

fn error(key: &str, asked: &dyn fmt::Display, problem: String) -> ResourceError {
    ResourceError { key: key.to_owned(), asked: asked.to_string(), problem }
}

/// What was asked for, as in configuration.
impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cpu {
            Some(cpu) => write!(f, "cpu = {cpu}")?,
            None => f.write_str("cpu not set")?,
        }
        if self.nvidia_gpu != NvidiaGpus::None {
            write!(f, ", nvidia_gpu = {}", self.nvidia_gpu)?;
        }
        if self.gpu != Adapters::None {
            write!(f, ", gpu = {}", self.gpu)?;
        }
        self.custom.iter().try_for_each(|(name, amount)| write!(f, ", {name} = {amount}"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Adapter;
    use super::*;

    fn system() -> System {
        let adapter = |index, name: &str| Adapter { device: DeviceName::Wgpu(index), name: name.to_owned() };
        System {
            cpus: 2.5,
            cores: vec![0, 1, 2, 3],
            nvidia_gpus: 3,
            adapters: vec![adapter(0, "AMD Radeon"), adapter(1, "llvmpipe"), adapter(2, "AMD Instinct")],
            devices: Vec::new(),
        }
    }

    fn granted(change: impl FnOnce(&mut Resources)) -> Result<Granted, String> {
        let mut resources = Resources::default();
        change(&mut resources);
        resources.granted(&system(), &CustomResources::new()).map_err(|error| error.to_string())
    }

    #[test]
    fn without_a_word_a_runner_gets_all_cpus_and_nothing_else() {
        let all = Granted { cpu: 2.5, ..Granted::default() };
        assert_eq!(granted(|_| ()), Ok(all));
    }

    #[test]
    fn what_the_machine_has_is_granted() {
        assert_eq!(granted(|asked| asked.cpu = Some(3.0)).expect("rounded up").cpu, 3.0);
        for (asked, expected) in [
            (NvidiaGpus::Count(2), vec![0, 1]),
            (NvidiaGpus::Indices(vec![2, 0]), vec![2, 0]),
            (NvidiaGpus::System, vec![0, 1, 2]),
            (NvidiaGpus::None, vec![]),
        ] {
            let found = granted(|resources| resources.nvidia_gpu = asked.clone()).expect("they are there");
            assert_eq!(found.nvidia_gpus, expected, "{asked}");
        }
        for (asked, expected) in [
            (Adapters::Count(2), vec![0, 1]),
            (Adapters::Indices(vec![2]), vec![2]),
            (Adapters::Named("amd".to_owned()), vec![0, 2]),
        ] {
            let found = granted(|resources| resources.gpu = asked.clone()).expect("they are there");
            assert_eq!(found.gpus, expected.into_iter().map(DeviceName::Wgpu).collect::<Vec<_>>(), "{asked}");
        }
    }

    #[test]
    fn what_it_has_not_is_refused_with_what_it_has() {
        let check =
            |change: fn(&mut Resources), expected: &str| assert_eq!(granted(change).expect_err(expected), expected);
        check(
            |asked| asked.cpu = Some(4.0),
            "cpu = 4: this process may use 2.5 CPUs of this machine; ask for at most that, or leave it out",
        );
        check(
            |asked| asked.nvidia_gpu = NvidiaGpus::Count(4),
            "nvidia_gpu = 4: this process sees 3 NVIDIA GPUs on this machine, of indices 0 to 2",
        );
        check(
            |asked| asked.nvidia_gpu = NvidiaGpus::Indices(vec![0, 3]),
            "nvidia_gpu = [0, 3]: this process sees 3 NVIDIA GPUs on this machine, of indices 0 to 2",
        );
        check(
            |asked| asked.gpu = Adapters::Named("H100".to_owned()),
            "gpu = \"H100\": this machine has wgpu:0 (AMD Radeon), wgpu:1 (llvmpipe), wgpu:2 (AMD Instinct)",
        );
        let none = Resources { nvidia_gpu: NvidiaGpus::Count(1), ..Resources::default() };
        let bare = System { cpus: 1.0, ..System::default() };
        let message = none.granted(&bare, &CustomResources::new()).expect_err("there is none").to_string();
        assert_eq!(message, "nvidia_gpu = 1: this process sees no NVIDIA GPU on this machine");
        let system = Resources { nvidia_gpu: NvidiaGpus::System, ..Resources::default() };
        assert!(system.granted(&bare, &CustomResources::new()).expect("all there are").nvidia_gpus.is_empty());
    }

    /// Pods of four chips.
    #[derive(Debug)]
    struct Tpu;

    impl CustomResource for Tpu {
        fn from_spec(&self, spec: &Amount) -> Result<f64, String> {
            match spec {
                Amount::Number(chips) => Ok(*chips),
                Amount::Text(text) if text == "pod" => Ok(4.0),
                Amount::Text(_) => Err("expected a number of chips, or \"pod\"".to_owned()),
            }
        }

        fn from_system(&self) -> Option<f64> {
            Some(4.0)
        }
    }

    #[test]
    fn a_custom_resource_is_read_and_checked_by_its_kind() {
        let kinds: CustomResources = [("tpu".to_owned(), Box::new(Tpu) as Box<dyn CustomResource>)].into();
        let granted = |name: &str, amount: Amount| {
            let resources = Resources { custom: [(name.to_owned(), amount)].into(), ..Resources::default() };
            resources.granted(&system(), &kinds).map(|granted| granted.custom[name]).map_err(|error| error.to_string())
        };
        let text = |text: &str| Amount::Text(text.to_owned());
        assert_eq!(granted("tpu", text("pod")), Ok(4.0));
        assert_eq!(granted("tpu", Amount::Number(2.0)), Ok(2.0));
        assert_eq!(granted("tpu", Amount::Number(5.0)), Err("custom_resources.tpu = 5: this machine has 4".to_owned()));
        let expected = "custom_resources.tpu = pot: expected a number of chips, or \"pod\"";
        assert_eq!(granted("tpu", text("pot")), Err(expected.to_owned()));
        assert!(granted("tpu", Amount::Number(-1.0)).is_err());
        assert!(granted("tpu", Amount::Number(f64::NAN)).is_err());
        assert_eq!(granted("npu", Amount::Number(9.0)), Ok(9.0), "nobody knows what that is");
        assert!(granted("npu", text("pod")).is_err());
    }
}
