//! What was found, as numbers for other programs and as a table for people.

use std::collections::BTreeMap;
use std::fmt;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::args::Load;
use super::load::{Record, Spacing};
use crate::cli::Failure;
use crate::cli::report::table;
use crate::cli::report::units::{bytes, micros, trimmed};

/// The points of a latency curve: from the median on, ever nearer to 1.
const QUANTILES: [f64; 26] = [
    0.0, 0.1, 0.25, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97, 0.98, 0.99, 0.995, 0.997, 0.998, 0.999,
    0.9995, 0.9998, 0.9999, 0.99995, 0.99999, 0.999999, 1.0,
];

/// All loads on one URL.
#[derive(Serialize)]
pub(super) struct Results {
    pub(super) url: String,
    pub(super) request: String,
    pub(super) warm_up_s: f64,
    pub(super) duration_s: f64,
    pub(super) timeout_ms: Option<u32>,
    pub(super) ekiden: &'static str,
    pub(super) loads: Vec<Measured>,
}

/// What one load found.
#[derive(Serialize)]
pub(super) struct Measured {
    pub(super) connections: usize,
    /// The rate of an open loop, in requests per second.
    pub(super) rate: Option<f64>,
    arrivals: Option<&'static str>,
    pub(super) seconds: f64,
    /// Successes: answers of status 2xx.
    pub(super) ok: u64,
    pub(super) failed: u64,
    /// By status, or by what there was in place of an answer.
    failures: BTreeMap<String, u64>,
    first_failure: Option<String>,
    /// Successes per second.
    pub(super) requests_per_s: f64,
    /// Successes per second within the timeout.
    goodput_per_s: f64,
    /// Of successes; in an open loop from when each was due.
    pub(super) latency_us: Option<Latency>,
    /// The same of answers with another status.
    refusal_latency_us: Option<Latency>,
    /// Pairs of quantile and latency.
    pub(super) percentiles_us: Vec<(f64, f64)>,
    pub(super) ok_by_second: Vec<u64>,
    failed_by_second: Vec<u64>,
    received_bytes: u64,
    /// Of an open loop: sent more than 1 ms after they were due.
    late: u64,
    /// Of an open loop: never sent, for want of a free connection.
    unsent: u64,
    /// Of an open loop: without an answer at the end.
    unanswered: u64,
    /// Share of its time that the client was busy: near 1, it may have been the bottleneck.
    client_busy: f64,
}

#[derive(Serialize)]
pub(super) struct Latency {
    pub(super) mean: f64,
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    pub(super) max: f64,
}

impl Latency {
    /// Of a histogram of nanoseconds; none of one without any.
    fn of(nanos: &Histogram<u64>) -> Option<Self> {
        let micros = |quantile| nanos.value_at_quantile(quantile) as f64 / 1e3;
        (!nanos.is_empty()).then(|| Self {
            mean: nanos.mean() / 1e3,
            p50: micros(0.5),
            p90: micros(0.9),
            p99: micros(0.99),
            p999: micros(0.999),
            max: nanos.max() as f64 / 1e3,
        })
    }
}

impl Measured {
    pub(super) fn new(load: Load, record: &Record) -> Self {
        // A quantile means something as far as there are answers beyond it.
        let resolved = |quantile: &&f64| **quantile == 1.0 || (1.0 - **quantile) * record.ok() as f64 >= 1.0;
        let some = record.ok() > 0;
        let percentiles = QUANTILES.iter().filter(|_| some).filter(resolved).map(|&q| (q, record.micros(q)));
        let failures = record.failures.iter().map(|(failure, &count)| (failure.to_string(), count));
        let first = record.first_failure.as_ref();
        let elapsed = record.elapsed.as_secs_f64();
        // The last second is a whole one, or too short to be told from a slow one.
        let whole = &record.seconds[..record.seconds.len().min(elapsed as usize)];
        Self {
            connections: load.connections,
            rate: load.open.map(|(rate, _)| rate),
            arrivals: load.open.map(|(_, spacing)| match spacing {
                Spacing::Constant => "constant",
                Spacing::Poisson => "poisson",
            }),
            seconds: elapsed,
            ok: record.ok(),
            failed: record.failed(),
            failures: failures.collect(),
            first_failure: first.map(|(failure, why)| format!("{failure}: {why}")),
            requests_per_s: record.rate(),
            goodput_per_s: record.good as f64 / elapsed.max(1e-9),
            latency_us: Latency::of(&record.latencies),
            refusal_latency_us: Latency::of(&record.refusals),
            percentiles_us: percentiles.collect(),
            ok_by_second: whole.iter().map(|second| second.ok).collect(),
            failed_by_second: whole.iter().map(|second| second.failed).collect(),
            received_bytes: record.received,
            late: record.late,
            unsent: record.unsent,
            unanswered: record.unanswered,
            client_busy: record.busy.clamp(0.0, 1.0),
        }
    }

