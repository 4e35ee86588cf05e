//! The world around the board: callers, executors, batchers, a supervisor, and time. It carries out the board's effects
//! as the desk does, and checks after each event that all is in order.

mod callers;
mod checks;
mod executors;
mod supervisor;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::Setup;
use super::record::Record;
use super::toy::Toy;
use crate::CallError;
use crate::batch::Batch;
use crate::board::{Board, Effects, Phase};
use crate::budget::Budget;
use crate::call::Ended;
use crate::recovery::Trial;
use crate::seat::{Stuck, Tenure};

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
    /// Its device is this executor's.
    Turn {
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
    /// The supervisor hears that an executor is stuck.
    Stuck(Stuck),
    /// An executor that was abandoned, counted from 0, ends its batch after all.
    ComeBack(usize),
    Rebuild(usize),
    /// Whoever sits there is to be replaced.
    Release(usize),
    Pause,
    Resume,
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
    /// Since when it is to be found stuck, or to have been.
    Running(Arc<Batch<Toy>>, Instant),
    /// It has ended, and the supervisor does not know yet.
    Unheard,
    Restarting(Instant),
    Stopped,
}

struct Seat {
    executor: Executor,
    /// What it has been given beside what it runs.
    ahead: VecDeque<Arc<Batch<Toy>>>,
    tenure: Tenure,
    /// How many executors have died here: what was sent to one never reaches the next.
    life: u32,
    /// It has been told to go, for another one to come.
    released: bool,
    /// Wakes that arrived while it ran.
    mail: usize,
    /// It listens, and its turn will come.
    stands_by: bool,
}

struct Batcher {
    alive: bool,
    life: u32,
    timer: Option<Instant>,
}

/// A search for guilty calls that has begun.
struct Known {
    trial: Arc<Trial>,
    /// How many of its calls break or are refused, and how often it met with something else.
    guilty: usize,
    accidents: usize,
    /// Whether it met with too little memory, so that it takes more runs.
    starved: bool,
    runs: usize,
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
    paused: bool,
    budget: Budget,
    seats: Vec<Seat>,
    batchers: Vec<Batcher>,
    /// When each method's queue was last searched for calls that have ended.
    searched: Vec<Option<Instant>>,
    calls: BTreeMap<usize, Record>,
    /// Accepted calls that have not ended.
    open: BTreeSet<usize>,
    /// Calls that have come, accepted or not.
    arrived: usize,
    trials: Vec<Known>,
    /// Executors that were abandoned, until they come back.
    abandoned: Vec<Option<(Tenure, Arc<Batch<Toy>>)>>,
    /// How many executors the supervisor is about to hear of, because they are stuck.
    found: usize,
}

impl<'a> World<'a> {
    pub(super) fn new(setup: &'a Setup, rng: Rng) -> Self {
        let board = Board::new(setup.methods.iter().cloned(), setup.executors);
        let seat = |seat| Seat {
            executor: Executor::Opening,
            ahead: VecDeque::new(),
            tenure: board.tenure(seat),
            life: 0,
            released: false,
            mail: 0,
            stands_by: false,
        };
        let batcher = |_| Batcher { alive: true, life: 0, timer: None };
        Self {
            setup,
            rng,
            now: Instant::now(),
            events: BinaryHeap::new(),
            planned: 0,
            wakes: 0,
            paused: false,
            seats: (0..setup.executors).map(seat).collect(),
            board,
            budget: Budget::new(setup.restarts.clone()),
            batchers: (0..setup.methods.len()).map(batcher).collect(),
            searched: vec![None; setup.methods.len()],
            calls: BTreeMap::new(),
            open: BTreeSet::new(),
            arrived: 0,
            trials: Vec::new(),
            abandoned: Vec::new(),
            found: 0,
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
        for _ in 0..self.setup.releases {
            let (seat, at) = (self.rng.usize(..self.seats.len()), span.mul_f64(self.rng.f64()));
            self.plan(at, Event::Release(seat));
        }
        for _ in 0..self.setup.pauses {
            let (from, to) = (span.mul_f64(self.rng.f64()), span.mul_f64(self.rng.f64()));
            self.plan(from.min(to), Event::Pause);
            self.plan(from.max(to), Event::Resume);
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
                if matches!(self.seats[seat].executor, Executor::Listening | Executor::Running(..)) {
                    self.wakes += 1;
                    self.soon(Event::Wake { seat, life: self.seats[seat].life });
                }
            }
            Event::Wake { seat, life } => {
                self.wakes -= 1;
                match self.seats[seat].executor {
                    Executor::Listening if self.seats[seat].life == life => self.work(seat, tally),
                    Executor::Running(..) if self.seats[seat].life == life => self.seats[seat].mail += 1,
                    _ => {}
                }
            }
            Event::Turn { seat, life } => {
                if self.seats[seat].life == life && std::mem::take(&mut self.seats[seat].stands_by) {
                    self.work_now(seat, tally);
                    if matches!(self.seats[seat].executor, Executor::Listening) {
                        tally.add("stood by for nothing");
                    }
                }
            }
            Event::Finish { seat, life } if self.seats[seat].life == life => self.finish(seat, tally),
            Event::Die { seat, life } if self.seats[seat].life == life => self.kill(seat),
            Event::Strike(seat) => match self.seats[seat].executor {
                Executor::Listening if self.seats[seat].stands_by => {
                    tally.add("an executor that stood by died");
                    self.kill(seat);
                }
                Executor::Listening => {
                    tally.add(if self.wakes > 0 { "a woken executor died" } else { "an idle executor died" });
                    self.kill(seat);
                }
                Executor::Running(..) => self.kill(seat),
                _ => {}
            },
            Event::Finish { .. } | Event::Die { .. } => {}
            Event::Exit { seat, drained } => self.exited(seat, drained, tally),
            Event::Stuck(stuck) => self.stuck(&stuck, tally),
            Event::ComeBack(nth) => self.come_back(nth, tally),
            Event::Rebuild(seat) => self.rebuild(seat, tally),
            Event::Release(seat) => self.release(seat, tally),
            Event::Pause if !self.is_ending() => {
                self.paused = true;
                self.board.pause();
            }
            Event::Pause => {}
            Event::Resume => self.resume(tally),
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
        for stuck in effects.stuck {
            self.found += 1;
            self.soon(Event::Stuck(stuck));
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
}
