//! `/livez`, `/readyz` and `/metrics`: for load balancers, orchestrators and Prometheus.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::error::Refusal;

/// The answer of a probe.
#[derive(Serialize, ToSchema)]
#[schema(as = ekiden::Ready)]
pub(super) struct Ready {
    /// `live`, `ready` or `not ready`.
    status: &'static str,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
    /// Why runners are not ready without which the server is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    optional: Vec<String>,
}

impl Ready {
    fn new(status: &'static str) -> Self {
        Self { status, reasons: Vec::new(), optional: Vec::new() }
    }

    fn answer(mut self) -> HttpResponse {
        if self.reasons.is_empty() {
            return HttpResponse::Ok().json(self);
        }
        self.status = "not ready";
        HttpResponse::ServiceUnavailable().json(self)
    }
}

/// What `/readyz` may be asked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// This runner alone, whether the server needs it or not.
    runner: Option<String>,
}

pub(super) async fn livez() -> HttpResponse {
    Ready::new("live").answer()
}

pub(super) async fn readyz(request: HttpRequest, api: web::Data<Api>) -> HttpResponse {
    let asked = match web::Query::<Asked>::from_query(request.query_string()) {
        Ok(asked) => asked.into_inner(),
        Err(error) => {
            let message = format!("{error}; /readyz takes ?runner=NAME, or nothing");
            return Refusal::new(StatusCode::BAD_REQUEST, "invalid_query", message).response();
        }
    };
    let mut ready = Ready::new("ready");
    ready.reasons.extend(api.goes().map(str::to_owned));
    match asked.runner {
        Some(name) => match api.serving.entry(&name) {
            Ok(runner) => ready.reasons.extend(runner.not_ready()),
            Err(error) => return Refusal::from(&error).response(),
        },
        None => {
            for runner in api.serving.runners().iter() {
                let reasons = if runner.required { &mut ready.reasons } else { &mut ready.optional };
                reasons.extend(runner.not_ready());
            }
        }
    }
    ready.answer()
}

pub(super) async fn metrics(api: web::Data<Api>) -> HttpResponse {
    match api.serving.encode_metrics() {
        Ok(text) => HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8"))
            .body(text),
        Err(error) => Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "metrics", error.to_string()).response(),
    }
}
