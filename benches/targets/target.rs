//! What is promised, what was found, and whether the one keeps the other.

use std::fmt;

use serde::{Serialize, Serializer};

/// A bound that a number has to keep.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// Shown for comparison; nothing is promised.
    Shown,
}

/// A promise and what became of it.
pub(crate) struct Finding {
    /// Under which conditions.
    pub(crate) what: String,
    /// Which number, with its unit.
    pub(crate) number: &'static str,
    pub(crate) target: Target,
    pub(crate) found: Spread,
}

/// The middle of the rounds, and how far they were apart.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) most: f64,
}

impl Target {
    /// Whether a number keeps it; none where nothing is promised.
    pub(crate) fn is_met(self, number: f64) -> Option<bool> {
        match self {
            Self::AtLeast(least) => Some(number >= least),
            Self::AtMost(most) => Some(number <= most),
            Self::Shown => None,
        }
    }
}

impl Finding {
    /// `rounds`: the number in each round.
    pub(crate) fn new(what: impl Into<String>, number: &'static str, target: Target, rounds: Vec<f64>) -> Self {
        Self { what: what.into(), number, target, found: Spread::of(rounds) }
    }

    pub(crate) fn is_met(&self) -> Option<bool> {
        self.target.is_met(self.found.median)
    }
}

impl Spread {
    pub(crate) fn of(mut rounds: Vec<f64>) -> Self {
        rounds.sort_by(f64::total_cmp);
        let at = |index: usize| rounds.get(index).copied().unwrap_or(f64::NAN);
        let middle = rounds.len() / 2;
        let even = rounds.len().is_multiple_of(2) && middle > 0;
        let median = if even { (at(middle - 1) + at(middle)) / 2.0 } else { at(middle) };
        Self { least: at(0), median, most: at(rounds.len().saturating_sub(1)) }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, "≥ {}", digits(*least)),
            Self::AtMost(most) => write!(f, "≤ {}", digits(*most)),
            Self::Shown => f.write_str("–"),
        }
    }
}

impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Judged<'a> {
            what: &'a str,
            number: &'a str,
            target: Target,
            found: Spread,
            met: Option<bool>,
        }
        let Self { what, number, target, found } = self;
        Judged { what, number, target: *target, found: *found, met: self.is_met() }.serialize(serializer)
    }
}

/// A number as precise as it deserves: a ratio with three decimals, a time with one, a large count in thousands.
pub(crate) fn digits(number: f64) -> String {
    match number.abs() {
        ..10.0 if number.fract() == 0.0 => format!("{number}"),
        ..10.0 => format!("{}", (number * 1e3).round() / 1e3),
        ..1e3 => format!("{}", (number * 10.0).round() / 10.0),
        ..1e6 => thousands(number.round() as i64),
        _ => format!("{:.2} million", number / 1e6),
    }
}

fn thousands(number: i64) -> String {
    let digits = number.abs().to_string();
    let mut text = if number < 0 { "-".to_owned() } else { String::new() };
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
