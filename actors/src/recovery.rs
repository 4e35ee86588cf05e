//! What becomes of a batch that did not succeed, and how the calls that it is due to are found.
//!
//! A crash may be the executor's fault, so its batch is run once more. A batch that breaks the next executor too, or
//! whose method returned an error, is halved, again and again, and its first half is run. If that succeeds, the failure
//! lies in the rest, which is halved in turn without having been run; if it fails, it is halved in turn, and the rest, of
//! which nothing is known now, is run as it is. So a halving costs one run where a guilty call is in the second half, and
//! two where it is in the first: at most `2·log2(n)` for one guilty call of `n`. A call is found guilty of a crash when
//! it has broken two executors alone: what it broke in company, or one executor, may have been an accident.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::batch::Entry;
use crate::{CallError, MethodError, RunError, Worker};

/// How a batch ended, where it did not succeed.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// Its executor was lost while it ran, for this cause.
    Crash(Arc<str>),
    /// The method returned an error for the batch as a whole.
    Error(MethodError),
    /// The device has too little memory for it. What may run only once has not run.
    OutOfMemory(Arc<str>),
    /// The same, beside another batch.
    Crowded(Arc<str>),
}

impl Failure {
    /// The same of a batch that had company on its device.
    pub(crate) fn in_company(self) -> Self {
        match self {
            Self::OutOfMemory(message) => Self::Crowded(message),
            other => other,
        }
    }

    /// What its calls are answered with.
    pub(crate) fn into_error(self) -> CallError {
        match self {
            Self::Crash(cause) => CallError::Crashed(cause),
            Self::Error(error) => CallError::Method(error),
            Self::OutOfMemory(message) | Self::Crowded(message) => RunError::OutOfMemory(message).into(),
        }
    }
}

/// What to do with the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recovery {
    /// Run the same batch again.
    Again,
    /// Run the same batch again, by itself: there was too little memory for it beside another one.
    Alone,
    /// Run the same calls in smaller batches.
    Shrink,
    /// Run its first half, to find the calls that the failure is due to.
    Halve,
    /// Answer its calls with the failure.
    Answer,
}

/// Decides for a batch of `calls` calls with `rows` rows, the only one of which has broken `crashes` executors, where
/// there is only one; `suspect` if it is part of a trial.
///
/// An error is a clean answer of the method's: it is looked into at once, and a call that got it alone has its answer.
pub(crate) fn recovery(
    failure: &Failure,
    calls: usize,
    rows: usize,
    crashes: u32,
    suspect: bool,
    retry: bool,
) -> Recovery {
    match failure {
        Failure::Error(error) if calls > 1 && (retry || !error.ran) => Recovery::Halve,
        Failure::Crash(_) if retry && calls > 1 && suspect => Recovery::Halve,
        Failure::Crash(_) if retry && (calls > 1 || crashes < 2) => Recovery::Again,
        Failure::Crowded(_) => Recovery::Alone,
        Failure::OutOfMemory(_) if rows > 1 => Recovery::Shrink,
        Failure::Error(_) | Failure::Crash(_) | Failure::OutOfMemory(_) => Recovery::Answer,
    }
}

/// Which of these calls to run next, and which are guilty if those succeed.
pub(crate) fn halve<T>(mut suspects: Vec<T>) -> (Vec<T>, Vec<T>) {
    let first = if suspects.len() == 1 { 1 } else { suspects.len() / 2 };
    let rest = suspects.split_off(first);
    (suspects, rest)
}

/// The same rows in batches of at most `most`. A call is cut only if it could never run in one.
pub(crate) fn cut<W: Worker>(entries: Vec<Entry<W>>, most: usize) -> Vec<Vec<Entry<W>>> {
    let mut batches = Vec::new();
    let (mut batch, mut taken) = (Vec::new(), 0);
    for Entry { call, mut rows } in entries {
        while !rows.is_empty() {
            let room = most.max(1) - taken;
            let joins = if rows.len() <= room || rows.len() > most { rows.len().min(room) } else { 0 };
            let next = rows.start + joins;
            if joins > 0 {
                batch.push(Entry { call: Arc::clone(&call), rows: rows.start..next });
            }
            taken += joins;
            rows.start = next;
            if !rows.is_empty() {
                batches.push(std::mem::take(&mut batch));
                taken = 0;
            }
        }
    }
    batches.push(batch);
    batches
}

/// The most runs that it takes to find one guilty call of `calls`, the first one not counted: `2·log2(calls) + 2`.
pub(crate) fn most_runs(calls: usize) -> u32 {
    // The logarithm of the square, so that halves are not lost.
    calls.saturating_mul(calls).checked_ilog2().unwrap_or(0) + 2
}

