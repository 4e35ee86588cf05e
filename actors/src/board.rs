//! What waits and what runs in one runner, and who is free: state and decisions, without clock, lock or actor.
//!
//! Each operation adds to [`Effects`]: whom to wake, which alarm to set, which calls to end. The desk carries them out;
//! the simulation in this crate's tests carries them out too, under virtual time.
//!
//! Two invariants keep calls from waiting for nobody. While an executor is idle and a batch is due, one has been woken
//! and has not looked yet (`waking`); and while one is idle and a batch will be due later, its method's alarm is set
//! for then or earlier. Whoever looks and finds, or leaves, work for others rouses them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::call::Call;
use crate::policy::Verdict;
use crate::queue::{Batch, Entry, Queue};
use crate::recovery::{Failure, Recovery, recovery};
use crate::{CallError, MethodLimits, Worker};

/// Whether calls are taken.
#[derive(Clone, Debug)]
pub(crate) enum Phase {
    /// Not yet.
    Starting,
    /// Yes.
    Open,
    /// No more; those taken are finished.
    Draining,
    /// Never again, for this cause.
    Closed(Arc<str>),
}

/// One executor's place.
enum Seat<W: Worker> {
    /// Nobody sits there.
    Vacant,
    /// Its executor has nothing to do.
    Idle,
    /// Its executor has been woken, or is between two batches.
    Awake,
    /// Its executor runs this.
    Running(Arc<Batch<W>>),
}

/// What an executor does next.
pub(crate) enum Next<W: Worker> {
    Run(Arc<Batch<W>>),
    /// Wait to be woken.
    Idle,
    /// There is nothing left to do, and will not be.
    Retire,
}

/// What the outside must do after an operation.
pub(crate) struct Effects<W: Worker> {
    /// Wake this executor.
    pub(crate) wake: Option<usize>,
    /// Wake these too, to see a change of phase.
    pub(crate) dismissed: Vec<usize>,
    /// Have [`Board::alarm`] called for these methods at these times.
    pub(crate) alarms: Vec<(usize, Instant)>,
    /// End these calls, each of the method before it, with the error behind it. Some may have ended before.
    pub(crate) ended: Vec<(usize, Arc<Call<W>>, CallError)>,
    /// The batch that is over: drop it, with its inputs, now that no lock is held.
    pub(crate) done: Option<Arc<Batch<W>>>,
}

impl<W: Worker> Effects<W> {
    fn gone(&mut self, method: usize, calls: impl IntoIterator<Item = Arc<Call<W>>>) {
        self.ended.extend(calls.into_iter().map(|call| {
            let error = call.gone();
            (method, call, error)
        }));
    }
}

impl<W: Worker> Default for Effects<W> {
    fn default() -> Self {
        Self { wake: None, dismissed: Vec::new(), alarms: Vec::new(), ended: Vec::new(), done: None }
    }
}

struct Method<W: Worker> {
    queue: Queue<W>,
    /// The alarm that has been asked for.
    alarm: Option<Instant>,
}

pub(crate) struct Board<W: Worker> {
    pub(crate) phase: Phase,
    /// While no executor is up: when the next one may be.
    pub(crate) back_at: Option<Instant>,
    methods: Vec<Method<W>>,
    seats: Vec<Seat<W>>,
    /// The seats of idle executors; the last to have become idle is the first to be woken, its caches being warm.
    idle: Vec<usize>,
    /// An executor that has been woken and has not looked yet. It will wake the next one if it leaves work.
    waking: Option<usize>,
    /// Batches to be run again, before anything else.
    returned: VecDeque<Batch<W>>,
}

impl<W: Worker> Board<W> {
    pub(crate) fn new(limits: impl IntoIterator<Item = MethodLimits>, executors: usize) -> Self {
        Self {
            phase: Phase::Starting,
            back_at: None,
            methods: limits
                .into_iter()
                .enumerate()
                .map(|(at, limits)| Method { queue: Queue::new(at, limits), alarm: None })
                .collect(),
            seats: (0..executors).map(|_| Seat::Vacant).collect(),
            idle: Vec::with_capacity(executors),
            waking: None,
            returned: VecDeque::new(),
        }
    }

    /// Takes a call, or says why not.
    pub(crate) fn push(
        &mut self,
        method: usize,
        call: &Arc<Call<W>>,
        now: Instant,
        effects: &mut Effects<W>,
    ) -> Result<(), CallError> {
        self.check_phase()?;
        self.check_return(call, now)?;
        let executors = self.seats.len();
        let state = &mut self.methods[method];
        let mut gone = Vec::new();
        let admitted = state.queue.admit(call.rows.get(), executors, now, &mut gone);
        effects.gone(method, gone);
        admitted?;
        state.queue.push(Arc::clone(call));
        if let Some(deadline) = call.deadline() {
            self.set_alarm(method, deadline, effects);
        }
        self.rouse(method, now, effects);
        Ok(())
    }

