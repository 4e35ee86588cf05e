//! The cost of a batch as a function of its rows, for one shape of input.

use std::time::{Duration, Instant};

use super::bucket::{Bucket, Level, Surprise};
use super::{BucketCost, Cost};

/// What a batch is expected to cost, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Estimate {
    pub(crate) mean: f64,
    /// What 95 of 100 exceed: less than that is not to be hoped for.
    pub(crate) low: f64,
    /// What 97 of 100 stay below: more than that is not to be feared.
    pub(crate) high: f64,
    /// The standard deviation.
    pub(crate) deviation: f64,
}

#[derive(Debug)]
pub(crate) struct Curve {
    pub(crate) shape: u64,
    /// By the power of two that its runs' rows do not exceed.
    buckets: Vec<Bucket>,
    /// The levels of the buckets that have one, by rows; neither falls from one to the next.
    levels: Vec<Level>,
    alpha: f64,
    beta: f64,
    runs: u64,
    /// When the last run ended that did not contradict what was learned long ago.
    newest: Option<Instant>,
}

impl Curve {
    /// So many runs make a shape known.
    pub(crate) const ENOUGH: u64 = 6;

    /// How long what was learned is sure to hold, at the least, and how many runs' time at the least.
    const FRESH: (Duration, f64) = (Duration::from_secs(1), 10.0);

    pub(super) fn new(shape: u64) -> Self {
        Self { shape, buckets: Vec::new(), levels: Vec::new(), alpha: 0.0, beta: 0.0, runs: 0, newest: None }
    }

    pub(super) fn is_known(&self) -> bool {
        self.runs >= Self::ENOUGH && !self.levels.is_empty()
    }

    /// Whether no batch has run for so long that things may have changed. To find out costs one batch.
    pub(crate) fn is_stale(&self, now: Instant) -> bool {
        let (least, runs) = Self::FRESH;
        let age = self.newest.map_or(Duration::MAX, |newest| now.saturating_duration_since(newest));
        age > least && age.as_secs_f64() > runs * self.levels.last().map_or(0.0, |level| level.mean)
    }

    pub(super) fn observe(&mut self, rows: usize, seconds: f64, now: Instant) {
        let rows = rows.max(1);
        let at = index(rows);
        if self.buckets.len() <= at {
            self.buckets.resize_with(at + 1, Bucket::default);
        }
        self.runs += 1;
        let surprise = match self.is_known().then(|| self.estimate(rows)) {
            Some(expected) if seconds > expected.high * 1.01 => Surprise::Dearer,
            Some(expected) if seconds < expected.low * 0.99 => Surprise::Cheaper,
            _ => Surprise::None,
        };
        // One cheap run may be an accident, and cannot vouch for the old costs either: they are tried on until it is clear.
        if surprise != Surprise::Cheaper || !self.is_stale(now) {
            self.newest = Some(now);
        }
        // A bucket that says nothing yet has nothing to drift from.
        let says_something = self.buckets[at].weight() >= Bucket::KNOWN;
        let surprise = if says_something { surprise } else { Surprise::None };
        if self.buckets[at].push(rows, seconds, self.runs, surprise) {
            self.fit();
        }
    }

    /// What a batch of `rows` rows costs.
    pub(crate) fn estimate(&self, rows: usize) -> Estimate {
        let n = rows as f64;
        let after = self.levels.iter().position(|level| level.rows >= n);
        match (after, self.levels.last()) {
            (Some(0), _) => {
                // Fewer rows than have been measured cost what the line says, if there is one, or else as much; at the
                // least their share.
                let first = &self.levels[0];
                let share = first.mean * n / first.rows;
                let line = (first.mean - self.beta * (first.rows - n)).max(share);
                let estimate = scaled(first, if self.levels.len() > 1 { line } else { first.mean });
                Estimate { low: estimate.low.min(first.low * n / first.rows), ..estimate }
            }
            (Some(at), _) => {
                let (below, above) = (&self.levels[at - 1], &self.levels[at]);
                let t = (n - below.rows) / (above.rows - below.rows);
                let mix = |of: fn(&Level) -> f64| of(below) + (of(above) - of(below)) * t;
                Estimate {
                    mean: mix(|level| level.mean),
                    low: mix(|level| level.low),
                    high: mix(|level| level.high),
                    deviation: mix(|level| level.deviation),
                }
            }
            (None, Some(last)) => scaled(last, last.mean + self.beta * (n - last.rows)),
            (None, None) => Estimate::default(),
        }
    }

