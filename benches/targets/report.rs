//! The tables, for people, for `BENCHMARKS.md` and for programs.

use std::fmt;

use serde::Serialize;

use crate::args::Args;
use crate::cases::{Case, Outcome};
use crate::machine::Machine;
use crate::rounds::Series;
use crate::sample::Sample;
use crate::target::{Finding, Spread, digits};

/// All that was measured, and on what.
#[derive(Serialize)]
pub(crate) struct Report {
    machine: Machine,
    rounds: u32,
    measure_ms: u128,
    command: String,
    cases: Vec<Measured>,
}

#[derive(Serialize)]
struct Measured {
    name: String,
    about: &'static str,
    findings: Vec<Finding>,
    series: Vec<Series>,
}

impl Report {
    pub(crate) fn new(args: &Args) -> Self {
        let plan = args.plan().timing;
        let given: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
        let command = format!("cargo bench --bench targets -- {}", given.join(" "));
        let command = command.trim_end_matches([' ', '-']).to_owned();
        let measure_ms = plan.measure.as_millis();
        Self { machine: Machine::this(), rounds: plan.rounds, measure_ms, command, cases: Vec::new() }
    }

    pub(crate) fn add(&mut self, case: Case, Outcome { findings, series }: Outcome) {
        self.cases.push(Measured { name: case.name(), about: case.about(), findings, series });
    }

    /// How many targets are missed.
    pub(crate) fn missed(&self) -> usize {
        self.findings().filter(|finding| finding.is_met() == Some(false)).count()
    }

    /// A page of its own.
    pub(crate) fn markdown(&self) -> String {
        let about: Vec<String> =
            self.cases.iter().map(|case| format!("* **{}**: {}\n", case.name, case.about)).collect();
        format!(
            "# Benchmarks\n\n\
             This page is written by the command below; do not edit it. Each number is the median of {} rounds of \
             {} ms, and min–max are the rounds apart: machines are shared and noisy. Contenders take turns, a ratio is \
             taken within a round, and the load generator shares the cores with the servers. So compare the rows of \
             one table, never those of two machines.\n\n\
             ```sh\n{}\n```\n\n{}\n\n## Against the targets\n\n{}\n## What was compared\n\n{}\n## The numbers behind\n\n{}",
            self.rounds,
            self.measure_ms,
            self.command,
            self.machine.line(),
            self.findings_table(),
            about.concat(),
            self.series_table(),
        )
    }

    fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.cases.iter().flat_map(|case| &case.findings)
    }

    fn findings_table(&self) -> String {
        let mut table = Table::new(&["case", "measured", "target", "median", "min–max", ""]);
        for finding in self.findings() {
            let Spread { least, median, most } = finding.found;
            let met = match finding.is_met() {
                Some(true) => "met",
                Some(false) => "**missed**",
                None => "",
            };
            let spread = format!("{}–{}", digits(least), digits(most));
            let target = finding.target.to_string();
            table.row([
                finding.what.clone(),
                finding.number.to_owned(),
                target,
                digits(median),
                spread,
                met.to_owned(),
            ]);
        }
        table.to_string()
    }

    fn series_table(&self) -> String {
        let head = ["case", "contender", "per second", "min–max", "p50 µs", "p99 µs", "server CPU µs", "client busy"];
        let mut table = Table::new(&head);
        for case in &self.cases {
            for series in &case.series {
                let rate = Spread::of(series.each(|sample| sample.per_s));
                let cell = |of: fn(&Sample) -> Option<f64>| median(series, of).map_or("–".to_owned(), digits);
                table.row([
                    case.name.clone(),
                    series.name.clone(),
                    digits(rate.median),
                    format!("{}–{}", digits(rate.least), digits(rate.most)),
                    cell(|sample| sample.p50_us),
                    cell(|sample| sample.p99_us),
                    cell(|sample| sample.server_cpu_us),
                    cell(|sample| sample.client_busy),
                ]);
            }
        }
        table.to_string()
    }
}

fn median(series: &Series, of: fn(&Sample) -> Option<f64>) -> Option<f64> {
    let rounds: Option<Vec<f64>> = series.samples.iter().map(of).collect();
    rounds.map(|rounds| Spread::of(rounds).median)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}; medians of {} rounds of {} ms\n", self.machine.line(), self.rounds, self.measure_ms)?;
        write!(f, "{}\n{}", self.series_table(), self.findings_table())?;
        match self.missed() {
            0 => writeln!(f, "\nevery target is met"),
            missed => writeln!(f, "\n{missed} missed"),
        }
    }
}

/// A table that is Markdown, and aligned for those who read it as it is.
struct Table(Vec<Vec<String>>);

impl Table {
    fn new(head: &[&str]) -> Self {
        Self(vec![head.iter().map(|cell| (*cell).to_owned()).collect()])
    }

    fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.0.push(cells.to_vec());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.0.first().map_or(0, Vec::len);
        let width = |column: usize| self.0.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (at, row) in self.0.iter().enumerate() {
            let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
            writeln!(f, "| {} |", cells.join(" | "))?;
            if at == 0 {
                let rule: Vec<String> = widths.iter().map(|&width| "-".repeat(width)).collect();
                writeln!(f, "|-{}-|", rule.join("-|-"))?;
            }
        }
        Ok(())
    }
}
