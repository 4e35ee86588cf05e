//! `[[runners]]`: what each layer says of a runner and its methods, and what holds in the end.
//!
//! **Which value wins.** The stronger layer; within one layer the method beats its runner. So the operator's
//! `max_batch_size = 20` for a runner also holds for a method to which the developer's code gave 10, and a variable set
//! in an emergency holds for every method; but in one file the method's own line wins.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::time::Duration;

use ekiden_actors::{Batching, MethodLimits, RestartLimits};

use super::env::env_form;
use super::error::{ConfigError, ConfigErrors, Problem};
use super::isolation::IsolationOptions;
use super::name::RunnerName;
use super::origin::{Layer, Origin, Sourced};
use super::resources::ResourceOptions;

/// Options of one method, or of all methods of a runner; `None`: not said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MethodOptions {
    /// Where the method was named; `None` for a runner's defaults.
    pub origin: Option<Origin>,
    /// How calls become batches.
    pub batching: Option<Sourced<Batching>>,
    /// The most rows in one batch.
    pub max_batch_size: Option<Sourced<NonZeroUsize>>,
    /// The numbers of rows that batches are padded to, ascending; none: batches run as they are. `Some(None)` is not said by
    /// any layer: it is what holds where none says anything.
    pub batch_buckets: Option<Sourced<Option<Vec<NonZeroUsize>>>>,
    /// The longest wait for company while an executor is free; at most 365 days.
    pub max_latency: Option<Sourced<Duration>>,
    /// The most rows that may wait.
    pub max_queue_size: Option<Sourced<NonZeroUsize>>,
    /// The deadline of calls that bring none; `Some(None)`: explicitly none.
    pub timeout: Option<Sourced<Option<Duration>>>,
    /// How long a batch may run; `Some(None)`: explicitly for ever.
    pub batch_timeout: Option<Sourced<Option<Duration>>>,
    /// Whether a batch that failed is run again.
    pub retry: Option<Sourced<bool>>,
}

impl MethodOptions {
    /// Lays the options of a stronger layer over these. Where both say something, the origins decide.
    pub fn overlay(self, stronger: Self) -> Self {
        Self {
            origin: self.origin.or(stronger.origin),
            batching: stronger_of(self.batching, stronger.batching),
            max_batch_size: stronger_of(self.max_batch_size, stronger.max_batch_size),
            batch_buckets: stronger_of(self.batch_buckets, stronger.batch_buckets),
            max_latency: stronger_of(self.max_latency, stronger.max_latency),
            max_queue_size: stronger_of(self.max_queue_size, stronger.max_queue_size),
            timeout: stronger_of(self.timeout, stronger.timeout),
            batch_timeout: stronger_of(self.batch_timeout, stronger.batch_timeout),
            retry: stronger_of(self.retry, stronger.retry),
        }
    }
}

/// How failed executors are rebuilt; `None`: not said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RestartOptions {
    /// The most restarts within the window; 0: never restart.
    pub max_restarts: Option<Sourced<u32>>,
    /// The window in which restarts count; above 0.
    pub window: Option<Sourced<Duration>>,
    /// The delay before the first restart.
    pub backoff: Option<Sourced<Duration>>,
    /// The longest delay.
    pub max_backoff: Option<Sourced<Duration>>,
    /// The most executors that are stuck and have been replaced at one time.
    pub max_abandoned: Option<Sourced<u32>>,
}

impl RestartOptions {
    fn overlay(self, stronger: Self) -> Self {
        Self {
            max_restarts: stronger_of(self.max_restarts, stronger.max_restarts),
            window: stronger_of(self.window, stronger.window),
            backoff: stronger_of(self.backoff, stronger.backoff),
            max_backoff: stronger_of(self.max_backoff, stronger.max_backoff),
            max_abandoned: stronger_of(self.max_abandoned, stronger.max_abandoned),
        }
    }
}

/// Options of one runner; `None`: not said.
#[derive(Clone, Debug, PartialEq)]
pub struct RunnerOptions {
    /// The runner's name.
    pub name: RunnerName,
    /// Where the runner was named.
    pub origin: Origin,
    /// The registered type that it runs; the runner's name if not said.
    pub runnable: Option<Sourced<String>>,
    /// Whether the server is ready only while this runner is.
    pub required: Option<Sourced<bool>>,
    /// What it asks of the machine.
    pub resources: ResourceOptions,
    /// The model that it serves: a tag in the store, or a path.
    pub model: Option<Sourced<String>>,
    /// Its models, beside that one.
    pub models: Option<Sourced<Vec<String>>>,
    /// What those were found to be, as they were looked up when the app was prepared: `name:version`, or a path.
    pub found_models: BTreeMap<String, String>,
    /// How its executors are kept apart.
    pub isolation: IsolationOptions,
    /// What holds for methods that do not say otherwise.
    pub method_defaults: MethodOptions,
    /// Options of single methods by name.
    pub methods: BTreeMap<String, MethodOptions>,
    /// The methods of which no two calls share a batch, as the runnable was found to declare them when the app was prepared.
    pub unbatchable: BTreeSet<String>,
    /// The methods that answer with streams, as the runnable was found to declare them when the app was prepared.
    pub streams: BTreeSet<String>,
    /// How failed executors are rebuilt.
    pub restarts: RestartOptions,
    /// What the runnable is given; the origin is the strongest one that set a part of it.
    pub params: Option<Sourced<serde_json::Value>>,
}

