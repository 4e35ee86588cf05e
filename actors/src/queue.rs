//! What waits for one method: bounded in rows, in lanes of calls that could run together, and cut into batches.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::announced::Announced;
use crate::batch::{Batch, Entry, Run};
use crate::call::Call;
use crate::cap::Caps;
use crate::company::Company;
use crate::cost::{Cost, Costs, Curve};
use crate::due::{Known, Room, lane_verdict};
use crate::forecast::{self, Ahead};
use crate::lane::{Gone, Lane, Place, place_of};
use crate::policy::{self, Verdict};
use crate::triage::{self, Plan, Scene};
use crate::{Batching, CallError, MethodLimits, Worker};

/// How long a full queue is not searched again for calls that have ended.
pub(crate) const SEARCH_PAUSE: Duration = Duration::from_millis(10);

/// The queue of one method.
pub(crate) struct Queue<W: Worker> {
    method: usize,
    limits: MethodLimits,
    /// The latency limit while company may come.
    max_latency: Duration,
    /// Never an empty one; a handful at most, but where callers send many different shapes.
    lanes: Vec<Lane<W>>,
    /// The last lane that became empty, for the next one of its shape: mostly it is the only one.
    spare: Option<Lane<W>>,
    rows: usize,
    /// When it was last searched, being full, for calls that have ended.
    searched: Option<Instant>,
    costs: Costs,
    /// What the devices' memory allows.
    caps: Caps,
    /// When a call last came, taken or not, and the seconds per row that come, smoothed.
    came: Option<Instant>,
    gap: f64,
    /// How calls follow one another.
    company: Company,
    announced: Arc<Announced>,
}

impl<W: Worker> Queue<W> {
    pub(crate) fn new(method: usize, limits: MethodLimits) -> Self {
        let max_latency = limits.max_latency;
        Self {
            method,
            limits,
            max_latency,
            lanes: Vec::new(),
            spare: None,
            rows: 0,
            searched: None,
            costs: Costs::default(),
            caps: Caps::default(),
            came: None,
            gap: 0.0,
            company: Company::default(),
            announced: Arc::new(Announced::new()),
        }
    }

    pub(crate) fn limits(&self) -> &MethodLimits {
        &self.limits
    }

