//! Writing an archive.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, Header};

use crate::models::digest;
use crate::models::files::MANIFEST;
use crate::models::progress::Meter;
use crate::models::verify;
use crate::models::{Model, ModelError};

/// Writes a model to a new file, which is on the disk when this returns. Its files are checked on the way.
pub(in crate::models) fn pack(model: &Model, to: &Path, meter: &mut Meter<'_>) -> Result<(), ModelError> {
    let cannot_write = || ModelError::io("write", to);
    let manifest = model.manifest();
    let text =
        manifest.to_toml().map_err(|problem| ModelError::Manifest { path: model.path().join(MANIFEST), problem })?;
    let file = OpenOptions::new().write(true).create_new(true).open(to).map_err(cannot_write())?;
    // Weights hardly get smaller: what there is to win, the fastest level wins.
    let mut tar = GzEncoder::new(BufWriter::new(file), Compression::fast());
    let created = u64::try_from(manifest.created.as_second()).unwrap_or(0);
    let mut builder = Builder::new(&mut tar);
    let header = |path: &str, size: u64| {
        let mut header = Header::new_ustar();
        header.set_path(path)?;
        header.set_size(size);
        header.set_mode(0o644);
        header.set_mtime(created);
        header.set_cksum();
        io::Result::Ok(header)
    };
    let described = header(MANIFEST, text.len() as u64).and_then(|header| builder.append(&header, text.as_bytes()));
    described.map_err(cannot_write())?;
    for entry in &manifest.files {
        let path = model.file(entry.path.as_str())?;
        let mut from = File::open(&path).map_err(ModelError::io("read", &path))?;
        let header = header(entry.path.as_str(), entry.size).map_err(cannot_write())?;
        // Never more than the header has announced; whether it was less is seen below.
        let mut exactly = Hashed { from: (&mut from).take(entry.size), meter, digest: digest::Hasher::new(), read: 0 };
        builder.append(&header, &mut exactly).map_err(cannot_write())?;
        let (size, sha256) = (exactly.read, exactly.digest.finish());
        // What has grown is not what was saved either.
        let more = from.take(1).read_to_end(&mut Vec::new()).map_err(ModelError::io("read", &path))?;
        verify::check(entry, &path, size + more as u64, sha256)?;
    }
    builder.finish().map_err(cannot_write())?;
    drop(builder);
    let written = tar.finish().and_then(|mut file| {
        file.flush()?;
        file.get_ref().sync_all()
    });
    written.map_err(cannot_write())
}

/// Takes the digest of what is read through it, and tells how much that is.
struct Hashed<'a, 'b, R> {
    from: R,
    meter: &'a mut Meter<'b>,
    digest: digest::Hasher,
    read: u64,
}

impl<R: Read> Read for Hashed<'_, '_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.digest.add(&buffer[..read]);
        self.meter.add(read as u64);
        self.read += read as u64;
        Ok(read)
    }
}
