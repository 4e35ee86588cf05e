//! `Content-Encoding`: gzip and deflate, on the way in and out.
//!
//! A body is never larger than the limit after it was inflated either. What is large is not worked on between the requests of
//! other clients, but on a thread for such work.

use std::io::Read;

use actix_web::HttpRequest;
use actix_web::http::{StatusCode, header};
use bytes::Bytes;
use ekiden_actors::CallError;
use flate2::bufread::MultiGzDecoder;
use flate2::write::{GzEncoder, ZlibEncoder};
use flate2::{Compression, Decompress, FlushDecompress, Status};

use super::super::error::Refusal;
use crate::oip::{Held, Inflated};

/// The largest that a compressed body may be to be inflated at once: deflate makes a thousand bytes of one at most.
const SMALL_COMPRESSED: usize = 4 << 10;

/// The largest that an answer may be to be compressed at once.
const SMALL: usize = 64 << 10;

/// The room for a body to begin with.
const FIRST: usize = 4 << 10;

/// The least that an answer has to be for compressing it to save anything.
const WORTH_IT: usize = 256;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Gzip,
    /// In zlib's format, as RFC 9110 has it.
    Deflate,
}

impl Encoding {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    fn of_name(name: &str) -> Option<Self> {
        [Self::Gzip, Self::Deflate].into_iter().find(|encoding| name.eq_ignore_ascii_case(encoding.name()))
    }

    /// How a request's body is compressed; `None` where it is not.
    fn of_request(request: &HttpRequest) -> Result<Option<Self>, Refusal> {
        let Some(value) = request.headers().get(header::CONTENT_ENCODING) else { return Ok(None) };
        let name = value.to_str().unwrap_or_default().trim();
        if name.is_empty() || name.eq_ignore_ascii_case("identity") {
            return Ok(None);
        }
        Self::of_name(name).map(Some).ok_or_else(|| {
            let message = format!("content-encoding {value:?} is not understood; send one of: gzip, deflate, identity");
            Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding", message)
        })
    }

    /// What of these an `Accept-Encoding` header asks for; of those that it likes equally, the first.
    pub(super) fn accepted(accept: &str) -> Option<Self> {
        let mut best = None;
        for part in accept.split(',') {
            let mut parameters = part.split(';');
            let name = parameters.next().unwrap_or_default().trim();
            let quality = parameters.find_map(|parameter| parameter.trim().strip_prefix("q=")?.parse::<f32>().ok());
            let quality = quality.unwrap_or(1.0);
            if let Some(encoding) = Self::of_name(name)
                && quality > 0.0
                && best.is_none_or(|(_, other)| quality > other)
            {
                best = Some((encoding, quality));
            }
        }
        best.map(|(encoding, _)| encoding)
    }

    fn inflate(self, body: &[u8], limit: usize, held: &mut Held) -> Result<Bytes, CallError> {
        let inflated = match self {
            Self::Gzip => gunzip(body, limit, held)?,
            Self::Deflate => unzlib(body, limit, held)?,
        };
        if inflated.len() > limit {
            let problem = format!("the body, inflated, is larger than max_body_bytes = {limit}");
            return Err(CallError::TooLarge(problem.into()));
        }
        Ok(inflated.into())
    }

    fn broken(self, problem: impl std::fmt::Display) -> CallError {
        CallError::invalid_input(format!("the body is not {}: {problem}", self.name()))
    }

    fn deflate(self, body: &[u8]) -> std::io::Result<Vec<u8>> {
        use std::io::Write;
        let out = Vec::with_capacity(body.len() / 2);
        match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(out, Compression::fast());
                encoder.write_all(body)?;
                encoder.finish()
            }
            Self::Deflate => {
                let mut encoder = ZlibEncoder::new(out, Compression::fast());
                encoder.write_all(body)?;
                encoder.finish()
            }
        }
    }
}

