//! What is being served: runners by name, their methods, and what both say of themselves.
//!
//! Nothing here knows what a runnable computes with, nor how calls come in: a call is [`Values`](crate::value::Values)
//! in and out. The HTTP API and the embedding API both stand on this.

mod chunks;
mod input;
mod memory;
mod method;
mod reload;
mod stream;
mod table;
mod worker;

pub(crate) use crate::suggest::suggest;
pub(crate) use chunks::PATIENCE as STREAM_PATIENCE;
pub(crate) use input::CallInput;
pub use memory::DeviceMemory;
pub use method::MethodHandle;
pub(crate) use method::{About, Announced};
pub use reload::{Failed, Reload, ReloadError, Reloaded};
pub(crate) use stream::Emit;
pub use stream::{Blocking, ChunkStream};
pub(crate) use table::Ending;
pub(crate) use worker::{Answer, Model, ModelWorker, Pending, Setup};

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use ekiden_actors::{CallError, OrderError, RunnerState, RunnerStatus};
use serde::Serialize;
use utoipa::ToSchema;

use crate::metrics::{Gauge, Metrics};
use table::Table;

/// How a runner's executors were chosen, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ekiden::Choice)]
pub struct Choice {
    /// What the runner asks of the machine.
    pub asked: String,
    /// What it gets of it.
    pub found: String,
    /// What was made of that.
    pub chosen: String,
    /// Why.
    pub reason: String,
    /// What may not have been meant.
    pub warning: Option<String>,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, found, chosen, reason, .. } = self;
        write!(f, "{chosen} (asked: {asked}; found: {found}; {reason})")
    }
}

/// One runner that has been launched.
#[derive(Debug)]
pub struct RunnerEntry {
    /// Its name.
    pub name: String,
    /// The name of what it runs.
    pub runnable: String,
    /// The version of its model in the model store; `None` where it has none from there, or several.
    pub version: Option<String>,
    /// Its methods.
    pub methods: Vec<MethodHandle>,
    /// Whether the server is ready only while this runner is.
    pub required: bool,
    /// How its executors were chosen.
    pub plan: Choice,
    /// How much of its device's memory each executor has found in use.
    pub memory: Vec<Arc<DeviceMemory>>,
    pub(crate) actor: ekiden_actors::Runner<ModelWorker>,
}

impl RunnerEntry {
    /// Its state now.
    pub fn status(&self) -> RunnerStatus {
        self.actor.status()
    }

    /// Replaces its executors one after the other, while calls go on, and waits for that; a runner that has failed or
    /// stopped begins anew.
    ///
    /// # Errors
    /// [`OrderError`].
    pub async fn restart(&self) -> Result<(), OrderError> {
        self.actor.restart().await
    }

    /// Runs nothing more until [`RunnerEntry::resume`]; calls are taken and wait, for as long as their deadlines let them.
    ///
    /// # Errors
    /// [`OrderError`].
    pub async fn pause(&self) -> Result<(), OrderError> {
        self.actor.pause().await
    }

    /// Goes on after [`RunnerEntry::pause`].
    ///
    /// # Errors
    /// [`OrderError`].
    pub async fn resume(&self) -> Result<(), OrderError> {
        self.actor.resume().await
    }

    /// Takes no more calls, finishes those it has, for at most `grace`, and stops; waits for that. How many it refused
    /// then is told by [`RunnerStatus::unfinished`].
    pub async fn drain(&self, grace: Duration) {
        self.actor.drain(grace).await;
    }

    /// Has calls that still come to `old`, which is about to be drained, go to this one: to those of its methods that take
    /// and return the same.
    fn take_over_from(&self, old: &Self) {
        let like = |method: &MethodHandle| {
            let is_like = |own: &MethodHandle| own.name() == method.name() && own.signature() == method.signature();
            self.methods.iter().position(is_like)
        };
        let methods: Vec<_> = old.methods.iter().map(like).collect();
        old.actor.succeed(&self.actor, methods);
    }

    /// Why it is not ready; `None` when it is.
    pub fn not_ready(&self) -> Option<String> {
        let status = self.status();
        let cause = status.cause.map(|cause| format!(": {cause}")).unwrap_or_default();
        (status.state != RunnerState::Ready).then(|| format!("runner \"{}\" is {}{cause}", self.name, status.state))
    }

    /// The method of this name.
    ///
    /// # Errors
    /// [`CallError::NotFound`] that lists the methods there are.
    pub fn method(&self, name: &str) -> Result<&MethodHandle, CallError> {
        self.methods.iter().find(|method| method.name() == name).ok_or_else(|| {
            let known = self.methods.iter().map(MethodHandle::name);
            CallError::NotFound(
                format!("runner \"{}\" has no method \"{name}\"{}", self.name, suggest(name, known)).into(),
            )
        })
    }
}

/// All runners of an app.
#[derive(Clone, Debug)]
pub struct Serving {
    table: Arc<Table>,
    metrics: Arc<Metrics>,
}

