//! Serde types.

use actix_web::http::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;
use utoipa::openapi::content::Content;

use super::body::{extractor, responder};
use super::{ApiError, Body, Describe, Endpoint, Input, Json, Limits, Output, Param, Reply, Schemas, Wanted};
use crate::codec::Format;

const MEDIA_TYPE: &str = "application/json";

impl<T: ToSchema> Describe for Json<T> {
    fn contents(schemas: &mut Schemas) -> Vec<(String, Content)> {
        T::schemas(schemas);
        vec![(MEDIA_TYPE.to_owned(), Content::new(Some(T::schema())))]
    }
}

impl<T: DeserializeOwned + 'static> Input for Json<T> {
    fn read(body: Body, _: &Limits) -> Result<Self, ApiError> {
        if !body.media_type.as_deref().is_none_or(is_json) {
            return Err(body.unsupported(&[MEDIA_TYPE]));
        }
        serde_json::from_slice(&body.bytes).map(Self).map_err(|error| body.invalid(error))
    }
}

/// Whether it is JSON, or something that is written in it, such as `application/ld+json`.
pub(super) fn is_json(media_type: &str) -> bool {
    Format::of_media_type(media_type) == Some(Format::Json) || super::body::essence(media_type).ends_with("+json")
}

impl<T: Serialize> Output for Json<T> {
    fn write(self, _: Wanted<'_>) -> Result<Body, ApiError> {
        let written = serde_json::to_vec(&self.0).map_err(|error| {
            let message = format!("the answer cannot be written as JSON: {error}");
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "handler_failed", message)
        });
        Ok(Body::new(MEDIA_TYPE, written?))
    }
}

extractor!([T: DeserializeOwned + 'static] Json<T>);
responder!([T: Serialize] Json<T>);

impl<T: ToSchema> Param for Json<T> {
    fn describe(endpoint: &mut Endpoint) {
        endpoint.takes::<Self>();
    }
}

impl<T: ToSchema> Reply for Json<T> {
    fn describe(endpoint: &mut Endpoint) {
        endpoint.gives::<Self>();
    }
}
