//! The report: a page that needs nothing else, with the table and the charts.

use super::chart::{self, Axis, Chart, Line, escaped};
use super::results::{Measured, Results, micros, trimmed};

const STYLE: &str = "\
body{margin:2rem auto;max-width:64rem;padding:0 1rem;background:var(--ground);color:var(--ink);\
font:15px/1.5 system-ui,sans-serif}\
h1{font-size:1.4rem;margin-bottom:0}p{color:var(--faint);overflow-wrap:anywhere}\
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}\
th,td{padding:.35rem .6rem;text-align:right;border-bottom:1px solid var(--grid);white-space:nowrap}\
th{color:var(--faint);font-weight:600;font-size:.8rem}th:last-child,td:last-child{text-align:left}\
svg{width:100%;height:auto;margin-top:2rem}";

/// The page.
pub(super) fn html(results: &Results) -> String {
    let mut table = String::new();
    for (at, row) in results.rows().iter().enumerate() {
        let tag = if at == 0 { "th" } else { "td" };
        let cells: String = row.iter().map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell))).collect();
        table.push_str(&format!("<tr>{cells}</tr>\n"));
    }
    let notes: String = results.notes().iter().map(|note| format!("<p>{}</p>\n", escaped(note))).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>ekiden bench</title>\n\
         <style>{}{STYLE}</style>\n</head>\n<body>\n<h1>ekiden bench</h1>\n<p>{}</p>\n\
         <div class=\"wide\"><table>\n{table}</table></div>\n{notes}{}\n\
         <p>ekiden {}; latencies of successes, {}.</p>\n</body>\n</html>\n",
        chart::STYLE,
        escaped(&results.title()),
        chart::svg(&charts(results), false),
        results.ekiden,
        if results.loads.iter().any(|load| load.rate.is_some()) {
            "from when each request was due"
        } else {
            "from when each request was sent"
        },
    )
}

/// The charts alone.
pub(super) fn svg(results: &Results) -> String {
    chart::svg(&charts(results), true)
}

fn charts(results: &Results) -> [Chart; 2] {
    [latencies(&results.loads), throughput(&results.loads)]
}

/// Latency by percentile. The scale, 1 / (1 - quantile), gives each further nine the same room.
fn latencies(loads: &[Measured]) -> Chart {
    let most_answers = loads.iter().map(|load| load.ok).max().unwrap_or(0).max(10) as f64;
    let nines = (most_answers.log10().ceil() as i32).min(6);
    let percent = |power: i32| match power {
        0 => "0 %".to_owned(),
        1 => "90 %".to_owned(),
        power => format!("{:.*} %", (power - 2) as usize, 100.0 - 100.0 / 10_f64.powi(power)),
    };
    let mut marks: Vec<(f64, String)> = (0..=nines).map(|power| (10_f64.powi(power), percent(power))).collect();
    marks.insert(1, (2.0, "50 %".to_owned()));
    let lines = loads.iter().map(|load| {
        // The maximum stands where one answer in all lies beyond.
        let x = |quantile: f64| (1.0 / (1.0 - quantile)).min(load.ok as f64);
        let points = load.percentiles_us.iter().map(|&(quantile, micros)| (x(quantile), micros));
        Line { name: load.label(), points: points.collect() }
    });
    let lines: Vec<Line> = lines.collect();
    let values = || lines.iter().flat_map(|line| line.points.iter().map(|&(_, micros)| micros));
    let least = values().fold(f64::INFINITY, f64::min);
    let most = values().fold(0.0, f64::max);
    let least = if least.is_finite() { least } else { 1.0 };
    Chart {
        title: "Latency by percentile",
        x: Axis::marked("percentile of the successes", marks),
        y: Axis::logarithmic("latency, logarithmic", least, most, round_micros),
        lines,
    }
}

fn throughput(loads: &[Measured]) -> Chart {
    let line = |load: &Measured| {
        let points = load.ok_by_second.iter().enumerate();
        Line { name: load.label(), points: points.map(|(at, &ok)| (at as f64 + 0.5, ok as f64)).collect() }
    };
    let lines: Vec<Line> = loads.iter().map(line).collect();
    let points = || lines.iter().flat_map(|line| &line.points);
    let longest = points().fold(0.0, |most: f64, point| most.max(point.0 + 0.5));
    let most = points().fold(0.0, |most: f64, point| most.max(point.1));
    Chart {
        title: "Throughput over time",
        x: Axis::linear("seconds of the measurement", longest, trimmed),
        y: Axis::linear("successes per second", most, thousands),
        lines,
    }
}

/// A round number of microseconds.
fn round_micros(value: f64) -> String {
    match value {
        ..0.999_999 => micros(value),
        ..999.9 => format!("{} µs", trimmed(value)),
        ..999_999.0 => format!("{} ms", trimmed(value / 1e3)),
        _ => format!("{} s", trimmed(value / 1e6)),
    }
}

fn thousands(value: f64) -> String {
    if value < 1000.0 { trimmed(value) } else { format!("{}k", trimmed(value / 1e3)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::chart::tests::is_well_formed;
    use crate::cli::bench::results::tests::example;

    #[test]
    fn the_page_needs_nothing_else_and_is_well_formed() {
        let page = html(&example());
        assert!(is_well_formed(&page), "{page}");
        for outside in ["<script", "src=", "<link", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("prefers-color-scheme:dark"));
        assert!(page.contains("POST http://x/?a=1&amp;b=2") && page.contains("&lt;full&gt;"), "{page}");
        assert!(page.contains("<td>429: 12, closed: 5</td>"));
        assert_eq!(page.matches("<polyline").count(), 4);
        let marks = ["0 %", "50 %", "90 %", "99 %", "99.9 %", "10 µs", "1 ms", "10 s", "1k"];
        assert!(marks.iter().all(|mark| page.contains(&format!(">{mark}</text>"))), "{page}");
    }

    #[test]
    fn nothing_measured_is_a_report_too() {
        let mut results = example();
        for load in &mut results.loads {
            (load.ok, load.latency_us) = (0, None);
            load.percentiles_us.clear();
            load.ok_by_second.clear();
        }
        assert!(is_well_formed(&html(&results)));
        let svg = svg(&results);
        assert!(is_well_formed(&svg) && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}
