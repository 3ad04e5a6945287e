//! How a file is put together: terms (runs of chunks of xorbs), and the entries to fetch for them.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::{CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, Error, XorbHash, xorb};

#[cfg(feature = "server")]
pub(crate) mod describe;
#[cfg(feature = "server")]
pub(crate) mod edit;

/// A run of chunk indices, end exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChunkRange {
    /// First chunk.
    pub start: u32,
    /// One past the last chunk.
    pub end: u32,
}

impl ChunkRange {
    /// How many chunks; zero for a reversed range.
    pub fn count(&self) -> u32 {
        self.end.saturating_sub(self.start)
    }

    /// Whether all of `other` lies in this run.
    pub fn contains(&self, other: &Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// As an iterable range.
    pub fn indices(&self) -> Range<u32> {
        self.start..self.end
    }
}

/// A run of bytes, end exclusive (HTTP's `Range` and the CAS's JSON have it inclusive).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ByteRange {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

impl ByteRange {
    /// How many bytes; zero for a reversed range.
    pub fn length(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }
}

/// A run of chunks of one xorb that is a run of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Term {
    /// The xorb.
    pub xorb: XorbHash,
    /// Chunks of the xorb.
    pub chunks: ChunkRange,
    /// Their uncompressed bytes.
    pub unpacked_length: u32,
}

/// A signed URL for exactly one byte range of a xorb, which holds exactly one run of its chunks.
#[derive(Clone, PartialEq, Eq)]
pub struct FetchEntry {
    /// The xorb.
    pub xorb: XorbHash,
    /// Chunks that the bytes hold.
    pub chunks: ChunkRange,
    /// Bytes of the serialized xorb.
    pub bytes: ByteRange,
    /// Where to get them. Possession of the URL is permission: it is a secret. Entries may share one, so an answer cannot
    /// make its reader copy a long one for each.
    pub url: Arc<str>,
}

impl std::fmt::Debug for FetchEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FetchEntry")
            .field("xorb", &self.xorb)
            .field("chunks", &self.chunks)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// What the CAS says about a file or a byte range of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reconstruction {
    /// Bytes of the first term that lie before the asked range.
    pub offset_into_first_term: u64,
    /// The terms, in file order.
    pub terms: Vec<Term>,
    /// What to fetch for them. Every term lies in one entry; an entry may serve many terms.
    pub entries: Vec<FetchEntry>,
}

impl Reconstruction {
    /// Checks that this can describe a whole file of `file_bytes`: counts and lengths are within the limits
    /// of a xorb, the terms add up to the file, and every term lies inside an entry of its xorb. Returns
    /// the index of that entry for each term.
    ///
    /// The chunks of all terms are no more than `file_bytes` justify, so that a short answer cannot make
    /// the caller keep much for each chunk: one for every [`CHUNK_BYTES_MIN`], and besides two for each term
    /// and a xorb's worth for the file. Shorter chunks end a file or stand where files were joined.
    ///
    /// # Errors
    /// [`Error::Reconstruction`] or [`Error::OutOfBounds`] with the first thing that does not fit.
    pub fn check_whole_file(&self, file_bytes: u64) -> Result<Vec<usize>, Error> {
        self.check_exactly(file_bytes)
    }

    /// Checks, as [`check_whole_file`](Self::check_whole_file) does for a file, that this describes exactly a range
    /// of so many bytes that begins and ends where terms do.
    ///
    /// # Errors
    /// [`Error::Reconstruction`] or [`Error::OutOfBounds`] with the first thing that does not fit.
    pub fn check_exactly(&self, file_bytes: u64) -> Result<Vec<usize>, Error> {
        let inconsistent = |reason: String| Err(Error::Reconstruction { reason });
        if self.offset_into_first_term != 0 {
            return inconsistent("the answer begins inside a term".into());
        }
        let (mut total, mut chunks) = (0_u64, 0_u64);
        let lookup = EntryLookup::new(&self.entries)?;
        let mut entries = Vec::with_capacity(self.terms.len());
        for term in &self.terms {
            check_chunks(term.chunks)?;
            let (count, length) = (u64::from(term.chunks.count()), u64::from(term.unpacked_length));
            // A chunk has at least one byte.
            let longest = (count * CHUNK_BYTES_MAX as u64).min(xorb::RAW_BYTES_MAX);
            Error::check_bounds("unpacked length of a term", length, count, longest)?;
            total += length;
            chunks += count;
            let Some(entry) = lookup.covering(term) else {
                return inconsistent(format!(
                    "no entry covers chunks {:?} of xorb {}",
                    term.chunks.indices(),
                    term.xorb
                ));
            };
            entries.push(entry);
        }
        if total != file_bytes {
            return inconsistent(format!("the terms hold {total} bytes, asked for were {file_bytes}"));
        }
        let terms = self.terms.len() as u64;
        let most = file_bytes / CHUNK_BYTES_MIN as u64 + 2 * terms + xorb::CHUNKS_MAX as u64;
        Error::check_bounds("chunks of a file", chunks, terms, most)?;
        Ok(entries)
    }
}

