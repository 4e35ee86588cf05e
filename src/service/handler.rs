//! One request's way through an endpoint.

use std::convert::Infallible;
use std::pin::Pin;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::Payload;
use actix_web::error::{Error, JsonPayloadError, PathError, PayloadError, QueryPayloadError, UrlencodedError};
use actix_web::{FromRequest, Handler, HttpRequest, HttpResponse, Responder, ResponseError};
use ekiden_actors::CallError;

use super::body::place;
use super::traffic::{Visit, Visited};
use super::{ApiError, Context};
use crate::http::call;

/// A request, and what the handler asks of it, as far as that could be had.
pub(super) struct Asked<A> {
    request: HttpRequest,
    args: Result<A, Error>,
    visit: Option<Visit>,
}

impl<A: FromRequest + 'static> FromRequest for Asked<A> {
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Infallible>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let visit = Context::of(request).map(|context| context.traffic.enter()).transpose();
        let args = visit.map(|visit| (visit, A::from_request(request, payload)));
        let request = request.clone();
        Box::pin(async move {
            Ok(match args {
                Ok((visit, args)) => Self { request, args: args.await.map_err(Into::into), visit },
                Err(closed) => Self { request, args: Err(ApiError::from(closed).into()), visit: None },
            })
        })
    }
}

/// Has the handler answer, in the time that the request gives it, and says where it was if something goes wrong.
pub(super) async fn answer<A, H>(asked: Asked<A>, handler: H) -> HttpResponse<BoxBody>
where
    A: FromRequest + 'static,
    H: Handler<A>,
    H::Output: Responder,
{
    let Asked { request, args, visit } = asked;
    let response = match args {
        Ok(args) => timed(&request, handler, args).await,
        Err(error) => Err(error),
    };
    let mut response = explained(response.unwrap_or_else(HttpResponse::from_error), &request);
    if let Some(id) = call::sent_id(&request) {
        response.headers_mut().insert(call::REQUEST_ID, id);
    }
    response.map_body(|_, body| match visit {
        Some(visit) => Visited { body, visit }.boxed(),
        None => body,
    })
}

/// The handler's answer. One that takes too long is dropped, and with it the calls that it waits for.
async fn timed<A, H>(request: &HttpRequest, handler: H, args: A) -> Result<HttpResponse<BoxBody>, Error>
where
    A: FromRequest + 'static,
    H: Handler<A>,
    H::Output: Responder,
{
    let timeout = call::options(request).map_err(ApiError::from)?.timeout;
    let output = handler.call(args);
    let output = match timeout {
        Some(timeout) => {
            let late = |_| ApiError::from(CallError::DeadlineExceeded { timeout, expected: None });
            tokio::time::timeout(timeout, output).await.map_err(late)?
        }
        None => output.await,
    };
    Ok(output.respond_to(request).map_into_boxed_body())
}

/// Says in errors of ours, and in those of actix-web's extractors, which endpoint was asked. A handler's own are its own.
fn explained(response: HttpResponse<BoxBody>, request: &HttpRequest) -> HttpResponse<BoxBody> {
    let Some(error) = response.error() else { return response };
    let explained = match error.as_error::<ApiError>() {
        Some(error) => error.clone(),
        None if is_extractors(error) => {
            let (status, message) = (error.as_response_error().status_code(), error.to_string());
            match status.as_u16() {
                413 => ApiError::too_large(message),
                415 => ApiError::unsupported_media_type(message),
                404 => ApiError::new(status, "not_found", message),
                _ => ApiError::invalid_input(message),
            }
        }
        None => return response,
    };
    let explained = explained.at(&place(request));
    if explained.status_code().is_server_error() {
        tracing::warn!(status = explained.status_code().as_u16(), code = explained.code(), error = %explained, "failed");
    } else {
        tracing::debug!(status = explained.status_code().as_u16(), code = explained.code(), error = %explained, "refused");
    }
    explained.error_response()
}

fn is_extractors(error: &Error) -> bool {
    error.as_error::<QueryPayloadError>().is_some()
        || error.as_error::<PathError>().is_some()
        || error.as_error::<JsonPayloadError>().is_some()
        || error.as_error::<UrlencodedError>().is_some()
        || error.as_error::<PayloadError>().is_some()
}
