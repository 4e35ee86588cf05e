//! The gRPC server's life: bind, ready, drain, stop.

use std::io;
use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};
use tonic::codec::CompressionEncoding::{Deflate, Gzip};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use super::door::Door;
use super::inference::grpc_inference_service_server::GrpcInferenceServiceServer;
use super::service::Service;
use crate::oip::Inflated;
use crate::serving::Serving;

/// The least time for answers to be written when the grace period is over.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// The most, once no calls are left: connections that only wait for further ones are not waited for.
const MOST_LAST_WORDS: Duration = Duration::from_secs(1);
/// How often a client that says nothing is asked whether it is there: one that has gone without a word cancels its calls.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// How the gRPC server runs.
#[derive(Clone, Debug)]
pub struct GrpcOptions {
    /// Threads that serve it.
    pub workers: NonZeroUsize,
    /// The largest message that is read, in bytes, unzipped.
    pub max_message_bytes: usize,
    /// How long calls that have been accepted may take to finish once the server stops, or a model is unloaded.
    pub grace: Duration,
    /// Whether `RepositoryModelLoad` and `RepositoryModelUnload` are carried out, for whoever reaches the listener.
    pub takes_orders: bool,
}

impl Default for GrpcOptions {
    /// As many threads as there are cores, messages of up to 64 MiB, 30 seconds of grace, no orders.
    fn default() -> Self {
        Self {
            workers: thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            max_message_bytes: 64 << 20,
            grace: Duration::from_secs(30),
            takes_orders: false,
        }
    }
}

/// How far the server has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Serving,
    /// Not ready: what was accepted is finished.
    Draining,
    /// Nothing is run any more: streams end.
    Over,
}

/// Serves the protocol on `listener` until `stop` is done; then takes no more, finishes what was accepted within the grace
/// period, and returns. Dropping the future stops it in the same way, without waiting for it.
///
/// It has threads of its own, and may be called in any runtime.
///
/// # Errors
/// What the listener or the server's threads fail with.
pub async fn serve(
    app: &impl AsRef<Serving>,
    listener: TcpListener,
    options: GrpcOptions,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let (stops, stopped) = oneshot::channel::<()>();
    let (ended, mut end) = oneshot::channel();
    let serving = app.as_ref().clone();
    thread::Builder::new().name("ekiden-grpc".to_owned()).spawn(move || {
        // Nobody listens any more when the caller has gone.
        let _ = ended.send(run(serving, listener, options, stopped));
    })?;
    let lost = || io::Error::other("the gRPC server's thread was lost");
    tokio::select! {
        end = &mut end => return end.unwrap_or_else(|_| Err(lost())),
        () = stop => {}
    }
    drop(stops);
    end.await.unwrap_or_else(|_| Err(lost()))
}

fn run(
    serving: Serving,
    listener: TcpListener,
    options: GrpcOptions,
    stopped: oneshot::Receiver<()>,
) -> io::Result<()> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(options.workers.get()).thread_name("ekiden-grpc").enable_all().build()?;
    // Connections that are left over end with the runtime.
    runtime.block_on(serve_here(serving, listener, options, stopped))
}

async fn serve_here(
    serving: Serving,
    listener: TcpListener,
    options: GrpcOptions,
    stopped: oneshot::Receiver<()>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let incoming = TcpIncoming::from(tokio::net::TcpListener::from_std(listener)?).with_nodelay(Some(true));
    let (phase, phases) = watch::channel(Phase::Serving);
    let GrpcOptions { max_message_bytes, grace, .. } = options;
    let service = Service { serving: serving.clone(), options, phase: phases.clone() };
    let service = GrpcInferenceServiceServer::new(service)
        .max_decoding_message_size(max_message_bytes)
        .accept_compressed(Gzip)
        .accept_compressed(Deflate)
        .send_compressed(Gzip)
        .send_compressed(Deflate);
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .add_service(Door { service, max_message_bytes, inflated: Inflated::new(max_message_bytes) })
        .serve_with_incoming_shutdown(incoming, over(phases.clone()));
    let stop = async {
        // Told, or nobody is there who could tell.
        let _ = stopped.await;
        phase.send_replace(Phase::Draining);
        let since = Instant::now();
        // New connections are taken until then, so that late callers are told that nothing is taken, and not left hanging.
        serving.drain(grace).await;
        phase.send_replace(Phase::Over);
        tokio::time::sleep(grace.saturating_sub(since.elapsed()).clamp(LAST_WORDS, MOST_LAST_WORDS)).await;
    };
    tokio::select! {
        ended = server => ended.map_err(io::Error::other),
        () = stop => Ok(()),
    }
}

/// Waits until nothing is run any more.
pub(super) async fn over(mut phases: watch::Receiver<Phase>) {
    let _ = phases.wait_for(|phase| *phase == Phase::Over).await;
}
