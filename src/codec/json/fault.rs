//! What can be wrong inside a tensor, and the words for it. Only failing calls come here.

use super::super::DecodeError;
use super::nesting::Nesting;
use super::scanner::Scanner;
use crate::value::TensorSpec;

/// What is wrong inside a tensor, where the scanner stands. Small, for the hot loop's sake.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// Something else is there than an element of the tensor.
    Element,
    /// A number starts with 0 and goes on.
    LeadingZero,
    /// No digit after a point or an `e`.
    Digit,
    /// An integer was expected, and this number has a fraction or an exponent.
    Fraction,
    /// The number is outside the range of the dtype.
    Range,
    /// Neither `,` nor `]` after an element.
    Separator,
    /// An array opens where the rank, or the limit, forbids another dimension.
    TooDeep,
    /// An array opens where the tensor, so far, has elements.
    Deeper,
    /// An element stands where the tensor, so far, has arrays.
    Shallower,
    /// An array of this many elements closed where the ones before it had another number.
    Ragged(usize),
}

impl Fault {
    /// The message for a fault where `scanner` stands, `nesting` deep in the tensor of `spec`.
    #[cold]
    pub(super) fn explain(self, scanner: &Scanner<'_>, nesting: &Nesting, spec: &TensorSpec) -> DecodeError {
        let (body, at, dtype) = (scanner.body, scanner.at, spec.dtype());
        let (here, found) = (nesting.path(nesting.depth()), found(body, at));
        let outer = nesting.path(nesting.depth().saturating_sub(1));
        let first = "[0]".repeat(nesting.depth());
        let (place, problem) = match self {
            Self::Element => (here, format!("expected {dtype}, found {found}")),
            Self::LeadingZero => (here, "a number of several digits cannot start with 0 in JSON".to_owned()),
            Self::Digit => (here, format!("expected a digit, found {found}")),
            Self::Fraction => (here, format!("expected {dtype}, without fraction or exponent, found {found}")),
            Self::Range => (here, format!("expected {dtype}, found {found}, which is out of its range")),
            Self::Separator => (outer, format!("expected `,` or `]`, found {found}")),
            Self::TooDeep if spec.shape().is_some() => {
                (here, format!("expected {spec} (rank {}), found another dimension", nesting.deepest()))
            }
            Self::TooDeep => (here, format!("a tensor can have {} dimensions, found another", nesting.deepest())),
            Self::Deeper => (here, format!("expected {dtype}, as at {first}, found an array")),
            Self::Shallower => (here, format!("expected an array, as at {first}, found {found}")),
            Self::Ragged(count) => {
                let siblings = "[0]".repeat(nesting.depth().saturating_sub(1));
                let size = nesting.size(nesting.depth().saturating_sub(1));
                (outer, format!("has {count} elements, expected {size}, as in {siblings}"))
            }
        };
        let colon = if matches!(self, Self::Ragged(_)) { "" } else { ":" };
        let place = if place.is_empty() { colon.to_owned() } else { format!(" at {place}{colon}") };
        DecodeError(format!("input \"{}\"{place} {problem} (byte {at})", spec.name()))
    }
}

/// What stands at byte `at`, in words.
#[cold]
pub(crate) fn found(body: &[u8], at: usize) -> String {
    const NOT_JSON: [&str; 6] = ["NaN", "nan", "Infinity", "-Infinity", "inf", "-inf"];
    let rest = body.get(at..).unwrap_or_default();
    let Some(&first) = rest.first() else { return "the end of the body".to_owned() };
    if let Some(literal) = NOT_JSON.iter().find(|literal| rest.starts_with(literal.as_bytes())) {
        return format!("{literal}, which is not JSON");
    }
    for word in ["null", "true", "false"] {
        if rest.starts_with(word.as_bytes()) {
            return word.to_owned();
        }
    }
    match first {
        b'"' => "a string".to_owned(),
        b'[' => "an array".to_owned(),
        b'{' => "an object".to_owned(),
        b'-' | b'0'..=b'9' => {
            let length =
                rest.iter().take_while(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')).count();
            excerpt(&rest[..length])
        }
        0..=0x1f | 0x7f => format!("control character 0x{first:02x}"),
        _ => match String::from_utf8_lossy(&rest[..rest.len().min(4)]).chars().next() {
            Some(char) if char != char::REPLACEMENT_CHARACTER => format!("`{char}`"),
            _ => format!("byte 0x{first:02x}"),
        },
    }
}

/// At most 40 characters of a caller's text, for a message.
pub(crate) fn excerpt(text: &[u8]) -> String {
    const LONGEST: usize = 40;
    let text = String::from_utf8_lossy(&text[..text.len().min(4 * LONGEST)]);
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}

/// Where in `text` an error of serde's is: it counts lines and columns.
pub(super) fn byte_offset_of(error: &serde_json::Error, text: &[u8]) -> usize {
    if error.is_eof() {
        return text.len();
    }
    let line = text.split_inclusive(|&byte| byte == b'\n').take(error.line().saturating_sub(1)).map(<[u8]>::len);
    (line.sum::<usize>() + error.column().saturating_sub(1)).min(text.len())
}

/// An error of serde's without ` at line … column …`, for which [`byte_offset_of`] speaks. It may repeat a caller's text,
/// and does so at no length.
pub(super) fn without_position(error: &serde_json::Error) -> String {
    const LONGEST: usize = 200;
    let message = error.to_string();
    let end = message.rfind(" at line ").unwrap_or(message.len());
    match message[..end].char_indices().nth(LONGEST) {
        Some((cut, _)) => format!("{}…", &message[..cut]),
        None => message[..end].to_owned(),
    }
}
