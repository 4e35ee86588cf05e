use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{EntryType, Header};

use super::*;

/// The archive of a model of two files, uncompressed: `model.toml`, `vocabulary/words.txt`, `weights.bin`.
fn good(scratch: &Scratch) -> (Manifest, Vec<Entry>) {
    let model = save(&scratch.store(), "iris", "1");
    let mut entries = vec![Entry::file("model.toml", model.manifest().to_toml().unwrap())];
    for file in &model.manifest().files {
        entries.push(Entry::file(file.path.as_str(), fs::read(model.file(file.path.as_str()).unwrap()).unwrap()));
    }
    (model.manifest().clone(), entries)
}

/// One entry of a tar file, which need not be a sensible one.
#[derive(Clone)]
struct Entry {
    path: Vec<u8>,
    kind: EntryType,
    size: u64,
    content: Vec<u8>,
    link: &'static str,
}

impl Entry {
    fn file(path: &str, content: impl Into<Vec<u8>>) -> Self {
        let content = content.into();
        Self { path: path.into(), kind: EntryType::Regular, size: content.len() as u64, content, link: "" }
    }

    fn of(kind: EntryType, path: &str, link: &'static str) -> Self {
        Self { kind, link, ..Self::file(path, "") }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut header = Header::new_ustar();
        let name = &mut header.as_old_mut().name;
        name[..self.path.len()].copy_from_slice(&self.path);
        header.set_entry_type(self.kind);
        header.set_size(self.size);
        header.set_mode(0o644);
        header.as_old_mut().linkname[..self.link.len()].copy_from_slice(self.link.as_bytes());
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend(&self.content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }
}

fn tar(entries: &[Entry]) -> Vec<u8> {
    let mut tar: Vec<u8> = entries.iter().flat_map(Entry::bytes).collect();
    tar.extend([0; 1024]);
    tar
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Imports bytes as an archive into a store that has nothing; after a refusal, it still has nothing.
fn import(bytes: &[u8]) -> Result<Model, String> {
    let scratch = Scratch::new("import");
    let path = scratch.file("strange.ekiden", bytes);
    let store = scratch.store();
    let imported = store.import(&path).most_bytes(1 << 20).run();
    assert!(scratch.staged().is_empty(), "{:?}", scratch.staged());
    let listing = store.list().unwrap();
    assert!(listing.broken.is_empty());
    match imported {
        Ok(model) => {
            model.verify().unwrap();
            assert_eq!(listing.models, std::slice::from_ref(&model));
            Ok(model)
        }
        Err(error) => {
            assert!(listing.models.is_empty());
            // Nothing but the archive, the store's folder and the gate of what was in the making.
            assert_eq!(below(&scratch.0).len(), 4, "{:?}", below(&scratch.0));
            Err(error.to_string())
        }
    }
}

#[track_caller]
fn refused(entries: &[Entry], why: &str) {
    let error = import(&gzip(&tar(entries))).unwrap_err();
    assert!(error.contains(why) && error.contains("strange.ekiden"), "{why:?} is not in: {error}");
}

#[test]
fn there_and_back() {
    let scratch = Scratch::new("there-and-back");
    let store = scratch.store();
    let saved = save(&store, "iris", "1");
    let archive = scratch.0.join("iris.ekiden");
    store.export("iris").unwrap().to(&archive).unwrap();
    // Refused before anything was copied.
    let again = store.import(&archive).progress(|progress| panic!("{progress:?}")).run();
    assert!(matches!(again, Err(ModelError::Exists { .. })), "{again:?}");
    let copy = store.import(&archive).name("copy").version("2").label("from", "iris").run().unwrap();
    assert_eq!((copy.to_string(), copy.manifest().labels["from"].as_str()), ("copy:2".to_owned(), "iris"));
    assert_eq!((&copy.manifest().files, copy.manifest().created), (&saved.manifest().files, saved.manifest().created));
    copy.verify().unwrap();

    let other = Store::at(scratch.0.join("other"));
    assert_eq!(other.import(&archive).run().unwrap().manifest(), saved.manifest());
    // A folder goes the same way.
    let folder = scratch.0.join("iris-folder");
    store.export("iris:1").unwrap().to(&folder).unwrap();
    other.delete("iris").unwrap();
    assert_eq!(other.import(&folder).run().unwrap().manifest(), saved.manifest());
    // Nothing is written over, and nothing else is left.
    assert!(matches!(store.export("iris").unwrap().to(&archive), Err(ModelError::TargetExists { .. })));
    assert!(matches!(store.export("iris").unwrap().to(&folder), Err(ModelError::TargetExists { .. })));
    let there: Vec<_> = fs::read_dir(&scratch.0).unwrap().collect();
    assert_eq!(there.len(), 4, "{there:?}");
}

#[test]
fn the_longest_path_fits_into_an_archive() {
    let scratch = Scratch::new("longest");
    let store = scratch.store();
    let longest = format!("{}/{}", "a".repeat(49), "b".repeat(50));
    let write = |folder: &Path| {
        fs::create_dir(folder.join("a".repeat(49)))?;
        fs::write(folder.join(&longest), "x")
    };
    store.save("iris").version("1").write(write).unwrap();
    let archive = scratch.0.join("iris.ekiden");
    store.export("iris").unwrap().to(&archive).unwrap();
    assert!(store.import(&archive).version("2").run().unwrap().file(&longest).is_ok());
}

#[test]
fn two_exports_are_the_same() {
    let scratch = Scratch::new("same");
    let store = scratch.store();
    save(&store, "iris", "1");
    let bytes = |name: &str| {
        let path = scratch.0.join(name);
        store.export("iris").unwrap().to(&path).unwrap();
        fs::read(path).unwrap()
    };
    assert_eq!(bytes("a.ekiden"), bytes("b.ekiden"));
}

#[test]
fn a_damaged_model_is_not_exported() {
    let scratch = Scratch::new("damaged-export");
    let store = scratch.store();
    let model = save(&store, "iris", "1");
    let file = model.file("weights.bin").unwrap();
    // Changed, shorter, longer; and what was saved with one byte more.
    let grown = fs::read_to_string(&file).unwrap() + "x";
    for content in ["x".repeat(3000), "x".to_owned(), "x".repeat(3001), grown] {
        fs::write(&file, content).unwrap();
        for target in ["a.ekiden", "folder"] {
            let exported = store.export("iris").unwrap().to(scratch.0.join(target));
            assert!(matches!(exported, Err(ModelError::Damaged { .. })), "{exported:?}");
        }
    }
    assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 1, "{:?}", below(&scratch.0));
}

#[test]
fn a_sound_archive_of_any_tar_program_is_imported() {
    let (manifest, entries) = good(&Scratch::new("sound"));
    assert_eq!(import(&gzip(&tar(&entries))).unwrap().manifest(), &manifest);
    // Folders, and filling after the end.
    let mut more = entries.clone();
    more.insert(1, Entry::of(EntryType::Directory, "vocabulary/", ""));
    let mut filled = tar(&more);
    filled.resize(20 * 512, 0);
    assert_eq!(import(&gzip(&filled)).unwrap().manifest(), &manifest);
    // Files in another order.
    let reordered = [entries[0].clone(), entries[2].clone(), entries[1].clone()];
    assert!(import(&gzip(&tar(&reordered))).is_ok());
}

#[test]
fn what_escapes_its_folder_is_refused() {
    let (_, entries) = good(&Scratch::new("escapes"));
    let with = |entry: Entry| [&entries[..], &[entry]].concat();
    for path in ["../evil", "vocabulary/../../evil", "/tmp/evil", "..\\evil", "C:evil", "./weights.bin", "a\u{1}"] {
        refused(&with(Entry::file(path, "evil")), "cannot be a file of a model");
    }
    refused(&with(Entry::of(EntryType::Directory, "../evil/", "")), "cannot be a file of a model");
    refused(&with(Entry::of(EntryType::Symlink, "evil", "/etc/passwd")), "is a link");
    refused(&with(Entry::of(EntryType::Link, "evil", "/etc/passwd")), "is a link");
    // A link in place of a file, through which the next would be written.
    let mut through = entries.clone();
    through.insert(1, Entry::of(EntryType::Symlink, "vocabulary", "/tmp"));
    refused(&through, "is a link");
    let mut instead = entries.clone();
    instead[2] = Entry::of(EntryType::Symlink, "weights.bin", "/etc/passwd");
    refused(&instead, "is a link");
    // Its manifest names a way out.
    let mut named = entries.clone();
    let text = String::from_utf8(named[0].content.clone()).unwrap().replace("weights.bin", "../weights.bin");
    named[0] = Entry::file("model.toml", text);
    named[2].path = b"../weights.bin".to_vec();
    refused(&named, "\"../weights.bin\" cannot be a file of a model");
}

#[test]
fn what_is_no_plain_file_is_refused() {
    let (_, entries) = good(&Scratch::new("plain"));
    let kinds = [
        (EntryType::Fifo, "a device"),
        (EntryType::Char, "a device"),
        (EntryType::Block, "a device"),
        (EntryType::XHeader, "an extended header"),
        (EntryType::XGlobalHeader, "an extended header"),
        (EntryType::GNULongName, "an extended header"),
        (EntryType::GNULongLink, "an extended header"),
        (EntryType::GNUSparse, "not known"),
        (EntryType::Continuous, "not known"),
        (EntryType::new(b'?'), "not known"),
    ];
    for (kind, what) in kinds {
        let mut strange = entries.clone();
        strange[2].kind = kind;
        refused(&strange, what);
        strange = entries.clone();
        strange[0].kind = kind;
        refused(&strange, "begins with model.toml");
    }
}

#[test]
fn names_that_are_not_utf8_are_refused() {
    let (_, mut entries) = good(&Scratch::new("utf8"));
    entries[2].path = b"weights\xff.bin".to_vec();
    refused(&entries, "is not UTF-8");
    let (_, mut entries) = good(&Scratch::new("utf8-manifest"));
    entries[0].content[20] = 0xff;
    refused(&entries, "model.toml is not UTF-8");
}

#[test]
fn only_what_the_manifest_names_is_imported_and_all_of_it() {
    let (_, entries) = good(&Scratch::new("names"));
    refused(&[], "it is empty");
    refused(&entries[1..], "begins with model.toml");
    refused(&entries[..2], "\"weights.bin\" is not in it");
    refused(&[&entries[..], &entries[2..]].concat(), "\"weights.bin\" is in it twice");
    refused(&[&entries[..], &entries[..1]].concat(), "\"model.toml\" cannot be a file of a model");
    refused(
        &[&entries[..], &[Entry::file("extra", "x")]].concat(),
        "\"extra\" is in it, which its model.toml does not name",
    );
    refused(&[&entries[..], &[Entry::of(EntryType::Directory, "extra/", "")]].concat(), "the folder \"extra/\"");
    let mut folder = Entry::of(EntryType::Directory, "vocabulary/", "");
    folder.size = 512;
    folder.content = vec![0; 512];
    refused(&[&entries[..], &[folder]].concat(), "the folder \"vocabulary/\"");
}

#[test]
fn sizes_and_digests_that_are_not_the_manifests_are_refused() {
    let (_, entries) = good(&Scratch::new("sizes"));
    let mut other = entries.clone();
    other[2].content[7] ^= 1;
    refused(&other, "\"weights.bin\": expected the SHA-256");
    other[2] = Entry::file("weights.bin", "0123456789");
    refused(&other, "expected 3000 bytes, found 10");
    // A header that says less or more than there is.
    for size in [2999, 3001, 1 << 40, u64::MAX >> 1] {
        let mut lying = entries.clone();
        lying[2].size = size;
        refused(&lying, "expected 3000 bytes, found");
    }
    // Both say more than there is.
    let text = String::from_utf8(entries[0].content.clone()).unwrap();
    let mut lying = entries.clone();
    lying[0] = Entry::file("model.toml", text.replace("size = 3000", "size = 300000"));
    lying[2].size = 300_000;
    refused(&lying, "cut short");
    lying[0] = Entry::file("model.toml", text.replace("size = 3000", "size = 3000000"));
    refused(&lying, "no more than 1048576 are allowed");
    lying[0].size = 5 << 20;
    refused(&lying, "model.toml has 5242880 bytes");
}

#[test]
fn what_is_cut_short_is_refused() {
    let (_, entries) = good(&Scratch::new("short"));
    let whole = gzip(&tar(&entries));
    for sixteenth in 0..16 {
        let error = import(&whole[..whole.len() * sixteenth / 16]).unwrap_err();
        assert!(error.contains("cut short"), "{sixteenth}/16: {error}");
    }
    for missing in 1..=16 {
        let error = import(&whole[..whole.len() - missing]).unwrap_err();
        assert!(error.contains("cut short"), "{missing} bytes: {error}");
    }
    // The tar file itself, in a whole gzip.
    let inner = tar(&entries);
    for sixteenth in 0..16 {
        assert!(import(&gzip(&inner[..(inner.len() - 1024) * sixteenth / 16])).is_err(), "{sixteenth}/16");
    }
    let mut flipped = whole.clone();
    let checksum = flipped.len() - 8;
    flipped[checksum] ^= 1;
    assert!(import(&flipped).is_err());
}

#[test]
fn nothing_hides_behind_the_end() {
    let (_, entries) = good(&Scratch::new("hides"));
    let inner = tar(&entries);
    let error = import(&gzip(&[&inner[..], b"more"].concat())).unwrap_err();
    assert!(error.contains("something follows after its last entry"), "{error}");
    let error = import(&[&gzip(&inner)[..], b"more"].concat()).unwrap_err();
    assert!(error.contains("something follows after its end"), "{error}");
    let error = import(&[gzip(&inner), gzip(&inner)].concat()).unwrap_err();
    assert!(error.contains("something follows after its end"), "{error}");
}

/// Of hundreds of MiB of zeros, which take less than one compressed, no more is read than is needed to refuse them.
#[test]
fn a_bomb_is_bounded() {
    let bomb = |before: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(before).unwrap();
        for _ in 0..256 {
            encoder.write_all(&vec![0; 1 << 20]).unwrap();
        }
        encoder.finish().unwrap()
    };
    let (_, entries) = good(&Scratch::new("bomb"));
    let error = import(&bomb(&tar(&entries))).unwrap_err();
    assert!(error.contains("something follows"), "{error}");
    for kind in [EntryType::GNULongName, EntryType::XHeader] {
        let mut long = entries[2].clone();
        (long.kind, long.size, long.content) = (kind, 256 << 20, Vec::new());
        let error = import(&bomb(&[entries[0].bytes(), long.bytes()].concat())).unwrap_err();
        assert!(error.contains("an extended header"), "{error}");
        let mut first = long;
        first.path = b"model.toml".to_vec();
        let error = import(&bomb(&first.bytes())).unwrap_err();
        assert!(error.contains("begins with model.toml"), "{error}");
    }
    let error = import(&bomb(&[])).unwrap_err();
    assert!(error.contains("it is empty"), "{error}");
}

#[test]
fn what_is_no_archive_is_refused() {
    for bytes in
        [&b""[..], b"x", b"\x1f\x8b", &[0; 4096], &gzip(b""), &gzip(b"hello"), &gzip(&[0; 512]), &gzip(&[1; 4096])]
    {
        assert!(import(bytes).is_err(), "{bytes:?}");
    }
}