    /// The executor of `seat` asks for work, having finished what it ran.
    pub(crate) fn next(&mut self, seat: usize, now: Instant, effects: &mut Effects<W>) -> Next<W> {
        match std::mem::replace(&mut self.seats[seat], Seat::Awake) {
            // The wake was meant for the executor that sat here before.
            Seat::Idle => self.idle.retain(|&idle| idle != seat),
            Seat::Running(batch) => effects.done = Some(batch),
            Seat::Vacant | Seat::Awake => {}
        }
        if self.waking == Some(seat) {
            self.waking = None;
        }
        if matches!(self.phase, Phase::Closed(_)) {
            self.seats[seat] = Seat::Vacant;
            return Next::Retire;
        }
        let next = match self.take(now, effects) {
            Some(batch) => {
                let batch = Arc::new(batch);
                self.seats[seat] = Seat::Running(Arc::clone(&batch));
                Next::Run(batch)
            }
            None if matches!(self.phase, Phase::Draining) => {
                self.seats[seat] = Seat::Vacant;
                Next::Retire
            }
            None => {
                self.seats[seat] = Seat::Idle;
                self.idle.push(seat);
                Next::Idle
            }
        };
        self.rouse_all(now, effects);
        next
    }

    /// The alarm of `method` has gone off.
    pub(crate) fn alarm(&mut self, method: usize, now: Instant, effects: &mut Effects<W>) {
        self.methods[method].alarm = None;
        let mut earliest: Option<Instant> = None;
        let mut gone = Vec::new();
        let mut swept = Vec::new();
        let mut look = |call: &Arc<Call<W>>| -> bool {
            if call.has_ended() {
                return false;
            }
            let Some(deadline) = call.deadline() else { return false };
            if deadline <= now {
                gone.push(Arc::clone(call));
                return true;
            }
            earliest = Some(earliest.map_or(deadline, |earliest| earliest.min(deadline)));
            false
        };
        let running = self.seats.iter().filter_map(|seat| match seat {
            Seat::Running(batch) => Some(batch.as_ref()),
            _ => None,
        });
        for batch in running.chain(&self.returned).filter(|batch| batch.method == method) {
            for entry in &batch.entries {
                look(&entry.call);
            }
        }
        self.methods[method].queue.sweep(look, &mut swept);
        effects.gone(method, gone.into_iter().chain(swept));
        if let Some(earliest) = earliest {
            self.set_alarm(method, earliest, effects);
        }
        self.rouse(method, now, effects);
    }

    /// An executor has ended. What it ran, if anything, is handed back.
    pub(crate) fn leave(&mut self, seat: usize, effects: &mut Effects<W>) -> Option<Arc<Batch<W>>> {
        self.idle.retain(|&idle| idle != seat);
        let left = std::mem::replace(&mut self.seats[seat], Seat::Vacant);
        if self.waking == Some(seat) {
            self.waking = None;
            self.wake_one(effects);
        }
        match left {
            Seat::Running(batch) => Some(batch),
            Seat::Vacant | Seat::Idle | Seat::Awake => None,
        }
    }

    /// A batch did not succeed: answers its calls, or puts it in front of everything that waits, whole or in halves.
    pub(crate) fn recover(&mut self, batch: &Batch<W>, failure: Failure, effects: &mut Effects<W>) {
        let method = batch.method;
        let (gone, entries): (Vec<&Entry<W>>, Vec<_>) = batch.entries.iter().partition(|entry| entry.call.has_ended());
        effects.gone(method, gone.into_iter().map(|entry| Arc::clone(&entry.call)));
        let crashes = batch.crashes + u32::from(matches!(failure, Failure::Crash(_)));
        let retry = self.methods[method].queue.limits().retry;
        let mut again = |entries: &[&Entry<W>]| {
            if entries.is_empty() {
                return;
            }
            let entries = entries.iter().map(|entry| Entry { call: Arc::clone(&entry.call), rows: entry.rows.clone() });
            self.returned.push_back(Batch { method, entries: entries.collect(), crashes });
        };
        let recovery = match self.phase {
            Phase::Closed(_) => Recovery::Answer,
            // By all calls that ran: whose caller has gone since may be the one to blame.
            _ => recovery(&failure, batch.entries.len(), crashes, retry),
        };
        match recovery {
            Recovery::Answer => {
                let error = failure.into_error();
                effects.ended.extend(entries.iter().map(|entry| (method, Arc::clone(&entry.call), error.clone())));
            }
            Recovery::Again => again(&entries),
            Recovery::Halve => {
                let (first, second) = entries.split_at(entries.len() / 2);
                again(first);
                again(second);
            }
        }
        if !self.returned.is_empty() {
            self.wake_one(effects);
        }
    }

    /// Takes no more calls, and sends executors home as soon as nothing is left to do.
    pub(crate) fn drain(&mut self, effects: &mut Effects<W>) {
        self.phase = Phase::Draining;
        for method in &mut self.methods {
            method.queue.stop_waiting();
        }
        self.dismiss_idle(effects);
    }

