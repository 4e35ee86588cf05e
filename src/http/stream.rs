//! Answers that are streams: server-sent events, or the chunks as they are.
//!
//! The events are those of the HTML standard, section 9.2: a chunk is `data: …` in JSON, the end `event: done`, and what goes
//! wrong once the answer has begun `event: error`, with the body that an error has otherwise.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use futures_core::Stream;

use super::call;
use super::error::Refusal;
use crate::codec::Format;
use crate::serving::{ChunkStream, MethodHandle};
use crate::value::{Signature, Value, ValueKind};

/// What reverse proxies ask before they hold an answer back until they have all of it.
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// What the chunks look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Events,
    /// One behind the other, as a text or as raw bytes. An error breaks the connection off, for there is no other way to tell.
    Raw(Format),
}

/// Waits for the first chunk of `chunks`, and answers with it and all that follow.
///
/// # Errors
/// What the call has failed with before that.
pub(super) async fn answer(
    request: &HttpRequest,
    method: &MethodHandle,
    mut chunks: ChunkStream,
) -> Result<HttpResponse, Refusal> {
    let form = Form::of(request.headers().get(header::ACCEPT), method.signature());
    let first = match chunks.next().await {
        Some(chunk) => form.chunk(method.signature(), &chunk.map_err(|error| Refusal::from(&error))?)?,
        None => Bytes::new(),
    };
    let path = request.path().to_owned();
    let body = Body { form, method: method.clone(), chunks: Some(chunks), next: first, path };
    let mut response = HttpResponse::with_body(StatusCode::OK, BoxBody::new(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(form.media_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(BUFFERING, HeaderValue::from_static("no"));
    Ok(response)
}

impl Form {
    /// Events, unless the output is bytes, which they cannot carry, or a text that is asked for as it is.
    fn of(accept: Option<&HeaderValue>, signature: &Signature) -> Self {
        let [output] = signature.outputs.as_slice() else { return Self::Events };
        let accept = accept.and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        match output.kind() {
            ValueKind::Bytes => Self::Raw(Format::Bytes),
            ValueKind::Text if accept.split(',').find_map(Self::named) == Some(Self::Raw(Format::Text)) => {
                Self::Raw(Format::Text)
            }
            _ => Self::Events,
        }
    }

    fn named(media_type: &str) -> Option<Self> {
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case("text/event-stream") {
            return Some(Self::Events);
        }
        Format::of_media_type(media_type).map(Self::Raw)
    }

    const fn media_type(self) -> &'static str {
        match self {
            Self::Events => "text/event-stream",
            Self::Raw(format) => format.media_type(),
        }
    }

    /// One chunk.
    ///
    /// # Errors
    /// If JSON cannot hold it.
    fn chunk(self, signature: &Signature, outputs: &[Value]) -> Result<Bytes, Refusal> {
        match self {
            Self::Raw(format) => Ok(call::encode(format, signature, outputs)?.1),
            Self::Events => {
                let (_, json) = call::encode(Format::Json, signature, outputs)?;
                // JSON as it is written here has no line breaks, which would end the event's line.
                Ok([b"data: ", json.as_ref(), b"\n\n"].concat().into())
            }
        }
    }

    fn end(self) -> Bytes {
        match self {
            Self::Events => Bytes::from_static(b"event: done\ndata: {}\n\n"),
            Self::Raw(_) => Bytes::new(),
        }
    }
}

/// An answer that is being sent. Where the client goes, it is dropped, and its call cancelled.
struct Body {
    form: Form,
    method: MethodHandle,
    /// Until they have ended.
    chunks: Option<ChunkStream>,
    /// What is sent before anything else; empty for nothing.
    next: Bytes,
    /// For the log.
    path: String,
}

impl Body {
    /// The last event, of an answer that has gone wrong.
    ///
    /// # Errors
    /// What has gone wrong, where there are no events.
    fn fail(&mut self, refusal: &Refusal) -> Result<Bytes, Refused> {
        self.chunks = None;
        let (path, code, message) = (self.path.as_str(), refusal.code, refusal.message.as_str());
        if refusal.status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::warn!(path, code, message, "failed while it was streaming");
        } else {
            tracing::debug!(path, code, message, "broken off while it was streaming");
        }
        match self.form {
            Form::Events => Ok(format!("event: error\ndata: {}\n\n", refusal.json()).into()),
            Form::Raw(_) => Err(Refused(message.to_owned())),
        }
    }
}

/// Why a connection is broken off.
#[derive(Debug, thiserror::Error)]
#[error("the stream was broken off: {0}")]
struct Refused(String);

impl MessageBody for Body {
    type Error = Refused;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Refused>>> {
        let this = self.get_mut();
        loop {
            // An empty one would be taken for the end.
            if !this.next.is_empty() {
                return Poll::Ready(Some(Ok(std::mem::take(&mut this.next))));
            }
            let Some(chunks) = &mut this.chunks else { return Poll::Ready(None) };
            let written = match ready!(Pin::new(chunks).poll_next(cx)) {
                Some(Ok(outputs)) => this.form.chunk(this.method.signature(), &outputs),
                Some(Err(error)) => Err(Refusal::from(&error)),
                None => {
                    this.chunks = None;
                    Ok(this.form.end())
                }
            };
            match written.or_else(|refusal| this.fail(&refusal)) {
                Ok(bytes) => this.next = bytes,
                Err(refused) => return Poll::Ready(Some(Err(refused))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::ValueSpec;

    fn signature(kinds: &[ValueKind]) -> Signature {
        let outputs = kinds.iter().enumerate().map(|(at, &kind)| ValueSpec::of_kind(kind, format!("y{at}")));
        Signature { inputs: Vec::new(), outputs: outputs.collect(), batching: None, streams: true }
    }

    #[test]
    fn the_form_suits_the_output_and_then_who_asks() {
        let check = |accept: Option<&'static str>, kinds: &[ValueKind], expected| {
            let accept = accept.map(HeaderValue::from_static);
            assert_eq!(Form::of(accept.as_ref(), &signature(kinds)), expected, "{accept:?}");
        };
        const TEXT: &[ValueKind] = &[ValueKind::Text];
        check(None, TEXT, Form::Events);
        check(Some("*/*"), TEXT, Form::Events);
        check(Some("text/plain"), TEXT, Form::Raw(Format::Text));
        check(Some("text/html, Text/Plain; q=0.5"), TEXT, Form::Raw(Format::Text));
        check(Some("text/event-stream, text/plain"), TEXT, Form::Events);
        check(Some("application/json, text/plain"), TEXT, Form::Events);
        check(Some("text/plain"), &[ValueKind::Json], Form::Events);
        check(Some("text/plain"), &[ValueKind::Text, ValueKind::Text], Form::Events);
        check(None, &[ValueKind::Bytes], Form::Raw(Format::Bytes));
    }

    #[test]
    fn an_event_is_a_line_of_json() {
        let chunk = Form::Events.chunk(&signature(&[ValueKind::Text]), &[Value::Text("a\n\"b\"".to_owned())]);
        assert_eq!(chunk.ok(), Some(Bytes::from_static(b"data: \"a\\n\\\"b\\\"\"\n\n")));
        let bytes = Value::Bytes(Bytes::from_static(b"x"));
        let refused = Form::Events.chunk(&signature(&[ValueKind::Bytes, ValueKind::Bytes]), &[bytes.clone(), bytes]);
        assert_eq!(refused.err().map(|refusal| refusal.status), Some(StatusCode::NOT_ACCEPTABLE));
    }
}
