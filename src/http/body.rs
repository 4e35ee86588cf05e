//! Reads the body of a request.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
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

/// How long what is left of a body outlives what it is answered with. As long as somebody may read it, the server closes the
/// connection after the answer; otherwise it would go on reading a chunked body to its end, which may never come.
const OUTLIVES: Duration = Duration::from_secs(1);

/// The most that is read of a body that nobody wants, in bytes.
const MOST_UNWANTED: usize = 1 << 20;

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
/// [`Unread::TooLarge`] as soon as the body is, or says that it will be, too large; or what reading failed with. The connection
/// is closed after the answer.
pub(crate) async fn read(
    request: &HttpRequest,
    mut payload: impl Stream<Item = Result<Bytes, PayloadError>> + Unpin + 'static,
    limit: usize,
    on_wait: impl FnOnce(),
) -> Result<Bytes, Unread> {
    let body = read_all(request, &mut payload, limit, on_wait).await;
    if body.is_err() {
        leave(payload);
    }
    body
}

/// Reads a body that nobody wants: whoever is still sending does not listen yet. Of a large one the rest is left.
pub(crate) async fn skip(mut payload: impl Stream<Item = Result<Bytes, PayloadError>> + Unpin + 'static) {
    let mut skipped = 0;
    while skipped <= MOST_UNWANTED {
        match next(&mut payload, || ()).await {
            Ok(None) => return,
            Ok(Some(piece)) => skipped += piece.len(),
            Err(_) => break,
        }
    }
    leave(payload);
}

/// Lets the rest of a body outlive the answer.
fn leave(payload: impl Unpin + 'static) {
    actix_web::rt::spawn(async move {
        tokio::time::sleep(OUTLIVES).await;
        drop(payload);
    });
}

/// The next piece. Where it has to be waited for, `on_wait` is called first.
async fn next(
    payload: &mut (impl Stream<Item = Result<Bytes, PayloadError>> + Unpin),
    on_wait: impl FnOnce(),
) -> Result<Option<Bytes>, Unread> {
    let mut piece = poll_fn(|cx| Pin::new(&mut *payload).poll_next(cx));
    // What is there needs no timer.
    if let Poll::Ready(piece) = poll_fn(|cx| Poll::Ready(Pin::new(&mut piece).poll(cx))).await {
        return Ok(piece.transpose()?);
    }
    on_wait();
    let piece = timeout(PATIENCE, piece).await.map_err(|_| Unread::Stopped)?;
    Ok(piece.transpose()?)
}

async fn read_all(
    request: &HttpRequest,
    payload: &mut (impl Stream<Item = Result<Bytes, PayloadError>> + Unpin),
    limit: usize,
    on_wait: impl FnOnce(),
) -> Result<Bytes, Unread> {
    let announced = announced(request);
    if announced.is_some_and(|length| length > limit) {
        return Err(Unread::TooLarge(limit));
    }
    let mut on_wait = Some(on_wait);
    let mut next = async || next(payload, || on_wait.take().into_iter().for_each(|on_wait| on_wait())).await;
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

/// Refuses a body that is compressed, where none is inflated: its bytes would be told to be broken.
///
/// # Errors
/// What its `content-encoding` is.
pub(crate) fn plain(request: &HttpRequest) -> Result<(), String> {
    let mut codings =
        request.headers().get_all(header::CONTENT_ENCODING).map(|said| String::from_utf8_lossy(said.as_bytes()));
    match codings.find(|said| !said.split(',').all(|coding| coding.trim().eq_ignore_ascii_case("identity"))) {
        Some(said) => Err(format!("the body's content-encoding is {said:?}, and none is taken; send it as it is")),
        None => Ok(()),
    }
}

/// What `content-length` says.
fn announced(request: &HttpRequest) -> Option<usize> {
    request.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::task::{Context, ready};

    use actix_web::test::TestRequest;
    use tokio::task::LocalSet;
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
        LocalSet::new().block_on(&runtime.expect("starts"), async {
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
