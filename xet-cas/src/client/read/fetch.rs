//! Fetching a unit: its records are decoded as they arrive and handed on chunk by chunk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

use super::plan::Unit;
use super::urls::Urls;
use crate::client::retry::Failure;
use crate::client::{Error, RangesBody};
use crate::xorb::{self, RAW_BYTES_MAX};
use crate::{Error as FormatError, Leaf};

/// Serialized bytes that are decoded at once: some ten chunks, so that handing over costs little.
const BATCH_BYTES: usize = 512 * 1024;
/// How often new URLs are asked for in a row, because those that came were refused.
const URL_RENEWALS_MAX: u32 = 2;

/// A chunk of a unit.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    /// Which of the unit's entries.
    pub(super) entry: usize,
    /// Its index in the xorb.
    pub(super) index: u32,
    pub(super) data: Bytes,
    /// If the file is to be verified.
    pub(super) leaf: Option<Leaf>,
}

pub(super) struct Fetch {
    pub(super) unit: Unit,
    pub(super) urls: Arc<Urls>,
    /// The file is to be verified.
    pub(super) is_hashed: bool,
    pub(super) wire_bytes: Arc<AtomicU64>,
    pub(super) chunks: mpsc::Sender<Result<Chunk, Error>>,
}

impl Fetch {
    /// Hands on all chunks that are needed, in order, or an error as the last.
    pub(super) async fn run(self) {
        if let Err(error) = self.fetch().await
            && self.chunks.send(Err(error)).await.is_err()
        {
            tracing::trace!("nobody reads it any more");
        }
    }

    async fn fetch(&self) -> Result<(), Error> {
        let (cas, what) = (&self.urls.cas, self.unit.what());
        let mut entries = self.unit.entries.clone();
        let mut attempts = cas.http.attempts(&what);
        let (mut generation, mut renewals) = (0, 0);
        let mut handed_on = 0;
        loop {
            let body = match cas.open_ranges(&entries).await {
                Err(Error::UrlExpired { .. }) if renewals < URL_RENEWALS_MAX => {
                    renewals += 1;
                    self.urls.renew(&mut entries, &mut generation).await?;
                    continue;
                }
                opened => opened?,
            };
            renewals = 0;
            let before = handed_on;
            let Err(failure) = self.attempt(body, &what, &mut handed_on).await else { return Ok(()) };
            if handed_on > before {
                attempts.made = 0;
            }
            attempts.wait_after(failure).await?;
        }
    }

    /// One attempt. Chunks that were `handed_on` before are passed over.
    async fn attempt(&self, mut body: RangesBody, what: &str, handed_on: &mut usize) -> Result<(), Failure> {
        let damaged = |source| Failure::damaged(Error::Format { what: what.to_owned(), source });
        let (mut received, mut decoder) = (BytesMut::new(), Decoder::new(&self.unit, *handed_on, self.is_hashed));
        loop {
            let piece = body.next().await?;
            if let Some(piece) = &piece {
                self.wire_bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
                received.extend_from_slice(piece);
                if received.len() < BATCH_BYTES {
                    continue;
                }
            }
            let (complete, _) = xorb::complete_records_bytes(&received).map_err(damaged)?;
            let records = received.split_to(complete).freeze();
            let decode = move || {
                let decoded = decoder.decode(&records);
                (decoder, decoded)
            };
            let decoded = tokio::task::spawn_blocking(decode).await;
            let (returned, decoded) = decoded.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
            decoder = returned;
            // What was decoded before the damage counts.
            let (chunks, result) = decoded;
            for chunk in chunks {
                *handed_on += 1;
                if self.unit.is_needed(chunk.entry, chunk.index, 0) && self.chunks.send(Ok(chunk)).await.is_err() {
                    return Ok(());
                }
            }
            result.map_err(damaged)?;
            body.excuse_pause();
            if piece.is_none() {
                return decoder.finish(received.len()).map_err(damaged);
            }
        }
    }
}

/// Takes the records of a unit's entries apart, one entry after the other.
struct Decoder {
    /// Of each entry: its first chunk, the end of them, and how many bytes hold them.
    entries: Vec<(u32, u32, u64)>,
    entry: usize,
    next: u32,
    /// Serialized and raw bytes of this entry so far.
    stored_bytes: u64,
    raw_bytes: u64,
    /// Chunks that an earlier attempt brought.
    skip: usize,
    is_hashed: bool,
}

impl Decoder {
    fn new(unit: &Unit, skip: usize, is_hashed: bool) -> Self {
        let entries: Vec<_> =
            unit.entries.iter().map(|entry| (entry.chunks.start, entry.chunks.end, entry.bytes.length())).collect();
        let next = entries.first().map_or(0, |entry| entry.0);
        Self { entries, entry: 0, next, stored_bytes: 0, raw_bytes: 0, skip, is_hashed }
    }

    /// Decodes complete records. Returns what was good, and why it was not more.
    fn decode(&mut self, records: &[u8]) -> (Vec<Chunk>, Result<(), FormatError>) {
        let mut chunks = Vec::new();
        let result = xorb::Records::new(records).try_for_each(|record| {
            chunks.extend(self.decode_one(&record?)?);
            Ok(())
        });
        (chunks, result)
    }

    fn decode_one(&mut self, record: &xorb::Record<'_>) -> Result<Option<Chunk>, FormatError> {
        let Some((_, end, bytes)) = self.entries.get(self.entry).copied() else {
            return Err(FormatError::Reconstruction { reason: "there are more chunks than in the entry".into() });
        };
        self.stored_bytes += record.header.record_bytes() as u64;
        self.raw_bytes += u64::from(record.header.raw_length);
        FormatError::check_bounds("raw bytes of an entry", self.raw_bytes, 1, RAW_BYTES_MAX)?;
        let (entry, index) = (self.entry, self.next);
        let mut chunk = None;
        if self.skip > 0 {
            self.skip -= 1;
        } else {
            let mut data = Vec::new();
            let length = record.decode(&mut data)?.len();
            let data = if data.is_empty() { Bytes::copy_from_slice(record.payload) } else { Bytes::from(data) };
            FormatError::check_equal("length of a chunk", data.len() as u64, length as u64)?;
            let leaf = self.is_hashed.then(|| Leaf::of(&data));
            chunk = Some(Chunk { entry, index, data, leaf });
        }
        self.next += 1;
        if self.next == end {
            FormatError::check_equal("bytes of an entry", self.stored_bytes, bytes)?;
            self.entry += 1;
            self.next = self.entries.get(self.entry).map_or(0, |entry| entry.0);
            (self.stored_bytes, self.raw_bytes) = (0, 0);
        }
        Ok(chunk)
    }

    /// Checks that nothing is missing.
    fn finish(&self, left_bytes: usize) -> Result<(), FormatError> {
        if left_bytes > 0 {
            return Err(FormatError::truncated("chunk record", left_bytes + 1, left_bytes));
        }
        if self.entry < self.entries.len() {
            return Err(FormatError::Reconstruction { reason: "there are fewer chunks than in the entry".into() });
        }
        Ok(())
    }
}