impl RunnerOptions {
    /// A runner of which nothing else is said.
    pub fn new(name: RunnerName, origin: Origin) -> Self {
        Self {
            name,
            origin,
            runnable: None,
            required: None,
            resources: ResourceOptions::default(),
            model: None,
            models: None,
            found_models: BTreeMap::new(),
            isolation: IsolationOptions::default(),
            method_defaults: MethodOptions::default(),
            methods: BTreeMap::new(),
            unbatchable: BTreeSet::new(),
            streams: BTreeSet::new(),
            restarts: RestartOptions::default(),
            params: None,
        }
    }

    /// Lays the options of a stronger layer over these. Custom resources, methods and the tables within `params` are
    /// merged by key, models are replaced; name and origin stay.
    pub fn overlay(self, stronger: Self) -> Self {
        let mut methods = self.methods;
        for (name, options) in stronger.methods {
            let weaker = methods.remove(&name).unwrap_or_default();
            methods.insert(name, weaker.overlay(options));
        }
        Self {
            name: self.name,
            origin: self.origin,
            runnable: stronger_of(self.runnable, stronger.runnable),
            required: stronger_of(self.required, stronger.required),
            resources: self.resources.overlay(stronger.resources),
            model: stronger_of(self.model, stronger.model),
            models: stronger_of(self.models, stronger.models),
            found_models: stronger.found_models,
            isolation: self.isolation.overlay(stronger.isolation),
            method_defaults: self.method_defaults.overlay(stronger.method_defaults),
            methods,
            unbatchable: stronger.unbatchable,
            streams: stronger.streams,
            restarts: self.restarts.overlay(stronger.restarts),
            params: match (self.params, stronger.params) {
                (Some(weak), Some(strong)) => Some(Sourced::new(merge(weak.value, strong.value), strong.origin)),
                (weak, strong) => strong.or(weak),
            },
        }
    }

    /// The registered type that the runner runs.
    pub fn runnable(&self) -> &str {
        self.runnable.as_ref().map_or(self.name.as_str(), |runnable| &runnable.value)
    }

    /// Whether the server is ready only while this runner is; it is unless somebody says otherwise.
    pub fn required(&self) -> bool {
        self.required.as_ref().is_none_or(|required| required.value)
    }

    /// Whether what a GPU computes is compared with the CPU's; it is unless somebody says otherwise.
    pub fn golden_check(&self) -> bool {
        self.resources.golden_check.as_ref().is_none_or(|check| check.value)
    }

