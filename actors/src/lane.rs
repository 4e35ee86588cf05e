//! The calls of one method that could run together, in the order in which they go: by priority, then by deadline, then
//! as they came. A call that has waited for [`AGE`] is raised one class, so that nobody waits for ever.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::call::Call;
use crate::triage::Pending;
use crate::{CallError, Priority, Worker};

/// A call that has waited so long in one class goes on in the next, before those that came later than it.
pub(crate) const AGE: Duration = Duration::from_secs(1);

/// Calls without a deadline have a place among the others as if they had this one, which is a method's default.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Calls that are not to be run, each with what it is told.
pub(crate) type Gone<W> = Vec<(Arc<Call<W>>, CallError)>;

/// A place in the order of what waits: the class first, then the time by which it wants to be served.
pub(crate) type Place = (usize, Instant);

pub(crate) struct Waiting<W: Worker> {
    pub(crate) call: Arc<Call<W>>,
    /// The first row that has not been dispatched yet.
    pub(crate) next_row: usize,
    /// Its place within its class: its deadline, until it is raised.
    key: Instant,
    raised: u32,
}

impl<W: Worker> Waiting<W> {
    pub(crate) fn rows(&self) -> usize {
        self.call.rows.get() - self.next_row
    }

    fn is_over(&self, now: Instant) -> bool {
        self.call.has_ended() || self.call.is_late(now)
    }

    fn pending(&self, class: usize, now: Instant) -> Pending {
        Pending { rows: self.rows(), slack: self.call.slack(now), class }
    }
}

struct Class<W: Worker> {
    waiting: VecDeque<Waiting<W>>,
    rows: usize,
    /// No call in it is to be raised before.
    raise_at: Option<Instant>,
}

impl<W: Worker> Default for Class<W> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), rows: 0, raise_at: None }
    }
}

impl<W: Worker> Class<W> {
    /// How many calls go before one with this key that comes now.
    fn before(&self, key: Instant) -> usize {
        if self.waiting.back().is_none_or(|back| back.key <= key) {
            self.waiting.len()
        } else {
            self.waiting.partition_point(|waiting| waiting.key <= key)
        }
    }

    fn push(&mut self, waiting: Waiting<W>) {
        let raise_at = waiting.call.arrived + AGE * (waiting.raised + 1);
        self.raise_at = Some(self.raise_at.map_or(raise_at, |at| at.min(raise_at)));
        self.rows += waiting.rows();
        let at = self.before(waiting.key);
        self.waiting.insert(at, waiting);
    }
}

pub(crate) struct Lane<W: Worker> {
    pub(crate) shape: u64,
    /// The most urgent first.
    classes: [Class<W>; Priority::ALL.len()],
    pub(crate) rows: usize,
    /// How many rows of calls that have waited for long may be raised, so that they are a share of what is taken.
    credit: f64,
    /// When its oldest call came, while that is known.
    oldest: Option<Instant>,
    /// Since when its next batch could have started.
    pub(crate) offered: Option<Instant>,
}

impl<W: Worker> Lane<W> {
    pub(crate) fn new(shape: u64) -> Self {
        Self { shape, classes: Default::default(), rows: 0, credit: 0.0, oldest: None, offered: None }
    }

    /// The call that goes first.
    pub(crate) fn front(&self) -> Option<&Waiting<W>> {
        self.classes.iter().find_map(|class| class.waiting.front())
    }

    /// The place of the call that goes first.
    pub(crate) fn place(&self) -> Option<Place> {
        let front = |(at, class): (usize, &Class<W>)| Some((at, class.waiting.front()?.key));
        self.classes.iter().enumerate().find_map(front)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.classes.iter().all(|class| class.waiting.is_empty())
    }

    /// How many calls wait.
    pub(crate) fn calls(&self) -> usize {
        self.classes.iter().map(|class| class.waiting.len()).sum()
    }

    /// When the oldest call came.
    pub(crate) fn oldest(&mut self) -> Option<Instant> {
        if self.oldest.is_none() {
            self.oldest = self.waiting().map(|waiting| waiting.call.arrived).min();
        }
        self.oldest
    }

    fn waiting(&self) -> impl Iterator<Item = &Waiting<W>> {
        self.classes.iter().flat_map(|class| &class.waiting)
    }

