//! What waits and what runs in one runner, and who is free: state and decisions, without clock, lock or actor.
//!
//! Each operation returns [`Effects`]: whom to wake, which alarm to set, which calls have ended. The desk carries them
//! out; the simulation in this crate's tests carries them out too, under virtual time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::call::Call;
use crate::policy::Verdict;
use crate::queue::{Batch, Queue};
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
    /// Have [`Board::alarm`] called for these methods at these times.
    pub(crate) alarms: Vec<(usize, Instant)>,
    /// End these calls: their deadline has passed, or their caller has gone.
    pub(crate) gone: Vec<(usize, Arc<Call<W>>)>,
}

impl<W: Worker> Default for Effects<W> {
    fn default() -> Self {
        Self { wake: None, alarms: Vec::new(), gone: Vec::new() }
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
        self.check_phase(call, now)?;
        let executors = self.seats.len();
        let state = &mut self.methods[method];
        let mut gone = Vec::new();
        let admitted = state.queue.admit(call.rows.get(), executors, &mut gone);
        effects.gone.extend(gone.into_iter().map(|call| (method, call)));
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
        self.seats[seat] = Seat::Awake;
        if self.waking == Some(seat) {
            self.waking = None;
        }
        if matches!(self.phase, Phase::Closed(_)) {
            self.seats[seat] = Seat::Vacant;
            return Next::Retire;
        }
        let Some(batch) = self.take(now, effects) else {
            if matches!(self.phase, Phase::Draining) && self.waiting() == 0 {
                self.seats[seat] = Seat::Vacant;
                self.wake_one(effects);
                return Next::Retire;
            }
            self.seats[seat] = Seat::Idle;
            self.idle.push(seat);
            for method in 0..self.methods.len() {
                if let Verdict::Wait(left) = self.methods[method].queue.verdict(now, 1) {
                    self.set_alarm(method, now + left, effects);
                }
            }
            return Next::Idle;
        };
        let batch = Arc::new(batch);
        self.seats[seat] = Seat::Running(Arc::clone(&batch));
        if self.is_work_due(now) {
            self.wake_one(effects);
        }
        Next::Run(batch)
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
        effects.gone.extend(gone.into_iter().chain(swept).map(|call| (method, call)));
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

    /// Puts batches in front of everything that waits, to be run as they are.
    pub(crate) fn give_back(&mut self, batches: impl IntoIterator<Item = Batch<W>>, effects: &mut Effects<W>) {
        self.returned.extend(batches);
        if !self.returned.is_empty() {
            self.wake_one(effects);
        }
    }

    /// Takes no more calls; returns what has not been answered, for the caller to answer.
    pub(crate) fn close(&mut self, cause: Arc<str>) -> Vec<(usize, Arc<Call<W>>)> {
        self.phase = Phase::Closed(cause);
        let mut left = Vec::new();
        for batch in self.returned.drain(..) {
            left.extend(batch.entries.into_iter().map(|entry| (batch.method, entry.call)));
        }
        for seat in &self.seats {
            if let Seat::Running(batch) = seat {
                left.extend(batch.entries.iter().map(|entry| (batch.method, Arc::clone(&entry.call))));
            }
        }
        for (at, method) in self.methods.iter_mut().enumerate() {
            let mut gone = Vec::new();
            method.queue.sweep(|_| true, &mut gone);
            left.extend(gone.into_iter().map(|call| (at, call)));
        }
        left
    }

    /// The executors to wake so that each sees a change of phase.
    pub(crate) fn dismiss_idle(&mut self) -> Vec<usize> {
        for &seat in &self.idle {
            self.seats[seat] = Seat::Awake;
        }
        std::mem::take(&mut self.idle)
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

    pub(crate) fn limits(&self, method: usize) -> &MethodLimits {
        self.methods[method].queue.limits()
    }

    /// Rows that wait for any method.
    pub(crate) fn waiting(&self) -> usize {
        (0..self.methods.len()).map(|method| self.queued(method)).sum()
    }

    /// Whether anything waits or runs.
    pub(crate) fn has_work(&self) -> bool {
        self.waiting() > 0 || self.seats.iter().any(|seat| matches!(seat, Seat::Running(_)))
    }

    fn check_phase(&self, call: &Call<W>, now: Instant) -> Result<(), CallError> {
        match &self.phase {
            Phase::Open => match (self.back_at, call.deadline()) {
                (Some(back), Some(deadline)) if deadline < back => Err(CallError::Unavailable {
                    cause: "the runner is restarting, and will not be back in time".into(),
                    retry_after: Some(back.saturating_duration_since(now)),
                }),
                _ => Ok(()),
            },
            Phase::Starting => Err(CallError::Unavailable {
                cause: "the runner is starting".into(),
                retry_after: Some(Duration::from_secs(1)),
            }),
            Phase::Draining => Err(CallError::unavailable("the runner is shutting down")),
            Phase::Closed(cause) => Err(CallError::unavailable(Arc::clone(cause))),
        }
    }

    fn take(&mut self, now: Instant, effects: &mut Effects<W>) -> Option<Batch<W>> {
        while let Some(mut batch) = self.returned.pop_front() {
            batch.entries.retain(|entry| {
                let keep = !entry.call.has_ended() && !entry.call.is_late(now);
                if !keep {
                    effects.gone.push((batch.method, Arc::clone(&entry.call)));
                }
                keep
            });
            if !batch.entries.is_empty() {
                return Some(batch);
            }
        }
        let mut gone = Vec::new();
        loop {
            let due = self.methods.iter().enumerate().filter_map(|(at, m)| Some((m.queue.due_since(now)?, at)));
            let (_, method) = due.min()?;
            let batch = self.methods[method].queue.take(now, &mut gone);
            effects.gone.extend(gone.drain(..).map(|call| (method, call)));
            if batch.is_some() {
                return batch;
            }
        }
    }

    fn is_work_due(&self, now: Instant) -> bool {
        !self.returned.is_empty() || self.methods.iter().any(|method| method.queue.due_since(now).is_some())
    }

    /// Wakes an executor, or sets an alarm, as the policy says for `method`.
    fn rouse(&mut self, method: usize, now: Instant, effects: &mut Effects<W>) {
        if self.idle.is_empty() || self.waking.is_some() {
            return;
        }
        match self.methods[method].queue.verdict(now, self.idle.len()) {
            Verdict::Dispatch => self.wake_one(effects),
            Verdict::Wait(left) => self.set_alarm(method, now + left, effects),
            Verdict::Hold => {}
        }
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
