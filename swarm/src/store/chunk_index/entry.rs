//! What is kept of one chunk of one file: 16 bytes, whose order as bytes is the order as values.

use xet_cas::ChunkHash;

/// Where a chunk is. Sorts by the beginning of its hash, then by file, then by place in the file.
///
/// Eight bytes of the hash tell two million chunks apart but for one chance in ten million; a candidate that is
/// wrong costs its user a look at the leaf list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    /// The first eight bytes of the chunk's hash.
    pub(super) prefix: u64,
    /// Number of the file in the segment's table.
    pub(super) file: u32,
    /// Index in the file's leaf list.
    pub(super) chunk: u32,
}

impl Entry {
    pub(super) const BYTES: usize = 16;

    /// All big-endian: prefix, file, chunk.
    pub(super) fn encode(&self) -> [u8; Self::BYTES] {
        (u128::from(self.prefix) << 64 | u128::from(self.file) << 32 | u128::from(self.chunk)).to_be_bytes()
    }

    pub(super) fn decode(bytes: &[u8; Self::BYTES]) -> Self {
        let value = u128::from_be_bytes(*bytes);
        Self { prefix: (value >> 64) as u64, file: (value >> 32) as u32, chunk: value as u32 }
    }

    /// Whether both say that a chunk is in the same file: one place in a file is enough.
    pub(super) fn is_repeated_by(&self, other: &Self) -> bool {
        (self.prefix, self.file) == (other.prefix, other.file)
    }
}

/// What a chunk is looked up by.
pub(super) fn prefix(hash: &ChunkHash) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *hash.as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}
