//! Which runners are served: one table that everybody reads without waiting, and that reloads change.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use super::RunnerEntry;

/// The runners in their order, and those that are on their way out.
#[derive(Debug)]
pub(super) struct Table {
    runners: ArcSwap<Vec<Arc<RunnerEntry>>>,
    changing: Mutex<Changing>,
}

#[derive(Debug, Default)]
struct Changing {
    /// Everything ends: nothing is added any more.
    ending: bool,
    /// Not served any more, and not drained yet.
    leaving: Vec<Arc<RunnerEntry>>,
}

/// Everything ends.
#[derive(Debug)]
pub(crate) struct Ending;

impl Table {
    pub(super) fn new(runners: Vec<RunnerEntry>) -> Self {
        let runners = runners.into_iter().map(Arc::new).collect();
        Self { runners: ArcSwap::from_pointee(runners), changing: Mutex::default() }
    }

    pub(super) fn runners(&self) -> Arc<Vec<Arc<RunnerEntry>>> {
        self.runners.load_full()
    }

    pub(super) fn find(&self, name: &str) -> Option<Arc<RunnerEntry>> {
        // A handful: looking at each is faster than hashing the name.
        self.runners.load().iter().find(|runner| runner.name == name).cloned()
    }

    /// Serves `new` in place of the runner of its name, which is leaving then, or beside all others.
    pub(super) fn put(&self, new: Arc<RunnerEntry>) -> Result<Option<Arc<RunnerEntry>>, Ending> {
        self.change(|runners| match runners.iter_mut().find(|runner| runner.name == new.name) {
            Some(place) => Some(std::mem::replace(place, new)),
            None => {
                runners.push(new);
                None
            }
        })
    }

    /// Serves the runner of this name no more: it is leaving.
    pub(super) fn remove(&self, name: &str) -> Result<Option<Arc<RunnerEntry>>, Ending> {
        self.change(|runners| {
            let place = runners.iter().position(|runner| runner.name == name)?;
            Some(runners.remove(place))
        })
    }

    fn change(
        &self,
        change: impl FnOnce(&mut Vec<Arc<RunnerEntry>>) -> Option<Arc<RunnerEntry>>,
    ) -> Result<Option<Arc<RunnerEntry>>, Ending> {
        let mut changing = self.changing();
        if changing.ending {
            return Err(Ending);
        }
        let mut runners = Vec::clone(&self.runners.load());
        let leaves = change(&mut runners);
        changing.leaving.extend(leaves.clone());
        self.runners.store(Arc::new(runners));
        Ok(leaves)
    }

    /// Tells the runners in the order of these names; others come last.
    pub(super) fn sort(&self, names: &[&str]) {
        let _changing = self.changing();
        let mut runners = Vec::clone(&self.runners.load());
        runners.sort_by_key(|runner| names.iter().position(|name| *name == runner.name).unwrap_or(usize::MAX));
        self.runners.store(Arc::new(runners));
    }

    /// A runner that was leaving has left.
    pub(super) fn has_left(&self, gone: &Arc<RunnerEntry>) {
        self.changing().leaving.retain(|runner| !Arc::ptr_eq(runner, gone));
    }

    pub(super) fn is_ending(&self) -> bool {
        self.changing().ending
    }

    /// Nothing changes any more; returns all runners that have not left.
    pub(super) fn end(&self) -> Vec<Arc<RunnerEntry>> {
        let mut changing = self.changing();
        changing.ending = true;
        self.runners.load().iter().chain(&changing.leaving).cloned().collect()
    }

    fn changing(&self) -> MutexGuard<'_, Changing> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
