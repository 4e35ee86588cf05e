//! Where callers, batchers, executors and the supervisor of one runner meet: the board under its lock, and the
//! addresses to carry its effects to.

mod intake;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actix::{Addr, WeakRecipient};

use crate::announced::Announced;
use crate::batch::Batch;
use crate::batcher::{Alarm, Batcher};
use crate::board::{Board, Effects, Next, Phase};
use crate::call::{Call, Ended, Wakers};
use crate::cost::Cost;
use crate::executor::{Executor, Wake};
use crate::recovery::{Failure, Toll};
use crate::seat::{Stuck, Tenure};
use crate::shared::{Claim, Party};
use crate::supervisor::FoundStuck;
use crate::{BatchReport, CallError, Cap, MethodLimits, Observer, Outcomes, WarmRun, Worker};
use intake::Succession;

pub(crate) struct Desk<W: Worker> {
    /// The only lock on a call's way. Held for bookkeeping, never while something runs or wakes.
    board: Mutex<Board<W>>,
    addresses: Mutex<Addresses<W>>,
    /// Each method's calls that are about to come, reached without the lock.
    announced: Box<[Arc<Announced>]>,
    /// Each method's limit for calls that bring none, read without the lock.
    timeouts: Box<[Option<Duration>]>,
    succession: Succession<W>,
    /// Each seat's part in the device that it shares, if it shares one.
    shares: Box<[Option<Arc<Party>>]>,
    observer: Arc<dyn Observer>,
}

struct Addresses<W: Worker> {
    /// Shared, since an address allocates when it is cloned.
    executors: Vec<Option<Arc<Addr<Executor<W>>>>>,
    batchers: Vec<Option<Arc<Addr<Batcher<W>>>>>,
    /// Weak: a supervisor ends when nobody else holds its runner.
    supervisor: Option<WeakRecipient<FoundStuck>>,
}

impl<W: Worker> Desk<W> {
    pub(crate) fn new(
        limits: Vec<MethodLimits>,
        shares: Box<[Option<Arc<Party>>]>,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let executors = shares.len();
        let board = Board::new(limits.iter().cloned(), executors);
        Self {
            announced: (0..limits.len()).map(|method| Arc::clone(board.announced(method))).collect(),
            addresses: Mutex::new(Addresses {
                executors: (0..executors).map(|_| None).collect(),
                batchers: limits.iter().map(|_| None).collect(),
                supervisor: None,
            }),
            timeouts: limits.iter().map(|limits| limits.timeout).collect(),
            board: Mutex::new(board),
            succession: Succession::default(),
            shares,
            observer,
        }
    }

    pub(crate) fn observer(&self) -> &dyn Observer {
        self.observer.as_ref()
    }

    pub(crate) fn announce(&self, method: usize, now: Instant) {
        self.announced[method].announce(now);
    }

    /// How many calls of `method` are about to come.
    pub(crate) fn announced(&self, method: usize) -> usize {
        self.announced[method].count()
    }

    /// The call that was announced at `announced` is about to be pushed.
    pub(crate) fn come(&self, method: usize, announced: Instant) {
        self.announced[method].come(announced, Instant::now());
    }

    /// A call that was announced will not come.
    pub(crate) fn withdraw(&self, method: usize) {
        if self.announced[method].withdraw() {
            // A batch waits for it: an alarm looks at what is due.
            self.alarm(method);
        }
    }

    /// What an executor does next.
    pub(crate) fn next(&self, tenure: Tenure) -> Next<W> {
        let mut effects = Effects::default();
        let next = self.board().next(tenure, Instant::now(), &mut effects);
        self.carry_out(effects);
        next
    }

    /// What an executor hands to its device ahead, while that has work; `None`: nothing yet.
    pub(crate) fn next_ahead(&self, tenure: Tenure) -> Option<Arc<Batch<W>>> {
        let mut effects = Effects::default();
        let next = self.board().next_ahead(tenure, Instant::now(), &mut effects);
        self.carry_out(effects);
        next
    }

    /// What an executor has handed ahead has been launched, which may have taken the host long.
    pub(crate) fn has_launched_ahead(&self, tenure: Tenure) {
        self.board().has_launched_ahead(tenure, Instant::now());
    }

    /// What an executor does that has to wait for its device's turn; `None`: it waits.
    pub(crate) fn stand_by(&self, tenure: Tenure) -> Option<Next<W>> {
        let mut effects = Effects::default();
        let next = self.board().stand_by(tenure, Instant::now(), &mut effects);
        self.carry_out(effects);
        next
    }

