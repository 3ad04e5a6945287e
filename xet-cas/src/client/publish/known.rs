//! What is known to be stored from earlier publications.

use std::path::Path;

use crate::dedup::Index;
use crate::shard::{Shard, ShardXorb};

pub(super) struct Known {
    index: Index,
}
impl Known {
    pub(super) fn nothing() -> Self {
        Self { index: Index::new() }
    }
    pub(super) async fn load(_cache: &Path, _cas: &str) -> Self {
        Self::nothing()
    }
    pub(super) fn take_index(&mut self) -> Index {
        std::mem::take(&mut self.index)
    }
    pub(super) fn was_used(&self) -> bool {
        false
    }
    pub(super) fn stage(&mut self, _xorb: &ShardXorb) {}
    pub(super) fn add_staged(&mut self, _shard: &mut Shard) {}
    pub(super) async fn registered(&mut self, _shard: Shard) {}
    pub(super) async fn forget(&mut self) {}
    pub(super) async fn finish(&mut self) {}
}
pub(super) fn insert_answer(_index: &mut Index, _shard: &[u8]) {}