    /// What tells this load from the others: its connections, or its rate.
    pub(super) fn label(&self) -> String {
        match self.rate {
            Some(rate) => format!("{}/s", trimmed(rate)),
            None if self.connections == 1 => "1 connection".to_owned(),
            None => format!("{} connections", self.connections),
        }
    }

    /// Whether it was an open loop in which nothing was due.
    pub(super) fn is_idle(&self) -> bool {
        self.rate.is_some() && self.ok + self.failed + self.unsent + self.unanswered == 0
    }

    fn cells(&self) -> Vec<String> {
        let latency = |of: fn(&Latency) -> f64| self.latency_us.as_ref().map_or("-".to_owned(), |l| micros(of(l)));
        let mut failures: Vec<_> = self.failures.iter().map(|(name, count)| format!("{name}: {count}")).collect();
        if failures.is_empty() {
            failures.push("0".to_owned());
        }
        vec![
            self.rate.map_or_else(|| self.connections.to_string(), trimmed),
            format!("{:.0}", self.requests_per_s),
            format!("{:.0}", self.goodput_per_s),
            latency(|latency| latency.p50),
            latency(|latency| latency.p90),
            latency(|latency| latency.p99),
            latency(|latency| latency.p999),
            latency(|latency| latency.max),
            bytes(self.received_bytes),
            failures.join(", "),
        ]
    }

    /// What the numbers do not say by themselves.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.is_idle() {
            notes.push(format!("{}: no request was due", self.label()));
        }
        if let Some(failure) = &self.first_failure {
            notes.push(format!("{}: the first failure is {failure}", self.label()));
        }
        if let Some(Latency { p50, p99, max, .. }) = self.refusal_latency_us {
            notes.push(format!(
                "{}: answers of other statuses than 2xx took {} at p50, {} at p99, {} at most",
                self.label(),
                micros(p50),
                micros(p99),
                micros(max)
            ));
        }
        if self.late + self.unsent + self.unanswered > 0 {
            notes.push(format!(
                "{}: {} sent more than 1 ms late, {} never sent, {} unanswered",
                self.label(),
                self.late,
                self.unsent,
                self.unanswered
            ));
        }
        if self.unsent > 0 && self.unsent as f64 > self.rate.unwrap_or_default() * self.seconds * 0.01 {
            notes.push(format!(
                "{}: this rate is not reached, and latencies grow for as long as it is tried: lower --rate, or raise \
                 --connections",
                self.label()
            ));
        }
        if self.client_busy > 0.9 && self.rate.is_none() {
            notes.push(format!("{}: this client was busy all the time, and may be the bottleneck", self.label()));
        }
        notes
    }
}

impl Results {
    pub(super) fn json(&self) -> Result<String, Failure> {
        serde_json::to_string_pretty(self).map(|json| json + "\n").map_err(|error| Failure::Run(error.to_string()))
    }

    /// The table's head and its rows.
    pub(super) fn rows(&self) -> Vec<Vec<String>> {
        let first = if self.loads.iter().any(|load| load.rate.is_some()) { "RATE" } else { "CONNECTIONS" };
        let head = [first, "REQUESTS/S", "GOODPUT/S", "P50", "P90", "P99", "P99.9", "MAX", "RECEIVED", "FAILED"];
        let head = head.map(str::to_owned).to_vec();
        std::iter::once(head).chain(self.loads.iter().map(Measured::cells)).collect()
    }

    pub(super) fn notes(&self) -> Vec<String> {
        let early = self.loads.iter().filter(|load| load.seconds < 0.99 * self.duration_s);
        let early = early.map(|load| format!("{}: stopped after {:.1} s", load.label(), load.seconds));
        early.chain(self.loads.iter().flat_map(Measured::notes)).collect()
    }

