//! Chunks in a row, with where each of them begins.

use crate::{ByteRange, Leaf};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entries {
    leaves: Vec<Leaf>,
    /// Where each leaf begins, and where the last one ends.
    bounds: Vec<u64>,
}

impl Entries {
    pub(super) fn new(offset: u64, leaves: Vec<Leaf>) -> Self {
        let mut bounds = Vec::with_capacity(leaves.len() + 1);
        let mut end = offset;
        bounds.push(end);
        bounds.extend(leaves.iter().map(|leaf| {
            end = end.saturating_add(leaf.length.into());
            end
        }));
        Self { leaves, bounds }
    }

    pub(super) fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    pub(super) fn bytes(&self) -> ByteRange {
        ByteRange { start: self.bounds[0], end: self.bounds[self.leaves.len()] }
    }

    /// A leaf by its place in the row, and where it begins.
    pub(super) fn get(&self, at: usize) -> Option<(u64, &Leaf)> {
        Some((*self.bounds.get(at)?, self.leaves.get(at)?))
    }

    /// The leaf that holds a byte, and where it begins.
    pub(super) fn leaf_at(&self, byte: u64) -> Option<(u64, &Leaf)> {
        self.get(self.bounds.partition_point(|bound| *bound <= byte).checked_sub(1)?)
    }

    /// How many leaves lie before this byte, if one of them begins or ends there.
    pub(super) fn boundary(&self, byte: u64) -> Option<usize> {
        self.bounds.binary_search(&byte).ok()
    }

    pub(super) fn contains(&self, leaf: &Leaf) -> bool {
        self.leaves.contains(leaf)
    }
}
