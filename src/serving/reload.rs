//! What a reload of the configuration comes to.

use std::fmt;

use serde::Serialize;
use utoipa::ToSchema;

use super::Serving;

/// What operators act on, beside single runners.
pub trait Reload: AsRef<Serving> + Clone + Send + Sync + 'static {
    /// Reads the configuration again, and has what is served follow it.
    ///
    /// # Errors
    /// [`ReloadError`]: nothing has changed.
    fn reload(&self) -> impl Future<Output = Result<Reloaded, ReloadError>> + Send;
}

/// What a reload has done, by the names of runners.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ekiden::Reloaded)]
pub struct Reloaded {
    /// They are new, and ready.
    pub added: Vec<String>,
    /// They run with other options.
    pub replaced: Vec<String>,
    /// They are served no more.
    pub removed: Vec<String>,
    /// They have not noticed.
    pub unchanged: Vec<String>,
    /// They could not be added or replaced. What served before goes on.
    pub failed: Vec<Failed>,
    /// How many calls those that were replaced or removed had accepted, and could not answer within `grace_s`.
    pub refused_calls: usize,
    /// Options of the server, such as `server.bind`, whose new values take effect when it is started the next time.
    pub needs_restart: Vec<String>,
}

/// A runner that could not be added or replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ekiden::Failed)]
pub struct Failed {
    /// Its name.
    pub runner: String,
    /// Why.
    pub cause: String,
}

impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        for (what, runners) in [
            ("added", &self.added),
            ("replaced", &self.replaced),
            ("removed", &self.removed),
            ("unchanged", &self.unchanged),
        ] {
            if !runners.is_empty() {
                parts.push(format!("{what} {}", runners.join(", ")));
            }
        }
        for Failed { runner, cause } in &self.failed {
            parts.push(format!("runner \"{runner}\" could not be changed: {cause}"));
        }
        if self.refused_calls > 0 {
            parts.push(format!("calls that were not answered within grace_s, and refused: {}", self.refused_calls));
        }
        if !self.needs_restart.is_empty() {
            parts
                .push(format!("a new {} takes effect when the server is started again", self.needs_restart.join(", ")));
        }
        f.write_str(&parts.join("; "))
    }
}

/// Why a reload has changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReloadError {
    /// The new configuration is wrong: everything that is.
    #[error("{0}")]
    Invalid(String),
    /// Another reload is going on, and one more waits.
    #[error("a reload is going on, and another waits for it, which will read what is there then")]
    Busy,
    /// It could not be begun, or was lost.
    #[error("the reload was lost: {0}")]
    Lost(String),
    /// The server is going away.
    #[error("the server is shutting down")]
    Ending,
}
