//! Building an app: layers of configuration and kinds of runnable go in, launched runners come out.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ekiden_actors::Runtime;

use super::App;
use super::child::isolated;
use super::launch::{Kind, KindOf, PrepareError, Prepared};
use super::models;
use super::placing::{Placing, Strategies};
use crate::config::{Config, ConfigErrors, Origin, RunnerOptions, Sources, report};
use crate::isolation::{self, Which};
use crate::metrics::Metrics;
use crate::runner::{CustomResource, CustomResources, DefaultStrategy, Runnable, Runner, Strategy};
use crate::serving::{Serving, suggest};

/// Collects what an app is made of. Nothing runs, and nothing is read, before it is started.
#[must_use]
pub struct AppBuilder {
    sources: Sources,
    pub(super) kinds: BTreeMap<String, Box<dyn Kind>>,
    /// Runners built in code, by name.
    pub(super) runners: Vec<(RunnerOptions, Box<dyn Kind>)>,
    pub(super) child_args: Option<Vec<String>>,
    strategies: Strategies,
    resources: CustomResources,
    problems: Vec<String>,
}

/// Why an app cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is wrong.
    #[error("{0}")]
    Config(ConfigErrors),
    /// Something else is: each line says what.
    #[error("{}", .0.join("\n"))]
    Invalid(Vec<String>),
    /// This process is an executor's child, and its program does not know: nothing may start in it a second time.
    #[error("this process is an executor's child: `App::run_child(..)` must be the first line of `main`")]
    Stray,
    /// The actors' thread cannot be started.
    #[error("the actors' thread cannot be started: {0}")]
    Runtime(std::io::Error),
    /// A runner has failed while it was starting.
    #[error("runner \"{runner}\" has failed: {cause}")]
    Failed {
        /// Which.
        runner: String,
        /// Why.
        cause: Arc<str>,
    },
}

impl AppBuilder {
    pub(super) fn new() -> Self {
        Self {
            sources: Sources::new(),
            kinds: BTreeMap::new(),
            runners: Vec::new(),
            child_args: None,
            strategies: Strategies::from([("default".to_owned(), Arc::new(DefaultStrategy) as Arc<dyn Strategy>)]),
            resources: CustomResources::new(),
            problems: Vec::new(),
        }
    }

    /// Reads this `runners.toml`.
    pub fn config_file(self, path: impl Into<PathBuf>) -> Self {
        self.sources(|sources| sources.file(path))
    }

    /// Takes `text` for the content of a `runners.toml`.
    pub fn config_text(self, text: impl Into<String>) -> Self {
        self.sources(|sources| sources.text("runners.toml", text))
    }

    /// Reads the variables `EKIDEN__…` of this process.
    pub fn environment(self) -> Self {
        self.sources(Sources::process_variables)
    }

    /// Sets one option over everything else: `set("runners.iris_clf.max_batch_size=20")`.
    pub fn set(self, assignment: impl Into<String>) -> Self {
        self.sources(|sources| sources.set(assignment))
    }

    /// Adds sources of configuration.
    pub fn sources(mut self, add: impl FnOnce(Sources) -> Sources) -> Self {
        self.sources = add(self.sources);
        self
    }

    /// Makes `R` known by this name, so that runners of the configuration can run it.
    pub fn runnable<R: Runnable>(mut self, name: impl Into<String>) -> Self {
        let name = name.into();
        let kind = KindOf::<R> { params: None, strategy: None };
        if self.kinds.insert(name.clone(), Box::new(kind)).is_some() {
            self.problems.push(format!("two runnables are registered as \"{name}\""));
        }
        self
    }

    /// Adds a runner. Configuration of the same name overrides what it says.
    pub fn runner<R: Runnable>(mut self, runner: Runner<R>) -> Self {
        let kind = KindOf::<R> { params: Some(runner.params.clone()), strategy: runner.strategy.clone() };
        match runner.options().read() {
            Ok(options) => {
                if self.runners.iter().any(|(other, _)| other.name == options.name) {
                    self.problems.push(format!("two runners in code are named \"{}\"", options.name));
                }
                self.runners.push((options, Box::new(kind)));
            }
            Err(errors) => self.problems.push(errors.to_string()),
        }
        self
    }

