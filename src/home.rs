//! The folder that Ekiden keeps things in.

use std::path::PathBuf;

/// `$EKIDEN_HOME`, or `~/.ekiden` without that variable; `None` where there is no home either.
pub(crate) fn folder() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("EKIDEN_HOME").or_else(|| set("HOME").map(|home| home.join(".ekiden")))
}
