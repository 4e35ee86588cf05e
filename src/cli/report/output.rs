//! Where commands that measure write what they found.

use std::fmt::Display;
use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::Args;

use super::page::Page;
use crate::cli::{Failure, print, tell};

#[derive(Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Write all numbers as JSON; "-" is standard output, and the table goes to standard error then
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a page with charts where FILE ends in .html, or the charts alone where it ends in .svg; "-" is a page on
    /// standard output, and the table goes to standard error then
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// One place for each kind of output that is wanted.
#[derive(Debug)]
pub(crate) struct Outputs {
    json: Option<Sink>,
    report: Option<(Sink, Kind)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Sink {
    Standard,
    File(PathBuf),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Html,
    Svg,
}

impl OutputArgs {
    /// Where to write to. Nothing is written, but that each file can be is found out: later it would cost a measurement.
    ///
    /// # Errors
    /// [`Failure::Usage`] where a file cannot be written, is neither a page nor a chart, or is to be two things.
    pub(crate) fn check(&self) -> Result<Outputs, Failure> {
        let usage = |message: String| Err(Failure::Usage(message));
        if let Some(file) = self.json.as_ref().filter(|_| self.json == self.report) {
            return usage(format!("--json and --report cannot both be written to {}", file.display()));
        }
        let json = self.json.as_deref().map(|file| Sink::new("--json", file)).transpose()?;
        let report = match &self.report {
            None => None,
            Some(file) => match Kind::of(file) {
                Some(kind) => Some((Sink::new("--report", file)?, kind)),
                None => {
                    return usage(format!("--report {}: expected a name that ends in .html or .svg", file.display()));
                }
            },
        };
        Ok(Outputs { json, report })
    }
}

impl Outputs {
    /// Prints the table, and writes what else is wanted.
    pub(crate) fn write(
        &self,
        table: impl Display,
        json: impl FnOnce() -> Result<String, Failure>,
        page: impl FnOnce() -> Page,
    ) -> Result<(), Failure> {
        let mut sinks = self.json.iter().chain(self.report.as_ref().map(|(sink, _)| sink));
        if sinks.any(|sink| *sink == Sink::Standard) {
            tell(&mut std::io::stderr(), table);
        } else {
            print(table)?;
        }
        if let Some(sink) = &self.json {
            sink.write(&json()?)?;
        }
        match &self.report {
            Some((sink, Kind::Html)) => sink.write(&page().html()),
            Some((sink, Kind::Svg)) => sink.write(&page().svg()),
            None => Ok(()),
        }
    }
}

impl Kind {
    fn of(file: &Path) -> Option<Self> {
        let extension = file.extension().map(|extension| extension.to_ascii_lowercase());
        match extension.as_ref().and_then(|extension| extension.to_str()) {
            Some("html") => Some(Self::Html),
            Some("svg") => Some(Self::Svg),
            _ => (file == Path::new("-")).then_some(Self::Html),
        }
    }
}

impl Sink {
    fn new(option: &str, file: &Path) -> Result<Self, Failure> {
        if file == Path::new("-") {
            return Ok(Self::Standard);
        }
        match is_writable(file) {
            Ok(()) => Ok(Self::File(file.to_owned())),
            Err(error) => Err(Failure::Usage(format!("{option} {}: cannot be written: {error}", file.display()))),
        }
    }

    fn write(&self, text: &str) -> Result<(), Failure> {
        match self {
            Self::Standard => print(text),
            Self::File(file) => {
                fs::write(file, text).map_err(|error| Failure::Run(format!("cannot write {}: {error}", file.display())))
            }
        }
    }
}

/// Opens a file for writing and leaves it as it is; one that is not there yet is made, and removed again.
fn is_writable(file: &Path) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    match fs::metadata(file) {
        // Whoever reads from a pipe would take this for its end.
        Ok(found) if !found.is_file() && !found.is_dir() => Ok(()),
        Ok(_) => options.write(true).open(file).map(drop),
        Err(_) => match options.write(true).create_new(true).open(file) {
            Ok(_) => fs::remove_file(file),
            // A link to what is not there yet.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: Option<&Path>, report: Option<&Path>) -> Result<Outputs, String> {
        let owned = |file: Option<&Path>| file.map(Path::to_owned);
        let checked = OutputArgs { json: owned(json), report: owned(report) }.check();
        checked.map_err(|failure| match failure {
            Failure::Usage(message) => message,
            Failure::Run(message) => format!("not of usage: {message}"),
        })
    }

    #[test]
    fn files_are_tried_and_left_as_they_are() {
        let folder = std::env::temp_dir().join(format!("ekiden-output-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let (old, new) = (folder.join("old.json"), folder.join("new.SVG"));
        fs::write(&old, "old").expect("a file");

        let outputs = check(Some(&old), Some(&new)).expect("both can be written");
        assert_eq!(outputs.json, Some(Sink::File(old.clone())));
        assert_eq!(outputs.report, Some((Sink::File(new.clone()), Kind::Svg)));
        assert_eq!(fs::read_to_string(&old).expect("is there"), "old");
        assert!(!new.exists(), "nothing has been measured yet");

        let refused = |json: Option<&Path>, report: Option<&Path>, part: &str| {
            let message = check(json, report).expect_err(part);
            assert!(message.contains(part), "{message}");
        };
        refused(Some(&folder), None, "--json");
        refused(None, Some(&folder.join("nowhere/x.html")), "cannot be written");
        refused(None, Some(&folder.join("x.pdf")), "x.pdf: expected a name that ends in .html or .svg");
        refused(None, Some(&folder.join("html")), "ends in .html or .svg");
        refused(Some(&new), Some(&new), "cannot both be written");
        fs::remove_dir_all(&folder).expect("is removed");
    }

    #[test]
    fn a_dash_is_standard_output() {
        let dash = Some(Path::new("-"));
        assert_eq!(check(dash, None).expect("is right").json, Some(Sink::Standard));
        assert_eq!(check(None, dash).expect("is right").report, Some((Sink::Standard, Kind::Html)));
        assert!(check(dash, dash).expect_err("two in one").contains("cannot both"));
    }
}
