//! Reading the configuration again, while calls go on.

use std::sync::Arc;

use ekiden_actors::RunnerState;

use super::App;
use super::launch::Prepared;
use crate::config::{Config, RunnerOptions, report};
use crate::serving::{Ending, Failed, Reload, ReloadError, Reloaded};

impl Reload for App {
    async fn reload(&self) -> Result<Reloaded, ReloadError> {
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
                    ReloadError::Busy => "busy",
                    ReloadError::Ending => "ending",
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

impl App {
    async fn reload_unobserved(&self) -> Result<Reloaded, ReloadError> {
        if self.serving.is_ending() {
            return Err(ReloadError::Ending);
        }
        let Ok(builder) = self.builder.try_lock() else { return Err(ReloadError::Busy) };
        let (mut new, prepared) = builder.prepare().map_err(|error| ReloadError::Invalid(error.to_string()))?;
        let old = self.config.load_full();
        let mut reloaded = Reloaded { needs_restart: report::changed(&old.server, &new.server), ..Reloaded::default() };
        new.server = old.server.clone();
        new.runners.clear();
        for next in prepared {
            let options = next.options.clone();
            let name = options.name.to_string();
            let before = old.runners.iter().find(|before| before.name == options.name);
            let list = match self.follow(&old, before, next).await? {
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
        self.remove_others(&new, &old, &mut reloaded).await?;
        let order: Vec<&str> = new.runners.iter().map(|runner| runner.name.as_str()).collect();
        self.serving.sort(&order);
        self.config.store(Arc::new(new));
        Ok(reloaded)
    }

    /// Has one runner be as it is to be: the new executors are ready before the old ones are drained.
    async fn follow(&self, old: &Config, before: Option<&RunnerOptions>, next: Prepared) -> Result<Step, ReloadError> {
        let was = self.serving.entry(next.options.name.as_str()).ok();
        let state = was.as_ref().map(|was| was.status().state);
        let is_same = before.is_some_and(|before| report::is_same(before, &next.options, &next.methods));
        match state {
            // What has failed may have been cured beside the configuration: a file is there now.
            Some(state) if is_same && state != RunnerState::Failed => return Ok(Step::Unchanged),
            Some(RunnerState::Paused) => {
                return Ok(Step::Failed("it is paused; resume it, and reload again".to_owned()));
            }
            _ => {}
        }
        let launched = Arc::new(next.launch(&self.runtime, self.serving.metrics()));
        if let Err(cause) = launched.actor.ready().await {
            return Ok(Step::Failed(cause.to_string()));
        }
        self.serving.put(launched, old.server.grace.value).await?;
        Ok(if was.is_some() { Step::Replaced } else { Step::Added })
    }

    async fn remove_others(&self, new: &Config, old: &Config, reloaded: &mut Reloaded) -> Result<(), ReloadError> {
        let failed: Vec<&str> = reloaded.failed.iter().map(|failed| failed.runner.as_str()).collect();
        for runner in self.serving.runners().iter() {
            let name = runner.name.as_str();
            let stays = failed.contains(&name) || new.runners.iter().any(|options| options.name.as_str() == name);
            if !stays {
                self.serving.remove(name, old.server.grace.value).await?;
                reloaded.removed.push(name.to_owned());
            }
        }
        Ok(())
    }
}