impl Serving {
    pub(crate) fn new(runners: Vec<RunnerEntry>, metrics: Arc<Metrics>) -> Self {
        Self { table: Arc::new(Table::new(runners)), metrics }
    }

    /// The runners that are served now, in the order of the configuration.
    pub fn runners(&self) -> Arc<Vec<Arc<RunnerEntry>>> {
        self.table.runners()
    }

    /// The runner of this name.
    ///
    /// # Errors
    /// [`CallError::NotFound`] that lists the runners there are.
    pub fn entry(&self, name: &str) -> Result<Arc<RunnerEntry>, CallError> {
        self.table.find(name).ok_or_else(|| {
            let runners = self.runners();
            let known = runners.iter().map(|runner| runner.name.as_str());
            CallError::NotFound(format!("there is no runner \"{name}\"{}", suggest(name, known)).into())
        })
    }

    /// Serves `new` beside all others, or in place of the runner of its name; that one finishes what it has accepted,
    /// for at most `grace`.
    /// Returns how many calls it refused after that.
    pub(crate) async fn put(&self, new: Arc<RunnerEntry>, grace: Duration) -> Result<usize, Ending> {
        let Some(old) = self.table.put(Arc::clone(&new))? else { return Ok(0) };
        new.take_over_from(&old);
        Ok(self.drain_leaving(old, grace).await)
    }

    /// Serves the runner of this name no more; it finishes what it has accepted, for at most `grace`. Returns how many
    /// calls it refused after that.
    pub(crate) async fn remove(&self, name: &str, grace: Duration) -> Result<usize, Ending> {
        let Some(old) = self.table.remove(name)? else { return Ok(0) };
        Ok(self.drain_leaving(old, grace).await)
    }

    async fn drain_leaving(&self, old: Arc<RunnerEntry>, grace: Duration) -> usize {
        old.drain(grace).await;
        self.table.has_left(&old);
        old.status().unfinished
    }

    /// Whether everything ends, and nothing may change any more.
    pub(crate) fn is_ending(&self) -> bool {
        self.table.is_ending()
    }

    /// Tells the runners in the order of these names.
    pub(crate) fn sort(&self, names: &[&str]) {
        self.table.sort(names);
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Waits until each runner that is required takes calls.
    ///
    /// # Errors
    /// The first of them that has failed, and why.
    pub async fn ready(&self) -> Result<(), (String, Arc<str>)> {
        let runners = self.runners();
        let mut waits: Vec<_> = runners
            .iter()
            .filter(|runner| runner.required)
            .map(|runner| Box::pin(async { runner.actor.ready().await.map_err(|cause| (runner.name.clone(), cause)) }))
            .collect();
        // At the same time: one that has failed is told at once, however long the others take.
        std::future::poll_fn(|cx| {
            let mut failed = None;
            waits.retain_mut(|wait| match wait.as_mut().poll(cx) {
                Poll::Pending => true,
                Poll::Ready(Ok(())) => false,
                Poll::Ready(Err(failure)) => {
                    failed = Some(failure);
                    false
                }
            });
            match failed {
                Some(failure) => Poll::Ready(Err(failure)),
                None if waits.is_empty() => Poll::Ready(Ok(())),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Has all runners finish what they have accepted, at the same time, for at most `grace`.
    pub async fn drain(&self, grace: Duration) {
        let runners = self.table.end();
        let drains = runners.iter().map(|runner| Box::pin(runner.drain(grace))).collect();
        join_all(drains).await;
    }

    /// All numbers, in the OpenMetrics text format, which Prometheus reads.
    ///
    /// # Errors
    /// None in practice: writing to memory does not fail.
    pub fn encode_metrics(&self) -> Result<String, std::fmt::Error> {
        let runners = self.runners();
        let gauges = runners.iter().flat_map(|runner| {
            let state = Gauge::State(&runner.name, runner.status().state);
            let methods = runner.methods.iter().flat_map(|method| {
                let limit = method.limits().max_batch_size.get();
                let cap = method.caps().into_iter().map(|cap| cap.rows).fold(limit, usize::min);
                [
                    Gauge::QueueRows(&runner.name, method.name(), method.queued_rows()),
                    Gauge::BatchRowsCap(&runner.name, method.name(), cap),
                ]
            });
            let memory = runner.memory.iter().enumerate().filter(|(_, memory)| memory.reserved() > 0);
            let memory = memory.map(|(executor, memory)| {
                let bytes = [("in_use", memory.in_use()), ("reserved", memory.reserved()), ("peak", memory.peak())];
                Gauge::DeviceMemory(&runner.name, executor, bytes)
            });
            std::iter::once(state).chain(methods).chain(memory)
        });
        self.metrics.encode(gauges)
    }
}

impl AsRef<Serving> for Serving {
    fn as_ref(&self) -> &Serving {
        self
    }
}

/// Waits for all of a few futures.
async fn join_all(mut futures: Vec<Pin<Box<impl Future<Output = ()>>>>) {
    std::future::poll_fn(|cx| {
        futures.retain_mut(|future| future.as_mut().poll(cx).is_pending());
        if futures.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
