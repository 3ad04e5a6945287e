//! Bodies as streams of pieces, and what can be done to them on their way.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{
    StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};
use http_body_util::{BodyDataStream, BodyExt as _, StreamBody};
use hyper::body::Frame;

use crate::front::{Body, BoxError, Ending};

pub(super) type Pieces = BoxStream<'static, Result<Bytes, BoxError>>;

pub(super) fn into_body(pieces: Pieces) -> Body {
    StreamBody::new(pieces.map_ok(Frame::data)).boxed_unsync()
}

pub(super) fn from_body(body: Body) -> Pieces {
    BodyDataStream::new(body).boxed()
}

pub(super) fn stall_after(pieces: Pieces, bytes: u64) -> Pieces {
    first(pieces, bytes).chain(stream::pending()).boxed()
}

/// The silence at the end makes hyper flush, and the flush finds the ending.
pub(super) fn truncate_after(pieces: Pieces, bytes: u64, ending: Arc<Ending>) -> Pieces {
    let close = stream::poll_fn(move |_| {
        ending.close();
        std::task::Poll::Pending
    });
    first(pieces, bytes).chain(close).boxed()
}

pub(super) fn flip_bit(pieces: Pieces, offset: u64) -> Pieces {
    let mut begin = 0;
    let flip = move |piece: Bytes| {
        let at = offset.checked_sub(begin).and_then(|at| usize::try_from(at).ok());
        begin += piece.len() as u64;
        match at {
            Some(at) if at < piece.len() => {
                let mut piece = Vec::from(piece);
                piece[at] ^= 1;
                piece.into()
            }
            _ => piece,
        }
    };
    pieces.map_ok(flip).boxed()
}

/// Some twenty pieces a second: even, and cheap.
pub(super) fn trickle(pieces: Pieces, bytes_per_second: u64) -> Pieces {
    let piece_bytes = (bytes_per_second / 20).clamp(1, 1 << 16);
    let pause = Duration::from_secs(piece_bytes) / u32::try_from(bytes_per_second.max(1)).unwrap_or(u32::MAX);
    let split = move |mut piece: Bytes| {
        let mut parts = Vec::new();
        while !piece.is_empty() {
            parts.push(Ok(piece.split_to(piece.len().min(piece_bytes as usize))));
        }
        stream::iter(parts)
    };
    let pace = move |piece| async move {
        tokio::time::sleep(pause).await;
        piece
    };
    pieces.map_ok(split).try_flatten().then(pace).boxed()
}

/// Cut or padded with zeros to exactly `bytes`, if `pieces` are `true_bytes`.
pub(super) fn resized(pieces: Pieces, true_bytes: u64, bytes: u64) -> Pieces {
    let missing = usize::try_from(bytes.saturating_sub(true_bytes)).unwrap_or(0);
    let zeros = Ok(Bytes::from(vec![0; missing]));
    first(pieces, bytes).chain(stream::iter([zeros])).boxed()
}

/// Exactly the first bytes, and no piece behind them is asked for.
fn first(pieces: Pieces, bytes: u64) -> Pieces {
    let cut = move |(mut pieces, left): (Pieces, u64)| async move {
        if left == 0 {
            return None;
        }
        let piece = pieces.next().await?.map(|mut piece: Bytes| {
            piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            piece
        });
        let left = left - piece.as_ref().map_or(left, |piece| piece.len() as u64);
        Some((piece, (pieces, left)))
    };
    stream::unfold((pieces, bytes), cut).boxed()
}
