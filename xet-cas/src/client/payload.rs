//! What a request sends: bytes, or parts that are made while it is under way.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::Notify;

use super::Error;

/// An upload is handed to the connection in pieces of so many bytes: small enough that a slow uplink takes
/// one well within a deadline.
const PIECE_BYTES: usize = 64 * 1024;

/// What a request sends. A clone of it can be sent again.
#[derive(Clone)]
pub(super) enum Payload {
    Bytes(Bytes),
    /// So many bytes in parts.
    Parts {
        length: u64,
        parts: Parts,
    },
}

/// Makes the parts, each time anew. What fails in it is what the request fails with.
pub(super) type Parts = Arc<dyn Fn() -> BoxStream<'static, Result<Bytes, Error>> + Send + Sync>;

impl Payload {
    /// How long it is, bytes.
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Parts { length, .. } => *length,
        }
    }

    /// The body, which tells whenever the connection has room for the next piece of it.
    pub(super) fn body(&self, piece_taken: Arc<Notify>) -> reqwest::Body {
        let parts = match self {
            Self::Bytes(bytes) => stream::iter([Ok(bytes.clone())]).boxed(),
            Self::Parts { parts, .. } => parts(),
        };
        let pieces = parts.flat_map(|part| match part {
            Ok(part) => stream::iter(in_pieces(part).map(Ok)).left_stream(),
            Err(error) => stream::iter([Err(error)]).right_stream(),
        });
        reqwest::Body::wrap_stream(pieces.inspect(move |_| piece_taken.notify_one()))
    }
}

impl Default for Payload {
    fn default() -> Self {
        Self::Bytes(Bytes::new())
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.length())
    }
}

fn in_pieces(bytes: Bytes) -> impl Iterator<Item = Bytes> {
    let length = bytes.len();
    (0..length).step_by(PIECE_BYTES).map(move |start| bytes.slice(start..length.min(start + PIECE_BYTES)))
}
