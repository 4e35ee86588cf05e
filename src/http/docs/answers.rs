//! What requests are answered with when they are refused, and what all paths share.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde_json::json;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{
    Components, ComponentsBuilder, ContentBuilder, Header, Ref, RefOr, Required, Response, ResponseBuilder,
    ResponsesBuilder, Schema,
};
use utoipa::{Number, ToSchema};

use crate::http::error::{Body, Refusal};
use crate::http::{info, probe};
use ekiden_actors::Priority;

/// The schema of every error.
pub(super) const ERROR: &str = "ekiden.Error";

/// One way to be refused.
pub(super) struct Refused {
    pub(super) status: u16,
    /// Its name among the components.
    pub(super) name: &'static str,
    about: &'static str,
    /// Codes, and a message of each.
    examples: &'static [(&'static str, &'static str)],
    header: Option<(&'static str, &'static str, Type)>,
}

const RETRY_AFTER: Option<(&str, &str, Type)> = Some(("Retry-After", "When to come back, in seconds.", Type::Integer));

/// How calls are refused, by status.
pub(super) const CALLS: &[Refused] = &[
    Refused {
        status: 400,
        name: "InvalidInput",
        about: "The body, a header, a name, a dtype or a shape does not fit; or the model's own code refuses the input.",
        examples: &[
            ("invalid_input", "input \"features\": expected float32 [any, 4], found float32 [1, 3]"),
            ("method_invalid_input", "the picture shows no flower"),
        ],
        header: None,
    },
    NOT_FOUND,
    Refused {
        status: 405,
        name: "MethodNotAllowed",
        about: "The path takes another HTTP method.",
        examples: &[("method_not_allowed", "GET /v1/runners/iris_clf/predict is not possible; use POST")],
        header: Some(("Allow", "The HTTP method that the path takes.", Type::String)),
    },
    Refused {
        status: 406,
        name: "NotAcceptable",
        about: "No format can hold the outputs.",
        examples: &[(
            "not_acceptable",
            "output \"image\" is bytes, which JSON cannot carry: ask for application/octet-stream",
        )],
        header: None,
    },
    Refused {
        status: 408,
        name: "RequestTimeout",
        about: "The body stopped coming. Where the request's head did not come in time, there is no body.",
        examples: &[("request_timeout", "the body stopped coming: nothing of it for 30 s")],
        header: None,
    },
    Refused {
        status: 413,
        name: "TooLarge",
        about: "The body is larger than the server's `max_body_bytes`.",
        examples: &[("too_large", "the body is larger than max_body_bytes = 67108864")],
        header: None,
    },
    Refused {
        status: 415,
        name: "UnsupportedMediaType",
        about: "The `content-type` is none that calls are read in, or the body is compressed.",
        examples: &[(
            "unsupported_media_type",
            "content-type \"text/csv\" is not understood; send one of: application/json, application/x-npy, \
             text/plain; charset=utf-8, application/octet-stream",
        )],
        header: None,
    },
    Refused {
        status: 429,
        name: "QueueFull",
        about: "`max_queue_size` rows wait already.",
        examples: &[("queue_full", "the queue is full: 10 rows wait, 1 more would exceed max_queue_size = 10")],
        header: RETRY_AFTER,
    },
    Refused {
        status: 500,
        name: "Failed",
        about: "The model's own code has failed, or this very call has broken its executors, twice by itself.",
        examples: &[
            ("method_failed", "the weights hold no such word"),
            ("crashed", "the call broke its executor: it panicked"),
        ],
        header: None,
    },
    Refused {
        status: 503,
        name: "Unavailable",
        about: "The runner is starting, restarting, failed or draining.",
        examples: &[("unavailable", "the runner is restarting")],
        header: RETRY_AFTER,
    },
    Refused {
        status: 504,
        name: "DeadlineExceeded",
        about: "The call was not answered in time, or, by what batches have cost, cannot be.",
        examples: &[("deadline_exceeded", "the deadline of 50 ms has passed")],
        header: None,
    },
];

/// Nothing of that name.
pub(super) const NOT_FOUND: Refused = Refused {
    status: 404,
    name: "NotFound",
    about: "There is no such runner or method.",
    examples: &[("not_found", "there is no runner \"iris\"; did you mean \"iris_clf\"?")],
    header: None,
};

impl Refused {
    pub(super) fn response(&self) -> Response {
        let examples = self.examples.iter().map(|&(code, message)| {
            let value = json!({ "error": message, "code": code });
            (code, ExampleBuilder::new().value(Some(value)).build())
        });
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(ERROR))).examples_from_iter(examples);
        let response = ResponseBuilder::new().description(self.about).content("application/json", content.build());
        match &self.header {
            Some((name, about, r#type)) => response.header(*name, header(about, r#type.clone())).build(),
            None => response.build(),
        }
    }

    /// Adds it, by reference, to what an operation may be answered with.
    pub(super) fn add_to(&self, responses: ResponsesBuilder) -> ResponsesBuilder {
        responses.response(self.status.to_string(), Ref::from_response_name(self.name))
    }
}

/// A header of an answer.
pub(super) fn header(about: &str, r#type: Type) -> Header {
    HeaderBuilder::new().schema(Some(ObjectBuilder::new().schema_type(r#type).build())).description(Some(about)).build()
}

/// The headers that every call may bring: the names among the components.
pub(super) const CALL_HEADERS: [&str; 3] = ["timeout", "priority", "request_id"];

fn call_headers() -> [Parameter; 3] {
    let parameter = |name, about, schema: ObjectBuilder| {
        let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Header).required(Required::False);
        parameter.description(Some(about)).schema(Some(schema.build())).build()
    };
    let milliseconds = ObjectBuilder::new().schema_type(Type::Integer);
    let milliseconds = milliseconds.minimum(Some(Number::Int(1))).maximum(Some(Number::UInt(u32::MAX as usize)));
    let priorities = ObjectBuilder::new().schema_type(Type::String);
    let priorities = priorities.enum_values(Some(Priority::ALL.map(Priority::name)));
    [
        parameter(
            "ekiden-timeout-ms",
            "How long the call may take, in milliseconds, from when its body has been read and parsed.",
            milliseconds,
        ),
        parameter("ekiden-priority", "Whether the call goes before or after others; `normal` by itself.", priorities),
        parameter(
            "x-request-id",
            "Names the request in logs, and is echoed. One is made where there is none, or one of more than 128 bytes.",
            ObjectBuilder::new().schema_type(Type::String),
        ),
    ]
}

/// The schema of a type, and those that it refers to, by their names.
pub(super) fn schemas<T: ToSchema>() -> Vec<(String, RefOr<Schema>)> {
    let mut schemas = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut schemas);
    schemas
}

/// Schemas, refusals and headers that paths refer to.
pub(super) fn components() -> Components {
    let headers = CALL_HEADERS.into_iter().zip(call_headers());
    let components = ComponentsBuilder::new()
        .schemas_from_iter(schemas::<Body>())
        .schemas_from_iter(schemas::<info::Runners>())
        .schemas_from_iter(schemas::<probe::Ready>())
        .responses_from_iter(CALLS.iter().map(|refused| (refused.name, refused.response())));
    let components = super::v2::components(components);
    headers.fold(components, |components, (name, parameter)| components.parameter(name, parameter)).build()
}

/// The document cannot be written, which does not happen: it has no keys but texts.
pub(super) fn unwritten(error: &serde_json::Error) -> HttpResponse {
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "docs", error.to_string()).response()
}
