//! Which of the calls that wait make the next batch, where not all of them can be answered in time: numbers in, plan
//! out.

use crate::Priority;
use crate::cost::{Curve, Estimate};

/// A call that waits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pending {
    /// Its rows that wait.
    pub(crate) rows: usize,
    /// The seconds until its deadline: infinite without one.
    pub(crate) slack: f64,
    /// Its priority, 0 being the most urgent.
    pub(crate) class: usize,
}

/// The next batch: calls in their order, but for those that have less slack than `least`, up to `rows` rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Plan {
    pub(crate) rows: usize,
    /// Calls with less slack than this, in seconds, are refused.
    pub(crate) least: f64,
}

/// What an answer in time is worth, by priority.
const WORTH: [f64; Priority::ALL.len()] = [16.0, 4.0, 1.0];

/// How many thresholds are tried.
const TRIED: usize = 12;

/// What surrounds a decision.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene {
    pub(crate) max_rows: usize,
    /// Executors that would take at once what this batch leaves.
    pub(crate) others_free: usize,
    /// How contested executors' time is, from 0 to 1: then it is worth answers.
    pub(crate) pressure: f64,
}

/// Plans the next batch out of `calls`, those of this batch and of the one after it, in their order.
///
/// Each plan that is tried refuses the calls below some slack, and then either takes as many rows as are sure to be
/// done by then, or as many as there are. It is worth the answers that are in time, in this batch and in the one after
/// it, less the time that both take where that is contested.
pub(crate) fn plan(calls: &[Pending], curve: &Curve, scene: &Scene) -> Plan {
    let whole = Plan { rows: scene.max_rows, least: f64::NEG_INFINITY };
    let mut thresholds: Vec<f64> = calls.iter().map(|call| call.slack).collect();
    thresholds.sort_unstable_by(f64::total_cmp);
    thresholds.dedup();
    let step = thresholds.len().div_ceil(TRIED).max(1);
    let rate = rate(calls, &thresholds, curve, scene);
    let mut best = (f64::NEG_INFINITY, whole);
    for least in thresholds.into_iter().step_by(step) {
        let there = calls.iter().filter(|call| call.slack >= least).map(|call| call.rows).sum::<usize>();
        let most = there.min(scene.max_rows);
        let sure = curve.fits(least, most, |estimate| estimate.high);
        for rows in [most, sure].into_iter().filter(|&rows| rows > 0) {
            // Who has no hope is refused anyway, and who is sure to be in time is not.
            let estimate = curve.estimate(rows);
            let plan = Plan { rows, least: least.min(estimate.high).max(estimate.low) };
            let worth = worth(calls, curve, scene, &plan, rate);
            if worth > best.0 {
                best = (worth, plan);
            }
        }
    }
    best.1
}

/// What a second of an executor's time is worth: under full pressure, what the best batch earns in it; without, next to
/// nothing, which decides between plans that are otherwise alike.
fn rate(calls: &[Pending], thresholds: &[f64], curve: &Curve, scene: &Scene) -> f64 {
    let longest = thresholds.last().copied().unwrap_or_default();
    let rows = curve.fits(longest, scene.max_rows, |estimate| estimate.mean).max(1);
    let worth = calls.iter().map(|call| WORTH[call.class]).sum::<f64>() / calls.len().max(1) as f64;
    worth * rows as f64 / curve.estimate(rows).mean.max(1e-9) * scene.pressure.max(0.005)
}

fn worth(calls: &[Pending], curve: &Curve, scene: &Scene, plan: &Plan, rate: f64) -> f64 {
    let first = curve.estimate(plan.rows);
    let mut able = calls.iter().filter(|call| call.slack >= plan.least);
    let (mut taken, mut worth) = (0, 0.0);
    let mut left = None;
    for call in able.by_ref() {
        if taken > 0 && taken + call.rows > plan.rows {
            left = Some(call);
            break;
        }
        taken += call.rows;
        worth += call.rows as f64 * WORTH[call.class] * in_time(call.slack, &first);
    }
    worth -= rate * first.mean;
    // The next batch is as large as can be done in time, if it is worth anything at all.
    let start = if scene.others_free > 0 { 0.0 } else { first.mean };
    let rest: Vec<&Pending> = left.into_iter().chain(able).collect();
    let longest = rest.iter().map(|call| call.slack).fold(0.0, f64::max) - start;
    let most = rest.iter().map(|call| call.rows).sum::<usize>().min(scene.max_rows);
    let rows = curve.fits(longest, most, |estimate| estimate.mean);
    // Under pressure it is worth per second that counts.
    let per = |seconds: f64| seconds.max(1e-9).powf(scene.pressure);
    if rows == 0 {
        return worth / per(first.mean);
    }
    let second = curve.estimate(rows);
    let (mut taken, mut next) = (0, -rate * second.mean);
    for call in rest {
        let chance = in_time(call.slack - start, &second);
        if chance > 0.0 && taken < rows {
            taken += call.rows;
            next += call.rows as f64 * WORTH[call.class] * chance;
        }
    }
    if next > 0.0 { (worth + next) / per(first.mean + second.mean) } else { worth / per(first.mean) }
}