    /// The most rows, at most `max`, of which a batch stays within `budget` seconds by `of` its estimate; 0 if one row
    /// does not.
    pub(crate) fn fits(&self, budget: f64, max: usize, of: impl Fn(&Estimate) -> f64) -> usize {
        let (mut fits, mut too_many) = (0, max + 1);
        while too_many - fits > 1 {
            let rows = fits + (too_many - fits) / 2;
            if of(&self.estimate(rows)) <= budget {
                fits = rows;
            } else {
                too_many = rows;
            }
        }
        fits
    }

    /// Draws the line through the levels, and the levels along the line. The weights are the runs that a level stands
    /// on, and errors count by their share of the cost, since costs span orders of magnitude.
    fn fit(&mut self) {
        let (alpha, beta) = (self.alpha, self.beta);
        self.levels.clear();
        let (mut w, mut wn, mut wnn, mut wc, mut wnc) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for bucket in &self.buckets {
            let Some(level) = bucket.level(|n| alpha + beta * n) else { continue };
            let weight = bucket.weight() as f64 / level.mean.powi(2).max(1e-18);
            w += weight;
            wn += weight * level.rows;
            wnn += weight * level.rows * level.rows;
            wc += weight * level.mean;
            wnc += weight * level.rows * level.mean;
            self.levels.push(level);
        }
        if self.levels.len() > 1 {
            let beta = (w * wnc - wn * wc) / (w * wnn - wn * wn);
            let alpha = (wc - beta * wn) / w;
            (self.alpha, self.beta) = if !beta.is_finite() || beta < 0.0 {
                (wc / w, 0.0)
            } else if alpha < 0.0 {
                (0.0, wnc / wnn)
            } else {
                (alpha, beta)
            };
        }
        self.share_spread();
        self.straighten();
    }

    /// A bucket of few runs knows little of how far they spread: it is taken to be as far as in the others.
    fn share_spread(&mut self) {
        /// So many runs are enough.
        const ENOUGH: usize = 32;
        let (mut runs, mut high, mut low, mut deviation) = (0.0, 0.0, 0.0, 0.0);
        for level in &self.levels {
            let weight = level.runs as f64;
            runs += weight;
            high += weight * level.high / level.mean.max(1e-9);
            low += weight * level.low / level.mean.max(1e-9);
            deviation += weight * level.deviation / level.mean.max(1e-9);
        }
        for level in self.levels.iter_mut().filter(|level| level.runs < ENOUGH) {
            level.high = level.high.max(level.mean * high / runs);
            level.low = level.low.min(level.mean * low / runs);
            level.deviation = level.deviation.max(level.mean * deviation / runs);
        }
    }

    /// Sees to it that more rows never seem cheaper. Where two levels disagree, the one that ran last is right.
    fn straighten(&mut self) {
        for at in 1..self.levels.len() {
            let (before, rest) = self.levels.split_at_mut(at);
            let level = &mut rest[0];
            for smaller in before.iter_mut().rev() {
                if smaller.newest > level.newest {
                    level.mean = level.mean.max(smaller.mean);
                    level.low = level.low.max(smaller.low);
                    level.high = level.high.max(smaller.high);
                } else {
                    smaller.mean = smaller.mean.min(level.mean);
                    smaller.low = smaller.low.min(level.low);
                    smaller.high = smaller.high.min(level.high);
                }
            }
        }
    }

    /// What decisions go by: the levels, as they lie along the line.
    pub(super) fn report(&self) -> Cost {
        let bucket = |level: &Level| {
            let at = index(level.rows.ceil() as usize);
            let (mean, high) = (duration(level.mean), duration(level.high));
            Some(BucketCost { max_rows: 1 << at, count: self.buckets.get(at)?.count(), mean, high })
        };
        Cost {
            shape: self.shape,
            alpha: duration(self.alpha),
            beta: duration(self.beta),
            buckets: self.levels.iter().filter_map(bucket).collect(),
        }
    }
}

/// The bucket of so many rows: 1, 2, 3 to 4, 5 to 8, and so on.
fn index(rows: usize) -> usize {
    (usize::BITS - (rows - 1).leading_zeros()) as usize
}

/// A level, as it would be with this mean.
fn scaled(level: &Level, mean: f64) -> Estimate {
    let by = if level.mean > 0.0 { mean / level.mean } else { 1.0 };
    Estimate { mean, low: level.low * by, high: level.high * by, deviation: level.deviation * by }
}

fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