/// Makes room for more where there is none, up to a byte more than the limit.
fn make_room(out: &mut Vec<u8>, limit: usize, held: &mut Held) -> Result<(), CallError> {
    if out.len() == out.capacity() {
        let capacity = out.len().saturating_mul(2).max(FIRST).min(limit.saturating_add(1));
        held.grow_to(capacity)?;
        out.reserve_exact(capacity.saturating_sub(out.len()));
    }
    Ok(())
}

/// Inflates up to a byte more than the limit. Its check sums are at its end: what is cut off is found.
fn gunzip(body: &[u8], limit: usize, held: &mut Held) -> Result<Vec<u8>, CallError> {
    let (mut reader, mut out) = (MultiGzDecoder::new(body), Vec::new());
    while out.len() <= limit {
        make_room(&mut out, limit, held)?;
        let room = u64::try_from(out.capacity() - out.len()).unwrap_or(u64::MAX);
        let read = reader.by_ref().take(room).read_to_end(&mut out);
        if read.map_err(|error| Encoding::Gzip.broken(error))? == 0 {
            break;
        }
    }
    Ok(out)
}

/// The same. A reader would take a body that is cut off for one that has ended.
fn unzlib(body: &[u8], limit: usize, held: &mut Held) -> Result<Vec<u8>, CallError> {
    let broken = |problem: String| Encoding::Deflate.broken(problem);
    let (mut inflater, mut out) = (Decompress::new(true), Vec::new());
    loop {
        // Also where there is nothing to write: what has no room says nothing of its end.
        make_room(&mut out, limit, held)?;
        let taken = usize::try_from(inflater.total_in()).unwrap_or(usize::MAX);
        let (rest, before) = (body.get(taken..).unwrap_or_default(), out.len());
        let status = inflater.decompress_vec(rest, &mut out, FlushDecompress::Finish);
        let status = status.map_err(|error| broken(error.to_string()))?;
        let now = usize::try_from(inflater.total_in()).unwrap_or(usize::MAX);
        match status {
            Status::StreamEnd if now < body.len() => {
                return Err(broken(format!("it ends at byte {now}, and more follows")));
            }
            Status::StreamEnd => return Ok(out),
            _ if out.len() > limit => return Ok(out),
            _ if out.len() < out.capacity() && now == taken && out.len() == before => {
                return Err(broken("it is cut off".to_owned()));
            }
            _ => {}
        }
    }
}

/// A request's body, inflated where it is compressed; and what it holds of the server's memory for such bodies.
pub(super) async fn inflated(
    request: &HttpRequest,
    body: Bytes,
    limit: usize,
    all: &Inflated,
) -> Result<(Bytes, Option<Held>), Refusal> {
    let Some(encoding) = Encoding::of_request(request)? else { return Ok((body, None)) };
    let mut held = all.hold();
    let at_once = body.len() <= SMALL_COMPRESSED;
    let work = move || encoding.inflate(&body, limit, &mut held).map(|body| (body, Some(held)));
    let inflated = if at_once { work() } else { aside(work).await? };
    inflated.map_err(|error| Refusal::from(&error))
}

/// An answer's body, compressed where the client asks for that and it is worth it, and how.
pub(super) async fn deflated(request: &HttpRequest, body: Vec<u8>) -> Result<(Vec<u8>, Option<Encoding>), Refusal> {
    let accept = request.headers().get(header::ACCEPT_ENCODING).and_then(|accept| accept.to_str().ok());
    let Some(encoding) = accept.and_then(Encoding::accepted).filter(|_| body.len() >= WORTH_IT) else {
        return Ok((body, None));
    };
    let deflated =
        if body.len() <= SMALL { encoding.deflate(&body) } else { aside(move || encoding.deflate(&body)).await? };
    let lost = |error: std::io::Error| {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "encoding", format!("the answer cannot be compressed: {error}"))
    };
    deflated.map(|body| (body, Some(encoding))).map_err(lost)
}