/// Finds the entry that covers a term in logarithmic time, whatever the answer looks like.
struct EntryLookup {
    /// Per xorb, by ascending start: the start, and which of the entries so far reaches furthest.
    by_xorb: HashMap<XorbHash, Vec<Reach>>,
}

struct Reach {
    start: u32,
    end: u32,
    entry: usize,
}

impl EntryLookup {
    fn new(entries: &[FetchEntry]) -> Result<Self, Error> {
        let mut by_xorb: HashMap<XorbHash, Vec<Reach>> = HashMap::new();
        for (index, entry) in entries.iter().enumerate() {
            check_chunks(entry.chunks)?;
            Error::check_bounds("bytes of a fetch entry", entry.bytes.length(), 1, xorb::SERIALIZED_BYTES_MAX)?;
            let ChunkRange { start, end } = entry.chunks;
            by_xorb.entry(entry.xorb).or_default().push(Reach { start, end, entry: index });
        }
        for reaches in by_xorb.values_mut() {
            reaches.sort_by_key(|reach| reach.start);
            for at in 1..reaches.len() {
                if reaches[at - 1].end > reaches[at].end {
                    (reaches[at].end, reaches[at].entry) = (reaches[at - 1].end, reaches[at - 1].entry);
                }
            }
        }
        Ok(Self { by_xorb })
    }

    fn covering(&self, term: &Term) -> Option<usize> {
        let reaches = self.by_xorb.get(&term.xorb)?;
        let before = reaches.partition_point(|reach| reach.start <= term.chunks.start);
        let reach = &reaches[before.checked_sub(1)?];
        (reach.end >= term.chunks.end).then_some(reach.entry)
    }
}

fn check_chunks(chunks: ChunkRange) -> Result<(), Error> {
    Error::check_bounds("chunks of a term or entry", chunks.count().into(), 1, xorb::CHUNKS_MAX as u64)?;
    Error::check_bounds("last chunk of a term or entry", chunks.end.into(), 1, xorb::CHUNKS_MAX as u64)
}

#[cfg(test)]
mod tests {
    use super::{ByteRange, ChunkRange, FetchEntry, Reconstruction, Term};
    use crate::{CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, Error, XorbHash, xorb};

    const XORB: XorbHash = XorbHash::from_bytes([7; 32]);

    /// Terms of so many chunks and bytes each, all of one xorb.
    fn check(terms: &[(u32, usize)]) -> Result<Vec<usize>, Error> {
        let term = |(count, bytes): &(u32, usize)| Term {
            xorb: XORB,
            chunks: ChunkRange { start: 0, end: *count },
            unpacked_length: *bytes as u32,
        };
        let terms: Vec<Term> = terms.iter().map(term).collect();
        let chunks = ChunkRange { start: 0, end: terms.iter().map(|term| term.chunks.end).max().unwrap() };
        let bytes = ByteRange { start: 0, end: xorb::SERIALIZED_BYTES_MAX };
        let entries = vec![FetchEntry { xorb: XORB, chunks, bytes, url: "".into() }];
        let file_bytes = terms.iter().map(|term| u64::from(term.unpacked_length)).sum();
        Reconstruction { offset_into_first_term: 0, terms, entries }.check_whole_file(file_bytes)
    }

    #[test]
    fn given_a_term_whose_bytes_do_not_fit_its_chunks_when_checked_then_refused() {
        for (count, bytes) in [(8_192, 1), (2, 1), (1, CHUNK_BYTES_MAX + 1), (3, 3 * CHUNK_BYTES_MAX + 1)] {
            let checked = check(&[(count, bytes)]);
            assert!(matches!(checked, Err(Error::OutOfBounds { .. })), "{count} of {bytes}: {checked:?}");
        }
    }

    #[test]
    fn given_terms_of_tiny_chunks_when_checked_then_the_whole_is_bounded() {
        let checked = check(&vec![(8_192, 8_192); 100_000]);

        assert!(matches!(checked, Err(Error::OutOfBounds { what: "chunks of a file", .. })), "{checked:?}");
    }

    #[test]
    fn given_honest_terms_when_checked_then_taken() {
        let short_last = (8, 7 * CHUNK_BYTES_MIN + 1);
        for terms in [
            vec![(1, 1)],
            vec![(8_192, 8_192 * CHUNK_BYTES_MIN)],
            vec![(512, 512 * CHUNK_BYTES_MAX)],
            vec![short_last; 10_000],
            // Many short files that were stored one after the other, and joined.
            vec![(8_192, 8_192)],
        ] {
            let checked = check(&terms);
            assert!(checked.is_ok(), "{checked:?}");
        }
    }
}
