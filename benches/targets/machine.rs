//! What the numbers were measured on, with what, and when.

use std::process::Command;
use std::time::SystemTime;

use actix_web::http::header::HttpDate;
use serde::Serialize;

#[derive(Serialize)]
pub(crate) struct Machine {
    pub(crate) date: String,
    pub(crate) cores: usize,
    pub(crate) cpu: String,
    pub(crate) os: String,
    pub(crate) versions: Vec<(&'static str, String)>,
}

impl Machine {
    pub(crate) fn this() -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
        // "Tue, 24 Nov 2026 13:15:32 GMT"
        let now = HttpDate::from(SystemTime::now()).to_string();
        let rustc = said(Command::new("rustc").arg("--version")).unwrap_or_default();
        let commit = said(Command::new("git").args(["rev-parse", "--short", "HEAD"]));
        let commit = commit.map(|commit| format!(" at {commit}")).unwrap_or_default();
        Self {
            date: now.split(' ').skip(1).take(3).collect::<Vec<_>>().join(" "),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            cpu: model.map_or("unknown CPU", |(_, model)| model).to_owned(),
            os: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            versions: vec![
                ("ekiden", format!("{}{commit}", env!("CARGO_PKG_VERSION"))),
                ("rustc", rustc.split(' ').nth(1).unwrap_or("unknown").to_owned()),
                ("burn", locked("burn")),
                ("actix-web", locked("actix-web")),
            ],
        }
    }

    /// In one line.
    pub(crate) fn line(&self) -> String {
        let Self { date, cores, cpu, os, versions } = self;
        let versions: Vec<String> = versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
        format!("{date}; {cores} cores, {cpu}, {os}; {}", versions.join(", "))
    }
}

/// The version of a dependency that this was built with.
fn locked(package: &str) -> String {
    let entry = format!("name = \"{package}\"\nversion = \"");
    let version = include_str!("../../Cargo.lock").split_once(&entry).and_then(|(_, rest)| rest.split_once('"'));
    version.map_or("unknown", |(version, _)| version).to_owned()
}

fn said(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned())
}
