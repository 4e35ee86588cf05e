//! What waits for one method: bounded in rows, first in, first out, and cut into batches.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::call::Call;
use crate::policy::{self, Verdict};
use crate::recovery::Trial;
use crate::{Batching, CallError, MethodLimits, Worker};

/// How long a full queue is not searched again for calls that have ended.
pub(crate) const SEARCH_PAUSE: Duration = Duration::from_millis(10);

/// Some rows of one call, in a batch.
pub(crate) struct Entry<W: Worker> {
    pub(crate) call: Arc<Call<W>>,
    pub(crate) rows: Range<usize>,
}

impl<W: Worker> Entry<W> {
    /// The same rows, to be run again.
    pub(crate) fn again(&self) -> Self {
        Self { call: Arc::clone(&self.call), rows: self.rows.clone() }
    }
}

/// How many rows these are.
pub(crate) fn rows<W: Worker>(entries: &[Entry<W>]) -> usize {
    entries.iter().map(|entry| entry.rows.len()).sum()
}

/// The rows dispatched together.
pub(crate) struct Batch<W: Worker> {
    pub(crate) method: usize,
    pub(crate) entries: Vec<Entry<W>>,
    /// How many executors it has broken.
    pub(crate) crashes: u32,
    /// The calls that are guilty if this batch succeeds; see [`halve`](crate::recovery::halve).
    pub(crate) rest: Vec<Entry<W>>,
    /// Where it is run again: what for.
    pub(crate) trial: Option<Arc<Trial>>,
}

impl<W: Worker> Batch<W> {
    /// A batch that has not run before.
    pub(crate) fn new(method: usize, entries: Vec<Entry<W>>) -> Self {
        Self { method, entries, crashes: 0, rest: Vec::new(), trial: None }
    }

