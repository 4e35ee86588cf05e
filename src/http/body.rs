//! Reads the body of a request.

use std::pin::pin;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::error::PayloadError;
use actix_web::http::header;
use bytes::{Bytes, BytesMut};
use ekiden_actors::CallError;
use futures_core::Stream;
use tokio::time::timeout;

/// The most that is reserved for a body at once, in bytes: what a client announces may never come.
const MOST_RESERVED: usize = 1 << 20;

/// How long a client that is sending a body may be silent: after that it is taken to have gone.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unread {
    /// It is, or says that it will be, larger than so many bytes.
    #[error("the body is larger than max_body_bytes = {0}")]
    TooLarge(usize),
    /// The client fell silent.
    #[error("the body stopped coming: nothing of it for {} s", PATIENCE.as_secs())]
    Stopped,
    /// The connection, or what it carried, broke.
    #[error("the body could not be read: {0}")]
    Broken(PayloadError),
}

impl From<PayloadError> for Unread {
    fn from(error: PayloadError) -> Self {
        Self::Broken(error)
    }
}

impl From<&Unread> for CallError {
    fn from(unread: &Unread) -> Self {
        match unread {
            Unread::TooLarge(_) => Self::TooLarge(unread.to_string().into()),
            Unread::Stopped | Unread::Broken(_) => Self::invalid_input(unread.to_string()),
        }
    }
}

/// The whole body, of up to `limit` bytes. One that came in one piece, as small ones do, is not copied. Where it has to
/// be waited for, `on_wait` is called first, once.
///
/// # Errors
/// [`Unread::TooLarge`] as soon as the body is, or says that it will be, too large; or what reading failed with.
pub(crate) async fn read(
    request: &HttpRequest,
    payload: impl Stream<Item = Result<Bytes, PayloadError>>,
    limit: usize,
    on_wait: impl FnOnce(),
) -> Result<Bytes, Unread> {
    let announced = announced(request);
    if announced.is_some_and(|length| length > limit) {
        return Err(Unread::TooLarge(limit));
    }
    let mut payload = pin!(payload);
    let mut on_wait = Some(on_wait);
    let mut next = async || {
        let piece = std::future::poll_fn(|cx| {
            let piece = payload.as_mut().poll_next(cx);
            if piece.is_pending()
                && let Some(on_wait) = on_wait.take()
            {
                on_wait();
            }
            piece
        });
        let piece = timeout(PATIENCE, piece).await.map_err(|_| Unread::Stopped)?;
        piece.transpose().map_err(Unread::from)
    };
    let within = |length: usize| if length > limit { Err(Unread::TooLarge(limit)) } else { Ok(()) };

    let Some(first) = next().await? else { return Ok(Bytes::new()) };
    within(first.len())?;
    let Some(second) = next().await? else { return Ok(first) };
    let mut body = BytesMut::with_capacity(announced.unwrap_or(0).clamp(first.len() + second.len(), MOST_RESERVED));
    body.extend_from_slice(&first);
    let mut piece = Some(second);
    while let Some(more) = piece {
        within(body.len() + more.len())?;
        body.extend_from_slice(&more);
        piece = next().await?;
    }
    Ok(body.freeze())
}

/// What `content-length` says.
fn announced(request: &HttpRequest) -> Option<usize> {
    request.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll, ready};

    use actix_web::test::TestRequest;
    use tokio::time::Sleep;

    use super::*;

    /// Pieces of one byte, each so long after the one before.
    struct Dripping {
        every: Duration,
        left: usize,
        next: Pin<Box<Sleep>>,
    }

    impl Stream for Dripping {
        type Item = Result<Bytes, PayloadError>;

        fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            let Some(left) = self.left.checked_sub(1) else { return Poll::Ready(None) };
            ready!(self.next.as_mut().poll(cx));
            self.left = left;
            self.next = Box::pin(tokio::time::sleep(self.every));
            Poll::Ready(Some(Ok(Bytes::from_static(b"x"))))
        }
    }

    fn read_dripping(every: Duration) -> Result<Bytes, Unread> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("starts").block_on(async {
            let payload = Dripping { every, left: 5, next: Box::pin(tokio::time::sleep(every)) };
            read(&TestRequest::post().to_http_request(), payload, 100, || ()).await
        })
    }

    #[test]
    fn a_slow_body_is_waited_for_and_one_that_stopped_is_not() {
        let slow = read_dripping(PATIENCE - Duration::from_secs(1));
        assert_eq!(slow.expect("is read"), "xxxxx");
        let stopped = read_dripping(PATIENCE + Duration::from_secs(1)).expect_err("is given up");
        assert!(matches!(stopped, Unread::Stopped), "{stopped:?}");
    }
}
