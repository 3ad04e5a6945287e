//! What a client has to know of a file to change parts of it without fetching the rest.
//!
//! Around every part that changes lies a window: it begins where a chunk does, and ends at a boundary that holds whatever
//! is in front of it. The client cuts windows anew, and has the rest, the gaps, as summaries.

use crate::{ByteRange, Leaf, MerkleHashSubtree, RangeHash, Term, next_stable_chunk_boundary};

/// Parts of a file that have to be cut anew, and what is to be known of the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Windows {
    /// In order, apart or touching.
    pub(crate) windows: Vec<ByteRange>,
    /// What lies before the first window, between two, and behind the last one; `None` where that is nothing.
    pub(crate) gaps: Vec<Option<MerkleHashSubtree>>,
    /// What shows that the client has them, of every term that lies in gaps.
    pub(crate) gap_verification: Vec<RangeHash>,
}

impl Windows {
    /// Finds the windows for changes to these bytes, which must be in order and apart, of a file of these chunks.
    /// `None` if none of the changes is in the file.
    pub(crate) fn around(dirty: &[ByteRange], leaves: &[Leaf], terms: &[Term]) -> Option<Self> {
        let mut ends = Vec::with_capacity(leaves.len());
        let mut size = 0;
        for leaf in leaves {
            size += u64::from(leaf.length);
            ends.push(size);
        }
        let starts_at = |chunk: usize| chunk.checked_sub(1).map_or(0, |before| ends[before]);
        let mut windows: Vec<ByteRange> = Vec::new();
        for change in dirty.iter().filter(|change| change.start < change.end.min(size)) {
            let first = ends.partition_point(|end| *end <= change.start);
            let last = ends.partition_point(|end| *end < change.end.min(size));
            let end = next_stable_chunk_boundary(ends[last], &ends).unwrap_or(size);
            match windows.last_mut().filter(|window| starts_at(first) < window.end) {
                Some(window) => window.end = window.end.max(end),
                None => windows.push(ByteRange { start: starts_at(first), end }),
            }
        }
        if windows.is_empty() {
            return None;
        }
        let chunk_at = |byte: u64| ends.partition_point(|end| *end <= byte);
        let mut gaps = Vec::with_capacity(windows.len() + 1);
        let mut behind = 0;
        for window in &windows {
            gaps.push(gap(&leaves[behind..chunk_at(window.start)], behind == 0, false));
            behind = chunk_at(window.end);
        }
        gaps.push(gap(&leaves[behind..], false, true));
        let gap_verification = verification(&windows, leaves, terms);
        Some(Self { windows, gaps, gap_verification })
    }
}

fn gap(leaves: &[Leaf], at_start: bool, at_end: bool) -> Option<MerkleHashSubtree> {
    (!leaves.is_empty()).then(|| MerkleHashSubtree::of(leaves, at_start, at_end))
}

