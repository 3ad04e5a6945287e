//! Files that are put together here: their bytes come in as they are, and are cut, deduplicated against what is
//! stored, and kept in xorbs.
//!
//! Every xorb is stored as soon as it is full, so memory does not depend on the size of the file. What was stored of a
//! file that never became whole is named by nothing.

mod arrival;
pub(super) use arrival::{Arrival, Failure, Part, Terms};

mod packing;
use packing::Packing;

mod places;
pub(super) use places::Ingests;

use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::store::{Store, StoreError};
use super::workers::Workers;
use crate::shard::ShardFile;
use crate::{FileHash, Leaf};

/// What is cut, hashed and compressed in one go, bytes: long enough that handing it to a thread does not count. While
/// one batch is worked on, the next one comes in.
const BATCH_BYTES: usize = 2 * 1024 * 1024;
/// Pieces of a batch at most: a body of single bytes does not become a list of millions.
const BATCH_PIECES_MAX: usize = 4_096;

/// A part of a file.
#[derive(Debug, Clone)]
pub(super) enum Piece {
    /// Bytes, wherever they were cut.
    Bytes(Bytes),
    /// One chunk, which is to stay one, and its hash.
    Chunk(Bytes, Leaf),
}

impl Piece {
    fn bytes(&self) -> &Bytes {
        match self {
            Self::Bytes(bytes) | Self::Chunk(bytes, _) => bytes,
        }
    }
}

/// One file on its way in.
pub(super) struct Ingest {
    store: Arc<Store>,
    workers: Workers,
    batch: Vec<Piece>,
    batch_bytes: usize,
    /// Works on the batch before, and has the state until then. One at most.
    job: JoinSet<Result<Packing, StoreError>>,
    packing: Option<Packing>,
}

impl Ingest {
    /// Begins a file that nobody reads before it is there.
    pub(super) fn new(store: &Arc<Store>, workers: &Workers) -> Self {
        Self::begin(store, workers, None)
    }

    /// Begins a file that is read while it comes in.
    pub(super) fn followed(store: &Arc<Store>, workers: &Workers, arrival: Arc<Arrival>) -> Self {
        Self::begin(store, workers, Some(arrival))
    }

    fn begin(store: &Arc<Store>, workers: &Workers, arrival: Option<Arc<Arrival>>) -> Self {
        Self {
            store: Arc::clone(store),
            workers: workers.clone(),
            batch: Vec::new(),
            batch_bytes: 0,
            job: JoinSet::new(),
            packing: Some(Packing::new(Arc::clone(store), arrival)),
        }
    }

    /// Takes the next part. Waits while the one before last is still worked on.
    ///
    /// # Cancel safety
    /// The file cannot be gone on with if the future is dropped.
    pub(super) async fn push(&mut self, piece: Piece) -> Result<(), StoreError> {
        self.batch_bytes += piece.bytes().len();
        self.batch.push(piece);
        if self.batch_bytes >= BATCH_BYTES || self.batch.len() >= BATCH_PIECES_MAX {
            self.hand_over().await?;
        }
        Ok(())
    }

    /// Has what came so far worked on, although it is little: somebody waits for it.
    pub(super) async fn flush(&mut self) -> Result<(), StoreError> {
        if self.batch.is_empty() { Ok(()) } else { self.hand_over().await }
    }

    /// That was all of it. Nothing is visible before [`TakenIn::keep`].
    pub(super) async fn finish(mut self) -> Result<TakenIn, StoreError> {
        self.hand_over().await?;
        let packing = self.packed().await?;
        let (file, size) = self.workers.heavy(move || packing.finish()).await?;
        Ok(TakenIn { store: self.store, workers: self.workers, file, size })
    }

    /// There will be no more of it. Nothing works on it any more when this returns.
    pub(super) async fn give_up(mut self) {
        while self.job.join_next().await.is_some() {}
    }

    async fn hand_over(&mut self) -> Result<(), StoreError> {
        let mut packing = self.packed().await?;
        let batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        let workers = self.workers.clone();
        self.job.spawn(async move { workers.heavy(move || packing.push(batch).map(|()| packing)).await });
        Ok(())
    }

    /// The state, once nothing works on it any more.
    async fn packed(&mut self) -> Result<Packing, StoreError> {
        if let Some(packing) = self.packing.take() {
            return Ok(packing);
        }
        match self.job.join_next().await {
            Some(Ok(packing)) => packing,
            Some(Err(stopped)) if stopped.is_panic() => std::panic::resume_unwind(stopped.into_panic()),
            // An error that was returned before took the state with it.
            _ => Err(StoreError::GivenUp),
        }
    }
}

/// A file whose bytes are stored, and which nothing names yet.
pub(super) struct TakenIn {
    store: Arc<Store>,
    workers: Workers,
    file: ShardFile,
    size: u64,
}

impl TakenIn {
    pub(super) fn hash(&self) -> FileHash {
        self.file.hash
    }

    /// 64 lowercase hexadecimal digits.
    pub(super) fn sha256(&self) -> String {
        let digest = self.file.sha256.unwrap_or_default();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Makes it known by its hash and its SHA-256.
    pub(super) async fn keep(self) -> Result<(), StoreError> {
        let Self { store, workers, file, .. } = self;
        workers.heavy(move || store.put_ingested(&[file]).map(drop)).await
    }
}
