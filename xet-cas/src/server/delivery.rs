//! Bytes on their way to a client: one resource, or one range of it.

use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures::stream;

use super::app::App;
use super::buffers::Buffers;
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

/// The answer to a client that has this version already; `None` if it has not said so.
pub(super) fn unchanged(asked: &HeaderMap, headers: &HeaderMap) -> Option<Response> {
    let known = asked.get(header::IF_NONE_MATCH)?.to_str().ok()?;
    let etag = headers.get(header::ETAG)?.to_str().ok()?;
    let is_this = |known: &str| known == "*" || known.strip_prefix("W/").unwrap_or(known) == etag;
    known.split(',').map(str::trim).any(is_this).then(|| {
        let mut response = Response::new(Body::empty());
        *response.headers_mut() = headers.clone();
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    })
}

/// Whether bytes count as file data: counted and under the rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    /// Regular files, which are metadata here.
    Metadata,
}

/// Where the bytes of an answer come from.
pub(super) trait Source: Send + 'static {
    /// The next piece, or `None` at the end. May block.
    fn next(&mut self) -> io::Result<Option<Bytes>>;

    /// The [`next`](Self::next) piece if it can be had without waiting for a disk. It costs as much to send a thread to
    /// fetch a piece as to copy it.
    fn next_at_once(&mut self) -> Option<Option<Bytes>> {
        None
    }
}

/// A body of these bytes, piece by piece. An error breaks the connection off, so that nobody takes the answer for
/// complete.
pub(super) fn body(app: Arc<App>, kind: Kind, source: impl Source) -> Body {
    Body::from_stream(stream::try_unfold((app, source), move |(app, mut source)| async move {
        let piece = match source.next_at_once() {
            Some(piece) => piece,
            None => {
                let next;
                (next, source) = app.workers.disk(move || (source.next(), source)).await;
                next.inspect_err(|error| tracing::error!(%error, "cannot read what is being sent"))?
            }
        };
        let Some(piece) = piece else { return Ok::<_, io::Error>(None) };
        if kind == Kind::Data {
            app.traffic.admit(piece.len()).await;
        }
        Ok(Some((piece, (app, source))))
    }))
}

/// A stretch of what is stored.
pub(super) struct Stretch {
    blob: Blob,
    left: ByteRange,
    piece_bytes: usize,
    buffers: Buffers,
}

impl Stretch {
    pub(super) fn new(app: &App, blob: Blob, bytes: ByteRange) -> Self {
        let piece_bytes = blob.read_bytes(app.traffic.piece_bytes());
        Self { blob, left: bytes, piece_bytes, buffers: app.buffers.clone() }
    }

    /// Takes the next piece if `read` fills some of it from where it begins.
    fn piece(&mut self, read: impl FnOnce(&Blob, &mut [u8], u64) -> io::Result<usize>) -> io::Result<Option<Bytes>> {
        let length = self.left.length().min(self.piece_bytes as u64) as usize;
        if length == 0 {
            return Ok(None);
        }
        let mut buffer = self.buffers.take_for(length);
        let filled = read(&self.blob, &mut buffer.room()[..length], self.left.start)?;
        self.left.start += filled as u64;
        Ok(Some(buffer.filled(filled)))
    }
}

impl Source for Stretch {
    fn next(&mut self) -> io::Result<Option<Bytes>> {
        self.piece(|blob, room, at| blob.read_exact_at(room, at).map(|()| room.len()))
    }

    fn next_at_once(&mut self) -> Option<Option<Bytes>> {
        self.piece(|blob, room, at| blob.read_cached_at(room, at).ok_or(io::ErrorKind::WouldBlock.into())).ok()
    }
}
