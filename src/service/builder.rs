//! A service: its endpoints, and its life.

use std::fmt;
use std::fmt::Display;
use std::io;
use std::net::TcpListener;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::Method;
use actix_web::{FromRequest, Handler, Responder, Route, guard, web};
use utoipa::openapi::OpenApi;

use super::handler::{Asked, answer};
use super::hooks::{self, Hook};
use super::{Context, Endpoint, Limits, Params, Reply, openapi};
use crate::http::docs::Endpoints;
use crate::http::{Beside, ServeOptions, serve_with};
use crate::serving::Serving;

/// Why there is no service, or why it ended.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// Endpoints that cannot be served, each with its method, its path, and why.
    #[error("{}", .0.join("\n"))]
    Endpoints(Vec<String>),
    /// A hook failed, so that nothing was served.
    #[error("{what}: {message}")]
    Start {
        /// What the hook was to do.
        what: String,
        /// Why it could not.
        message: String,
    },
    /// The listener or the server's threads.
    #[error(transparent)]
    Io(#[from] io::Error),
}

type MakeRoute = Box<dyn Fn() -> Route + Send + Sync>;

struct Served {
    endpoint: Endpoint,
    route: MakeRoute,
}

/// Gathers a service's endpoints and hooks.
pub struct ServiceBuilder {
    context: Context,
    title: String,
    served: Vec<Served>,
    start: Vec<Hook>,
    stop: Vec<Hook>,
}

impl ServiceBuilder {
    /// What OpenAPI calls the service.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Bodies may be so large, and what they hold.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.context.limits = limits;
        self
    }

    /// Answers `GET path`, and `HEAD`.
    #[must_use]
    pub fn get<A, H>(self, path: &str, handler: H) -> Self
    where
        A: FromRequest + Params + 'static,
        H: Handler<A> + Send + Sync,
        H::Output: Responder + Reply,
    {
        self.route(Method::GET, path, handler)
    }

    /// Answers `POST path`.
    #[must_use]
    pub fn post<A, H>(self, path: &str, handler: H) -> Self
    where
        A: FromRequest + Params + 'static,
        H: Handler<A> + Send + Sync,
        H::Output: Responder + Reply,
    {
        self.route(Method::POST, path, handler)
    }

    /// Answers `PUT path`.
    #[must_use]
    pub fn put<A, H>(self, path: &str, handler: H) -> Self
    where
        A: FromRequest + Params + 'static,
        H: Handler<A> + Send + Sync,
        H::Output: Responder + Reply,
    {
        self.route(Method::PUT, path, handler)
    }

    /// Answers this method at this path, which is one of actix-web's: `/flowers/{id}`. What the handler's parameters and
    /// results are is described in [`Service::openapi`].
    #[must_use]
    pub fn route<A, H>(mut self, method: Method, path: &str, handler: H) -> Self
    where
        A: FromRequest + Params + 'static,
        H: Handler<A> + Send + Sync,
        H::Output: Responder + Reply,
    {
        let mut endpoint = Endpoint::new(method.clone(), path);
        A::describe(&mut endpoint);
        <H::Output as Reply>::describe(&mut endpoint);
        let route: MakeRoute = Box::new(move || {
            let handler = handler.clone();
            let respond = move |asked: Asked<A>| answer(asked, handler.clone());
            let asked: Box<dyn guard::Guard> = if method == Method::GET {
                Box::new(guard::Any(guard::Get()).or(guard::Head()))
            } else {
                Box::new(guard::Method(method.clone()))
            };
            web::route().guard(guard::fn_guard(move |ctx| asked.check(ctx))).to(respond)
        });
        self.served.push(Served { endpoint, route });
        self
    }

    /// Says in OpenAPI what the endpoint that was added last does.
    #[must_use]
    pub fn about(mut self, about: impl Into<String>) -> Self {
        if let Some(last) = self.served.last_mut() {
            last.endpoint.about = Some(about.into());
        }
        self
    }

    /// Does this before anything is answered, in the order in which hooks are added. One that fails ends the start, with
    /// `what` before its error. The runners take calls by then.
    #[must_use]
    pub fn on_start<F, R, E>(mut self, what: impl Into<String>, hook: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), E>> + 'static,
        E: Display,
    {
        self.start.push(Hook::new(what, hook));
        self
    }

    /// Does this when all has been answered and the runners are drained, the hook that was added last first; also where the
    /// start failed. All hooks together have the grace period; what fails is told in the log.
    #[must_use]
    pub fn on_stop<F, R, E>(mut self, what: impl Into<String>, hook: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), E>> + 'static,
        E: Display,
    {
        self.stop.push(Hook::new(what, hook));
        self
    }

    /// Checks all of it: that the methods which endpoints call are there and take and return what they are declared to, and
    /// that nothing is there twice.
    ///
    /// # Errors
    /// [`ServiceError::Endpoints`], with all that is wrong.
    pub fn build(self) -> Result<Service, ServiceError> {
        let mut problems = Vec::new();
        for (at, Served { endpoint, .. }) in self.served.iter().enumerate() {
            let place = endpoint.place();
            if !endpoint.path.starts_with('/') {
                problems.push(format!("{place}: a path begins with \"/\""));
            }
            if self.served.iter().take(at).any(|earlier| earlier.endpoint.place() == place) {
                problems.push(format!("{place}: it is there twice"));
            }
            let checks = endpoint.calls.iter().filter_map(|check| check(&self.context).err());
            problems.extend(checks.map(|error| format!("{place}: {error}")));
        }
        if !problems.is_empty() {
            return Err(ServiceError::Endpoints(problems));
        }
        let Self { context, title, served, start, stop } = self;
        Ok(Service(Arc::new(Parts { context, title, served, start, stop })))
    }
}

