//! What waits for one method: bounded in rows, first in, first out, and cut into batches.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::call::Call;
use crate::policy::{self, Verdict};
use crate::{CallError, MethodLimits, Worker};

/// Some rows of one call, in a batch.
pub(crate) struct Entry<W: Worker> {
    pub(crate) call: Arc<Call<W>>,
    pub(crate) rows: Range<usize>,
}

/// The rows dispatched together.
pub(crate) struct Batch<W: Worker> {
    pub(crate) method: usize,
    pub(crate) entries: Vec<Entry<W>>,
    /// How many executors it has broken.
    pub(crate) crashes: u32,
}

impl<W: Worker> Batch<W> {
    pub(crate) fn rows(&self) -> usize {
        self.entries.iter().map(|entry| entry.rows.len()).sum()
    }
}

/// The calls that could run together: alike in everything but their rows.
struct Lane<W: Worker> {
    waiting: VecDeque<Waiting<W>>,
    rows: usize,
}

struct Waiting<W: Worker> {
    call: Arc<Call<W>>,
    /// The first row that has not been dispatched yet.
    next_row: usize,
}

impl<W: Worker> Waiting<W> {
    fn rows(&self) -> usize {
        self.call.rows.get() - self.next_row
    }
}

/// The queue of one method.
pub(crate) struct Queue<W: Worker> {
    method: usize,
    limits: MethodLimits,
    /// Never an empty one; a handful at most, but where callers send many different shapes.
    lanes: Vec<Lane<W>>,
    rows: usize,
    /// What one row costs, smoothed; for `Retry-After`.
    row_cost: Option<Duration>,
}

impl<W: Worker> Queue<W> {
    pub(crate) fn new(method: usize, limits: MethodLimits) -> Self {
        Self { method, limits, lanes: Vec::new(), rows: 0, row_cost: None }
    }

    pub(crate) fn limits(&self) -> &MethodLimits {
        &self.limits
    }

    /// Rows that wait.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Lets `rows` more rows in, or refuses them. An empty queue takes a call of any size: it could never run otherwise.
    ///
    /// Calls that have ended while they waited give up their place first, and are added to `gone`.
    pub(crate) fn admit(
        &mut self,
        rows: usize,
        executors: usize,
        gone: &mut Vec<Arc<Call<W>>>,
    ) -> Result<(), CallError> {
        let limit = self.limits.max_queue_size.get();
        let full = |queued: usize| queued > 0 && queued.saturating_add(rows) > limit;
        if full(self.rows) {
            self.sweep(|_| false, gone);
        }
        if full(self.rows) {
            return Err(CallError::QueueFull { waiting: self.rows, rows, limit, retry_after: self.backlog(executors) });
        }
        Ok(())
    }

    pub(crate) fn push(&mut self, call: Arc<Call<W>>) {
        let rows = call.rows.get();
        let waiting = Waiting { call, next_row: 0 };
        let alike = |lane: &&mut Lane<W>| {
            lane.waiting.front().is_some_and(|front| W::can_share_batch(&front.call.input, &waiting.call.input))
        };
        match self.lanes.iter_mut().find(alike) {
            Some(lane) => {
                lane.rows += rows;
                lane.waiting.push_back(waiting);
            }
            None => self.lanes.push(Lane { waiting: VecDeque::from([waiting]), rows }),
        }
        self.rows += rows;
    }

    /// No company will come any more: what waits is due at once.
    pub(crate) fn stop_waiting(&mut self) {
        self.limits.max_latency = Duration::ZERO;
    }

    /// What to do now.
    pub(crate) fn verdict(&self, now: Instant, executors_free: usize) -> Verdict {
        self.lanes.iter().fold(Verdict::Hold, |verdict, lane| {
            match (verdict, self.lane_verdict(lane, now, executors_free)) {
                (Verdict::Dispatch, _) | (_, Verdict::Dispatch) => Verdict::Dispatch,
                (Verdict::Wait(one), Verdict::Wait(other)) => Verdict::Wait(one.min(other)),
                (Verdict::Wait(wait), Verdict::Hold) | (Verdict::Hold, Verdict::Wait(wait)) => Verdict::Wait(wait),
                (Verdict::Hold, Verdict::Hold) => Verdict::Hold,
            }
        })
    }

