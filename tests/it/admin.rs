//! An admin listener for tests.

use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;

use ekiden::App;
use ekiden::http::serve_admin;
use tokio::sync::oneshot;

use crate::client::{Client, Response};
use crate::support::PATIENCE;

/// An app's admin listener on a free port, in a thread of its own.
pub struct Admin {
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl Admin {
    pub fn start(app: &App) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel::<()>();
        let app = app.clone();
        let thread = std::thread::spawn(move || {
            let stop = async { drop(stopped.await) };
            actix_web::rt::System::new().block_on(serve_admin(&app, listener, PATIENCE, stop))
        });
        Self { address, stop: Some(stop), thread: Some(thread) }
    }

    pub fn post(&self, path: &str) -> Response {
        Client::connect(self.address).request("POST", path, &[], b"")
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take().filter(|_| !std::thread::panicking()) {
            thread.join().expect("it does not panic").expect("it stops well");
        }
    }
}
