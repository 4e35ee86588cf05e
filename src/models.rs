//! The model store: where saved models lie.
//!
//! A model is a folder `$EKIDEN_HOME/models/<name>/<version>/`; without `EKIDEN_HOME`, it is `~/.ekiden`.

use std::env;
use std::fs;
use std::path::PathBuf;

/// The folder of the model with this tag: `name:version`, or `name` or `name:latest` for the version whose name sorts
/// last.
///
/// # Errors
/// A message that says what is wrong with the tag, or what the store has.
pub fn folder(tag: &str) -> Result<PathBuf, String> {
    let (name, version) = tag.split_once(':').unwrap_or((tag, "latest"));
    let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains(['/', '\\', ':']);
    if !plain(name) || !plain(version) {
        return Err(format!("\"{tag}\" is not a model's tag; expected \"name:version\", or \"name\" for the latest"));
    }
    let home = home().ok_or("neither EKIDEN_HOME nor HOME is set, so that there is no model store")?;
    let versions = home.join("models").join(name);
    let mut known: Vec<String> = fs::read_dir(&versions)
        .map_err(|error| format!("model \"{tag}\": {}: {error}", versions.display()))?
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    known.sort();
    let found = if version == "latest" { known.last() } else { known.iter().find(|known| *known == version) };
    match found {
        Some(version) => Ok(versions.join(version)),
        None => Err(format!("model \"{tag}\": {} has the versions: {}", versions.display(), known.join(", "))),
    }
}

fn home() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("EKIDEN_HOME").or_else(|| set("HOME").map(|home| home.join(".ekiden")))
}
