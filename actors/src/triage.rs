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
    /// Whether calls have been refused since an executor last had nothing to do: then time is worth answers.
    pub(crate) contested: bool,
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
        for rows in [most, sure] {
            if rows > 0 {
                let plan = Plan { rows, least };
                let worth = worth(calls, curve, scene, &plan, rate);
                if worth > best.0 {
                    best = (worth, plan);
                }
            }
        }
    }
    let (_, Plan { rows, least }) = best;
    // Who has no hope is refused anyway; who has some only under contention, and who is sure to be in time never.
    let surely = if scene.contested { least.min(curve.estimate(rows).high) } else { f64::NEG_INFINITY };
    Plan { rows, least: surely.max(curve.estimate(1).low) }
}

/// What a second of an executor's time is worth: under contention, what the best batch earns in it; else next to
/// nothing, which decides between plans that are otherwise alike.
fn rate(calls: &[Pending], thresholds: &[f64], curve: &Curve, scene: &Scene) -> f64 {
    let longest = thresholds.last().copied().unwrap_or_default();
    let rows = curve.fits(longest, scene.max_rows, |estimate| estimate.mean).max(1);
    let worth = calls.iter().map(|call| WORTH[call.class]).sum::<f64>() / calls.len().max(1) as f64;
    let rate = worth * rows as f64 / curve.estimate(rows).mean.max(1e-9);
    if scene.contested { rate } else { rate * 0.005 }
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
    let rest: Vec<&Pending> = left.into_iter().chain(able).collect();
    let rows = rest.iter().map(|call| call.rows).sum::<usize>().min(scene.max_rows);
    if rows == 0 {
        return worth - rate * first.mean;
    }
    let second = curve.estimate(rows);
    let start = if scene.others_free > 0 { 0.0 } else { first.mean };
    let mut taken = 0;
    for call in rest {
        if taken >= rows {
            break;
        }
        taken += call.rows;
        worth += call.rows as f64 * WORTH[call.class] * in_time(call.slack - start, &second);
    }
    worth - rate * (first.mean + second.mean)
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
