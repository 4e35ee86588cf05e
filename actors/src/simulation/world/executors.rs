//! Executors: what they run, how that ends, and what becomes of it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Event, Executor, Seat, Tally, World};
use crate::batch::{Batch, Entry};
use crate::board::{Effects, Next};
use crate::call::{Ended, Wakers};
use crate::recovery::Failure;
use crate::seat::Stuck;
use crate::simulation::toy::{Input, Nature, Toy, expected};
use crate::{Part, RunError, Worker};

impl World<'_> {
    /// The executor's handler of a wake, until it has nothing to do.
    pub(super) fn work(&mut self, seat: usize, tally: &mut Tally) {
        if self.rng.f64() >= self.setup.contended {
            return self.work_now(seat, tally);
        }
        let mut effects = Effects::default();
        let next = self.board.stand_by(self.seats[seat].tenure, self.now, &mut effects);
        self.carry_out(effects, tally);
        self.seats[seat].executor = Executor::Listening;
        let stood_by = std::mem::replace(&mut self.seats[seat].stands_by, next.is_none());
        match next {
            None if stood_by => {}
            None => {
                tally.add("stood by");
                let (life, after) = (self.seats[seat].life, self.setup.turn.mul_f64(self.rng.f64()));
                self.plan(after, Event::Turn { seat, life });
            }
            Some(Next::Retire) if stood_by => {
                tally.add("an executor that stood by was told to go");
                self.retire(seat);
            }
            Some(Next::Retire) => self.retire(seat),
            Some(Next::Idle) => {}
            Some(Next::Run(_)) => panic!("it runs, and it is not its turn"),
        }
    }

    fn retire(&mut self, seat: usize) {
        self.seats[seat].life += 1;
        self.seats[seat].executor = Executor::Unheard;
        self.soon(Event::Exit { seat, drained: true });
    }

    /// As before, when it is its turn.
    pub(super) fn work_now(&mut self, seat: usize, tally: &mut Tally) {
        self.seats[seat].stands_by = false;
        loop {
            let mut effects = Effects::default();
            let next = self.board.next(self.seats[seat].tenure, self.now, &mut effects);
            self.carry_out(effects, tally);
            match next {
                Next::Run(batch) => return self.start(seat, batch, tally),
                Next::Retire => return self.retire(seat),
                Next::Idle if self.seats[seat].mail > 0 => self.seats[seat].mail -= 1,
                Next::Idle => {
                    self.seats[seat].executor = Executor::Listening;
                    return;
                }
            }
        }
    }

    pub(super) fn start(&mut self, seat: usize, batch: Arc<Batch<Toy>>, tally: &mut Tally) {
        assert!(!self.paused, "a batch starts in a pause");
        self.check_batch(&batch, tally);
        self.begin(seat, batch);
        self.give_ahead(seat, tally);
    }

    /// The device has room for more.
    fn give_ahead(&mut self, seat: usize, tally: &mut Tally) {
        while self.seats[seat].ahead.len() + 1 < self.setup.depth {
            let mut effects = Effects::default();
            let batch = self.board.next_ahead(self.seats[seat].tenure, self.now, &mut effects);
            self.carry_out(effects, tally);
            let Some(batch) = batch else { return };
            assert!(!self.paused, "a batch starts in a pause");
            let Executor::Running(first, _) = &self.seats[seat].executor else { panic!("it has nothing to run") };
            for batch in [first, &batch].into_iter().chain(&self.seats[seat].ahead) {
                assert!(batch.trial.is_none() && self.setup.methods[batch.method].retry, "it has company");
            }
            self.check_batch(&batch, tally);
            tally.add("given ahead");
            self.seats[seat].ahead.push_back(batch);
        }
    }

    /// The device begins with a batch.
    fn begin(&mut self, seat: usize, batch: Arc<Batch<Toy>>) {
        let life = self.seats[seat].life;
        let takes = self.setup.run.mul_f64(self.rng.f64());
        let has = |nature| batch.entries.iter().any(|entry| entry.call.input.nature == nature);
        let (is_deadly, is_endless) = (has(Nature::Deadly), has(Nature::Endless));
        self.seats[seat].executor = Executor::Running(batch, self.now);
        if is_endless {
            // It is found, or struck.
        } else if is_deadly || self.rng.f64() < self.setup.death {
            self.plan(takes, Event::Die { seat, life });
        } else {
            self.plan(takes, Event::Finish { seat, life });
        }
    }

    pub(super) fn finish(&mut self, seat: usize, tally: &mut Tally) {
        let Executor::Running(batch, begun) = &self.seats[seat].executor else {
            panic!("it finishes what it does not run")
        };
        let (batch, execution) = (Arc::clone(batch), self.now.duration_since(*begun));
        let part = |entry: &Entry<Toy>| (Arc::clone(&entry.call), entry.rows.clone());
        let entries: Vec<_> = batch.entries.iter().map(part).collect();
        let parts: Vec<_> =
            entries.iter().map(|(call, rows)| Part { input: &call.input, rows: rows.clone() }).collect();
        let is_late = self.arrived * 2 > self.setup.calls;
        let is_starved = self.setup.memory.is_some_and(|memory| batch.rows() > memory && !is_late);
        let run =
            if is_starved { Err(RunError::OutOfMemory("full".into())) } else { Toy.finish(batch.method, &parts, ()) };
        let capped = self.board.caps(batch.method).len();
        match run {
            Ok(outcomes) => {
                for ((call, rows), outcome) in entries.iter().zip(outcomes) {
                    let output = outcome.expect("the toy fails whole batches");
                    if let Some((end, error)) = call.add(rows.clone(), output, &mut Wakers::default()) {
                        self.count(call.input.id, &end, error.as_ref(), tally);
                    }
                }
                let mut effects = Effects::default();
                self.board.ran(self.seats[seat].tenure, &batch, execution, self.now, &mut effects);
                self.carry_out(effects, tally);
            }
            Err(RunError::Method(error)) => {
                self.put_down(seat, &batch, tally);
                let _ = self.recover(&batch, Failure::Error(error), tally);
            }
            Err(RunError::OutOfMemory(message)) => {
                tally.add(if batch.rows() == 1 { "out of memory for one row" } else { "out of memory" });
                if entries.iter().any(|(_, rows)| rows.len() > 1) && entries.len() == 1 {
                    tally.add("cut for memory");
                }
                let had_company = self.put_down(seat, &batch, tally);
                let failure = Failure::OutOfMemory(message);
                let _ = self.recover(&batch, if had_company { failure.in_company() } else { failure }, tally);
            }
            Err(error) => panic!("the toy has no such failures: {error:?}"),
        }
        if self.board.caps(batch.method).len() < capped {
            tally.add("a cap was lifted");
        }
        drop((batch, entries));
        match self.seats[seat].ahead.pop_front() {
            Some(next) => {
                self.begin(seat, next);
                self.give_ahead(seat, tally);
            }
            None => self.work(seat, tally),
        }
    }

    fn put_down(&mut self, seat: usize, batch: &Batch<Toy>, tally: &mut Tally) -> bool {
        let mut effects = Effects::default();
        let had_company = self.board.put_down(self.seats[seat].tenure, batch, self.now, &mut effects);
        self.carry_out(effects, tally);
        had_company
    }

    pub(super) fn kill(&mut self, seat: usize) {
        let Seat { life, tenure, .. } = self.seats[seat];
        self.seats[seat] = Seat {
            executor: Executor::Unheard,
            ahead: VecDeque::new(),
            tenure,
            life: life + 1,
            released: false,
            mail: 0,
            stands_by: false,
        };
        self.soon(Event::Exit { seat, drained: false });
    }

    /// What the supervisor does about an executor that is stuck.
    pub(super) fn stuck(&mut self, stuck: &Stuck, tally: &mut Tally) {
        self.found -= 1;
        if !self.board.is_stuck(stuck) {
            return;
        }
        let seat = stuck.tenure.seat;
        let Executor::Running(batch, _) = &self.seats[seat].executor else { return };
        if self.setup.killable {
            tally.add("stuck, killed");
            return self.kill(seat);
        }
        tally.add("stuck, abandoned");
        let nth = self.abandoned.len();
        self.abandoned.push(Some((stuck.tenure, Arc::clone(batch))));
        let after = (self.setup.run + self.setup.gap).mul_f64(20.0 * self.rng.f64());
        self.plan(after, Event::ComeBack(nth));
        self.seats[seat].life += 1;
        self.seats[seat].mail = 0;
        self.seats[seat].ahead.clear();
        self.exited(seat, false, tally);
        if !self.is_ending() && self.abandoned.iter().flatten().count() > self.setup.restarts.max_abandoned as usize {
            tally.add("too many abandoned");
            self.close("too many are stuck", tally);
        }
    }

    /// An executor that was abandoned brings its answers, late, and finds that it is not needed any more.
    pub(super) fn come_back(&mut self, nth: usize, tally: &mut Tally) {
        let (tenure, batch) = self.abandoned[nth].take().expect("it comes back once");
        for entry in batch.entries.iter().filter(|entry| entry.call.input.nature == Nature::Good) {
            let Input { id, .. } = entry.call.input;
            let output = expected(batch.method, &entry.call.input)[entry.rows.clone()].to_vec();
            if let Some((end, error)) = entry.call.add(entry.rows.clone(), output, &mut Wakers::default()) {
                tally.add(if end == Ended::Now { "answered late" } else { "came back" });
                self.count(id, &end, error.as_ref(), tally);
            }
        }
        let mut effects = Effects::default();
        self.board.ran(tenure, &batch, self.setup.run, self.now, &mut effects);
        assert!(matches!(self.board.next(tenure, self.now, &mut effects), Next::Retire), "it goes on");
        self.carry_out(effects, tally);
    }

    /// An executor has died over these.
    pub(super) fn lose(&mut self, batches: &[Arc<Batch<Toy>>], tally: &mut Tally) -> bool {
        match batches {
            [] => return false,
            [batch] => return self.recover(batch, Failure::Crash("it died".into()), tally),
            _ => tally.add("lost in company"),
        }
        let mut effects = Effects::default();
        let is_free = self.board.lose(batches, "it died", &mut effects);
        self.carry_out(effects, tally);
        for entry in batches.iter().flat_map(|batch| &batch.entries) {
            self.calls.get_mut(&entry.call.input.id).expect("an accepted call").put_back(&entry.rows);
        }
        is_free
    }

    pub(super) fn recover(&mut self, batch: &Batch<Toy>, failure: Failure, tally: &mut Tally) -> bool {
        let alone = batch.entries.len() == 1;
        for entry in &batch.entries {
            let record = self.calls.get_mut(&entry.call.input.id).expect("an accepted call");
            match failure {
                Failure::Crash(_) => {
                    *record.crashes.entry(entry.rows.start).or_default() += 1;
                    *record.crashes_alone.entry(entry.rows.start).or_default() += u32::from(alone);
                }
                Failure::Error(_) => record.refused = true,
                Failure::OutOfMemory(_) | Failure::Crowded(_) => record.starved |= batch.rows() == 1,
            }
        }
        let is_crash = matches!(failure, Failure::Crash(_));
        let is_crowded = matches!(failure, Failure::Crowded(_));
        let is_starved = is_crowded || matches!(failure, Failure::OutOfMemory(_));
        let is_accident = is_crash
            && batch.entries.iter().all(|entry| matches!(entry.call.input.nature, Nature::Good | Nature::Refused));
        if let Some(trial) = &batch.trial
            && let Some(known) = self.trials.iter_mut().find(|known| Arc::ptr_eq(&known.trial, trial))
        {
            known.accidents += usize::from(is_accident);
            known.starved |= is_starved;
        }
        let mut effects = Effects::default();
        let is_free = self.board.recover(batch, failure, &mut effects);
        self.carry_out(effects, tally);
        if is_crowded {
            tally.add("no memory for two");
        }
        let mut returned = 0;
        for entry in &batch.entries {
            let record = self.calls.get_mut(&entry.call.input.id).expect("an accepted call");
            record.put_back(&entry.rows);
            returned += u32::from(record.ends == 0);
        }
        if returned > 0 {
            tally.add(if is_starved {
                "shrunk"
            } else if !is_crash {
                "halved"
            } else if batch.trial.is_none() {
                "run again"
            } else {
                "halved after crashes"
            });
        }
        is_free
    }
}
