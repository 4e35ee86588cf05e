//! Archives: one model in one file, `.ekiden`.
//!
//! A tar file compressed with gzip. Its first entry is `model.toml`, and then there is each file that it names, as a plain
//! ustar entry. Nothing else may be in it: what is read comes from strangers.

mod read;
mod write;

pub(super) use read::unpack;
pub(super) use write::pack;

/// How archives' names end.
pub const ARCHIVE: &str = "ekiden";