struct Parts {
    context: Context,
    title: String,
    served: Vec<Served>,
    start: Vec<Hook>,
    stop: Vec<Hook>,
}

/// Endpoints that call an app's runners. Clones are the same service.
///
/// [`Service::serve`] is a server of its own. In another actix-web server, with middleware and whatever else:
///
/// ```no_run
/// # use ekiden::service::{Service, ServiceError};
/// # use actix_web::{App, HttpServer, middleware::NormalizePath};
/// # async fn run(service: Service, grace: std::time::Duration) -> Result<(), ServiceError> {
/// service.start().await?;
/// let routes = service.routes();
/// let server = HttpServer::new(move || App::new().wrap(NormalizePath::trim()).configure(routes.clone()));
/// server.bind("127.0.0.1:3000")?.h1_allow_half_closed(false).run().await?;
/// service.stop(grace).await;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Service(Arc<Parts>);

impl Service {
    /// Builds a service on the runners of `app`.
    pub fn builder<A: AsRef<Serving>>(app: &A) -> ServiceBuilder {
        let (context, title) = (Context::new(app), String::new());
        ServiceBuilder { context, title, served: Vec::new(), start: Vec::new(), stop: Vec::new() }
    }

    /// Mounts the endpoints into any actix-web server. Have that built with `h1_allow_half_closed(false)`, so that a client
    /// that closes its connection cancels its calls.
    pub fn routes(&self) -> impl FnOnce(&mut web::ServiceConfig) + Clone + Send + use<> {
        let service = self.clone();
        move |config| service.mount(config)
    }

    /// What OpenAPI says of the endpoints: paths, and components that they refer to.
    pub fn openapi(&self) -> OpenApi {
        openapi::document(&self.0.title, self.0.served.iter().map(|served| &served.endpoint))
    }

    /// Runs the start hooks.
    ///
    /// # Errors
    /// [`ServiceError::Start`]: the first that failed. The rest was not begun.
    pub async fn start(&self) -> Result<(), ServiceError> {
        hooks::start(&self.0.start).await
    }

    /// Takes no more requests, finishes those it has, drains the runners, for at most `grace` together, and runs the stop
    /// hooks, for at most as long again.
    pub async fn stop(&self, grace: Duration) {
        let since = std::time::Instant::now();
        self.0.context.traffic.finish(grace).await;
        self.0.context.serving.drain(grace.saturating_sub(since.elapsed())).await;
        hooks::stop(&self.0.stop, grace).await;
    }

    /// All of its life: runs the start hooks, serves the endpoints, with Ekiden's own API beside them, until `stop` is done, and
    /// then is [stopped](Service::stop). All of it is described in `/docs.json`, and shown on the [page](crate::page) at `/`,
    /// unless an endpoint is there. Bodies of endpoints are bounded by the service's own [`Limits`].
    ///
    /// Must be called in an actix system, as `#[actix_web::main]` makes one.
    ///
    /// # Errors
    /// [`ServiceError::Start`], or what the listener or the server's threads fail with.
    pub async fn serve(
        &self,
        listener: TcpListener,
        options: ServeOptions,
        stop: impl Future<Output = ()>,
    ) -> Result<(), ServiceError> {
        let (mut stop, grace) = (pin!(stop), options.grace);
        let started = tokio::select! {
            started = self.start() => started.map(|()| true),
            () = &mut stop => Ok(false),
        };
        let served = match started {
            Ok(true) => serve_with(&self.0.context.serving, listener, options, WithPage(self.clone()), stop)
                .await
                .map_err(ServiceError::Io),
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        };
        self.stop(grace).await;
        served
    }
}

impl Beside for Service {
    fn mount(&self, config: &mut web::ServiceConfig) {
        config.app_data(web::Data::new(Endpoints(self.openapi())));
        let context = web::Data::new(self.0.context.clone());
        let mut paths: Vec<&str> = Vec::new();
        for Served { endpoint, .. } in &self.0.served {
            if !paths.contains(&endpoint.path.as_str()) {
                paths.push(&endpoint.path);
            }
        }
        for path in paths {
            let here = || self.0.served.iter().filter(|served| served.endpoint.path == path);
            let allowed: Vec<Method> = here().map(|served| served.endpoint.method.clone()).collect();
            let resource = web::resource(path).app_data(context.clone());
            let resource = here().fold(resource, |resource, served| resource.route((served.route)()));
            config.service(resource.default_service(crate::http::not_allowed(allowed)));
        }
    }

    fn finish(&self, grace: Duration) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(self.0.context.traffic.finish(grace))
    }
}

/// A service, with the page on which its endpoints can be tried.
struct WithPage(Service);

impl Beside for WithPage {
    fn mount(&self, config: &mut web::ServiceConfig) {
        self.0.mount(config);
        if !self.0.0.served.iter().any(|served| served.endpoint.path == "/") {
            config.configure(crate::page::routes());
        }
    }

    fn finish(&self, grace: Duration) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        self.0.finish(grace)
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.served.iter().map(|served| served.endpoint.place())).finish()
    }
}

impl fmt::Debug for ServiceBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.served.iter().map(|served| served.endpoint.place())).finish()
    }
}
