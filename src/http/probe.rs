//! `/livez`, `/readyz` and `/metrics`: for load balancers, orchestrators and Prometheus.

use std::sync::atomic::Ordering;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, web};
use serde::Serialize;

use super::Api;
use super::error::Refusal;

#[derive(Serialize)]
struct Ready {
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
}

pub(super) async fn livez() -> HttpResponse {
    HttpResponse::Ok().json(Ready { status: "live", reasons: Vec::new() })
}

pub(super) async fn readyz(api: web::Data<Api>) -> HttpResponse {
    let mut reasons: Vec<String> = Vec::new();
    if api.draining.load(Ordering::Relaxed) {
        reasons.push("the server is shutting down".to_owned());
    }
    for (runner, state, cause) in api.serving.not_ready() {
        let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
        reasons.push(format!("runner \"{runner}\" is {state}{cause}"));
    }
    if reasons.is_empty() {
        HttpResponse::Ok().json(Ready { status: "ready", reasons })
    } else {
        HttpResponse::ServiceUnavailable().json(Ready { status: "not ready", reasons })
    }
}

pub(super) async fn metrics(api: web::Data<Api>) -> HttpResponse {
    match api.serving.encode_metrics() {
        Ok(text) => HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8"))
            .body(text),
        Err(error) => Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "metrics", error.to_string()).response(),
    }
}