/// One search for the calls that a failure is due to, shared by all batches that come of one.
#[derive(Debug)]
pub(crate) struct Trial {
    /// How many calls that batch had.
    pub(crate) calls: usize,
    /// How many executors have been broken since one of these calls was answered.
    in_a_row: AtomicU32,
    /// Whether any of these calls has been answered.
    acquitted: AtomicBool,
    /// Whether a call has been found guilty of a crash.
    convicted: Arc<AtomicBool>,
}

impl Trial {
    pub(crate) fn new(calls: usize) -> Self {
        Self { calls, in_a_row: AtomicU32::new(0), acquitted: false.into(), convicted: Arc::default() }
    }

    /// Another search, among `calls` other calls, for what the same crash is due to.
    pub(crate) fn beside(&self, calls: usize) -> Self {
        Self { convicted: Arc::clone(&self.convicted), ..Self::new(calls) }
    }

    /// An executor broke once more; whether the trial may afford that by itself. One that breaks more executors in a row
    /// than it takes to find a call says that the runner is broken, and not its calls.
    pub(crate) fn affords_a_crash(&self) -> bool {
        self.in_a_row.fetch_add(1, Ordering::Relaxed) < most_runs(self.calls)
    }

    /// Some of its calls have been answered.
    pub(crate) fn acquit(&self) {
        self.in_a_row.store(0, Ordering::Relaxed);
        self.acquitted.store(true, Ordering::Relaxed);
    }

    /// Whether the method has worked for others of its calls.
    pub(crate) fn has_acquitted(&self) -> bool {
        self.acquitted.load(Ordering::Relaxed)
    }

    /// A call has been found guilty; whether it is the first one.
    pub(crate) fn convict(&self) -> bool {
        !self.convicted.swap(true, Ordering::Relaxed)
    }
}