    /// Rows that wait.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn caps(&mut self) -> &mut Caps {
        &mut self.caps
    }

    /// What its batches cost.
    pub(crate) fn costs(&self) -> &Costs {
        &self.costs
    }

    /// The calls that are about to come.
    pub(crate) fn announced(&self) -> &Arc<Announced> {
        &self.announced
    }

    /// Lets `rows` more rows in, or refuses them. An empty queue takes a call of any size: it could never run otherwise.
    ///
    /// Calls that have ended while they waited give up their place first, and are added to `gone`.
    pub(crate) fn admit(
        &mut self,
        rows: usize,
        executors: usize,
        now: Instant,
        gone: &mut Gone<W>,
    ) -> Result<(), CallError> {
        self.note_arrival(rows, now);
        let limit = self.limits.max_queue_size.get();
        let full = |queued: usize| queued > 0 && queued.saturating_add(rows) > limit;
        if full(self.rows) {
            self.search(now, gone);
        }
        if full(self.rows) {
            return Err(CallError::QueueFull { waiting: self.rows, rows, limit, retry_after: self.backlog(executors) });
        }
        Ok(())
    }

    fn note_arrival(&mut self, rows: usize, now: Instant) {
        /// So many arrivals are averaged over.
        const SMOOTHING: f64 = 32.0;
        self.company.came(rows, now);
        if let Some(came) = self.came.replace(now) {
            let gap = now.saturating_duration_since(came).as_secs_f64() / rows as f64;
            self.gap += (gap - self.gap) / SMOOTHING;
        }
    }

    /// Takes out calls that have ended, if it has not been done within [`SEARCH_PAUSE`]: under overload, refusing must
    /// cost next to nothing. Says whether it was done.
    pub(crate) fn search(&mut self, now: Instant, gone: &mut Gone<W>) -> bool {
        let is_due = self.searched.is_none_or(|at| now.saturating_duration_since(at) >= SEARCH_PAUSE);
        if is_due {
            self.searched = Some(now);
            self.sweep(|_| false, gone);
        }
        is_due
    }

    pub(crate) fn push(&mut self, call: Arc<Call<W>>) {
        self.rows += call.rows.get();
        match self.lane_of(&call) {
            Some(at) => self.lanes[at].push(call),
            None => {
                let spare = self.spare.take().filter(|spare| spare.shape == call.shape);
                let mut lane = spare.unwrap_or_else(|| Lane::new(call.shape));
                lane.push(call);
                self.lanes.push(lane);
            }
        }
    }

    /// The lane of the calls that could run with this one.
    fn lane_of(&self, call: &Call<W>) -> Option<usize> {
        // Calls that are run one by one need not be alike to wait in one line.
        let alone = self.limits.batching == Batching::Off;
        let alike = |lane: &Lane<W>| {
            lane.shape == call.shape
                && lane.front().is_some_and(|front| W::can_share_batch(&front.call.input, &call.input))
        };
        self.lanes.iter().position(|lane| alone || alike(lane))
    }

    /// What goes before `call`, if it comes now.
    pub(crate) fn ahead(&self, call: &Call<W>, curve: &Curve) -> Ahead {
        let place = place_of(call);
        let own = self.lane_of(call);
        let others = self.lanes.iter().enumerate().filter(|(at, _)| Some(*at) != own);
        let other = others.map(|(_, lane)| self.work(lane, lane.ahead(place))).sum();
        let (calls, rows) = own.map_or((0, 0), |own| self.lanes[own].ahead(place));
        let (n, max) = (call.rows.get(), self.limits.max_batch_size.get());
        if self.limits.batching == Batching::Off {
            let batches = calls + (n - 1) / max;
            return Ahead { batches, rows: n.min(max), max_rows: max, rate: 0.0, other };
        }
        let timeout = call.timeout.map_or(f64::INFINITY, |timeout| timeout.as_secs_f64());
        let max = forecast::batch_rows(curve, timeout, max);
        let (batches, own_rows) = if n <= max && rows % max + n > max {
            (rows / max + 1, n)
        } else {
            ((rows + n - 1) / max, (rows + n - 1) % max + 1)
        };
        let gap = self.gap / self.lanes.len().max(1) as f64;
        Ahead { batches, rows: own_rows, max_rows: max, rate: if gap > 0.0 { 1.0 / gap } else { 0.0 }, other }
    }

    /// The work of other methods' calls, in seconds of one executor: what goes before a call with this place.
    pub(crate) fn work_before(&self, place: Place) -> f64 {
        self.lanes.iter().map(|lane| self.work(lane, lane.ahead(place))).sum()
    }

    /// What so many calls and rows of a lane cost, in seconds of one executor; nothing where that is not known.
    fn work(&self, lane: &Lane<W>, (calls, rows): (usize, usize)) -> f64 {
        let Some(curve) = self.costs.of(lane.shape) else { return 0.0 };
        let max = self.limits.max_batch_size.get();
        if self.limits.batching == Batching::Off {
            let each = (rows / calls.max(1)).max(1);
            return calls as f64 * each.div_ceil(max) as f64 * curve.estimate(each.min(max)).mean;
        }
        let rest = if rows.is_multiple_of(max) { 0.0 } else { curve.estimate(rows % max).mean };
        (rows / max) as f64 * curve.estimate(max).mean + rest
    }

    /// No company will come any more: what waits is due at once.
    pub(crate) fn stop_waiting(&mut self) {
        self.limits.max_latency = Duration::ZERO;
    }

    /// Company may come again.
    pub(crate) fn wait_again(&mut self) {
        self.limits.max_latency = self.max_latency;
    }

    /// What to do now.
    pub(crate) fn verdict(&mut self, now: Instant, room: &Room) -> Verdict {
        let (lanes, mut known) = self.split();
        lanes.iter_mut().map(|lane| lane_verdict(&mut known, lane, now, room)).fold(Verdict::Hold, Verdict::or)
    }

    fn split(&mut self) -> (&mut [Lane<W>], Known<'_>) {
        let known = Known {
            limits: &self.limits,
            costs: &self.costs,
            caps: &self.caps,
            company: &mut self.company,
            announced: &self.announced,
        };
        (&mut self.lanes, known)
    }

    /// The place of the call that goes first among those whose batch is due.
    pub(crate) fn due(&mut self, now: Instant, room: &Room) -> Option<Place> {
        let rows = if self.limits.batching == Batching::Off { 1 } else { self.limits.max_batch_size.get() };
        self.lanes.iter_mut().for_each(|lane| lane.age(rows, now));
        self.due_lane(now, room).map(|(place, _)| place)
    }

    /// Takes the next batch off the queue, if one is due. Calls that have ended, are late or would be are left out and
    /// added to `gone`.
    pub(crate) fn take(&mut self, now: Instant, room: &Room, scene: &Scene, gone: &mut Gone<W>) -> Option<Batch<W>> {
        while let Some((_, at)) = self.due_lane(now, room) {
            let lane = &mut self.lanes[at];
            let before = lane.rows;
            // Where the first has gone, another lane's may go first, or none be due.
            let entries = if lane.discard(now, gone) { Vec::new() } else { self.fill(at, now, scene, gone) };
            let lane = &mut self.lanes[at];
            self.rows -= before - lane.rows;
            if lane.is_empty() {
                self.spare = Some(self.lanes.swap_remove(at));
            }
            if !entries.is_empty() {
                return Some(Batch::new(self.method, entries));
            }
        }
        None
    }

    /// Takes the rows of the next batch out of a lane.
    fn fill(&mut self, at: usize, now: Instant, scene: &Scene, gone: &mut Gone<W>) -> Vec<Entry<W>> {
        let lane = &mut self.lanes[at];
        let capped = self
            .caps
            .of(lane.shape)
            .and_then(NonZeroUsize::new)
            .map(|cap| MethodLimits { max_batch_size: cap.min(self.limits.max_batch_size), ..self.limits.clone() });
        let limits = capped.as_ref().unwrap_or(&self.limits);
        let max = limits.max_batch_size.get();
        let whole = Plan { rows: max, least: f64::NEG_INFINITY };
        let curve = self.costs.of(lane.shape).filter(|curve| !curve.is_stale(now));
        let plan = curve.map_or(whole, |curve| {
            let slack = lane.least_slack(max, now);
            if slack >= curve.estimate(max.min(lane.rows)).high {
                whole
            } else if limits.batching == Batching::Adaptive {
                triage::plan(&lane.pending(2 * max, now), curve, scene)
            } else {
                Plan { rows: max, least: curve.estimate(1).low }
            }
        });
        let mut entries = Vec::with_capacity(lane.rows.min(plan.rows));
        let mut taken = 0;
        let mut joins = |waiting: &crate::lane::Waiting<W>| {
            if waiting.call.slack(now) < plan.least {
                let cost = curve.map_or(0.0, |curve| curve.estimate(plan.rows.max(1)).high.max(plan.least));
                return Err(waiting.call.too_late(now, Duration::try_from_secs_f64(cost).unwrap_or_default()));
            }
            let joins = policy::joins(limits, plan.rows, taken, waiting.rows());
            taken += joins;
            Ok(joins)
        };
        lane.take(now, gone, &mut joins, |call, rows| entries.push(Entry { call, rows }));
        if !entries.is_empty() {
            lane.offered = None;
        }
        entries
    }

    /// The run of a batch that starts now.
    pub(crate) fn run(&self, batch: &Batch<W>) -> Run {
        let cost = self.costs.of(batch.shape()).map(|curve| curve.estimate(batch.rows()).mean);
        let deadline = batch.entries.iter().chain(&batch.rest).filter_map(|entry| entry.call.deadline()).min();
        Run { cost, deadline }
    }

    /// Takes out the calls whose deadline has passed, and says when to look again.
    pub(crate) fn expire(&mut self, now: Instant, gone: &mut Gone<W>) -> Option<Instant> {
        let next = self.lanes.iter_mut().filter_map(|lane| lane.expire(now, gone)).min();
        self.forget_empty_lanes();
        next
    }

    /// Takes out the calls that have ended, and those for which `remove` holds, and adds them to `gone`.
    pub(crate) fn sweep(&mut self, mut remove: impl FnMut(&Arc<Call<W>>) -> bool, gone: &mut Gone<W>) {
        self.lanes.iter_mut().for_each(|lane| lane.sweep(&mut remove, gone));
        self.forget_empty_lanes();
    }

    fn forget_empty_lanes(&mut self) {
        self.lanes.retain(|lane| !lane.is_empty());
        self.rows = self.lanes.iter().map(|lane| lane.rows).sum();
    }

    /// Learns from a batch of `shape` that has run.
    pub(crate) fn observe(&mut self, shape: u64, rows: usize, cost: Duration, now: Instant) {
        self.costs.observe(shape, rows, cost, now);
    }

    /// What batches cost, as far as that has been measured.
    pub(crate) fn cost_report(&self) -> Vec<Cost> {
        self.costs.report()
    }

    /// How long `executors` executors need for what waits, at the measured rate; a second before there is one. Never
    /// zero: it is when to come back.
    pub(crate) fn backlog(&self, executors: usize) -> Duration {
        let work: f64 = self.lanes.iter().map(|lane| self.work(lane, (lane.calls(), lane.rows))).sum();
        if work == 0.0 && self.rows > 0 {
            return Duration::from_secs(1);
        }
        let each = Duration::try_from_secs_f64(work / executors.max(1) as f64).unwrap_or(Duration::MAX);
        each.max(Duration::from_millis(1))
    }

    /// Whether the first batch that is due is as large as a batch of its shape may be.
    pub(crate) fn is_full(&mut self, now: Instant, room: &Room) -> bool {
        let most = if self.limits.batching == Batching::Off { 1 } else { self.limits.max_batch_size.get() };
        let Some((_, at)) = self.due_lane(now, room) else { return false };
        let lane = &self.lanes[at];
        lane.rows >= self.caps.of(lane.shape).map_or(most, |cap| cap.min(most))
    }

    /// The lane whose first call goes first, among those whose batch is due.
    fn due_lane(&mut self, now: Instant, room: &Room) -> Option<(Place, usize)> {
        let (lanes, mut known) = self.split();
        let due = |(at, lane): (usize, &mut Lane<W>)| {
            let is_due = lane_verdict(&mut known, lane, now, room) == Verdict::Dispatch;
            Some((lane.place().filter(|_| is_due)?, at))
        };
        lanes.iter_mut().enumerate().filter_map(due).min()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::ops::Range;

    use proptest::prelude::*;

    use super::*;
    use crate::cost::learned;
    use crate::simulation::toy::{Input, Nature, Toy};
    use crate::{Batching, CallOptions, Priority, Reply};

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

    const ROOM: Room = Room { free: 1, others_free: 0, next_free: f64::INFINITY, last_free: 0.0 };

    fn scene(max_rows: usize) -> Scene {
        Scene { max_rows, others_free: 0, pressure: 0.0 }
    }

    #[test]
    fn company_is_waited_for_again_after_a_runner_has_drained() {
        let limits = MethodLimits { max_latency: Duration::from_secs(1), ..limits(Batching::Window, 9, 9) };
        let mut queue = Queue::<Toy>::new(0, limits);
        let now = Instant::now();
        queue.push(call(0, 1, 0, now));
        assert_eq!(queue.verdict(now, &ROOM), Verdict::Wait(Duration::from_secs(1)));
        queue.stop_waiting();
        assert_eq!(queue.verdict(now, &ROOM), Verdict::Dispatch);
        queue.wait_again();
        assert_eq!(queue.verdict(now, &ROOM), Verdict::Wait(Duration::from_secs(1)));
    }

    #[test]
    fn a_window_closes_in_time_for_the_first_deadline_in_it() {
        let ms = Duration::from_millis;
        let now = Instant::now();
        // Runs of one row take 4.25 ms; an alarm may be 1.5 ms late.
        let check = |costs: Costs, timeouts: &[Option<u64>], waited: u64, expected: Option<f64>| {
            let limits = MethodLimits { max_latency: ms(100), ..limits(Batching::Window, 9, 9) };
            let mut queue = Queue::<Toy>::new(0, limits);
            queue.costs = costs;
            for (id, timeout) in timeouts.iter().enumerate() {
                queue.push(urgent(id, 0, Priority::Normal, timeout.map(ms), now));
            }
            let found = match queue.verdict(now + ms(waited), &ROOM) {
                Verdict::Wait(left) => Some(left.as_secs_f64() * 1e3),
                Verdict::Dispatch => None,
                Verdict::Hold => Some(f64::INFINITY),
            };
            let close =
                found.zip(expected).map_or(found == expected, |(found, expected)| (found - expected).abs() < 0.1);
            assert!(close, "{timeouts:?} after {waited} ms: {found:?}, not {expected:?}");
        };
        let known = || learned(4.0, 0.25, &[1.0]);
        check(known(), &[None], 0, Some(100.0));
        check(known(), &[Some(60_000)], 30, Some(70.0));
        check(known(), &[Some(100)], 0, Some(94.25));
        check(known(), &[Some(100)], 90, Some(4.25));
        check(known(), &[Some(100)], 95, None);
        check(known(), &[None, Some(50)], 0, Some(44.0));
        check(known(), &[Some(3)], 0, None);
        check(Costs::default(), &[Some(50)], 0, Some(48.5));
    }

    /// A call of one row, with this priority and half a second or for ever.
    fn urgent(id: usize, shape: u8, priority: Priority, timeout: Option<Duration>, now: Instant) -> Arc<Call<Toy>> {
        let input = Input { id, shape, rows: 1, nature: Nature::Good };
        Arc::new(Call::new(input, NonZeroUsize::MIN, now, CallOptions { timeout, priority }))
    }

    /// After how many batches `wanted` is in one, while `flood` more calls come before each.
    fn batches_until(queue: &mut Queue<Toy>, wanted: usize, flood: usize, mut now: Instant) -> usize {
        let mut gone = Vec::new();
        for nth in 1..1_000 {
            now += Duration::from_millis(20);
            for id in 0..flood {
                queue.push(urgent(1_000 + id, 1, Priority::Normal, Some(Duration::from_millis(500)), now));
            }
            assert!(queue.due(now, &ROOM).is_some());
            let batch = queue.take(now, &ROOM, &scene(4), &mut gone).expect("a batch");
            if batch.entries.iter().any(|entry| entry.call.input.id == wanted) {
                return nth;
            }
        }
        usize::MAX
    }

    #[test]
    fn nobody_waits_for_ever_behind_calls_of_another_shape() {
        for batching in [Batching::Adaptive, Batching::Off] {
            for priority in [Priority::Normal, Priority::Low] {
                let mut queue = Queue::<Toy>::new(0, limits(batching, 4, 100_000));
                let now = Instant::now();
                queue.push(urgent(7, 0, priority, None, now));
                let batches = batches_until(&mut queue, 7, 8, now);
                assert!(batches <= 70, "{batching:?} {priority:?}: after {batches} batches of 20 ms");
            }
        }
    }

    #[test]
    fn an_urgent_call_does_not_wait_for_all_that_have_waited_for_long() {
        for (batching, max) in [(Batching::Adaptive, 1), (Batching::Adaptive, 4), (Batching::Off, 4)] {
            let mut queue = Queue::<Toy>::new(0, limits(batching, max, 100_000));
            let now = Instant::now();
            (100..700).for_each(|id| queue.push(urgent(id, 0, Priority::Normal, None, now)));
            let later = now + Duration::from_secs(2);
            queue.push(urgent(7, 0, Priority::High, None, later));
            let batches = batches_until(&mut queue, 7, 0, later);
            assert!(batches <= 3, "{batching:?} {max}: after {batches} batches");
        }
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
                            let joins = policy::joins(&limits, max, taken, call.rows.len());
                            if joins > 0 {
                                expected.push((call.id, call.rows.start..call.rows.start + joins));
                                call.rows.start += joins;
                                taken += joins;
                            }
                            if !call.rows.is_empty() {
                                break;
                            }
                        }
                        let batch = queue.take(now, &ROOM, &scene(max), &mut gone);
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
            let mut ids: Vec<_> = gone.iter().map(|(call, _)| call.input.id).collect();
            ids.sort_unstable();
            ids.dedup();
            prop_assert_eq!(ids.len(), gone.len(), "a call was taken out twice");
            prop_assert!(gone.iter().filter(|(call, _)| call.has_ended()).count() <= abandoned);
        }
    }

    #[test]
    fn the_backlog_is_the_measured_cost_of_what_waits() {
        let mut queue = Queue::<Toy>::new(0, limits(Batching::Adaptive, 8, 100));
        let now = Instant::now();
        queue.push(call(0, 40, 0, now));
        assert_eq!(queue.backlog(1), Duration::from_secs(1), "nothing is known yet");
        for _ in 0..Curve::ENOUGH {
            queue.observe(0, 8, Duration::from_millis(16), now);
        }
        let close = |found: Duration, ms: u64| found.abs_diff(Duration::from_millis(ms)) < Duration::from_micros(10);
        assert!(close(queue.backlog(1), 80), "five batches: {:?}", queue.backlog(1));
        assert!(close(queue.backlog(2), 40), "shared by two: {:?}", queue.backlog(2));
        queue.sweep(|_| true, &mut Vec::new());
        assert_eq!(queue.backlog(1), Duration::from_millis(1), "never zero");
    }
}