/// How likely a batch is to be done within `slack` seconds.
pub(crate) fn in_time(slack: f64, estimate: &Estimate) -> f64 {
    let between = |low: f64, high: f64| if high > low { (slack - low) / (high - low) } else { 1.0 };
    if slack >= estimate.high {
        1.0
    } else if slack >= estimate.mean {
        0.5 + 0.5 * between(estimate.mean, estimate.high)
    } else if slack >= estimate.low {
        0.5 * between(estimate.low, estimate.mean)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cost::learned;

    fn calls(slacks_ms: &[(usize, f64)]) -> Vec<Pending> {
        let call = |&(many, ms): &(usize, f64)| vec![Pending { rows: 1, slack: ms / 1e3, class: 1 }; many];
        slacks_ms.iter().flat_map(call).collect()
    }

    /// Plans for batches of `4 + n/4` ms.
    fn plan_for(calls: &[Pending], pressure: f64) -> Plan {
        let costs = learned(4.0, 0.25, &[1.0]);
        plan(calls, costs.of(0).expect("it is known"), &Scene { max_rows: 64, others_free: 0, pressure })
    }

    #[test]
    fn a_batch_is_cut_for_a_tight_call_where_nobody_is_lost_by_it() {
        // One row can be done in 5 ms, and the others have time for two batches.
        let plan = plan_for(&calls(&[(1, 5.0), (40, 100.0)]), 0.0);
        assert!((1..=4).contains(&plan.rows) && plan.least <= 0.005, "{plan:?}");
    }

    #[test]
    fn a_tight_call_is_refused_where_it_would_cost_more_than_it_is_worth() {
        // 40 rows take 14 ms, and they have not the time to wait for another batch.
        let plan = plan_for(&calls(&[(1, 5.0), (40, 15.0)]), 0.0);
        assert!(plan.rows >= 40 && plan.least > 0.005, "{plan:?}");
        // Under pressure, the time of a batch of its own is worth more than it.
        let plan = plan_for(&calls(&[(1, 5.0), (127, 100.0)]), 1.0);
        assert!(plan.rows == 64 && plan.least > 0.005, "{plan:?}");
    }

    #[test]
    fn all_are_cut_to_what_can_be_done_in_time() {
        let plan = plan_for(&calls(&[(64, 12.0)]), 1.0);
        assert!((31..=32).contains(&plan.rows) && plan.least <= 0.012, "{plan:?}");
    }

    #[test]
    fn who_has_no_hope_is_refused() {
        let plan = plan_for(&calls(&[(3, 1.0), (5, 50.0)]), 0.0);
        assert!(plan.least > 0.001 && plan.least < 0.050, "{plan:?}");
    }

    proptest! {
        #[test]
        fn nobody_is_refused_who_is_sure_to_be_in_time(
            slacks in prop::collection::vec(0.0..60.0_f64, 1..130), pressure in 0.0..1.0_f64,
        ) {
            let mut slacks = slacks;
            slacks.sort_by(f64::total_cmp);
            let pending: Vec<_> = slacks.iter().flat_map(|&ms| calls(&[(1, ms)])).collect();
            let costs = learned(4.0, 0.25, &[1.0]);
            let curve = costs.of(0).expect("it is known");
            let plan = plan(&pending, curve, &Scene { max_rows: 64, others_free: 0, pressure });
            prop_assert!((1..=64).contains(&plan.rows));
            prop_assert!(plan.least <= curve.estimate(plan.rows).high.max(curve.estimate(plan.rows).low));
        }
    }
}
