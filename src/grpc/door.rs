//! What every request passes on its way in, and every refusal on its way out.

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ekiden_actors::{CallError, CallOptions};
use prost::Message;
use tonic::body::Body;
use tonic::codegen::http::header::HeaderMap;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{BoxFuture, Service};
use tonic::server::NamedService;
use tonic::{Code, Status};

use super::contents;
use super::inference::ModelInferRequest;
use super::status::too_large;
use crate::oip::{Held, Inflated};

/// How long the client waits, in the protocol's own notation.
const TIMEOUT: &str = "grpc-timeout";
/// How the request's messages are compressed, if they are; and how the answer's may be.
const ENCODING: &str = "grpc-encoding";
const ACCEPTED: &str = "grpc-accept-encoding";
/// Not at all.
const IDENTITY: &str = "identity";
/// The outcome, as a number.
const STATUS: &str = "grpc-status";
/// What it is about, in words.
const MESSAGE: &str = "grpc-message";
/// The most that is kept of a client's time for the way back.
const WAY_BACK: Duration = Duration::from_millis(10);

/// When the client gives up.
#[derive(Clone, Copy, Debug)]
struct Deadline {
    came: Instant,
    timeout: Duration,
}

impl Deadline {
    fn new(headers: &HeaderMap) -> Option<Self> {
        let timeout = timeout(headers.get(TIMEOUT)?.to_str().ok()?)?;
        Some(Self { came: Instant::now(), timeout })
    }

    /// What the call may take, if its request has been read by now. A client that is answered at its deadline has gone by
    /// then, and its call would count as cancelled: a twentieth of the time, of at most 10 ms, is kept for the way back.
    fn bound(&self, options: CallOptions) -> CallOptions {
        let way_back = (self.timeout / 20).min(WAY_BACK);
        let left = self.timeout.saturating_sub(way_back).saturating_sub(self.came.elapsed());
        CallOptions { timeout: Some(options.timeout.map_or(left, |timeout| timeout.min(left))), ..options }
    }
}

/// What bounds the calls of a request, as far as the client or the server has said.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    /// When the client gives up.
    deadline: Option<Deadline>,
    /// Where its messages are counted, if they come compressed.
    inflated: Option<Inflated>,
}

impl Bounds {
    /// As noted at the door.
    pub(super) fn of<T>(request: &tonic::Request<T>) -> Self {
        let extensions = request.extensions();
        Self { deadline: extensions.get().copied(), inflated: extensions.get().cloned() }
    }

    /// What a call may take, if its message has been read by now.
    pub(super) fn bound(&self, options: CallOptions) -> CallOptions {
        self.deadline.map_or(options, |deadline| deadline.bound(options))
    }

    /// What a message holds of the memory for such as come compressed.
    ///
    /// # Errors
    /// Those of [`Held::grow_to`].
    pub(super) fn hold(&self, message: &ModelInferRequest) -> Result<Option<Held>, CallError> {
        let Some(inflated) = &self.inflated else { return Ok(None) };
        let mut held = inflated.hold();
        let numbers = message.inputs.iter().filter_map(|input| input.contents.as_ref()).map(contents::memory);
        // Of a message whose memory raw elements share, little else is there.
        held.grow_to(message.encoded_len() + numbers.sum::<usize>())?;
        Ok(Some(held))
    }
}

/// Up to 8 digits and a unit, as the gRPC protocol over HTTP/2 has it; `None` for anything else.
fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let plain = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.parse::<u64>().ok().filter(|_| plain)?;
    Some(match unit {
        "H" => Duration::from_secs(number * 60 * 60),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// An answer is compressed as its request was, and otherwise not at all: clients that say what they could read, as they all
/// do, have not asked for the time that it takes.
fn answer_alike(headers: &mut HeaderMap) {
    match headers.get(ENCODING).cloned() {
        Some(encoding) => headers.insert(ACCEPTED, encoding),
        None => headers.remove(ACCEPTED),
    };
}

/// Notes when the client gives up, before its message is read, and where what is inflated is counted; and gives messages that
/// are too large the status that every other refusal for their size has.
#[derive(Clone, Debug)]
pub(super) struct Door<S> {
    pub(super) service: S,
    pub(super) max_message_bytes: usize,
    pub(super) inflated: Inflated,
}

impl<S: NamedService> NamedService for Door<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Door<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if let Some(deadline) = Deadline::new(request.headers()) {
            request.extensions_mut().insert(deadline);
        }
        if request.headers().get(ENCODING).is_some_and(|encoding| encoding != IDENTITY) {
            request.extensions_mut().insert(self.inflated.clone());
        }
        answer_alike(request.headers_mut());
        let answer = self.service.call(request);
        let limit = self.max_message_bytes;
        Box::pin(async move { answer.await.map(|response| mended(response, limit)) })
    }
}

