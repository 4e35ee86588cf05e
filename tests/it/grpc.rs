//! The Open Inference Protocol over gRPC, with tonic's own client.

mod calls;
mod cancellation;
mod limits;
mod models;
mod streams;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::thread::JoinHandle;

use bytes::Bytes;
use ekiden::App;
use ekiden::grpc::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use ekiden::grpc::inference::infer_parameter::ParameterChoice;
use ekiden::grpc::inference::model_infer_request::InferInputTensor;
use ekiden::grpc::inference::*;
use ekiden::grpc::{GrpcOptions, serve};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::client::metric;
use crate::support::{PATIENCE, block_on, eventually};

/// An app behind gRPC on a free port, and a client of it.
struct Grpc {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<io::Result<()>>>,
    runtime: Runtime,
    client: GrpcInferenceServiceClient<Channel>,
}

fn options() -> GrpcOptions {
    let workers = NonZeroUsize::new(2).expect("not zero");
    GrpcOptions { workers, grace: PATIENCE, ..GrpcOptions::default() }
}

impl Grpc {
    fn start(app: &App) -> Self {
        Self::with(app, options())
    }

    fn with(app: &App, options: GrpcOptions) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel();
        let app = app.clone();
        let thread = std::thread::spawn(move || {
            block_on_for_ever(serve(&app, listener, options, async {
                let _ = stopped.await;
            }))
        });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let client = Self::connect(&runtime, address);
        Self { address, stop: Some(stop), thread: Some(thread), runtime, client }
    }

    fn connect(runtime: &Runtime, address: SocketAddr) -> GrpcInferenceServiceClient<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
        let channel = runtime.block_on(endpoint.connect()).expect("a connection");
        GrpcInferenceServiceClient::new(channel).max_decoding_message_size(usize::MAX)
    }

    /// Asks, on the same connection as all others.
    fn ask<T>(&self, ask: impl AsyncFnOnce(GrpcInferenceServiceClient<Channel>) -> T) -> T {
        let client = self.client.clone();
        block_on_in(&self.runtime, ask(client))
    }

    fn infer(&self, request: ModelInferRequest) -> Result<ModelInferResponse, Status> {
        self.ask(async |mut client| client.model_infer(request).await.map(tonic::Response::into_inner))
    }

    /// Tells the server to stop, without waiting for it.
    fn begin_stop(&mut self) {
        self.stop = None;
    }

    /// Waits until the server has stopped.
    fn wait(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server does not panic").expect("the server stops well");
        }
    }
}

impl Drop for Grpc {
    fn drop(&mut self) {
        self.begin_stop();
        if !std::thread::panicking() {
            self.wait();
        }
    }
}

/// Whether somebody serves gRPC there.
pub fn is_live(address: SocketAddr) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut client = Grpc::connect(&runtime, address);
    let answer = block_on_in(&runtime, client.server_live(ServerLiveRequest {}));
    answer.is_ok_and(|answer| answer.into_inner().live)
}

fn block_on_in<T>(runtime: &Runtime, future: impl Future<Output = T>) -> T {
    runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("an answer") })
}

fn block_on_for_ever<T>(future: impl Future<Output = T>) -> T {
    // No timer and no sockets: serving needs nothing of its caller's runtime.
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

/// A request with one input of raw elements.
fn request(model: &str, input: &str, datatype: &str, shape: &[i64], raw: impl Into<Bytes>) -> ModelInferRequest {
    let input = InferInputTensor {
        name: input.to_owned(),
        datatype: datatype.to_owned(),
        shape: shape.to_vec(),
        ..InferInputTensor::default()
    };
    ModelInferRequest {
        model_name: model.to_owned(),
        inputs: vec![input],
        raw_input_contents: vec![raw.into()],
        ..ModelInferRequest::default()
    }
}

/// A call of the kit's method `text`, which is held by its gate.
fn text(word: &str) -> ModelInferRequest {
    let mut request = request("kit.text", "input", "BYTES", &[1], bytes(&[word]));
    request.id = word.to_owned();
    request
}

/// `BYTES` elements as they are sent.
fn bytes(texts: &[&str]) -> Vec<u8> {
    let element = |text: &&str| [&(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat();
    texts.iter().flat_map(element).collect()
}

fn whole(value: i64) -> InferParameter {
    InferParameter { parameter_choice: Some(ParameterChoice::Int64Param(value)) }
}

/// What a refusal must be.
#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, parts: &[&str]) -> Status {
    let status = answer.expect_err("it is refused");
    assert_eq!(status.code(), code, "{status:?}");
    for part in parts {
        assert!(status.message().contains(part), "`{part}` is not in `{}`", status.message());
    }
    status
}

/// How many calls of the kit's method have ended so.
fn counted(app: &App, method: &str, outcome: &str) -> f64 {
    let name = format!("ekiden_calls_total{{runner=\"kit\",method=\"{method}\",outcome=\"{outcome}\"}}");
    let serving: &ekiden::serving::Serving = app.as_ref();
    metric(&serving.encode_metrics().expect("numbers"), &name).expect("they are counted")
}

/// Waits until so many have: a call is counted when it has been answered.
#[track_caller]
fn counts(app: &App, method: &str, outcome: &str, expected: f64) {
    eventually(outcome, || counted(app, method, outcome) == expected);
}

fn drained(app: &App) {
    block_on(app.entry("kit").expect("the runner").drain(PATIENCE));
}