    /// Takes no more calls, answers those that have not been answered, and sends executors home. The first cause stays.
    pub(crate) fn close(&mut self, cause: Arc<str>, effects: &mut Effects<W>) {
        let error = CallError::unavailable(Arc::clone(&cause));
        let mut end = |method, call| effects.ended.push((method, call, error.clone()));
        for batch in self.returned.drain(..) {
            batch.entries.into_iter().for_each(|entry| end(batch.method, entry.call));
        }
        for seat in &self.seats {
            if let Seat::Running(batch) = seat {
                batch.entries.iter().for_each(|entry| end(batch.method, Arc::clone(&entry.call)));
            }
        }
        for (at, method) in self.methods.iter_mut().enumerate() {
            let mut left = Vec::new();
            method.queue.sweep(|_| true, &mut left);
            left.into_iter().for_each(|call| end(at, call));
        }
        if !matches!(self.phase, Phase::Closed(_)) {
            self.phase = Phase::Closed(cause);
        }
        self.dismiss_idle(effects);
    }

    /// Learns from a batch that has run.
    pub(crate) fn observe(&mut self, method: usize, rows: usize, execution: Duration) {
        self.methods[method].queue.observe(rows, execution);
    }

    /// Rows of `method` that wait.
    pub(crate) fn queued(&self, method: usize) -> usize {
        let returned = self.returned.iter().filter(|batch| batch.method == method).map(Batch::rows);
        self.methods[method].queue.rows() + returned.sum::<usize>()
    }

    /// Rows that wait for any method.
    pub(crate) fn waiting(&self) -> usize {
        (0..self.methods.len()).map(|method| self.queued(method)).sum()
    }

    /// Whether calls are taken at all.
    pub(crate) fn check_phase(&self) -> Result<(), CallError> {
        match &self.phase {
            Phase::Open => Ok(()),
            Phase::Starting => Err(CallError::Unavailable {
                cause: "the runner is starting".into(),
                retry_after: Some(Duration::from_secs(1)),
            }),
            Phase::Draining => Err(CallError::unavailable("the runner is shutting down")),
            Phase::Closed(cause) => Err(CallError::unavailable(Arc::clone(cause))),
        }
    }

    /// Whether an executor may be up again in time for this call.
    fn check_return(&self, call: &Call<W>, now: Instant) -> Result<(), CallError> {
        match (self.back_at, call.deadline()) {
            (Some(back), Some(deadline)) if deadline < back => Err(CallError::Unavailable {
                cause: "the runner is restarting, and will not be back in time".into(),
                retry_after: Some(back.saturating_duration_since(now)),
            }),
            _ => Ok(()),
        }
    }

    fn take(&mut self, now: Instant, effects: &mut Effects<W>) -> Option<Batch<W>> {
        while let Some(Batch { method, entries, crashes }) = self.returned.pop_front() {
            let gone = |entry: &Entry<W>| entry.call.has_ended() || entry.call.is_late(now);
            let (gone, entries): (Vec<_>, Vec<_>) = entries.into_iter().partition(gone);
            effects.gone(method, gone.into_iter().map(|entry| entry.call));
            if !entries.is_empty() {
                return Some(Batch { method, entries, crashes });
            }
        }
        let mut gone = Vec::new();
        loop {
            let due = self.methods.iter().enumerate().filter_map(|(at, m)| Some((m.queue.due_since(now)?, at)));
            let (_, method) = due.min()?;
            let batch = self.methods[method].queue.take(now, &mut gone);
            effects.gone(method, gone.drain(..));
            if batch.is_some() {
                return batch;
            }
        }
    }

    /// Wakes an executor, or sets alarms, for whatever waits.
    fn rouse_all(&mut self, now: Instant, effects: &mut Effects<W>) {
        if !self.returned.is_empty() {
            self.wake_one(effects);
        }
        for method in 0..self.methods.len() {
            self.rouse(method, now, effects);
        }
    }

    /// Wakes an executor, or sets an alarm, as the policy says for `method`.
    fn rouse(&mut self, method: usize, now: Instant, effects: &mut Effects<W>) {
        if self.idle.is_empty() || self.waking.is_some() {
            return;
        }
        match self.methods[method].queue.verdict(now, self.idle.len()) {
            Verdict::Dispatch => self.wake_one(effects),
            Verdict::Wait(left) => {
                // A limit out of the clock's reach is none.
                if let Some(at) = now.checked_add(left) {
                    self.set_alarm(method, at, effects);
                }
            }
            Verdict::Hold => {}
        }
    }

    /// Wakes everybody, so that each sees a change of phase.
    fn dismiss_idle(&mut self, effects: &mut Effects<W>) {
        for &seat in &self.idle {
            self.seats[seat] = Seat::Awake;
        }
        effects.dismissed.append(&mut self.idle);
    }

    fn wake_one(&mut self, effects: &mut Effects<W>) {
        if self.waking.is_none()
            && let Some(seat) = self.idle.pop()
        {
            self.seats[seat] = Seat::Awake;
            self.waking = Some(seat);
            effects.wake = Some(seat);
        }
    }

    fn set_alarm(&mut self, method: usize, at: Instant, effects: &mut Effects<W>) {
        let alarm = &mut self.methods[method].alarm;
        if alarm.is_none_or(|set| at < set) {
            *alarm = Some(at);
            effects.alarms.push((method, at));
        }
    }
}
