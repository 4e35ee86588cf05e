//! Which of the formats a body is in, by its media type.

use bytes::Bytes;

use super::{DecodeError, EncodeError, json, npy};
use crate::value::{DType, Signature, Value, ValueKind, Values};

/// The format of a request's or an answer's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `application/json`.
    Json,
    /// `application/x-npy`: one tensor, as `numpy.save` writes it.
    Npy,
    /// `text/plain`: one text, in UTF-8.
    Text,
    /// `application/octet-stream`: raw bytes.
    Bytes,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 4] = [Self::Json, Self::Npy, Self::Text, Self::Bytes];

    /// The media type to send.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Npy => "application/x-npy",
            Self::Text => "text/plain; charset=utf-8",
            Self::Bytes => "application/octet-stream",
        }
    }

    /// The format of this media type, whatever its parameters. `application/x-www-form-urlencoded` is taken for JSON:
    /// it is what `curl -d` sends, and no form is ever sent here.
    pub fn of_media_type(media_type: &str) -> Option<Self> {
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        let is = |name: &str| essence.eq_ignore_ascii_case(name);
        if is("application/json") || is("application/x-www-form-urlencoded") {
            Some(Self::Json)
        } else if is("application/x-npy") || is("application/npy") {
            Some(Self::Npy)
        } else if is("text/plain") {
            Some(Self::Text)
        } else if is("application/octet-stream") {
            Some(Self::Bytes)
        } else {
            None
        }
    }

    /// The first format that an `Accept` header names; `None` where it leaves the choice.
    pub fn accepted(accept: &str) -> Option<Self> {
        accept.split(',').find_map(Self::of_media_type)
    }

    /// Reads the inputs of a call.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(self, body: &Bytes, signature: &Signature) -> Result<Values, DecodeError> {
        match self {
            Self::Json => json::decode(body, signature),
            Self::Npy => npy::decode(body, signature),
            Self::Text | Self::Bytes => whole(self, body, signature),
        }
    }

    /// Writes the outputs of a call in this format, or, where they cannot be, in the one that suits them: raw bytes and
    /// JSON.
    ///
    /// # Errors
    /// [`EncodeError`].
    pub fn encode(self, signature: &Signature, values: &[Value]) -> Result<(Self, Bytes), EncodeError> {
        match (self, values) {
            (Self::Npy, [Value::Tensor(array)]) if array.dtype() != DType::BF16 => {
                Ok((self, npy::encode(values)?.into()))
            }
            (Self::Text, [Value::Text(text)]) => Ok((self, text.clone().into())),
            (_, [Value::Bytes(bytes)]) => Ok((Self::Bytes, bytes.clone())),
            _ => {
                let mut body = Vec::with_capacity(128);
                json::encode(signature, values, &mut body)?;
                Ok((Self::Json, body.into()))
            }
        }
    }
}

/// A body that is one value: text, raw bytes, or a list of one text.
fn whole(format: Format, body: &Bytes, signature: &Signature) -> Result<Values, DecodeError> {
    let [input] = signature.inputs.as_slice() else {
        let problem = format!("the method takes {} inputs: send them as JSON", signature.inputs.len());
        return Err(DecodeError(problem));
    };
    let text = || {
        let text = std::str::from_utf8(body).map_err(|error| {
            DecodeError(format!("input \"{}\": the text is not UTF-8 at byte {}", input.name(), error.valid_up_to()))
        });
        text.map(str::to_owned)
    };
    let value = match (format, input.kind()) {
        (Format::Text, ValueKind::Text) => Value::Text(text()?),
        (Format::Text, ValueKind::List) => Value::List(vec![serde_json::Value::String(text()?)]),
        (Format::Bytes, ValueKind::Bytes) => Value::Bytes(body.clone()),
        (_, kind) => {
            let taken: &[Format] = match kind {
                ValueKind::Tensor => &[Format::Json, Format::Npy],
                ValueKind::List | ValueKind::Text => &[Format::Json, Format::Text],
                ValueKind::Json => &[Format::Json],
                ValueKind::Bytes => &[Format::Bytes],
            };
            let taken: Vec<_> = taken.iter().map(|format| format.media_type()).collect();
            let (name, media_type, taken) = (input.name(), format.media_type(), taken.join(" or "));
            let problem = format!("input \"{name}\": a {kind} cannot be sent as {media_type}: send {taken}");
            return Err(DecodeError(problem));
        }
    };
    Ok(std::iter::once(value).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::ValueSpec;

    #[test]
    fn media_types() {
        let check = |text, expected| assert_eq!(Format::of_media_type(text), expected, "{text}");
        check("application/json", Some(Format::Json));
        check("Application/JSON; charset=utf-8", Some(Format::Json));
        check("application/x-www-form-urlencoded", Some(Format::Json));
        check("application/x-npy", Some(Format::Npy));
        check("text/plain;charset=utf-8", Some(Format::Text));
        check("application/octet-stream", Some(Format::Bytes));
        check("text/csv", None);
        check("", None);
        assert_eq!(Format::accepted("text/html, application/x-npy;q=0.5, */*"), Some(Format::Npy));
        assert_eq!(Format::accepted("*/*"), None);
    }

    #[test]
    fn whole_bodies() {
        let check = |format: Format, kind, body: &'static [u8], expected: Result<Value, &str>| {
            let inputs = vec![ValueSpec::of_kind(kind, "x")];
            let signature = Signature { inputs, outputs: Vec::new(), batching: None, streams: false };
            let found = format.decode(&Bytes::from_static(body), &signature);
            match expected {
                Ok(value) => assert_eq!(found.expect("decodes").as_slice(), [value]),
                Err(part) => assert!(found.expect_err("is refused").to_string().contains(part)),
            }
        };
        check(Format::Text, ValueKind::Text, b"hi", Ok(Value::Text("hi".into())));
        check(Format::Text, ValueKind::List, b"hi", Ok(Value::List(vec!["hi".into()])));
        check(Format::Bytes, ValueKind::Bytes, b"\xff", Ok(Value::Bytes(Bytes::from_static(b"\xff"))));
        check(Format::Text, ValueKind::Text, b"hi\xff", Err("input \"x\": the text is not UTF-8 at byte 2"));
        check(
            Format::Text,
            ValueKind::Tensor,
            b"hi",
            Err("a tensor cannot be sent as text/plain; charset=utf-8: send application/json or application/x-npy"),
        );
        check(
            Format::Bytes,
            ValueKind::Text,
            b"hi",
            Err("a text cannot be sent as application/octet-stream: send application/json or text/plain"),
        );
    }
}
