//! The table, for people and for a page that has a section for each device.

use std::fmt::{self, Write};
use std::path::Path;

use crate::machine::Machine;

/// Where the sections on devices begin; what is before is another benchmark's.
const HEADING: &str = "## On devices";

/// One model with batches of one size.
pub(crate) struct Row {
    pub(crate) model: &'static str,
    pub(crate) batch: usize,
    /// Rows per second.
    pub(crate) bare: f64,
    /// Shares of that.
    pub(crate) one_at_a_time: f64,
    pub(crate) pipelined: f64,
    /// Requests of one row per second.
    pub(crate) http: f64,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { model, batch, bare, one_at_a_time, pipelined, http } = self;
        write!(f, "| {model} | {batch} | {bare:.0} | {one_at_a_time:.3} | {pipelined:.3} | {http:.0} |")
    }
}

/// All of them.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut table = "| model | rows in a batch | bare Burn loop, rows/s | one at a time ÷ bare | pipelined ÷ bare | HTTP, `.npy`, requests/s |\n\
                     |---|---|---|---|---|---|\n"
        .to_owned();
    for row in rows {
        // Writing to a string does not fail.
        let _ = writeln!(table, "{row}");
    }
    table
}

/// The middle one.
pub(crate) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Puts the table into the page, in place of the device's section.
pub(crate) fn write(page: &Path, command: &str, device: &str, rows: &[Row]) -> Result<(), String> {
    let text = std::fs::read_to_string(page).map_err(|error| format!("cannot read {}: {error}", page.display()))?;
    let section = format!("```sh\n{command}\n```\n\n{}\n\n{}", Machine::this().line(), table(rows));
    std::fs::write(page, with(&text, device, &section))
        .map_err(|error| format!("cannot write {}: {error}", page.display()))
}

/// `page`, with this in the section of `device`.
fn with(page: &str, device: &str, section: &str) -> String {
    let (before, devices) = page.split_once(HEADING).unwrap_or((page, "\n"));
    let mut sections = devices.split("\n### ");
    let about = sections.next().unwrap_or_default().trim_end();
    let mut kept: Vec<String> = sections
        .filter(|kept| kept.lines().next() != Some(device) && !kept.contains("not yet measured"))
        .map(|kept| format!("### {}", kept.trim_end()))
        .collect();
    kept.push(format!("### {device}\n\n{}", section.trim_end()));
    format!("{}\n\n{HEADING}{about}\n\n{}\n", before.trim_end(), kept.join("\n\n"))
}
