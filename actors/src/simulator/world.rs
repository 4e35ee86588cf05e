//! The world of a simulation: calls come, batches end, alarms go off, each at its time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::report::Fate;
use super::{Model, Report, Traffic};
use crate::batch::Batch;
use crate::board::{Board, Effects, Next, Phase};
use crate::call::{Call, Wakers};
use crate::{CallOptions, MethodError, MethodLimits, Outcomes, Part, Reply, RunError, WarmRun, Worker};

/// What a scheduler wants done.
pub(super) enum Effect {
    Start { seat: usize, calls: Vec<usize>, rows: usize },
    Refuse(usize),
    Alarm(Duration),
}

/// Decides what runs when. It is told what happens, and when: the time since the start.
pub(super) trait Scheduler {
    fn announce(&mut self, _now: Duration) {}
    fn arrive(&mut self, call: usize, now: Duration, effects: &mut Vec<Effect>);
    fn finish(&mut self, seat: usize, now: Duration, effects: &mut Vec<Effect>);
    fn alarm(&mut self, now: Duration, effects: &mut Vec<Effect>);
    /// How many calls wait while an executor has nothing to do.
    fn holds(&self) -> usize;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Finish(usize),
    Alarm,
    Announce,
    Arrive(usize),
}

pub(super) struct World<'a> {
    traffic: &'a Traffic,
    model: &'a Model,
    rng: Rng,
    events: BinaryHeap<Reverse<(Duration, Event)>>,
    fates: Vec<Fate>,
    running: Vec<Vec<usize>>,
    batches: usize,
    rows: usize,
    held: Duration,
}

impl<'a> World<'a> {
    pub(super) fn new(traffic: &'a Traffic, model: &'a Model, executors: usize, seed: u64) -> Self {
        Self {
            traffic,
            model,
            rng: Rng::with_seed(seed),
            events: BinaryHeap::new(),
            fates: vec![Fate::Open; traffic.0.len()],
            running: vec![Vec::new(); executors],
            batches: 0,
            rows: 0,
            held: Duration::ZERO,
        }
    }

    pub(super) fn run(mut self, mut scheduler: impl Scheduler, warm_up: Duration) -> Report {
        let mut effects = Vec::new();
        let mut now = Duration::ZERO;
        self.come(0);
        for arrival in self.traffic.0.iter().filter(|arrival| !arrival.announced.is_zero()) {
            self.events.push(Reverse((arrival.at.saturating_sub(arrival.announced), Event::Announce)));
        }
        while let Some(Reverse((at, event))) = self.events.pop() {
            if at >= warm_up {
                let waiting = u32::try_from(scheduler.holds()).unwrap_or(u32::MAX);
                self.held += (at - now.max(warm_up)) * waiting;
            }
            now = at;
            match event {
                Event::Announce => scheduler.announce(now),
                Event::Arrive(call) => {
                    self.come(call + 1);
                    scheduler.arrive(call, now, &mut effects);
                }
                Event::Finish(seat) => {
                    for call in std::mem::take(&mut self.running[seat]) {
                        let arrival = &self.traffic.0[call];
                        let latency = now - arrival.at;
                        let in_time = arrival.timeout.is_none_or(|timeout| latency <= timeout);
                        self.fates[call] = if in_time { Fate::Answered(latency) } else { Fate::Wasted };
                    }
                    scheduler.finish(seat, now, &mut effects);
                }
                Event::Alarm => scheduler.alarm(now, &mut effects),
            }
            for effect in effects.drain(..) {
                match effect {
                    Effect::Start { seat, calls, rows } => {
                        if now >= warm_up {
                            self.batches += 1;
                            self.rows += rows;
                        }
                        self.running[seat] = calls;
                        self.events.push(Reverse((now + self.model.draw(rows, &mut self.rng), Event::Finish(seat))));
                    }
                    // A call that runs, and is told meanwhile that it is late, is late when it ends.
                    Effect::Refuse(call) if self.running.iter().any(|calls| calls.contains(&call)) => {}
                    Effect::Refuse(call) => self.fates[call] = Fate::Refused(now - self.traffic.0[call].at),
                    Effect::Alarm(at) => self.events.push(Reverse((at.max(now), Event::Alarm))),
                }
            }
        }
        let mut report = Report::new(&self.traffic.0, &self.fates, warm_up);
        report.batch = self.rows as f64 / self.batches.max(1) as f64;
        report.held = self.held;
        report
    }

    /// Lets this call come, at its time.
    fn come(&mut self, call: usize) {
        if let Some(arrival) = self.traffic.0.get(call) {
            self.events.push(Reverse((arrival.at, Event::Arrive(call))));
        }
    }
}

/// What runs in production: the board, with its queue and policies.
pub(super) struct Production<'a> {
    traffic: &'a Traffic,
    epoch: Instant,
    board: Board<Simulated>,
    /// Held, so that no caller seems to have gone.
    replies: Vec<Option<Reply<Simulated>>>,
    /// What each runs, and since when.
    running: Vec<Option<(Arc<Batch<Simulated>>, Duration)>>,
    idle: Vec<bool>,
    /// When the batcher's timer goes off.
    timer: Option<Duration>,
}

