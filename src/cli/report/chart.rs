//! Line charts in SVG, as little of it as they take.
//!
//! Colours are CSS variables with a value for light and one for dark surroundings; the text is the page's.

use std::fmt::Write;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 320.0;
/// Room for titles and labels.
const LEFT: f64 = 76.0;
const RIGHT: f64 = 40.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 48.0;
/// Lines that are told apart by colour; further ones are dashed.
const COLOURS: usize = 8;

/// What the charts' classes look like.
pub(crate) const STYLE: &str = "\
:root{--ink:#1b1f24;--faint:#5c6670;--grid:#dfe3e8;--ground:#ffffff;\
--c0:#0a62c4;--c1:#c2410c;--c2:#137a3b;--c3:#8a3ffc;--c4:#b8860b;--c5:#0e7c86;--c6:#be185d;--c7:#57606a}\
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ed;--faint:#9aa5b1;--grid:#30363d;--ground:#0f1317;\
--c0:#6cb0ff;--c1:#ff9b5e;--c2:#5fd38d;--c3:#c4a1ff;--c4:#eac54f;--c5:#56d4dd;--c6:#ff86b7;--c7:#b1bac4}}\
svg{font:13px system-ui,sans-serif;fill:var(--ink)}\
.ground{fill:var(--ground)}.title{font-weight:600;font-size:15px}.label{fill:var(--faint)}\
.grid{stroke:var(--grid);stroke-width:1}.line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}";

/// One line of a chart.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// The values along an axis that are marked, each with its label; the first and the last are its ends.
pub(crate) struct Axis {
    title: &'static str,
    marks: Vec<(f64, String)>,
    logarithmic: bool,
}

pub(crate) struct Chart {
    pub(crate) title: &'static str,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) lines: Vec<Line>,
}

impl Axis {
    /// From 0 up to at least `most`, in four to ten steps of 1, 2 or 5 times a power of ten.
    pub(crate) fn linear(title: &'static str, most: f64, label: impl Fn(f64) -> String) -> Self {
        let most = if most > 0.0 { most } else { 1.0 };
        let power = 10_f64.powf((most / 10.0).log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|step| step * power).into_iter().find(|step| most / step <= 8.0);
        let step = step.unwrap_or(power * 20.0);
        let marks = (0..=(most / step).ceil() as u32).map(|at| f64::from(at) * step);
        Self { title, marks: marks.map(|mark| (mark, label(mark))).collect(), logarithmic: false }
    }

    /// From below `least` to above `most`, at 1, 2 and 5 times powers of ten, or at these alone where that is many.
    pub(crate) fn logarithmic(title: &'static str, least: f64, most: f64, label: impl Fn(f64) -> String) -> Self {
        let least = least.max(1e-9);
        let most = most.max(least * 1.001);
        let decades = least.log10().floor() as i32..=most.log10().ceil() as i32;
        let steps: &[f64] = if decades.clone().count() > 4 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let all: Vec<f64> = decades.flat_map(|power| steps.iter().map(move |step| step * 10_f64.powi(power))).collect();
        let first = all.iter().rposition(|&mark| mark <= least * 1.000_001).unwrap_or(0);
        let last = all.iter().position(|&mark| mark >= most * 0.999_999).unwrap_or(all.len() - 1);
        let marks = all[first..=last].iter().map(|&mark| (mark, label(mark))).collect();
        Self { title, marks, logarithmic: true }
    }

    /// Exactly these marks, at a logarithmic scale.
    pub(crate) fn marked(title: &'static str, marks: Vec<(f64, String)>) -> Self {
        Self { title, marks, logarithmic: true }
    }

    /// Where `value` lies between the axis' ends, 0 to 1.
    fn share(&self, value: f64) -> f64 {
        let scale = |value: f64| if self.logarithmic { value.max(1e-9).log10() } else { value };
        let ends = self.marks.first().zip(self.marks.last());
        let (from, to) = ends.map_or((0.0, 1.0), |(first, last)| (scale(first.0), scale(last.0)));
        if to > from { ((scale(value) - from) / (to - from)).clamp(0.0, 1.0) } else { 0.0 }
    }
}

impl Chart {
    fn x(&self, value: f64) -> f64 {
        LEFT + self.x.share(value) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.share(value) * (HEIGHT - TOP - BOTTOM)
    }

