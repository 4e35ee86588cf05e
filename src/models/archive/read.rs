//! Reading an archive that may be anything.
//!
//! Entries are unpacked by hand, one by one, into files that are new: no entry decides where it goes, only whether it is one
//! of those that `model.toml` names. Memory is bounded by the size of a `model.toml`, the disk by the sizes that it gives and
//! by the caller's limit.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::GzDecoder;
use tar::{Archive, Entry, EntryType};

use crate::models::ModelError;
use crate::models::digest::{self, CopyError};
use crate::models::files::{FilePath, MANIFEST};
use crate::models::manifest::{self, FileEntry, Manifest};
use crate::models::progress::{Meter, Progress};
use crate::models::verify::{wrong_digest, wrong_size};

/// The most entries of folders, beside those of files. Archives of ours have none; tar programs write some.
const MOST_FOLDERS: usize = 10_000;

/// The most bytes of filling after the last entry; tar programs fill up blocks of 10 KiB.
const MOST_FILLING: u64 = 1 << 20;

/// Why an archive was not unpacked.
enum Fault {
    /// It is the archive's.
    Archive(String),
    /// It is not.
    Other(ModelError),
}

impl From<String> for Fault {
    fn from(problem: String) -> Self {
        Self::Archive(problem)
    }
}

impl From<ModelError> for Fault {
    fn from(error: ModelError) -> Self {
        Self::Other(error)
    }
}

