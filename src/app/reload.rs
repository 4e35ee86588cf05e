//! Reading the configuration again, while calls go on.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ekiden_actors::RunnerState;
use tokio::sync::oneshot;

use super::App;
use super::launch::Prepared;
use crate::config::{Config, RunnerOptions, report};
use crate::serving::{Ending, Failed, Reload, ReloadError, Reloaded};

impl Reload for App {
    async fn reload(&self) -> Result<Reloaded, ReloadError> {
        let Ok(turn) = Arc::clone(&self.reloads).try_acquire_owned() else { return Err(ReloadError::Busy) };
        let (done, outcome) = oneshot::channel();
        let app = self.clone();
        // On a thread of its own: reading a file may take long, and whoever has asked may go away halfway.
        let thread = thread::Builder::new().name("ekiden-reload".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            let outcome = match runtime {
                Ok(runtime) => runtime.block_on(app.reload_here()),
                Err(error) => Err(ReloadError::Lost(error.to_string())),
            };
            drop(turn);
            // Nobody may be there to hear it.
            let _ = done.send(outcome);
        });
        match thread {
            Ok(_) => outcome.await.unwrap_or_else(|_| Err(ReloadError::Lost("its thread has panicked".to_owned()))),
            Err(error) => Err(ReloadError::Lost(format!("no thread could be started: {error}"))),
        }
    }
}

impl App {
    async fn reload_here(&self) -> Result<Reloaded, ReloadError> {
        let outcome = self.reload_unobserved().await;
        let ended = match &outcome {
            Ok(reloaded) if reloaded.failed.is_empty() => {
                tracing::info!("the configuration has been reloaded: {reloaded}");
                "ok"
            }
            Ok(reloaded) => {
                tracing::error!("the configuration has been reloaded in part: {reloaded}");
                "incomplete"
            }
            Err(error) => {
                tracing::error!("the configuration has not been reloaded, and nothing has changed: {error}");
                match error {
                    ReloadError::Invalid(_) => "invalid",
                    ReloadError::Ending => "ending",
                    ReloadError::Busy | ReloadError::Lost(_) => "lost",
                }
            }
        };
        self.serving.metrics().reloaded(ended);
        outcome
    }
}

impl From<Ending> for ReloadError {
    fn from(Ending: Ending) -> Self {
        Self::Ending
    }
}

/// What is to become of one runner.
enum Step {
    Added,
    Replaced,
    Unchanged,
    Failed(String),
}

/// Why a runner in this state is not replaced: an operator has stopped it, and a new one would run.
fn stopped_by_order(state: RunnerState) -> Option<String> {
    let (what, cure) = match state {
        RunnerState::Paused => ("paused", "resume"),
        RunnerState::Draining | RunnerState::Stopped => ("drained", "restart"),
        _ => return None,
    };
    Some(format!("it has been {what}; {cure} it, and reload again"))
}

impl App {
    async fn reload_unobserved(&self) -> Result<Reloaded, ReloadError> {
        let builder = self.builder.lock().await;
        if self.serving.is_ending() {
            return Err(ReloadError::Ending);
        }
        let ready = builder.prepare().map_err(|error| ReloadError::Invalid(error.to_string()))?;
        for warning in ready.warnings() {
            tracing::warn!("{warning}");
        }
        let (mut new, prepared) = (ready.config, ready.runners);
        let old = self.config.load_full();
        let mut reloaded = Reloaded { needs_restart: report::changed(&old.server, &new.server), ..Reloaded::default() };
        new.server = old.server.clone();
        new.runners.clear();
        let grace = old.server.grace.value;
        for next in prepared {
            let options = next.options.clone();
            let name = options.name.to_string();
            let before = old.runners.iter().find(|before| before.name == options.name);
            let list = match self.follow(before, next, grace, &mut reloaded.refused_calls).await? {
                Step::Added => &mut reloaded.added,
                Step::Replaced => &mut reloaded.replaced,
                Step::Unchanged => &mut reloaded.unchanged,
                Step::Failed(cause) => {
                    reloaded.failed.push(Failed { runner: name, cause });
                    new.runners.extend(before.cloned());
                    continue;
                }
            };
            list.push(name);
            new.runners.push(options);
        }
        self.remove_others(&new, grace, &mut reloaded).await?;
        let order: Vec<&str> = new.runners.iter().map(|runner| runner.name.as_str()).collect();
        self.serving.sort(&order);
        self.config.store(Arc::new(new));
        Ok(reloaded)
    }

    /// Has one runner be as it is to be: the new executors are ready before the old ones are drained.
    async fn follow(
        &self,
        before: Option<&RunnerOptions>,
        next: Prepared,
        grace: Duration,
        refused_calls: &mut usize,
    ) -> Result<Step, ReloadError> {
        let was = self.serving.entry(next.options.name.as_str()).ok();
        let state = was.as_ref().map(|was| was.status().state);
        let is_same = before.is_some_and(|before| report::is_same(before, &next.options, &next.methods));
        // What has failed may have been cured beside the configuration: a file is there now.
        if is_same && state.is_some_and(|state| state != RunnerState::Failed) {
            return Ok(Step::Unchanged);
        }
        let by_order = || was.as_ref().and_then(|was| stopped_by_order(was.status().state));
        if let Some(why) = by_order() {
            return Ok(Step::Failed(why));
        }
        let launched = Arc::new(next.launch(&self.runtime, self.serving.metrics()));
        if let Err(cause) = launched.actor.ready().await {
            return Ok(Step::Failed(cause.to_string()));
        }
        // The order may have come meanwhile.
        if let Some(why) = by_order() {
            return Ok(Step::Failed(why));
        }
        *refused_calls += self.serving.put(launched, grace).await?;
        Ok(if was.is_some() { Step::Replaced } else { Step::Added })
    }

    async fn remove_others(&self, new: &Config, grace: Duration, reloaded: &mut Reloaded) -> Result<(), ReloadError> {
        let failed: Vec<&str> = reloaded.failed.iter().map(|failed| failed.runner.as_str()).collect();
        for runner in self.serving.runners().iter() {
            let name = runner.name.as_str();
            let stays = failed.contains(&name) || new.runners.iter().any(|options| options.name.as_str() == name);
            if !stays {
                reloaded.refused_calls += self.serving.remove(name, grace).await?;
                reloaded.removed.push(name.to_owned());
            }
        }
        Ok(())
    }
}
