//! The HTTP server's life, as an actor: bind, ready, drain, stop.

use std::io;
use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseActFuture, WrapFuture,
};
use actix_web::dev::ServerHandle;
use actix_web::middleware::{Condition, from_fn};
use actix_web::{App, HttpServer, web};
use tokio::sync::oneshot;

use super::access::{AccessFormat, AccessLog};
use super::{DEFAULT_MAX_BODY_BYTES, error, mount};
use crate::serving::Serving;

/// The least time for answers to be written when the grace period is over.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// How the server runs.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Threads that serve HTTP.
    pub workers: NonZeroUsize,
    /// The largest request body, in bytes.
    pub max_body_bytes: usize,
    /// How long calls that have been accepted may take to finish once the server stops.
    pub grace: Duration,
    /// Whether a line on standard error tells of each request that is answered, and how it looks.
    pub access_log: Option<AccessFormat>,
}

impl Default for ServeOptions {
    /// As many threads as there are cores, bodies of up to 64 MiB, 30 seconds of grace, no access log.
    fn default() -> Self {
        Self {
            workers: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            max_body_bytes: DEFAULT_MAX_BODY_BYTES,
            grace: Duration::from_secs(30),
            access_log: None,
        }
    }
}

/// What a server serves beside the API.
pub trait Beside: Send + Sync + 'static {
    /// Mounts it, once in each thread that serves HTTP.
    fn mount(&self, config: &mut web::ServiceConfig);

    /// Takes no more requests and waits for those it has, for at most `grace`. The runners take calls until then.
    fn finish(&self, grace: Duration) -> Pin<Box<dyn Future<Output = ()> + '_>>;
}

/// Routes that have nothing to finish.
impl<F: FnOnce(&mut web::ServiceConfig) + Clone + Send + Sync + 'static> Beside for F {
    fn mount(&self, config: &mut web::ServiceConfig) {
        self.clone()(config);
    }

    fn finish(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(std::future::ready(()))
    }
}

/// Serves the API on `listener` until `stop` is done; then takes no more, finishes what was accepted within the grace
/// period, and returns.
///
/// Must be called in an actix system, as `#[actix_web::main]` makes one.
///
/// # Errors
/// What the listener or the server's threads fail with.
pub async fn serve(
    app: &impl AsRef<Serving>,
    listener: TcpListener,
    options: ServeOptions,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    serve_with(app, listener, options, |_: &mut web::ServiceConfig| (), stop).await
}

/// As [`serve`], with something `beside` the API: the [page](crate::page) in front, a service of one's own. It is mounted
/// before the API, and finished before the runners are drained.
///
/// # Errors
/// As of [`serve`].
pub async fn serve_with(
    app: &impl AsRef<Serving>,
    listener: TcpListener,
    options: ServeOptions,
    beside: impl Beside,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let (ended, mut end) = oneshot::channel();
    let front_end = FrontEnd {
        serving: app.as_ref().clone(),
        options,
        beside: Arc::new(beside),
        draining: Arc::new(AtomicBool::new(false)),
        server: None,
        ended: Some(ended),
    };
    let front_end = front_end.start();
    front_end.send(Bind(listener)).await.map_err(io::Error::other)??;
    let lost = || io::Error::other("the HTTP server's actor was lost");
    tokio::select! {
        end = &mut end => return end.unwrap_or_else(|_| Err(lost())),
        () = stop => {}
    }
    front_end.do_send(Drain);
    end.await.unwrap_or_else(|_| Err(lost()))
}

/// Owns the server.
struct FrontEnd {
    serving: Serving,
    options: ServeOptions,
    beside: Arc<dyn Beside>,
    draining: Arc<AtomicBool>,
    server: Option<ServerHandle>,
    ended: Option<oneshot::Sender<io::Result<()>>>,
}

#[derive(Message)]
#[rtype(result = "io::Result<()>")]
struct Bind(TcpListener);

#[derive(Message)]
#[rtype(result = "()")]
struct Drain;

impl Actor for FrontEnd {
    type Context = Context<Self>;
}

impl Handler<Bind> for FrontEnd {
    type Result = io::Result<()>;

    fn handle(&mut self, Bind(listener): Bind, ctx: &mut Self::Context) -> io::Result<()> {
        let routes = mount(self.serving.clone(), self.options.max_body_bytes, Arc::clone(&self.draining));
        let access_log = self.options.access_log;
        let beside = self.beside.clone();
        // Called once in each worker thread, which so has a log of its own.
        let service = move || {
            let log = AccessLog::new(access_log.unwrap_or_default());
            let observe = from_fn(move |request, next| log.clone().observe(request, next));
            App::new()
                .wrap(Condition::new(access_log.is_some(), observe))
                .configure(|config| beside.mount(config))
                .configure(routes.clone())
                .default_service(web::to(error::not_found))
        };
        let server = HttpServer::new(service)
            .workers(self.options.workers.get())
            // Calls are finished by draining the runners; this is for their answers to be written.
            .shutdown_timeout(1)
            // A client that has closed its connection has gone: its call is cancelled.
            .h1_allow_half_closed(false)
            .disable_signals()
            .listen(listener)?
            .run();
        self.server = Some(server.handle());
        let over = server.into_actor(self).map(|result, front_end, ctx| {
            if let Some(ended) = front_end.ended.take() {
                // Nobody listens any more when the caller has gone.
                let _ = ended.send(result);
            }
            ctx.stop();
        });
        ctx.spawn(over);
        Ok(())
    }
}

impl Handler<Drain> for FrontEnd {
    type Result = ResponseActFuture<Self, ()>;

    /// Not ready, finish what was accepted, stop: in this order, and within the grace period. New connections are taken
    /// until then, so that probes and late callers are told 503 and not left hanging.
    fn handle(&mut self, _: Drain, _: &mut Self::Context) -> Self::Result {
        self.draining.store(true, Ordering::Relaxed);
        let (serving, grace, server) = (self.serving.clone(), self.options.grace, self.server.clone());
        let beside = self.beside.clone();
        let drain = async move {
            let since = Instant::now();
            // The runners are left some of it.
            beside.finish(grace.mul_f64(0.8)).await;
            serving.drain(grace.saturating_sub(since.elapsed())).await;
            let Some(server) = server else { return };
            let left = grace.saturating_sub(since.elapsed()).max(LAST_WORDS);
            if tokio::time::timeout(left, server.stop(true)).await.is_err() {
                server.stop(false).await;
            }
        };
        Box::pin(drain.into_actor(self))
    }
}
