//! Boundaries that hold whatever stood before them.

use super::{CHUNK_BYTES_MAX, CHUNK_BYTES_MIN};

/// Finds the first chunk boundary behind `position` that would be one whatever the bytes before `position` were and
/// however many: from there on a file is cut the same after any edit in front. `ends` are the ends of the file's
/// chunks, in order, bytes from its start.
///
/// It is the end of the second of two chunks in a row that are both of middling size, counted from the first boundary
/// at or behind `position`. `None` if there are none: then only the end of the file is certain.
///
/// The same holds for a piece of a file that was cut as if it were a file of its own, with `position` 0: what lies behind
/// this boundary is cut as in the whole file. So pieces can be cut at the same time, and each has to be cut anew only up
/// to there, from the last chunk of the piece before it.
pub fn next_stable_chunk_boundary(position: u64, ends: &[u64]) -> Option<u64> {
    let behind = &ends[ends.partition_point(|end| *end < position)..];
    let is_stable = |chunks: &[u64]| chunks.windows(2).all(|ends| is_middling(ends[1].saturating_sub(ends[0])));
    behind.windows(3).find(|chunks| is_stable(chunks)).map(|chunks| chunks[2])
}

/// Whether a chunk is long enough to be found from a boundary that was drawn up to a minimal chunk late, and short
/// enough to be found from one that was drawn up to a minimal chunk early.
fn is_middling(length: u64) -> bool {
    (2 * CHUNK_BYTES_MIN as u64..(CHUNK_BYTES_MAX - CHUNK_BYTES_MIN) as u64).contains(&length)
}
