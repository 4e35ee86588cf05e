//! What waits and what runs in one runner, and who is free: state and decisions, without clock, lock or actor.
//!
//! Each operation adds to [`Effects`]: whom to wake, which alarm to set, which calls to end. The desk carries them out;
//! the simulation in this crate's tests carries them out too, under virtual time.
//!
//! Two invariants keep calls from waiting for nobody. While an executor is idle and a batch is due, one has been woken
//! and has not looked yet (`waking`); and while one is idle and a batch will be due later, its method's alarm is set
//! for then or earlier. Whoever looks and finds, or leaves, work for others rouses them.

mod outcomes;
mod running;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::announced::Announced;
use crate::batch::{Batch, rows};
use crate::call::Call;
use crate::cost::Cost;
use crate::due::Room;
use crate::forecast::Forecast;
use crate::lane::{Gone, place_of};
use crate::policy::Verdict;
use crate::queue::Queue;
use crate::seat::{Running, Seat, Stuck, Tenure};
use crate::triage::Scene;
use crate::{CallError, Cap, MethodLimits, WarmRun, Worker};

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
    /// These executors have run one batch for longer than it may.
    pub(crate) stuck: Vec<Stuck>,
    /// Have [`Board::alarm`] called for these methods at these times.
    pub(crate) alarms: Vec<(usize, Instant)>,
    /// End these calls, each of the method before it, with the error behind it. Some may have ended before.
    pub(crate) ended: Vec<(usize, Arc<Call<W>>, CallError)>,
    /// The batch that is over: drop it, with its inputs, now that no lock is held.
    pub(crate) done: Option<Arc<Batch<W>>>,
}

impl<W: Worker> Effects<W> {
    fn gone(&mut self, method: usize, gone: impl IntoIterator<Item = (Arc<Call<W>>, CallError)>) {
        self.ended.extend(gone.into_iter().map(|(call, error)| (method, call, error)));
    }
}

impl<W: Worker> Default for Effects<W> {
    fn default() -> Self {
        Self { wake: None, dismissed: Vec::new(), stuck: Vec::new(), alarms: Vec::new(), ended: Vec::new(), done: None }
    }
}

struct Method<W: Worker> {
    queue: Queue<W>,
    /// The alarm that has been asked for.
    alarm: Option<Instant>,
    /// How many charged ends of executors will be forgiven once the method has shown that it can run.
    unproven: usize,
}

pub(crate) struct Board<W: Worker> {
    pub(crate) phase: Phase,
    /// While no executor is up: when the next one may be.
    pub(crate) back_at: Option<Instant>,
    methods: Vec<Method<W>>,
    seats: Vec<Seat<W>>,
    /// Whose each seat is.
    holders: Vec<u64>,
    /// How many tenures there have been.
    tenures: u64,
    /// Executors that go home as soon as they have finished what they run.
    released: Vec<bool>,
    /// Executors take nothing, and calls wait.
    paused: bool,
    /// The seats of idle executors; the last to have become idle is the first to be woken, its caches being warm.
    idle: Vec<usize>,
    /// An executor that has been woken and has not looked yet. It will wake the next one if it leaves work.
    waking: Option<usize>,
    /// Batches to be run again, before anything else.
    returned: VecDeque<Batch<W>>,
    /// How many charged ends of executors are forgiven, and the supervisor has not heard of it.
    forgiven: usize,
    /// A device has not had the memory for two batches: executors are given one at a time.
    is_crowded: bool,
    /// Which share of the calls is refused for want of time, smoothed, since an executor last found nothing to do.
    refused: f64,
    /// In how many seconds each executor is free: room to reckon in.
    free_in: Vec<f64>,
}

