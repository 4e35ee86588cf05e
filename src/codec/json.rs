//! JSON bodies.
//!
//! A sole input is its value, bare: nested arrays for a tensor (a number for a scalar), an array for a list, a string
//! for a text, anything at all for a JSON value. It may as well come by its name,
//! `{"features": [[5.1, 3.5, 1.4, 0.2]]}`, except a JSON value, where an object could not be told from the value.
//! Several inputs are an object with a member for each, in any order; no inputs, an empty object or an empty body.
//! A sole output is written bare, several as an object.
//!
//! Tensors take numbers in their own dtype: integers without fraction or exponent, booleans as `true` and `false`.

mod fault;
mod nesting;
mod number;
mod object;
mod print;
mod scanner;
mod tensor;
mod texts;

use smallvec::SmallVec;

pub(crate) use self::fault::{excerpt, found};
pub(crate) use self::object::{array, object};
pub use self::print::encode;
pub(crate) use self::print::flat;
pub(crate) use self::scanner::Scanner;
pub(crate) use self::tensor::read as tensor;
pub(crate) use self::texts::texts;
use super::DecodeError;
use crate::value::{Signature, Value, ValueSpec, Values};

/// Reads the inputs of a method, in the signature's order.
///
/// # Errors
/// What is wrong with the body, in one line: the input, what was expected, what came, and where.
pub fn decode(body: &[u8], signature: &Signature) -> Result<Values, DecodeError> {
    if body.starts_with("\u{feff}".as_bytes()) {
        return Err(DecodeError("the body starts with a byte order mark, which JSON does not allow".to_owned()));
    }
    let mut scanner = Scanner::new(body);
    scanner.skip_space();
    let specs = signature.inputs.as_slice();
    let values = match specs {
        [] if scanner.rest().is_empty() => Values::new(),
        [spec] if matches!(spec, ValueSpec::Json(_)) || scanner.peek() != b'{' => {
            let mut values = Values::new();
            values.push(value(&mut scanner, spec)?);
            values
        }
        _ => members(&mut scanner, specs)?,
    };
    scanner.skip_space();
    if scanner.rest().is_empty() {
        return Ok(values);
    }
    Err(DecodeError(format!("expected the end of the body at byte {}, found {}", scanner.at, found(body, scanner.at))))
}

/// Reads the value of one input.
fn value(scanner: &mut Scanner<'_>, spec: &ValueSpec) -> Result<Value, DecodeError> {
    let expect = |first: u8, what: &str| {
        if scanner.peek() == first {
            return Ok(());
        }
        let found = found(scanner.body, scanner.at);
        Err(DecodeError(format!("input \"{}\": expected {what}, found {found} (byte {})", spec.name(), scanner.at)))
    };
    let what = || format!("input \"{}\"", spec.name());
    match spec {
        ValueSpec::Tensor(spec) => tensor(scanner, spec).map(Value::Tensor),
        ValueSpec::List(_) | ValueSpec::Texts(_) => {
            expect(b'[', "list, an array")?;
            scanner.serde(what).map(Value::List)
        }
        ValueSpec::Text(_) => {
            expect(b'"', "text, a string")?;
            scanner.serde(what).map(Value::Text)
        }
        ValueSpec::Json(_) => scanner.serde(what).map(Value::Json),
        ValueSpec::Bytes(name) => Err(DecodeError(format!(
            "input \"{name}\": expected bytes, which JSON cannot carry: send application/octet-stream"
        ))),
    }
}

/// Reads an object with a member for each input.
fn members(scanner: &mut Scanner<'_>, specs: &[ValueSpec]) -> Result<Values, DecodeError> {
    if scanner.peek() != b'{' {
        return Err(DecodeError(format!(
            "expected an object with {}, found {} (byte {})",
            names(specs),
            found(scanner.body, scanner.at),
            scanner.at
        )));
    }
    let mut slots: SmallVec<[Option<Value>; 2]> = specs.iter().map(|_| None).collect();
    object(scanner, "the object of inputs", |scanner, name, at| {
        let index = specs.iter().position(|spec| spec.name().as_bytes() == name);
        let found = index.and_then(|index| Some((specs.get(index)?, slots.get_mut(index)?)));
        let (spec, slot) = found.ok_or_else(|| unknown(name, at, specs))?;
        if slot.is_some() {
            return Err(DecodeError(format!("input \"{}\" comes a second time (byte {at})", spec.name())));
        }
        *slot = Some(value(scanner, spec)?);
        Ok(())
    })?;
    if slots.iter().any(Option::is_none) {
        return Err(missing(specs, &slots));
    }
    Ok(slots.into_iter().flatten().collect())
}

#[cold]
fn unknown(name: &[u8], at: usize, specs: &[ValueSpec]) -> DecodeError {
    // The excerpt is short, which bounds the comparison.
    let name = excerpt(name);
    let nearest = specs
        .iter()
        .map(|spec| (strsim::jaro_winkler(&name, spec.name()), spec.name()))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|one, other| one.0.total_cmp(&other.0));
    let hint = nearest.map_or_else(String::new, |(_, nearest)| format!("; did you mean \"{nearest}\"?"));
    DecodeError(format!("no input is named \"{name}\" (byte {at}): expected {}{hint}", names(specs)))
}

#[cold]
fn missing(specs: &[ValueSpec], slots: &[Option<Value>]) -> DecodeError {
    let missing = specs.iter().zip(slots).filter(|(_, slot)| slot.is_none()).map(|(spec, _)| spec);
    DecodeError(format!("missing from the object of inputs: {}; expected {}", names(missing), names(specs)))
}

/// The inputs' names, for a message.
fn names<'a>(specs: impl IntoIterator<Item = &'a ValueSpec>) -> String {
    let names: Vec<String> = specs.into_iter().map(|spec| format!("\"{}\"", spec.name())).collect();
    if names.is_empty() { "no members".to_owned() } else { names.join(", ") }
}
