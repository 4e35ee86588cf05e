//! `POST /v2/models/{model}[/versions/{version}]/infer`.

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use ekiden_actors::CallError;

use super::super::Api;
use super::super::body::{self, Unread};
use super::super::call::{self, unreadable};
use super::super::error::Refusal;
use super::super::outbox::Outbox;
use super::encoding::{self, Encoding};
use crate::oip::binary::{self, Answered, Encoded};
use crate::oip::{InferRequest, Model, Prepared, json};
use crate::serving::Announced;

/// How many bytes of a body are JSON, where binary data follows.
const JSON_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

/// An answer, and how it is sent.
struct Answer {
    body: Vec<u8>,
    /// The bytes of it that are JSON, before it was compressed, where there is binary data.
    header: Option<usize>,
    encoding: Option<Encoding>,
}

pub(super) async fn infer(
    request: &HttpRequest,
    (name, version): (&str, Option<&str>),
    payload: web::Payload,
    api: &Api,
    outbox: &Outbox,
) -> HttpResponse {
    let found = api.takes_calls().and_then(|()| Model::find(&api.serving, name, version));
    let mut announced = None;
    let on_wait = || announced = found.as_ref().ok().map(|model| model.method().announce());
    let body = body::read(request, payload, api.max_body_bytes, on_wait).await;
    let outcome = match &found {
        Ok(model) => answer(request, (model, name), body, announced, api, outbox).await,
        Err(error) => Err(Refusal::from(error)),
    };
    call::finish(request, api, outcome, respond, Refusal::protocol)
}

async fn answer(
    request: &HttpRequest,
    (model, name): (&Model, &str),
    body: Result<Bytes, Unread>,
    announced: Option<Announced>,
    api: &Api,
    outbox: &Outbox,
) -> Result<Answer, Refusal> {
    let method = model.method();
    let refused = |error: CallError| {
        method.refuse(&error);
        Refusal::from(&error)
    };
    let body = body.map_err(|unread| unreadable(method, &unread))?;
    let inflated = encoding::inflated(request, body, api.max_body_bytes, &api.inflated).await;
    // It is held until the answer is there.
    let (body, _held) = inflated.inspect_err(|refusal| {
        let error = match refusal.code {
            "unavailable" => CallError::unavailable(refusal.message.as_str()),
            _ => CallError::invalid_input(refusal.message.as_str()),
        };
        method.refuse(&error);
    })?;
    if method.signature().streams {
        let problem = format!(
            "model \"{}\" answers with a stream: ask it by gRPC's ModelStreamInfer, or POST to /v1/runners/{}/{}",
            model.name(),
            model.runner().name,
            method.name()
        );
        return Err(refused(CallError::invalid_input(problem)));
    }
    let mut asked = decode(request, &body, model).map_err(refused)?;
    let id = asked.id.take();
    let Prepared { inputs, options, wanted } = asked.prepare(method.signature()).map_err(refused)?;
    let called = outbox.add(|group| method.call_in(group, inputs, options, announced));
    let outputs = called.map_err(|error| Refusal::from(&error))?.outputs().await;
    let outputs = outputs.and_then(|outputs| wanted.take(method.signature(), outputs));
    let outputs = outputs.map_err(|error| Refusal::from(&error))?;
    let answered = Answered { id: id.as_deref(), model_name: name, model_version: model.version() };
    let Encoded { body, header } = binary::encode(answered, &outputs)
        .map_err(|problem| Refusal::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", problem))?;
    let (body, encoding) = encoding::deflated(request, body).await?;
    Ok(Answer { body, header, encoding })
}

fn decode(request: &HttpRequest, body: &Bytes, model: &Model) -> Result<InferRequest, CallError> {
    let Some(value) = request.headers().get(&JSON_LENGTH) else { return json::decode(body) };
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match digits.and_then(|digits| digits.parse().ok()) {
        Some(length) => binary::decode(body, length, model.method().signature()),
        None => Err(CallError::invalid_input(format!(
            "header Inference-Header-Content-Length: expected a number of bytes, found {value:?}"
        ))),
    }
}

fn respond(answer: Answer) -> HttpResponse {
    let Answer { body, header, encoding } = answer;
    let mut response = HttpResponse::with_body(StatusCode::OK, BoxBody::new(body));
    let headers = response.headers_mut();
    let media_type = if header.is_some() { "application/octet-stream" } else { "application/json" };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    if let Some(length) = header {
        headers.insert(JSON_LENGTH, HeaderValue::from(length));
    }
    if let Some(encoding) = encoding {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding.name()));
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    response
}
