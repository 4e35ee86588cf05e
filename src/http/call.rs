//! `POST /v1/runners/{runner}/{method}`: a body in, the method's outputs out.

use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use ekiden_actors::{CallError, CallOptions, Priority};

use super::body::{self, Unread};
use super::error::Refusal;
use super::outbox::Outbox;
use super::{Api, admin, stream};
use crate::codec::Format;
use crate::serving::{Announced, MethodHandle};
use crate::value::{Signature, Value};

/// Identifies a request in logs; echoed, or made where the client sends none.
pub(crate) const REQUEST_ID: header::HeaderName = header::HeaderName::from_static("x-request-id");
/// How long the call may take, in milliseconds.
const TIMEOUT: header::HeaderName = header::HeaderName::from_static("ekiden-timeout-ms");
/// Whether the call goes before or after others: high, normal or low.
const PRIORITY: header::HeaderName = header::HeaderName::from_static("ekiden-priority");
/// The longest request id that is taken over.
const MAX_REQUEST_ID: usize = 128;

pub(super) async fn call(
    request: &HttpRequest,
    runner: &str,
    method: &str,
    payload: web::Payload,
    api: &Api,
    outbox: &Outbox,
) -> HttpResponse {
    let runner = api.serving.entry(runner);
    let found = runner.as_ref().map_err(CallError::clone).and_then(|runner| runner.method(method));
    let found = api.takes_calls().and(found);
    let mut announced = None;
    let on_wait = || announced = found.as_ref().ok().map(|method| method.announce());
    let body = body::read(request, payload, api.max_body_bytes, on_wait).await;
    let outcome = match found {
        Ok(method) => answer(request, method, body, announced, outbox).await,
        Err(error) => Err(admin::hint(method, Refusal::from(&error))),
    };
    finish(request, api, outcome, |response| response, Refusal::response)
}

/// What a call has come to, as an answer: logged, and with the request's id.
pub(super) fn finish<T>(
    request: &HttpRequest,
    api: &Api,
    outcome: Result<T, Refusal>,
    respond: impl FnOnce(T) -> HttpResponse,
    refuse: impl FnOnce(&Refusal) -> HttpResponse,
) -> HttpResponse {
    let id = request_id(request, api);
    let mut response = match outcome {
        Ok(answer) => {
            tracing::debug!(path = request.path(), id = ?id, "answered");
            respond(answer)
        }
        Err(refusal) => {
            let (status, code, message) = (refusal.status.as_u16(), refusal.code, refusal.message.as_str());
            if refusal.status == StatusCode::INTERNAL_SERVER_ERROR {
                tracing::warn!(path = request.path(), id = ?id, status, code, message, "failed");
            } else {
                tracing::debug!(path = request.path(), id = ?id, status, code, message, "refused");
            }
            refuse(&refusal)
        }
    };
    response.headers_mut().insert(REQUEST_ID, id);
    if api.goes().is_some() {
        response.head_mut().set_connection_type(ConnectionType::Close);
    }
    response
}

async fn answer(
    request: &HttpRequest,
    method: &MethodHandle,
    body: Result<Bytes, Unread>,
    announced: Option<Announced>,
    outbox: &Outbox,
) -> Result<HttpResponse, Refusal> {
    let refused = |error: CallError| {
        method.refuse(&error);
        Refusal::from(&error)
    };
    let body = body.map_err(|unread| unreadable(method, &unread))?;
    let format = request_format(request).inspect_err(|refusal| {
        method.refuse(&CallError::invalid_input(refusal.message.as_str()));
    })?;
    let options = options(request).map_err(refused)?;
    let inputs = format
        .decode(&body, method.signature())
        .map_err(|error| refused(CallError::invalid_input(error.to_string())))?;
    if method.signature().streams {
        let chunks = outbox.add(|group| method.stream_in(group, inputs, options, announced));
        return stream::answer(request, method, chunks.map_err(|error| Refusal::from(&error))?).await;
    }
    let called = outbox.add(|group| method.call_in(group, inputs, options, announced));
    let outputs = called.map_err(|error| Refusal::from(&error))?.outputs().await;
    let outputs = outputs.map_err(|error| Refusal::from(&error))?;
    let accepted = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = accepted.and_then(Format::accepted).unwrap_or(format);
    let (format, body) = encode(format, method.signature(), &outputs)?;
    let mut response = HttpResponse::with_body(StatusCode::OK, BoxBody::new(body));
    response.headers_mut().insert(header::CONTENT_TYPE, static_value(format));
    Ok(response)
}