    /// An executor's claim to turns on the device that it shares, if it shares one; `call` tells it that its turn has come.
    pub(crate) fn claim(&self, tenure: Tenure, call: impl Fn() + Send + Sync + 'static) -> Option<Claim> {
        self.shares[tenure.seat].as_ref().map(|party| party.claim(tenure.nth, call))
    }

    /// Executors that are not watched any more, and may never end, do not keep a device from others.
    pub(crate) fn take_turns_away(&self) {
        let shared =
            self.shares.iter().enumerate().filter_map(|(seat, party)| Some((self.tenure(seat), party.as_ref()?)));
        shared.for_each(|(tenure, party)| party.take_away(tenure.nth));
    }

    pub(crate) fn alarm(&self, method: usize) {
        let mut effects = Effects::default();
        self.board().alarm(method, Instant::now(), &mut effects);
        self.carry_out(effects);
    }

    /// Gives each call of a batch that ran what became of it. What comes from an executor that was taken for gone is as
    /// good as any other answer, if it is the first.
    pub(crate) fn answer(&self, tenure: Tenure, batch: &Batch<W>, outcomes: Outcomes<W::Output>, started: Instant) {
        let ended = Instant::now();
        let mut wakers = Wakers::with_capacity(batch.entries.len());
        for (entry, outcome) in batch.entries.iter().zip(outcomes) {
            let output = match outcome {
                Ok(output) => output,
                Err(error) => {
                    let error = CallError::from(error);
                    let end = entry.call.end_with(Err(error.clone()), &mut wakers);
                    self.count(batch.method, &entry.call, &end, Some(&error), ended);
                    continue;
                }
            };
            if let Some((end, error)) = entry.call.add(entry.rows.clone(), output, &mut wakers) {
                self.count(batch.method, &entry.call, &end, error.as_ref(), ended);
            }
        }
        drop(wakers);
        let execution = ended.saturating_duration_since(started);
        let mut effects = Effects::default();
        self.board().ran(tenure, batch, execution, ended, &mut effects);
        self.carry_out(effects);
        let waits: Vec<Duration> =
            batch.entries.iter().map(|entry| started.saturating_duration_since(entry.call.arrived)).collect();
        self.observer.batch_ran(batch.method, &BatchReport { rows: batch.rows(), waits: &waits, execution });
    }

    /// Learns from a batch that ran for nobody.
    pub(crate) fn observe(&self, run: &WarmRun) {
        self.board().observe(run, Instant::now());
    }

    /// What batches of `method` cost.
    pub(crate) fn caps(&self, method: usize) -> Vec<Cap> {
        self.board().caps(method)
    }

    pub(crate) fn costs(&self, method: usize) -> Vec<Cost> {
        self.board().costs(method)
    }

    /// Answers a batch that failed, or has it run again, whole or in parts.
    pub(crate) fn recover(&self, tenure: Tenure, batch: &Batch<W>, failure: Failure) {
        if let Failure::OutOfMemory(message) = &failure {
            tracing::warn!(method = batch.method, rows = batch.rows(), %message, "a device is out of memory for a batch");
            self.observer.out_of_memory(batch.method, batch.rows());
        }
        let mut effects = Effects::default();
        let mut board = self.board();
        // Else that has been done.
        if board.holds(tenure) {
            let had_company = board.put_down(tenure, batch, Instant::now(), &mut effects);
            board.recover(batch, if had_company { failure.in_company() } else { failure }, &mut effects);
        }
        drop(board);
        self.carry_out(effects);
    }

    /// The executor of `seat` has ended, or is taken for gone; what it ran is recovered.
    pub(crate) fn leave(&self, seat: usize, cause: &str) -> Toll {
        self.addresses().executors[seat] = None;
        let mut effects = Effects::default();
        let mut board = self.board();
        let tenure = board.tenure(seat);
        let left = board.leave(seat, &mut effects);
        let is_free = board.lose(&left, cause, &mut effects);
        let forgiven = board.take_forgiven();
        drop(board);
        self.carry_out(effects);
        if let Some(party) = &self.shares[seat] {
            party.take_away(tenure.nth);
        }
        Toll { is_free, forgiven }
    }

    pub(crate) fn holds(&self, tenure: Tenure) -> bool {
        self.board().holds(tenure)
    }

    pub(crate) fn is_running(&self, seat: usize) -> bool {
        self.board().is_running(seat)
    }

    pub(crate) fn is_stuck(&self, stuck: &Stuck) -> bool {
        self.board().is_stuck(stuck)
    }

    /// Who sits in `seat`, or the next who will.
    pub(crate) fn tenure(&self, seat: usize) -> Tenure {
        self.board().tenure(seat)
    }

