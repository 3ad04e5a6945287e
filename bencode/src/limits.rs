/// What a decoder refuses. Begin with `default()` and assign.
///
/// The memory that decoding takes is 12 bytes a token, and half as much again while it grows, whatever lengths the
/// input announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Lists and dictionaries inside one another. Default 64; what is exchanged in practice stays below 10,
    /// but file trees nest as folders do.
    pub depth_max: usize,
    /// Integers, strings (keys too), beginnings and ends of lists and dictionaries. Default 1,000,000: a
    /// metainfo of 100,000 files, in 12 MB.
    pub tokens_max: usize,
    /// Bytes of one string. Default 64 MiB: the piece hashes of three million pieces.
    pub string_bytes_max: usize,
    /// Bytes of one value with all that is in it. Default 128 MiB: the longest string, and as much beside it.
    /// More than 4 GiB are never read, whatever it says.
    pub value_bytes_max: usize,
}

/// Offsets are kept in four bytes, and so are counts of tokens, of which there are no more than bytes.
const VALUE_BYTES_MAX: usize = u32::MAX as usize - 2;

impl Limits {
    pub(crate) fn value_bound(&self) -> usize {
        self.value_bytes_max.min(VALUE_BYTES_MAX)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth_max: 64,
            tokens_max: 1_000_000,
            string_bytes_max: 64 * 1024 * 1024,
            value_bytes_max: 128 * 1024 * 1024,
        }
    }
}
