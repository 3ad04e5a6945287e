//! Answers that come before the request's body was read.
//!
//! A server that closes while the client is still sending makes the client's system throw away the
//! answer that has already arrived. So the rest of the body is taken and dropped first, within bounds.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::Request;
use axum::http::header::EXPECT;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use futures::{Stream, StreamExt as _};

/// Unread body that is taken and dropped, bytes: the largest xorb and then some.
const DROPPED_BYTES_MAX: usize = 128 * 1024 * 1024;
/// How long this may take; the answer waits for it.
const LINGER: Duration = Duration::from_secs(10);
/// A client that sends nothing for this long is not in the middle of sending.
const LINGER_IDLE: Duration = Duration::from_millis(500);

/// Runs a request and afterwards takes what it left of its body.
pub(super) async fn linger(request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    // Such a client waits for a sign before it sends: an answer instead is all it needs.
    let waits = head.headers.contains_key(EXPECT);
    let lent = Lent(Arc::new(Mutex::new(body.into_data_stream())));
    let own = Lent(Arc::clone(&lent.0));

    let answer = next.run(Request::from_parts(head, Body::from_stream(lent))).await;

    if !waits && !answer.status().is_success() {
        let _ = tokio::time::timeout(LINGER, own.drop_rest()).await;
    }
    answer
}

/// A body that is read by whoever handles the request and given back afterwards.
struct Lent(Arc<Mutex<BodyDataStream>>);

impl Lent {
    async fn drop_rest(mut self) {
        let mut dropped = 0;
        while dropped <= DROPPED_BYTES_MAX
            && let Ok(Some(Ok(piece))) = tokio::time::timeout(LINGER_IDLE, self.next()).await
        {
            dropped += piece.len();
        }
    }
}

impl Stream for Lent {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).poll_next_unpin(cx)
    }
}
