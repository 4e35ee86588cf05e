//! When a batch starts: numbers in, verdict out. No clock, no actor, no channel.

use std::time::Duration;

use crate::{Batching, MethodLimits};

/// What to do with the calls that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Start a batch now.
    Dispatch,
    /// Decide again when this much time has passed, or when something changes before.
    Wait(Duration),
    /// Decide again when something changes.
    Hold,
}

impl Verdict {
    /// What to do about two things that wait.
    pub(crate) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Dispatch, _) | (_, Self::Dispatch) => Self::Dispatch,
            (Self::Wait(one), Self::Wait(other)) => Self::Wait(one.min(other)),
            (Self::Wait(wait), Self::Hold) | (Self::Hold, Self::Wait(wait)) => Self::Wait(wait),
            (Self::Hold, Self::Hold) => Self::Hold,
        }
    }
}

/// Decides for `rows` rows that could run together, the oldest of which has waited for `oldest`, while `executors_free`
/// executors have nothing to do.
pub(crate) fn verdict(limits: &MethodLimits, rows: usize, oldest: Duration, executors_free: usize) -> Verdict {
    if rows == 0 || executors_free == 0 {
        return Verdict::Hold;
    }
    match limits.batching {
        Batching::Adaptive | Batching::Off => Verdict::Dispatch,
        Batching::Window if rows >= limits.max_batch_size.get() => Verdict::Dispatch,
        Batching::Window => match limits.max_latency.checked_sub(oldest) {
            None | Some(Duration::ZERO) => Verdict::Dispatch,
            Some(left) => Verdict::Wait(left),
        },
    }
}

/// How many of the next call's `waiting` rows still join a batch that has `taken` rows from other calls, and is to have
/// `planned` at most.
///
/// A call is cut only if it could never run in one batch; otherwise it joins whole or not at all. The first call joins
/// in any case, more rows than planned or not. Zero ends the batch.
pub(crate) fn joins(limits: &MethodLimits, planned: usize, taken: usize, waiting: usize) -> usize {
    let max = limits.max_batch_size.get();
    if taken > 0 && limits.batching == Batching::Off {
        return 0;
    }
    let room = planned.clamp(1, max).saturating_sub(taken);
    if waiting <= room || (taken == 0 && waiting <= max) {
        waiting
    } else if waiting > max {
        room
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use proptest::prelude::*;

    use super::*;

    fn limits(batching: Batching, max: usize, latency_ms: u64) -> MethodLimits {
        MethodLimits {
            batching,
            max_batch_size: NonZeroUsize::new(max).expect("not zero"),
            max_latency: Duration::from_millis(latency_ms),
            ..MethodLimits::default()
        }
    }

    #[test]
    fn verdicts() {
        use Verdict::{Dispatch, Hold, Wait};
        let ms = Duration::from_millis;
        let check = |batching, rows, oldest, free, expected| {
            let found = verdict(&limits(batching, 8, 10), rows, ms(oldest), free);
            assert_eq!(found, expected, "{batching:?} rows={rows} oldest={oldest}ms free={free}");
        };
        for batching in [Batching::Adaptive, Batching::Window, Batching::Off] {
            check(batching, 0, 0, 1, Hold);
            check(batching, 99, 99, 0, Hold);
            check(batching, 8, 0, 1, Dispatch);
            check(batching, 1, 10, 1, Dispatch);
            check(batching, 1, 11, 1, Dispatch);
        }
        check(Batching::Adaptive, 1, 0, 1, Dispatch);
        check(Batching::Off, 1, 0, 1, Dispatch);
        check(Batching::Window, 1, 0, 1, Wait(ms(10)));
        check(Batching::Window, 7, 9, 1, Wait(ms(1)));
    }

    #[test]
    fn joining() {
        let check = |batching, taken, waiting, expected| {
            assert_eq!(joins(&limits(batching, 8, 0), 8, taken, waiting), expected, "{batching:?} {taken}+{waiting}");
        };
        check(Batching::Adaptive, 0, 3, 3);
        check(Batching::Adaptive, 5, 3, 3);
        check(Batching::Adaptive, 6, 3, 0);
        check(Batching::Adaptive, 8, 1, 0);
        check(Batching::Adaptive, 0, 20, 8);
        check(Batching::Adaptive, 6, 20, 2);
        check(Batching::Off, 0, 3, 3);
        check(Batching::Off, 0, 20, 8);
        check(Batching::Off, 1, 1, 0);
    }

    #[test]
    fn a_planned_size_is_kept_but_for_a_first_call_that_is_larger() {
        let check = |planned, taken, waiting, expected| {
            let found = joins(&limits(Batching::Adaptive, 8, 0), planned, taken, waiting);
            assert_eq!(found, expected, "{planned} {taken}+{waiting}");
        };
        check(5, 0, 3, 3);
        check(5, 3, 2, 2);
        check(5, 3, 3, 0);
        check(5, 0, 7, 7);
        check(5, 0, 20, 5);
        check(5, 3, 20, 2);
        check(0, 0, 20, 1);
    }

    fn any_batching() -> impl Strategy<Value = Batching> {
        prop_oneof![Just(Batching::Adaptive), Just(Batching::Window), Just(Batching::Off)]
    }

    proptest! {
        #[test]
        fn nothing_waits_longer_than_it_may(
            batching in any_batching(), max in 1usize..100, latency in 0u64..50,
            rows in 0usize..200, oldest in 0u64..100, free in 0usize..5,
        ) {
            let (limits, oldest) = (limits(batching, max, latency), Duration::from_millis(oldest));
            let found = verdict(&limits, rows, oldest, free);
            let is_due = batching != Batching::Window || rows >= max || oldest >= limits.max_latency;
            if rows == 0 || free == 0 {
                prop_assert_eq!(found, Verdict::Hold);
            } else if is_due {
                prop_assert_eq!(found, Verdict::Dispatch);
            } else {
                prop_assert_eq!(found, Verdict::Wait(limits.max_latency - oldest));
            }
        }

        #[test]
        fn batches_are_neither_too_large_nor_empty_nor_cut_without_need(
            batching in any_batching(), max in 1usize..100, calls in prop::collection::vec(1usize..300, 1..20),
        ) {
            let limits = limits(batching, max, 0);
            let (mut taken, mut joined) = (0, 0);
            for &waiting in &calls {
                let joins = joins(&limits, max, taken, waiting);
                prop_assert!(joins <= waiting && taken + joins <= max);
                prop_assert!(taken > 0 || joins > 0, "the first call always joins");
                prop_assert!(joins == 0 || joins == waiting || waiting > max, "cut, though it fits into a batch");
                prop_assert!(joins == waiting || joins == 0 || taken + joins == max, "cut short of a full batch");
                joined += usize::from(joins > 0);
                taken += joins;
                if joins < waiting {
                    break;
                }
            }
            prop_assert!(joined <= 1 || batching != Batching::Off);
        }
    }
}
