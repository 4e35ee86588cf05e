//! Objects and arrays, member by member: who reads them says what to do with each.

use std::borrow::Cow;

use super::super::DecodeError;
use super::fault::found;
use super::scanner::Scanner;

/// Reads the object that begins where `scanner` stands. `member` is told a member's name and where that stands, and reads its
/// value, before which the scanner stands then.
///
/// # Errors
/// What `member` says, or what of the object was expected, where `what` says what it is.
pub(crate) fn object<'a>(
    scanner: &mut Scanner<'a>,
    what: &str,
    mut member: impl FnMut(&mut Scanner<'a>, &[u8], usize) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    open(scanner, b'{', what)?;
    scanner.skip_space();
    let mut open = !scanner.eat(b'}');
    while open {
        scanner.skip_space();
        if scanner.peek() != b'"' {
            return Err(expected("the name of a member", what, scanner));
        }
        let at = scanner.at;
        let name = name(scanner)?;
        scanner.skip_space();
        if !scanner.eat(b':') {
            return Err(expected("`:` after the name of a member", what, scanner));
        }
        scanner.skip_space();
        member(scanner, &name, at)?;
        open = goes_on(scanner, b'}', what)?;
    }
    Ok(())
}

/// Reads the array that begins where `scanner` stands. `element` reads each element, before which the scanner stands then.
///
/// # Errors
/// What `element` says, or what of the array was expected, where `what` says what it is.
pub(crate) fn array<'a>(
    scanner: &mut Scanner<'a>,
    what: &str,
    mut element: impl FnMut(&mut Scanner<'a>) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    open(scanner, b'[', what)?;
    scanner.skip_space();
    let mut open = !scanner.eat(b']');
    while open {
        scanner.skip_space();
        element(scanner)?;
        open = goes_on(scanner, b']', what)?;
    }
    Ok(())
}

fn open(scanner: &mut Scanner<'_>, first: u8, what: &str) -> Result<(), DecodeError> {
    if scanner.eat(first) {
        return Ok(());
    }
    Err(DecodeError(format!("expected {what}, found {} (byte {})", found(scanner.body, scanner.at), scanner.at)))
}

/// Whether a comma comes, or the end.
fn goes_on(scanner: &mut Scanner<'_>, last: u8, what: &str) -> Result<bool, DecodeError> {
    scanner.skip_space();
    if scanner.eat(b',') {
        return Ok(true);
    }
    if scanner.eat(last) {
        return Ok(false);
    }
    Err(expected(&format!("`,` or `{}`", char::from(last)), what, scanner))
}

#[cold]
fn expected(part: &str, what: &str, scanner: &Scanner<'_>) -> DecodeError {
    let found = found(scanner.body, scanner.at);
    DecodeError(format!("expected {part} of {what} at byte {}, found {found}", scanner.at))
}

/// Reads the name of a member, which begins with `"` here.
fn name<'a>(scanner: &mut Scanner<'a>) -> Result<Cow<'a, [u8]>, DecodeError> {
    let quoted = scanner.rest().get(1..).unwrap_or_default();
    // Whatever is not plain is for serde, to read or to complain about.
    match quoted.iter().position(|byte| !matches!(byte, b' ' | b'!' | b'#'..=b'[' | b']'..=b'~')) {
        Some(length) if quoted[length] == b'"' => {
            scanner.at += length + 2;
            Ok(Cow::Borrowed(&quoted[..length]))
        }
        _ => scanner.serde::<String>(|| "the name of a member".to_owned()).map(|name| Cow::Owned(name.into_bytes())),
    }
}