/// Refuses a call whose body could not be read.
pub(super) fn unreadable(method: &MethodHandle, unread: &Unread) -> Refusal {
    method.refuse(&CallError::from(unread));
    Refusal::from(unread)
}

/// Outputs in this format, or in the one that suits them.
pub(super) fn encode(format: Format, signature: &Signature, outputs: &[Value]) -> Result<(Format, Bytes), Refusal> {
    format
        .encode(signature, outputs)
        .map_err(|error| Refusal::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", error.to_string()))
}

/// The format of the request's body, which is not compressed; JSON where it does not say.
fn request_format(request: &HttpRequest) -> Result<Format, Refusal> {
    let unsupported = |message| Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message);
    body::plain(request).map_err(unsupported)?;
    let Some(media_type) = request.headers().get(header::CONTENT_TYPE) else { return Ok(Format::Json) };
    media_type.to_str().ok().and_then(Format::of_media_type).ok_or_else(|| {
        let known: Vec<_> = Format::ALL.iter().map(|format| format.media_type()).collect();
        let message = format!("content-type {media_type:?} is not understood; send one of: {}", known.join(", "));
        unsupported(message)
    })
}

/// What the request's headers ask for.
///
/// # Errors
/// Which header is not understood, and what it may say.
pub(crate) fn options(request: &HttpRequest) -> Result<CallOptions, CallError> {
    Ok(CallOptions { timeout: timeout(request)?, priority: priority(request)? })
}

fn priority(request: &HttpRequest) -> Result<Priority, CallError> {
    let Some(value) = request.headers().get(PRIORITY) else { return Ok(Priority::default()) };
    let named = |priority: &Priority| value.as_bytes() == priority.name().as_bytes();
    Priority::ALL.into_iter().find(named).ok_or_else(|| {
        let names = Priority::ALL.map(Priority::name).join(", ");
        CallError::invalid_input(format!("header {PRIORITY}: expected one of {names}, found {value:?}"))
    })
}

fn timeout(request: &HttpRequest) -> Result<Option<Duration>, CallError> {
    let Some(value) = request.headers().get(TIMEOUT) else { return Ok(None) };
    let milliseconds = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let milliseconds = milliseconds.and_then(|text| text.parse::<u32>().ok()).filter(|&ms| ms > 0);
    match milliseconds {
        Some(milliseconds) => Ok(Some(Duration::from_millis(milliseconds.into()))),
        None => Err(CallError::invalid_input(format!(
            "header {TIMEOUT}: expected a whole number of milliseconds from 1 to {}, found {value:?}",
            u32::MAX
        ))),
    }
}

fn static_value(format: Format) -> HeaderValue {
    HeaderValue::from_static(format.media_type())
}

fn request_id(request: &HttpRequest, api: &Api) -> HeaderValue {
    sent_id(request).unwrap_or_else(|| {
        // Hexadecimal digits are always a header's value.
        HeaderValue::from_bytes(&api.request_ids.next()).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
    })
}

/// The id that the client has sent, if it is one that is taken over.
pub(crate) fn sent_id(request: &HttpRequest) -> Option<HeaderValue> {
    let id = request.headers().get(REQUEST_ID);
    id.filter(|id| !id.is_empty() && id.len() <= MAX_REQUEST_ID).cloned()
}