    /// Renames methods that were named in a variable's spelling to the runnable's own names.
    ///
    /// # Errors
    /// Every method that the runnable does not have, with the place that named it.
    pub fn match_methods(mut self, known: &[&str]) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        for (name, options) in std::mem::take(&mut self.methods) {
            let from_variable = options.origin.as_ref().is_some_and(|origin| origin.layer() == Layer::Environment);
            let same = |method: &&&str| **method == name || from_variable && env_form(method) == env_form(&name);
            match known.iter().find(|method| **method == name).or_else(|| known.iter().find(same)) {
                Some(method) => {
                    let other = self.methods.remove(*method).unwrap_or_default();
                    self.methods.insert((*method).to_owned(), other.overlay(options));
                }
                None => errors.push(ConfigError {
                    origin: options.origin.unwrap_or(Origin::Code),
                    path: format!("runner {:?}", self.name.as_str()),
                    problem: Problem::unknown("method", &name, known.iter().copied()),
                }),
            }
        }
        ConfigErrors::check(errors)?;
        Ok(self)
    }

    /// What holds for a method: the stronger layer wins, and within one layer the method beats its runner. What cannot hold for
    /// it, since it is not batchable or streams, is off, whoever asks for it.
    pub fn effective_method(&self, method: &str) -> EffectiveMethod {
        let own = self.methods.get(method);
        let runner = &self.method_defaults;
        let default = MethodLimits::default();
        let mut effective = EffectiveMethod {
            batching: pick(own.and_then(|own| own.batching.as_ref()), runner.batching.as_ref(), default.batching),
            max_batch_size: pick(
                own.and_then(|own| own.max_batch_size.as_ref()),
                runner.max_batch_size.as_ref(),
                default.max_batch_size,
            ),
            batch_buckets: pick(own.and_then(|own| own.batch_buckets.as_ref()), runner.batch_buckets.as_ref(), None),
            max_latency: pick(
                own.and_then(|own| own.max_latency.as_ref()),
                runner.max_latency.as_ref(),
                default.max_latency,
            ),
            max_queue_size: pick(
                own.and_then(|own| own.max_queue_size.as_ref()),
                runner.max_queue_size.as_ref(),
                default.max_queue_size,
            ),
            timeout: pick(own.and_then(|own| own.timeout.as_ref()), runner.timeout.as_ref(), default.timeout),
            batch_timeout: pick(
                own.and_then(|own| own.batch_timeout.as_ref()),
                runner.batch_timeout.as_ref(),
                default.batch_timeout,
            ),
            retry: pick(own.and_then(|own| own.retry.as_ref()), runner.retry.as_ref(), default.retry),
        };
        if self.unbatchable.contains(method) && effective.batching.value != Batching::Off {
            effective.batching = Sourced::code(Batching::Off);
        }
        if self.streams.contains(method) {
            // How long a stream takes is its reader's affair too, who must not have an executor taken for stuck.
            if effective.batch_timeout.value.is_some() {
                effective.batch_timeout = Sourced::code(None);
            }
            // A caller may have read chunks when a stream breaks off. Nor is anything handed to a device beside what runs
            // only once.
            if effective.retry.value {
                effective.retry = Sourced::code(false);
            }
        }
        effective
    }

    /// The limits of a method, as [`effective_method`](Self::effective_method) finds them.
    pub fn method_limits(&self, method: &str) -> MethodLimits {
        let effective = self.effective_method(method);
        MethodLimits {
            batching: effective.batching.value,
            max_batch_size: effective.max_batch_size.value,
            max_latency: effective.max_latency.value,
            max_queue_size: effective.max_queue_size.value,
            timeout: effective.timeout.value,
            batch_timeout: effective.batch_timeout.value,
            retry: effective.retry.value,
        }
    }

    /// The limits of restarts, with defaults for what nobody said.
    pub fn restart_limits(&self) -> RestartLimits {
        let default = RestartLimits::default();
        let RestartOptions { max_restarts, window, backoff, max_backoff, max_abandoned } = &self.restarts;
        RestartLimits {
            max_restarts: pick(None, max_restarts.as_ref(), default.max_restarts).value,
            window: pick(None, window.as_ref(), default.window).value,
            backoff: pick(None, backoff.as_ref(), default.backoff).value,
            max_backoff: pick(None, max_backoff.as_ref(), default.max_backoff).value,
            max_abandoned: pick(None, max_abandoned.as_ref(), default.max_abandoned).value,
        }
    }
}

/// What holds for one method, and who said so.
#[derive(Clone, Debug, PartialEq)]
pub struct EffectiveMethod {
    /// How calls become batches.
    pub batching: Sourced<Batching>,
    /// The most rows in one batch.
    pub max_batch_size: Sourced<NonZeroUsize>,
    /// The numbers of rows that batches are padded to; `None`: powers of two on GPUs, and none on the CPU.
    pub batch_buckets: Sourced<Option<Vec<NonZeroUsize>>>,
    /// The longest wait for company while an executor is free.
    pub max_latency: Sourced<Duration>,
    /// The most rows that may wait.
    pub max_queue_size: Sourced<NonZeroUsize>,
    /// The deadline of calls that bring none.
    pub timeout: Sourced<Option<Duration>>,
    /// How long a batch may run.
    pub batch_timeout: Sourced<Option<Duration>>,
    /// Whether a batch that failed is run again.
    pub retry: Sourced<bool>,
}

/// The stronger of two values, the method's own where they are equally strong.
pub(super) fn pick<T: Clone>(own: Option<&Sourced<T>>, runner: Option<&Sourced<T>>, default: T) -> Sourced<T> {
    match (own, runner) {
        (Some(own), Some(runner)) if runner.layer() > own.layer() => runner.clone(),
        (Some(said), _) | (None, Some(said)) => said.clone(),
        (None, None) => Sourced::default(default),
    }
}

/// The value of the stronger layer; of one layer, the second.
pub(super) fn stronger_of<T>(first: Option<Sourced<T>>, second: Option<Sourced<T>>) -> Option<Sourced<T>> {
    match (first, second) {
        (Some(first), Some(second)) if first.layer() > second.layer() => Some(first),
        (first, second) => second.or(first),
    }
}

/// Merges tables by key, as layers are; anything else is replaced.
fn merge(weak: serde_json::Value, strong: serde_json::Value) -> serde_json::Value {
    match (weak, strong) {
        (serde_json::Value::Object(mut weak), serde_json::Value::Object(strong)) => {
            for (key, value) in strong {
                let merged = match weak.remove(&key) {
                    Some(old) => merge(old, value),
                    None => value,
                };
                weak.insert(key, merged);
            }
            weak.into()
        }
        (_, strong) => strong,
    }
}
