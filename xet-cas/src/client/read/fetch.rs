//! Fetching a unit: its records are decoded as they arrive and handed on chunk by chunk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

use super::plan::Unit;
use super::urls::Urls;
use crate::client::blocking::blocking;
use crate::client::retry::Failure;
use crate::client::{Error, RangesBody};
use crate::xorb::{self, RAW_BYTES_MAX};
use crate::{Error as FormatError, FetchEntry, Leaf};

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
        let cas = &self.urls.cas;
        let mut part = Part { entries: self.unit.entries.clone(), ..Part::default() };
        if part.entries.len() == 1 || cas.multi_range() {
            match self.fetch_part(&mut part).await {
                Err(error @ Error::Malformed { .. }) if part.entries.len() > 1 && part.handed_on == 0 => {
                    tracing::info!(%error, "ranges are asked for one by one");
                }
                result => return result,
            }
        }
        let (mut raw_bytes, generation) = (0, part.generation);
        for (first, entry) in part.entries.into_iter().enumerate() {
            let mut part = Part { entries: vec![entry], first, raw_bytes, generation, handed_on: 0 };
            self.fetch_part(&mut part).await?;
            raw_bytes = part.raw_bytes;
        }
        cas.forgo_multi_range();
        Ok(())
    }

    /// Fetches what one request asks for, again where that may help.
    async fn fetch_part(&self, part: &mut Part) -> Result<(), Error> {
        let (cas, what) = (&self.urls.cas, self.unit.what());
        let mut attempts = cas.http.attempts(&what);
        let mut renewals = 0;
        loop {
            let body = match cas.open_ranges(&part.entries).await {
                Err(Error::UrlExpired { .. }) if renewals < URL_RENEWALS_MAX => {
                    renewals += 1;
                    self.urls.renew(&mut part.entries, &mut part.generation).await?;
                    continue;
                }
                opened => opened?,
            };
            renewals = 0;
            let before = part.handed_on;
            let Err(failure) = self.attempt(body, &what, part).await else { return Ok(()) };
            if part.handed_on > before {
                attempts.made = 0;
            }
            attempts.wait_after(failure).await?;
        }
    }

    /// One attempt. Chunks that were handed on before are passed over.
    async fn attempt(&self, mut body: RangesBody, what: &str, part: &mut Part) -> Result<(), Failure> {
        let damaged = |source| Failure::damaged(Error::Format { what: what.to_owned(), source });
        let (mut received, mut decoder) = (BytesMut::new(), Decoder::new(part, self.is_hashed));
        loop {
            let piece = body.next().await;
            if let Ok(Some(piece)) = &piece {
                self.wire_bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
                received.extend_from_slice(piece);
                if received.len() < BATCH_BYTES {
                    continue;
                }
            }
            // Whole records count even if the connection broke off behind them.
            let (complete, _) = xorb::complete_records_bytes(&received).map_err(damaged)?;
            let records = received.split_to(complete).freeze();
            let decode = move || {
                let decoded = decoder.decode(&records);
                (decoder, decoded)
            };
            let (returned, decoded) = blocking(decode).await;
            decoder = returned;
            // What was decoded before the damage counts.
            let (chunks, result) = decoded;
            for chunk in chunks {
                part.handed_on += 1;
                if self.unit.is_needed(chunk.entry, chunk.index, 0) && self.chunks.send(Ok(chunk)).await.is_err() {
                    return Ok(());
                }
            }
            result.map_err(damaged)?;
            let is_over = piece?.is_none();
            body.excuse_pause();
            if is_over {
                decoder.finish(received.len()).map_err(damaged)?;
                part.raw_bytes = decoder.raw_bytes;
                return Ok(());
            }
        }
    }
}

/// What one request asks for: all entries of a unit, or one of them.
#[derive(Default)]
struct Part {
    entries: Vec<FetchEntry>,
    /// Which of the unit's entries is its first.
    first: usize,
    /// Raw bytes of those before it, and of its own when it is done.
    raw_bytes: u64,
    /// Of its URLs.
    generation: u32,
    /// Chunks of it that were decoded so far.
    handed_on: usize,
}

/// Takes the records of a part's entries apart, one entry after the other.
struct Decoder {
    /// Of each entry: its first chunk, the end of them, and how many bytes hold them.
    entries: Vec<(u32, u32, u64)>,
    entry: usize,
    /// Which of the unit's entries is the first.
    first: usize,
    next: u32,
    /// Serialized bytes of this entry so far.
    stored_bytes: u64,
    /// Raw bytes of the unit so far: all of it is of one xorb.
    raw_bytes: u64,
    /// Chunks that an earlier attempt brought.
    skip: usize,
    is_hashed: bool,
}

impl Decoder {
    fn new(part: &Part, is_hashed: bool) -> Self {
        let entries: Vec<_> =
            part.entries.iter().map(|entry| (entry.chunks.start, entry.chunks.end, entry.bytes.length())).collect();
        let next = entries.first().map_or(0, |entry| entry.0);
        let Part { first, raw_bytes, handed_on: skip, .. } = *part;
        Self { entries, entry: 0, first, next, stored_bytes: 0, raw_bytes, skip, is_hashed }
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
        FormatError::check_bounds("raw bytes of entries of a xorb", self.raw_bytes, 1, RAW_BYTES_MAX)?;
        let (entry, index) = (self.first + self.entry, self.next);
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
            self.stored_bytes = 0;
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

#[cfg(test)]
mod tests {
    use super::{Decoder, Part};
    use crate::xorb::{self, RAW_BYTES_MAX};
    use crate::{ByteRange, CHUNK_BYTES_MAX, ChunkRange, CompressionPolicy, FetchEntry, Leaf, XorbHash};

    #[test]
    fn given_entries_that_hold_more_than_a_xorb_when_decoded_then_refused() {
        let chunk = vec![0; CHUNK_BYTES_MAX];
        let mut builder = xorb::Builder::new(CompressionPolicy::Auto);
        builder.push(Leaf::of(&chunk), &chunk).unwrap();
        let record = builder.finish().records.to_vec();
        let most = (RAW_BYTES_MAX / CHUNK_BYTES_MAX as u64) as u32;
        let entry = |start: u32, end: u32| {
            let at = |chunk: u32| u64::from(chunk) * record.len() as u64;
            let bytes = ByteRange { start: at(start), end: at(end) };
            let xorb = XorbHash::from_bytes([7; 32]);
            FetchEntry { xorb, chunks: ChunkRange { start, end }, bytes, url: "a".into() }
        };
        for (chunks, is_good) in [(most, true), (most + 1, false)] {
            // Passed over, so that nothing of it is kept.
            let entries = vec![entry(0, most / 2), entry(most / 2, chunks)];
            let part = Part { entries, handed_on: usize::MAX, ..Part::default() };
            let mut decoder = Decoder::new(&part, false);

            let (_, result) = decoder.decode(&record.repeat(chunks as usize));

            assert_eq!(is_good, result.is_ok(), "{chunks}: {result:?}");
        }
    }
}