    pub(crate) fn rows(&self) -> usize {
        rows(&self.entries)
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
    /// When it was last searched, being full, for calls that have ended.
    searched: Option<Instant>,
    /// What one row costs, smoothed; for `Retry-After`.
    row_cost: Option<Duration>,
}

impl<W: Worker> Queue<W> {
    pub(crate) fn new(method: usize, limits: MethodLimits) -> Self {
        Self { method, limits, lanes: Vec::new(), rows: 0, searched: None, row_cost: None }
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
    /// Calls that have ended while they waited give up their place first, and are added to `gone`. They are searched for
    /// every [`SEARCH_PAUSE`] at most: under overload, refusing must cost next to nothing.
    pub(crate) fn admit(
        &mut self,
        rows: usize,
        executors: usize,
        now: Instant,
        gone: &mut Vec<Arc<Call<W>>>,
    ) -> Result<(), CallError> {
        let limit = self.limits.max_queue_size.get();
        let full = |queued: usize| queued > 0 && queued.saturating_add(rows) > limit;
        if full(self.rows) && self.searched.is_none_or(|at| now.saturating_duration_since(at) >= SEARCH_PAUSE) {
            self.searched = Some(now);
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
        // Calls that are run one by one need not be alike to wait in one line.
        let alone = self.limits.batching == Batching::Off;
        let alike = |lane: &&mut Lane<W>| {
            alone
                || lane.waiting.front().is_some_and(|front| W::can_share_batch(&front.call.input, &waiting.call.input))
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
            // Where the oldest has gone, another lane's may be older, or none be due.
            let entries = if lane.discard(now, gone) { Vec::new() } else { lane.fill(&self.limits, now, gone) };
            self.rows -= before - lane.rows;
            if lane.waiting.is_empty() {
                self.lanes.swap_remove(at);
            }
            if !entries.is_empty() {
                return Some(Batch::new(self.method, entries));
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

impl<W: Worker> Lane<W> {
    /// Takes out what is late or has ended at the front, and adds it to `gone`; `false` if there was nothing of that.
    fn discard(&mut self, now: Instant, gone: &mut Vec<Arc<Call<W>>>) -> bool {
        let before = gone.len();
        while let Some(waiting) = self.waiting.pop_front_if(|front| front.call.has_ended() || front.call.is_late(now)) {
            self.rows -= waiting.rows();
            gone.push(waiting.call);
        }
        gone.len() > before
    }

    /// Takes the rows of the next batch.
    fn fill(&mut self, limits: &MethodLimits, now: Instant, gone: &mut Vec<Arc<Call<W>>>) -> Vec<Entry<W>> {
        let mut entries = Vec::with_capacity(self.waiting.len().min(limits.max_batch_size.get()));
        let mut taken = 0;
        while let Some(waiting) = self.waiting.front_mut() {
            let joins = policy::joins(limits, taken, waiting.rows());
            if joins == 0 {
                break;
            }
            let rows = waiting.next_row..waiting.next_row + joins;
            taken += joins;
            self.rows -= joins;
            waiting.next_row = rows.end;
            entries.push(Entry { call: Arc::clone(&waiting.call), rows });
            if waiting.rows() > 0 {
                break;
            }
            self.waiting.pop_front();
            self.discard(now, gone);
        }
        entries
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use proptest::prelude::*;

    use super::*;
    use crate::simulation::toy::{Input, Nature, Toy};
    use crate::{Batching, CallOptions, Reply};

    /// What happens to a queue.
    #[derive(Clone, Debug)]
    enum Step {
        Push {
            rows: usize,
            shape: u8,
        },
        /// The caller of one that waits goes.
        Abandon(prop::sample::Index),
        Take,
        Sweep,
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (1usize..30, 0u8..3).prop_map(|(rows, shape)| Step::Push { rows, shape }),
            1 => any::<prop::sample::Index>().prop_map(Step::Abandon),
            3 => Just(Step::Take),
            1 => Just(Step::Sweep),
        ]
    }

    /// The plainest queue that could be: calls in order, each with its rows that have not been taken.
    struct Model {
        id: usize,
        shape: u8,
        rows: Range<usize>,
        reply: Option<Reply<Toy>>,
    }

    fn limits(batching: Batching, max: usize, queue: usize) -> MethodLimits {
        let size = |size| NonZeroUsize::new(size).expect("not zero");
        let max_latency = Duration::ZERO;
        MethodLimits {
            batching,
            max_batch_size: size(max),
            max_queue_size: size(queue),
            max_latency,
            ..MethodLimits::default()
        }
    }

    fn call(id: usize, rows: usize, shape: u8, now: Instant) -> Arc<Call<Toy>> {
        let input = Input { id, shape, rows, nature: Nature::Good };
        Arc::new(Call::new(input, NonZeroUsize::new(rows).expect("not zero"), now, CallOptions::default()))
    }

    proptest! {
        #[test]
        fn it_does_what_the_plainest_queue_does(
            batching in prop_oneof![Just(Batching::Adaptive), Just(Batching::Window), Just(Batching::Off)],
            max in 1usize..20, size in 1usize..60, steps in prop::collection::vec(any_step(), 1..80),
        ) {
            let limits = limits(batching, max, size);
            let mut queue = Queue::<Toy>::new(0, limits.clone());
            let mut model: Vec<Model> = Vec::new();
            let (mut now, mut gone) = (Instant::now(), Vec::new());
            let (mut arrived, mut abandoned) = (0, 0);
            let mut running = Vec::new();
            for step in steps {
                now += SEARCH_PAUSE;
                let live = |model: &[Model]| -> usize {
                    model.iter().filter(|call| call.reply.is_some()).map(|call| call.rows.len()).sum()
                };
                match step {
                    Step::Push { rows, shape } => {
                        let fits = live(&model) == 0 || live(&model) + rows <= size;
                        let admitted = queue.admit(rows, 1, now, &mut gone);
                        prop_assert_eq!(admitted.is_ok(), fits, "{:?}, {} rows wait", admitted, live(&model));
                        if fits {
                            let call = call(arrived, rows, shape, now);
                            model.push(Model { id: arrived, shape, rows: 0..rows, reply: Some(Reply::new(Arc::clone(&call))) });
                            queue.push(call);
                            arrived += 1;
                        }
                    }
                    Step::Abandon(index) if !model.is_empty() => {
                        let at = index.index(model.len());
                        abandoned += usize::from(model[at].reply.take().is_some());
                    }
                    Step::Abandon(_) => {}
                    Step::Sweep => {
                        queue.sweep(|_| false, &mut gone);
                        prop_assert_eq!(queue.rows(), live(&model));
                    }
                    Step::Take => {
                        let mut expected = Vec::new();
                        let mut taken = 0;
                        model.retain(|call| call.reply.is_some());
                        let shape = model.first().map(|call| call.shape);
                        for call in model.iter_mut().filter(|call| Some(call.shape) == shape) {
                            let joins = policy::joins(&limits, taken, call.rows.len());
                            if joins > 0 {
                                expected.push((call.id, call.rows.start..call.rows.start + joins));
                                call.rows.start += joins;
                                taken += joins;
                            }
                            if !call.rows.is_empty() {
                                break;
                            }
                        }
                        let batch = queue.take(now, &mut gone);
                        running.extend(model.extract_if(.., |call| call.rows.is_empty()));
                        let entry = |entry: &Entry<Toy>| (entry.call.input.id, entry.rows.clone());
                        let found: Vec<_> = batch.iter().flat_map(|batch| &batch.entries).map(entry).collect();
                        prop_assert_eq!(found, expected);
                        prop_assert!(batch.is_none_or(|batch| batch.rows() <= max));
                    }
                }
                prop_assert!(queue.rows() >= live(&model), "rows were lost");
            }
            queue.sweep(|_| true, &mut gone);
            prop_assert_eq!(queue.rows(), 0);
            prop_assert!(queue.lanes.is_empty());
            let mut ids: Vec<_> = gone.iter().map(|call| call.input.id).collect();
            ids.sort_unstable();
            ids.dedup();
            prop_assert_eq!(ids.len(), gone.len(), "a call was taken out twice");
            prop_assert!(gone.iter().filter(|call| call.has_ended()).count() <= abandoned);
        }
    }

    #[test]
    fn the_backlog_is_the_measured_cost_of_what_waits() {
        let mut queue = Queue::<Toy>::new(0, limits(Batching::Adaptive, 8, 100));
        let now = Instant::now();
        queue.push(call(0, 40, 0, now));
        assert_eq!(queue.backlog(1), Duration::from_secs(1), "nothing is known yet");
        queue.observe(8, Duration::from_millis(16));
        assert_eq!(queue.backlog(1), Duration::from_millis(80));
        assert_eq!(queue.backlog(2), Duration::from_millis(40));
        queue.observe(8, Duration::from_millis(96));
        assert_eq!(queue.backlog(1), Duration::from_millis(120), "a tenth of each new cost, smoothed");
        queue.sweep(|_| true, &mut Vec::new());
        assert_eq!(queue.backlog(1), Duration::from_millis(1), "never zero");
    }
}
