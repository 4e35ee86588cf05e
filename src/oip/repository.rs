//! The model repository extension, as far as there is something for it here: what is served, and runners' orders.

use std::sync::Arc;
use std::time::Duration;

use ekiden_actors::{CallError, OrderError, RunnerState};
use serde::Serialize;
use utoipa::ToSchema;

use super::model::Model;
use crate::codec::json::excerpt;
use crate::serving::{RunnerEntry, Serving};

/// A model and its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = oip::IndexEntry)]
pub struct IndexEntry {
    /// The model's name.
    pub name: String,
    /// Its version, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `READY`, `LOADING`, `UNLOADING` or `UNAVAILABLE`.
    pub state: &'static str,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// All models; those that are ready, if so `only_ready`.
pub fn index(serving: &Serving, only_ready: bool) -> Vec<IndexEntry> {
    let entry = |model: Model| IndexEntry {
        name: model.name(),
        version: model.version().map(str::to_owned),
        state: match model.runner().status().state {
            RunnerState::Ready => "READY",
            RunnerState::Starting | RunnerState::Restarting => "LOADING",
            RunnerState::Draining => "UNLOADING",
            RunnerState::Paused | RunnerState::Failed | RunnerState::Stopped => "UNAVAILABLE",
        },
        reason: model.not_ready().unwrap_or_default(),
    };
    Model::all(serving).into_iter().map(entry).filter(|entry| !only_ready || entry.state == "READY").collect()
}

/// Refuses what an order to load a model may be told, by the names of its parameters: a model is what its runner's
/// configuration says.
///
/// # Errors
/// [`CallError::InvalidInput`] for a configuration or files.
pub fn check_load<'a>(mut parameters: impl Iterator<Item = &'a String>) -> Result<(), CallError> {
    match parameters.find(|name| *name == "config" || name.starts_with("file:")) {
        Some(name) => Err(CallError::invalid_input(format!(
            "parameter \"{}\": a model is what the configuration says; change that, and POST /v1/reload",
            excerpt(name.as_bytes())
        ))),
        None => Ok(()),
    }
}

/// Why an order to a model was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RepositoryError {
    /// There is no such model, or it is one of several that only come and go together.
    #[error("{0}")]
    Model(CallError),
    /// The runner cannot do that now, or failed to.
    #[error("runner \"{runner}\": {error}")]
    Order {
        /// Its name.
        runner: String,
        /// What is wrong.
        error: OrderError,
    },
}

/// Has a model take calls: its runner begins anew if it has failed or stopped, and goes on if it is paused. One that takes
/// calls already goes on as it is. The name may be the runner's, for all of its methods.
///
/// # Errors
/// [`RepositoryError`].
pub async fn load(serving: &Serving, name: &str) -> Result<(), RepositoryError> {
    let runner = whole_runner(serving, name)?;
    let done = match runner.status().state {
        RunnerState::Ready | RunnerState::Starting | RunnerState::Restarting => Ok(()),
        RunnerState::Paused => runner.resume().await,
        RunnerState::Failed | RunnerState::Draining | RunnerState::Stopped => runner.restart().await,
    };
    done.map_err(|error| RepositoryError::Order { runner: runner.name.clone(), error })
}

/// Has a model take no more calls: its runner finishes those that it has accepted, for at most `grace`, and stops. It stays in
/// the index, and can be loaded again. The name may be the runner's, for all of its methods.
///
/// # Errors
/// [`RepositoryError`].
pub async fn unload(serving: &Serving, name: &str, grace: Duration) -> Result<(), RepositoryError> {
    whole_runner(serving, name)?.drain(grace).await;
    Ok(())
}

/// The runner that a name stands for with all of its models: whoever names one of several must not take down the others.
fn whole_runner(serving: &Serving, name: &str) -> Result<Arc<RunnerEntry>, RepositoryError> {
    if let Ok(runner) = serving.entry(name) {
        return Ok(runner);
    }
    let model = Model::find(serving, name, None).map_err(RepositoryError::Model)?;
    let runner = &model.runner().name;
    Err(RepositoryError::Model(CallError::invalid_input(format!(
        "model \"{name}\" is loaded and unloaded with the other models of runner \"{runner}\": name that, for all of them"
    ))))
}
