//! What was found, for people and for programs.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::curve::Point;
use super::proposal::Proposal;
use super::trial::Trial;
use crate::cli::Failure;
use crate::cli::report::chart::{Axis, Chart, Line};
use crate::cli::report::page::Page;
use crate::cli::report::table;
use crate::cli::report::units::{micros, round_micros, thousands, trimmed};

/// All that was found of one method.
pub(super) struct Tuning {
    pub(super) runner: String,
    pub(super) method: String,
    pub(super) p99: Duration,
    pub(super) curve: Vec<Point>,
    pub(super) proposal: Proposal,
    pub(super) trials: Vec<Trial>,
}

#[derive(Serialize)]
struct Json<'a> {
    runner: &'a str,
    method: &'a str,
    p99_ms: f64,
    max_batch_size: usize,
    max_latency_ms: f64,
    capacity_rows_per_s: f64,
    curve: Vec<JsonPoint>,
    trials: &'a [Trial],
}

#[derive(Serialize)]
struct JsonPoint {
    rows: usize,
    runs: u64,
    p50_ms: f64,
    p99_ms: f64,
    rows_per_s: f64,
}

fn us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

impl Tuning {
    pub(super) fn json(&self) -> Result<String, Failure> {
        let point = |point: &Point| JsonPoint {
            rows: point.rows,
            runs: point.runs,
            p50_ms: us(point.p50) / 1e3,
            p99_ms: us(point.p99) / 1e3,
            rows_per_s: point.rate(),
        };
        let json = Json {
            runner: &self.runner,
            method: &self.method,
            p99_ms: us(self.p99) / 1e3,
            max_batch_size: self.proposal.max_batch_size,
            max_latency_ms: self.proposal.max_latency_ms(),
            capacity_rows_per_s: self.proposal.capacity,
            curve: self.curve.iter().map(point).collect(),
            trials: &self.trials,
        };
        serde_json::to_string_pretty(&json).map(|json| json + "\n").map_err(|error| Failure::Run(error.to_string()))
    }

    fn subject(&self) -> String {
        format!("{}.{}, for a p99 of {}", self.runner, self.method, micros(us(self.p99)))
    }

    /// The curve's table, its head first.
    fn rows(&self) -> Vec<Vec<String>> {
        let row = |point: &Point| {
            let remark = if point.rows == self.proposal.max_batch_size {
                "proposed"
            } else if point.p99 * 2 > self.p99 {
                "too slow: two of these do not fit"
            } else {
                ""
            };
            let rate = format!("{:.0}", point.rate());
            vec![point.rows.to_string(), micros(us(point.p50)), micros(us(point.p99)), rate, remark.to_owned()]
        };
        let head = ["ROWS", "P50", "P99", "ROWS/S", ""].map(str::to_owned).to_vec();
        std::iter::once(head).chain(self.curve.iter().map(row)).collect()
    }

    /// How the trials went, a line each.
    fn tried(&self) -> Vec<String> {
        let line = |trial: &Trial| {
            let verdict = if trial.keeps(self.p99) { "kept" } else { "not kept" };
            format!(
                "tried {:.0} calls/s of one row, {} % of the capacity: p50 {}, p99 {}: {verdict}",
                trial.calls_per_s,
                trimmed((trial.share * 1e3).round() / 10.0),
                micros(trial.p50_ms * 1e3),
                micros(trial.p99_ms * 1e3)
            )
        };
        let highest = self.trials.iter().map(|trial| trial.calls_per_s).fold(0.0, f64::max);
        let capacity = format!(
            "the capacity, {:.0} rows/s, is computed from the curve, for full batches on every executor; it was tried up to \
             {highest:.0} calls/s",
            self.proposal.capacity
        );
        std::iter::once(capacity).chain(self.trials.iter().map(line)).collect()
    }

    /// Whether the proposal kept the latency at some rate.
    fn is_kept(&self) -> bool {
        self.trials.iter().any(|trial| trial.keeps(self.p99))
    }

