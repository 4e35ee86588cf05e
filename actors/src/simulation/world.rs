//! The world around the board: callers, executors, batchers, a supervisor, and time. It carries out the board's effects
//! as the desk does, and checks after each event that all is in order.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::Setup;
use super::record::Record;
use super::toy::{Input, Nature, Toy};
use crate::board::{Board, Effects, Next, Phase};
use crate::budget::{Budget, Restart};
use crate::call::{Call, Ended};
use crate::queue::Batch;
use crate::recovery::Failure;
use crate::{Batching, CallError, Part, Worker};

/// What happened, and how often: a simulation in which nothing happens proves nothing.
#[derive(Debug, Default)]
pub(super) struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    fn add(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    pub(super) fn happens(&self, all: &[&'static str]) -> bool {
        all.iter().all(|what| self.0.contains_key(what))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrive,
    /// The caller drops its reply.
    Abandon(usize),
    /// A wake is sent to whoever sits there now.
    Send(usize),
    /// It arrives, if that one still lives.
    Wake {
        seat: usize,
        life: u32,
    },
    Finish {
        seat: usize,
        life: u32,
    },
    /// The executor dies over what it runs.
    Die {
        seat: usize,
        life: u32,
    },
    /// Whoever sits there dies.
    Strike(usize),
    /// The supervisor hears that an executor has ended.
    Exit {
        seat: usize,
        drained: bool,
    },
    Rebuild(usize),
    Ready(usize),
    /// A batcher is asked to be reminded.
    Alarm {
        method: usize,
        life: u32,
        at: Instant,
    },
    /// Its timer goes off.
    Timer {
        method: usize,
        life: u32,
        at: Instant,
    },
    StrikeBatcher(usize),
    BatcherBack(usize),
    Drain,
    Close,
}

enum Executor {
    Opening,
    /// Its mailbox is empty.
    Listening,
    Running(Arc<Batch<Toy>>),
    /// It has ended, and the supervisor does not know yet.
    Unheard,
    Restarting(Instant),
    Stopped,
}

struct Seat {
    executor: Executor,
    /// How many executors have died here: what was sent to one never reaches the next.
    life: u32,
    /// Wakes that arrived while it ran.
    mail: usize,
}

struct Batcher {
    alive: bool,
    life: u32,
    timer: Option<Instant>,
}

pub(super) struct World<'a> {
    setup: &'a Setup,
    rng: Rng,
    now: Instant,
    /// Ordered by time, then by when they were planned.
    events: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    planned: u64,
    /// Wakes on their way.
    wakes: usize,
    board: Board<Toy>,
    budget: Budget,
    seats: Vec<Seat>,
    batchers: Vec<Batcher>,
    calls: BTreeMap<usize, Record>,
    /// Accepted calls that have not ended.
    open: BTreeSet<usize>,
    /// Calls that have come, accepted or not.
    arrived: usize,
}

impl<'a> World<'a> {
    pub(super) fn new(setup: &'a Setup, rng: Rng) -> Self {
        let seat = |_| Seat { executor: Executor::Opening, life: 0, mail: 0 };
        let batcher = |_| Batcher { alive: true, life: 0, timer: None };
        Self {
            setup,
            rng,
            now: Instant::now(),
            events: BinaryHeap::new(),
            planned: 0,
            wakes: 0,
            board: Board::new(setup.methods.iter().cloned(), setup.executors),
            budget: Budget::new(setup.restarts.clone()),
            seats: (0..setup.executors).map(seat).collect(),
            batchers: (0..setup.methods.len()).map(batcher).collect(),
            calls: BTreeMap::new(),
            open: BTreeSet::new(),
            arrived: 0,
        }
    }

    pub(super) fn run(mut self, tally: &mut Tally) {
        for seat in 0..self.seats.len() {
            self.soon(Event::Ready(seat));
        }
        self.plan(self.setup.gap, Event::Arrive);
        let span = self.setup.gap * u32::try_from(self.setup.calls).expect("a few calls");
        for _ in 0..self.setup.strikes {
            let (seat, at) = (self.rng.usize(..self.seats.len()), span.mul_f64(self.rng.f64()));
            self.plan(at, Event::Strike(seat));
        }
        for _ in 0..self.setup.batcher_strikes {
            let (method, at) = (self.rng.usize(..self.batchers.len()), span.mul_f64(self.rng.f64()));
            self.plan(at, Event::StrikeBatcher(method));
        }
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            self.now = at;
            self.happen(event, tally);
            if self.events.peek().is_none_or(|Reverse((next, ..))| *next > at) {
                self.check(tally);
            }
        }
        for seat in &self.seats {
            assert!(matches!(seat.executor, Executor::Stopped), "an executor never came to its end");
        }
        assert!(matches!(self.board.phase, Phase::Closed(_)), "the runner never stopped");
        assert_eq!(self.board.waiting(), 0, "rows are left on the board");
        for record in self.calls.values_mut() {
            record.check_answer();
        }
    }

    fn plan(&mut self, after: Duration, event: Event) {
        self.planned += 1;
        self.events.push(Reverse((self.now + after, self.planned, event)));
    }

    /// Plans what takes as long as a message.
    fn soon(&mut self, event: Event) {
        let after = self.setup.latency.mul_f64(self.rng.f64());
        self.plan(after, event);
    }

    fn happen(&mut self, event: Event, tally: &mut Tally) {
        match event {
            Event::Arrive => self.arrive(tally),
            Event::Abandon(id) => {
                let record = self.calls.get_mut(&id).expect("an accepted call");
                record.dropped = record.ends == 0;
                record.reply = None;
            }
            Event::Send(seat) => {
                self.wakes -= 1;
                if matches!(self.seats[seat].executor, Executor::Listening | Executor::Running(_)) {
                    self.wakes += 1;
                    self.soon(Event::Wake { seat, life: self.seats[seat].life });
                }
            }
            Event::Wake { seat, life } => {
                self.wakes -= 1;
                match self.seats[seat].executor {
                    Executor::Listening if self.seats[seat].life == life => self.work(seat, tally),
                    Executor::Running(_) if self.seats[seat].life == life => self.seats[seat].mail += 1,
                    _ => {}
                }
            }
            Event::Finish { seat, life } if self.seats[seat].life == life => self.finish(seat, tally),
            Event::Die { seat, life } if self.seats[seat].life == life => self.kill(seat),
            Event::Strike(seat) => match self.seats[seat].executor {
                Executor::Listening => {
                    tally.add(if self.wakes > 0 { "a woken executor died" } else { "an idle executor died" });
                    self.kill(seat);
                }
                Executor::Running(_) => self.kill(seat),
                _ => {}
            },
            Event::Finish { .. } | Event::Die { .. } => {}
            Event::Exit { seat, drained } => self.exited(seat, drained, tally),
            Event::Rebuild(seat) => self.rebuild(seat, tally),
            Event::Ready(seat) => self.ready(seat),
            Event::Alarm { method, life, at } => {
                let batcher = &mut self.batchers[method];
                if batcher.life == life && batcher.timer.is_none_or(|set| at < set) {
                    batcher.timer = Some(at);
                    let after = at.saturating_duration_since(self.now) + self.setup.latency.mul_f64(self.rng.f64());
                    self.plan(after, Event::Timer { method, life, at });
                }
            }
            Event::Timer { method, life, at } => {
                let batcher = &mut self.batchers[method];
                if batcher.life == life && batcher.timer == Some(at) {
                    batcher.timer = None;
                    self.alarm(method, tally);
                }
            }
            Event::StrikeBatcher(method) => {
                let batcher = &mut self.batchers[method];
                *batcher = Batcher { alive: false, life: batcher.life + 1, timer: None };
                tally.add("a batcher died");
                self.soon(Event::BatcherBack(method));
            }
            Event::BatcherBack(method) => {
                self.batchers[method].alive = true;
                self.alarm(method, tally);
            }
            Event::Drain => self.drain(tally),
            Event::Close => self.close("the grace period is over", tally),
        }
    }

    fn arrive(&mut self, tally: &mut Tally) {
        for _ in 0..self.rng.usize(1..=self.setup.burst) {
            if self.arrived < self.setup.calls {
                self.call(tally);
            }
        }
        if self.arrived + self.setup.left_at_drain >= self.setup.calls && !self.is_ending() {
            let after = self.setup.gap.mul_f64(self.rng.f64());
            self.plan(after, Event::Drain);
        }
        if self.arrived < self.setup.calls {
            let after = self.setup.gap.mul_f64(-(1.0 - self.rng.f64()).ln());
            self.plan(after, Event::Arrive);
        }
    }

    fn call(&mut self, tally: &mut Tally) {
        let id = self.arrived;
        self.arrived += 1;
        let method = self.rng.usize(..self.setup.methods.len());
        let limits = &self.setup.methods[method];
        let chance = self.rng.f64();
        let nature = match chance {
            chance if chance < self.setup.deadly => Nature::Deadly,
            chance if chance < self.setup.deadly + self.setup.refused => Nature::Refused,
            _ => Nature::Good,
        };
        let rows = self.rng.usize(1..=self.setup.rows);
        let input = Input { id, shape: self.rng.u8(..self.setup.shapes), rows, nature };
        let rows = NonZeroUsize::new(rows).expect("not zero");
        let lone = self.open.is_empty()
            && limits.batching != Batching::Window
            && self.setup.latency.is_zero()
            && self.has_idle()
            && self.wakes == 0;
        let waiting: usize = self.waiting(method).map(|record| record.waiting()).sum();
        let call = Arc::new(Call::new(input, rows, self.now, limits.timeout));
        let mut effects = Effects::default();
        let pushed = self.board.push(method, &call, self.now, &mut effects);
        if pushed.is_ok() {
            self.calls.insert(id, Record::new(method, &call, lone));
            self.open.insert(id);
        }
        self.carry_out(effects, tally);
        let is_full = waiting > 0 && waiting + rows.get() > limits.max_queue_size.get();
        match pushed {
            Ok(()) => {
                assert!(!is_full, "a full queue took a call: {waiting} + {rows} rows");
                if rows > limits.max_batch_size {
                    tally.add("cut");
                }
                if self.rng.f64() < self.setup.dropped {
                    let after = (self.setup.run * 3).mul_f64(self.rng.f64());
                    self.plan(after, Event::Abandon(id));
                }
            }
            Err(CallError::QueueFull { retry_after, .. }) => {
                assert!(is_full, "a queue refused a call with room for it: {waiting} + {rows} rows");
                assert!(!retry_after.is_zero(), "come back in no time");
                tally.add("queue full");
            }
            Err(CallError::Unavailable { .. }) => tally.add(match &self.board.phase {
                Phase::Starting => "refused, starting",
                Phase::Draining => "refused, draining",
                Phase::Closed(_) => "refused, failed",
                Phase::Open => {
                    let next = self.next_back().expect("an executor is up, and a call was refused");
                    assert!(call.deadline().is_some_and(|deadline| deadline < next), "it would be back in time");
                    "refused, restarting"
                }
            }),
            Err(error) => panic!("refused with {error:?}"),
        }
    }

    /// The executor's handler of a wake, until it has nothing to do.
    fn work(&mut self, seat: usize, tally: &mut Tally) {
        loop {
            let mut effects = Effects::default();
            let next = self.board.next(seat, self.now, &mut effects);
            self.carry_out(effects, tally);
            match next {
                Next::Run(batch) => return self.start(seat, batch, tally),
                Next::Retire => {
                    self.seats[seat].life += 1;
                    self.seats[seat].executor = Executor::Unheard;
                    return self.soon(Event::Exit { seat, drained: true });
                }
                Next::Idle if self.seats[seat].mail > 0 => self.seats[seat].mail -= 1,
                Next::Idle => {
                    self.seats[seat].executor = Executor::Listening;
                    return;
                }
            }
        }
    }

    fn start(&mut self, seat: usize, batch: Arc<Batch<Toy>>, tally: &mut Tally) {
        self.check_batch(&batch, tally);
        let life = self.seats[seat].life;
        let takes = self.setup.run.mul_f64(self.rng.f64());
        let is_deadly = batch.entries.iter().any(|entry| entry.call.input.nature == Nature::Deadly);
        self.seats[seat].executor = Executor::Running(batch);
        if is_deadly || self.rng.f64() < self.setup.death {
            self.plan(takes, Event::Die { seat, life });
        } else {
            self.plan(takes, Event::Finish { seat, life });
        }
    }

    fn finish(&mut self, seat: usize, tally: &mut Tally) {
        let Executor::Running(batch) = &self.seats[seat].executor else { panic!("it finishes what it does not run") };
        let batch = Arc::clone(batch);
        let part = |entry: &crate::queue::Entry<Toy>| (Arc::clone(&entry.call), entry.rows.clone());
        let entries: Vec<_> = batch.entries.iter().map(part).collect();
        let parts: Vec<_> =
            entries.iter().map(|(call, rows)| Part { input: &call.input, rows: rows.clone() }).collect();
        match Toy.run(batch.method, &parts) {
            Ok(outputs) => {
                for ((call, rows), output) in entries.iter().zip(outputs) {
                    if let Some((end, error)) = call.add(rows.clone(), output) {
                        self.count(call.input.id, &end, error.as_ref(), tally);
                    }
                }
                self.board.observe(batch.method, batch.rows(), self.setup.run);
            }
            Err(error) => self.recover(&batch, Failure::Error(error), tally),
        }
        drop((batch, entries));
        self.work(seat, tally);
    }

    fn kill(&mut self, seat: usize) {
        self.seats[seat] = Seat { executor: Executor::Unheard, life: self.seats[seat].life + 1, mail: 0 };
        self.soon(Event::Exit { seat, drained: false });
    }

    fn recover(&mut self, batch: &Batch<Toy>, failure: Failure, tally: &mut Tally) {
        for entry in &batch.entries {
            let record = self.calls.get_mut(&entry.call.input.id).expect("an accepted call");
            match failure {
                Failure::Crash(_) => *record.crashes.entry(entry.rows.start).or_default() += 1,
                Failure::Error(_) => record.refused = true,
            }
        }
        let is_crash = matches!(failure, Failure::Crash(_));
        let mut effects = Effects::default();
        self.board.recover(batch, failure, &mut effects);
        self.carry_out(effects, tally);
        let mut returned = 0;
        for entry in &batch.entries {
            let record = self.calls.get_mut(&entry.call.input.id).expect("an accepted call");
            record.put_back(&entry.rows);
            returned += u32::from(record.ends == 0);
        }
        if returned > 0 {
            tally.add(if is_crash { "run again" } else { "halved" });
        }
    }

    /// What the supervisor does about an exit.
    fn exited(&mut self, seat: usize, drained: bool, tally: &mut Tally) {
        let mut effects = Effects::default();
        let left = self.board.leave(seat, &mut effects);
        self.carry_out(effects, tally);
        if let Some(batch) = left {
            self.recover(&batch, Failure::Crash("it died".into()), tally);
        }
        self.seats[seat].executor = Executor::Stopped;
        let is_over = match self.board.phase {
            Phase::Closed(_) => true,
            Phase::Draining => self.board.waiting() == 0,
            Phase::Starting | Phase::Open => false,
        };
        if !drained && !is_over {
            match self.budget.on_exit(self.now, self.rng.f64()) {
                Restart::Exhausted => {
                    tally.add("budget spent");
                    self.close("the budget is spent", tally);
                }
                Restart::After(delay) => {
                    self.seats[seat].executor = Executor::Restarting(self.now + delay);
                    self.plan(delay, Event::Rebuild(seat));
                }
            }
        }
        self.settle(tally);
    }

    fn rebuild(&mut self, seat: usize, tally: &mut Tally) {
        if !matches!(self.seats[seat].executor, Executor::Restarting(_)) {
            return;
        }
        if matches!(self.board.phase, Phase::Draining) && self.board.waiting() == 0 {
            self.seats[seat].executor = Executor::Stopped;
        } else {
            tally.add("restarted");
            self.seats[seat].executor = Executor::Opening;
            if self.rng.f64() < self.setup.death {
                self.soon(Event::Exit { seat, drained: false });
            } else {
                self.soon(Event::Ready(seat));
            }
        }
        self.settle(tally);
    }

    fn ready(&mut self, seat: usize) {
        self.seats[seat].executor = Executor::Listening;
        let is_up = |seat: &Seat| !matches!(seat.executor, Executor::Opening | Executor::Restarting(_));
        if matches!(self.board.phase, Phase::Starting) && self.seats.iter().all(is_up) {
            self.board.phase = Phase::Open;
        }
        self.board.back_at = self.next_back();
        self.wakes += 1;
        self.soon(Event::Wake { seat, life: self.seats[seat].life });
    }

    fn drain(&mut self, tally: &mut Tally) {
        if self.is_ending() {
            return;
        }
        let mut effects = Effects::default();
        self.board.drain(&mut effects);
        self.carry_out(effects, tally);
        if self.board.waiting() == 0 {
            self.cancel_restarts();
        }
        if let Some(grace) = self.setup.grace {
            self.plan(grace, Event::Close);
        }
        self.settle(tally);
    }

    fn close(&mut self, cause: &str, tally: &mut Tally) {
        let mut effects = Effects::default();
        self.board.close(cause.into(), &mut effects);
        self.carry_out(effects, tally);
        self.cancel_restarts();
    }

    fn cancel_restarts(&mut self) {
        for seat in &mut self.seats {
            if matches!(seat.executor, Executor::Restarting(_)) {
                seat.executor = Executor::Stopped;
            }
        }
    }

    fn settle(&mut self, tally: &mut Tally) {
        self.board.back_at = self.next_back();
        let has_stopped = self.seats.iter().all(|seat| matches!(seat.executor, Executor::Stopped));
        if matches!(self.board.phase, Phase::Draining) && has_stopped {
            assert!(self.open.is_empty(), "drained, with calls left: {:?}", self.open);
            tally.add("drained");
            self.close("drained", tally);
        }
    }

    fn next_back(&self) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        for seat in &self.seats {
            match seat.executor {
                Executor::Restarting(at) => next = Some(next.map_or(at, |next| next.min(at))),
                Executor::Stopped => {}
                _ => return None,
            }
        }
        next
    }

    fn alarm(&mut self, method: usize, tally: &mut Tally) {
        let mut effects = Effects::default();
        self.board.alarm(method, self.now, &mut effects);
        self.carry_out(effects, tally);
    }

    /// As the desk does it.
    fn carry_out(&mut self, effects: Effects<Toy>, tally: &mut Tally) {
        for (method, call, error) in effects.ended {
            let id = call.input.id;
            assert_eq!(self.calls[&id].method, method, "ended as another method's");
            let end = call.end(Err(error.clone()));
            self.count(id, &end, Some(&error), tally);
        }
        for (method, at) in effects.alarms {
            if self.batchers[method].alive {
                self.soon(Event::Alarm { method, life: self.batchers[method].life, at });
            }
        }
        for seat in effects.wake.into_iter().chain(effects.dismissed) {
            self.wakes += 1;
            // Now and then the thread that sends it is held up, for as long as an executor's life and the next one's birth.
            let delay =
                if self.rng.u8(..8) == 0 { self.setup.latency.mul_f64(20.0 * self.rng.f64()) } else { Duration::ZERO };
            self.plan(delay, Event::Send(seat));
        }
    }

    fn count(&mut self, id: usize, end: &Ended, error: Option<&CallError>, tally: &mut Tally) {
        let is_closed = matches!(self.board.phase, Phase::Closed(_));
        let record = self.calls.get_mut(&id).expect("an accepted call");
        if record.end(end, error, self.now, &self.setup.methods[record.method], is_closed) {
            self.open.remove(&id);
            tally.add(match (end, error) {
                (Ended::Cancelled, _) => "cancelled",
                (_, None) => "answered",
                (_, Some(CallError::DeadlineExceeded { .. })) => "deadline",
                (_, Some(CallError::Crashed(_))) => "crashed",
                (_, Some(CallError::Method(_))) => "method error",
                (_, Some(_)) => "unavailable",
            });
        }
    }

    fn is_ending(&self) -> bool {
        matches!(self.board.phase, Phase::Draining | Phase::Closed(_))
    }

    /// Calls of `method` with rows that were never dispatched, in the order in which they came.
    fn waiting(&self, method: usize) -> impl Iterator<Item = &Record> {
        let waits = move |record: &&Record| {
            record.method == method && record.ends == 0 && !record.dropped && record.waiting() > 0
        };
        self.open.iter().map(|id| &self.calls[id]).filter(waits)
    }

    /// Whether an executor has nothing to do, and has had the chance to say so.
    fn has_idle(&self) -> bool {
        self.seats.iter().any(|seat| matches!(seat.executor, Executor::Listening))
    }

    fn check_batch(&mut self, batch: &Batch<Toy>, tally: &mut Tally) {
        let limits = &self.setup.methods[batch.method];
        assert!(batch.rows() <= limits.max_batch_size.get(), "a batch of {} rows", batch.rows());
        assert!(batch.entries.len() <= 1 || limits.batching != Batching::Off, "a batch with batching off");
        assert!(batch.crashes < 2, "a batch that broke two executors runs again");
        if batch.entries.len() > 1 {
            tally.add("shared");
        }
        let shape = batch.entries[0].call.input.shape;
        let mut fresh = 0;
        for entry in &batch.entries {
            let Input { id, shape: its, .. } = entry.call.input;
            let record = &self.calls[&id];
            assert!(its == shape && record.method == batch.method, "calls share a batch that may not");
            let first = record.returned.is_empty();
            let older =
                |older: &&Record| older.input().id < id && older.input().shape == shape && older.is_live(self.now);
            if first && let Some(older) = self.waiting(batch.method).find(older) {
                panic!("{:?} was overtaken by {:?}", older.input(), record.input());
            }
            let record = self.calls.get_mut(&id).expect("an accepted call");
            fresh += usize::from(record.dispatch(&entry.rows, self.now));
        }
        assert!(fresh == 0 || fresh == batch.entries.len(), "a batch that is run again has grown");
    }

    /// Nothing that could run waits for nobody; nothing outlives its deadline.
    fn check(&self, tally: &mut Tally) {
        let slack = self.setup.latency * 4;
        for record in self.open.iter().map(|id| &self.calls[id]) {
            let is_late = record.call.deadline().is_some_and(|deadline| deadline + slack < self.now);
            assert!(
                !is_late || !self.batchers[record.method].alive || record.dropped,
                "{:?} outlives its deadline",
                record.input()
            );
        }
        for method in 0..self.setup.methods.len() {
            // A call that has ended, or been put back, may still lie there until somebody comes across it.
            let of_method = || self.calls.values().filter(|record| record.method == method);
            let least: usize = of_method().filter(|record| record.ends == 0).map(Record::waiting).sum();
            let returned = |record: &Record| record.returned.iter().map(|rows| rows.len()).sum::<usize>();
            let ended = |record: &Record| if record.ends > 0 { record.waiting() } else { 0 };
            let most = least + of_method().map(|record| returned(record) + ended(record)).sum::<usize>();
            let queued = self.board.queued(method);
            assert!((least..=most).contains(&queued), "{queued} rows are said to wait, not {least} to {most}");
        }
        let somebody_looks = self.wakes > 0 || self.seats.iter().any(|seat| matches!(seat.executor, Executor::Unheard));
        if !self.has_idle() || somebody_looks {
            return;
        }
        for (method, limits) in self.setup.methods.iter().enumerate() {
            for shape in 0..self.setup.shapes {
                let of_shape = |record: &&Record| record.input().shape == shape && record.is_live(self.now);
                let mut lane = self.waiting(method).filter(of_shape).peekable();
                let Some(oldest) = lane.peek().map(|record| record.call.arrived) else { continue };
                let rows: usize = lane.map(Record::waiting).sum();
                let waits_for_company = limits.batching == Batching::Window
                    && !self.is_ending()
                    && rows < limits.max_batch_size.get()
                    && (self.now.duration_since(oldest) < limits.max_latency.saturating_add(slack)
                        || !self.batchers[method].alive);
                assert!(waits_for_company, "{rows} rows of method {method} wait while an executor is idle");
            }
        }
        for record in self.open.iter().map(|id| &self.calls[id]).filter(|record| record.is_live(self.now)) {
            assert!(record.returned.is_empty(), "{:?} is to run again, and an executor is idle", record.input());
        }
        for record in
            self.calls.values().filter(|record| record.lone && record.call.arrived == self.now && !record.dropped)
        {
            assert!(record.next_row > 0, "{:?} came alone and did not start at once", record.input());
            tally.add("lone");
        }
    }
}