impl<'a> Production<'a> {
    pub(super) fn new(limits: MethodLimits, traffic: &'a Traffic, model: &Model, executors: usize) -> Self {
        let max_rows = limits.max_batch_size.get();
        let mut board = Board::new([limits], executors);
        board.phase = Phase::Open;
        let epoch = Instant::now();
        // As a runner warms up before it is ready.
        let mut rng = Rng::with_seed(0);
        for rows in (0..=max_rows.ilog2()).map(|power| 1 << power).flat_map(|rows| [rows; 3]) {
            let execution = model.draw(rows, &mut rng);
            board.observe(&WarmRun { method: 0, shape: 0, rows, execution }, epoch);
        }
        for seat in 0..executors {
            let tenure = board.tenure(seat);
            board.next(tenure, epoch, &mut Effects::default());
        }
        Self {
            traffic,
            epoch,
            board,
            replies: traffic.0.iter().map(|_| None).collect(),
            running: (0..executors).map(|_| None).collect(),
            idle: vec![true; executors],
            timer: None,
        }
    }

    /// Does what the board has decided, as the desk and the executors do it.
    fn carry_out(&mut self, wanted: Effects<Simulated>, now: Duration, effects: &mut Vec<Effect>) {
        let mut woken: Vec<usize> = Vec::new();
        let (epoch, timer) = (self.epoch, &mut self.timer);
        let mut collect = |wanted: Effects<Simulated>, woken: &mut Vec<usize>, effects: &mut Vec<Effect>| {
            for (_, call, error) in wanted.ended {
                call.end(Err(error));
                effects.push(Effect::Refuse(call.input));
            }
            for (_, at) in wanted.alarms {
                // Timers know milliseconds.
                let at = at.saturating_duration_since(epoch);
                let at = Duration::from_millis(u64::try_from(at.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX));
                if timer.is_none_or(|set| at < set) {
                    *timer = Some(at);
                    effects.push(Effect::Alarm(at));
                }
            }
            woken.extend(wanted.wake);
        };
        collect(wanted, &mut woken, effects);
        while let Some(seat) = woken.pop() {
            let mut wanted = Effects::default();
            let tenure = self.board.tenure(seat);
            let next = self.board.next(tenure, self.epoch + now, &mut wanted);
            collect(wanted, &mut woken, effects);
            self.idle[seat] = true;
            if let Next::Run(batch) = next {
                let calls = batch.entries.iter().map(|entry| entry.call.input).collect();
                effects.push(Effect::Start { seat, calls, rows: batch.rows() });
                self.running[seat] = Some((batch, now));
                self.idle[seat] = false;
            }
        }
    }
}

impl Scheduler for Production<'_> {
    fn announce(&mut self, now: Duration) {
        self.board.announced(0).announce(self.epoch + now);
    }

    fn arrive(&mut self, call: usize, now: Duration, effects: &mut Vec<Effect>) {
        let arrival = &self.traffic.0[call];
        let options = CallOptions { timeout: arrival.timeout, priority: arrival.priority };
        let rows = NonZeroUsize::new(arrival.rows).unwrap_or(NonZeroUsize::MIN);
        let shared = Arc::new(Call::new(call, rows, self.epoch + now, options));
        if !arrival.announced.is_zero() {
            let announced = self.epoch + now.saturating_sub(arrival.announced);
            self.board.announced(0).come(announced, self.epoch + now);
        }
        let mut wanted = Effects::default();
        let pushed = self.board.push(0, &shared, self.epoch + now, &mut wanted);
        if pushed.is_ok() {
            self.replies[call] = Some(Reply::new(shared));
        } else {
            effects.push(Effect::Refuse(call));
        }
        self.carry_out(wanted, now, effects);
    }

    fn finish(&mut self, seat: usize, now: Duration, effects: &mut Vec<Effect>) {
        let mut wanted = Effects::default();
        if let Some((batch, started)) = self.running[seat].take() {
            for entry in &batch.entries {
                entry.call.add(entry.rows.clone(), (), &mut Wakers::default());
                self.replies[entry.call.input] = None;
            }
            let tenure = self.board.tenure(seat);
            self.board.ran(tenure, &batch, now.saturating_sub(started), self.epoch + now, &mut wanted);
        }
        wanted.wake = Some(seat);
        self.carry_out(wanted, now, effects);
    }

    fn alarm(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if self.timer != Some(now) {
            return;
        }
        self.timer = None;
        let mut wanted = Effects::default();
        self.board.alarm(0, self.epoch + now, &mut wanted);
        self.carry_out(wanted, now, effects);
    }

    fn holds(&self) -> usize {
        if self.idle.contains(&true) { self.board.queued(0) } else { 0 }
    }
}

/// A worker that is never opened: the world runs its batches.
struct Simulated;

impl Worker for Simulated {
    /// The number of the call.
    type Input = usize;
    type Output = ();
    type Launched = ();

    fn can_share_batch(_: &usize, _: &usize) -> bool {
        true
    }

    fn launch(&mut self, _: usize, _: &[Part<'_, usize>]) -> Result<(), RunError> {
        Ok(())
    }

    fn finish(&mut self, _: usize, parts: &[Part<'_, usize>], (): ()) -> Result<Outcomes<()>, RunError> {
        Ok(parts.iter().map(|_| Ok(())).collect())
    }

    fn join(_: &usize, _: Vec<()>) -> Result<(), MethodError> {
        Ok(())
    }
}