    /// The chart as a group of elements, so far down; and how high it is, its legend included.
    fn group(&self, down: f64) -> (String, f64) {
        let mut svg = format!("<g transform=\"translate(0,{down})\">");
        let text = |svg: &mut String, class: &str, x: f64, y: f64, anchor: &str, text: &str| {
            // Writing to a String cannot fail.
            let _ = write!(
                svg,
                "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>",
                escaped(text)
            );
        };
        text(&mut svg, "title", LEFT, 18.0, "start", self.title);
        text(&mut svg, "label", WIDTH - RIGHT, 18.0, "end", self.y.title);
        text(&mut svg, "label", (LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 8.0, "middle", self.x.title);
        let rule = |svg: &mut String, x1: f64, y1: f64, x2: f64, y2: f64| {
            let _ = write!(svg, "<line class=\"grid\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>");
        };
        for (mark, label) in &self.y.marks {
            let y = self.y(*mark);
            rule(&mut svg, LEFT, y, WIDTH - RIGHT, y);
            text(&mut svg, "label", LEFT - 8.0, y + 4.0, "end", label);
        }
        for (mark, label) in &self.x.marks {
            let x = self.x(*mark);
            rule(&mut svg, x, TOP, x, HEIGHT - BOTTOM);
            text(&mut svg, "label", x, HEIGHT - BOTTOM + 18.0, "middle", label);
        }
        for (at, line) in self.lines.iter().enumerate() {
            let points = line.points.iter().map(|&(x, y)| format!("{:.1},{:.1}", self.x(x), self.y(y)));
            let mut points: Vec<String> = points.collect();
            if let [only] = points.as_slice() {
                // A line from a point to itself is a dot.
                points.push(only.clone());
            }
            let _ = write!(svg, "<polyline class=\"line\" style=\"{}\" points=\"{}\"/>", stroke(at), points.join(" "));
        }
        let (mut x, mut y) = (LEFT, HEIGHT + 12.0);
        for (at, line) in self.lines.iter().enumerate() {
            let wide = 44.0 + 7.5 * line.name.chars().count() as f64;
            if x + wide > WIDTH - RIGHT && x > LEFT {
                (x, y) = (LEFT, y + 20.0);
            }
            let _ = write!(
                svg,
                "<line style=\"{}\" stroke-width=\"3\" x1=\"{x}\" y1=\"{y}\" x2=\"{}\" y2=\"{y}\"/>",
                stroke(at),
                x + 22.0
            );
            text(&mut svg, "key", x + 28.0, y + 4.0, "start", &line.name);
            x += wide;
        }
        svg.push_str("</g>");
        (svg, y + 20.0)
    }
}

/// The charts one below the other. With `alone`, the SVG is a file of its own, with a ground and a style.
pub(crate) fn svg(charts: &[Chart], alone: bool) -> String {
    let (mut groups, mut height) = (String::new(), 8.0);
    for chart in charts {
        let (group, high) = chart.group(height);
        groups.push_str(&group);
        height += high + 16.0;
    }
    let own = if alone {
        format!("<style>{STYLE}</style><rect class=\"ground\" width=\"100%\" height=\"100%\"/>")
    } else {
        String::new()
    };
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">{own}{groups}</svg>"
    )
}

fn stroke(line: usize) -> String {
    let dash = match line / COLOURS {
        0 => String::new(),
        more => format!(";stroke-dasharray:{} 4", 4 * more),
    };
    format!("stroke:var(--c{}){dash}", line % COLOURS)
}

/// Text for XML and HTML.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            control if control.is_control() => escaped.push('\u{fffd}'),
            plain => escaped.push(plain),
        }
    }
    escaped
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Whether every element that is opened is closed, in order, and no text has a bare `<` or `&`.
    pub(crate) fn is_well_formed(text: &str) -> bool {
        let mut open: Vec<&str> = Vec::new();
        for piece in text.split('<').skip(1) {
            let Some((tag, content)) = piece.split_once('>') else { return false };
            let entities = content.split('&').skip(1).chain(tag.split('&').skip(1));
            let known = |rest: &str| ["amp;", "lt;", "gt;", "quot;"].iter().any(|entity| rest.starts_with(entity));
            if !entities.clone().all(known) || tag.matches('"').count() % 2 == 1 {
                return false;
            }
            let name = tag.split([' ', '/']).next().unwrap_or_default();
            match tag.strip_prefix('/') {
                Some(closed) => {
                    if open.pop() != Some(closed) {
                        return false;
                    }
                }
                None if tag.ends_with('/') || tag.starts_with('!') || tag.starts_with("meta") => {}
                None => open.push(name),
            }
        }
        open.is_empty()
    }

    fn labels(axis: &Axis) -> String {
        axis.marks.iter().map(|(_, label)| label.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn axes_have_round_marks_around_their_values() {
        let linear = |most| labels(&Axis::linear("", most, |mark| format!("{mark}")));
        assert_eq!(linear(1100.0), "0 200 400 600 800 1000 1200");
        assert_eq!(linear(8.0), "0 1 2 3 4 5 6 7 8");
        assert_eq!(linear(0.0), "0 0.2 0.4 0.6000000000000001 0.8 1");
        let log = |least, most| labels(&Axis::logarithmic("", least, most, |mark| format!("{}", mark.round())));
        assert_eq!(log(55.0, 900.0), "50 100 200 500 1000");
        assert_eq!(log(55.0, 2_345_678.0), "10 100 1000 10000 100000 1000000 10000000");
        assert_eq!(log(100.0, 100.0), "100 200");
    }

    #[test]
    fn a_chart_is_well_formed_and_within_its_bounds() {
        let chart = || Chart {
            title: "a < b & c",
            x: Axis::linear("s", 3.0, |mark| format!("{mark}")),
            y: Axis::linear("\"y\"", 10.0, |mark| format!("{mark}")),
            lines: (0..20).map(|at| Line { name: format!("<{at}>"), points: vec![(0.0, 1.0), (3.0, 99.0)] }).collect(),
        };
        for alone in [true, false] {
            let svg = svg(&[chart(), chart()], alone);
            assert!(is_well_formed(&svg), "{svg}");
            assert_eq!(svg.matches("<polyline").count(), 40);
            assert_eq!(svg.contains("<style>"), alone);
            assert!(svg.contains("a &lt; b &amp; c") && svg.contains("stroke-dasharray"));
        }
        let chart = chart();
        assert_eq!((chart.x(0.0), chart.x(3.0)), (LEFT, WIDTH - RIGHT));
        assert_eq!((chart.y(0.0), chart.y(99.0)), (HEIGHT - BOTTOM, TOP));
    }

    #[test]
    fn the_check_for_form_finds_faults() {
        assert!(is_well_formed("<a><b x=\"1\"/>&amp;</a>"));
        for wrong in ["<a>", "<a><b></a></b>", "<a>&</a>", "<a x=\"1></a>", "<a", "</a>"] {
            assert!(!is_well_formed(wrong), "{wrong}");
        }
    }
}
