//! When the batch of a lane is due: gathers the numbers, and asks the policies.

use std::time::{Duration, Instant};

use crate::announced::Announced;
use crate::cap::Caps;
use crate::company::{self, Company, Outlook};
use crate::cost::Costs;
use crate::lane::Lane;
use crate::policy::{self, Verdict};
use crate::{Batching, MethodLimits, Worker};

/// What executors have room for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// How many have nothing to do.
    pub(crate) free: usize,
    /// How many of them are left when one takes a batch.
    pub(crate) others_free: usize,
    /// In how many seconds the next of those is free that run something; infinite if none does.
    pub(crate) next_free: f64,
    /// In how many seconds the last of those is.
    pub(crate) last_free: f64,
}

/// What a queue knows beside its calls.
pub(crate) struct Known<'a> {
    pub(crate) limits: &'a MethodLimits,
    pub(crate) costs: &'a Costs,
    pub(crate) caps: &'a Caps,
    pub(crate) company: &'a mut Company,
    pub(crate) announced: &'a Announced,
}

/// What to do about the calls of one lane.
pub(crate) fn lane_verdict<W: Worker>(known: &mut Known<'_>, lane: &mut Lane<W>, now: Instant, room: &Room) -> Verdict {
    let Known { limits, costs, caps, company, announced } = known;
    if room.free > 0 && caps.of(lane.shape).is_some_and(|cap| lane.rows >= cap) {
        return Verdict::Dispatch;
    }
    let waited = match limits.batching {
        Batching::Window => lane.oldest().map_or(Duration::ZERO, |oldest| now.saturating_duration_since(oldest)),
        Batching::Adaptive | Batching::Off => Duration::ZERO,
    };
    let verdict = policy::verdict(limits, lane.rows, waited, room.free);
    if let (Batching::Window, Verdict::Wait(left)) = (limits.batching, verdict) {
        return in_time(left, limits, costs, lane, now);
    }
    if verdict != Verdict::Dispatch || limits.batching != Batching::Adaptive || limits.max_latency.is_zero() {
        return verdict;
    }
    let Some(curve) = costs.of(lane.shape) else { return verdict };
    let max_rows = limits.max_batch_size.get();
    let timeout = lane.front().and_then(|front| front.call.timeout).map_or(f64::INFINITY, |time| time.as_secs_f64());
    let coming = announced.expected(now);
    if coming.is_none() && company::is_needless(timeout, max_rows, curve) {
        return verdict;
    }
    let observed = company.observe(curve.estimate(max_rows).mean, now);
    let offered = *lane.offered.get_or_insert(now);
    let waited = lane.oldest().map_or(Duration::ZERO, |oldest| now.saturating_duration_since(oldest));
    let outlook = Outlook {
        rows: lane.rows,
        max_rows,
        slack: lane.least_slack(max_rows, now),
        timeout,
        observed,
        offered: now.saturating_duration_since(offered).as_secs_f64(),
        patience: limits.max_latency.saturating_sub(waited).as_secs_f64(),
        others_free: room.others_free,
        next_free: room.next_free,
        last_free: room.last_free,
    };
    if let Some((calls, left)) = coming
        && company::is_worth_a_moment(&outlook, curve, calls, left.as_secs_f64())
        && announced.await_them()
    {
        return Verdict::Wait(left);
    }
    match company::wait(&outlook, curve, company) {
        wait if wait > 0.0 => Duration::try_from_secs_f64(wait).map_or(Verdict::Hold, Verdict::Wait),
        _ => Verdict::Dispatch,
    }
}

/// A window stays open for `left`, or closes early: while there is time to run what waits before the first deadline in it.
fn in_time<W: Worker>(left: Duration, limits: &MethodLimits, costs: &Costs, lane: &Lane<W>, now: Instant) -> Verdict {
    // What has not been measured is not thought dear.
    let run = costs.of(lane.shape).map_or(0.0, |curve| curve.estimate(lane.rows).high);
    let most = lane.least_slack(limits.max_batch_size.get(), now) - run - company::TIMER;
    match Duration::try_from_secs_f64(most.max(0.0)) {
        Ok(Duration::ZERO) => Verdict::Dispatch,
        Ok(most) => Verdict::Wait(left.min(most)),
        // No call in it has a deadline.
        Err(_) => Verdict::Wait(left),
    }
}
