//! A range of a file in the CAS, chunk by chunk: fetches units ahead of the reader and keeps what recurs.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::ReadOptions;
use super::fetch::{Chunk, Fetch};
use super::plan::Plan;
use super::urls::Urls;
use crate::client::{Cas, Error};
use crate::{ByteRange, Error as FormatError, FileHash, Leaf};

/// Units beyond the one that is read that are fetched at once at most.
const FETCHES_AHEAD_MAX: usize = 8;
/// How many terms ahead of the reader units are looked for. The terms of a file that was changed in many places are
/// short, and then this is what the requests wait for.
const TERMS_AHEAD_MAX: usize = 256;

pub(super) struct ChunkReader {
    plan: Plan,
    urls: Option<Arc<Urls>>,
    is_hashed: bool,
    wire_bytes: Arc<AtomicU64>,
    ahead_bytes_max: u64,
    /// By their number in the plan.
    open: HashMap<usize, OpenUnit>,
    tasks: JoinSet<()>,
    /// The term that is being read.
    term: usize,
    /// Chunks and bytes of it that were read.
    read_chunks: u32,
    read_bytes: u64,
    /// Bytes of the range that are still to come.
    left: u64,
}

/// A unit that is being fetched, or of which something is kept.
struct OpenUnit {
    chunks: mpsc::Receiver<Result<Chunk, Error>>,
    /// What has come and is needed later, by entry and index.
    kept: HashMap<(usize, u32), Chunk>,
    task: AbortHandle,
}

impl Drop for OpenUnit {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ChunkReader {
    /// Nothing.
    pub(super) fn empty() -> Self {
        Self::new(Plan::default(), None, 0, false, &ReadOptions::default(), Arc::default())
    }

    /// Asks how the range is put together. It must not be empty.
    pub(super) async fn plan(
        cas: Cas,
        hash: FileHash,
        range: ByteRange,
        is_hashed: bool,
        options: &ReadOptions,
        wire_bytes: Arc<AtomicU64>,
    ) -> Result<Self, Error> {
        let answer = cas.reconstruct_range(hash, range).await?;
        let plan = Plan::new(answer, range, cas.multi_range()).map_err(|error| Error::Malformed {
            what: format!("reconstruction of {hash}"),
            reason: error.to_string(),
        })?;
        let urls = Arc::new(Urls::new(cas, hash, range));
        Ok(Self::new(plan, Some(urls), range.length(), is_hashed, options, wire_bytes))
    }

    fn new(
        plan: Plan,
        urls: Option<Arc<Urls>>,
        left: u64,
        is_hashed: bool,
        options: &ReadOptions,
        wire_bytes: Arc<AtomicU64>,
    ) -> Self {
        let ahead_bytes_max = options.ahead_bytes_max;
        let (open, tasks) = (HashMap::new(), JoinSet::new());
        let (term, read_chunks, read_bytes) = (0, 0, 0);
        Self { plan, urls, is_hashed, wire_bytes, ahead_bytes_max, open, tasks, term, read_chunks, read_bytes, left }
    }

    /// The next bytes of the range, of which there must be some, and the chunk that they are of.
    pub(super) async fn next(&mut self) -> Result<(Bytes, Option<Leaf>), Error> {
        loop {
            let Chunk { mut data, leaf, .. } = self.next_chunk().await?;
            let before = usize::try_from(self.plan.skip).unwrap_or(usize::MAX).min(data.len());
            self.plan.skip -= before as u64;
            let mut wanted = data.split_off(before);
            wanted.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
            self.left -= wanted.len() as u64;
            // A first term may begin with chunks that lie wholly before the range.
            if !wanted.is_empty() {
                return Ok((wanted, leaf));
            }
        }
    }