    /// What was measured, in one line.
    pub(super) fn title(&self) -> String {
        let timeout = self.timeout_ms.map(|ms| format!("; goodput within {ms} ms")).unwrap_or_default();
        let open = self.loads.iter().find(|load| load.rate.is_some());
        let open = open.and_then(|load| Some((load.arrivals?, load.connections)));
        let loop_ = match open {
            Some((arrivals, connections)) => format!("open loop, {arrivals}, {connections} connections"),
            None => "closed loop".to_owned(),
        };
        format!("{}; {loop_}; {} s after {} s of warm-up{timeout}", self.request, self.duration_s, self.warm_up_s)
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.title())?;
        f.write_str(&table::text(&self.rows()))?;
        let notes = self.notes();
        if !notes.is_empty() {
            writeln!(f)?;
        }
        notes.iter().try_for_each(|note| writeln!(f, "{note}"))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Two loads of made-up numbers.
    pub(in crate::cli::bench) fn example() -> Results {
        let measured = |connections: usize, slower: f64| Measured {
            connections,
            rate: None,
            arrivals: None,
            seconds: 3.0,
            ok: 3000,
            failed: 0,
            failures: BTreeMap::new(),
            first_failure: None,
            requests_per_s: 1000.0,
            goodput_per_s: 999.0,
            latency_us: Some(Latency {
                mean: 120.0 * slower,
                p50: 100.0 * slower,
                p90: 150.0 * slower,
                p99: 999.4 * slower,
                p999: 1234.0 * slower,
                max: 2_345_678.0,
            }),
            refusal_latency_us: None,
            percentiles_us: vec![(0.0, 50.0), (0.5, 100.0 * slower), (0.99, 999.4 * slower), (1.0, 2_345_678.0)],
            ok_by_second: vec![900, 1000, 1100],
            failed_by_second: vec![0, 0, 0],
            received_bytes: 123_456,
            late: 0,
            unsent: 0,
            unanswered: 0,
            client_busy: 0.5,
        };
        let mut second = measured(64, 10.0);
        second.failed = 17;
        second.failures = [("429".to_owned(), 12), ("closed".to_owned(), 5)].into();
        second.refusal_latency_us =
            Some(Latency { mean: 300.0, p50: 250.0, p90: 500.0, p99: 900.0, p999: 1000.0, max: 1234.0 });
        second.first_failure = Some("429: {\"error\":\"<full>\"}".to_owned());
        Results {
            url: "http://x/?a=1&b=2".to_owned(),
            request: "POST http://x/?a=1&b=2, 19 bytes of application/json".to_owned(),
            warm_up_s: 1.0,
            duration_s: 3.0,
            timeout_ms: Some(100),
            ekiden: "0.1.0",
            loads: vec![measured(1, 1.0), second],
        }
    }

    #[test]
    fn the_table_is_aligned() {
        let expected = "\
POST http://x/?a=1&b=2, 19 bytes of application/json; closed loop; 3 s after 1 s of warm-up; goodput within 100 ms

CONNECTIONS  REQUESTS/S  GOODPUT/S      P50      P90      P99    P99.9     MAX  RECEIVED  FAILED
          1        1000        999   100 µs   150 µs   999 µs  1.23 ms  2.35 s    123 kB  0
         64        1000        999  1.00 ms  1.50 ms  9.99 ms  12.3 ms  2.35 s    123 kB  429: 12, closed: 5

64 connections: the first failure is 429: {\"error\":\"<full>\"}
64 connections: answers of other statuses than 2xx took 250 µs at p50, 900 µs at p99, 1.23 ms at most
";
        assert_eq!(example().to_string(), expected);
    }

    #[test]
    fn an_open_loop_says_what_it_did_not_send() {
        let mut results = example();
        results.loads.truncate(1);
        let load = &mut results.loads[0];
        (load.rate, load.arrivals, load.late, load.unsent) = (Some(2500.0), Some("poisson"), 20, 4500);
        let text = results.to_string();
        assert!(text.contains("open loop, poisson, 1 connections"), "{text}");
        assert!(text.contains("\nRATE  ") && text.contains("\n2500  "), "{text}");
        assert!(text.contains("2500/s: 20 sent more than 1 ms late, 4500 never sent, 0 unanswered"), "{text}");
        assert!(text.contains("this rate is not reached"), "{text}");
    }

    #[test]
    fn an_open_loop_in_which_nothing_was_due_says_so() {
        let mut results = example();
        let load = &mut results.loads[0];
        (load.rate, load.ok) = (Some(0.01), 0);
        assert!(load.is_idle());
        assert!(results.to_string().contains("0.01/s: no request was due\n"), "{results}");
        results.loads[0].unanswered = 1;
        assert!(!results.loads[0].is_idle() && !results.to_string().contains("was due"), "{results}");
    }

    #[test]
    fn numbers_have_three_digits() {
        let check = |value, expected: &str| assert_eq!(micros(value), expected);
        check(0.0, "0.00 µs");
        check(9.994, "9.99 µs");
        check(9.996, "10.0 µs");
        check(99.96, "100 µs");
        check(999.6, "1.00 ms");
        check(999_600.0, "1.00 s");
        check(3.6e9, "3600 s");
        assert_eq!([bytes(12), bytes(999_600), bytes(5_000_000_000)], ["12 B", "1.00 MB", "5.00 GB"]);
        assert_eq!([trimmed(20000.0), trimmed(0.5)], ["20000", "0.5"]);
    }
}