    /// Another tenure of `seat`, which begins when it is handed over.
    pub(crate) fn next_tenure(&self, seat: usize) -> Tenure {
        self.board().next_tenure(seat)
    }

    pub(crate) fn hand_over(&self, to: Tenure) {
        self.board().hand_over(to);
    }

    pub(crate) fn open(&self) {
        self.board().phase = Phase::Open;
    }

    pub(crate) fn set_back_at(&self, at: Option<Instant>) {
        self.board().back_at = at;
    }

    /// Takes no more calls, and sends executors home as soon as nothing is left to do.
    pub(crate) fn drain(&self) {
        let mut effects = Effects::default();
        self.board().drain(&mut effects);
        self.carry_out(effects);
    }

    /// Ends everything now: what has not been answered is told the cause. Returns how many calls that were.
    pub(crate) fn close(&self, cause: &str) -> usize {
        let mut effects = Effects::default();
        self.board().close(cause.into(), &mut effects);
        self.carry_out(effects)
    }

    /// Sends the executor of `seat` home as soon as it has finished what it runs.
    pub(crate) fn release(&self, seat: usize) {
        let mut effects = Effects::default();
        self.board().release(seat, &mut effects);
        self.carry_out(effects);
    }

    /// Takes calls, and has nothing run.
    pub(crate) fn pause(&self) {
        self.board().pause();
    }

    pub(crate) fn resume(&self) {
        let mut effects = Effects::default();
        self.board().resume(Instant::now(), &mut effects);
        self.carry_out(effects);
    }

    /// After [`Desk::close`]: begins anew, with other executors.
    pub(crate) fn reopen(&self) {
        self.take_turns_away();
        self.addresses().executors.fill(None);
        let before = self.board().reopen();
        drop(before);
    }

    /// How many methods there are.
    pub(crate) fn methods(&self) -> usize {
        self.addresses().batchers.len()
    }

    pub(crate) fn queued(&self, method: usize) -> usize {
        self.board().queued(method)
    }

    /// Whether anything waits.
    pub(crate) fn has_waiting(&self) -> bool {
        self.board().waiting() > 0
    }

    pub(crate) fn seat_executor(&self, seat: usize, address: Addr<Executor<W>>) {
        self.addresses().executors[seat] = Some(Arc::new(address));
    }

    #[cfg(test)]
    pub(crate) fn batcher(&self, method: usize) -> Option<Arc<Addr<Batcher<W>>>> {
        self.addresses().batchers[method].clone()
    }

    pub(crate) fn seat_supervisor(&self, address: WeakRecipient<FoundStuck>) {
        self.addresses().supervisor = Some(address);
    }

    pub(crate) fn seat_batcher(&self, method: usize, address: Addr<Batcher<W>>) {
        self.addresses().batchers[method] = Some(Arc::new(address));
    }

    /// The one place that counts how calls end.
    fn count(&self, method: usize, call: &Call<W>, end: &Ended, error: Option<&CallError>, now: Instant) {
        let elapsed = now.saturating_duration_since(call.arrived);
        match end {
            Ended::Now => self.observer.call_ended(method, error, elapsed),
            Ended::Cancelled => self.observer.call_ended(method, Some(&CallError::Cancelled), elapsed),
            Ended::Before => {}
        }
    }

    /// Does what the board has decided; returns how many calls that ended.
    fn carry_out(&self, effects: Effects<W>) -> usize {
        let mut ended = 0;
        for (method, call, error) in effects.ended {
            let end = call.end(Err(error.clone()));
            self.count(method, &call, &end, Some(&error), Instant::now());
            ended += usize::from(end == Ended::Now);
        }
        for (method, at) in effects.alarms {
            let batcher = self.addresses().batchers[method].clone();
            if let Some(batcher) = batcher {
                batcher.do_send(Alarm(at));
            }
        }
        for stuck in effects.stuck {
            let supervisor = self.addresses().supervisor.as_ref().and_then(WeakRecipient::upgrade);
            if let Some(supervisor) = supervisor {
                supervisor.do_send(FoundStuck(stuck));
            }
        }
        self.wake(effects.wake.into_iter().chain(effects.dismissed));
        ended
    }

    fn wake(&self, seats: impl IntoIterator<Item = usize>) {
        for seat in seats {
            let executor = self.addresses().executors[seat].clone();
            if let Some(executor) = executor {
                executor.do_send(Wake);
            }
        }
    }

    fn board(&self) -> MutexGuard<'_, Board<W>> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn addresses(&self) -> MutexGuard<'_, Addresses<W>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
