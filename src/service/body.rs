//! What comes and what is sent: one body, or one part of a form.

use std::pin::Pin;

use actix_web::body::BoxBody;
use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use bytes::Bytes;
use utoipa::openapi::content::Content;
use utoipa::openapi::schema::Schema;
use utoipa::openapi::{Object, RefOr};

use super::{ApiError, Limits};
use crate::http::body;

/// A body, or one part of a form, before it is anything, or when it is to be sent.
#[derive(Clone, Debug, Default)]
pub struct Body {
    /// What messages call it: `body`, or the part's name.
    pub name: String,
    /// Its `content-type`.
    pub media_type: Option<String>,
    /// The name of the file that it was, or is to be.
    pub file_name: Option<String>,
    /// What it holds.
    pub bytes: Bytes,
}

impl Body {
    /// Something to be sent.
    pub fn new(media_type: impl Into<String>, bytes: impl Into<Bytes>) -> Self {
        Self { media_type: Some(media_type.into()), bytes: bytes.into(), ..Self::default() }
    }

    /// Its media type in lower case, without parameters.
    pub fn essence(&self) -> Option<String> {
        self.media_type.as_deref().map(essence)
    }

    /// 400: what is wrong with it, after its name.
    pub fn invalid(&self, problem: impl std::fmt::Display) -> ApiError {
        ApiError::invalid_input(format!("input \"{}\": {problem}", self.name))
    }

    /// 413: what is too large about it, after its name.
    pub fn too_large(&self, problem: impl std::fmt::Display) -> ApiError {
        ApiError::too_large(format!("input \"{}\": {problem}", self.name))
    }

    /// 415: it is none of these media types.
    pub fn unsupported(&self, taken: &[&str]) -> ApiError {
        let found = self.media_type.as_deref().map_or("no content-type".to_owned(), |found| format!("{found:?}"));
        let message = format!("input \"{}\": expected content-type {}, found {found}", self.name, taken.join(" or "));
        ApiError::unsupported_media_type(message)
    }
}

/// A media type in lower case, without parameters.
pub(super) fn essence(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Schemas that others refer to, by name.
pub type Schemas = Vec<(String, RefOr<Schema>)>;

/// What OpenAPI says of a descriptor.
pub trait Describe {
    /// Its media types, the usual one first, and what each holds. Schemas that these refer to are added to `schemas`.
    fn contents(schemas: &mut Schemas) -> Vec<(String, Content)>;
}

/// What a body, or a part of a form, can be read as.
pub trait Input: Sized + 'static {
    /// Reads it.
    ///
    /// # Errors
    /// What was wrong, where, what was expected and what came: 400; 413 where it is over a limit; 415 where its media type is
    /// none that is understood.
    fn read(body: Body, limits: &Limits) -> Result<Self, ApiError>;
}

/// What can be an answer's body.
pub trait Output: Sized {
    /// Writes it, in the format that is wanted where there are several.
    ///
    /// # Errors
    /// Why it cannot be written.
    fn write(self, wanted: Wanted<'_>) -> Result<Body, ApiError>;
}

/// In which format an answer is wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    accept: Option<&'a str>,
    sent: Option<&'a str>,
}

impl<'a> Wanted<'a> {
    /// What a request says.
    pub fn of(request: &'a HttpRequest) -> Self {
        let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        Self { accept: text(header::ACCEPT), sent: text(header::CONTENT_TYPE) }
    }

    /// The first of these that `accept` names, in its order (of its weights only 0 counts, which is never); else the one that
    /// the request came in; else the first.
    pub fn choose<'o>(&self, offers: &[&'o str]) -> &'o str {
        let left = |offer: &&'o str| !self.accepted().any(|said| never(said) && essence(said) == essence(offer));
        let offer = |media_type: &str| {
            let media_type = essence(media_type);
            offers.iter().copied().filter(left).find(|&offer| essence(offer) == media_type)
        };
        let accepted = self.accepted().find_map(offer).or_else(|| self.sent.and_then(offer));
        accepted.or_else(|| offers.iter().copied().find(left)).or(offers.first().copied()).unwrap_or_default()
    }

    /// Whether `accept` names this one.
    pub(super) fn names(&self, offer: &str) -> bool {
        self.accepted().any(|said| !never(said) && essence(said) == essence(offer))
    }

    fn accepted(&self) -> impl Iterator<Item = &'a str> {
        self.accept.unwrap_or_default().split(',')
    }
}

