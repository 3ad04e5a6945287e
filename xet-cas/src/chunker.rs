//! Content-defined chunking: where a file is cut depends on its bytes alone, so an insertion moves
//! the cuts near it and no others.
//!
//! A rolling gear hash runs over the bytes of a chunk. The chunk ends at the first byte at which it is
//! at least [`CHUNK_BYTES_MIN`] long and the top 16 bits of the hash are zero, or at
//! [`CHUNK_BYTES_MAX`], or at the end of the file. Chunks other than the last are therefore
//! 8 KiB to 128 KiB, 64 KiB beyond the minimum on average for random data.

mod restart;
pub use restart::next_stable_chunk_boundary;

use gearhash::Hasher;

/// Average chunk of random data beyond the minimum, bytes.
pub const CHUNK_BYTES_TARGET: usize = 65_536;
/// No chunk but the last of a file is shorter, bytes.
pub const CHUNK_BYTES_MIN: usize = CHUNK_BYTES_TARGET / 8;
/// No chunk is longer, bytes.
pub const CHUNK_BYTES_MAX: usize = CHUNK_BYTES_TARGET * 2;

/// A chunk may end where these bits of the gear hash are zero.
const BOUNDARY_MASK: u64 = 0xffff_0000_0000_0000;
/// The gear hash forgets a byte after 64 steps (it is shifted out), so only the 64 bytes before the
/// minimum and the one that completes it have to be hashed; everything before is skipped.
const SKIPPED_BYTES: usize = CHUNK_BYTES_MIN - 64 - 1;

/// Finds chunk boundaries in a stream. The result does not depend on how the data is split into calls.
#[derive(Clone)]
pub struct Chunker {
    hasher: Hasher<'static>,
    /// Bytes of the current chunk seen so far.
    length: usize,
}

impl Chunker {
    /// Starts at the beginning of a file.
    pub fn new() -> Self {
        Self { hasher: Hasher::new(&gearhash::DEFAULT_TABLE), length: 0 }
    }

    /// Looks for the end of the current chunk in `data`, which continues what was passed before.
    /// `Some(n)`: the chunk ends after `n` bytes of `data` (call again with the rest); `None`: all of
    /// `data` belongs to it and it may go on.
    pub fn next_boundary(&mut self, data: &[u8]) -> Option<usize> {
        let end = data.len().min(CHUNK_BYTES_MAX - self.length);
        let mut at = SKIPPED_BYTES.saturating_sub(self.length).min(end);
        while at < end {
            let Some(matched) = self.hasher.next_match(&data[at..end], BOUNDARY_MASK) else { break };
            at += matched;
            if self.length + at >= CHUNK_BYTES_MIN {
                self.restart();
                return Some(at);
            }
        }
        self.length += end;
        if self.length == CHUNK_BYTES_MAX {
            self.restart();
            return Some(end);
        }
        None
    }

    /// Bytes of the chunk that no boundary has ended yet. At the end of the file they are its last
    /// chunk, if there are any.
    pub fn pending_bytes(&self) -> usize {
        self.length
    }

    fn restart(&mut self) {
        self.length = 0;
        self.hasher.set_hash(0);
    }
}

impl Default for Chunker {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Chunker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chunker").field("length", &self.length).finish_non_exhaustive()
    }
}

/// Cuts a whole file that is in memory into its chunks. An empty file has none.
pub fn chunks(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut chunker = Chunker::new();
    let mut rest = file;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = chunker.next_boundary(rest).unwrap_or(rest.len());
        let (chunk, after) = rest.split_at(end);
        rest = after;
        Some(chunk)
    })
}
