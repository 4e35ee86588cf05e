//! Errors as answers: one status per kind, and a body `{"error": "...", "code": "..."}`.

use std::fmt;
use std::time::Duration;

use actix_web::http::{Method, StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, ResponseError, Route, web};
use ekiden_actors::{CallError, Fault};
use serde::Serialize;
use utoipa::ToSchema;

use super::body::{self, Unread};

/// The body of every error.
#[derive(Serialize, ToSchema)]
#[schema(as = ekiden::Error)]
pub(super) struct Body<'a> {
    /// What is wrong: where, what was expected, and what came.
    error: &'a str,
    /// The kind of error, for programs.
    code: &'a str,
}

/// The body of every error of the Open Inference Protocol.
#[derive(Serialize, ToSchema)]
#[schema(as = oip::Error)]
pub(super) struct ProtocolBody<'a> {
    /// What is wrong: where, what was expected, and what came.
    error: &'a str,
}

/// What a refused request is answered with.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) retry_after: Option<Duration>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after: None }
    }

    pub(super) fn response(&self) -> HttpResponse {
        self.builder().json(self.body())
    }

    /// In the shape of the Open Inference Protocol.
    pub(super) fn protocol(&self) -> HttpResponse {
        self.builder().json(ProtocolBody { error: &self.message })
    }

    fn builder(&self) -> HttpResponseBuilder {
        let mut response = HttpResponse::build(self.status);
        if self.status == StatusCode::REQUEST_TIMEOUT {
            // What may still come of the body is no request.
            response.force_close();
        }
        if let Some(after) = self.retry_after {
            // Whole seconds, rounded up, as the header allows no others (RFC 9110, section 10.2.3).
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            response.insert_header((header::RETRY_AFTER, seconds.max(1).to_string()));
        }
        response
    }

    /// The body in JSON.
    pub(super) fn json(&self) -> String {
        // Two texts always can be written.
        serde_json::to_string(&self.body()).unwrap_or_default()
    }

    fn body(&self) -> Body<'_> {
        Body { error: &self.message, code: self.code }
    }
}

impl From<&Unread> for Refusal {
    fn from(unread: &Unread) -> Self {
        match unread {
            Unread::Stopped => Self::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", unread.to_string()),
            Unread::TooLarge(_) | Unread::Broken(_) => Self::from(&CallError::from(unread)),
        }
    }
}

impl From<&CallError> for Refusal {
    fn from(error: &CallError) -> Self {
        let retry_after = match error {
            CallError::Unavailable { retry_after: None, .. } => Some(Duration::from_secs(1)),
            other => other.retry_after(),
        };
        Self { status: status(error), code: error.code(), message: error.to_string(), retry_after }
    }
}

/// What went wrong, as an answer: the status of its kind, `Retry-After` where it makes sense, and the body
/// `{"error": "...", "code": "..."}`. A call's error becomes one by `?`; handlers make their own by [`ApiError::new`].
#[derive(Clone, Debug)]
pub struct ApiError {
    refusal: Refusal,
    /// Where it went wrong, once that is known.
    place: Option<Box<str>>,
}

impl ApiError {
    /// An answer of this status. `code` is for machines, in snake case; the message is for people.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { refusal: Refusal::new(status, code, message), place: None }
    }

    /// 400 `invalid_input`: what was sent does not fit. The message says what was expected and what came.
    pub fn invalid_input(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_input", message)
    }

    /// 413 `too_large`: more was sent than is taken. The message says how much that is.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    /// 415 `unsupported_media_type`: the message says which are taken.
    pub fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
    }

    /// The same, with where it went wrong before its message, unless it says so already.
    #[must_use]
    pub fn at(mut self, place: &str) -> Self {
        self.place.get_or_insert_with(|| place.into());
        self
    }

    /// The code, for machines.
    pub fn code(&self) -> &'static str {
        self.refusal.code
    }
}

impl From<Unread> for ApiError {
    fn from(unread: Unread) -> Self {
        Self { refusal: Refusal::from(&unread), place: None }
    }
}

impl<E: Into<CallError>> From<E> for ApiError {
    fn from(error: E) -> Self {
        Self { refusal: Refusal::from(&error.into()), place: None }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.refusal.message)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.refusal.status
    }

    fn error_response(&self) -> HttpResponse {
        Refusal { message: self.to_string(), ..self.refusal.clone() }.response()
    }
}

fn status(error: &CallError) -> StatusCode {
    match error {
        CallError::InvalidInput(_) => StatusCode::BAD_REQUEST,
        CallError::NotFound(_) => StatusCode::NOT_FOUND,
        CallError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        CallError::QueueFull { .. } => StatusCode::TOO_MANY_REQUESTS,
        CallError::Method(error) => match error.fault() {
            Fault::Input => StatusCode::BAD_REQUEST,
            Fault::Method => StatusCode::INTERNAL_SERVER_ERROR,
        },
        CallError::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
        CallError::DeadlineExceeded { .. } => StatusCode::GATEWAY_TIMEOUT,
        // The last two never reach a client.
        CallError::Crashed(_) | CallError::InsideRuntime | CallError::Cancelled => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A known path, asked with a method that it does not take.
pub(super) fn method(request: &HttpRequest, allowed: &Method) -> HttpResponse {
    not_one_of(request, std::slice::from_ref(allowed))
}

fn not_one_of(request: &HttpRequest, allowed: &[Method]) -> HttpResponse {
    let allowed = allowed.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
    let message = format!("{} {} is not possible; use {allowed}", request.method(), request.path());
    let mut response = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message).response();
    if let Ok(value) = header::HeaderValue::from_str(&allowed) {
        response.headers_mut().insert(header::ALLOW, value);
    }
    response
}

/// What answers a path that takes these methods alone, when it is asked with another: 405.
pub fn not_allowed(allowed: Vec<Method>) -> Route {
    web::to(move |request: HttpRequest, payload: web::Payload| {
        let allowed = allowed.clone();
        async move {
            body::skip(payload).await;
            not_one_of(&request, &allowed)
        }
    })
}

/// A path that can only be read, asked otherwise.
pub(super) async fn get_only(request: HttpRequest, payload: web::Payload) -> HttpResponse {
    body::skip(payload).await;
    method(&request, &Method::GET)
}

/// A path that does not exist.
pub(super) fn path(request: &HttpRequest) -> HttpResponse {
    let message = format!(
        "there is nothing at {}; runners are listed at /v1/runners, and called at POST /v1/runners/{{runner}}/{{method}}; \
         orders are taken on the admin listener (admin_bind) alone",
        request.path()
    );
    Refusal::new(StatusCode::NOT_FOUND, "not_found", message).response()
}

/// Any other path.
pub(super) async fn not_found(request: HttpRequest, payload: web::Payload) -> HttpResponse {
    body::skip(payload).await;
    path(&request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_stopped_ends_its_connection() {
        let response = Refusal::from(&Unread::Stopped).protocol();
        assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
        assert_eq!(response.head().connection_type(), actix_web::http::ConnectionType::Close);
    }
}
