//! What the tests share: a server of their own, and runnables that can be held.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::panic;
use std::pin::Pin;
use std::process::Child;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::task::{Context, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use actix_web::web;
use ekiden::App;
use ekiden::http::{Beside, DEFAULT_MAX_BODY_BYTES, ServeOptions, serve_with};
use serde::Deserialize;
use tokio::sync::oneshot;

use crate::client::{Client, Response, metric};

/// When a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How the panics begin that tests cause on purpose.
pub const ON_PURPOSE: &str = "on purpose: ";

/// A program, for as long as the test takes.
pub struct Program(pub Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An app behind HTTP on a free port, in a thread of its own.
pub struct Server {
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Server {
    pub fn start(app: &App) -> Self {
        Self::with_body_limit(app, DEFAULT_MAX_BODY_BYTES)
    }

    pub fn with_body_limit(app: &App, max_body_bytes: usize) -> Self {
        Self::with(app, max_body_bytes, |_: &mut web::ServiceConfig| ())
    }

    pub fn with_beside(app: &App, beside: impl Beside) -> Self {
        Self::with(app, DEFAULT_MAX_BODY_BYTES, beside)
    }

    fn with(app: &App, max_body_bytes: usize, beside: impl Beside) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel();
        let app = app.clone();
        let workers = NonZeroUsize::new(2).expect("not zero");
        let options = ServeOptions { workers, max_body_bytes, grace: PATIENCE, access_log: None };
        let thread = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(serve_with(&app, listener, options, beside, async {
                let _ = stopped.await;
            }))
        });
        Self { address, stop: Some(stop), thread: Some(thread) }
    }

    pub fn client(&self) -> Client {
        Client::connect(self.address)
    }

    pub fn get(&self, path: &str) -> Response {
        self.client().get(path)
    }

    /// Posts JSON.
    pub fn post(&self, path: &str, body: &str) -> Response {
        self.client().post(path, body)
    }

    /// Waits until `/metrics` says all of these: a call is counted when it has been answered.
    #[track_caller]
    pub fn counts(&self, expected: &[(&str, f64)]) {
        let mut metrics = String::new();
        let start = Instant::now();
        let wrong = loop {
            metrics.clear();
            metrics.push_str(self.get("/metrics").text());
            let wrong = expected.iter().find(|(name, value)| metric(&metrics, name) != Some(*value));
            if wrong.is_none() || start.elapsed() > PATIENCE {
                break wrong;
            }
        };
        assert!(wrong.is_none(), "{wrong:?} is not in\n{metrics}");
    }

    /// Tells the server to stop, without waiting for it.
    pub fn begin_stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }

    /// Waits until the server has stopped.
    pub fn wait(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server does not panic").expect("the server stops well");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.begin_stop();
        if !std::thread::panicking() {
            self.wait();
        }
    }
}

/// Runs a future outside of any runtime's workers.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    block_on_for(PATIENCE, future)
}

/// The same, for what may take longer.
pub fn block_on_for<T>(patience: Duration, future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(patience, future).await.expect("it finishes") })
}

/// Checks a condition until it holds.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        std::thread::yield_now();
    }
}

/// A call that has been made and may be waiting.
pub struct Made<'a, T>(Pin<Box<dyn Future<Output = T> + 'a>>);

impl<'a, T> Made<'a, T> {
    /// Makes a call, which must not be answered at once: a gate holds it.
    pub fn held(call: impl Future<Output = T> + 'a) -> Self {
        Self::try_held(call).expect("the call was answered, and not held")
    }

    /// Makes a call that may be refused at once.
    pub fn try_held(call: impl Future<Output = T> + 'a) -> Option<Self> {
        let mut call: Pin<Box<dyn Future<Output = T> + 'a>> = Box::pin(call);
        call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending().then_some(Self(call))
    }

    pub fn answer(self) -> T {
        block_on(self.0)
    }
}

/// Holds runnables in the middle of what they do, and remembers what they did. Clones are the same gate.
///
/// It travels in a runner's parameters.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct Gate {
    #[serde(skip)]
    inner: Arc<(Mutex<Passage>, Condvar)>,
}

#[derive(Default)]
struct Passage {
    closed: bool,
    waiting: usize,
    log: Vec<(String, usize)>,
}

impl Gate {
    /// A gate that holds whoever comes.
    pub fn closed() -> Self {
        let gate = Self::default();
        gate.close();
        gate
    }

    pub fn close(&self) {
        self.passage().closed = true;
    }

    pub fn open(&self) {
        self.passage().closed = false;
        self.inner.1.notify_all();
    }

    /// Waits until somebody is held.
    pub fn wait_for_someone(&self) {
        let waited = self.inner.1.wait_timeout_while(self.passage(), PATIENCE, |passage| passage.waiting == 0);
        let (passage, _) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(passage.waiting > 0, "nobody came to the gate");
    }

    /// For runnables: says what is done, and waits while the gate is closed.
    pub fn pass(&self, what: &str, rows: usize) {
        let mut passage = self.passage();
        passage.log.push((what.to_owned(), rows));
        passage.waiting += 1;
        self.inner.1.notify_all();
        passage = self.inner.1.wait_while(passage, |passage| passage.closed).unwrap_or_else(PoisonError::into_inner);
        passage.waiting -= 1;
    }

    /// The rows of each batch of `what` since the last time that anything was asked, in order.
    pub fn batches(&self, what: &str) -> Vec<usize> {
        self.log().into_iter().filter(|(done, _)| done == what).map(|(_, rows)| rows).collect()
    }

    /// Everything that was done since the last time that anything was asked, in order, each with its rows.
    pub fn log(&self) -> Vec<(String, usize)> {
        std::mem::take(&mut self.passage().log)
    }

    fn passage(&self) -> MutexGuard<'_, Passage> {
        self.inner.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps panics that tests cause on purpose out of their output.
pub fn hush_panics_on_purpose() {
    static HUSHED: Once = Once::new();
    HUSHED.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let message = info.payload_as_str().unwrap_or_default();
            if !message.starts_with(ON_PURPOSE) {
                loud(info);
            }
        }));
    });
}
