//! The requests that endpoints have, so that a service can finish them before its runners go.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use bytes::Bytes;
use ekiden_actors::CallError;
use tokio::sync::watch;

/// Counts requests. Clones count the same ones.
#[derive(Clone, Debug)]
pub(super) struct Traffic(Arc<watch::Sender<Inside>>);

#[derive(Debug, Default)]
struct Inside {
    requests: usize,
    closed: bool,
}

impl Default for Traffic {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Inside::default())))
    }
}

/// One request that is being answered.
#[derive(Debug)]
pub(super) struct Visit(Traffic);

impl Traffic {
    /// Lets a request in.
    pub(super) fn enter(&self) -> Result<Visit, CallError> {
        let entered = self.0.send_if_modified(|inside| {
            inside.requests += usize::from(!inside.closed);
            !inside.closed
        });
        if entered { Ok(Visit(self.clone())) } else { Err(CallError::unavailable("the service is shutting down")) }
    }

    /// Lets nobody in any more, and waits until all have been answered, for at most `grace`.
    pub(super) async fn finish(&self, grace: Duration) {
        self.0.send_modify(|inside| inside.closed = true);
        let mut inside = self.0.subscribe();
        let gone = tokio::time::timeout(grace, inside.wait_for(|inside| inside.requests == 0)).await;
        if gone.is_err() {
            let left = self.0.borrow().requests;
            tracing::warn!(requests = left, "not all requests were answered within the grace period");
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.0.0.send_modify(|inside| inside.requests -= 1);
    }
}

/// An answer's body, for as long as it is being sent.
pub(super) struct Visited {
    pub(super) body: BoxBody,
    pub(super) visit: Visit,
}

impl MessageBody for Visited {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx).map_err(Into::into)
    }

    fn try_into_bytes(self) -> Result<Bytes, Self> {
        let Self { body, visit } = self;
        body.try_into_bytes().map_err(|body| Self { body, visit })
    }
}
