//! From a configured runner to a launched one: everything is checked first, and then nothing can fail any more.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use ekiden_actors::{MethodLimits, OpenError, RunnerSpec, Runtime};

use super::models;
use super::placing::{Placed, Placing};
use crate::config::{ConfigErrors, ResourceOptions, RunnerOptions};
use crate::isolation::{Isolated, Opening};
use crate::metrics::Metrics;
use crate::models::LocatedModel;
use crate::runner::{DeclaredMethod, OpenContext, Opener, Plan, Runnable, RunnerFactory, Strategy, Support, declared};
use crate::serving::{self, DeviceMemory, MethodHandle, Model, RunnerEntry, Setup};
use crate::value::{Buckets, Signature};

/// A kind of runnable, without its type.
pub(super) trait Kind: Send + Sync {
    /// Its methods' names.
    ///
    /// # Errors
    /// What is wrong with their declaration.
    fn method_names(&self) -> Result<Vec<String>, String>;

    /// Checks a runner of this kind, whose options are complete, and makes it ready to be launched.
    ///
    /// # Errors
    /// What is wrong, of the options or else.
    fn prepare(
        &self,
        options: RunnerOptions,
        models: Vec<LocatedModel>,
        isolated: Option<Isolated>,
        placing: &Placing<'_>,
    ) -> Result<Prepared, PrepareError>;

    /// Opens a runnable of this kind in a child process, on this thread.
    ///
    /// # Errors
    /// Why it cannot be opened.
    fn open(&self, opening: &Opening) -> Result<Box<dyn Model>, OpenError>;
}

/// What is wrong with a runner.
pub(super) enum PrepareError {
    Config(ConfigErrors),
    Other(String),
}

/// A runner that only waits for a runtime.
pub(super) struct Prepared {
    pub(super) options: RunnerOptions,
    pub(super) methods: Vec<String>,
    pub(super) placed: Placed,
    launch: Launch,
}

type Launch = Box<dyn FnOnce(&Runtime, &Metrics) -> RunnerEntry + Send>;

impl Prepared {
    pub(super) fn launch(self, runtime: &Runtime, metrics: &Metrics) -> RunnerEntry {
        (self.launch)(runtime, metrics)
    }
}

/// Runners of `R`, with what code says about this one.
pub(super) struct KindOf<R: Runnable> {
    /// From a runner built in code.
    pub(super) params: Option<R::Params>,
    /// From a runner built in code that chooses one.
    pub(super) strategy: Option<Arc<dyn Strategy>>,
}

impl<R: Runnable> Kind for KindOf<R> {
    fn method_names(&self) -> Result<Vec<String>, String> {
        let params = self.read_params(None).map_err(|error| error.to_string())?;
        Ok(declared::<R>(&OpenContext::on_host(params, Vec::new()))?.into_iter().map(|method| method.name).collect())
    }

    fn prepare(
        &self,
        options: RunnerOptions,
        models: Vec<LocatedModel>,
        isolated: Option<Isolated>,
        placing: &Placing<'_>,
    ) -> Result<Prepared, PrepareError> {
        let said = options.params.as_ref();
        let (origin, key) = said.map_or((&options.origin, "[runners.params]"), |params| (&params.origin, "params"));
        let problem = |problem: &dyn std::fmt::Display| {
            PrepareError::Other(format!("{origin}: runner \"{}\": {problem}", options.name))
        };
        let params = self
            .read_params(said.map(|params| &params.value))
            .map_err(|error| problem(&format_args!("{key}: {error}")))?;
        let runnable = options.runnable();
        let ctx = OpenContext::on_host(params, models);
        let methods =
            declared::<R>(&ctx).map_err(|cause| problem(&format_args!("runnable \"{runnable}\": {cause}")))?;
        let names: Vec<String> = methods.iter().map(|method| method.name.clone()).collect();
        let known: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut options = options.match_methods(&known).map_err(PrepareError::Config)?;
        let those = |has: fn(&Signature) -> bool| {
            let methods = methods.iter().filter(|method| has(&method.signature));
            methods.map(|method| method.name.clone()).collect()
        };
        options.unbatchable = those(|signature| signature.batching.is_none());
        options.streams = those(|signature| signature.streams);
        names.iter().try_for_each(|method| check_buckets(&options, method))?;
        let support = Support { kinds: R::SUPPORTS, cpu_multi_threading: R::SUPPORTS_CPU_MULTI_THREADING };
        let mut placed = placing.place(&options, self.strategy.as_ref(), support).map_err(PrepareError::Other)?;
        if isolated.is_some() {
            placed.choice.chosen.push_str(", each in a process of its own");
        }
        let version = models::version(&options);
        let opener = Opener::<R>::new(ctx, methods, options.golden_check());
        let launch = launcher(&options, version, opener, placed.clone(), isolated);
        Ok(Prepared { methods: names, placed, launch: Box::new(launch), options })
    }

    fn open(&self, opening: &Opening) -> Result<Box<dyn Model>, OpenError> {
        let params = self.read_params(opening.params.as_ref()).map_err(OpenError::new)?;
        let ctx = OpenContext::on_host(params, opening.models.clone());
        let methods = declared::<R>(&ctx).map_err(OpenError::new)?;
        let opener = Opener::<R>::new(ctx, methods, opening.golden_check);
        Ok(Box::new(opener.open(&opening.place)?))
    }
}

