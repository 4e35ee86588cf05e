//! What is being served: runners by name, their methods, and what both say of themselves.
//!
//! Nothing here knows what a runnable computes with, nor how calls come in: a call is [`Values`](crate::value::Values)
//! in and out. The HTTP API and the embedding API both stand on this.

mod method;
mod worker;

pub(crate) use method::Announced;
pub use method::MethodHandle;
pub(crate) use worker::{Answer, CallInput, Model, ModelWorker};

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use ekiden_actors::{CallError, OrderError, RunnerState, RunnerStatus};

use crate::metrics::Metrics;

/// One runner that has been launched.
#[derive(Debug)]
pub struct RunnerEntry {
    /// Its name.
    pub name: String,
    /// The name of what it runs.
    pub runnable: String,
    /// Its methods.
    pub methods: Vec<MethodHandle>,
    /// Whether the server is ready only while this runner is.
    pub required: bool,
    /// How its executors were chosen.
    pub plan: String,
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

    /// Takes no more calls, finishes those it has, for at most `grace`, and stops; waits for that.
    pub async fn drain(&self, grace: Duration) {
        self.actor.drain(grace).await;
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
    runners: Arc<[RunnerEntry]>,
    metrics: Arc<Metrics>,
}

impl Serving {
    pub(crate) fn new(runners: Vec<RunnerEntry>, metrics: Arc<Metrics>) -> Self {
        Self { runners: runners.into(), metrics }
    }

    /// The runners, in the order of the configuration.
    pub fn runners(&self) -> &[RunnerEntry] {
        &self.runners
    }

    /// The runner of this name.
    ///
    /// # Errors
    /// [`CallError::NotFound`] that lists the runners there are.
    pub fn entry(&self, name: &str) -> Result<&RunnerEntry, CallError> {
        // A handful: looking at each is faster than hashing the name.
        self.runners.iter().find(|runner| runner.name == name).ok_or_else(|| {
            let known = self.runners.iter().map(|runner| runner.name.as_str());
            CallError::NotFound(format!("there is no runner \"{name}\"{}", suggest(name, known)).into())
        })
    }

    /// Waits until each runner that is required takes calls.
    ///
    /// # Errors
    /// The first of them that has failed, and why.
    pub async fn ready(&self) -> Result<(), (String, Arc<str>)> {
        let mut waits: Vec<_> = self
            .runners
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
        let drains: Vec<_> = self
            .runners
            .iter()
            .map(|runner| {
                let actor = runner.actor.clone();
                Box::pin(async move { actor.drain(grace).await })
            })
            .collect();
        join_all(drains).await;
    }

    /// All numbers, in the OpenMetrics text format, which Prometheus reads.
    ///
    /// # Errors
    /// None in practice: writing to memory does not fail.
    pub fn encode_metrics(&self) -> Result<String, std::fmt::Error> {
        for runner in self.runners.iter() {
            for method in &runner.methods {
                self.metrics.set_queue_rows(&runner.name, method.name(), method.queued_rows());
                let limit = method.limits().max_batch_size.get();
                let cap = method.caps().into_iter().map(|cap| cap.rows).fold(limit, usize::min);
                self.metrics.set_batch_rows_cap(&runner.name, method.name(), cap);
            }
        }
        self.metrics.encode()
    }
}

impl AsRef<Serving> for Serving {
    fn as_ref(&self) -> &Serving {
        self
    }
}

/// Waits for all of a few futures.
async fn join_all(mut futures: Vec<std::pin::Pin<Box<impl Future<Output = ()>>>>) {
    std::future::poll_fn(|cx| {
        futures.retain_mut(|future| future.as_mut().poll(cx).is_pending());
        if futures.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// "; did you mean …", where something is close, and what there is.
pub(crate) fn suggest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    let nearest = known
        .iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(similarity, _)| *similarity > 0.8)
        .max_by(|one, other| one.0.total_cmp(&other.0));
    let hint = nearest.map(|(_, candidate)| format!("; did you mean \"{candidate}\"?")).unwrap_or_default();
    if known.is_empty() {
        format!("{hint}; there are none")
    } else {
        format!("{hint}; there are: {}", known.join(", "))
    }
}
