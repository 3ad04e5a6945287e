//! Fetching from the origin: a fetch entry is streamed from its front, and its chunks are hashed and
//! written as they arrive.
//!
//! Network reads stay on the async threads; decoding, hashing and writing happen batch by batch on a
//! bounded number of worker threads, one batch ahead of the reader at most. So an entry holds two batches
//! of memory whatever its size.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use xet_cas::client::{self, Body, Cas, Commit, ErrorKind, Hub, TreeFile};
use xet_cas::{Error as FormatError, FileHash, Leaf, xorb};

use crate::plan::{Cursor, EntryPlan, Placement};
use crate::store::{EtagHasher, Partial};
use crate::verified::{HashedChunk, VerifiedFile};
use crate::{Error, Event};

/// Serialized bytes that go to a worker at once: some ten chunks, so that handing over costs little.
const BATCH_BYTES: usize = 512 * 1024;

/// Attempts at one entry or file before it is given up. An attempt that brought something new does not
/// count, so a slow link that breaks often still gets there.
const ATTEMPTS_MAX: u32 = 4;
/// How often refused URLs are asked for again for one entry: they may expire once in a long pull, and
/// once more in a very long one.
const URL_RENEWALS_MAX: u32 = 2;

/// What all fetches of a pull share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// One permit a worker thread.
    pub(crate) workers: Arc<Semaphore>,
    /// Bytes received.
    pub(crate) wire_bytes: AtomicU64,
    /// Bytes written into partial files.
    pub(crate) written_bytes: AtomicU64,
    /// Where repeated attempts are told.
    pub(crate) events: mpsc::Sender<Event>,
}

impl Shared {
    async fn tell_retry(&self, what: String, error: &Error) {
        self.tell(Event::Retry { what, reason: error.to_string() }).await;
    }

    /// A watcher that went away does not stop the pull.
    pub(crate) async fn tell(&self, event: Event) {
        if self.events.send(event).await.is_err() {
            tracing::trace!("nobody watches");
        }
    }
}

/// Which chunks of the file an entry brought: index among all chunks of the file, and the chunk.
pub(crate) type PlacedLeaves = Vec<(usize, Leaf)>;

/// Fetches one entry into a partial file, again where that may help.
pub(crate) async fn fetch_entry(
    source: Arc<XetSource>,
    plan: EntryPlan,
    partial: Arc<Partial>,
    shared: Arc<Shared>,
) -> Result<PlacedLeaves, Error> {
    let mut fetch = EntryFetch { progress: Some(Progress::new(&plan)), plan, partial, shared };
    let (mut attempts, mut renewals) = (0, 0);
    loop {
        let mut body = match source.cas.open(&fetch.plan.entry).await {
            Err(client::Error::UrlExpired { .. }) if renewals < URL_RENEWALS_MAX => {
                renewals += 1;
                let newer = source.cas.reconstruct(source.hash, source.bytes).await?;
                fetch.plan.renew_url(&newer).map_err(|error| fetch.malformed(error))?;
                continue;
            }
            opened => opened?,
        };
        let before = fetch.placed_chunks();
        let error = match fetch.attempt(&mut body).await {
            Ok(()) => return Ok(fetch.progress.map(|progress| progress.placed).unwrap_or_default()),
            Err(error) => error,
        };
        attempts = if fetch.placed_chunks() > before { 1 } else { attempts + 1 };
        if attempts >= ATTEMPTS_MAX || !may_help_again(&error) {
            return Err(error);
        }
        fetch.shared.tell_retry(fetch.what(), &error).await;
    }
}

/// Broken connections, and bytes that may have been damaged on the way.
fn may_help_again(error: &Error) -> bool {
    matches!(error.kind(), Some(ErrorKind::Network | ErrorKind::Integrity))
}

/// A file in the CAS.
#[derive(Debug)]
pub(crate) struct XetSource {
    pub(crate) cas: Cas,
    pub(crate) hash: FileHash,
    pub(crate) bytes: u64,
}

struct EntryFetch {
    plan: EntryPlan,
    partial: Arc<Partial>,
    shared: Arc<Shared>,
    /// Taken while a worker has it.
    progress: Option<Progress>,
}

/// A batch of records that a worker is busy with.
type Batch = JoinHandle<(Progress, Result<(), Error>)>;

impl EntryFetch {
    fn placed_chunks(&self) -> usize {
        self.progress.as_ref().map_or(0, |progress| progress.placed_chunks)
    }

    /// One attempt: reads a body to its end. What was placed when it fails stays placed.
    async fn attempt(&mut self, body: &mut Body) -> Result<(), Error> {
        if let Some(progress) = &mut self.progress {
            progress.skip_chunks = progress.placed_chunks;
        }
        let mut batch = None;
        let read = self.read(body, &mut batch).await;
        self.finish(batch).await.and(read)?;
        match &self.progress {
            Some(progress) if progress.cursor.is_complete() => Ok(()),
            _ => Err(self.malformed(FormatError::Reconstruction { reason: "the entry holds too few chunks".into() })),
        }
    }

    async fn read(&mut self, body: &mut Body, batch: &mut Option<Batch>) -> Result<(), Error> {
        let mut received = BytesMut::new();
        loop {
            let piece = body.next().await?;
            if let Some(piece) = &piece {
                self.shared.wire_bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
                received.extend_from_slice(piece);
                if received.len() < BATCH_BYTES {
                    continue;
                }
            }
            let (mut end, _) = xorb::complete_records_bytes(&received).map_err(|error| self.malformed(error))?;
            if piece.is_none() {
                end = received.len();
            }
            if end > 0 {
                self.finish(batch.take()).await?;
                *batch = Some(self.start(received.split_to(end).freeze()).await?);
                body.excuse_pause();
            }
            if piece.is_none() {
                return Ok(());
            }
        }
    }

