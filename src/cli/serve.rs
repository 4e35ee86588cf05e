//! `ekiden serve`.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Instant;

use actix_web::rt::System;
use ekiden::App;
use ekiden::app::AppBuilder;
use ekiden::config::{BindAddress, LogFormat, Origin, Sourced};
use ekiden::http::{self, AccessFormat, ServeOptions, docs};
use ekiden::page;
use ekiden::serving::{MethodHandle, RunnerEntry};
use ekiden::value::ValueSpec;

use clap::Args;
use tokio::sync::oneshot;

use super::grpc::Grpc;
use super::{Failure, log, tell};

pub(super) const EXAMPLES: &str = "Examples:
  ekiden serve                                   the runners of runners.toml, or the built-in iris classifier
  ekiden serve --config prod.toml --bind 0.0.0.0:3000
  ekiden serve resnet18.onnx                     POST /v1/runners/resnet18/predict
  ekiden serve churn:latest                      a model of the store
  ekiden serve model.onnx --name churn --set runners.churn.max_batch_size=256";

/// Where to listen.
#[derive(Args)]
pub(super) struct Binds {
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:3000]
    #[arg(long, value_name = "ADDRESS:PORT")]
    bind: Option<String>,
    /// Where to take operators' orders; "" for nowhere [default: 127.0.0.1:3001]
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin_bind: Option<String>,
    /// Where to serve the Open Inference Protocol over gRPC; "" for nowhere, which is the default
    #[arg(long, value_name = "ADDRESS:PORT")]
    grpc_bind: Option<String>,
}

impl Binds {
    fn given(self, builder: AppBuilder) -> AppBuilder {
        let flags = [
            ("--bind", "server.bind", self.bind),
            ("--admin-bind", "server.admin_bind", self.admin_bind),
            ("--grpc-bind", "server.grpc_bind", self.grpc_bind),
        ];
        flags.into_iter().fold(builder, |builder, (flag, key, bind)| match bind {
            Some(bind) => builder.sources(|sources| sources.flag(flag, key, bind)),
            None => builder,
        })
    }
}

pub(super) fn serve((builder, source): (AppBuilder, String), binds: Binds) -> Result<(), Failure> {
    let started = Instant::now();
    let builder = binds.given(builder);
    let checked = builder.check()?;
    let server = checked.config().server.clone();
    log::start(server.log_format.value);
    let bind = server.bind.value.to_string();
    let listener = TcpListener::bind(&bind).map_err(|error| {
        Failure::Run(format!("cannot listen on {bind} ({}): {error}; choose another with --bind", server.bind.origin))
    })?;
    let address = listener.local_addr().map_err(|error| Failure::Run(error.to_string()))?;
    let admin = admin_listener(&server.admin_bind)?;
    let grpc = Grpc::listen(&server)?;
    let system = System::new();
    // Before anybody can read that there is a server: a SIGHUP that nobody has asked for ends a process.
    #[cfg(unix)]
    let hangups = system.block_on(async { hangups() });
    let app = checked.launch()?;
    let options = ServeOptions {
        workers: server.workers.value,
        max_body_bytes: server.max_body_bytes.value,
        grace: server.grace.value,
        access_log: server.access_log.value.then_some(match server.log_format.value {
            LogFormat::Text => AccessFormat::Text,
            LogFormat::Json => AccessFormat::Json,
        }),
    };
    let (served, grpc) = system.block_on(async {
        let stop = stop_signal();
        describe(&app, &source, address);
        if let Some(Ok(address)) = grpc.as_ref().map(Grpc::address) {
            say(format_args!("gRPC on {address}"));
        }
        let (admin_stops, admin_stopped) = oneshot::channel::<()>();
        let admin = admin.map(|admin| {
            if let Ok(address) = admin.local_addr() {
                say(format_args!("taking orders on http://{address}"));
            }
            let (app, grace) = (app.clone(), options.grace);
            actix_web::rt::spawn(async move {
                let stop = async { drop(admin_stopped.await) };
                http::serve_admin(&app, admin, grace, stop).await
            })
        });
        #[cfg(unix)]
        let reloads = actix_web::rt::spawn(reload_on(hangups, app.clone()));
        let ready = actix_web::rt::spawn(announce(app.clone(), address, started));
        let page = page::routes();
        let (served, grpc) = match grpc {
            Some(grpc) => {
                let (stop, grpc) = grpc.start(&app, stop);
                (http::serve_with(&app, listener, options, page, stop).await, grpc.await.unwrap_or(Ok(())))
            }
            None => (http::serve_with(&app, listener, options, page, stop).await, Ok(())),
        };
        ready.abort();
        #[cfg(unix)]
        reloads.abort();
        drop(admin_stops);
        if let Some(admin) = admin
            && let Ok(Err(error)) = admin.await
        {
            tracing::error!(%error, "the admin listener has failed");
        }
        (served, grpc)
    });
    served.map_err(|error| Failure::Run(format!("the HTTP server has failed: {error}")))?;
    grpc.map_err(|error| Failure::Run(format!("the gRPC server has failed: {error}")))?;
    say("stopped");
    Ok(())
}