/// Does long work where no requests wait for it.
#[expect(clippy::disallowed_methods, reason = "no model runs here: it is a body that is worked on")]
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    let done = actix_web::web::block(work).await;
    done.map_err(|_| {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "encoding", "the body was lost while it was worked on")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inflate(encoding: Encoding, body: &[u8], limit: usize) -> Result<Bytes, CallError> {
        encoding.inflate(body, limit, &mut Inflated::new(limit).hold())
    }

    #[test]
    fn bodies_that_are_inflated_hold_only_so_much_together() {
        for encoding in [Encoding::Gzip, Encoding::Deflate] {
            let body = encoding.deflate(&vec![0; 100_000]).expect("is compressed");
            let all = Inflated::new(100_000);
            let mut held: Vec<Held> = (0..5).map(|_| all.hold()).collect();
            let mut full = held.pop().expect("five");
            for held in &mut held {
                assert!(encoding.inflate(&body, 100_000, held).is_ok(), "{encoding:?}");
            }
            let refused = encoding.inflate(&body, 100_000, &mut full).expect_err("the fifth");
            assert!(matches!(refused, CallError::Unavailable { .. }), "{encoding:?}: {refused}");
            held.pop();
            assert!(encoding.inflate(&body, 100_000, &mut full).is_ok(), "{encoding:?}");
        }
    }

    #[test]
    fn bodies_come_back_as_they_were() {
        for encoding in [Encoding::Gzip, Encoding::Deflate] {
            for size in [0, 1, 100, 100_000] {
                let body: Vec<u8> = (0..size).map(|at| (at * at % 251) as u8).collect();
                let deflated = encoding.deflate(&body).expect("is compressed");
                assert_eq!(inflate(encoding, &deflated, size).expect("is inflated"), body, "{encoding:?} {size}");
            }
        }
    }

    #[test]
    fn what_is_too_large_is_refused_before_it_is_there() {
        for encoding in [Encoding::Gzip, Encoding::Deflate] {
            let bomb = encoding.deflate(&vec![0; 10 << 20]).expect("is compressed");
            assert!(bomb.len() < 500_000);
            let refused = inflate(encoding, &bomb, 1000).expect_err("is too large");
            assert!(matches!(refused, CallError::TooLarge(_)), "{encoding:?}: {refused}");
            let deflated = encoding.deflate(&[7; 1000]).expect("is compressed");
            assert!(inflate(encoding, &deflated, 1000).is_ok() && inflate(encoding, &deflated, 999).is_err());
        }
    }

    #[test]
    fn what_is_broken_is_refused() {
        for encoding in [Encoding::Gzip, Encoding::Deflate] {
            let whole = encoding.deflate(b"some text, and some more of it").expect("is compressed");
            for end in 0..whole.len() {
                let refused = inflate(encoding, &whole[..end], 1000);
                assert!(refused.is_err(), "{encoding:?}, cut off at {end}: {refused:?}");
            }
            let more = [&whole[..], b"more"].concat();
            assert!(inflate(encoding, &more, 1000).is_err(), "{encoding:?}");
            assert!(inflate(encoding, b"[1, 2]", 1000).is_err(), "{encoding:?}");
        }
    }

    #[test]
    fn what_clients_accept() {
        let check = |accept: &str, expected| assert_eq!(Encoding::accepted(accept), expected, "{accept}");
        check("gzip", Some(Encoding::Gzip));
        check("deflate", Some(Encoding::Deflate));
        check("gzip, deflate, br", Some(Encoding::Gzip));
        check("br, deflate;q=0.5, gzip;q=0.1", Some(Encoding::Deflate));
        check("gzip;q=0, deflate", Some(Encoding::Deflate));
        check("GZIP", Some(Encoding::Gzip));
        check("br", None);
        check("identity", None);
        check("", None);
    }
}
