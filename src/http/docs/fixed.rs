//! The paths that are there whatever is served: what is served, probes, metrics, and the document itself.

use serde_json::json;
use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{
    ContentBuilder, HttpMethod, Paths, Ref, Required, Response, ResponseBuilder, ResponsesBuilder, Schema,
};

use super::{add, answers, schema};

/// What these paths are listed under.
pub(super) const TAG: &str = "server";
pub(super) const ABOUT: &str = "What is served and how it does; probes and metrics.";

const JSON: &str = "application/json";

/// A name that a runner may have.
const RUNNER: &str = "^[a-z0-9]([-._a-z0-9]*[a-z0-9])?$";

fn add_runners(paths: &mut Paths) {
    let listed = answer(JSON, "ekiden.Runners", "All runners, in the order of the configuration.");
    let list = ResponsesBuilder::new().response("200", listed);
    add(paths, HttpMethod::Get, "/v1/runners", operation("runners", "What is served, and how it does", list).build());

    let one = ResponsesBuilder::new().response("200", answer(JSON, "ekiden.Runner", "The runner."));
    let one = operation("runner", "One runner: methods, specs, limits, executors, restarts, queues", {
        answers::NOT_FOUND.add_to(one)
    });
    add(paths, HttpMethod::Get, "/v1/runners/{runner}", one.parameter(runner()).build());
}

/// The runner that a path names.
pub(super) fn runner() -> ParameterBuilder {
    let name = ObjectBuilder::new().schema_type(Type::String).pattern(Some(RUNNER)).max_length(Some(63)).build();
    ParameterBuilder::new()
        .name("runner")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some("The runner's name."))
        .schema(Some(name))
}

fn add_probes(paths: &mut Paths) {
    let alive = answer(JSON, "ekiden.Ready", "The process lives.");
    let alive = ResponsesBuilder::new().response("200", alive);
    add(paths, HttpMethod::Get, "/livez", operation("livez", "Whether the process lives", alive).build());

    let ready = ResponsesBuilder::new()
        .response("200", answer(JSON, "ekiden.Ready", "All runners that are required take calls."))
        .response("400", refusal("Something else than `runner` was asked.", "invalid_query"))
        .response("503", answer(JSON, "ekiden.Ready", "Some do not, or the server goes away; the reasons."));
    let runner = ParameterBuilder::new()
        .name("runner")
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some("This runner alone, whether the server needs it or not."))
        .schema(Some(schema::text()));
    let ready = operation("readyz", "Whether calls are taken", answers::NOT_FOUND.add_to(ready));
    add(paths, HttpMethod::Get, "/readyz", ready.parameter(runner).build());

    let numbers = ContentBuilder::new().schema(Some(schema::text())).build();
    let numbers = ResponseBuilder::new()
        .description("Numbers in the OpenMetrics text format.")
        .content("application/openmetrics-text", numbers);
    let numbers = ResponsesBuilder::new()
        .response("200", numbers.build())
        .response("500", refusal("They could not be written.", "metrics"));
    add(paths, HttpMethod::Get, "/metrics", operation("metrics", "Numbers for Prometheus", numbers).build());
}

/// The document's own path.
pub(super) fn add_docs(paths: &mut Paths) {
    let content = ContentBuilder::new().schema(Some(ObjectBuilder::new().build())).build();
    let document = ResponseBuilder::new().description("This document.").content(JSON, content).build();
    let document =
        ResponsesBuilder::new().response("200", document).response("500", refusal("It could not be written.", "docs"));
    add(paths, HttpMethod::Get, "/docs.json", operation("docs", "This document, in OpenAPI 3.1", document).build());
}

pub(super) fn add_all(paths: &mut Paths) {
    add_runners(paths);
    add_probes(paths);
    add_docs(paths);
}

pub(super) fn operation(id: &str, summary: &str, responses: ResponsesBuilder) -> OperationBuilder {
    OperationBuilder::new().tag(TAG).operation_id(Some(id)).summary(Some(summary)).responses(responses.build())
}

/// An answer of this schema, by its name.
pub(super) fn answer(media_type: &str, schema: &str, about: &str) -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(schema))).build();
    ResponseBuilder::new().description(about).content(media_type, content).build()
}

/// A refusal that is this path's own.
pub(super) fn refusal(about: &str, code: &str) -> Response {
    let schema: utoipa::openapi::RefOr<Schema> = Ref::from_schema_name(answers::ERROR).into();
    let example = json!({ "error": "…", "code": code });
    let content = ContentBuilder::new().schema(Some(schema)).example(Some(example)).build();
    ResponseBuilder::new().description(about).content(JSON, content).build()
}