/// Where orders are taken. The default port may be another server's: this one goes without, and says so.
fn admin_listener(bind: &Sourced<Option<BindAddress>>) -> Result<Option<TcpListener>, Failure> {
    let Some(address) = bind.value.as_ref().map(ToString::to_string) else { return Ok(None) };
    match TcpListener::bind(&address) {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if bind.origin == Origin::Default => {
            tracing::warn!(%error, address, "no orders are taken: cannot listen, and whoever does takes the orders that are meant for this server; choose another address with --admin-bind");
            Ok(None)
        }
        Err(error) => Err(Failure::Run(format!(
            "cannot listen on {address} ({}): {error}; choose another with --admin-bind",
            bind.origin
        ))),
    }
}

fn describe(app: &App, source: &str, address: SocketAddr) {
    say(format_args!("ekiden {} serves {source}", env!("CARGO_PKG_VERSION")));
    for runner in app.runners().iter() {
        say(format_args!("  {}: {}", runner.name, runner.plan.chosen));
        for method in &runner.methods {
            say(format_args!("    {}", signature(method)));
        }
    }
    say(format_args!("listening on http://{address}"));
}

fn say(line: impl fmt::Display) {
    tell(&mut io::stdout(), line);
}

/// Says when all runners take calls, with a call to try.
async fn announce(app: App, address: SocketAddr, started: Instant) {
    if let Err((runner, cause)) = app.ready().await {
        let others = format!("The others go on; http://{address}/readyz says why this server is not ready.");
        return tell(&mut io::stderr(), format_args!("runner \"{runner}\" has failed: {cause}\n{others}"));
    }
    say(format_args!("ready in {:.2} s; try http://{address}/ or", started.elapsed().as_secs_f64()));
    for runner in app.runners().iter().take(1) {
        say(format_args!("  {}", curl(runner, address)));
    }
}

fn signature(method: &MethodHandle) -> String {
    let list = |specs: &[ValueSpec]| {
        let specs: Vec<String> = specs.iter().map(|spec| format!("{}: {spec}", spec.name())).collect();
        specs.join(", ")
    };
    let signature = method.signature();
    let stream = if signature.streams { "stream of " } else { "" };
    format!("{}({}) -> {stream}{}", method.name(), list(&signature.inputs), list(&signature.outputs))
}

fn curl(runner: &RunnerEntry, address: SocketAddr) -> String {
    let Some(method) = runner.methods.first() else { return format!("curl http://{address}/v1/runners") };
    // Chunks are shown as they come.
    let unbuffered = if method.signature().streams { "-N " } else { "" };
    let path = format!("{unbuffered}http://{address}/v1/runners/{}/{}", runner.name, method.name());
    let body = method.example().cloned().or_else(|| docs::example(method.signature(), 1));
    let body = body.map(|body| body.to_string());
    match (body, method.signature().inputs.as_slice()) {
        (Some(body), _) if body.len() <= 300 => {
            format!("curl {path} -H 'content-type: application/json' -d '{body}'")
        }
        // An image does not fit a line.
        (_, [ValueSpec::Tensor(_)]) => {
            format!("curl {path} -H 'content-type: application/x-npy' --data-binary @input.npy")
        }
        (_, [ValueSpec::Bytes(_)]) => {
            format!("curl {path} -H 'content-type: application/octet-stream' --data-binary @input")
        }
        _ => format!("curl {path} -H 'content-type: application/json' -d @inputs.json"),
    }
}

/// SIGTERM or SIGINT (Ctrl-C), from now on: whoever has read that this server listens can stop it well. A second one
/// ends the process at once.
fn stop_signal() -> impl Future<Output = ()> {
    let first = signal();
    async {
        first.await;
        tracing::info!("stopping: finishing what was accepted; another signal stops at once");
        let second = signal();
        actix_web::rt::spawn(async {
            second.await;
            leave_at_once();
        });
    }
}

/// SIGHUP, from now on.
#[cfg(unix)]
fn hangups() -> Option<tokio::signal::unix::Signal> {
    use tokio::signal::unix::{SignalKind, signal};
    let hangups = signal(SignalKind::hangup());
    hangups.inspect_err(|error| tracing::error!(%error, "SIGHUP cannot be received: use `ekiden reload`")).ok()
}

/// Reads the configuration again whenever SIGHUP comes; what that comes to is in the log.
#[cfg(unix)]
async fn reload_on(hangups: Option<tokio::signal::unix::Signal>, app: App) {
    let Some(mut hangups) = hangups else { return };
    while hangups.recv().await.is_some() {
        // An error changes nothing, and has been logged.
        let _ = app.reload().await;
    }
}

#[expect(clippy::disallowed_methods, reason = "whoever signals twice does not want anything to be finished")]
fn leave_at_once() {
    std::process::exit(130);
}

/// The next signal from now on, even if it comes before the future is polled.
#[cfg(unix)]
fn signal() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    async {
        match signals {
            (Ok(mut terminate), Ok(mut interrupt)) => {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            }
            (Err(error), _) | (_, Err(error)) => {
                tracing::error!(%error, "signals cannot be received");
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(not(unix))]
async fn signal() {
    if let Err(error) = tokio::signal::ctrl_c().await {
        tracing::error!(%error, "signals cannot be received");
        std::future::pending::<()>().await;
    }
}
