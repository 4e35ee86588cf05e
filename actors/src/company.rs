//! Whether a batch that could start waits for company: numbers in, verdict out.
//!
//! Starting at once is right, but where runs take more than half of the time that calls have: a call that comes just
//! after the last free executor has started is lost, for it can neither join nor wait for the run to end. Waiting helps
//! where calls come in bursts, which are over when the batch starts, and where another executor will be free soon. How
//! calls follow one another is learned.

use std::time::Instant;

use crate::cost::Curve;

/// How many spans of time are told apart, each twice as long as the one before.
const SPANS: usize = 14;

/// The end of the first span, in seconds; the last one ends after a second.
const FIRST: f64 = 1.0 / (1 << (SPANS - 1)) as f64;

/// How late an alarm may be, in seconds.
pub(crate) const TIMER: f64 = 0.0015;

/// So many observations are averaged over.
const SMOOTHING: f32 = 8.0;

/// How many rows come how soon after a batch could have started.
#[derive(Debug, Default)]
pub(crate) struct Company {
    /// Rows per span, smoothed.
    mean: [f32; SPANS],
    /// Rows per span since `since`.
    seen: [f32; SPANS],
    since: Option<Instant>,
    /// How often it has been observed, for as long as the mean is not yet one over enough observations.
    observed: f32,
}

impl Company {
    /// A batch could start now: what follows is observed, unless another could have less than `run` seconds ago, which is
    /// how long one takes. Returns for how many seconds it is observed.
    pub(crate) fn observe(&mut self, run: f64, now: Instant) -> f64 {
        if let Some(since) = self.since {
            let observed = now.saturating_duration_since(since).as_secs_f64();
            if observed < run {
                return observed;
            }
            let spans = span(observed);
            self.observed = (self.observed + 1.0).min(SMOOTHING);
            for (mean, seen) in self.mean.iter_mut().zip(self.seen).take(spans) {
                *mean += (seen - *mean) / self.observed;
            }
        }
        self.seen = [0.0; SPANS];
        self.since = Some(now);
        0.0
    }

    /// Rows have come.
    pub(crate) fn came(&mut self, rows: usize, now: Instant) {
        if let Some(since) = self.since {
            let span = span(now.saturating_duration_since(since).as_secs_f64());
            if let Some(seen) = self.seen.get_mut(span) {
                *seen += rows as f32;
            }
        }
    }

    /// How many rows to reckon with for each that is expected, `since` seconds after a batch could have started: more, if
    /// more than expected have come by then.
    fn pace(&self, since: f64) -> f64 {
        let seen: f32 = self.seen.iter().sum();
        /// Bursts differ, and more that come cost more calls than fewer would save.
        const CAUTION: f64 = 1.5;
        (CAUTION * (f64::from(seen) + 1.0) / (self.expected(0.0, since) + 1.0)).clamp(0.25, 3.0)
    }

    /// How many rows are expected between two times, in seconds after a batch could have started.
    pub(crate) fn expected(&self, from: f64, to: f64) -> f64 {
        let (mut start, mut end, mut rows) = (0.0, FIRST, 0.0);
        for mean in self.mean {
            let overlap = to.min(end) - from.max(start);
            if overlap > 0.0 {
                rows += f64::from(mean) * overlap / (end - start);
            }
            (start, end) = (end, end * 2.0);
        }
        rows
    }
}

/// The span of a time in seconds: how many spans have ended before it.
fn span(seconds: f64) -> usize {
    if seconds < FIRST { 0 } else { (seconds / FIRST).log2() as usize + 1 }
}

/// A batch that could start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outlook {
    pub(crate) rows: usize,
    pub(crate) max_rows: usize,
    /// The seconds until the earliest deadline in it.
    pub(crate) slack: f64,
    /// How long calls like these have when they come.
    pub(crate) timeout: f64,
    /// For how long what comes has been observed.
    pub(crate) observed: f64,
    /// How long it could have started already.
    pub(crate) offered: f64,
    /// How much longer it may be kept waiting.
    pub(crate) patience: f64,
    /// How many other executors are free.
    pub(crate) others_free: usize,
    /// When the next one will be; infinite if there is none.
    pub(crate) next_free: f64,
    /// When the last of them will be.
    pub(crate) last_free: f64,
}

/// Whether calls have so much time that nobody is lost by starting at once: enough for the run that they come too late
/// for, and for their own.
pub(crate) fn is_needless(timeout: f64, max_rows: usize, curve: &Curve) -> bool {
    timeout >= 2.0 * curve.estimate(max_rows).high
}

