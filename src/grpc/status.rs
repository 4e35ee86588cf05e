//! Refusals as statuses: one code per kind, the message, and when to try again where that is known.
//!
//! | error | code |
//! |---|---|
//! | input that does not fit, or that the method refuses | `INVALID_ARGUMENT` |
//! | no such model or version | `NOT_FOUND` |
//! | message too large, queue full | `RESOURCE_EXHAUSTED` |
//! | runner that cannot take calls now | `UNAVAILABLE` |
//! | method that failed, call that broke its executor | `INTERNAL` |
//! | not finished in time, or it would not be | `DEADLINE_EXCEEDED` |
//! | caller has gone | `CANCELLED` |
//!
//! `grpc-status-details-bin` has a `google.rpc.ErrorInfo` whose reason is the error's code as in the HTTP API, and a
//! `google.rpc.RetryInfo` where it is known when to try again; `grpc-retry-pushback-ms` says the latter to clients that try
//! again by themselves (gRFC A6).

use std::time::Duration;

use ekiden_actors::{CallError, Fault, OrderError};
use prost::Message;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::oip::RepositoryError;

/// The longest message, in bytes: it is sent in a header, and clients take a few kilobytes of those.
const LONGEST: usize = 1024;

/// When to try again, for clients that do so by themselves.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// A call that went wrong, as a status.
pub(super) fn refusal(error: &CallError) -> Status {
    let retry_after = error.retry_after();
    let (code, message) = (code(error), shortened(error.to_string()));
    let details = Details::new(code, &message, error.code(), retry_after).encode_to_vec();
    let mut metadata = MetadataMap::new();
    if let Some(after) = retry_after {
        let millis = u64::try_from(after.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        metadata.insert(PUSHBACK, MetadataValue::from(millis));
    }
    Status::with_details_and_metadata(code, message, details.into(), metadata)
}

/// A message of more bytes than the server takes.
pub(super) fn too_large(limit: usize) -> Status {
    refusal(&CallError::TooLarge(format!("the message is larger than max_body_bytes = {limit}").into()))
}

/// An order that was not carried out.
pub(super) fn order(error: &RepositoryError) -> Status {
    let message = shortened(error.to_string());
    match error {
        RepositoryError::Model(error) => refusal(error),
        RepositoryError::Order { error: OrderError::Impossible { .. } | OrderError::Busy, .. } => {
            Status::failed_precondition(message)
        }
        RepositoryError::Order { error: OrderError::Failed(_), .. } => Status::internal(message),
    }
}

pub(super) fn code(error: &CallError) -> Code {
    match error {
        CallError::InvalidInput(_) => Code::InvalidArgument,
        CallError::NotFound(_) => Code::NotFound,
        CallError::TooLarge(_) | CallError::QueueFull { .. } => Code::ResourceExhausted,
        CallError::Method(error) => match error.fault() {
            Fault::Input => Code::InvalidArgument,
            Fault::Method => Code::Internal,
        },
        CallError::Unavailable { .. } => Code::Unavailable,
        CallError::DeadlineExceeded { .. } => Code::DeadlineExceeded,
        CallError::Cancelled => Code::Cancelled,
        // The last never reaches a client.
        CallError::Crashed(_) | CallError::InsideRuntime => Code::Internal,
    }
}

/// A message that is not longer than a header may be.
pub(super) fn shortened(mut message: String) -> String {
    if message.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|&at| message.is_char_boundary(at)).unwrap_or(0);
        message.truncate(end);
        message.push('…');
    }
    message
}