    async fn next_chunk(&mut self) -> Result<Chunk, Error> {
        let Some(planned) = self.plan.terms.get(self.term).copied() else {
            let source = FormatError::Reconstruction { reason: "the terms hold less than the range".into() };
            return Err(Error::Format { what: "the range".to_owned(), source });
        };
        if self.read_chunks == 0 {
            self.open_units(planned.unit);
        }
        let index = planned.term.chunks.start + self.read_chunks;
        let chunk = self.take(planned.unit, planned.entry, index).await?;
        self.read_chunks += 1;
        self.read_bytes += chunk.data.len() as u64;
        let is_last = self.read_chunks == planned.term.chunks.count();
        let expected = u64::from(planned.term.unpacked_length);
        if self.read_bytes > expected || (is_last && self.read_bytes != expected) {
            let (what, left) = ("bytes of a term and of its chunks", self.read_bytes);
            let source = FormatError::Mismatch { what, left, right: expected };
            return Err(Error::Format { what: self.plan.units[planned.unit].what(), source });
        }
        if is_last {
            (self.read_chunks, self.read_bytes) = (0, 0);
            self.term += 1;
            let (units, term) = (&self.plan.units, self.term);
            self.open.retain(|unit, _| units[*unit].next_use(term).is_some());
        }
        Ok(chunk)
    }

    /// A chunk of an open unit, which is kept if it is needed once more.
    async fn take(&mut self, unit: usize, entry: usize, index: u32) -> Result<Chunk, Error> {
        let (plan, term) = (&self.plan.units[unit], self.term);
        let ended = || Error::Transport { what: plan.what(), reason: "its fetch has ended early".to_owned() };
        let open = self.open.get_mut(&unit).ok_or_else(ended)?;
        let is_needed_again = plan.is_needed(entry, index, term + 1);
        let kept = match open.kept.get(&(entry, index)) {
            Some(kept) if is_needed_again => Some(kept.clone()),
            Some(_) => open.kept.remove(&(entry, index)),
            None => None,
        };
        if let Some(kept) = kept {
            return Ok(kept);
        }
        loop {
            let chunk = open.chunks.recv().await.ok_or_else(ended)??;
            let key = (chunk.entry, chunk.index);
            if key == (entry, index) {
                if is_needed_again {
                    open.kept.insert(key, chunk.clone());
                }
                return Ok(chunk);
            }
            if plan.is_needed(chunk.entry, chunk.index, term) {
                open.kept.insert(key, chunk);
            }
        }
    }

    /// Sees to it that this unit is open, and as many of those that are needed next as there is room for.
    fn open_units(&mut self, unit: usize) {
        while self.tasks.try_join_next().is_some() {}
        if !self.open.contains_key(&unit) {
            while !self.has_memory_for(unit) && self.close_furthest() {}
            self.start(unit);
        }
        let end = self.plan.terms.len().min(self.term + TERMS_AHEAD_MAX);
        for term in self.term + 1..end {
            let unit = self.plan.terms[term].unit;
            if self.open.contains_key(&unit) {
                continue;
            }
            let fetches = self.open.values().filter(|open| !open.task.is_finished()).count();
            if fetches > FETCHES_AHEAD_MAX || !self.has_memory_for(unit) {
                break;
            }
            self.start(unit);
        }
    }

    fn has_memory_for(&self, unit: usize) -> bool {
        let units = &self.plan.units;
        let open: u64 = self.open.keys().map(|open| units[*open].raw_bytes_max()).sum();
        open.saturating_add(units[unit].raw_bytes_max()) <= self.ahead_bytes_max
    }

    /// Forgets the open unit that is needed last; it is fetched again then. Returns whether there was one.
    fn close_furthest(&mut self) -> bool {
        let next_use = |unit: &&usize| self.plan.units[**unit].next_use(self.term);
        let Some(furthest) = self.open.keys().max_by_key(next_use).copied() else { return false };
        self.open.remove(&furthest).is_some()
    }

    fn start(&mut self, number: usize) {
        let Some(urls) = self.urls.clone() else { return };
        let unit = self.plan.units[number].clone();
        // All of it fits, so that a connection is never kept waiting: memory is bounded by what is open.
        let (sender, chunks) = mpsc::channel(unit.chunk_count() + 1);
        let (is_hashed, wire_bytes) = (self.is_hashed, self.wire_bytes.clone());
        let fetch = Fetch { unit, urls, is_hashed, wire_bytes, chunks: sender };
        let task = self.tasks.spawn(fetch.run());
        self.open.insert(number, OpenUnit { chunks, kept: HashMap::new(), task });
    }
}
