//! What clients saw, and who is in the middle of a call.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::support::PATIENCE;

/// Runner, method, outcome.
pub type Outcome = (String, String, String);

pub struct Ledger {
    books: Mutex<Books>,
    changed: Condvar,
}

#[derive(Default)]
struct Books {
    begun: usize,
    /// The call of each client that is in the middle of one.
    busy: Vec<Option<usize>>,
    seen: BTreeMap<Outcome, u64>,
    /// Calls whose clients have gone, by runner and method.
    dropped: BTreeMap<(String, String), u64>,
    /// Adversaries that have not yet done all that they can.
    adversaries: usize,
    over: bool,
}

/// When a round of chaos may end.
#[derive(Clone, Copy)]
pub struct Goal {
    pub calls: usize,
    pub time: Duration,
}

impl Ledger {
    pub fn new(clients: usize) -> Self {
        Self { books: Mutex::new(Books { busy: vec![None; clients], ..Books::default() }), changed: Condvar::new() }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn begin_round(&self, adversaries: usize) -> Round<'_> {
        let mut books = self.books();
        (books.over, books.adversaries) = (false, adversaries);
        Round { ledger: self, start: Instant::now(), first: books.begun }
    }

    /// The call of `client` has ended as `outcome`.
    pub fn end(&self, client: usize, outcome: Outcome) {
        let mut books = self.books();
        books.busy[client] = None;
        *books.seen.entry(outcome).or_default() += 1;
        drop(books);
        self.changed.notify_all();
    }

    /// The caller of the call of `client` has gone.
    pub fn drop_call(&self, client: usize, runner: &str, method: &str) {
        let mut books = self.books();
        books.busy[client] = None;
        *books.dropped.entry((runner.to_owned(), method.to_owned())).or_default() += 1;
        drop(books);
        self.changed.notify_all();
    }

    /// Somebody who is no client has seen this.
    pub fn note(&self, outcome: Outcome) {
        *self.books().seen.entry(outcome).or_default() += 1;
    }

    pub fn seen(&self, is: impl Fn(&Outcome) -> bool) -> u64 {
        self.books().seen.iter().filter(|(outcome, _)| is(outcome)).map(|(_, seen)| seen).sum()
    }

    pub fn dropped(&self) -> BTreeMap<(String, String), u64> {
        self.books().dropped.clone()
    }

    pub fn is_over(&self) -> bool {
        self.books().over
    }

    /// Waits for `calls` more calls, or the end of the round.
    pub fn wait_for(&self, calls: usize) {
        let until = self.books().begun + calls;
        self.wait("more calls", |books| books.over || books.begun >= until);
    }

    /// Waits until every call has ended that is going on now.
    pub fn settle(&self) {
        let before = self.books().busy.clone();
        self.wait("calls end", |books| {
            before.iter().zip(&books.busy).all(|(before, now)| before.is_none() || before != now)
        });
    }

    /// Waits until something is so that changes with the calls, or beside them.
    pub fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let start = Instant::now();
        while !is_so() {
            assert!(start.elapsed() < PATIENCE, "{what}");
            let _ = self.changed.wait_timeout(self.books(), Duration::from_millis(2));
        }
    }

    fn wait(&self, what: &str, is_so: impl Fn(&Books) -> bool) {
        let waited = self.changed.wait_timeout_while(self.books(), PATIENCE, |books| !is_so(books));
        let timed_out = waited.unwrap_or_else(PoisonError::into_inner).1.timed_out();
        assert!(!timed_out, "{what}");
    }
}

/// From the first call of some to the last.
pub struct Round<'a> {
    pub ledger: &'a Ledger,
    start: Instant,
    first: usize,
}

impl Round<'_> {
    /// The number of the next call of `client`; `None` where it was the last.
    pub fn begin(&self, client: usize, goal: Goal) -> Option<usize> {
        let mut books = self.ledger.books();
        let enough = books.begun - self.first >= goal.calls && self.start.elapsed() >= goal.time;
        if books.over || (enough && books.adversaries == 0) {
            books.over = true;
            drop(books);
            self.ledger.changed.notify_all();
            return None;
        }
        books.begun += 1;
        let number = books.begun;
        books.busy[client] = Some(number);
        Some(number)
    }

    /// An adversary has done all that it can, and goes on.
    pub fn has_done_all(&self) {
        self.ledger.books().adversaries -= 1;
    }

    pub fn calls(&self) -> usize {
        self.ledger.books().begun - self.first
    }
}

/// Ends the round where whoever holds it panics.
pub struct Alarm<'a>(pub &'a Ledger);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.books().over = true;
            self.0.changed.notify_all();
        }
    }
}
