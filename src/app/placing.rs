//! Where the executors of runners are put: what runners ask for meets what the machine has.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::{Adapters, DeviceChoice, NvidiaGpus, Origin, RunnerOptions, Sourced};
use crate::device;
use crate::runner::{CustomResources, Inquiry, Plan, Request, ResourceError, Resources, Strategy, Support, System};
use crate::serving::{Choice, suggest};

/// Strategies by name.
pub(super) type Strategies = BTreeMap<String, Arc<dyn Strategy>>;

/// What executors are made of, for all runners of an app.
pub(super) struct Placing<'a> {
    system: System,
    kinds: &'a CustomResources,
    strategies: &'a Strategies,
    /// Of the cores, how many have been given away.
    taken: Cell<usize>,
}

/// The executors of a runner, and how they were chosen.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) plan: Plan,
    pub(super) choice: Choice,
}

impl<'a> Placing<'a> {
    /// For these runners, on this machine.
    pub(super) fn here(runners: &[RunnerOptions], kinds: &'a CustomResources, strategies: &'a Strategies) -> Self {
        let gpus = |runner: &RunnerOptions| {
            let asked = &runner.resources;
            let is_gpu = |device: &Sourced<DeviceChoice>| device.value != DeviceChoice::Named(device::DeviceName::Flex);
            asked.device.as_ref().is_some_and(is_gpu)
                || asked.nvidia_gpu.as_ref().is_some_and(|gpus| gpus.value != NvidiaGpus::None)
                || asked.gpu.as_ref().is_some_and(|gpus| gpus.value != Adapters::None)
        };
        let named = |runner: &RunnerOptions| {
            runner.resources.gpu.as_ref().is_some_and(|gpus| matches!(gpus.value, Adapters::Named(_)))
        };
        let inquiry = Inquiry { gpus: runners.iter().any(gpus), names: runners.iter().any(named) };
        Self { system: System::this(inquiry), kinds, strategies, taken: Cell::new(0) }
    }

    /// Decides for one runner. `own`: the strategy that code gives it.
    ///
    /// # Errors
    /// What is wrong with what it asks for, and where it does.
    pub(super) fn place(
        &self,
        options: &RunnerOptions,
        own: Option<&Arc<dyn Strategy>>,
        support: Support,
    ) -> Result<Placed, String> {
        let asked = &options.resources;
        let problem =
            |origin: &Origin, error: &dyn std::fmt::Display| format!("{origin}: runner \"{}\": {error}", options.name);
        let resources = Resources {
            cpu: asked.cpu.as_ref().map(|cpu| cpu.value),
            nvidia_gpu: asked.nvidia_gpu.as_ref().map(|gpus| gpus.value.clone()).unwrap_or_default(),
            gpu: asked.gpu.as_ref().map(|gpus| gpus.value.clone()).unwrap_or_default(),
            custom: asked.custom.iter().map(|(name, amount)| (name.clone(), amount.value.clone())).collect(),
        };
        let granted =
            resources.granted(&self.system, self.kinds).map_err(|error| problem(origin_of(options, &error), &error))?;
        let strategy = self.strategy(options, own).map_err(|(origin, error)| problem(origin, &error))?;
        let plan = strategy.plan(&Request {
            asked: &resources,
            granted: &granted,
            device: asked.device.as_ref().map(|device| &device.value),
            workers_per_resource: asked.workers_per_resource.as_ref().map_or(1.0, |workers| workers.value),
            support,
            devices: &self.system.devices,
        });
        let of_devices = asked.device.as_ref().map(|device| &device.origin);
        let of_devices = of_devices.or_else(|| asked.nvidia_gpu.as_ref().map(|gpus| &gpus.origin));
        let of_devices = of_devices.or_else(|| asked.gpu.as_ref().map(|gpus| &gpus.origin)).unwrap_or(&options.origin);
        let mut plan = plan.map_err(|error| problem(of_devices, &error))?;
        if plan.executors.is_empty() {
            return Err(problem(&options.origin, &format_args!("the strategy {strategy:?} chose no executors")));
        }
        let devices = plan.executors.iter().flat_map(|place| &place.devices);
        devices.into_iter().try_for_each(device::check).map_err(|error| problem(of_devices, &error))?;
        if let Some(pin) = asked.pin.as_ref().filter(|pin| pin.value) {
            self.pin(&mut plan).map_err(|error| problem(&pin.origin, &error))?;
        }
        Ok(Placed { choice: choice(&resources, &self.system, &plan), plan })
    }

