//! Imports anything as a model's archive: `cargo fuzz run archive`.
//!
//! An input's first byte says whether the rest is the archive itself, or what it holds once it is unzipped, or that with its
//! own checksums put right: no fuzzer would find the way past them. Whatever it is, the importer refuses it and leaves nothing, or imports a model that is
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
    let bytes = match first % 3 {
        0 => rest.to_vec(),
        1 => gzip(rest),
        _ => gzip(&with_checksums(rest.to_vec())),
    };
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

/// A tar archive whose headers have the checksums that they should have.
fn with_checksums(mut tar: Vec<u8>) -> Vec<u8> {
    const BLOCK: usize = 512;
    let mut at = 0;
    while let Some(header) = tar.get_mut(at..at + BLOCK).filter(|header| header.iter().any(|&byte| byte != 0)) {
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let size = header[124..136].iter().filter(|byte| (b'0'..b'8').contains(byte));
        let size = size.fold(0_usize, |size, digit| size.wrapping_mul(8) + usize::from(digit - b'0'));
        at = size.div_ceil(BLOCK).saturating_mul(BLOCK).saturating_add(at + BLOCK).min(tar.len());
    }
    tar
}

/// What is in a folder, in order.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
