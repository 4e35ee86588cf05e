//! Orders of operators, on a listener of their own: a port that callers reach never carries them.
//!
//! | route | does |
//! |---|---|
//! | `POST /v1/runners/{runner}/restart` | replaces its executors one after the other; begins anew if it has ended |
//! | `POST /v1/runners/{runner}/pause` | runs nothing more; calls are taken and wait |
//! | `POST /v1/runners/{runner}/resume` | goes on |
//! | `POST /v1/runners/{runner}/drain` | finishes what it has accepted, and stops |
//! | `POST /v1/reload` | reads the configuration again, and has what is served follow it |
//! | `POST /v2/repository/index` | the models of the Open Inference Protocol, with their states |
//! | `POST /v2/repository/models/{model}/load` | begins a runner anew that has failed or stopped; a paused one goes on |
//! | `POST /v2/repository/models/{model}/unload` | drains the runner |
//! | `GET /v2` | what this listener knows of that protocol |
//! | `GET /docs.json` | all of these, in OpenAPI 3.1 |

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use actix_web::http::{Method, StatusCode, header};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use ekiden_actors::OrderError;
use serde::Serialize;
use utoipa::ToSchema;

use super::docs;
use super::error::{self, Refusal};
use super::v2;
use crate::serving::{Reload, ReloadError, RunnerEntry};

/// The last part of the paths of orders to a runner.
const ORDERS: [&str; 4] = ["restart", "pause", "resume", "drain"];

/// A call of a method that does not exist may be an order at the wrong door.
pub(super) fn hint(method: &str, mut refusal: Refusal) -> Refusal {
    if ORDERS.contains(&method) {
        refusal.message.push_str("; orders to runners are taken on the admin listener (admin_bind) alone");
    }
    refusal
}

struct Admin<A> {
    app: A,
    grace: Duration,
}

/// Carries out orders that come to `listener`, until `stop` is done. A runner that is told to drain is given `grace`.
///
/// Whoever reaches the listener may give orders: bind it to loopback, or to a network that only operators reach. Must be
/// called in an actix system.
///
/// # Errors
/// What the listener or the server's thread fails with.
pub async fn serve_admin(
    app: &impl Reload,
    listener: TcpListener,
    grace: Duration,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let app = app.clone();
    let server = HttpServer::new(move || {
        let admin = web::Data::new(Admin { app: app.clone(), grace });
        let order = move |request, payload| order(request, payload, admin.clone());
        App::new().default_service(web::to(order))
    });
    let server = server.workers(1).shutdown_timeout(1).disable_signals().listen(listener)?.run();
    let handle = server.handle();
    let mut server = std::pin::pin!(server);
    tokio::select! {
        ended = &mut server => return ended,
        () = stop => {}
    }
    let stopped = async { tokio::join!(handle.stop(true), server).1 };
    stopped.await
}

/// What an order has done.
#[derive(Serialize, ToSchema)]
#[schema(as = ekiden::Done)]
pub(super) struct Done<'a> {
    runner: &'a str,
    /// The runner's state now.
    state: &'static str,
    /// What was done, in a sentence.
    message: String,
}

async fn order<A: Reload>(request: HttpRequest, payload: web::Payload, admin: web::Data<Admin<A>>) -> HttpResponse {
    if request.headers().contains_key(header::ORIGIN) {
        // A page that an operator looks at must not give orders by their browser.
        let refusal = Refusal::new(StatusCode::FORBIDDEN, "forbidden", "orders are not taken from web pages");
        return refusal.response();
    }
    let path = request.path().trim_end_matches('/');
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match parts.as_slice() {
        ["v2", parts @ ..] => v2::repository::order(&request, payload, admin.app.as_ref(), admin.grace, parts).await,
        ["v1", "runners", _, _] | ["v1", "reload"] if request.method() != Method::POST => {
            error::method(&request, &Method::POST)
        }
        ["docs.json"] if *request.method() == Method::GET => HttpResponse::Ok().json(docs::admin()),
        ["docs.json"] => error::method(&request, &Method::GET),
        ["v1", "reload"] => reload(&admin.app).await,
        ["v1", "runners", runner, order] if ORDERS.contains(order) => match admin.app.as_ref().entry(runner) {
            Ok(entry) => answer(&entry, order, admin.grace).await,
            Err(error) => Refusal::from(&error).response(),
        },
        _ => {
            let message = format!(
                "there is nothing at {}; orders are POST /v1/reload, and POST /v1/runners/{{runner}}/{}",
                request.path(),
                ORDERS.join("|")
            );
            Refusal::new(StatusCode::NOT_FOUND, "not_found", message).response()
        }
    }
}

async fn reload(app: &impl Reload) -> HttpResponse {
    let (status, code, message) = match app.reload().await {
        Ok(reloaded) if reloaded.failed.is_empty() => return HttpResponse::Ok().json(reloaded),
        Ok(reloaded) => (StatusCode::INTERNAL_SERVER_ERROR, "reload_incomplete", reloaded.to_string()),
        Err(error) => {
            let (status, code) = match error {
                ReloadError::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_config"),
                ReloadError::Busy | ReloadError::Ending => (StatusCode::CONFLICT, "impossible"),
                ReloadError::Lost(_) => (StatusCode::INTERNAL_SERVER_ERROR, "reload_lost"),
            };
            (status, code, error.to_string())
        }
    };
    Refusal::new(status, code, message).response()
}

async fn answer(runner: &RunnerEntry, order: &str, grace: Duration) -> HttpResponse {
    let name = runner.name.as_str();
    let done = match order {
        "restart" => runner.restart().await.map(|()| "has been restarted".to_owned()),
        "pause" => runner.pause().await.map(|()| "is paused; calls wait until it is resumed".to_owned()),
        "resume" => runner.resume().await.map(|()| "goes on".to_owned()),
        _ => {
            runner.drain(grace).await;
            let finished = match runner.status().unfinished {
                0 => "has finished what it had accepted, and stopped".to_owned(),
                calls => format!("has stopped; calls that were not answered within grace_s, and refused: {calls}"),
            };
            Ok(finished + "; restart begins it anew")
        }
    };
    match done {
        Ok(what) => {
            let state = runner.status().state.name();
            HttpResponse::Ok().json(Done { runner: name, state, message: format!("runner \"{name}\" {what}") })
        }
        Err(error) => {
            let (status, code) = match error {
                OrderError::Impossible { .. } | OrderError::Busy => (StatusCode::CONFLICT, "impossible"),
                OrderError::Failed(_) => (StatusCode::INTERNAL_SERVER_ERROR, "order_failed"),
            };
            Refusal::new(status, code, format!("runner \"{name}\" {order}: {error}")).response()
        }
    }
}
