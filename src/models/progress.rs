//! How far a copy is.

/// Bytes of how many have been copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes so far.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
}

/// Counts bytes, and tells somebody.
pub(super) struct Meter<'a> {
    progress: Progress,
    tell: &'a mut dyn FnMut(Progress),
}

impl<'a> Meter<'a> {
    pub(super) fn new(total: u64, tell: &'a mut dyn FnMut(Progress)) -> Self {
        Self { progress: Progress { done: 0, total }, tell }
    }

    /// So many bytes more.
    pub(super) fn add(&mut self, bytes: u64) {
        self.progress.done += bytes;
        (self.tell)(self.progress);
    }
}