    pub(crate) fn push(&mut self, call: Arc<Call<W>>) {
        let (class, key) = place_of(&call);
        if self.rows == 0 {
            self.oldest = Some(call.arrived);
        }
        self.rows += call.rows.get();
        self.classes[class].push(Waiting { call, next_row: 0, key, raised: 0 });
    }

    /// How many calls and rows go before a call with this place that comes now. Where calls differ in rows, about so
    /// many.
    pub(crate) fn ahead(&self, (at, key): Place) -> (usize, usize) {
        let (mut calls, mut rows) = (0, 0);
        for class in &self.classes[..at] {
            calls += class.waiting.len();
            rows += class.rows;
        }
        let class = &self.classes[at];
        let before = class.before(key);
        calls += before;
        rows += if before == class.waiting.len() { class.rows } else { class.rows * before / class.waiting.len() };
        (calls, rows)
    }

    /// The calls of the next `rows` rows or a little more, in order, but for those that are over.
    pub(crate) fn pending(&self, rows: usize, now: Instant) -> Vec<Pending> {
        let mut pending = Vec::new();
        let mut seen = 0;
        for (at, class) in self.classes.iter().enumerate() {
            for waiting in &class.waiting {
                if seen >= rows {
                    return pending;
                }
                if !waiting.is_over(now) {
                    seen += waiting.rows();
                    pending.push(waiting.pending(at, now));
                }
            }
        }
        pending
    }

    /// The least slack, in seconds, of any call that the next `rows` rows can belong to. It may be that of a call behind.
    pub(crate) fn least_slack(&self, rows: usize, now: Instant) -> f64 {
        let (mut least, mut seen) = (f64::INFINITY, 0);
        for class in &self.classes {
            if seen >= rows {
                break;
            }
            for waiting in &class.waiting {
                least = least.min(waiting.call.slack(now));
                // Behind one in its own place, nobody's deadline is earlier.
                if waiting.raised == 0 {
                    break;
                }
            }
            seen += class.rows;
        }
        least
    }

    /// Takes out what is late or has ended at the front of each class; `false` if there was nothing of that.
    pub(crate) fn discard(&mut self, now: Instant, gone: &mut Gone<W>) -> bool {
        let before = gone.len();
        for at in 0..self.classes.len() {
            while let Some(waiting) = self.classes[at].waiting.pop_front_if(|front| front.is_over(now)) {
                self.remove(at, waiting.rows(), waiting.call.arrived);
                let error = waiting.call.gone();
                gone.push((waiting.call, error));
            }
        }
        gone.len() > before
    }

    /// Takes out the calls whose deadline has passed, and says when the next one's will have, or no later.
    pub(crate) fn expire(&mut self, now: Instant, gone: &mut Gone<W>) -> Option<Instant> {
        /// How many calls without a deadline are passed over in search of one that has one.
        const PASSED_OVER: usize = 16;
        let mut next: Option<Instant> = None;
        for at in 0..self.classes.len() {
            let mut index = 0;
            let mut passed_over = 0;
            while let Some(waiting) = self.classes[at].waiting.get(index) {
                let deadline = waiting.call.deadline();
                if deadline.is_some_and(|deadline| deadline <= now) {
                    if let Some(waiting) = self.classes[at].waiting.remove(index) {
                        self.remove(at, waiting.rows(), waiting.call.arrived);
                        let error = waiting.call.gone();
                        gone.push((waiting.call, error));
                    }
                    continue;
                }
                if let Some(at) = deadline {
                    next = Some(next.map_or(at, |next| next.min(at)));
                }
                if waiting.key > now && (waiting.raised == 0 && deadline.is_some() || passed_over == PASSED_OVER) {
                    next = Some(next.map_or(waiting.key, |next| next.min(waiting.key)));
                    break;
                }
                passed_over += usize::from(waiting.key > now);
                index += 1;
            }
        }
        next
    }

    /// Takes out the calls that have ended, and those for which `remove` holds.
    pub(crate) fn sweep(&mut self, mut remove: impl FnMut(&Arc<Call<W>>) -> bool, gone: &mut Gone<W>) {
        for class in &mut self.classes {
            class.waiting.retain(|waiting| {
                let keep = !remove(&waiting.call) && !waiting.call.has_ended();
                if !keep {
                    class.rows -= waiting.rows();
                    self.rows -= waiting.rows();
                    gone.push((Arc::clone(&waiting.call), waiting.call.gone()));
                }
                keep
            });
        }
        self.oldest = None;
    }

