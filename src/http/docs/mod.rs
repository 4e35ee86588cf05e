//! `/docs.json`: the API as an OpenAPI 3.1 document, made of what is served now.
//!
//! Each method is a path of its own, with the schemas of its real inputs and outputs, an example that can be sent, and
//! every status that it may be answered with. Runners come and go with reloads, and so do their paths.
//!
//! OpenAPI 3.1: <https://spec.openapis.org/oas/v3.1.0.html>.

mod admin;
mod answers;
mod call;
mod example;
mod fixed;
mod schema;
mod v2;

pub use example::example;

pub(super) use admin::admin;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Weak};

use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use utoipa::openapi::path::Operation;
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{HttpMethod, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, PathItem, Paths, Server};

use super::Api;
use crate::serving::{RunnerEntry, Serving};

/// Endpoints beside Ekiden's own, of which `/docs.json` is to tell as well. A service hands them in as app data:
///
/// ```
/// # use actix_web::web;
/// # use ekiden::http::docs::Endpoints;
/// # fn mount(config: &mut web::ServiceConfig, openapi: utoipa::openapi::OpenApi) {
/// config.app_data(web::Data::new(Endpoints(openapi)));
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Endpoints(pub OpenApi);

/// The document of all that [`routes`](super::routes) mounts, for the runners that are served now, and of these endpoints.
///
/// Where `endpoints` have a title, it is the document's. Of two paths or schemas of one name, Ekiden's own stay.
pub fn document(serving: &Serving, endpoints: Option<&Endpoints>) -> OpenApi {
    let runners = serving.runners();
    let mut paths = Paths::new();
    for runner in runners.iter() {
        for method in &runner.methods {
            let path = format!("/v1/runners/{}/{}", runner.name, method.name());
            paths.add_path_operation(path, vec![HttpMethod::Post], call::operation(runner, method));
        }
    }
    fixed::add_all(&mut paths);
    v2::add_all(&mut paths, serving);
    let tags = runners.iter().map(|runner| {
        let about = format!("Runs `{}`: {}.", runner.runnable, runner.plan.chosen);
        TagBuilder::new().name(&runner.name).description(Some(about)).build()
    });
    let server = TagBuilder::new().name(fixed::TAG).description(Some(fixed::ABOUT)).build();
    let protocol = TagBuilder::new().name(v2::TAG).description(Some(v2::ABOUT)).build();
    let document = OpenApiBuilder::new()
        .info(info("Ekiden", INTRODUCTION))
        .servers(Some([Server::new(".")]))
        .paths(paths)
        .components(Some(answers::components()))
        .tags(Some(tags.chain([server, protocol]).collect::<Vec<_>>()))
        .build();
    match endpoints {
        None => document,
        Some(Endpoints(more)) => {
            let title = more.info.title.clone();
            let mut document = document.merge_from(more.clone());
            if !title.is_empty() {
                document.info = more.info.clone();
            }
            document
        }
    }
}

/// What the page begins with, in Markdown.
const INTRODUCTION: &str = "Each method of a runner is a path of its own: inputs in, outputs out. Concurrent calls \
share batches, and each is answered as if it had come alone.\n\nA body is JSON, one tensor as `numpy.save` writes it, \
text, or raw bytes; the answer comes in the same format, or in the one that `accept` names. Errors are \
`{\"error\": \"…\", \"code\": \"…\"}`, and say what was expected and what came.";

fn info(title: &str, introduction: &str) -> utoipa::openapi::Info {
    let license = LicenseBuilder::new().name("MIT OR Apache-2.0").identifier(Some("MIT OR Apache-2.0")).build();
    InfoBuilder::new()
        .title(title)
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(introduction))
        .license(Some(license))
        .build()
}

/// Adds one path.
fn add(paths: &mut Paths, method: HttpMethod, path: &str, operation: Operation) {
    paths.paths.insert(path.to_owned(), PathItem::new(method, operation));
}

/// The document as this thread last wrote it.
#[derive(Clone, Default)]
pub(super) struct Cache(Rc<RefCell<Option<Written>>>);

struct Written {
    /// The table of runners that it is of. While it is held, no other table has its address.
    of: Weak<Vec<Arc<RunnerEntry>>>,
    body: Bytes,
}

pub(super) async fn docs(request: HttpRequest, api: web::Data<Api>, cache: Cache) -> HttpResponse {
    let runners = Arc::downgrade(&api.serving.runners());
    let mut cache = cache.0.borrow_mut();
    let body = match &*cache {
        Some(written) if Weak::ptr_eq(&written.of, &runners) => written.body.clone(),
        _ => {
            let endpoints = request.app_data::<web::Data<Endpoints>>();
            let document = document(&api.serving, endpoints.map(|endpoints| &***endpoints));
            let body = match document.to_json() {
                Ok(body) => Bytes::from(body),
                Err(error) => return answers::unwritten(&error),
            };
            *cache = Some(Written { of: runners, body: body.clone() });
            body
        }
    };
    HttpResponse::Ok().content_type("application/json").body(body)
}
