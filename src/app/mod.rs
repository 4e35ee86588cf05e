//! The embedding API: an app is a set of runners, configured, launched and supervised together.

mod builder;
mod child;
mod launch;
mod models;
mod placing;
mod reload;

pub use builder::{AppBuilder, CheckedApp, StartError};

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use ekiden_actors::{CallError, Runtime};

use crate::config::Config;
use crate::runner::{IntoInputs, Method, Outputs, TypeMismatch};
use crate::serving::{Reload, ReloadError, Reloaded, RunnerEntry, Serving};

/// Runners that have been launched. Clones are cheap and mean the same app.
///
/// Dropping the last clone refuses what has not been answered; [`App::shutdown`] finishes it first.
#[derive(Clone, Debug)]
pub struct App {
    serving: Serving,
    config: Arc<ArcSwap<Config>>,
    /// What the configuration is read from again; locked by the reload that goes on.
    builder: Arc<tokio::sync::Mutex<AppBuilder>>,
    /// One goes on, and one may wait for it.
    reloads: Arc<tokio::sync::Semaphore>,
    runtime: Arc<Runtime>,
}

impl App {
    /// Builds an app.
    pub fn builder() -> AppBuilder {
        AppBuilder::new()
    }

    /// The runner of this name.
    ///
    /// # Errors
    /// [`CallError::NotFound`] that lists the runners there are.
    pub fn runner(&self, name: &str) -> Result<RunnerRef, CallError> {
        self.serving.entry(name).map(RunnerRef)
    }

    /// The configuration in effect.
    pub fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// Reads the configuration again from where it was read: the file, above all. It is checked whole before anything
    /// changes. Then runners are added, replaced and removed one by one: the executors of a new one are ready before those
    /// of an old one are drained, which answers what it has accepted, for at most the server's `grace_s`. Calls through
    /// handles to the old one go to the new one, by its limits, to methods that take and return the same; an old one's
    /// [`RunnerEntry`] goes on to tell of the old one.
    ///
    /// A runner of which nothing is said anew notices nothing, unless it has failed: then it begins anew. One that has been
    /// paused or drained is not replaced. What does not open leaves in place what it was to replace; an `open` that hangs
    /// holds up this reload and all others, until the app shuts down.
    ///
    /// It goes on where the future is dropped. One that comes while another goes on waits for it.
    ///
    /// # Errors
    /// [`ReloadError`]: nothing has changed. Runners that could not be followed up are told in [`Reloaded::failed`].
    pub async fn reload(&self) -> Result<Reloaded, ReloadError> {
        Reload::reload(self).await
    }

    /// Takes no more calls, finishes those it has taken, for at most `grace`, and ends its runners.
    pub async fn shutdown(&self, grace: Duration) {
        self.serving.drain(grace).await;
    }
}

impl Deref for App {
    type Target = Serving;

    fn deref(&self) -> &Serving {
        &self.serving
    }
}

impl AsRef<Serving> for App {
    fn as_ref(&self) -> &Serving {
        &self.serving
    }
}

/// One runner of an app, as it was when it was looked up.
#[derive(Clone, Debug)]
pub struct RunnerRef(Arc<RunnerEntry>);

impl RunnerRef {
    /// A handle to the method of this name, which takes `I` and returns `O`: each a [`Data`](crate::Data), or a tuple
    /// of several.
    ///
    /// # Errors
    /// If there is no such method, or its inputs and outputs are of other types; the message says of which.
    pub fn method<I: IntoInputs, O: Outputs>(&self, name: &str) -> Result<Method<I, O>, MethodLookupError> {
        Ok(Method::new(self.0.method(name)?.clone(), &self.0.name)?)
    }
}

impl Deref for RunnerRef {
    type Target = RunnerEntry;

    fn deref(&self) -> &RunnerEntry {
        &self.0
    }
}

/// Why there is no handle to a method.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MethodLookupError {
    /// There is no such method.
    #[error(transparent)]
    NotFound(#[from] CallError),
    /// It has other types.
    #[error(transparent)]
    Types(#[from] TypeMismatch),
}
