//! The bytes of a file that is still arriving, given on as they come.

use std::io;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures::stream;

use super::app::App;
use super::ingest::{Arrival, Part};
use super::plain::PlainReader;
use super::store::StoreError;
use crate::{ByteRange, Term};

/// A body of a range of the file. It breaks off if the file turns out not to be what it should be.
pub(super) fn body(app: Arc<App>, arrival: Arc<Arrival>, bytes: ByteRange) -> Body {
    let follower = Follower { app, arrival, bytes, reader: None };
    Body::from_stream(stream::try_unfold(follower, |mut follower| async move {
        Ok::<_, io::Error>(follower.next().await?.map(|piece| (piece, follower)))
    }))
}

struct Follower {
    app: Arc<App>,
    arrival: Arc<Arrival>,
    /// What is still to be given.
    bytes: ByteRange,
    /// Reads what of it is in xorbs.
    reader: Option<PlainReader>,
}

impl Follower {
    fn range(&self, terms: &[Term], bytes: ByteRange) -> Option<PlainReader> {
        Some(PlainReader::range(terms, bytes)?.with_buffers(self.app.buffers.clone()))
    }

    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let piece = loop {
            if self.bytes.length() == 0 {
                return Ok(None);
            }
            if let Some(mut reader) = self.reader.take() {
                let (store, piece_bytes) = (Arc::clone(&self.app.store), self.app.traffic.piece_bytes());
                let read = self.app.workers.disk(move || (reader.next(&store, piece_bytes), reader));
                let (piece, reader) = read.await;
                if let Some(piece) = piece.map_err(broken)? {
                    self.reader = Some(reader);
                    break piece;
                }
            }
            let part = self.arrival.part_from(self.bytes.start).await;
            match part.map_err(|failure| io::Error::other(failure.to_string()))? {
                Part::Memory(mut piece) => {
                    piece.truncate(usize::try_from(self.bytes.length()).unwrap_or(usize::MAX));
                    break piece;
                }
                Part::Stored(terms, end) => {
                    let there = ByteRange { start: self.bytes.start, end: self.bytes.end.min(end) };
                    self.reader = self.range(&terms, there);
                }
                Part::Kept(file) => {
                    let store = Arc::clone(&self.app.store);
                    let terms = self.app.workers.disk(move || store.file(file)).await.map_err(broken)?;
                    self.reader = self.range(&terms.unwrap_or_default(), self.bytes);
                    if self.reader.is_none() {
                        return Err(io::Error::other("a file that has just come is not there"));
                    }
                }
            }
        };
        self.bytes.start += piece.len() as u64;
        self.app.traffic.admit(piece.len()).await;
        Ok(Some(piece))
    }
}

fn broken(error: StoreError) -> io::Error {
    tracing::error!(%error, "cannot read what is being sent");
    io::Error::other(error.to_string())
}