/// Whether a batch waits for `calls` calls that have been announced and should be there within `left` seconds: the run
/// that they are spared is worth more than what those wait that are there.
///
/// A timer cannot be set to less than a millisecond, so that a call that does not come may hold others up for as long.
/// So this is only for runs that take longer, and only for a small part of one.
pub(crate) fn is_worth_a_moment(outlook: &Outlook, curve: &Curve, calls: usize, left: f64) -> bool {
    /// The shortest run that anybody is spared, in seconds.
    const SHORTEST: f64 = 0.002;
    /// The part of it that may be waited for.
    const PART: f64 = 0.125;
    let Outlook { rows, max_rows, slack, offered, patience, .. } = *outlook;
    let there = (rows + calls).min(max_rows);
    let run = curve.estimate(there);
    rows < max_rows
        && run.mean >= SHORTEST
        && offered + left <= PART * run.mean
        && left <= patience
        && rows as f64 * left <= calls as f64 * run.mean / 2.0
        && left + TIMER + run.high <= slack
}

/// For how many seconds a batch waits for company before this is asked again; zero starts it.
pub(crate) fn wait(outlook: &Outlook, curve: &Curve, company: &Company) -> f64 {
    /// How many waits are tried.
    const TRIED: u32 = 8;
    /// How much more than its share a batch is to take, since others take less.
    const SPARE: f64 = 2.0;
    /// What has to be gained: half a row, and one in 50.
    const LEAST: (f64, f64) = (0.5, 0.02);
    let Outlook { rows, max_rows, slack, timeout, observed, patience, others_free, next_free, last_free, .. } =
        *outlook;
    if rows >= max_rows || is_needless(timeout, max_rows, curve) {
        return 0.0;
    }
    let pace = company.pace(observed);
    let coming = |from: f64, to: f64| company.expected(observed + from, observed + to) * pace;
    // Of what comes, the other free executors will take some, though not as much as would be best.
    let taken = (others_free * max_rows) as f64 / 2.0;
    let most = (slack - curve.estimate(rows).high - TIMER).min(patience);
    if most <= 0.0 {
        return 0.0;
    }
    // Where there are other executors, batches that are too small would soon have all of them busy: each has to be as large
    // as its share of what comes while it runs.
    if others_free > 0 || next_free.is_finite() {
        let suffices = |there: f64| {
            let run = curve.estimate((there as usize).min(max_rows)).mean;
            let share = SPARE * coming(0.0, run) / (others_free + 1) as f64;
            there + 1.0 > share.min(max_rows as f64)
        };
        if !suffices(rows as f64) {
            let mut waits = (1..=TRIED).map(|step| most * f64::from(step) / f64::from(TRIED));
            return waits.find(|&wait| suffices(rows as f64 + coming(0.0, wait))).unwrap_or(most);
        }
    }
    // The rows that are lost if the batch starts after `wait`, and those that are in it then.
    let lost = |wait: f64| {
        let there = ((rows as f64 + coming(0.0, wait)) as usize).min(max_rows);
        if there < max_rows && wait + curve.estimate(there).high + TIMER > slack {
            return (f64::INFINITY, there);
        }
        let run = curve.estimate(there).mean;
        let next = (coming(wait, wait + run) as usize).clamp(1, max_rows);
        // Who comes so long before an executor is free cannot wait for it.
        let too_long = timeout - curve.estimate(next).mean;
        let between = |from: f64, free: f64| coming(from, (free - too_long).max(from));
        let lost = if others_free > 0 {
            (between(wait, wait + run) - taken).max(0.0)
        } else if next_free.is_finite() {
            // Before the next one is free; and when all have started, before the first of them has done.
            between(wait, next_free.max(wait)) + between(wait.max(last_free), wait.min(next_free) + run)
        } else {
            between(wait, wait + run)
        };
        (lost, there)
    };
    let (at_once, _) = lost(0.0);
    let mut best = (at_once, 0.0);
    for step in 1..=TRIED {
        let wait = most * f64::from(step) / f64::from(TRIED);
        let (lost, there) = lost(wait);
        if lost < best.0 - LEAST.0.max(LEAST.1 * there as f64) {
            best = (lost, wait);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cost::learned;

    /// What is learned of bursts of `rows` rows, `gap_us` apart, every second.
    fn bursts(rows: u64, gap_us: u64) -> Company {
        let (mut company, start) = (Company::default(), Instant::now());
        for second in 0..20 {
            let at = start + Duration::from_secs(second);
            company.observe(0.1, at);
            (1..rows).for_each(|row| company.came(1, at + Duration::from_micros(row * gap_us)));
        }
        company.observe(0.1, start + Duration::from_secs(20));
        company
    }

    /// A run of 30 ms, whatever its rows, for calls that have 50 ms.
    const OUTLOOK: Outlook = Outlook {
        rows: 1,
        max_rows: 64,
        slack: 0.050,
        timeout: 0.050,
        observed: 0.0,
        offered: 0.0,
        patience: 0.015,
        others_free: 0,
        next_free: f64::INFINITY,
        last_free: 0.0,
    };

    fn waits(outlook: &Outlook, company: &Company) -> f64 {
        let costs = learned(30.0, 0.0, &[1.0]);
        wait(outlook, costs.of(0).expect("it is known"), company) * 1e3
    }

    #[test]
    fn it_is_learned_how_many_come_how_soon() {
        let company = bursts(21, 200);
        assert!((company.expected(0.0, 1.0) - 20.0).abs() < 0.1);
        assert!((company.expected(0.0, 0.002) - 10.0).abs() < 1.5, "{}", company.expected(0.0, 0.002));
        assert!(company.expected(0.008, 0.5) < 0.1);
    }

    #[test]
    fn a_batch_waits_for_the_rest_of_a_burst_and_no_longer() {
        let found = waits(&OUTLOOK, &bursts(21, 200));
        assert!((3.0..8.0).contains(&found), "{found} ms for a burst of 4 ms");
    }

    #[test]
    fn it_does_not_wait_where_nothing_is_gained() {
        let company = bursts(21, 200);
        let check = |outlook: &Outlook, company: &Company, why: &str| {
            let found = waits(outlook, company);
            assert!(found == 0.0, "{found} ms, though {why}");
        };
        check(&OUTLOOK, &Company::default(), "nothing is known");
        check(&Outlook { timeout: 0.070, ..OUTLOOK }, &company, "they can wait for the next run");
        check(&Outlook { rows: 64, ..OUTLOOK }, &company, "it is full");
        check(&Outlook { slack: 0.031, ..OUTLOOK }, &company, "it has to start");
        check(&Outlook { patience: 0.0, ..OUTLOOK }, &company, "it has waited for long");
        check(&Outlook { others_free: 99, ..OUTLOOK }, &company, "others take them");
        // Evenly spaced calls are lost whenever it starts.
        check(&OUTLOOK, &bursts(200, 5_000), "one moment is like another");
    }

    #[test]
    fn each_of_several_executors_takes_its_share_of_what_comes_in_a_run() {
        // 60 calls in a run of 30 ms, evenly.
        let evenly = bursts(500, 500);
        let check = |rows, others_free, waits_long: bool| {
            let found = waits(&Outlook { rows, others_free, ..OUTLOOK }, &evenly);
            assert_eq!(found > 0.0, waits_long, "{found} ms, {rows} rows, {others_free} others");
        };
        check(1, 3, true);
        check(50, 3, false);
        check(1, 7, true);
        check(25, 7, false);
    }

    #[test]
    fn it_waits_where_another_executor_will_be_free_soon() {
        let evenly = bursts(500, 2_000);
        let found = waits(&Outlook { next_free: 0.025, last_free: 0.025, ..OUTLOOK }, &evenly);
        assert!(found > 2.0, "{found} ms: the next ones can have the other executor");
    }

    #[test]
    fn a_moment_is_given_to_calls_that_have_been_announced() {
        let costs = learned(30.0, 0.0, &[1.0]);
        let curve = costs.of(0).expect("it is known");
        let check = |outlook: &Outlook, calls, left_ms: f64, expected| {
            assert_eq!(is_worth_a_moment(outlook, curve, calls, left_ms / 1e3), expected, "{calls} {left_ms}");
        };
        check(&OUTLOOK, 1, 0.2, true);
        check(&OUTLOOK, 1, 10.0, false);
        check(&Outlook { rows: 63, ..OUTLOOK }, 1, 0.2, true);
        check(&Outlook { rows: 64, ..OUTLOOK }, 1, 0.2, false);
        check(&Outlook { offered: 0.004, ..OUTLOOK }, 1, 0.2, false);
        check(&Outlook { slack: 0.031, ..OUTLOOK }, 1, 0.2, false);
        let quick = learned(0.5, 0.0, &[1.0]);
        assert!(!is_worth_a_moment(&OUTLOOK, quick.of(0).expect("it is known"), 5, 0.02));
    }
}