    /// Goes through the calls in order: `take` says how many of a call's rows are taken, or why it is to go; none
    /// ends it. A call of which rows are left ends it, too.
    pub(crate) fn take(
        &mut self,
        now: Instant,
        gone: &mut Gone<W>,
        mut take: impl FnMut(&Waiting<W>) -> Result<usize, CallError>,
        mut taken: impl FnMut(Arc<Call<W>>, std::ops::Range<usize>),
    ) {
        for at in 0..self.classes.len() {
            while let Some(waiting) = self.classes[at].waiting.front_mut() {
                let verdict = if waiting.is_over(now) { Err(waiting.call.gone()) } else { take(waiting) };
                let (left, arrived) = (waiting.rows(), waiting.call.arrived);
                match verdict {
                    Ok(0) => return,
                    Ok(rows) => {
                        let range = waiting.next_row..waiting.next_row + rows;
                        waiting.next_row = range.end;
                        let call = Arc::clone(&waiting.call);
                        if rows < left {
                            (self.rows, self.classes[at].rows) = (self.rows - rows, self.classes[at].rows - rows);
                            taken(call, range);
                            return;
                        }
                        self.classes[at].waiting.pop_front();
                        self.remove(at, rows, arrived);
                        taken(call, range);
                    }
                    Err(error) => {
                        if let Some(waiting) = self.classes[at].waiting.pop_front() {
                            self.remove(at, left, arrived);
                            gone.push((waiting.call, error));
                        }
                    }
                }
            }
        }
    }

    /// Accounts for a call that has been taken out of a class.
    fn remove(&mut self, class: usize, rows: usize, arrived: Instant) {
        self.rows -= rows;
        self.classes[class].rows -= rows;
        if self.classes[class].waiting.is_empty() {
            self.classes[class].raise_at = None;
        }
        if self.oldest.is_some_and(|oldest| oldest >= arrived) {
            self.oldest = None;
        }
    }

    /// A batch of up to `rows` rows is about to be taken, of this lane or another: some calls that have waited for long are
    /// raised. They are served before the calls that they overtake, which must not wait for all of them at once.
    pub(crate) fn age(&mut self, rows: usize, now: Instant) {
        /// One row in so many may be of a call that has been raised.
        const RAISED_SHARE: f64 = 8.0;
        let share = rows as f64 / RAISED_SHARE;
        self.credit = (self.credit + share).min(share.max(1.0));
        if self.credit >= 1.0 {
            self.credit -= self.raise(self.credit as usize, now) as f64;
        }
    }

    /// Raises calls that have waited for long, of `rows` rows at most, or one; returns their rows.
    fn raise(&mut self, rows: usize, now: Instant) -> usize {
        let (mut left, mut raised) = (rows, 0);
        for at in 0..self.classes.len() {
            if self.classes[at].raise_at.is_none_or(|raise_at| now < raise_at) {
                continue;
            }
            let mut index = 0;
            let mut next: Option<Instant> = None;
            while let Some(waiting) = self.classes[at].waiting.get(index) {
                let raise_at = waiting.call.arrived + AGE * (waiting.raised + 1);
                if raise_at > now || (at == 0 && waiting.raised > 0 && waiting.key <= now) {
                    if raise_at > now {
                        next = Some(next.map_or(raise_at, |next| next.min(raise_at)));
                    }
                    index += 1;
                    continue;
                }
                if left == 0 {
                    next = Some(now);
                    break;
                }
                if let Some(mut waiting) = self.classes[at].waiting.remove(index) {
                    left = left.saturating_sub(waiting.rows());
                    raised += waiting.rows();
                    self.classes[at].rows -= waiting.rows();
                    waiting.raised += 1;
                    waiting.key = waiting.call.arrived + AGE;
                    self.classes[at.saturating_sub(1)].push(waiting);
                    index += usize::from(at == 0);
                }
            }
            self.classes[at].raise_at = next;
        }
        raised
    }
}

/// The place of a call that comes now.
pub(crate) fn place_of<W: Worker>(call: &Call<W>) -> Place {
    let patience = || call.arrived.checked_add(PATIENCE).unwrap_or(call.arrived);
    (call.priority as usize, call.deadline().unwrap_or_else(patience))
}