    /// Makes a strategy known by this name, so that `strategy = "…"` of the configuration can choose it. "default" is
    /// [`DefaultStrategy`], unless another one is given that name.
    pub fn strategy(mut self, name: impl Into<String>, strategy: impl Strategy) -> Self {
        self.strategies.insert(name.into(), Arc::new(strategy));
        self
    }

    /// Makes a kind of resource known by this name, so that `custom_resources` of the configuration are read and checked by
    /// it.
    pub fn resource(mut self, name: impl Into<String>, kind: impl CustomResource) -> Self {
        self.resources.insert(name.into(), Box::new(kind));
        self
    }

    /// Launches all runners, and waits until each takes calls.
    ///
    /// # Errors
    /// [`StartError`]: everything that is wrong with the configuration, or the first runner that has failed.
    pub async fn start(self) -> Result<App, StartError> {
        let app = self.launch()?;
        match app.ready().await {
            Ok(()) => Ok(app),
            Err((runner, cause)) => Err(StartError::Failed { runner, cause }),
        }
    }

    /// Launches all runners, and returns while they are starting; [`Serving::ready`] waits for them.
    ///
    /// # Errors
    /// [`StartError`]: everything that is wrong with the configuration.
    pub fn launch(self) -> Result<App, StartError> {
        self.check()?.launch()
    }

    /// Reads and checks everything, without starting anything.
    ///
    /// # Errors
    /// [`StartError`]: everything that is wrong with the configuration.
    pub fn check(self) -> Result<CheckedApp, StartError> {
        Ok(CheckedApp { ready: self.prepare()?, builder: self })
    }

    /// Overlays the layers, and checks each runner.
    pub(super) fn prepare(&self) -> Result<Ready, StartError> {
        if isolation::refuse_stray() {
            return Err(StartError::Stray);
        }
        let Self { sources, kinds, runners, child_args, problems, strategies, resources } = self;
        let (mut sources, mut problems) = (sources.clone(), problems.clone());
        for (options, kind) in runners {
            sources = sources.known_runner(&options.name, kind.method_names().unwrap_or_default());
        }
        let mut config = Config::load(sources.clone()).map_err(StartError::Config)?;
        for (code, _) in runners {
            let code = code.clone();
            match config.runners.iter_mut().find(|options| options.name == code.name) {
                Some(options) => *options = code.overlay(options.clone()),
                None => config.runners.push(code),
            }
        }
        if config.runners.is_empty() && problems.is_empty() {
            problems.push("there are no runners: list some under [[runners]], or add them in code".to_owned());
        }
        let placing = Placing::here(&config.runners, resources, strategies);
        let mut prepared = Vec::new();
        for options in &mut config.runners {
            let models = match models::locate(options, sources.folder()) {
                Ok(models) => models,
                Err(errors) => {
                    problems.extend(errors);
                    continue;
                }
            };
            let own = runners.iter().find(|(code, _)| code.name == options.name).map(|(_, kind)| kind);
            // Configuration that names a runnable means it, also for a runner that code defines.
            let own = own.filter(|_| options.runnable.is_none());
            if own.is_none() && !kinds.contains_key(options.runnable()) {
                models::choose_runnable(options, &models);
            }
            let Some(kind) = own.or_else(|| kinds.get(options.runnable())) else {
                let hint = models::not_served(options, &models).unwrap_or_default();
                problems.push(unknown_runnable(options, kinds) + &hint);
                continue;
            };
            let which = match own {
                Some(_) => Which::Runner(options.name.to_string()),
                None => Which::Runnable(options.runnable().to_owned()),
            };
            let isolated = isolated(options, which, child_args.clone()).map_err(PrepareError::Other);
            match isolated.and_then(|isolated| kind.prepare(options.clone(), models, isolated, &placing)) {
                Ok(runner) => prepared.push(runner),
                Err(PrepareError::Config(errors)) => problems.push(errors.to_string()),
                Err(PrepareError::Other(problem)) => problems.push(problem),
            }
        }
        if !problems.is_empty() {
            return Err(StartError::Invalid(problems));
        }
        config.runners = prepared.iter().map(|runner| runner.options.clone()).collect();
        let plans = prepared.iter().map(|runner| (runner.options.name.as_str(), &runner.placed.plan));
        let oversubscribed = placing.oversubscribed(plans);
        Ok(Ready { config, runners: prepared, oversubscribed })
    }
}

