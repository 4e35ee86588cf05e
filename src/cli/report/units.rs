//! Numbers as people read them.

/// A time in microseconds, with three digits.
pub(crate) fn micros(micros: f64) -> String {
    let (value, unit) = match micros {
        ..999.5 => (micros, "µs"),
        ..999_500.0 => (micros / 1e3, "ms"),
        _ => (micros / 1e6, "s"),
    };
    format!("{} {unit}", three_digits(value))
}

/// A number of bytes, with three digits.
pub(crate) fn bytes(bytes: u64) -> String {
    let bytes = bytes as f64;
    match bytes {
        ..1e3 => format!("{bytes} B"),
        ..999.5e3 => format!("{} kB", three_digits(bytes / 1e3)),
        ..999.5e6 => format!("{} MB", three_digits(bytes / 1e6)),
        _ => format!("{} GB", three_digits(bytes / 1e9)),
    }
}

fn three_digits(value: f64) -> String {
    match value {
        ..9.995 => format!("{value:.2}"),
        ..99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// A number without a needless fraction.
pub(crate) fn trimmed(number: f64) -> String {
    format!("{}", (number * 1e6).round() / 1e6)
}

/// A round number of microseconds, as at the marks of an axis.
pub(crate) fn round_micros(value: f64) -> String {
    match value {
        ..0.999_999 => micros(value),
        ..999.9 => format!("{} µs", trimmed(value)),
        ..999_999.0 => format!("{} ms", trimmed(value / 1e3)),
        _ => format!("{} s", trimmed(value / 1e6)),
    }
}

/// A round number, in thousands where it is large.
pub(crate) fn thousands(value: f64) -> String {
    if value < 1000.0 { trimmed(value) } else { format!("{}k", trimmed(value / 1e3)) }
}
