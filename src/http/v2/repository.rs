//! The model repository: its index for everybody, its orders on the admin listener.

use std::time::Duration;

use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use ekiden_actors::{CallError, OrderError};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::super::body::{self, Unread};
use super::super::error::Refusal;
use super::{method_not_allowed, nothing, refused};
use crate::oip::{self, RepositoryError, ServerMetadata};
use crate::serving::Serving;

/// The largest body of an order, in bytes.
const MOST: usize = 64 << 10;

/// What the index may be asked.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Asked {
    /// Only models that are ready.
    ready: bool,
}

/// What an order may bring.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Order {
    parameters: serde_json::Map<String, serde_json::Value>,
}

/// A body in JSON, an object; an empty one asks for nothing in particular.
fn read<T: Default + DeserializeOwned>(body: &Result<Bytes, Unread>) -> Result<T, Refusal> {
    match body {
        Ok(body) if body.is_empty() => Ok(T::default()),
        Ok(body) => {
            // An array would do for a struct otherwise.
            let object = serde_json::from_slice::<serde_json::Map<_, _>>(body);
            let read = object.and_then(|object| T::deserialize(serde_json::Value::Object(object)));
            read.map_err(|error| Refusal::from(&CallError::invalid_input(format!("the body: {error}"))))
        }
        Err(Unread::TooLarge(most)) => {
            Err(Refusal::from(&CallError::TooLarge(format!("the body is larger than {most} bytes").into())))
        }
        Err(unread) => Err(Refusal::from(unread)),
    }
}

pub(super) fn index(serving: &Serving, body: Result<Bytes, Unread>) -> HttpResponse {
    match read::<Asked>(&body) {
        Ok(asked) => HttpResponse::Ok().json(oip::index(serving, asked.ready)),
        Err(refusal) => refused(&refusal, None),
    }
}

/// Everything below `/v2` on the admin listener: `parts` of the path.
pub(in crate::http) async fn order(
    request: &HttpRequest,
    payload: web::Payload,
    serving: &Serving,
    grace: Duration,
    parts: &[&str],
) -> HttpResponse {
    let body = body::read(request, payload, MOST, || ()).await;
    let posts = request.method() == Method::POST;
    match parts {
        [] if matches!(*request.method(), Method::GET | Method::HEAD) => {
            HttpResponse::Ok().json(ServerMetadata::new(true))
        }
        [] => refused(&method_not_allowed(request, &Method::GET), Some(Method::GET)),
        ["repository", "index"] if posts => index(serving, body),
        ["repository", "models", name, "load"] if posts => {
            let order = read::<Order>(&body)
                .and_then(|order| oip::check_load(order.parameters.keys()).map_err(|problem| Refusal::from(&problem)));
            match order {
                Ok(()) => answer(oip::load(serving, name).await),
                Err(refusal) => refused(&refusal, None),
            }
        }
        ["repository", "models", name, "unload"] if posts => answer(oip::unload(serving, name, grace).await),
        ["repository", "index"] | ["repository", "models", _, "load" | "unload"] => {
            refused(&method_not_allowed(request, &Method::POST), Some(Method::POST))
        }
        _ => refused(&nothing(request), None),
    }
}

/// Nothing, where it is done.
fn answer(done: Result<(), RepositoryError>) -> HttpResponse {
    let Err(problem) = done else { return HttpResponse::Ok().finish() };
    let refusal = match &problem {
        RepositoryError::Model(error) => Refusal::from(error),
        RepositoryError::Order { error: OrderError::Impossible { .. } | OrderError::Busy, .. } => {
            Refusal::new(StatusCode::CONFLICT, "impossible", problem.to_string())
        }
        RepositoryError::Order { error: OrderError::Failed(_), .. } => {
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "order_failed", problem.to_string())
        }
    };
    refused(&refusal, None)
}
