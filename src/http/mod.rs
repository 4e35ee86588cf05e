//! The HTTP API on actix-web: calls, what is served, probes and metrics.
//!
//! | route | answers |
//! |---|---|
//! | `POST /v1/runners/{runner}/{method}` | the method's outputs, or a stream of them |
//! | `GET /v1/runners`, `GET /v1/runners/{runner}` | methods, specs, limits, executors, restarts, queues |
//! | `/v2/…` | the same by the Open Inference Protocol, for clients of KServe and Triton |
//! | `GET /livez` | 200 while the process lives |
//! | `GET /readyz` | 200 when each runner takes calls, 503 with the reasons otherwise |
//! | `GET /metrics` | numbers for Prometheus |
//! | `GET /docs.json` | all of these, each method with its specs, in OpenAPI 3.1: [`docs`] |
//!
//! Operators' orders come to a listener of their own: [`serve_admin`].
//!
//! [`routes`] mounts all of them into any actix-web server; [`serve`] is a server of its own.

mod access;
mod admin;
pub(crate) mod body;
pub(crate) mod call;
pub mod docs;
mod error;
mod info;
mod outbox;
mod probe;
mod server;
mod stream;
mod v2;

pub use access::AccessFormat;
pub use admin::serve_admin;
pub use error::{ApiError, not_allowed};
pub use server::{Beside, ServeOptions, serve, serve_with};

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, Route, guard, web};

use crate::oip::Inflated;
use crate::serving::Serving;
use ekiden_actors::CallError;
use outbox::Outbox;

/// What the handlers share.
struct Api {
    serving: Serving,
    /// The server is going away; keep-alive connections are told so.
    draining: Arc<AtomicBool>,
    max_body_bytes: usize,
    /// What bodies that came compressed hold.
    inflated: Inflated,
    request_ids: RequestIds,
}

impl Api {
    /// Why the server takes nothing more, once it goes.
    fn goes(&self) -> Option<&'static str> {
        self.draining.load(Ordering::Relaxed).then_some("the server is shutting down")
    }

    /// Whether calls are still taken: a service that is finished before the runners are drained needs them for its own.
    fn takes_calls(&self) -> Result<(), CallError> {
        self.goes().map_or(Ok(()), |cause| Err(CallError::unavailable(cause)))
    }
}

/// Numbers requests that bring no id: 8 random digits for the server, 8 counted ones.
struct RequestIds {
    server: u32,
    next: AtomicU64,
}

impl RequestIds {
    /// The next one, in hexadecimal digits.
    fn next(&self) -> [u8; 16] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let counted = self.next.fetch_add(1, Ordering::Relaxed);
        let id = (u64::from(self.server) << 32) | (counted & u64::from(u32::MAX));
        std::array::from_fn(|at| DIGITS[(id >> (60 - 4 * at)) as usize & 0xf])
    }
}

/// The largest request body that is read unless told otherwise, in bytes: 64 MiB.
pub const DEFAULT_MAX_BODY_BYTES: usize = 64 << 20;

/// Mounts the API: `actix_web::App::new().configure(ekiden::http::routes(&app))`.
///
/// `/docs.json` tells of all routes; [`docs::Endpoints`] adds a service's own, and [`page::routes`](crate::page::routes) a
/// page that shows them and tries calls. Request bodies are read up to 64 MiB; [`routes_with`] takes another limit. The routes do not keep the app alive: hold
/// on to it for as long as the server runs. And have the server built with `h1_allow_half_closed(false)`, so that a
/// client that closes its connection cancels its call.
pub fn routes<A: AsRef<Serving>>(app: &A) -> impl FnOnce(&mut web::ServiceConfig) + Clone + Send + use<A> {
    routes_with(app, DEFAULT_MAX_BODY_BYTES)
}

/// Mounts the API, and reads request bodies of up to `max_body_bytes` bytes.
pub fn routes_with<A: AsRef<Serving>>(
    app: &A,
    max_body_bytes: usize,
) -> impl FnOnce(&mut web::ServiceConfig) + Clone + Send + use<A> {
    mount(app.as_ref().clone(), max_body_bytes, Arc::new(AtomicBool::new(false)))
}

fn mount(
    serving: Serving,
    max_body_bytes: usize,
    draining: Arc<AtomicBool>,
) -> impl FnOnce(&mut web::ServiceConfig) + Clone + Send {
    let request_ids = RequestIds { server: fastrand::u32(..), next: AtomicU64::new(0) };
    let inflated = Inflated::new(max_body_bytes);
    let api = web::Data::from(Arc::new(Api { serving, draining, max_body_bytes, inflated, request_ids }));
    move |config| {
        let probe = |path, route: Route| {
            let reads = guard::Any(guard::Get()).or(guard::Head());
            let resource = web::resource(path).app_data(api.clone()).route(route.guard(reads));
            resource.default_service(web::to(error::get_only))
        };
        // This is run once for each thread that serves HTTP.
        let (shared, outbox) = (api.clone(), Outbox::default());
        let protocol_outbox = outbox.clone();
        let below = move |request, payload| runners(request, payload, shared.clone(), outbox.clone());
        let cache = docs::Cache::default();
        let docs = move |request, api| docs::docs(request, api, cache.clone());
        // Calls of both share batches.
        let (shared, outbox) = (api.clone(), protocol_outbox);
        let protocol = move |request, payload| v2::routes(request, payload, shared.clone(), outbox.clone());
        config
            .service(web::scope("/v1/runners").default_service(web::to(below)))
            .service(web::scope("/v2").default_service(web::to(protocol)))
            .service(probe("/livez", web::to(probe::livez)))
            .service(probe("/readyz", web::to(probe::readyz)))
            .service(probe("/metrics", web::to(probe::metrics)))
            .service(probe("/docs.json", web::to(docs)));
    }
}

/// Everything below `/v1/runners`. The router matches paths with parameters by regular expressions, which took a tenth
/// of a small call; this takes the path apart by hand.
async fn runners(request: HttpRequest, payload: web::Payload, api: web::Data<Api>, outbox: Outbox) -> HttpResponse {
    let below = request.match_info().unprocessed();
    let below = below.strip_prefix('/').unwrap_or(below);
    // A trailing slash means the same.
    let mut parts = below.strip_suffix('/').unwrap_or(below).split('/');
    let parts = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    if let (runner, Some(method), None) = parts
        && request.method() == Method::POST
    {
        return call::call(&request, runner, method, payload, &api, &outbox).await;
    }
    body::skip(payload).await;
    match parts {
        (_, Some(_), None) => error::method(&request, &Method::POST),
        (_, None, _) if !matches!(*request.method(), Method::GET | Method::HEAD) => {
            error::method(&request, &Method::GET)
        }
        ("", None, _) => info::runners(&api),
        (runner, None, _) => info::runner(runner, &api),
        (_, Some(_), Some(_)) => error::path(&request),
    }
}