fn verification(windows: &[ByteRange], leaves: &[Leaf], terms: &[Term]) -> Vec<RangeHash> {
    let (mut at, mut chunk) = (0, 0);
    let mut hashes = Vec::new();
    for term in terms {
        let (start, first) = (at, chunk);
        at += u64::from(term.unpacked_length);
        chunk += term.chunks.count() as usize;
        let next = windows.partition_point(|window| window.end <= start);
        if windows.get(next).is_none_or(|window| window.start >= at) {
            hashes.push(RangeHash::of(leaves.get(first..chunk).unwrap_or_default().iter().map(|leaf| &leaf.hash)));
        }
    }
    hashes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{CHUNK_BYTES_MIN, ChunkHash, ChunkRange, XorbHash};

    /// Shortest chunk of middling size.
    const MIDDLING: u32 = 2 * CHUNK_BYTES_MIN as u32;

    fn leaves(lengths: &[u32]) -> Vec<Leaf> {
        let hash = |at: usize| ChunkHash::of(&(at as u32).to_le_bytes());
        lengths.iter().enumerate().map(|(at, length)| Leaf { hash: hash(at), length: *length }).collect()
    }

    fn term(leaves: &[Leaf], start: usize, end: usize) -> Term {
        let unpacked_length = leaves[start..end].iter().map(|leaf| leaf.length).sum();
        Term {
            xorb: XorbHash::from_bytes([7; 32]),
            chunks: ChunkRange { start: start as u32, end: end as u32 },
            unpacked_length,
        }
    }

    fn range(start: u64, end: u64) -> ByteRange {
        ByteRange { start, end }
    }

    #[test]
    fn given_one_change_when_looked_around_then_the_window_goes_to_the_second_middling_chunk_behind_it() {
        let m = u64::from(MIDDLING);
        let leaves = leaves(&[MIDDLING; 10]);
        let terms = [term(&leaves, 0, 2), term(&leaves, 2, 5), term(&leaves, 5, 10)];

        let found = Windows::around(&[range(2 * m + 5, 2 * m + 6)], &leaves, &terms).unwrap();

        assert_eq!(vec![range(2 * m, 5 * m)], found.windows);
        let expected = [
            Some(MerkleHashSubtree::of(&leaves[..2], true, false)),
            Some(MerkleHashSubtree::of(&leaves[5..], false, true)),
        ];
        assert_eq!(expected[..], found.gaps);
        let hash = |run: &[Leaf]| RangeHash::of(run.iter().map(|leaf| &leaf.hash));
        assert_eq!(vec![hash(&leaves[..2]), hash(&leaves[5..])], found.gap_verification);
    }

    #[test]
    fn given_chunks_that_are_short_when_looked_around_then_the_window_goes_past_them() {
        let m = u64::from(MIDDLING);
        let leaves = leaves(&[MIDDLING, MIDDLING, 10, MIDDLING, MIDDLING, MIDDLING]);
        let found = Windows::around(&[range(0, 1)], &leaves, &[]).unwrap();
        assert_eq!(vec![range(0, 4 * m + 10)], found.windows);
        assert_eq!(None, found.gaps[0]);
    }

    #[test]
    fn given_changes_at_the_ends_when_looked_around_then_there_is_nothing_outside() {
        let leaves = leaves(&[MIDDLING; 3]);
        let size = 3 * u64::from(MIDDLING);
        let found = Windows::around(&[range(0, 1), range(size - 1, size + 100)], &leaves, &[]).unwrap();
        assert_eq!((vec![range(0, size)], vec![None, None]), (found.windows, found.gaps));
        assert_eq!(None, Windows::around(&[range(size, size + 1)], &leaves, &[]));
        assert_eq!(None, Windows::around(&[range(0, 1)], &[], &[]));
    }

    proptest! {
        #[test]
        fn given_any_changes_when_windows_are_filled_with_what_was_there_then_the_file_is_the_same(
            lengths in prop::collection::vec(prop_oneof![1_u32..MIDDLING, MIDDLING..2 * MIDDLING], 1..200),
            cuts in prop::collection::btree_set(0_u64..8_000_000, 2..12),
        ) {
            let leaves = leaves(&lengths);
            let cuts: Vec<u64> = cuts.into_iter().collect();
            let dirty: Vec<ByteRange> = cuts.chunks_exact(2).map(|pair| range(pair[0], pair[1])).collect();
            let Some(found) = Windows::around(&dirty, &leaves, &[]) else { return Ok(()) };

            let mut whole: Option<MerkleHashSubtree> = None;
            let size: u64 = lengths.iter().map(|length| u64::from(*length)).sum();
            for (at, gap) in found.gaps.iter().enumerate() {
                let window = found.windows.get(at).map(|window| {
                    let (mut begin, mut inside) = (0, Vec::new());
                    for leaf in &leaves {
                        let end = begin + u64::from(leaf.length);
                        if begin >= window.start && end <= window.end {
                            inside.push(*leaf);
                        }
                        begin = end;
                    }
                    MerkleHashSubtree::of(&inside, window.start == 0, window.end == size)
                });
                for part in gap.iter().chain(&window) {
                    match &mut whole {
                        None => whole = Some(part.clone()),
                        Some(whole) => whole.append(part).unwrap(),
                    }
                }
            }
            prop_assert_eq!(Some(Leaf::file_hash(&leaves)), whole.unwrap().file_hash());
            for change in dirty.iter().filter(|change| change.start < size) {
                let end = change.end.min(size);
                prop_assert!(found.windows.iter().any(|window| window.start <= change.start && end <= window.end));
            }
        }
    }
}
