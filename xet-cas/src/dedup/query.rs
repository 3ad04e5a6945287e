//! When to ask the CAS whether it knows a chunk.

use crate::ChunkHash;

/// Chunks from one question to the next of the same file, at least: 16 MiB on average. An answer tells of whole
/// xorbs, so the next question about the same content would bring little.
const SPACING_CHUNKS: u64 = 256;

/// Chooses the chunks of one file about which the CAS is asked: the first, and those that its
/// [index holds by their hash](ChunkHash::is_global_dedup_eligible), not too close to each other.
///
/// About other chunks the CAS does not answer, or only where they begin a file.
#[derive(Debug, Clone, Default)]
pub struct QueryRule {
    next_allowed: u64,
}

impl QueryRule {
    /// Starts at the beginning of a file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether to ask about this chunk, which was not found elsewhere and is the file's `index`-th, from 0. A yes is
    /// taken for a question asked.
    pub fn asks(&mut self, index: u64, chunk: &ChunkHash) -> bool {
        let asks = (index == 0 || chunk.is_global_dedup_eligible()) && index >= self.next_allowed;
        if asks {
            self.next_allowed = index.saturating_add(SPACING_CHUNKS);
        }
        asks
    }
}
