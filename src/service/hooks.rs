//! What a service does before its first request, and after its last.

use std::fmt::Display;
use std::pin::Pin;
use std::time::{Duration, Instant};

use super::ServiceError;

type Run = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>>>> + Send + Sync>;

/// One thing to do, and what messages call it.
pub(super) struct Hook {
    what: String,
    run: Run,
}

impl Hook {
    pub(super) fn new<F, R, E>(what: impl Into<String>, run: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), E>> + 'static,
        E: Display,
    {
        let run: Run = Box::new(move || {
            let running = run();
            Box::pin(async move { running.await.map_err(|error| error.to_string()) })
        });
        Self { what: what.into(), run }
    }
}

/// Runs them one after the other, up to the first that fails.
pub(super) async fn start(hooks: &[Hook]) -> Result<(), ServiceError> {
    for hook in hooks {
        (hook.run)().await.map_err(|message| ServiceError::Start { what: hook.what.clone(), message })?;
    }
    Ok(())
}

/// Runs all of them, the last one first, for at most `grace` together. What fails is told in the log.
pub(super) async fn stop(hooks: &[Hook], grace: Duration) {
    let since = Instant::now();
    for hook in hooks.iter().rev() {
        let left = grace.saturating_sub(since.elapsed());
        match tokio::time::timeout(left, (hook.run)()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(hook = hook.what, error, "a stop hook failed"),
            Err(_) => tracing::warn!(hook = hook.what, ?grace, "a stop hook did not end within the grace period"),
        }
    }
}
