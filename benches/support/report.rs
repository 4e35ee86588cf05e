//! The numbers of all rounds, and the table they make.

use std::fmt;

use serde::Serialize;

use crate::sample::Sample;

/// All that was measured, and on what.
#[derive(Serialize)]
pub(crate) struct Report {
    machine: Machine,
    rows: Vec<Row>,
}

/// Both servers at one number of connections; a sample for each round.
#[derive(Serialize)]
pub(crate) struct Row {
    pub(crate) connections: usize,
    pub(crate) bare: Vec<Sample>,
    pub(crate) ekiden: Vec<Sample>,
}

#[derive(Serialize)]
struct Machine {
    cores: usize,
    cpu: String,
    ekiden: &'static str,
    os: &'static str,
    arch: &'static str,
}

/// The middle of the rounds, and how far they were apart.
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) most: f64,
}

impl Report {
    pub(crate) fn new(rows: Vec<Row>) -> Self {
        Self { machine: Machine::this(), rows }
    }

    pub(crate) fn row(&self, connections: usize) -> Option<&Row> {
        self.rows.iter().find(|row| row.connections == connections)
    }
}

impl Row {
    pub(crate) fn new(connections: usize) -> Self {
        Self { connections, bare: Vec::new(), ekiden: Vec::new() }
    }

    /// Ekiden's rate as a share of the bare server's, round by round.
    pub(crate) fn ratio(&self) -> Spread {
        self.by_round(|bare, ekiden| ekiden.requests_per_s / bare.requests_per_s)
    }

    /// What Ekiden adds to the bare server's p50, round by round, in microseconds.
    pub(crate) fn added_us(&self) -> Spread {
        self.by_round(|bare, ekiden| ekiden.p50_us - bare.p50_us)
    }

    pub(crate) fn ekiden_p50_us(&self) -> f64 {
        median(&self.ekiden, |sample| Some(sample.p50_us)).unwrap_or(f64::NAN)
    }

    fn by_round(&self, compare: impl Fn(&Sample, &Sample) -> f64) -> Spread {
        let values = self.bare.iter().zip(&self.ekiden).map(|(bare, ekiden)| compare(bare, ekiden));
        Spread::of(values.collect()).unwrap_or(Spread { least: f64::NAN, median: f64::NAN, most: f64::NAN })
    }
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let upper = *values.get(middle)?;
        let median = if values.len().is_multiple_of(2) { (values[middle - 1] + upper) / 2.0 } else { upper };
        Some(Self { least: *values.first()?, median, most: *values.last()? })
    }
}

fn median(samples: &[Sample], of: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
    let values: Option<Vec<f64>> = samples.iter().map(of).collect();
    Spread::of(values?).map(|spread| spread.median)
}

impl Machine {
    fn this() -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            cpu: model.map_or("unknown CPU", |(_, model)| model).to_owned(),
            ekiden: env!("CARGO_PKG_VERSION"),
            os: std::env::consts::OS,
            arch: std::env::consts::ARCH,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { cores, cpu, ekiden, os, arch } = &self.machine;
        let rounds = self.rows.first().map_or(0, |row| row.bare.len());
        writeln!(f, "ekiden {ekiden}; {cores} cores, {cpu}, {os} {arch}; medians of {rounds} rounds\n")?;
        writeln!(f, "| connections | server | requests/s | p50 µs | p99 µs | server CPU µs/request | client busy |")?;
        writeln!(f, "|---:|---|---:|---:|---:|---:|---:|")?;
        for row in &self.rows {
            write_samples(f, row.connections, "bare actix-web", &row.bare)?;
            write_samples(f, row.connections, "ekiden", &row.ekiden)?;
        }
        writeln!(f, "\n| connections | ekiden ÷ bare, requests/s | min–max | ekiden − bare, p50 µs | min–max |")?;
        write!(f, "|---:|---:|---:|---:|---:|")?;
        for row in &self.rows {
            let (ratio, added) = (row.ratio(), row.added_us());
            write!(f, "\n| {} | {:.3} | {:.3}–{:.3} ", row.connections, ratio.median, ratio.least, ratio.most)?;
            write!(f, "| {:.1} | {:.1}–{:.1} |", added.median, added.least, added.most)?;
        }
        Ok(())
    }
}

fn write_samples(f: &mut fmt::Formatter<'_>, connections: usize, server: &str, samples: &[Sample]) -> fmt::Result {
    let cell = |of: fn(&Sample) -> Option<f64>, digits: usize| match median(samples, of) {
        Some(value) => format!("{value:.digits$}"),
        None => "n/a".to_owned(),
    };
    let rate = cell(|sample| Some(sample.requests_per_s), 0);
    let (p50, p99) = (cell(|sample| Some(sample.p50_us), 1), cell(|sample| Some(sample.p99_us), 1));
    let (cpu, busy) = (cell(|sample| sample.server_cpu_us, 1), cell(|sample| sample.client_busy, 2));
    writeln!(f, "| {connections} | {server} | {rate} | {p50} | {p99} | {cpu} | {busy} |")
}
