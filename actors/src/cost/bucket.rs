//! The last runs of about the same number of rows.

/// How many runs are kept: enough for the quantile that matters, few enough to follow a change.
const KEPT: usize = 64;

/// So many runs in a row outside of what was expected are no accident: the cost has changed.
const DRIFT: i32 = 6;

/// A run of more than this times the median is an outlier, and forgotten if it is alone.
const OUTLIER: f32 = 4.0;

/// What runs cost around a number of rows, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Level {
    pub(super) rows: f64,
    /// How many runs it stands on.
    pub(super) runs: usize,
    /// Which of the shape's runs was the last of these.
    pub(super) newest: u64,
    pub(super) mean: f64,
    pub(super) low: f64,
    pub(super) high: f64,
    /// The standard deviation.
    pub(super) deviation: f64,
}

#[derive(Debug, Default)]
pub(super) struct Bucket {
    /// Rows and seconds of the last runs: a ring.
    runs: Vec<(f32, f32)>,
    next: usize,
    count: u64,
    newest: u64,
    /// How many of the last runs in a row were dearer (above zero) or cheaper (below) than any expectation.
    strays: i32,
}

/// Where a cost lies, seen from what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Surprise {
    Cheaper,
    None,
    Dearer,
}

impl Bucket {
    /// Below this many runs, a bucket says nothing.
    pub(super) const KNOWN: usize = 3;

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// How many runs its level stands on.
    pub(super) fn weight(&self) -> usize {
        self.runs.len()
    }

    /// Adds the shape's `nth` run; says whether its level should be asked for again.
    pub(super) fn push(&mut self, rows: usize, seconds: f64, nth: u64, surprise: Surprise) -> bool {
        self.count += 1;
        self.newest = nth;
        let run = (rows as f32, seconds as f32);
        if self.runs.len() < KEPT {
            self.runs.push(run);
        } else {
            self.runs[self.next] = run;
        }
        self.next = (self.next + 1) % KEPT;
        self.strays = match surprise {
            Surprise::None => 0,
            Surprise::Dearer => self.strays.max(0) + 1,
            Surprise::Cheaper => self.strays.min(0) - 1,
        };
        let has_drifted = self.strays.abs() >= DRIFT;
        if has_drifted {
            self.forget_all_but(DRIFT as usize);
        }
        // While it may be drifting, what it drifts from stays. A full ring says much the same until a quarter of it is new.
        has_drifted || (self.strays == 0 && (self.runs.len() < KEPT / 4 || self.count.is_multiple_of(KEPT as u64 / 4)))
    }

    fn forget_all_but(&mut self, last: usize) {
        let len = self.runs.len();
        self.runs.rotate_left(self.next % len);
        self.runs.drain(..len.saturating_sub(last));
        self.next = self.runs.len() % KEPT;
        self.strays = 0;
    }

    /// What its runs say. `line` is what is thought of the cost of a number of rows: it makes runs of different rows
    /// comparable.
    pub(super) fn level(&self, line: impl Fn(f64) -> f64) -> Option<Level> {
        let count = self.runs.len();
        if count < Self::KNOWN {
            return None;
        }
        let rows = self.runs.iter().map(|run| f64::from(run.0)).sum::<f64>() / count as f64;
        let here = line(rows);
        let scaled = |&(n, seconds): &(f32, f32)| {
            let there = line(f64::from(n));
            if here > 0.0 && there > 0.0 { seconds * (here / there) as f32 } else { seconds }
        };
        let mut costs: Vec<f32> = self.runs.iter().map(scaled).collect();
        costs.sort_unstable_by(f32::total_cmp);
        let limit = costs[count / 2] * OUTLIER;
        let outliers = costs.iter().rev().take_while(|&&cost| cost > limit).count();
        if outliers <= (count / 32).max(1) {
            costs.truncate(count - outliers);
        }
        let count = costs.len();
        let mean = costs.iter().copied().map(f64::from).sum::<f64>() / count as f64;
        let variance = costs.iter().map(|&cost| (f64::from(cost) - mean).powi(2)).sum::<f64>() / count as f64;
        // 97 of 100 at the top, 5 of 100 at the bottom.
        let high = f64::from(costs[(count * 97).div_ceil(100) - 1]);
        let low = f64::from(costs[count * 5 / 100]);
        Some(Level { rows, runs: count, newest: self.newest, mean, low, high, deviation: variance.sqrt() })
    }
}