/// Whether a media type is said with a weight of 0.
fn never(said: &str) -> bool {
    let mut parameters = said.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    parameters.any(|(name, weight)| name.trim().eq_ignore_ascii_case("q") && weight.trim().parse() == Ok(0.0_f32))
}

/// Something that any bytes can be, in OpenAPI.
pub(super) fn binary() -> Content {
    Content::new(None::<Object>)
}

/// What an extractor is waited for.
pub(crate) type Extracting<T> = Pin<Box<dyn Future<Output = Result<T, ApiError>>>>;

/// Where a request goes, for messages: `POST /classify`.
pub(super) fn place(request: &HttpRequest) -> String {
    let pattern = request.match_pattern();
    format!("{} {}", request.method(), pattern.as_deref().unwrap_or_else(|| request.path()))
}

/// Reads a request's body as a `T`.
pub(crate) fn extract<T: Input>(request: &HttpRequest, payload: &mut Payload) -> Extracting<T> {
    let (request, payload) = (request.clone(), payload.take());
    Box::pin(async move {
        let limits = Limits::of(&request);
        let body = read(&request, payload, &limits).await.and_then(|body| T::read(body, &limits));
        body.map_err(|error| error.at(&place(&request)))
    })
}

/// The whole body, within the limits.
pub(super) async fn read(request: &HttpRequest, payload: Payload, limits: &Limits) -> Result<Body, ApiError> {
    body::plain(request).map_err(ApiError::unsupported_media_type)?;
    let bytes = body::read(request, payload, limits.max_body_bytes, || ()).await?;
    let media_type = request.headers().get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    Ok(Body { name: "body".to_owned(), media_type: media_type.map(Into::into), file_name: None, bytes })
}

/// Answers a request with a `T`.
pub(crate) fn respond<T: Output>(output: T, request: &HttpRequest) -> HttpResponse<BoxBody> {
    match output.write(Wanted::of(request)) {
        Ok(body) => {
            let mut response = HttpResponse::Ok();
            if let Some(media_type) = body.media_type {
                response.insert_header((header::CONTENT_TYPE, media_type));
            }
            if let Some(name) = body.file_name {
                response.insert_header(header::ContentDisposition::attachment(name));
            }
            response.body(body.bytes)
        }
        Err(error) => error.at(&place(request)).error_response(),
    }
}

/// Makes a descriptor an extractor.
macro_rules! extractor {
    ([$($generics:tt)*] $type:ty) => {
        impl<$($generics)*> actix_web::FromRequest for $type {
            type Error = $crate::http::ApiError;
            type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self, Self::Error>>>>;

            fn from_request(request: &actix_web::HttpRequest, payload: &mut actix_web::dev::Payload) -> Self::Future {
                $crate::service::extract(request, payload)
            }
        }
    };
}

/// Makes a descriptor a responder.
macro_rules! responder {
    ([$($generics:tt)*] $type:ty) => {
        impl<$($generics)*> actix_web::Responder for $type {
            type Body = actix_web::body::BoxBody;

            fn respond_to(self, request: &actix_web::HttpRequest) -> actix_web::HttpResponse {
                $crate::service::respond(self, request)
            }
        }
    };
}

/// Has a descriptor describe the endpoints that take or return it.
macro_rules! described {
    ([$($generics:tt)*] $type:ty) => {
        impl<$($generics)*> $crate::service::Param for $type {
            fn describe(endpoint: &mut $crate::service::Endpoint) {
                endpoint.takes::<Self>();
            }
        }

        impl<$($generics)*> $crate::service::Reply for $type {
            fn describe(endpoint: &mut $crate::service::Endpoint) {
                endpoint.gives::<Self>();
            }
        }
    };
}

pub(crate) use {described, extractor, responder};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_chosen() {
        let check = |accept, sent, expected| {
            assert_eq!(
                Wanted { accept, sent }.choose(&["application/json", "text/csv"]),
                expected,
                "{accept:?} {sent:?}"
            );
        };
        check(None, None, "application/json");
        check(None, Some("text/csv; charset=utf-8"), "text/csv");
        check(Some("Text/CSV"), Some("application/json"), "text/csv");
        check(Some("text/html, text/csv;q=0.5, application/json"), None, "text/csv");
        check(Some("*/*"), Some("text/csv"), "text/csv");
        check(Some("text/html"), Some("image/png"), "application/json");
        check(Some("text/csv;q=0, */*"), Some("text/csv"), "application/json");
        check(Some("application/json; q=0.0"), None, "text/csv");
        check(Some("application/json;q=0.1"), Some("text/csv"), "application/json");
    }
}
