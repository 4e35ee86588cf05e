//! Memory that parent and child share: a file without a name, mapped by both. The only `unsafe` of the project.
//!
//! A mapping is plain memory as long as three things hold, and they do:
//!
//! * **The file is as long as the mapping**, or reading past its end is a SIGBUS. The parent makes it, with all its pages
//!   reserved; on Linux it is sealed against shrinking, so that not even a child gone wild can take pages away.
//! * **Nobody writes while others read.** Within a process, [`Region::writable`] hands out memory only while no slice of
//!   it is lent. Between the two, messages pass the right to write to and fro: the parent writes inputs while no batch
//!   runs and the child holds none of them; the child writes outputs while a batch runs, into a region of which the
//!   parent holds no slice.
//! * **Every bit pattern is a value** of what is read from it: bytes and numbers. A child that breaks the rule above can
//!   make numbers wrong, and nothing else.

#![expect(unsafe_code, reason = "mapping a file is unsafe; why it is sound here is said above")]

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;
use memmap2::MmapMut;

/// A piece of shared memory, mapped here.
#[derive(Debug)]
pub(super) struct Region(Arc<Map>);

#[derive(Debug)]
struct Map(MmapMut);

impl AsRef<[u8]> for Map {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Region {
    /// Makes one of at least `len` bytes, and the file to be sent to the other side.
    pub(super) fn create(len: usize) -> io::Result<(Self, File)> {
        // In steps of an eighth or less: payloads that grow slowly do not need a new region each time.
        let len = len.max(4096).next_multiple_of((len.next_power_of_two() / 8).max(4096));
        let file = file(len as u64)?;
        Ok((Self::map(&file, len)?, file))
    }

    /// Maps one that the other side has made.
    pub(super) fn open(file: OwnedFd, len: usize) -> io::Result<Self> {
        let file = File::from(file);
        if file.metadata()?.len() < len as u64 {
            return Err(io::Error::other("a region of shared memory is shorter than was said"));
        }
        Self::map(&file, len)
    }

    fn map(file: &File, len: usize) -> io::Result<Self> {
        // SAFETY: the file is at least this long and stays so, and both sides write by turns: see above.
        let map = unsafe { memmap2::MmapOptions::new().len(len).map_mut(file)? };
        Ok(Self(Arc::new(Map(map))))
    }

    pub(super) fn len(&self) -> usize {
        self.0.0.len()
    }

    /// Its memory; `None` while a slice of it is lent.
    pub(super) fn writable(&mut self) -> Option<&mut [u8]> {
        Arc::get_mut(&mut self.0).map(|map| &mut map.0[..])
    }

    /// All of it, to be read for as long as anybody likes.
    pub(super) fn lend(&self) -> Bytes {
        Bytes::from_owner(Lent(Arc::clone(&self.0)))
    }
}

/// Keeps a mapping alive behind a [`Bytes`].
struct Lent(Arc<Map>);

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.0.as_ref().as_ref()
    }
}

/// A file of `len` bytes that has no name, whose pages are all there.
#[cfg(target_os = "linux")]
fn file(len: u64) -> io::Result<File> {
    use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, memfd_create};

    let file = memfd_create("ekiden", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    fallocate(&file, FallocateFlags::empty(), 0, len)?;
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(file.into())
}

/// A file of `len` bytes that has no name, whose pages are all there.
#[cfg(not(target_os = "linux"))]
fn file(len: u64) -> io::Result<File> {
    use std::io::Read;

    let name = format!("ekiden-{}-{:016x}", std::process::id(), fastrand::u64(..));
    let path = std::env::temp_dir().join(name);
    let mut file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    io::copy(&mut io::repeat(0).take(len), &mut file)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_see_the_same_and_nobody_writes_what_is_lent() {
        let (mut ours, file) = Region::create(100_000).expect("a region");
        assert!(ours.len() >= 100_000);
        let theirs = Region::open(file.into(), ours.len()).expect("the same region");
        ours.writable().expect("nobody reads it")[99_999] = 7;
        assert_eq!(theirs.lend()[99_999], 7);

        let lent = ours.lend().slice(99_998..);
        assert!(ours.writable().is_none(), "it is lent");
        drop(theirs);
        assert_eq!(lent[..2], [0, 7]);
        drop(lent);
        assert!(ours.writable().is_some(), "it is free again");
    }

    #[test]
    fn a_region_is_not_longer_than_its_file() {
        let (ours, file) = Region::create(1).expect("a region");
        Region::open(file.into(), ours.len() + 1).expect_err("the file is shorter");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_region_cannot_be_cut() {
        let (_, file) = Region::create(1).expect("a region");
        file.set_len(0).expect_err("it is sealed");
    }
}