/// Runners that only wait to be launched.
pub(super) struct Ready {
    pub(super) config: Config,
    pub(super) runners: Vec<Prepared>,
    /// That they have more of the CPUs than there is.
    oversubscribed: Option<String>,
}

impl Ready {
    /// What is allowed and yet hardly what was meant.
    pub(super) fn warnings(&self) -> Vec<String> {
        let each = self.runners.iter().flat_map(|runner| {
            let name = &runner.options.name;
            let placing = runner.placed.choice.warning.iter().map(move |warning| format!("runner {name}: {warning}"));
            report::warnings(&runner.options, &runner.methods).into_iter().chain(placing)
        });
        each.chain(self.oversubscribed.clone()).collect()
    }
}

/// An app that can be launched: nothing is wrong with its configuration.
pub struct CheckedApp {
    ready: Ready,
    builder: AppBuilder,
}

impl CheckedApp {
    /// The configuration that would be in effect.
    pub fn config(&self) -> &Config {
        &self.ready.config
    }

    /// The runners and their methods, by name.
    pub fn methods(&self) -> Vec<(String, Vec<String>)> {
        self.ready.runners.iter().map(|runner| (runner.options.name.to_string(), runner.methods.clone())).collect()
    }

    /// Every effective value with the layer that it comes from, the executors that each runner would get, and warnings of
    /// what is hardly meant.
    pub fn report(&self) -> String {
        let methods = |options: &RunnerOptions| {
            let runner = self.ready.runners.iter().find(|runner| runner.options.name == options.name);
            runner.map(|runner| runner.methods.clone()).unwrap_or_default()
        };
        let mut text = report::render(&self.ready.config, methods);
        text.push('\n');
        for runner in &self.ready.runners {
            text.push_str(&format!("runner {}: {}\n", runner.options.name, runner.placed.choice));
        }
        for warning in self.ready.warnings() {
            text.push_str(&format!("warning: {warning}\n"));
        }
        text
    }

    /// Launches all runners, and returns while they are starting.
    ///
    /// # Errors
    /// [`StartError::Runtime`].
    pub fn launch(self) -> Result<App, StartError> {
        let runtime = Runtime::start().map_err(StartError::Runtime)?;
        let metrics = Arc::new(Metrics::new());
        for warning in self.ready.warnings() {
            tracing::warn!("{warning}");
        }
        let Ready { config, runners, .. } = self.ready;
        let runners = runners.into_iter().map(|runner| runner.launch(&runtime, &metrics)).collect();
        Ok(App {
            serving: Serving::new(runners, metrics),
            config: Arc::new(ArcSwap::from_pointee(config)),
            builder: Arc::new(tokio::sync::Mutex::new(self.builder)),
            reloads: Arc::new(tokio::sync::Semaphore::new(2)),
            runtime: Arc::new(runtime),
        })
    }
}

impl fmt::Debug for CheckedApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckedApp").field("config", &self.ready.config).finish_non_exhaustive()
    }
}

fn unknown_runnable(options: &RunnerOptions, kinds: &BTreeMap<String, Box<dyn Kind>>) -> String {
    let origin = options.runnable.as_ref().map_or(&options.origin, |runnable| &runnable.origin);
    let known = suggest(options.runnable(), kinds.keys().map(String::as_str));
    let place = if *origin == Origin::Code { "code".to_owned() } else { origin.to_string() };
    format!("{place}: runner \"{}\": there is no runnable \"{}\"{known}", options.name, options.runnable())
}

impl fmt::Debug for AppBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppBuilder").field("runnables", &self.kinds.keys()).finish_non_exhaustive()
    }
}
