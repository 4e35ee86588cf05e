//! What the protocol's `GET` routes tell: of the server, and of its models.

use actix_web::HttpResponse;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::Api;
use super::error;
use crate::oip::{self, Model, ModelStatistics};

/// Whether the process lives.
#[derive(Serialize, ToSchema)]
#[schema(as = oip::Live)]
pub(in crate::http) struct Live {
    live: bool,
}

/// Whether calls are taken, and why not.
#[derive(Serialize, ToSchema)]
#[schema(as = oip::Ready)]
pub(in crate::http) struct Ready<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// The models by name.
#[derive(Serialize, ToSchema)]
#[schema(as = oip::Models)]
pub(in crate::http) struct Models {
    models: Vec<String>,
}

/// What models have done.
#[derive(Serialize, ToSchema)]
#[schema(as = oip::Statistics)]
pub(in crate::http) struct Statistics {
    model_stats: Vec<ModelStatistics>,
}

pub(super) fn live() -> HttpResponse {
    HttpResponse::Ok().json(Live { live: true })
}

pub(super) fn ready(api: &Api) -> HttpResponse {
    let reasons: Vec<String> = api.goes().map(str::to_owned).into_iter().chain(oip::not_ready(&api.serving)).collect();
    readiness(None, (!reasons.is_empty()).then(|| reasons.join("; ")))
}

fn readiness(name: Option<&str>, error: Option<String>) -> HttpResponse {
    let ready = error.is_none();
    let mut response = if ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    response.json(Ready { name, ready, error })
}

pub(super) fn models(api: &Api) -> HttpResponse {
    HttpResponse::Ok().json(Models { models: Model::all(&api.serving).iter().map(Model::name).collect() })
}

pub(super) fn all_statistics(api: &Api) -> HttpResponse {
    let model_stats = Model::all(&api.serving).iter().map(Model::statistics).collect();
    HttpResponse::Ok().json(Statistics { model_stats })
}

/// What is asked of one model: its metadata where nothing is said.
pub(super) fn model(api: &Api, (name, version): (&str, Option<&str>), asked: Option<&str>) -> HttpResponse {
    let model = match Model::find(&api.serving, name, version) {
        Ok(model) => model,
        Err(not_found) => return error(&not_found),
    };
    match asked {
        Some("ready") => readiness(Some(name), api.goes().map(str::to_owned).or_else(|| model.not_ready())),
        Some("config") => HttpResponse::Ok().json(model.config()),
        Some("stats") => HttpResponse::Ok().json(Statistics { model_stats: vec![model.statistics()] }),
        _ => HttpResponse::Ok().json(model.metadata()),
    }
}
