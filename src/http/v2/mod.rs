//! The Open Inference Protocol over HTTP, for clients of KServe and Triton: see [`oip`](crate::oip).
//!
//! | route | answers |
//! |---|---|
//! | `GET /v2` | the server's name, its version and the extensions that work |
//! | `GET /v2/health/live` | 200 while the process lives |
//! | `GET /v2/health/ready` | 200 when each runner that is required takes calls, 503 otherwise |
//! | `GET /v2/models` | the models' names |
//! | `GET /v2/models/{model}[/versions/{version}]` | its inputs and outputs |
//! | `GET …/ready` | 200 when it takes calls, 503 otherwise |
//! | `GET …/config`, `GET …/stats` | how it runs, and what it has done |
//! | `GET /v2/models/stats` | what all models have done |
//! | `POST …/infer` | the model's outputs |
//! | `POST /v2/repository/index` | the models, with their states |
//! | `POST /v2/repository/models/{model}/load`, `…/unload` | on the admin listener alone: the runner begins anew, or drains |
//!
//! A refusal is `{"error": "..."}`, with the status that the same error has elsewhere in the API.

mod encoding;
mod infer;
pub(super) mod metadata;
pub(super) mod repository;

use actix_web::http::{Method, StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use ekiden_actors::CallError;
use smallvec::SmallVec;

use super::error::Refusal;
use super::outbox::Outbox;
use super::{Api, body};
use crate::oip;

/// Everything below `/v2`; the path is taken apart by hand, as elsewhere.
pub(super) async fn routes(
    request: HttpRequest,
    payload: web::Payload,
    api: web::Data<Api>,
    outbox: Outbox,
) -> HttpResponse {
    let below = request.match_info().unprocessed();
    let below = below.strip_prefix('/').unwrap_or(below);
    // A trailing slash means the same.
    let parts: SmallVec<[&str; 6]> = below.strip_suffix('/').unwrap_or(below).split('/').collect();
    let (model, version, rest) = match parts.as_slice() {
        ["models", model, "versions", version, rest @ ..] => (*model, Some(*version), rest),
        ["models", model, rest @ ..] => (*model, None, rest),
        _ => ("", None, &[][..]),
    };
    if rest == ["infer"] && request.method() == Method::POST {
        return infer::infer(&request, (model, version), payload, &api, &outbox).await;
    }
    // Whoever is still sending does not listen yet.
    let body = body::read(&request, payload, api.max_body_bytes, || ()).await;
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let takes = |method| refused(&method_not_allowed(&request, &method), Some(method));
    match (parts.as_slice(), rest) {
        (["repository", rest @ ..], _) => match (rest, request.method()) {
            (["index"], &Method::POST) => repository::index(&api.serving, body),
            (["index"] | ["models", _, "load" | "unload"], method) if method != Method::POST => takes(Method::POST),
            (["models", _, "load" | "unload"], _) => refused(&elsewhere(), None),
            _ => refused(&nothing(&request), None),
        },
        (["models", _, ..], ["infer"]) => takes(Method::POST),
        ([""] | ["health", "live" | "ready"] | ["models"], _) if !reads => takes(Method::GET),
        (["models", _, ..], [] | ["ready" | "config" | "stats"]) if !reads => takes(Method::GET),
        ([""], _) => HttpResponse::Ok().json(oip::ServerMetadata::new(false)),
        (["health", "live"], _) => metadata::live(),
        (["health", "ready"], _) => metadata::ready(&api),
        (["models"], _) => metadata::models(&api),
        (["models", "stats"], _) => metadata::all_statistics(&api),
        (["models", _, ..], [] | ["ready" | "config" | "stats"]) => {
            metadata::model(&api, (model, version), rest.first().copied())
        }
        _ => refused(&nothing(&request), None),
    }
}

/// A refusal in the protocol's shape; with the method to use, where it is for the method.
fn refused(refusal: &Refusal, allowed: Option<Method>) -> HttpResponse {
    let mut response = refusal.protocol();
    if let Some(value) = allowed.and_then(|method| header::HeaderValue::from_str(method.as_str()).ok()) {
        response.headers_mut().insert(header::ALLOW, value);
    }
    response
}

fn error(error: &CallError) -> HttpResponse {
    refused(&Refusal::from(error), None)
}

fn method_not_allowed(request: &HttpRequest, allowed: &Method) -> Refusal {
    let message = format!("{} {} is not possible; use {allowed}", request.method(), request.path());
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}

fn elsewhere() -> Refusal {
    let message = "models are loaded and unloaded on the admin listener (admin_bind) alone";
    Refusal::new(StatusCode::FORBIDDEN, "forbidden", message)
}

fn nothing(request: &HttpRequest) -> Refusal {
    let message = format!(
        "there is nothing at {}; models are listed at GET /v2/models, and called at POST /v2/models/{{model}}/infer; the \
         protocol's extensions that work are listed at GET /v2",
        request.path()
    );
    Refusal::new(StatusCode::NOT_FOUND, "not_found", message)
}
