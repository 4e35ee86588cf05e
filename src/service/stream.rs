//! Answers that come in pieces.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, Responder};
use bytes::Bytes;
use futures_core::Stream;
use serde::Serialize;
use utoipa::openapi::Type;
use utoipa::openapi::content::Content;
use utoipa::openapi::schema::Object;

use super::body::place;
use super::{ApiError, Describe, Endpoint, Reply, Schemas};

type Items<T> = Pin<Box<dyn Stream<Item = Result<T, ApiError>>>>;

/// Has a stream's errors be answers.
struct Failing<S>(Pin<Box<S>>);

impl<T, E: Into<ApiError>, S: Stream<Item = Result<T, E>>> Stream for Failing<S> {
    type Item = Result<T, ApiError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx).map(|item| item.map(|item| item.map_err(Into::into)))
    }
}

/// Items, the first of which may have been waited for.
struct Pieces<T> {
    first: Option<T>,
    rest: Items<T>,
    over: bool,
}

impl<T> Pieces<T> {
    fn new<E: Into<ApiError>>(items: impl Stream<Item = Result<T, E>> + 'static) -> Self {
        Self { first: None, rest: Box::pin(Failing(Box::pin(items))), over: false }
    }

    async fn begun<E: Into<ApiError>>(items: impl Stream<Item = Result<T, E>> + 'static) -> Result<Self, ApiError> {
        let mut pieces = Self::new(items);
        match std::future::poll_fn(|cx| pieces.rest.as_mut().poll_next(cx)).await {
            Some(first) => pieces.first = Some(first?),
            None => pieces.over = true,
        }
        Ok(pieces)
    }

    /// The next item; nothing comes after an error.
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, ApiError>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        if self.over {
            return Poll::Ready(None);
        }
        let item = ready!(self.rest.as_mut().poll_next(cx));
        self.over = !matches!(item, Some(Ok(_)));
        Poll::Ready(item)
    }
}

/// Server-sent events (`text/event-stream`): each item of a stream is an event whose `data` is its JSON. The end is an event
/// `done`; an error after the start is an event `error`, whose data is `{"error": "...", "code": "..."}`, and the last. A
/// client that closes its connection has the stream dropped.
///
/// The format: <https://html.spec.whatwg.org/multipage/server-sent-events.html>.
pub struct Sse<T>(Pieces<T>);

impl<T: Serialize + 'static> Sse<T> {
    /// Sends these items. The answer begins at once, so that its status is 200.
    pub fn new<E: Into<ApiError>>(items: impl Stream<Item = Result<T, E>> + 'static) -> Self {
        Self(Pieces::new(items))
    }

    /// The same, once the first item is there, so that what fails before that is an answer of its own.
    ///
    /// # Errors
    /// The first item, where it is an error.
    pub async fn begun<E: Into<ApiError>>(items: impl Stream<Item = Result<T, E>> + 'static) -> Result<Self, ApiError> {
        Pieces::begun(items).await.map(Self)
    }
}

/// A text that comes in pieces (`text/plain`), each sent as soon as it is there. A client that closes its connection has the
/// stream dropped. There is no way to say that something has failed after the start: the connection is closed before the
/// text's end, which clients notice.
pub struct ChunkedText<T>(Pieces<T>);

impl<T: Into<String> + 'static> ChunkedText<T> {
    /// Sends these pieces. The answer begins at once, so that its status is 200.
    pub fn new<E: Into<ApiError>>(pieces: impl Stream<Item = Result<T, E>> + 'static) -> Self {
        Self(Pieces::new(pieces))
    }

    /// The same, once the first piece is there, so that what fails before that is an answer of its own.
    ///
    /// # Errors
    /// The first piece, where it is an error.
    pub async fn begun<E: Into<ApiError>>(
        pieces: impl Stream<Item = Result<T, E>> + 'static,
    ) -> Result<Self, ApiError> {
        Pieces::begun(pieces).await.map(Self)
    }
}

/// Writes events.
struct Events<T> {
    items: Pieces<T>,
    place: String,
    done: bool,
}

impl<T> Unpin for Events<T> {}

impl<T: Serialize> MessageBody for Events<T> {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, io::Error>>> {
        if self.done {
            return Poll::Ready(None);
        }
        let item = ready!(self.items.next(cx));
        let written = match item {
            Some(Ok(item)) => serde_json::to_string(&item).map(|json| format!("data: {json}\n\n")),
            Some(Err(error)) => {
                self.done = true;
                return Poll::Ready(Some(Ok(failed(error.at(&self.place)))));
            }
            None => {
                self.done = true;
                Ok("event: done\ndata: {}\n\n".to_owned())
            }
        };
        Poll::Ready(Some(Ok(match written {
            Ok(event) => event.into(),
            Err(error) => {
                self.done = true;
                failed(not_json(&error).at(&self.place))
            }
        })))
    }
}

fn not_json(error: &serde_json::Error) -> ApiError {
    let message = format!("an item cannot be written as JSON: {error}");
    ApiError::new(actix_web::http::StatusCode::INTERNAL_SERVER_ERROR, "handler_failed", message)
}

/// The event of an error.
fn failed(error: ApiError) -> Bytes {
    tracing::warn!(%error, "a stream failed");
    let data = serde_json::json!({ "error": error.to_string(), "code": error.code() });
    format!("event: error\ndata: {data}\n\n").into()
}

/// Writes pieces of text.
struct Written<T>(Pieces<T>);

impl<T> Unpin for Written<T> {}

impl<T: Into<String>> MessageBody for Written<T> {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, io::Error>>> {
        loop {
            let item = ready!(self.0.next(cx)).map(|item| item.map(Into::<String>::into));
            // An empty piece would end a chunked body.
            if !matches!(&item, Some(Ok(text)) if text.is_empty()) {
                return Poll::Ready(item.map(|item| {
                    item.map(Into::into).map_err(|error| {
                        tracing::warn!(%error, "a text failed");
                        io::Error::other(error.to_string())
                    })
                }));
            }
        }
    }
}

impl<T: Serialize + 'static> Responder for Sse<T> {
    type Body = BoxBody;

    fn respond_to(self, request: &HttpRequest) -> HttpResponse {
        let events = Events { items: self.0, place: place(request), done: false };
        HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, "text/event-stream"))
            .insert_header((header::CACHE_CONTROL, "no-cache"))
            .body(BoxBody::new(events))
    }
}

impl<T: Into<String> + 'static> Responder for ChunkedText<T> {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, "text/plain; charset=utf-8"))
            .insert_header((header::CACHE_CONTROL, "no-cache"))
            .body(BoxBody::new(Written(self.0)))
    }
}

impl<T> Describe for Sse<T> {
    fn contents(_: &mut Schemas) -> Vec<(String, Content)> {
        // OpenAPI 3.1 has no schema for events.
        vec![("text/event-stream".to_owned(), Content::new(None::<Object>))]
    }
}

impl<T> Describe for ChunkedText<T> {
    fn contents(_: &mut Schemas) -> Vec<(String, Content)> {
        vec![("text/plain".to_owned(), Content::new(Some(Object::with_type(Type::String))))]
    }
}

impl<T> Reply for Sse<T> {
    fn describe(endpoint: &mut Endpoint) {
        endpoint.gives::<Self>();
    }
}

impl<T> Reply for ChunkedText<T> {
    fn describe(endpoint: &mut Endpoint) {
        endpoint.gives::<Self>();
    }
}

impl<T> fmt::Debug for Sse<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sse")
    }
}

impl<T> fmt::Debug for ChunkedText<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChunkedText")
    }
}
