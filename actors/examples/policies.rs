//! Draws what the policies make of rising load, by simulation: `cargo run --release -p ekiden-actors --example policies`
//! writes `docs/policies.svg`.

use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::time::Duration;

use ekiden_actors::MethodLimits;
use ekiden_actors::simulator::{Model, Pattern, Policy, Report, Traffic, simulate};

const DEADLINE: Duration = Duration::from_millis(100);
/// A batch of 64 takes 20 ms, give or take a third.
const MODEL: Model = Model { alpha: Duration::from_millis(4), beta: Duration::from_micros(250), noise: 0.3 };
const BATCH: NonZeroUsize = NonZeroUsize::MIN.saturating_add(63);
const EXECUTORS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);
const LOADS: usize = 31;
/// The highest load, as a multiple of what the executors can do.
const MOST: f64 = 3.0;

struct Line {
    name: &'static str,
    colour: &'static str,
    policy: Policy,
}

fn lines() -> Vec<Line> {
    let plain = |rows, ms| Policy::Plain { max_batch_size: rows, window: Duration::from_millis(ms) };
    let small = NonZeroUsize::MIN.saturating_add(15);
    let limits = MethodLimits { max_batch_size: BATCH, timeout: None, ..MethodLimits::default() };
    vec![
        Line { name: "window of 10 ms, 16 rows", colour: "#e0a030", policy: plain(small, 10) },
        Line { name: "window of 10 ms, 64 rows", colour: "#c0507a", policy: plain(BATCH, 10) },
        Line { name: "greedy, 64 rows", colour: "#6a8caf", policy: plain(BATCH, 0) },
        Line { name: "adaptive, 64 rows", colour: "#1a7f5a", policy: Policy::Ekiden(limits) },
    ]
}

fn capacity() -> f64 {
    MODEL.capacity(BATCH.get()) * EXECUTORS.get() as f64
}

fn load_at(step: usize) -> f64 {
    MOST * (step + 1) as f64 / LOADS as f64
}

/// The reports of one policy, for rising loads.
fn reports(policy: &Policy) -> Vec<Report> {
    let report = |step: usize| {
        let rate = capacity() * load_at(step);
        let calls = (rate * 8.0) as usize;
        let traffic = Traffic::new(Pattern::Poisson, rate, calls, &[Some(DEADLINE)], step as u64);
        simulate(policy, &traffic, &MODEL, EXECUTORS, Duration::from_secs(2), step as u64)
    };
    (0..LOADS).map(report).collect()
}

const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 240.0;

/// One panel: axes, a grid, and a line per policy. `value` is given as a share of the panel's height.
fn panel(
    svg: &mut String,
    (left, top): (f64, f64),
    title: &str,
    ticks: &[(f64, String)],
    of: &[(Line, Vec<Report>)],
    needs_answers: bool,
    value: impl Fn(&Report) -> f64,
) -> std::fmt::Result {
    writeln!(svg, r#"<g transform="translate({left} {top})">"#)?;
    writeln!(svg, r#"<text class="title" x="0" y="-16">{title}</text>"#)?;
    for (at, label) in ticks {
        let y = HEIGHT * (1.0 - at);
        writeln!(
            svg,
            r#"<path class="grid" d="M0 {y:.1}H{WIDTH}"/><text x="-8" y="{:.1}" text-anchor="end">{label}</text>"#,
            y + 4.0
        )?;
    }
    for tick in 0..=6 {
        let x = WIDTH * f64::from(tick) / 6.0;
        let load = MOST * f64::from(tick) / 6.0;
        writeln!(
            svg,
            r#"<path class="grid" d="M{x:.1} 0V{HEIGHT}"/><text x="{x:.1}" y="{:.1}" text-anchor="middle">{load}×</text>"#,
            HEIGHT + 18.0
        )?;
    }
    writeln!(
        svg,
        r#"<text x="{:.1}" y="{:.1}" text-anchor="middle">load, as a multiple of what two executors can do</text>"#,
        WIDTH / 2.0,
        HEIGHT + 40.0
    )?;
    for (line, reports) in of {
        let mut path = String::new();
        // Where hardly anybody is in time, there is no latency to speak of.
        for (step, report) in
            reports.iter().enumerate().take_while(|(_, report)| !needs_answers || report.share() > 0.01)
        {
            let (x, y) = (WIDTH * load_at(step) / MOST, HEIGHT * (1.0 - value(report).clamp(0.0, 1.05)));
            write!(path, "{}{x:.1} {y:.1}", if step == 0 { "M" } else { "L" })?;
        }
        writeln!(
            svg,
            r#"<path d="{path}" fill="none" stroke="{}" stroke-width="2.5" stroke-linejoin="round"/>"#,
            line.colour
        )?;
    }
    writeln!(svg, "</g>")
}

fn draw(of: &[(Line, Vec<Report>)]) -> Result<String, std::fmt::Error> {
    let mut svg = String::new();
    writeln!(
        svg,
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 980 400" font-family="system-ui, sans-serif" font-size="12" fill="#444">"##
    )?;
    writeln!(
        svg,
        r##"<style>.grid{{stroke:#e4e4e4;fill:none}}.title{{font-size:14px;font-weight:600;fill:#222}}</style>"##
    )?;
    writeln!(svg, r##"<rect width="980" height="400" fill="#fff"/>"##)?;
    let shares: Vec<_> = [0.0, 0.25, 0.5, 0.75, 1.0].map(|at| (at, format!("{:.0} %", at * 100.0))).into();
    panel(&mut svg, (60.0, 50.0), "Answers within 100 ms, per second, of capacity", &shares, of, false, |report| {
        report.goodput() / capacity()
    })?;
    let times: Vec<_> = [0.0, 0.25, 0.5, 0.75, 1.0].map(|at| (at, format!("{:.0} ms", at * 100.0))).into();
    panel(&mut svg, (550.0, 50.0), "Latency of the answers in time, 99th percentile", &times, of, true, |report| {
        report.p99.as_secs_f64() / DEADLINE.as_secs_f64()
    })?;
    for (at, (line, _)) in of.iter().rev().enumerate() {
        let x = 60.0 + 225.0 * at as f64;
        writeln!(
            svg,
            r#"<path d="M{x} 366h26" stroke="{}" stroke-width="2.5"/><text x="{}" y="370">{}</text>"#,
            line.colour,
            x + 34.0,
            line.name
        )?;
    }
    writeln!(svg, "</svg>")?;
    Ok(svg)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let of: Vec<_> = lines()
        .into_iter()
        .map(|line| {
            let reports = reports(&line.policy);
            (line, reports)
        })
        .collect();
    println!("{:>5}  {}", "load", of.iter().map(|(line, _)| format!("{:>26}", line.name)).collect::<String>());
    for step in (0..LOADS).step_by(5) {
        let shares = of.iter().map(|(_, reports)| format!("{:>25.1}%", 100.0 * reports[step].goodput() / capacity()));
        println!("{:>5.2}  {}", load_at(step), shares.collect::<String>());
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/policies.svg");
    std::fs::write(path, draw(&of)?)?;
    println!("written to {path}");
    Ok(())
}
