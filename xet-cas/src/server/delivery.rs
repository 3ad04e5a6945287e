//! Bytes on their way to a client: one resource, or one range of it.

use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures::stream;

use super::app::App;
use super::range::RequestedRange;
use super::refusal::Refusal;
use super::store::Blob;
use crate::ByteRange;

/// Which bytes of a resource an answer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) bytes: ByteRange,
    /// Size of the resource.
    pub(super) size: u64,
    /// Whether a range was asked for: 206, not 200.
    pub(super) is_partial: bool,
}

impl Extent {
    /// What a GET or HEAD with these headers is to get of a resource. As HTTP says, a range that is not
    /// understood, or that is for another version than `etag`, is not there.
    pub(super) fn requested(headers: &HeaderMap, size: u64, etag: &str) -> Result<Self, Refusal> {
        let whole = Self { bytes: ByteRange { start: 0, end: size }, size, is_partial: false };
        let for_other_version = headers.get(header::IF_RANGE).is_some_and(|version| version != etag);
        let Ok(Some(range)) = RequestedRange::of(headers) else { return Ok(whole) };
        if for_other_version {
            return Ok(whole);
        }
        let Some(ByteRange { start, end }) = range.bytes(size).filter(|bytes| bytes.start < size) else {
            return Err(Refusal::range());
        };
        Ok(Self { bytes: ByteRange { start, end: end.min(size) }, size, is_partial: true })
    }
}

/// An answer that holds these bytes. A HEAD gets the same without them.
pub(super) fn response(method: &Method, extent: Extent, headers: HeaderMap, body: impl FnOnce() -> Body) -> Response {
    let mut response = Response::new(if method == Method::HEAD { Body::empty() } else { body() });
    *response.headers_mut() = headers;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, extent.bytes.length().into());
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/octet-stream"));
    if extent.is_partial {
        let ByteRange { start, end } = extent.bytes;
        let stated = format!("bytes {start}-{}/{}", end.saturating_sub(1), extent.size);
        headers.insert(
            header::CONTENT_RANGE,
            HeaderValue::try_from(stated).unwrap_or(HeaderValue::from_static("bytes */*")),
        );
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    response
}

/// Whether bytes count as file data: counted and under the rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    /// Regular files, which are metadata here.
    Metadata,
}

/// A body of what `next` returns, piece by piece, until it returns `None`. `next` may block. An error breaks
/// the connection off, so that nobody takes the answer for complete.
pub(super) fn body(
    app: Arc<App>,
    kind: Kind,
    next: impl FnMut() -> io::Result<Option<Bytes>> + Send + 'static,
) -> Body {
    Body::from_stream(stream::try_unfold((app, next), move |(app, mut next)| async move {
        let (piece, next) = app.workers.disk(move || (next(), next)).await;
        let Some(piece) = piece.inspect_err(|error| tracing::error!(%error, "cannot read what is being sent"))? else {
            return Ok::<_, io::Error>(None);
        };
        if kind == Kind::Data {
            app.traffic.admit(piece.len()).await;
        }
        Ok(Some((piece, (app, next))))
    }))
}

/// Reads a stretch of what is stored, piece by piece.
pub(super) fn pieces(
    blob: Blob,
    bytes: ByteRange,
    piece_bytes: usize,
) -> impl FnMut() -> io::Result<Option<Bytes>> + Send + 'static {
    let mut at = bytes.start;
    move || {
        let length = (bytes.end - at).min(piece_bytes as u64);
        if length == 0 {
            return Ok(None);
        }
        let mut piece = vec![0; length as usize];
        blob.read_exact_at(&mut piece, at)?;
        at += length;
        Ok(Some(piece.into()))
    }
}
