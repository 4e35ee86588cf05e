//! One method of a runner as an operation.

use serde_json::Value;
use utoipa::openapi::content::Content;
use utoipa::openapi::path::{Operation, OperationBuilder};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::Type;
use utoipa::openapi::{ContentBuilder, Ref, Required, Response, ResponseBuilder, ResponsesBuilder, Schema};

use super::{answers, example, schema};
use crate::codec::Format;
use crate::serving::{MethodHandle, RunnerEntry};
use crate::value::{DType, TensorSpec, ValueSpec};

/// The media type of server-sent events.
const EVENTS: &str = "text/event-stream";

/// `POST /v1/runners/{runner}/{method}`.
pub(super) fn operation(runner: &RunnerEntry, method: &MethodHandle) -> Operation {
    let signature = method.signature();
    let answer = if signature.streams { streamed(method) } else { answered(method) };
    let responses = ResponsesBuilder::new().response("200", answer);
    let responses = answers::CALLS.iter().fold(responses, |responses, refused| refused.add_to(responses));
    let operation = OperationBuilder::new()
        .tag(&runner.name)
        .operation_id(Some(format!("{}.{}", runner.name, method.name())))
        .summary(Some(format!("{} → {}", list(&signature.inputs), list(&signature.outputs))))
        .description(Some(about(method)))
        .request_body(Some(request(method)))
        .responses(responses.build());
    let header = |name| Ref::new(format!("#/components/parameters/{name}"));
    answers::CALL_HEADERS.into_iter().fold(operation, |operation, name| operation.parameter_ref(header(name))).build()
}

/// `features: float32 [any, 4], words: list`.
fn list(specs: &[ValueSpec]) -> String {
    let specs: Vec<String> = specs.iter().map(|spec| format!("{}: {spec}", spec.name())).collect();
    if specs.is_empty() { "nothing".to_owned() } else { specs.join(", ") }
}

/// What callers should know that the schemas do not say.
fn about(method: &MethodHandle) -> String {
    let (signature, limits) = (method.signature(), method.limits());
    let mut about = match signature.batching {
        Some(dims) => format!(
            "Concurrent calls share batches of at most {} rows, along dimension {} of every input. A call of more rows is \
             cut, and answered as one; one of no rows is answered with outputs of no rows.",
            limits.max_batch_size, dims.input_dim
        ),
        None => "Each call is run by itself.".to_owned(),
    };
    if let Some(timeout) = limits.timeout {
        let ms = timeout.as_secs_f64() * 1e3;
        about.push_str(&format!("\n\nA call that brings no deadline is given {ms} ms."));
    }
    if signature.streams {
        about.push_str(
            "\n\nThe answer is a stream of server-sent events: `data:` with each chunk in JSON as it comes, `event: done` at \
             the end, or `event: error` with the body that an error has otherwise. Whoever hangs up stops the work.",
        );
    }
    if signature.inputs.len() > 1 {
        about.push_str("\n\nInputs may come in any order.");
    }
    if let [ValueSpec::Tensor(tensor)] = signature.inputs.as_slice()
        && has_npy(tensor)
    {
        about.push_str(&format!("\n\nAs `.npy`, a body must have its dtype: `x.astype(\"{}\")`.", tensor.dtype()));
    }
    about
}

/// The bodies that are taken.
fn request(method: &MethodHandle) -> RequestBody {
    let body = RequestBodyBuilder::new();
    let signature = method.signature();
    let inputs = signature.inputs.as_slice();
    let example = method.example().cloned().or_else(|| example::shortest(signature));
    let body = match schema::inputs(inputs) {
        Some(schema) => body.content(media(Format::Json), content(schema, example.clone())),
        None => body,
    };
    let body = match inputs {
        [ValueSpec::Tensor(tensor)] if has_npy(tensor) => body.content(media(Format::Npy), file(Some(tensor))),
        // Of a list, it is the only element.
        [ValueSpec::Text(_) | ValueSpec::List(_)] => {
            let text = match example {
                Some(Value::Array(items)) => items.into_iter().find(Value::is_string),
                text => text,
            };
            // One whose elements are no texts takes none.
            match text {
                Some(text) => body.content(media(Format::Text), content(schema::text(), Some(text))),
                None => body,
            }
        }
        [ValueSpec::Bytes(_)] => body.content(media(Format::Bytes), file(None)),
        _ => body,
    };
    let required = if inputs.is_empty() { Required::False } else { Required::True };
    body.description(Some(list(inputs))).required(Some(required)).build()
}

/// The answer when all is well.
fn answered(method: &MethodHandle) -> Response {
    let signature = method.signature();
    let outputs = signature.outputs.as_slice();
    // Of inputs that were made up, the sizes of the outputs are known.
    let example = if method.example().is_none() { example::answer(signature) } else { None };
    let response = ResponseBuilder::new().description(list(outputs));
    let response = match schema::outputs(outputs) {
        Some(schema) => response.content(media(Format::Json), content(schema, example)),
        None => response,
    };
    let response = match outputs {
        [ValueSpec::Tensor(tensor)] if has_npy(tensor) => response.content(media(Format::Npy), file(Some(tensor))),
        [ValueSpec::Text(_)] => response.content(media(Format::Text), content(schema::text(), Some("example".into()))),
        [ValueSpec::Bytes(_)] => response.content(media(Format::Bytes), file(None)),
        _ => response,
    };
    response.header("x-request-id", answers::header("What the request is named in logs.", Type::String)).build()
}

/// The answer of a method that streams: the chunks as events, or as they are.
fn streamed(method: &MethodHandle) -> Response {
    let outputs = method.signature().outputs.as_slice();
    let response = ResponseBuilder::new().description(format!("Chunks, each {}", list(outputs)));
    let response = match outputs {
        [ValueSpec::Bytes(_)] => response.content(media(Format::Bytes), file(None)),
        [ValueSpec::Text(_)] => {
            response.content(EVENTS, events()).content(media(Format::Text), content(schema::text(), None))
        }
        _ => response.content(EVENTS, events()),
    };
    response.header("x-request-id", answers::header("What the request is named in logs.", Type::String)).build()
}

/// Events have no schema: those of JSON are for one value, and readers would take the lines for it.
fn events() -> Content {
    ContentBuilder::new().build()
}

/// The media type without parameters, by which documents name formats.
fn media(format: Format) -> &'static str {
    format.media_type().split(';').next().unwrap_or_default()
}

fn content(schema: Schema, example: Option<Value>) -> Content {
    ContentBuilder::new().schema(Some(schema)).example(example).build()
}

fn file(tensor: Option<&TensorSpec>) -> Content {
    let mut schema = schema::binary();
    if let (Schema::Object(object), Some(tensor)) = (&mut schema, tensor) {
        object.description = Some(format!("{tensor}, as `numpy.save` writes it"));
    }
    content(schema, None)
}

/// NumPy has no bfloat16.
fn has_npy(tensor: &TensorSpec) -> bool {
    tensor.dtype() != DType::BF16
}