/// What an executor's end costs its runner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Toll {
    /// Whether it was the end of a trial's executor, which the trial can afford: it is rebuilt at once, at no charge.
    pub(crate) is_free: bool,
    /// How many ends that were charged before have turned out to be a call's fault.
    pub(crate) forgiven: usize,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::num::NonZeroUsize;
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;
    use crate::board::{Board, Effects, Next, Phase};
    use crate::call::{Call, Wakers};
    use crate::simulation::toy::{Input, Nature, Toy, expected};
    use crate::{CallOptions, MethodLimits, Reply};

    #[test]
    fn crashes_are_retried_once_and_then_halved_and_errors_are_halved_at_once() {
        let error = Failure::Error(MethodError::failed("no"));
        let crash = Failure::Crash("no".into());
        let check = |failure: &Failure, calls, (crashes, suspect), retry, expected| {
            let found = recovery(failure, calls, 9, crashes, suspect, retry);
            assert_eq!(found, expected, "{failure:?} {calls} {crashes} {suspect} {retry}");
        };
        check(&crash, 8, (0, false), true, Recovery::Again);
        check(&crash, 8, (0, true), true, Recovery::Halve);
        check(&crash, 1, (1, false), true, Recovery::Again);
        check(&crash, 1, (1, true), true, Recovery::Again);
        check(&crash, 1, (2, true), true, Recovery::Answer);
        check(&crash, 8, (0, false), false, Recovery::Answer);
        check(&crash, 1, (1, false), false, Recovery::Answer);
        check(&error, 8, (0, false), true, Recovery::Halve);
        check(&error, 1, (0, false), true, Recovery::Answer);
        check(&error, 8, (0, false), false, Recovery::Answer);
        let before = Failure::Error(MethodError::invalid_input("no").before_run());
        check(&before, 8, (0, false), false, Recovery::Halve);
        check(&before, 1, (0, false), false, Recovery::Answer);
        let out_of_memory = Failure::OutOfMemory("9 rows".into());
        check(&out_of_memory, 1, (0, false), false, Recovery::Shrink);
        assert_eq!(recovery(&out_of_memory, 1, 1, 0, false, true), Recovery::Answer, "one row is what it takes");
    }

    #[test]
    fn the_bound_is_twice_the_logarithm_and_two_more() {
        let check = |calls: usize| assert_eq!(f64::from(most_runs(calls)), (2.0 * (calls as f64).log2() + 2.0).floor());
        (1..=3000).for_each(check);
    }

    /// What came of one batch of `calls` calls, of which these are guilty.
    struct Found {
        /// Runs beside the first one.
        runs: usize,
        /// Of those that broke their executor: how many were not free.
        charged: usize,
        forgiven: usize,
        /// The calls that got an error.
        convicted: BTreeSet<usize>,
    }

    fn search(calls: usize, guilty: &BTreeSet<usize>, nature: Nature, executors: usize) -> Found {
        let now = Instant::now();
        let limits =
            MethodLimits { max_batch_size: NonZeroUsize::new(calls).expect("some"), ..MethodLimits::default() };
        let mut board = Board::<Toy>::new([limits], executors);
        board.phase = Phase::Open;
        let replies: Vec<Reply<Toy>> = (0..calls)
            .map(|id| {
                let nature = if guilty.contains(&id) { nature } else { Nature::Good };
                let input = Input { id, shape: 0, rows: 1, nature };
                let call = Arc::new(Call::new(input, NonZeroUsize::MIN, now, CallOptions::default()));
                assert!(board.push(0, &call, now, &mut Effects::default()).is_ok());
                Reply::new(call)
            })
            .collect();
        let mut found = Found { runs: 0, charged: 0, forgiven: 0, convicted: BTreeSet::new() };
        let mut running = Vec::new();
        loop {
            // All that can run do so at the same time.
            for seat in 0..executors {
                if let Next::Run(batch) = board.next(board.tenure(seat), now, &mut Effects::default()) {
                    running.push((seat, batch));
                }
            }
            if running.is_empty() {
                break;
            }
            for (seat, batch) in running.drain(..) {
                found.runs += 1;
                let mut effects = Effects::default();
                let failed = batch.entries.iter().any(|entry| guilty.contains(&entry.call.input.id));
                if !failed {
                    for entry in &batch.entries {
                        let _ =
                            entry.call.add(entry.rows.clone(), expected(0, &entry.call.input), &mut Wakers::default());
                    }
                    board.ran(board.tenure(seat), &batch, Duration::ZERO, now, &mut effects);
                } else if nature == Nature::Deadly {
                    let left = board.leave(seat, &mut effects);
                    found.charged += usize::from(!board.lose(&left, "dead", &mut effects));
                } else {
                    board.put_down(board.tenure(seat), &batch, now, &mut effects);
                    let _ = board.recover(&batch, Failure::Error(MethodError::failed("refused")), &mut effects);
                }
                for (_, call, error) in effects.ended {
                    let _ = call.end(Err(error));
                    assert!(found.convicted.insert(call.input.id), "convicted twice");
                }
            }
        }
        // The method goes on; where it can, it proves whose fault it was.
        let batch = crate::batch::Batch::new(0, Vec::new());
        board.ran(board.tenure(0), &batch, Duration::ZERO, now, &mut Effects::default());
        found.forgiven = board.take_forgiven();
        found.runs -= 1;
        for (id, reply) in replies.into_iter().enumerate() {
            assert_eq!(reply.wait().is_err(), guilty.contains(&id), "{id} of {calls}, guilty {guilty:?}");
        }
        found
    }

    #[test]
    fn one_guilty_call_is_found_within_the_bound_wherever_it_is() {
        for nature in [Nature::Deadly, Nature::Refused] {
            for (calls, executors) in
                (1_usize..=70).flat_map(|calls| [(calls, 1), (calls, 3)]).chain([(257, 1), (1000, 2)])
            {
                for at in (0..calls).step_by(calls.div_ceil(70)) {
                    let guilty = BTreeSet::from([at]);
                    let found = search(calls, &guilty, nature, executors);
                    assert_eq!(found.convicted, guilty);
                    let most = most_runs(calls) as usize;
                    assert!(found.runs <= most, "{} runs for call {at} of {calls}, {nature:?}", found.runs);
                    let charged = usize::from(nature == Nature::Deadly);
                    assert_eq!((found.charged, found.forgiven), (charged, charged), "call {at} of {calls}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn several_guilty_calls_are_found_within_as_many_bounds(
            calls in 1usize..200, guilty in prop::collection::vec(any::<prop::sample::Index>(), 1..9),
            deadly in any::<bool>(), executors in 1usize..5,
        ) {
            let guilty: BTreeSet<usize> = guilty.into_iter().map(|index| index.index(calls)).collect();
            let nature = if deadly { Nature::Deadly } else { Nature::Refused };
            let found = search(calls, &guilty, nature, executors);
            prop_assert_eq!(&found.convicted, &guilty);
            prop_assert!(found.runs <= most_runs(calls) as usize * guilty.len(), "{} runs", found.runs);
        }
    }

    #[test]
    fn a_runner_that_breaks_on_everything_is_charged_for_it() {
        let found = search(64, &(0..64).collect(), Nature::Deadly, 1);
        assert!(found.charged > 50, "{} crashes were charged", found.charged);
        assert_eq!(found.forgiven, 1, "the first one");
    }
}