/// Unpacks an archive's files into an empty folder, where they are on the disk when this returns. They are not more than
/// `most_bytes`, and what the manifest says of them. `admit` sees the manifest before anything is written.
pub(in crate::models) fn unpack(
    archive: &Path,
    folder: &Path,
    most_bytes: u64,
    admit: impl FnOnce(&Manifest) -> Result<(), ModelError>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Manifest, ModelError> {
    let file = File::open(archive).map_err(ModelError::io("read", archive))?;
    let mut rest = GzDecoder::new(BufReader::new(file));
    let manifest = entries(&mut rest, folder, most_bytes, admit, progress).and_then(|manifest| {
        end(rest)?;
        Ok(manifest)
    });
    manifest.map_err(|fault| match fault {
        Fault::Archive(problem) => ModelError::Archive { path: archive.to_owned(), problem },
        Fault::Other(error) => error,
    })
}

fn entries(
    tar: &mut impl Read,
    folder: &Path,
    most_bytes: u64,
    admit: impl FnOnce(&Manifest) -> Result<(), ModelError>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Manifest, Fault> {
    let mut archive = Archive::new(tar);
    // Raw: an extension could rename or resize what follows it, and is read into memory whatever its size.
    let mut entries = archive.entries().map_err(broken)?.raw(true);
    let first = entries.next().ok_or_else(|| "it is empty".to_owned())?.map_err(broken)?;
    let manifest = describe(first)?;
    let total = manifest.size();
    if total > most_bytes {
        return Err(format!("its files take {total} bytes, and no more than {most_bytes} are allowed").into());
    }
    admit(&manifest)?;
    let mut meter = Meter::new(total, progress);
    let mut missing: BTreeMap<&str, &FileEntry> =
        manifest.files.iter().map(|file| (file.path.as_str(), file)).collect();
    let mut folders = 0;
    for entry in entries {
        let mut entry = entry.map_err(broken)?;
        let path = entry.path_bytes();
        let path =
            str::from_utf8(&path).map_err(|_| format!("the name {:?} is not UTF-8", String::from_utf8_lossy(&path)))?;
        let path = path.to_owned();
        if entry.header().entry_type() == EntryType::Directory {
            folders += 1;
            folder_entry(&path, &entry, &manifest)?;
            if folders > MOST_FOLDERS {
                return Err(format!("it has more than {MOST_FOLDERS} folders").into());
            }
            continue;
        }
        let path = plain(&entry, &path)?;
        let Some(file) = missing.remove(path.as_str()) else {
            return Err(match manifest.file(path.as_str()) {
                Some(_) => format!("{path:?} is in it twice", path = path.as_str()),
                None => format!("{path:?} is in it, which its {MANIFEST} does not name", path = path.as_str()),
            }
            .into());
        };
        write(&mut entry, file, folder, &mut meter)?;
    }
    match missing.keys().next() {
        Some(path) => Err(format!("{path:?} is not in it, which its {MANIFEST} names").into()),
        None => Ok(manifest),
    }
}

/// The first entry.
fn describe(entry: Entry<'_, impl Read>) -> Result<Manifest, Fault> {
    if entry.path_bytes().as_ref() != MANIFEST.as_bytes() || entry.header().entry_type() != EntryType::Regular {
        return Err(format!("it is no archive of a model, which begins with {MANIFEST}").into());
    }
    if entry.size() > manifest::LARGEST {
        return Err(format!("its {MANIFEST} has {} bytes, more than {}", entry.size(), manifest::LARGEST).into());
    }
    let size = entry.size();
    let mut text = Vec::new();
    entry.take(manifest::LARGEST).read_to_end(&mut text).map_err(broken)?;
    if text.len() as u64 != size {
        return Err("it is cut short".to_owned().into());
    }
    let text = String::from_utf8(text).map_err(|_| format!("its {MANIFEST} is not UTF-8"))?;
    Ok(Manifest::parse(&text).map_err(|problem| format!("its {MANIFEST}: {problem}"))?)
}

/// A folder is nothing but a name for what may lie in it.
fn folder_entry(path: &str, entry: &Entry<'_, impl Read>, manifest: &Manifest) -> Result<(), Fault> {
    let name: FilePath =
        path.strip_suffix('/').unwrap_or(path).parse().map_err(|error: ModelError| error.to_string())?;
    let within =
        |file: &FileEntry| file.path.as_str().strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('/'));
    if entry.size() == 0 && manifest.files.iter().any(within) {
        return Ok(());
    }
    Err(format!("the folder {path:?} is in it, in which its {MANIFEST} names no file").into())
}

/// The path of an entry that is a plain file.
fn plain(entry: &Entry<'_, impl Read>, path: &str) -> Result<FilePath, Fault> {
    let kind = entry.header().entry_type();
    let what = match kind {
        EntryType::Regular => return Ok(path.parse().map_err(|error: ModelError| error.to_string())?),
        EntryType::Link | EntryType::Symlink => "a link",
        EntryType::Char | EntryType::Block | EntryType::Fifo => "a device",
        EntryType::XHeader | EntryType::XGlobalHeader | EntryType::GNULongName | EntryType::GNULongLink => {
            "an extended header; `ekiden models export` writes none"
        }
        _ => "of a kind that is not known",
    };
    Err(format!("{path:?} is {what}; only plain files can be in it").into())
}

fn write(
    entry: &mut Entry<'_, impl Read>,
    file: &FileEntry,
    folder: &Path,
    meter: &mut Meter<'_>,
) -> Result<(), Fault> {
    let at = |problem: String| format!("{:?}: {problem}", file.path.as_str());
    if entry.size() != file.size {
        return Err(at(wrong_size(file.size, entry.size())).into());
    }
    let path = file.path.within(folder);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(ModelError::io("create", parent))?;
    }
    let cannot_write = || ModelError::io("write", &path);
    let mut to = OpenOptions::new().write(true).create_new(true).open(&path).map_err(cannot_write())?;
    let (size, sha256) = digest::copy(entry, &mut to, |bytes| meter.add(bytes)).map_err(|error| match error {
        CopyError::Read(error) => Fault::Archive(broken(error)),
        CopyError::Write(error) => cannot_write()(error).into(),
    })?;
    if size != file.size {
        return Err("it is cut short".to_owned().into());
    }
    if sha256 != file.sha256 {
        return Err(at(wrong_digest(file.sha256, sha256)).into());
    }
    Ok(to.sync_all().map_err(cannot_write())?)
}

/// Reads on to the end, where the checksum of gzip stands; between it and the last entry there is nothing but zeros.
fn end(mut rest: GzDecoder<impl BufRead>) -> Result<(), Fault> {
    let mut chunk = [0; 1 << 13];
    let mut filling = 0;
    loop {
        let read = match rest.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(broken(error).into()),
        };
        filling += read as u64;
        if filling > MOST_FILLING || chunk[..read].iter().any(|byte| *byte != 0) {
            return Err("something follows after its last entry".to_owned().into());
        }
    }
    match rest.into_inner().fill_buf().map_err(broken)?.is_empty() {
        true => Ok(()),
        false => Err("something follows after its end".to_owned().into()),
    }
}

fn broken(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "it is cut short".to_owned(),
        _ => format!("it is cut short, damaged, or no archive of a model: {error}"),
    }
}
