//! Reads the body of a request.

use std::pin::pin;

use actix_web::HttpRequest;
use actix_web::error::PayloadError;
use actix_web::http::header;
use bytes::{Bytes, BytesMut};
use futures_core::Stream;

/// The most that is reserved for a body at once, in bytes: what a client announces may never come.
const MOST_RESERVED: usize = 1 << 20;

/// The whole body, of up to `limit` bytes. One that came in one piece, as small ones do, is not copied. Where it has to
/// be waited for, `on_wait` is called first, once.
///
/// # Errors
/// [`PayloadError::Overflow`] as soon as the body is, or says that it will be, too large; or what reading failed with.
pub(crate) async fn read(
    request: &HttpRequest,
    payload: impl Stream<Item = Result<Bytes, PayloadError>>,
    limit: usize,
    on_wait: impl FnOnce(),
) -> Result<Bytes, PayloadError> {
    let announced = announced(request);
    if announced.is_some_and(|length| length > limit) {
        return Err(PayloadError::Overflow);
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
        piece.await.transpose()
    };
    let within = |length: usize| if length > limit { Err(PayloadError::Overflow) } else { Ok(()) };

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
