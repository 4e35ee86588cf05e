//! What to send, and as what.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use ekiden::codec::{Format, npy};
use ekiden::value::{Signature, ValueKind, ValueSpec};

use super::{CallArgs, LONGEST, csv};
use crate::cli::Failure;

/// A body and its media type.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Body {
    pub(super) media_type: String,
    pub(super) bytes: Vec<u8>,
}

impl Body {
    /// What the command line gives; `None` where it gives nothing, and the method takes something.
    ///
    /// # Errors
    /// [`Failure::Usage`] if it cannot be read or is nothing for this method.
    pub(super) fn of(args: &CallArgs, signature: &Signature) -> Result<Option<Self>, Failure> {
        let (bytes, ending) = match (&args.data, &args.file) {
            (None, None) if signature.inputs.is_empty() => (Vec::new(), None),
            (None, None) => return Ok(None),
            (Some(data), _) if data != "-" => (data.clone().into_bytes(), None),
            (_, Some(file)) if file != Path::new("-") => (read(file)?, ending(file)),
            _ => (standard_input()?, None),
        };
        if let Some(given) = &args.content_type {
            if given.bytes().any(|byte| byte.is_ascii_control()) {
                return Err(Failure::Usage("--content-type: a media type has no control characters".to_owned()));
            }
            return Ok(Some(Self { media_type: given.clone(), bytes }));
        }
        if ending.as_deref() == Some("csv") && sole(signature) != Some(ValueKind::Bytes) {
            let file = args.file.as_deref().unwrap_or(Path::new("-")).display();
            let json = csv::json(&bytes, signature).map_err(|why| Failure::Usage(format!("--file {file}: {why}")))?;
            return Ok(Some(Self::new(Format::Json, json.into_bytes())));
        }
        Ok(Some(Self::new(told(&bytes, ending.as_deref(), signature), bytes)))
    }

    fn new(format: Format, bytes: Vec<u8>) -> Self {
        Self { media_type: format.media_type().to_owned(), bytes }
    }
}

/// What a file or a text is, by its name, by what the method takes, and by what it holds.
fn told(bytes: &[u8], ending: Option<&str>, signature: &Signature) -> Format {
    let is_json = || serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok();
    match (sole(signature), ending) {
        // Nothing else can be sent.
        (Some(ValueKind::Bytes), _) => Format::Bytes,
        (_, Some("json")) => Format::Json,
        (_, Some("npy")) => Format::Npy,
        (_, Some("txt")) | (Some(ValueKind::Text), _) => Format::Text,
        (Some(ValueKind::List), _) if !is_json() => Format::Text,
        _ if bytes.starts_with(npy::MAGIC) => Format::Npy,
        (_, Some(_)) if !is_json() => Format::Bytes,
        _ => Format::Json,
    }
}

/// The kind of a sole input.
fn sole(signature: &Signature) -> Option<ValueKind> {
    match signature.inputs.as_slice() {
        [input] => Some(ValueSpec::kind(input)),
        _ => None,
    }
}

fn ending(file: &Path) -> Option<String> {
    // Also a file without an ending is no text of the command line.
    Some(file.extension().map_or_else(String::new, |ending| ending.to_string_lossy().to_ascii_lowercase()))
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |why: String| Failure::Usage(format!("--file {}: {why}", file.display()));
    let opened = fs::File::open(file).map_err(|error| failed(error.to_string()))?;
    whole(opened).map_err(failed)
}

fn standard_input() -> Result<Vec<u8>, Failure> {
    whole(io::stdin().lock()).map_err(|why| Failure::Usage(format!("standard input: {why}")))
}

fn whole(from: impl Read) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    from.take(LONGEST + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > LONGEST {
        return Err(format!("it has more than {LONGEST} bytes, the most that is sent"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use ekiden::value::TensorSpec;

    use super::*;

    #[test]
    fn a_body_is_told_by_its_name_and_by_what_is_taken() {
        let check = |input: Option<ValueSpec>, ending, bytes: &[u8], expected| {
            let inputs = input.into_iter().collect();
            let signature = Signature { inputs, outputs: Vec::new(), batching: None, streams: false };
            assert_eq!(told(bytes, ending, &signature), expected, "{signature:?} {ending:?}");
        };
        let tensor = || Some(TensorSpec::f32("x", [None]).into());
        let kind = |kind| Some(ValueSpec::of_kind(kind, "x"));
        check(tensor(), Some("json"), b"[1]", Format::Json);
        check(tensor(), None, b"[1]", Format::Json);
        check(tensor(), None, b"\x93NUMPY\x01", Format::Npy);
        check(tensor(), Some("npy"), b"", Format::Npy);
        check(tensor(), Some("png"), b"\x89PNG", Format::Bytes);
        check(tensor(), None, b"nonsense", Format::Json);
        check(kind(ValueKind::Text), None, b"[1]", Format::Text);
        check(kind(ValueKind::List), None, b"[1]", Format::Json);
        check(kind(ValueKind::List), None, b"I love it", Format::Text);
        check(kind(ValueKind::List), Some("txt"), b"[1]", Format::Text);
        check(kind(ValueKind::Bytes), Some("json"), b"[1]", Format::Bytes);
        check(kind(ValueKind::Json), None, b"{}", Format::Json);
        check(None, None, b"", Format::Json);
    }
}
