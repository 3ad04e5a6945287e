//! Two shards made one.

use std::collections::btree_map::{BTreeMap, Entry};

use super::{Shard, ShardFile};

impl Shard {
    /// Joins two shards; files and xorbs come in hash order, each once.
    ///
    /// A file that is in both keeps the terms that it has here, and gets from the other what it lacks: the SHA-256, and the
    /// verification if the terms are the same. Mind that a CAS takes a shard only if all of its files are verified or none,
    /// and that has no more than [`SHARD_BYTES_MAX`](super::SHARD_BYTES_MAX) (see [`upload_bytes`](Self::upload_bytes)).
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        let mut files = BTreeMap::new();
        for file in self.files.into_iter().chain(other.files) {
            match files.entry(file.hash) {
                Entry::Vacant(place) => _ = place.insert(file),
                Entry::Occupied(mut there) => there.get_mut().complete_from(file),
            }
        }
        let mut xorbs = BTreeMap::new();
        for xorb in self.xorbs.into_iter().chain(other.xorbs) {
            xorbs.entry(xorb.hash).or_insert(xorb);
        }
        Self { files: files.into_values().collect(), xorbs: xorbs.into_values().collect() }
    }
}

impl ShardFile {
    fn complete_from(&mut self, same: Self) {
        self.sha256 = self.sha256.or(same.sha256);
        if self.terms == same.terms {
            self.verification = self.verification.take().or(same.verification);
        }
    }
}