impl<R: Runnable> KindOf<R> {
    /// The parameters: what configuration says, else what code says.
    fn read_params(&self, said: Option<&serde_json::Value>) -> Result<R::Params, serde_json::Error> {
        match (said, &self.params) {
            (Some(params), _) => serde_json::from_value(params.clone()),
            (None, Some(params)) => Ok(params.clone()),
            // A runnable without parameters takes `()`, one with optional ones an empty table.
            (None, None) => serde_json::from_value(serde_json::Value::Null)
                .or_else(|_| serde_json::from_value(serde_json::json!({}))),
        }
    }
}

/// One method, as its runner has it.
struct About {
    setup: Setup,
    signature: Signature,
    example: Option<serde_json::Value>,
    limits: MethodLimits,
    patience: Duration,
}

fn about<R>(options: &RunnerOptions, method: &DeclaredMethod<R>, plan: &Plan) -> About {
    let effective = options.effective_method(&method.name);
    let limits = options.method_limits(&method.name);
    let most = limits.max_batch_size.get();
    let is_batchable = method.signature.batching.is_some();
    let on_gpu = plan.executors.iter().any(|place| !place.device().is_cpu());
    let buckets = match effective.batch_buckets.value {
        _ if !is_batchable => Buckets::default(),
        Some(sizes) if sizes.is_empty() => Buckets::default(),
        Some(sizes) => Buckets::new(sizes.iter().map(|size| size.get()), most),
        None if on_gpu => Buckets::powers_of_two(most),
        None => Buckets::default(),
    };
    let warm_up = match buckets.sizes() {
        // A method that is not batchable has no larger batches.
        [] if method.warm_up && !is_batchable => vec![1],
        [] if method.warm_up => steps(most),
        sizes => sizes.to_vec(),
    };
    let setup = Setup { name: method.name.clone(), buckets, warm_up, must_warm_up: method.warm_up };
    let (signature, example) = (method.signature.clone(), method.example.clone());
    About { setup, signature, example, limits, patience: method.patience }
}

/// 1, 8, 64 … and then `most`: enough to learn what batches cost.
fn steps(most: usize) -> Vec<usize> {
    let steps = std::iter::successors(Some(1_usize), |rows| rows.checked_mul(8)).take_while(|&rows| rows < most);
    steps.chain([most]).collect()
}

/// Buckets that no batch can fill.
fn check_buckets(options: &RunnerOptions, method: &str) -> Result<(), PrepareError> {
    let effective = options.effective_method(method);
    let most = effective.max_batch_size.value;
    let Some(largest) =
        effective.batch_buckets.value.as_ref().and_then(|sizes| sizes.last()).filter(|size| **size > most)
    else {
        return Ok(());
    };
    Err(PrepareError::Other(format!(
        "{}: runner \"{}\", {method}: batch_buckets has {largest}, above max_batch_size = {most}: no batch is that large",
        effective.batch_buckets.origin, options.name
    )))
}

fn launcher<R: Runnable>(
    options: &RunnerOptions,
    version: Option<String>,
    opener: Opener<R>,
    placed: Placed,
    isolated: Option<Isolated>,
) -> impl FnOnce(&Runtime, &Metrics) -> RunnerEntry + Send + use<R> {
    let (name, runnable) = (options.name.to_string(), options.runnable().to_owned());
    let (required, restarts) = (options.required(), options.restart_limits());
    let weight = options.resources.weight.as_ref().map(|weight| weight.value).unwrap_or_default();
    let depth = options.resources.pipeline_depth.as_ref().map_or(ResourceOptions::PIPELINE_DEPTH, |depth| depth.value);
    let about: Vec<About> = opener.methods.iter().map(|method| about(options, method, &placed.plan)).collect();
    move |runtime, metrics| {
        let limits: Vec<MethodLimits> = about.iter().map(|about| about.limits.clone()).collect();
        let methods = about.iter().map(|about| (about.setup.name.as_str(), &about.setup.buckets));
        let executors = NonZeroUsize::new(placed.plan.executors.len()).unwrap_or(NonZeroUsize::MIN);
        let observer = Arc::new(metrics.observer(&name, methods));
        let counts: Vec<_> = (0..about.len()).map(|method| observer.counts(method)).collect();
        let spec = RunnerSpec { name: name.clone(), executors, methods: limits, restarts, weight, observer };
        let Placed { plan, choice } = placed;
        let setups = about.iter().map(|about| about.setup.clone()).collect();
        let memory: Vec<Arc<DeviceMemory>> = plan.executors.iter().map(|_| Arc::default()).collect();
        let places = plan.executors;
        let factory =
            RunnerFactory { name: name.clone(), opener, places, setups, isolated, memory: memory.clone(), depth };
        let actor = runtime.launch(spec, factory);
        let methods = about.into_iter().zip(counts).enumerate();
        let methods = methods.map(|(index, (about, counts))| {
            let About { setup: Setup { name, buckets, .. }, signature, example, limits, patience } = about;
            let about = serving::About { name, signature, example, limits, buckets, patience, counts };
            MethodHandle::new(actor.method(index), about)
        });
        RunnerEntry { methods: methods.collect(), name, runnable, version, required, plan: choice, memory, actor }
    }
}