impl<W: Worker> Board<W> {
    pub(crate) fn new(limits: impl IntoIterator<Item = MethodLimits>, executors: usize) -> Self {
        Self {
            phase: Phase::Starting,
            back_at: None,
            methods: limits
                .into_iter()
                .enumerate()
                .map(|(at, limits)| Method { queue: Queue::new(at, limits), alarm: None, unproven: 0 })
                .collect(),
            seats: (0..executors).map(|_| Seat::Vacant).collect(),
            holders: (1..=executors as u64).collect(),
            tenures: executors as u64,
            released: vec![false; executors],
            paused: false,
            idle: Vec::with_capacity(executors),
            waking: None,
            returned: VecDeque::new(),
            forgiven: 0,
            is_crowded: false,
            refused: 0.0,
            free_in: Vec::with_capacity(executors),
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
        let mut admitted = state.queue.admit(call.rows.get(), executors, now, &mut gone);
        if admitted.is_ok() && call.timeout.is_some() {
            admitted = self.check_time(method, call, now);
            if admitted.is_err() && self.methods[method].queue.search(now, &mut gone) {
                admitted = self.check_time(method, call, now);
            }
            self.note_refusal(admitted.is_err());
        }
        effects.gone(method, gone);
        admitted?;
        self.methods[method].queue.push(Arc::clone(call));
        if let Some(deadline) = call.deadline() {
            self.set_alarm(method, deadline, effects);
        }
        self.rouse(method, now, effects);
        Ok(())
    }

    fn note_refusal(&mut self, is_refused: bool) {
        /// So many calls are averaged over: as many as come while a queue passes. Over fewer, a few fast batches let in what
        /// has no time to spare just when there is much of it.
        const SMOOTHING: f64 = 1024.0;
        self.refused += (f64::from(u8::from(is_refused)) - self.refused) / SMOOTHING;
    }

    /// How contested executors' time is, from 0 to 1.
    fn pressure(&self) -> f64 {
        (3.0 * self.refused).min(1.0)
    }

    /// Whether the call can be answered in time, by what batches cost and by what goes before it.
    fn check_time(&mut self, method: usize, call: &Call<W>, now: Instant) -> Result<(), CallError> {
        let queue = &self.methods[method].queue;
        let Some(curve) = queue.costs().of(call.shape) else { return Ok(()) };
        if curve.is_stale(now) && queue.rows() == 0 && !self.runs(method) {
            // What was learned long ago refuses nobody without being tried again.
            return Ok(());
        }
        let place = place_of(call);
        let mut ahead = queue.ahead(call, curve);
        let others = self.methods.iter().enumerate().filter(|(at, _)| *at != method);
        ahead.other += others.map(|(_, other)| other.queue.work_before(place)).sum::<f64>();
        let first = self.back_at.map_or(0.0, |back| back.saturating_duration_since(now).as_secs_f64());
        self.free_in.clear();
        for seat in &self.seats {
            match seat {
                Seat::Vacant => {}
                Seat::Idle | Seat::Awake | Seat::StandingBy => self.free_in.push(first),
                Seat::Running(running) => self.free_in.push(running.remaining(now)),
            }
        }
        if self.free_in.is_empty() {
            self.free_in.push(first);
        }
        self.free_in.sort_unstable_by(f64::total_cmp);
        let forecast = Forecast::new(curve, &ahead, &self.free_in);
        if forecast.refuses(call.slack(now), self.pressure()) {
            return Err(call.too_late(now, forecast.surely_by()));
        }
        Ok(())
    }

    fn room(&self, free: usize, others_free: usize, now: Instant) -> Room {
        let mut room = Room { free, others_free, next_free: f64::INFINITY, last_free: 0.0 };
        for seat in &self.seats {
            if let Some(running) = seat.running() {
                let remaining = running.remaining(now);
                room.next_free = room.next_free.min(remaining);
                room.last_free = room.last_free.max(remaining);
            }
        }
        room
    }

    /// Whether the executor of `seat` runs a batch.
    pub(crate) fn is_running(&self, seat: usize) -> bool {
        self.seats[seat].running().is_some()
    }

    /// Whether a batch of `method` runs.
    fn runs(&self, method: usize) -> bool {
        self.seats.iter().flat_map(Seat::batches).any(|batch| batch.method == method)
    }

    /// An executor asks for work, having finished what it ran.
    pub(crate) fn next(&mut self, tenure: Tenure, now: Instant, effects: &mut Effects<W>) -> Next<W> {
        if !self.arrive(tenure, now, effects) {
            return Next::Retire;
        }
        let seat = tenure.seat;
        let next = match self.take_first(now, effects) {
            Some(batch) => {
                let batch = self.begin(batch);
                self.seats[seat] = Seat::Running(Running::new(Arc::clone(&batch), now));
                self.watch(batch.method, now, effects);
                Next::Run(batch)
            }
            None if matches!(self.phase, Phase::Draining) => {
                self.seats[seat] = Seat::Vacant;
                Next::Retire
            }
            None => self.sit_down(seat),
        };
        self.rouse_all(now, effects);
        next
    }

    /// An executor looks whose device is not free: what it does instead of waiting for it, if it does.
    pub(crate) fn stand_by(&mut self, tenure: Tenure, now: Instant, effects: &mut Effects<W>) -> Option<Next<W>> {
        if !self.arrive(tenure, now, effects) {
            return Some(Next::Retire);
        }
        let seat = tenure.seat;
        let next = match (self.waiting() > 0, &self.phase) {
            (true, _) if !self.paused => {
                self.seats[seat] = Seat::StandingBy;
                None
            }
            (false, Phase::Draining) => {
                self.seats[seat] = Seat::Vacant;
                Some(Next::Retire)
            }
            _ => Some(self.sit_down(seat)),
        };
        self.rouse_all(now, effects);
        next
    }

    /// An executor looks, having finished what it ran: whether it stays.
    fn arrive(&mut self, tenure: Tenure, now: Instant, effects: &mut Effects<W>) -> bool {
        if !self.holds(tenure) {
            return false;
        }
        let seat = tenure.seat;
        match std::mem::replace(&mut self.seats[seat], Seat::Awake) {
            // The wake was meant for the executor that sat here before.
            Seat::Idle => self.idle.retain(|&idle| idle != seat),
            Seat::Vacant | Seat::Awake | Seat::StandingBy | Seat::Running(_) => {}
        }
        if self.waking == Some(seat) {
            self.waking = None;
        }
        if std::mem::take(&mut self.released[seat]) || matches!(self.phase, Phase::Closed(_)) {
            self.seats[seat] = Seat::Vacant;
            // What it was woken for is there for others.
            self.rouse_all(now, effects);
            return false;
        }
        true
    }

    fn sit_down(&mut self, seat: usize) -> Next<W> {
        if self.waiting() == 0 {
            // There is time for everybody.
            self.refused = 0.0;
        }
        self.seats[seat] = Seat::Idle;
        self.idle.push(seat);
        Next::Idle
    }

    /// Who sits in `seat`, or the next who will.
    pub(crate) fn tenure(&self, seat: usize) -> Tenure {
        Tenure { seat, nth: self.holders[seat] }
    }

    /// Another tenure of `seat`, which begins when it is handed over.
    pub(crate) fn next_tenure(&mut self, seat: usize) -> Tenure {
        self.tenures += 1;
        Tenure { seat, nth: self.tenures }
    }

    pub(crate) fn hand_over(&mut self, to: Tenure) {
        self.holders[to.seat] = to.nth;
        self.released[to.seat] = false;
    }

    /// Whether the executor has not been taken for gone.
    pub(crate) fn holds(&self, tenure: Tenure) -> bool {
        self.tenure(tenure.seat) == tenure
    }

    /// Sends an executor home as soon as it has finished what it runs.
    pub(crate) fn release(&mut self, seat: usize, effects: &mut Effects<W>) {
        self.released[seat] = true;
        if let Some(at) = self.idle.iter().position(|&idle| idle == seat) {
            self.idle.remove(at);
            self.seats[seat] = Seat::Awake;
            effects.dismissed.push(seat);
        } else if matches!(self.seats[seat], Seat::StandingBy) {
            effects.dismissed.push(seat);
        }
    }

    /// Keeps executors from taking anything, until [`Board::resume`]; calls are taken, and their deadlines hold.
    pub(crate) fn pause(&mut self) {
        self.paused = true;
    }

    pub(crate) fn resume(&mut self, now: Instant, effects: &mut Effects<W>) {
        self.paused = false;
        self.rouse_all(now, effects);
    }

    /// The alarm of `method` has gone off.
    pub(crate) fn alarm(&mut self, method: usize, now: Instant, effects: &mut Effects<W>) {
        self.methods[method].alarm = None;
        self.find_stuck(method, now, effects);
        let mut gone = Vec::new();
        let mut next = self.methods[method].queue.expire(now, &mut gone);
        let running = self.seats.iter().flat_map(Seat::batches).map(Arc::as_ref);
        for batch in running.chain(&self.returned).filter(|batch| batch.method == method) {
            let mut earliest = batch.run.as_ref().map_or(Some(now), |run| run.deadline);
            if earliest.is_some_and(|deadline| deadline <= now) {
                let entries = batch.entries.iter().chain(&batch.rest);
                let open = entries.map(|entry| &entry.call).filter(|call| !call.has_ended());
                let (late, rest): (Vec<_>, Vec<_>) = open.partition(|call| call.is_late(now));
                gone.extend(late.into_iter().map(|call| (Arc::clone(call), call.gone())));
                earliest = rest.into_iter().filter_map(|call| call.deadline()).min();
            }
            next = [next, earliest].into_iter().flatten().min();
        }
        effects.gone(method, gone);
        if let Some(next) = next {
            self.set_alarm(method, next, effects);
        }
        self.rouse(method, now, effects);
    }

    /// An executor has ended, or is taken for gone. What it ran, if anything, is handed back.
    pub(crate) fn leave(&mut self, seat: usize, effects: &mut Effects<W>) -> Vec<Arc<Batch<W>>> {
        let next = self.next_tenure(seat);
        self.hand_over(next);
        self.idle.retain(|&idle| idle != seat);
        let left = std::mem::replace(&mut self.seats[seat], Seat::Vacant);
        if self.waking == Some(seat) {
            self.waking = None;
            self.wake_one(effects);
        }
        match left {
            Seat::Running(running) => running.into_batches().collect(),
            Seat::Vacant | Seat::Idle | Seat::Awake | Seat::StandingBy => Vec::new(),
        }
    }

    /// Learns from a batch that ran for nobody.
    pub(crate) fn observe(&mut self, run: &WarmRun, now: Instant) {
        self.methods[run.method].queue.observe(run.shape, run.rows, run.execution, now);
    }

    /// Takes no more calls, and sends executors home as soon as nothing is left to do.
    pub(crate) fn drain(&mut self, effects: &mut Effects<W>) {
        self.phase = Phase::Draining;
        self.paused = false;
        for method in &mut self.methods {
            method.queue.stop_waiting();
        }
        self.dismiss_idle(effects);
    }

    /// Has been closed, and begins anew: with other executors, and without those there were. What they ran is handed back
    /// to be dropped; its calls have been answered.
    pub(crate) fn reopen(&mut self) -> impl Sized + use<W> {
        self.phase = Phase::Starting;
        self.back_at = None;
        self.paused = false;
        self.waking = None;
        self.idle.clear();
        for seat in 0..self.seats.len() {
            let next = self.next_tenure(seat);
            self.hand_over(next);
        }
        for method in &mut self.methods {
            method.queue.wait_again();
            method.alarm = None;
            method.unproven = 0;
        }
        self.forgiven = 0;
        self.is_crowded = false;
        let vacant = self.seats.iter().map(|_| Seat::Vacant).collect();
        std::mem::replace(&mut self.seats, vacant)
    }

    /// Takes no more calls, answers those that have not been answered, and sends executors home. The first cause stays.
    pub(crate) fn close(&mut self, cause: Arc<str>, effects: &mut Effects<W>) {
        let error = CallError::unavailable(Arc::clone(&cause));
        let mut end = |method, call| effects.ended.push((method, call, error.clone()));
        for batch in self.returned.drain(..) {
            batch.entries.into_iter().chain(batch.rest).for_each(|entry| end(batch.method, entry.call));
        }
        for batch in self.seats.iter().flat_map(Seat::batches) {
            let entries = batch.entries.iter().chain(&batch.rest);
            entries.for_each(|entry| end(batch.method, Arc::clone(&entry.call)));
        }
        for (at, method) in self.methods.iter_mut().enumerate() {
            let mut left = Vec::new();
            method.queue.sweep(|_| true, &mut left);
            left.into_iter().for_each(|(call, _)| end(at, call));
        }
        if !matches!(self.phase, Phase::Closed(_)) {
            self.phase = Phase::Closed(cause);
        }
        self.dismiss_idle(effects);
    }

    /// The calls of `method` that are about to come.
    pub(crate) fn announced(&self, method: usize) -> &Arc<Announced> {
        self.methods[method].queue.announced()
    }

    /// What batches of `method` cost.
    pub(crate) fn costs(&self, method: usize) -> Vec<Cost> {
        self.methods[method].queue.cost_report()
    }

    /// What the devices' memory allows, where that is less than the limits do.
    pub(crate) fn caps(&mut self, method: usize) -> Vec<Cap> {
        self.methods[method].queue.caps().all()
    }

    /// Rows of `method` that wait.
    pub(crate) fn queued(&self, method: usize) -> usize {
        let running = self.seats.iter().flat_map(Seat::batches).filter(|batch| batch.method == method);
        let running = running.map(|batch| rows(&batch.rest));
        let returned = self.returned.iter().filter(|batch| batch.method == method);
        let returned = returned.map(|batch| batch.rows() + rows(&batch.rest));
        self.methods[method].queue.rows() + running.chain(returned).sum::<usize>()
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
                retry_after: Some(back.saturating_duration_since(now).saturating_add(self.backlog())),
            }),
            _ => Ok(()),
        }
    }

    /// How long the executors need for what waits.
    fn backlog(&self) -> Duration {
        let waiting = self.methods.iter().filter(|method| method.queue.rows() > 0);
        waiting.map(|method| method.queue.backlog(self.seats.len())).fold(Duration::ZERO, Duration::saturating_add)
    }

    /// The batch to run next: one that is run again, or the first that is due.
    fn take_first(&mut self, now: Instant, effects: &mut Effects<W>) -> Option<Batch<W>> {
        if self.paused {
            return None;
        }
        while let Some(mut batch) = self.returned.pop_front() {
            if batch.entries.is_empty() {
                std::mem::swap(&mut batch.entries, &mut batch.rest);
            }
            let gone = batch.entries.extract_if(.., |entry| entry.call.has_ended() || entry.call.is_late(now));
            effects.gone(batch.method, gone.map(|entry| (Arc::clone(&entry.call), entry.call.gone())));
            if !batch.entries.is_empty() {
                return Some(batch);
            }
            // Nobody is left to say whether the rest is guilty.
            if !batch.rest.is_empty() {
                self.returned.push_front(batch);
            }
        }
        self.take_due(false, now, effects)
    }

    /// The first batch that is due, if there is one; with `ahead`, if it is one to hand to a device ahead.
    fn take_due(&mut self, ahead: bool, now: Instant, effects: &mut Effects<W>) -> Option<Batch<W>> {
        let mut gone = Gone::new();
        loop {
            // The executor that asks is none of the idle ones.
            let room = self.room(1, self.idle.len(), now);
            let due = self.methods.iter_mut().enumerate().filter_map(|(at, m)| Some((m.queue.due(now, &room)?, at)));
            let (_, method) = due.min()?;
            let pressure = self.pressure();
            let queue = &mut self.methods[method].queue;
            if ahead && !(queue.limits().retry && queue.is_full(now, &room)) {
                return None;
            }
            let max_rows = queue.limits().max_batch_size.get();
            let scene = Scene { max_rows, others_free: self.idle.len(), pressure };
            let batch = queue.take(now, &room, &scene, &mut gone);
            let refused =
                |(_, error): &&(_, CallError)| matches!(error, CallError::DeadlineExceeded { expected: Some(_), .. });
            let dropped = gone.iter().filter(refused).count();
            (0..dropped).for_each(|_| self.note_refusal(true));
            effects.gone(method, gone.drain(..));
            if batch.is_some() {
                return batch;
            }
        }
    }

    /// Wakes an executor, or sets alarms, for whatever waits.
    fn rouse_all(&mut self, now: Instant, effects: &mut Effects<W>) {
        self.wake_for_returned(effects);
        for method in 0..self.methods.len() {
            self.rouse(method, now, effects);
        }
    }

    /// Wakes an executor, or sets an alarm, as the policy says for `method`.
    fn rouse(&mut self, method: usize, now: Instant, effects: &mut Effects<W>) {
        if self.idle.is_empty() || self.waking.is_some() || self.paused {
            return;
        }
        let free = self.idle.len();
        let room = self.room(free, free - 1, now);
        match self.methods[method].queue.verdict(now, &room) {
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
        let stand_by = |(seat, state): (usize, &Seat<W>)| matches!(state, Seat::StandingBy).then_some(seat);
        effects.dismissed.extend(self.seats.iter().enumerate().filter_map(stand_by));
    }

    fn wake_for_returned(&mut self, effects: &mut Effects<W>) {
        if !self.returned.is_empty() {
            self.wake_one(effects);
        }
    }

    fn wake_one(&mut self, effects: &mut Effects<W>) {
        if self.waking.is_none()
            && !self.paused
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
