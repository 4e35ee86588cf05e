//! Imports anything as a model's archive: `cargo +nightly fuzz run archive`.
//!
//! An input's first byte says whether the rest is the archive itself, or what it holds once it is unzipped, which no fuzzer
//! would find behind a checksum. Whatever it is, the importer refuses it and leaves nothing, or imports a model that is
//! whole; nothing is ever written beside the store, and no more than is allowed.

#![no_main]

use std::fs;
use std::io::Write;
use std::path::Path;

use ekiden::models::Store;
use flate2::Compression;
use flate2::write::GzEncoder;
use libfuzzer_sys::fuzz_target;

const MOST_BYTES: u64 = 1 << 16;

fuzz_target!(|input: &[u8]| {
    let Some((first, rest)) = input.split_first() else { return };
    // Deep enough for a few steps up to be seen.
    let root = std::env::temp_dir().join(format!("ekiden-fuzz-archive-{}", std::process::id()));
    let folder = root.join("a/b/c");
    fs::create_dir_all(&folder).expect("a folder");
    let archive = folder.join("input.ekiden");
    let bytes = if first % 2 == 0 { rest.to_vec() } else { gzip(rest) };
    fs::write(&archive, bytes).expect("is written");

    let store = Store::at(folder.join("models"));
    let imported = store.import(&archive).most_bytes(MOST_BYTES).run();
    let listing = store.list().expect("the store is there");
    assert!(listing.broken.is_empty(), "{:?}", listing.broken);
    match &imported {
        Ok(model) => {
            model.verify().expect("it is whole");
            assert_eq!(listing.models, std::slice::from_ref(model));
            assert!(model.manifest().size() <= MOST_BYTES);
        }
        Err(_) => assert!(listing.models.is_empty()),
    }
    assert_eq!(names(&root), ["a"]);
    assert_eq!(names(&root.join("a")), ["b"]);
    assert_eq!(names(&root.join("a/b")), ["c"]);
    assert_eq!(names(&folder), ["input.ekiden", "models"]);
    assert_eq!(names(&store.path().join(".tmp")), ["gate"]);
    fs::remove_dir_all(&root).expect("is removed");
});

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

/// What is in a folder, in order.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