    /// When the oldest call that may be dispatched now arrived.
    pub(crate) fn due_since(&self, now: Instant) -> Option<Instant> {
        self.due_lane(now).map(|(arrived, _)| arrived)
    }

    /// Takes the next batch off the queue, if one is due. Calls that are late or have ended are left out and added to
    /// `gone`.
    pub(crate) fn take(&mut self, now: Instant, gone: &mut Vec<Arc<Call<W>>>) -> Option<Batch<W>> {
        while let Some((_, at)) = self.due_lane(now) {
            let lane = &mut self.lanes[at];
            let before = lane.rows;
            let entries = fill(lane, &self.limits, now, gone);
            self.rows -= before - lane.rows;
            if lane.waiting.is_empty() {
                self.lanes.swap_remove(at);
            }
            if !entries.is_empty() {
                return Some(Batch { method: self.method, entries, crashes: 0 });
            }
        }
        None
    }

    /// Takes out the calls that have ended, and those for which `remove` holds, and adds them to `gone`.
    pub(crate) fn sweep(&mut self, mut remove: impl FnMut(&Arc<Call<W>>) -> bool, gone: &mut Vec<Arc<Call<W>>>) {
        for lane in &mut self.lanes {
            let rows = &mut lane.rows;
            lane.waiting.retain(|waiting| {
                let keep = !remove(&waiting.call) && !waiting.call.has_ended();
                if !keep {
                    *rows -= waiting.rows();
                    gone.push(Arc::clone(&waiting.call));
                }
                keep
            });
        }
        self.lanes.retain(|lane| !lane.waiting.is_empty());
        self.rows = self.lanes.iter().map(|lane| lane.rows).sum();
    }

    /// Learns from a batch that has run.
    pub(crate) fn observe(&mut self, rows: usize, execution: Duration) {
        let cost = execution / u32::try_from(rows.max(1)).unwrap_or(u32::MAX);
        self.row_cost = Some(self.row_cost.map_or(cost, |old| old.mul_f64(0.9) + cost.mul_f64(0.1)));
    }

    /// How long `executors` executors need for what waits, at the measured rate; a second before there is one. Never
    /// zero: it is when to come back.
    pub(crate) fn backlog(&self, executors: usize) -> Duration {
        let Some(row_cost) = self.row_cost else { return Duration::from_secs(1) };
        let rows = u32::try_from(self.rows).unwrap_or(u32::MAX);
        let executors = u32::try_from(executors.max(1)).unwrap_or(u32::MAX);
        (row_cost.saturating_mul(rows) / executors).max(Duration::from_millis(1))
    }

    /// The lane with the oldest call among those whose batch is due.
    fn due_lane(&self, now: Instant) -> Option<(Instant, usize)> {
        self.lanes
            .iter()
            .enumerate()
            .filter(|(_, lane)| self.lane_verdict(lane, now, 1) == Verdict::Dispatch)
            .filter_map(|(at, lane)| lane.waiting.front().map(|front| (front.call.arrived, at)))
            .min()
    }

    fn lane_verdict(&self, lane: &Lane<W>, now: Instant, executors_free: usize) -> Verdict {
        let oldest = lane.waiting.front().map_or(now, |front| front.call.arrived);
        policy::verdict(&self.limits, lane.rows, now.saturating_duration_since(oldest), executors_free)
    }
}

fn fill<W: Worker>(
    lane: &mut Lane<W>,
    limits: &MethodLimits,
    now: Instant,
    gone: &mut Vec<Arc<Call<W>>>,
) -> Vec<Entry<W>> {
    let mut entries = Vec::with_capacity(lane.waiting.len().min(limits.max_batch_size.get()));
    let mut taken = 0;
    while let Some(waiting) = lane.waiting.front_mut() {
        if waiting.call.has_ended() || waiting.call.is_late(now) {
            lane.rows -= waiting.rows();
            gone.push(Arc::clone(&waiting.call));
        } else {
            let joins = policy::joins(limits, taken, waiting.rows());
            if joins == 0 {
                break;
            }
            let rows = waiting.next_row..waiting.next_row + joins;
            taken += joins;
            lane.rows -= joins;
            entries.push(Entry { call: Arc::clone(&waiting.call), rows: rows.clone() });
            if rows.end < waiting.call.rows.get() {
                waiting.next_row = rows.end;
                break;
            }
        }
        lane.waiting.pop_front();
    }
    entries
}
