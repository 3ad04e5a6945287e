//! What of a file is in its partial file before anything is fetched. Pure.

use std::collections::BTreeMap;

use xet_cas::{ByteRange, Leaf};

/// Chunks by offset, which do not overlap. Each was hashed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Present {
    chunks: BTreeMap<u64, Leaf>,
    bytes: u64,
}

impl Present {
    /// Adds a chunk, unless it is empty or another one lies there.
    pub(crate) fn insert(&mut self, offset: u64, leaf: Leaf) {
        let range = ByteRange { start: offset, end: offset.saturating_add(leaf.length.into()) };
        if leaf.length > 0 && !self.overlaps(range) {
            self.chunks.insert(offset, leaf);
            self.bytes += u64::from(leaf.length);
        }
    }

    /// Whether any chunk lies in a range, or reaches into it.
    pub(crate) fn overlaps(&self, range: ByteRange) -> bool {
        let before = self.chunks.range(..range.end).next_back();
        before.is_some_and(|(offset, leaf)| offset + u64::from(leaf.length) > range.start)
    }

    /// By offset.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&u64, &Leaf)> {
        self.chunks.iter()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of chunks that begin in a range.
    pub(crate) fn bytes_in(&self, range: ByteRange) -> u64 {
        self.chunks.range(range.start..range.end).map(|(_, leaf)| u64::from(leaf.length)).sum()
    }

    /// The parts of a range that are not there, in order.
    pub(crate) fn missing_in(&self, range: ByteRange) -> Vec<ByteRange> {
        let (mut missing, mut end) = (Vec::new(), range.start);
        for (offset, leaf) in self.chunks.range(range.start..range.end) {
            if *offset > end {
                missing.push(ByteRange { start: end, end: *offset });
            }
            end = offset + u64::from(leaf.length);
        }
        if end < range.end {
            missing.push(ByteRange { start: end, end: range.end });
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use xet_cas::{ByteRange, Leaf};

    use super::Present;

    #[test]
    fn given_chunks_when_asked_what_is_missing_then_the_gaps_between_them() {
        let mut present = Present::default();
        let leaf = |length: u8| Leaf::of(&vec![length; length.into()]);
        for (offset, length) in [(10, 10), (20, 5), (40, 10), (15, 10), (45, 1), (0, 11)] {
            present.insert(offset, leaf(length));
        }

        assert_eq!(25, present.bytes());
        let range = |start, end| ByteRange { start, end };
        assert_eq!([range(0, 10), range(25, 40), range(50, 60)], present.missing_in(range(0, 60))[..]);
        assert_eq!([range(25, 30)], present.missing_in(range(10, 30))[..]);
        assert!(present.missing_in(range(10, 25)).is_empty());
        assert_eq!(15, present.bytes_in(range(0, 40)));
    }
}