    /// What configuration says, else what code says, else the default.
    fn strategy<'o>(
        &self,
        options: &'o RunnerOptions,
        own: Option<&Arc<dyn Strategy>>,
    ) -> Result<Arc<dyn Strategy>, (&'o Origin, String)> {
        let Some(Sourced { value: name, origin }) = &options.resources.strategy else {
            return Ok(own.cloned().unwrap_or_else(|| Arc::new(crate::runner::DefaultStrategy)));
        };
        self.strategies.get(name).cloned().ok_or_else(|| {
            let known = suggest(name, self.strategies.keys().map(String::as_str));
            (origin, format!("there is no strategy \"{name}\"{known}"))
        })
    }

    /// Gives each thread of the CPU's executors a core that no other has, as far as there are any.
    fn pin(&self, plan: &mut Plan) -> Result<(), String> {
        let cores = &self.system.cores;
        if cores.is_empty() {
            return Err("pin = true: this system has no way to bind threads to cores".to_owned());
        }
        for place in &mut plan.executors {
            let first = self.taken.get();
            self.taken.set(first + place.threads.get());
            place.cores = cores.iter().cycle().skip(first % cores.len()).take(place.threads.get()).copied().collect();
        }
        let taken = self.taken.get();
        if taken > cores.len() {
            let warning = format!("{taken} threads are bound to {} cores: some share one", cores.len());
            plan.warning = Some(plan.warning.take().map_or(warning.clone(), |other| format!("{other}; {warning}")));
        }
        Ok(())
    }

    /// What these runners have of the CPUs together, where that is more than there are.
    pub(super) fn oversubscribed<'p>(&self, plans: impl Iterator<Item = (&'p str, &'p Plan)>) -> Option<String> {
        let threads = |plan: &Plan| {
            let on_cpu = plan.executors.iter().filter(|place| place.device().is_cpu());
            on_cpu.map(|place| place.threads.get()).sum::<usize>()
        };
        let shares: Vec<(&str, usize)> =
            plans.map(|(name, plan)| (name, threads(plan))).filter(|(_, n)| *n > 0).collect();
        let (sum, there) = (shares.iter().map(|(_, threads)| threads).sum::<usize>(), self.system.cpus);
        if sum as f64 <= there.ceil() {
            return None;
        }
        let each: Vec<String> = shares.iter().map(|(name, threads)| format!("{name} {threads}")).collect();
        Some(format!(
            "runners have {sum} CPU threads together ({}), and this process may use {there} CPUs: under load they slow each \
             other down; give some of them a smaller `cpu` or \
             `workers_per_resource`",
            each.join(", ")
        ))
    }
}

fn origin_of<'o>(options: &'o RunnerOptions, error: &ResourceError) -> &'o Origin {
    let asked = &options.resources;
    let origin = match error.key.as_str() {
        "cpu" => asked.cpu.as_ref().map(|cpu| &cpu.origin),
        "nvidia_gpu" => asked.nvidia_gpu.as_ref().map(|gpus| &gpus.origin),
        "gpu" => asked.gpu.as_ref().map(|gpus| &gpus.origin),
        key => key.split_once('.').and_then(|(_, name)| asked.custom.get(name)).map(|amount| &amount.origin),
    };
    origin.unwrap_or(&options.origin)
}

fn choice(asked: &Resources, system: &System, plan: &Plan) -> Choice {
    Choice {
        asked: asked.to_string(),
        found: system.to_string(),
        chosen: plan.to_string(),
        reason: plan.reason.clone(),
        warning: plan.warning.clone(),
    }
}
