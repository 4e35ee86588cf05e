//! The paths of the Open Inference Protocol: generic, as its clients take them.

mod bodies;
mod example;

use serde_json::json;
use utoipa::openapi::path::{OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{ArrayBuilder, ComponentsBuilder, ObjectBuilder, Type};
use utoipa::openapi::{
    ContentBuilder, HttpMethod, Paths, Ref, RefOr, Required, Response, ResponseBuilder, ResponsesBuilder, Schema,
};

use super::{add, answers, schema};
use crate::http::error::ProtocolBody;
use crate::http::v2::metadata::{Live, Models, Ready, Statistics};
use crate::oip::{IndexEntry, Model, ModelConfig, ModelMetadata, ServerMetadata};
use crate::serving::Serving;
use answers::schemas;

/// What these paths are listed under.
pub(super) const TAG: &str = "open inference protocol";
pub(super) const ABOUT: &str = "What clients of KServe and Triton speak: each method is a model, `{runner}` where its \
                                runner has one, `{runner}.{method}` otherwise.";

const JSON: &str = "application/json";
const BINARY: &str = "application/octet-stream";
const ERROR: &str = "oip.Error";
const STOPPED: &str = "The body stopped coming.";

/// Adds the paths that callers reach.
pub(super) fn add_all(paths: &mut Paths, serving: &Serving) {
    let get = |paths: &mut Paths, path: &str, id: &str, about: &str, responses: ResponsesBuilder| {
        add(paths, HttpMethod::Get, path, operation(id, about, responses).build());
    };
    get(paths, "/v2", "v2", "What the server is, and the extensions that work", fine("oip.ServerMetadata"));
    get(paths, "/v2/health/live", "v2.live", "Whether the process lives", fine("oip.Live"));
    get(paths, "/v2/health/ready", "v2.ready", "Whether calls are taken", readiness());
    get(paths, "/v2/models", "v2.models", "The models' names", fine("oip.Models"));
    get(paths, "/v2/models/stats", "v2.stats", "What all models have done", fine("oip.Statistics"));
    let model = Model::all(serving).into_iter().next();
    for versioned in [false, true] {
        let base = if versioned { "/v2/models/{model}/versions/{version}" } else { "/v2/models/{model}" };
        let suffix = if versioned { ".version" } else { "" };
        let named = |operation: OperationBuilder| {
            let operation = operation.parameter(name("model", "The model's name.", model.as_ref().map(Model::name)));
            match versioned {
                true => {
                    operation.parameter(name("version", "The version in the model store that it is served in.", None))
                }
                false => operation,
            }
        };
        for (path, id, about, responses) in [
            ("", "model", "What a model takes and returns", fine("oip.ModelMetadata")),
            ("/ready", "model.ready", "Whether a model takes calls", readiness()),
            (
                "/config",
                "model.config",
                "How a model runs, in the terms of Triton's `ModelConfig`",
                fine("oip.ModelConfig"),
            ),
            ("/stats", "model.stats", "What a model has done", fine("oip.Statistics")),
        ] {
            let responses = responses.response("404", refusal("There is no such model, or no such version."));
            let operation = named(operation(&format!("v2.{id}{suffix}"), about, responses));
            add(paths, HttpMethod::Get, &format!("{base}{path}"), operation.build());
        }
        let infer = operation(&format!("v2.infer{suffix}"), "Calls a model", inferred())
            .parameter(json_length())
            .request_body(Some(infer_request(model.as_ref())));
        add(paths, HttpMethod::Post, &format!("{base}/infer"), named(infer).build());
    }
    add_index(paths);
}

/// The index of models, which both listeners have.
pub(super) fn add_index(paths: &mut Paths) {
    let list = ArrayBuilder::new().items(Ref::from_schema_name("oip.IndexEntry")).build();
    let list = ResponseBuilder::new().description("The models.").content(JSON, content(list.into()));
    let responses = ResponsesBuilder::new()
        .response("200", list.build())
        .response("400", refusal("The body is not what is expected."))
        .response("408", refusal(STOPPED))
        .response("413", refusal("The body is too large."));
    let ready = ObjectBuilder::new().schema_type(Type::Boolean).description(Some("Only models that are ready."));
    let body = ObjectBuilder::new().property("ready", ready.build()).build();
    let body = ContentBuilder::new().schema(Some(body)).example(Some(json!({ "ready": true }))).build();
    let body = RequestBodyBuilder::new().content(JSON, body).required(Some(Required::False)).build();
    let operation = operation("v2.index", "The models, with their states", responses).request_body(Some(body));
    add(paths, HttpMethod::Post, "/v2/repository/index", operation.build());
}

/// What operators have besides.
pub(super) fn add_orders(paths: &mut Paths) {
    let server = operation("v2", "What the server is, and the extensions that work", fine("oip.ServerMetadata"));
    add(paths, HttpMethod::Get, "/v2", server.build());
    add_index(paths);
    for (order, about) in [
        ("load", "Begins a runner anew that has failed or stopped; a paused one goes on"),
        ("unload", "Finishes what the model's runner has accepted, and stops it"),
    ] {
        let responses = ResponsesBuilder::new()
            .response("200", ResponseBuilder::new().description("It is done.").build())
            .response("400", refusal("The body is not what is expected, or asks for a model of its own."))
            .response("404", refusal("There is no such model."))
            .response("408", refusal(STOPPED))
            .response("409", refusal("The runner's state does not allow it."))
            .response("413", refusal("The body is too large."))
            .response("500", refusal("It was begun, and has failed."));
        let body = ContentBuilder::new().schema(Some(ObjectBuilder::new().build())).example(Some(json!({}))).build();
        let body = RequestBodyBuilder::new().content(JSON, body).required(Some(Required::False)).build();
        let operation = operation(&format!("v2.{order}"), about, responses)
            .parameter(name("model", "The model's name.", None))
            .request_body(Some(body));
        add(paths, HttpMethod::Post, &format!("/v2/repository/models/{{model}}/{order}"), operation.build());
    }
}

/// The schemas that these paths refer to.
pub(super) fn components(components: ComponentsBuilder) -> ComponentsBuilder {
    components
        .schemas_from_iter(schemas::<ProtocolBody>())
        .schemas_from_iter(schemas::<ServerMetadata>())
        .schemas_from_iter(schemas::<Live>())
        .schemas_from_iter(schemas::<Ready>())
        .schemas_from_iter(schemas::<Models>())
        .schemas_from_iter(schemas::<Statistics>())
        .schemas_from_iter(schemas::<ModelMetadata>())
        .schemas_from_iter(schemas::<ModelConfig>())
        .schemas_from_iter(schemas::<IndexEntry>())
        .schemas_from_iter(schemas::<bodies::Request>())
        .schemas_from_iter(schemas::<bodies::Answer>())
}

fn operation(id: &str, summary: &str, responses: ResponsesBuilder) -> OperationBuilder {
    OperationBuilder::new().tag(TAG).operation_id(Some(id)).summary(Some(summary)).responses(responses.build())
}

fn content(schema: Schema) -> utoipa::openapi::content::Content {
    ContentBuilder::new().schema(Some(schema)).build()
}

fn refer(name: &str) -> utoipa::openapi::content::Content {
    let schema: RefOr<Schema> = Ref::from_schema_name(name).into();
    ContentBuilder::new().schema(Some(schema)).build()
}

/// An answer of this schema, and no other.
fn fine(schema: &str) -> ResponsesBuilder {
    ResponsesBuilder::new().response("200", answer("It is so.", schema))
}

fn answer(about: &str, schema: &str) -> Response {
    ResponseBuilder::new().description(about).content(JSON, refer(schema)).build()
}

fn refusal(about: &str) -> Response {
    answer(about, ERROR)
}

fn readiness() -> ResponsesBuilder {
    ResponsesBuilder::new()
        .response("200", answer("Calls are taken.", "oip.Ready"))
        .response("503", answer("They are not, and why.", "oip.Ready"))
}

/// A name in a path.
fn name(of: &str, about: &str, example: Option<String>) -> Parameter {
    ParameterBuilder::new()
        .name(of)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some(about))
        .schema(Some(schema::text()))
        .example(example.map(Into::into))
        .build()
}

