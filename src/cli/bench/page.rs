//! The report of `ekiden bench`.

use super::results::{Measured, Results};
use crate::cli::report::chart::{Axis, Chart, Line};
use crate::cli::report::page::Page;
use crate::cli::report::units::{round_micros, thousands, trimmed};

/// What was found, as a page.
pub(super) fn page(results: &Results) -> Page {
    let from = if results.loads.iter().any(|load| load.rate.is_some()) {
        "from when each request was due"
    } else {
        "from when each request was sent"
    };
    Page {
        title: "ekiden bench",
        subject: results.title(),
        rows: results.rows(),
        notes: results.notes(),
        charts: vec![latencies(&results.loads), throughput(&results.loads)],
        foot: format!("ekiden {}; latencies of successes, {from}.", results.ekiden),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::results::tests::example;
    use crate::cli::report::chart::tests::is_well_formed;

    #[test]
    fn the_page_needs_nothing_else_and_is_well_formed() {
        let page = page(&example()).html();
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
        assert!(is_well_formed(&page(&results).html()));
        let svg = page(&results).svg();
        assert!(is_well_formed(&svg) && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}