    /// Hands records to a worker.
    async fn start(&mut self, records: Bytes) -> Result<Batch, Error> {
        let permit = self.shared.workers.clone().acquire_owned().await.map_err(Error::internal)?;
        let mut progress = self.progress.take().ok_or_else(|| Error::internal("two batches of one entry at once"))?;
        let (partial, shared) = (self.partial.clone(), self.shared.clone());
        let what = self.what();
        Ok(tokio::task::spawn_blocking(move || {
            let result = progress.place(&records, &partial, &shared).map_err(|error| match error {
                PlaceError::Format(source) => client::Error::Format { what, source }.into(),
                PlaceError::Disk(error) => error,
            });
            drop(permit);
            (progress, result)
        }))
    }

    /// Waits for the worker and takes the progress back.
    async fn finish(&mut self, batch: Option<Batch>) -> Result<(), Error> {
        let Some(batch) = batch else { return Ok(()) };
        let (progress, result) = batch.await.map_err(Error::internal)?;
        self.progress = Some(progress);
        result
    }

    fn malformed(&self, source: FormatError) -> Error {
        client::Error::Format { what: self.what(), source }.into()
    }

    fn what(&self) -> String {
        let entry = &self.plan.entry;
        format!("chunks {}..{} of xorb {}", entry.chunks.start, entry.chunks.end, entry.xorb)
    }
}

/// How far an entry is.
struct Progress {
    cursor: Cursor,
    placed: PlacedLeaves,
    placed_chunks: usize,
    /// Chunks that an earlier attempt placed and this one passes over undecoded.
    skip_chunks: usize,
    scratch: Vec<u8>,
    placements: Vec<Placement>,
}

enum PlaceError {
    Format(FormatError),
    Disk(Error),
}

impl Progress {
    fn new(plan: &EntryPlan) -> Self {
        Self {
            cursor: plan.cursor(),
            placed: Vec::new(),
            placed_chunks: 0,
            skip_chunks: 0,
            scratch: Vec::new(),
            placements: Vec::new(),
        }
    }

    /// Decodes, hashes and writes complete records.
    fn place(&mut self, records: &[u8], partial: &Partial, shared: &Shared) -> Result<(), PlaceError> {
        for record in xorb::Records::new(records) {
            let record = record.map_err(PlaceError::Format)?;
            if self.skip_chunks > 0 {
                self.skip_chunks -= 1;
                continue;
            }
            // Decoded before it is placed: a chunk that does not decode can be offered again.
            let chunk = HashedChunk::new(record.decode(&mut self.scratch).map_err(PlaceError::Format)?);
            self.placements.clear();
            self.cursor.place(record.header.raw_length, &mut self.placements).map_err(PlaceError::Format)?;
            for placement in &self.placements {
                partial.write_chunk(&chunk, placement.file_offset).map_err(PlaceError::Disk)?;
                self.placed.push((placement.leaf, chunk.leaf()));
            }
            self.placed_chunks += 1;
            let written = u64::from(record.header.raw_length) * self.placements.len() as u64;
            shared.written_bytes.fetch_add(written, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Fetches a file that is stored as a whole, hashing it on the way.
pub(crate) async fn fetch_whole(
    hub: Arc<Hub>,
    commit: Arc<Commit>,
    file: TreeFile,
    folder: PathBuf,
    shared: Arc<Shared>,
) -> Result<VerifiedFile, Error> {
    let mut attempts = 0;
    loop {
        let body = hub.open_file(&commit, &file).await?;
        let error = match attempt_whole(body, &file, &folder, &shared).await {
            Ok(verified) => return Ok(verified),
            Err(error) => error,
        };
        attempts += 1;
        if attempts >= ATTEMPTS_MAX || !may_help_again(&error) {
            return Err(error);
        }
        shared.tell_retry(file.path.clone(), &error).await;
    }
}

async fn attempt_whole(mut body: Body, file: &TreeFile, folder: &Path, shared: &Shared) -> Result<VerifiedFile, Error> {
    let mut partial = Partial::create(folder, file.etag(), file.size)?;
    let mut hasher = EtagHasher::new(file);
    let (mut offset, mut received, mut is_last) = (0, BytesMut::new(), false);
    while !is_last {
        match body.next().await? {
            Some(piece) => {
                shared.wire_bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
                received.extend_from_slice(&piece);
            }
            None => is_last = true,
        }
        if received.len() >= BATCH_BYTES || (is_last && !received.is_empty()) {
            let (data, permit) = (received.split().freeze(), shared.workers.clone().acquire_owned().await);
            let work = move || {
                let written = partial.write(&data, offset);
                hasher.update(&data);
                drop(permit);
                written.map(|()| (partial, hasher, data.len() as u64))
            };
            let length;
            (partial, hasher, length) = tokio::task::spawn_blocking(work).await.map_err(Error::internal)??;
            shared.written_bytes.fetch_add(length, Ordering::Relaxed);
            offset += length;
            body.excuse_pause();
        }
    }
    VerifiedFile::from_digest(partial, &hasher.finish(), file.etag())
        .map_err(|reason| Error::Integrity { path: file.path.clone(), reason })
}