fn json_length() -> Parameter {
    ParameterBuilder::new()
        .name("Inference-Header-Content-Length")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "How many bytes of the body are JSON, where binary data follows; 0 for one tensor's data alone.",
        ))
        .schema(Some(ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).build()))
        .build()
}

fn infer_request(model: Option<&Model>) -> RequestBody {
    let schema: RefOr<Schema> = Ref::from_schema_name("oip.InferRequest").into();
    let json = ContentBuilder::new().schema(Some(schema)).example(model.and_then(example::request)).build();
    RequestBodyBuilder::new()
        .content(JSON, json)
        .content(BINARY, content(schema::binary()))
        .required(Some(Required::False))
        .description(Some(
            "Tensors in JSON; or JSON with binary data behind it. One tensor's data alone may have no rows, and be empty. \
             `content-encoding` may be gzip or deflate.",
        ))
        .build()
}

fn inferred() -> ResponsesBuilder {
    let length = answers::header("How many bytes are JSON, where binary data follows.", Type::Integer);
    let fine = ResponseBuilder::new()
        .description("The outputs.")
        .content(JSON, refer("oip.InferResponse"))
        .content(BINARY, content(schema::binary()))
        .header("Inference-Header-Content-Length", length);
    let retry = |about: &str| {
        let after = answers::header("When to come back, in seconds.", Type::Integer);
        ResponseBuilder::new().description(about).content(JSON, refer(ERROR)).header("Retry-After", after).build()
    };
    ResponsesBuilder::new()
        .response("200", fine.build())
        .response("400", refusal("The body, a tensor or a parameter does not fit; or the model's own code refuses it."))
        .response("404", refusal("There is no such model, or no such version."))
        .response("406", refusal("No format can hold the outputs."))
        .response("408", refusal(STOPPED))
        .response("413", refusal("The body is too large, as it comes or inflated."))
        .response("415", refusal("The `content-encoding` is none that is understood."))
        .response("429", retry("`max_queue_size` rows wait already."))
        .response("500", refusal("The model's own code has failed, or the call has broken its executors."))
        .response("503", retry("The runner is starting, restarting, failed or draining."))
        .response("504", refusal("The call was not answered in time, or cannot be."))
}