    /// # Errors
    /// [`Failure::Run`] if no rate kept the latency.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        if self.is_kept() {
            return Ok(());
        }
        let lowest = self.trials.iter().map(|trial| trial.calls_per_s).fold(f64::INFINITY, f64::min);
        Err(Failure::Run(format!(
            "no rate that was tried kept a p99 of {}, down to {lowest:.0} calls/s: the machine is busy with something else, \
             or the latency is too close to what batches take",
            micros(us(self.p99))
        )))
    }

    fn lines(&self) -> String {
        let Proposal { max_batch_size, .. } = self.proposal;
        let max_latency_ms = trimmed(self.proposal.max_latency_ms());
        format!(
            "[[runners]]\nname = \"{}\"\n\n  [[runners.runnable_method_configs]]\n  name = \"{}\"\n  \
             max_batch_size = {max_batch_size}\n  max_latency_ms = {max_latency_ms}\n",
            self.runner, self.method
        )
    }

    pub(super) fn page(&self) -> Page {
        let line = |name: &str, of: fn(&Point) -> f64| Line {
            name: name.to_owned(),
            points: self.curve.iter().map(|point| (point.rows as f64, of(point))).collect(),
        };
        let rows = || {
            Axis::marked("rows in a batch", self.curve.iter().map(|p| (p.rows as f64, p.rows.to_string())).collect())
        };
        let least = self.curve.first().map_or(1.0, |point| us(point.p50));
        let most = self.curve.iter().map(|point| us(point.p99)).fold(us(self.p99), f64::max);
        let half = us(self.p99) / 2.0;
        let limit = Line {
            name: "half the latency".to_owned(),
            points: self.curve.iter().map(|p| (p.rows as f64, half)).collect(),
        };
        let fastest = self.curve.iter().map(Point::rate).fold(0.0, f64::max);
        let mut notes = self.tried();
        if self.is_kept() {
            notes.extend(self.lines().lines().map(str::to_owned));
        }
        Page {
            title: "ekiden tune",
            subject: self.subject(),
            rows: self.rows(),
            notes,
            charts: vec![
                Chart {
                    title: "What a batch costs",
                    x: rows(),
                    y: Axis::logarithmic("latency, logarithmic", least.min(half), most, round_micros),
                    lines: vec![line("p50", |point| us(point.p50)), line("p99", |point| us(point.p99)), limit],
                },
                Chart {
                    title: "What it brings",
                    x: rows(),
                    y: Axis::linear("rows per second of one executor", fastest, thousands),
                    lines: vec![line("rows/s", Point::rate)],
                },
            ],
            foot: format!("ekiden {}; batches run alone, from a call until its answer.", env!("CARGO_PKG_VERSION")),
        }
    }
}

impl fmt::Display for Tuning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n\n{}", self.subject(), table::text(&self.rows()))?;
        for line in self.tried() {
            writeln!(f, "{line}")?;
        }
        if self.is_kept() { write!(f, "\nFor runners.toml:\n\n{}", self.lines()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_that_no_rate_keeps_is_a_failure_and_nothing_is_proposed() {
        let trial = |calls_per_s, p99_ms| Trial { calls_per_s, share: 0.5, answered: 9, p50_ms: 1.0, p99_ms };
        let tuning = |trials| Tuning {
            runner: "iris".to_owned(),
            method: "predict".to_owned(),
            p99: Duration::from_millis(20),
            curve: Vec::new(),
            proposal: Proposal { max_batch_size: 8, max_latency: Duration::ZERO, capacity: 1000.0 },
            trials,
        };
        let kept = tuning(vec![trial(900.0, 30.0), trial(800.0, 20.0)]);
        assert!(kept.verdict().is_ok() && kept.to_string().contains("For runners.toml:"), "{kept}");
        let capacity = "the capacity, 1000 rows/s, is computed from the curve, for full batches on every executor; it was \
                        tried up to 900 calls/s\n";
        assert!(kept.to_string().contains(capacity), "{kept}");

        let lost = tuning(vec![trial(900.0, 30.0), trial(100.0, 20.1)]);
        assert!(
            !lost.to_string().contains("runners.toml") && !lost.page().html().contains("max_batch_size ="),
            "{lost}"
        );
        match lost.verdict() {
            Err(Failure::Run(said)) => {
                assert!(said.contains("no rate that was tried kept a p99 of 20.0 ms, down to 100 calls/s"), "{said}");
            }
            _ => panic!("it is no failure"),
        }
    }
}
