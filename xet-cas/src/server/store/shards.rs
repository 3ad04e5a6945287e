//! Shards: everything they say is recomputed from the xorbs before any of it is kept.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Store, StoreError};
use crate::shard::{Shard, ShardFile, ShardXorb};
use crate::xorb::Footer;
use crate::{Error, Leaf, XorbHash};

/// Chunks that the files of one shard may name, repetitions counted. Deduplication makes a small shard name
/// many, and each is hashed: this is 4 TiB of average chunks and some ten seconds.
const CHUNKS_MAX: u64 = 1 << 26;
/// Chunks of footers kept in memory during one check: about 160 MB.
const CACHED_CHUNKS_MAX: usize = 1 << 22;

/// How far a check has come, for whoever waits for it.
#[derive(Debug, Default)]
pub(in super::super) struct Progress {
    verified: AtomicU64,
    total: AtomicU64,
}

impl Progress {
    /// Files checked, and files to check as far as known.
    pub(in super::super) fn get(&self) -> (u64, u64) {
        (self.verified.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed))
    }
}

impl Store {
    /// Checks an uploaded shard and keeps its files. False: nothing in it was new.
    pub(in super::super) fn put_shard(&self, body: &[u8], progress: &Progress) -> Result<bool, StoreError> {
        let shard = Shard::decode_upload(body)?;
        progress.total.store(shard.files.len() as u64, Ordering::Relaxed);
        let named = shard.files.iter().flat_map(|file| &file.terms).map(|term| u64::from(term.chunks.count())).sum();
        Error::check_bounds("chunks named by a shard", named, 0, CHUNKS_MAX)?;
        let mut check = Check::new(self);
        for xorb in &shard.xorbs {
            check.xorb(xorb)?;
        }
        for file in &shard.files {
            file.verify(|xorb| check.footer(xorb).map(Leaves))?;
            progress.verified.fetch_add(1, Ordering::Relaxed);
        }
        self.register(&mut check, &shard.files)
    }

    /// Keeps files whose xorbs are here and whose terms need no check: they were made here.
    pub(in super::super) fn put_ingested(&self, files: &[ShardFile]) -> Result<bool, StoreError> {
        self.register(&mut Check::new(self), files)
    }

    fn register(&self, check: &mut Check<'_>, files: &[ShardFile]) -> Result<bool, StoreError> {
        let any_new = self.put_files(files)?;
        // It only spares uploads.
        if let Err(error) = self.index_chunks(check, files) {
            tracing::warn!(%error, "clients will not be told of the chunks of these files");
        }
        Ok(any_new)
    }
}

pub(super) struct Check<'a> {
    store: &'a Store,
    footers: HashMap<XorbHash, Arc<Footer>>,
    cached_chunks: usize,
}

impl<'a> Check<'a> {
    fn new(store: &'a Store) -> Self {
        Self { store, footers: HashMap::new(), cached_chunks: 0 }
    }

    pub(super) fn footer(&mut self, xorb: XorbHash) -> Result<Arc<Footer>, StoreError> {
        if let Some(footer) = self.footers.get(&xorb) {
            return Ok(Arc::clone(footer));
        }
        let footer = self.store.footer(xorb)?;
        self.cached_chunks += footer.leaves().len();
        if self.cached_chunks > CACHED_CHUNKS_MAX {
            self.footers.clear();
            self.cached_chunks = footer.leaves().len();
        }
        self.footers.insert(xorb, Arc::clone(&footer));
        Ok(footer)
    }

    /// What the shard says of a xorb must be what the xorb holds.
    fn xorb(&mut self, xorb: &ShardXorb) -> Result<(), StoreError> {
        if self.footer(xorb.hash)?.leaves() != xorb.leaves {
            let reason = format!("the shard lists other chunks for xorb {} than it has", xorb.hash);
            return Err(Error::Reconstruction { reason }.into());
        }
        Ok(())
    }
}

/// The chunks of a xorb in the store.
struct Leaves(Arc<Footer>);

impl AsRef<[Leaf]> for Leaves {
    fn as_ref(&self) -> &[Leaf] {
        self.0.leaves()
    }
}