/// tonic says `OUT_OF_RANGE` of a message that is too large, and nothing here does; and nothing but `UNIMPLEMENTED` of a
/// procedure that there is not. Of a compression that it does not know, it says more, which is left as it is.
fn mended(response: Response<Body>, limit: usize) -> Response<Body> {
    match response.headers().get(STATUS).map(|code| Code::from_bytes(code.as_bytes())) {
        Some(Code::OutOfRange) => too_large(limit).into_http(),
        Some(Code::Unimplemented) if !response.headers().contains_key(MESSAGE) => {
            Status::unimplemented("there is no such procedure; ServerMetadata lists the extensions that work")
                .into_http()
        }
        _ => response,
    }
}

/// The same of a message in a stream.
pub(super) fn mended_status(status: Status, limit: usize) -> Status {
    if status.code() == Code::OutOfRange { too_large(limit) } else { status }
}

#[cfg(test)]
mod tests {
    use tonic::codegen::http::header::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn what_tonic_refuses_in_words_is_left_as_it_is() {
        let refused = |message: Option<&'static str>| {
            let mut response = Response::new(Body::default());
            response.headers_mut().insert(STATUS, HeaderValue::from_static("12"));
            response
                .headers_mut()
                .extend(message.map(|text| (HeaderName::from_static(MESSAGE), HeaderValue::from_static(text))));
            let response = mended(response, 1);
            response.headers().get(MESSAGE).map(|text| text.to_str().expect("text").to_owned()).expect("a message")
        };
        assert_eq!(refused(Some("zstd")), "zstd");
        assert!(refused(None).starts_with("there%20is%20no%20such%20procedure"), "{}", refused(None));
    }

    #[test]
    fn timeouts_are_read() {
        let seconds = Duration::from_secs;
        for (text, expected) in [
            ("1H", Some(seconds(3600))),
            ("2M", Some(seconds(120))),
            ("99999999S", Some(seconds(99_999_999))),
            ("99999999H", Some(seconds(99_999_999 * 3600))),
            ("5m", Some(Duration::from_millis(5))),
            ("0u", Some(Duration::ZERO)),
            ("7n", Some(Duration::from_nanos(7))),
            ("100000000S", None),
            ("S", None),
            ("", None),
            ("5", None),
            ("5s", None),
            ("-5S", None),
            ("+5S", None),
            ("5ü", None),
        ] {
            assert_eq!(timeout(text), expected, "{text:?}");
        }
    }

    #[test]
    fn the_smaller_timeout_counts() {
        let check = |given: u64, parameter: Option<u64>, expected: u64| {
            let deadline = Deadline { came: Instant::now(), timeout: Duration::from_millis(given) };
            let options = CallOptions { timeout: parameter.map(Duration::from_millis), ..CallOptions::default() };
            let found = deadline.bound(options).timeout.expect("there is one");
            let expected = Duration::from_millis(expected);
            assert!(found <= expected && found + Duration::from_secs(5) > expected, "{found:?} of {expected:?}");
        };
        check(60_000, None, 59_990);
        check(60_000, Some(70_000), 59_990);
        check(60_000, Some(50_000), 50_000);
        check(20, None, 19);
        let late = Deadline { came: Instant::now(), timeout: Duration::ZERO };
        assert_eq!(late.bound(CallOptions::default()).timeout, Some(Duration::ZERO));
    }
}
