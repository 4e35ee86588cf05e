//! Tests of the store, in folders of their own.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;

mod archives;
mod manifests;
mod paths;
mod stores;
mod tags;

/// A folder of a test's own, removed with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let unique = format!("ekiden-models-{}-{name}-{:08x}", std::process::id(), fastrand::u32(..));
        let folder = std::env::temp_dir().join(unique);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn store(&self) -> Store {
        Store::at(self.0.join("models"))
    }

    /// Writes a file, and returns where it is.
    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// Everything below the store's folder for what is in the making.
    fn staged(&self) -> Vec<PathBuf> {
        below(&self.0.join("models/.tmp")).into_iter().filter(|path| !path.ends_with("gate")).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Every file and folder below a folder.
fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        found.extend(if path.is_dir() { below(&path) } else { Vec::new() });
        found.push(path);
    }
    found.sort();
    found
}

/// Saves a model of two files.
fn save(store: &Store, name: &str, version: &str) -> Model {
    let write = |folder: &Path| {
        fs::create_dir(folder.join("vocabulary"))?;
        fs::write(folder.join("vocabulary/words.txt"), "one two\n")?;
        fs::write(folder.join("weights.bin"), b"0123456789".repeat(300))
    };
    let save = store.save(name).version(version).format("custom");
    save.label("team", "flowers").metadata("accuracy", 0.97).write(write).unwrap()
}
