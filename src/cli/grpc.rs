//! gRPC beside HTTP, where `ekiden serve` is told to.

use std::io;
use std::net::{SocketAddr, TcpListener};

use actix_web::rt::task::JoinHandle;
use ekiden::App;
use ekiden::config::ServerConfig;
use ekiden::grpc::{self, GrpcOptions};
use tokio::sync::oneshot;

use super::Failure;

/// A port that is open, and what to serve there.
pub(super) struct Grpc {
    listener: TcpListener,
    options: GrpcOptions,
}

impl Grpc {
    /// Where the configuration says, if it does.
    pub(super) fn listen(server: &ServerConfig) -> Result<Option<Self>, Failure> {
        let Some(address) = server.grpc_bind.value.as_ref().map(ToString::to_string) else { return Ok(None) };
        let listener = TcpListener::bind(&address).map_err(|error| {
            let origin = &server.grpc_bind.origin;
            Failure::Run(format!("cannot listen on {address} ({origin}): {error}; choose another with --grpc-bind"))
        })?;
        let options = GrpcOptions {
            workers: server.workers.value,
            max_message_bytes: server.max_body_bytes.value,
            grace: server.grace.value,
            takes_orders: server.grpc_orders.value,
        };
        Ok(Some(Self { listener, options }))
    }

    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves the app until `stop` is done. Returns what HTTP is to stop by: by then gRPC stops too, or has failed, which
    /// its end tells.
    pub(super) fn start(
        self,
        app: &App,
        stop: impl Future<Output = ()>,
    ) -> (impl Future<Output = ()>, JoinHandle<io::Result<()>>) {
        let (stops, stopped) = oneshot::channel::<()>();
        let (ends, ended) = oneshot::channel::<()>();
        let app = app.clone();
        let served = actix_web::rt::spawn(async move {
            let _ends = ends;
            grpc::serve(&app, self.listener, self.options, async { drop(stopped.await) }).await
        });
        let stop = async move {
            let _stops = stops;
            tokio::select! {
                () = stop => {}
                _ = ended => {}
            }
        };
        (stop, served)
    }
}