/// `google.rpc.Status` (google/rpc/status.proto).
#[derive(Clone, PartialEq, Message)]
struct Details {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.ErrorInfo` (google/rpc/error_details.proto).
#[derive(Clone, PartialEq, Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
}

/// `google.rpc.RetryInfo` (google/rpc/error_details.proto).
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

impl Details {
    fn new(code: Code, message: &str, reason: &str, retry_after: Option<Duration>) -> Self {
        let info = ErrorInfo { reason: reason.to_ascii_uppercase(), domain: "ekiden".to_owned() };
        let mut details = vec![Any::new("google.rpc.ErrorInfo", &info)];
        details.extend(retry_after.map(|after| {
            let seconds = i64::try_from(after.as_secs()).unwrap_or(i64::MAX);
            let delay = Delay { seconds, nanos: after.subsec_nanos().cast_signed() };
            Any::new("google.rpc.RetryInfo", &RetryInfo { retry_delay: Some(delay) })
        }));
        Self { code: code.into(), message: message.to_owned(), details }
    }
}

impl Any {
    fn new(name: &str, message: &impl Message) -> Self {
        Self { type_url: format!("type.googleapis.com/{name}"), value: message.encode_to_vec() }
    }
}

#[cfg(test)]
mod tests {
    use ekiden_actors::MethodError;

    use super::*;

    #[test]
    fn each_error_has_its_code_its_reason_and_when_to_try_again() {
        let check = |error: CallError, code: Code, reason: &str, retry: Option<&str>| {
            let status = refusal(&error);
            assert_eq!((status.code(), status.message()), (code, error.to_string().as_str()));
            let details = Details::decode(status.details()).expect("details");
            assert_eq!((details.code, details.message.as_str()), (code.into(), status.message()));
            let info = ErrorInfo::decode(details.details[0].value.as_slice()).expect("an ErrorInfo");
            assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, "ekiden"));
            let pushback = status.metadata().get(PUSHBACK).map(|value| value.to_str().expect("text"));
            assert_eq!(pushback, retry);
            let delay = details.details.get(1).map(|retry| {
                assert_eq!(retry.type_url, "type.googleapis.com/google.rpc.RetryInfo");
                let delay = RetryInfo::decode(retry.value.as_slice()).expect("a RetryInfo").retry_delay;
                let Delay { seconds, nanos } = delay.expect("a delay");
                seconds as u64 * 1_000 + u64::from(nanos.unsigned_abs()).div_ceil(1_000_000)
            });
            assert_eq!(delay.map(|millis| millis.to_string()).as_deref(), retry);
        };
        let text = || "some text".into();
        let second = Duration::from_secs(1);
        check(CallError::InvalidInput(text()), Code::InvalidArgument, "INVALID_INPUT", None);
        check(CallError::NotFound(text()), Code::NotFound, "NOT_FOUND", None);
        check(CallError::TooLarge(text()), Code::ResourceExhausted, "TOO_LARGE", None);
        let retry_after = Duration::from_micros(1_234_567);
        let full = CallError::QueueFull { waiting: 1, rows: 1, limit: 1, retry_after };
        check(full, Code::ResourceExhausted, "QUEUE_FULL", Some("1235"));
        let refused = CallError::Method(MethodError::invalid_input("no"));
        check(refused, Code::InvalidArgument, "METHOD_INVALID_INPUT", None);
        check(CallError::Method(MethodError::failed("no")), Code::Internal, "METHOD_FAILED", None);
        check(CallError::Crashed(text()), Code::Internal, "CRASHED", None);
        check(CallError::unavailable("no"), Code::Unavailable, "UNAVAILABLE", None);
        let later = CallError::Unavailable { cause: text(), retry_after: Some(second) };
        check(later, Code::Unavailable, "UNAVAILABLE", Some("1000"));
        let late = CallError::DeadlineExceeded { timeout: second, expected: None };
        check(late, Code::DeadlineExceeded, "DEADLINE_EXCEEDED", None);
        check(CallError::Cancelled, Code::Cancelled, "CANCELLED", None);
        check(CallError::InsideRuntime, Code::Internal, "INSIDE_RUNTIME", None);
    }

    #[test]
    fn messages_fit_a_header() {
        let status = refusal(&CallError::invalid_input("ä".repeat(1 << 20)));
        assert_eq!(status.message(), "ä".repeat(LONGEST / 2) + "…");
    }
}
