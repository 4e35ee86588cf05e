//! Endpoints in OpenAPI 3.1.

use actix_web::http::Method;
use ekiden_actors::Priority;
use utoipa::openapi::path::{HttpMethod, Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{Object, ObjectBuilder};
use utoipa::openapi::{Components, Content, Info, OpenApi, Paths, Required, Response, ResponseBuilder, Type};

use super::Endpoint;

/// All endpoints, and the schemas that they refer to.
pub(super) fn document<'a>(title: &str, endpoints: impl Iterator<Item = &'a Endpoint>) -> OpenApi {
    let (mut paths, mut components) = (Paths::new(), Components::new());
    for endpoint in endpoints {
        let Some(method) = http_method(&endpoint.method) else { continue };
        paths.add_path_operation(plain(&endpoint.path), vec![method], operation(endpoint));
        components.schemas.extend(endpoint.schemas.iter().cloned());
    }
    let mut document = OpenApi::new(Info::new(title, env!("CARGO_PKG_VERSION")), paths);
    document.components = Some(components);
    document
}

fn http_method(method: &Method) -> Option<HttpMethod> {
    Some(match method.as_str() {
        "GET" => HttpMethod::Get,
        "POST" => HttpMethod::Post,
        "PUT" => HttpMethod::Put,
        "DELETE" => HttpMethod::Delete,
        "PATCH" => HttpMethod::Patch,
        _ => return None,
    })
}

/// An actix-web path without the patterns of its parameters: `/files/{name:.*}` is `/files/{name}`.
fn plain(path: &str) -> String {
    let mut plain = String::new();
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('{') {
        let (inside, after) = braced(after);
        let name = inside.split(':').next().unwrap_or_default();
        plain.push_str(&format!("{before}{{{name}}}"));
        rest = after;
    }
    plain + rest
}

/// The names of a path's parameters.
fn names(path: &str) -> Vec<String> {
    let plain = plain(path);
    let names = plain.split('{').skip(1).filter_map(|part| part.split_once('}'));
    names.map(|(name, _)| name.to_owned()).collect()
}

/// What is before the brace that closes, and what is after it; there may be pairs between.
fn braced(text: &str) -> (&str, &str) {
    let mut depth = 1;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return (&text[..at], &text[at + 1..]);
        }
    }
    (text, "")
}

fn operation(endpoint: &Endpoint) -> Operation {
    let mut operation = OperationBuilder::new()
        .tag("service")
        .operation_id(Some(operation_id(endpoint)))
        .summary(endpoint.about.clone())
        .response("200", answer(endpoint));
    for name in names(&endpoint.path) {
        let text = Object::with_type(Type::String);
        let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Path).required(Required::True);
        operation = operation.parameter(parameter.schema(Some(text)));
    }
    for parameter in endpoint.parameters.iter().cloned().chain(headers(endpoint)) {
        operation = operation.parameter(parameter);
    }
    if !endpoint.takes.is_empty() {
        let body = RequestBodyBuilder::new().required(Some(Required::True));
        let body =
            endpoint.takes.iter().cloned().fold(body, |body, (media_type, content)| body.content(media_type, content));
        operation = operation.request_body(Some(body.build()));
    }
    refusals(endpoint)
        .into_iter()
        .fold(operation, |operation, (status, when)| operation.response(status, refusal(when)))
        .build()
}

fn operation_id(endpoint: &Endpoint) -> String {
    let path = plain(&endpoint.path).replace(|char: char| !char.is_ascii_alphanumeric(), "_");
    format!("{}_{}", endpoint.method.as_str().to_ascii_lowercase(), path.trim_matches('_'))
}

/// The headers that all endpoints take.
fn headers(endpoint: &Endpoint) -> Vec<Parameter> {
    let header = |name: &str, about: &str, schema: ObjectBuilder| {
        let header = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Header).required(Required::False);
        header.description(Some(about)).schema(Some(schema)).build()
    };
    let milliseconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).maximum(Some(u32::MAX));
    let timeout = header("ekiden-timeout-ms", "How long the answer may take, in milliseconds.", milliseconds);
    let names = Priority::ALL.map(Priority::name);
    let priority = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names));
    let priority = header("ekiden-priority", "Whether its calls go before or after others.", priority);
    if endpoint.calls.is_empty() { vec![timeout] } else { vec![timeout, priority] }
}

fn answer(endpoint: &Endpoint) -> Response {
    let answer = ResponseBuilder::new().description("The answer.");
    endpoint
        .gives
        .iter()
        .cloned()
        .fold(answer, |answer, (media_type, content)| answer.content(media_type, content))
        .build()
}

/// The statuses that can come instead of an answer, and when.
fn refusals(endpoint: &Endpoint) -> Vec<(&'static str, &'static str)> {
    let mut refusals = vec![
        ("400", "What was sent does not fit; the error says where, what was expected and what came."),
        ("500", "Something failed here."),
        ("503", "The service, or a runner, does not take calls now."),
        ("504", "It was not answered in time."),
    ];
    if !endpoint.takes.is_empty() {
        refusals.push(("408", "The body stopped coming."));
        refusals.push(("413", "The body, or what it holds, is over a limit."));
        refusals.push(("415", "The body is of no media type that is understood, or is compressed."));
    }
    if endpoint.gives.len() > 1 {
        refusals.push(("406", "The answer cannot be written as it is wanted."));
    }
    match (names(&endpoint.path).is_empty(), endpoint.calls.is_empty()) {
        (false, true) => refusals.push(("404", "There is nothing at such a path.")),
        (false, false) => refusals.push(("404", "There is nothing at such a path, or a runner is no longer there.")),
        (true, false) => refusals.push(("404", "A runner is no longer there.")),
        (true, true) => {}
    }
    if !endpoint.calls.is_empty() {
        refusals.push(("429", "Too many calls wait."));
    }
    refusals
}

fn refusal(when: &str) -> Response {
    let text = || Object::with_type(Type::String);
    let body =
        ObjectBuilder::new().property("error", text()).required("error").property("code", text()).required("code");
    ResponseBuilder::new().description(when).content("application/json", Content::new(Some(body))).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lose_their_patterns() {
        let check = |path, expected: &str, parameters: &[&str]| {
            assert_eq!(
                (plain(path).as_str(), names(path)),
                (expected, parameters.iter().map(ToString::to_string).collect())
            );
        };
        check("/classify", "/classify", &[]);
        check("/{a}/b/{c:.*}", "/{a}/b/{c}", &["a", "c"]);
        check(r"/{id:\d{4}}", "/{id}", &["id"]);
        check("/{id", "/{id}", &["id"]);
    }
}
