//! From a configured runner to a launched one: everything is checked first, and then nothing can fail any more.

use std::num::NonZeroUsize;
use std::sync::Arc;

use ekiden_actors::{MethodLimits, OpenError, RunnerSpec, Runtime};

use super::placing::{Placed, Placing};
use crate::config::{ConfigErrors, RunnerOptions};
use crate::isolation::{Isolated, Opening};
use crate::metrics::Metrics;
use crate::models::LocatedModel;
use crate::runner::{OpenContext, Opener, Runnable, RunnerFactory, Strategy, Support, declared};
use crate::serving::{MethodHandle, Model, RunnerEntry};

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
    /// Those of them that are batchable.
    pub(super) batchable: Vec<String>,
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
        let batchable = methods.iter().filter(|method| method.signature.batching.is_some());
        let batchable = batchable.map(|method| method.name.clone()).collect();
        let known: Vec<&str> = names.iter().map(String::as_str).collect();
        let options = options.match_methods(&known).map_err(PrepareError::Config)?;
        let support = Support { kinds: R::SUPPORTS, cpu_multi_threading: R::SUPPORTS_CPU_MULTI_THREADING };
        let mut placed = placing.place(&options, self.strategy.as_ref(), support).map_err(PrepareError::Other)?;
        if isolated.is_some() {
            placed.choice.chosen.push_str(", each in a process of its own");
        }
        let opener = Opener::<R>::new(ctx, methods);
        let launch = launcher(&options, opener, placed.clone(), isolated);
        Ok(Prepared { methods: names, batchable, placed, launch: Box::new(launch), options })
    }

    fn open(&self, opening: &Opening) -> Result<Box<dyn Model>, OpenError> {
        let params = self.read_params(opening.params.as_ref()).map_err(OpenError::new)?;
        let ctx = OpenContext::on_host(params, opening.models.clone());
        let methods = declared::<R>(&ctx).map_err(OpenError::new)?;
        let opener = Opener::<R>::new(ctx, methods);
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

fn launcher<R: Runnable>(
    options: &RunnerOptions,
    opener: Opener<R>,
    placed: Placed,
    isolated: Option<Isolated>,
) -> impl FnOnce(&Runtime, &Metrics) -> RunnerEntry + Send + use<R> {
    let (name, runnable) = (options.name.to_string(), options.runnable().to_owned());
    let (required, restarts) = (options.required(), options.restart_limits());
    let about: Vec<_> = opener
        .methods
        .iter()
        .map(|method| {
            let mut limits = options.method_limits(&method.name);
            if method.signature.batching.is_none() {
                limits.batching = ekiden_actors::Batching::Off;
            }
            (method.name.clone(), method.signature.clone(), limits)
        })
        .collect();
    let warm_ups = opener.methods.iter().enumerate().filter(|(_, method)| method.warm_up);
    let warm_ups = warm_ups.map(|(index, method)| {
        // A method that is not batchable has no larger batches.
        let most = options.method_limits(&method.name).max_batch_size.get();
        (index, if method.signature.batching.is_some() { most } else { 1 })
    });
    let warm_ups: Vec<(usize, usize)> = warm_ups.collect();
    move |runtime, metrics| {
        let names: Vec<&str> = about.iter().map(|(name, _, _)| name.as_str()).collect();
        let limits: Vec<MethodLimits> = about.iter().map(|(_, _, limits)| limits.clone()).collect();
        let executors = NonZeroUsize::new(placed.plan.executors.len()).unwrap_or(NonZeroUsize::MIN);
        let observer = Arc::new(metrics.observer(&name, &names));
        let spec = RunnerSpec { name: name.clone(), executors, methods: limits, restarts, observer };
        let Placed { plan, choice } = placed;
        let factory = RunnerFactory { name: name.clone(), opener, places: plan.executors, warm_ups, isolated };
        let actor = runtime.launch(spec, factory);
        let methods = about
            .into_iter()
            .enumerate()
            .map(|(index, (name, signature, limits))| MethodHandle::new(name, signature, limits, actor.method(index)));
        RunnerEntry { methods: methods.collect(), name, runnable, required, plan: choice, actor }
    }
}
