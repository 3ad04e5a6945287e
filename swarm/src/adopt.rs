//! Indexing what other tools put in the Hugging Face cache, so that it can be served and copied from. Files are cut
//! and hashed once, in the background: one at a time, on a thread that yields to everything else.

mod scan;
mod terms;

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::mpsc;
use xet_cas::client::Hub;
use xet_cas::{FileHash, Leaf, RepoId, RepoType};

use self::scan::Candidate;
use self::terms::Terms;
use crate::Error;
use crate::store::{FileRecord, Identity, Index, hash_chunks};

/// How far the indexing thread steps back behind other work (nice value): what the user does comes first.
const NICE: i32 = 10;
/// Files that are remembered in one go.
const RECORDS_MAX: usize = 64;

/// Files that are hashed and wait to be remembered.
const HASHED_WAITING_MAX: usize = 4;

/// What to index.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AdoptRequest {
    /// The cache (`HF_HUB_CACHE`).
    pub cache: PathBuf,
    /// Base URL of the Hub that its content is taken to be from. Whether it is, is proved before anything is served.
    pub endpoint: String,
    /// Only these repositories; empty: all.
    pub repos: Vec<(RepoType, RepoId)>,
}

impl AdoptRequest {
    /// All repositories of a cache.
    pub fn new(cache: impl Into<PathBuf>, endpoint: impl Into<String>) -> Self {
        Self { cache: cache.into(), endpoint: endpoint.into(), repos: Vec::new() }
    }
}

/// Something that happened while a cache was indexed. As JSON: an object with the variant's name in `event`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum AdoptEvent {
    /// The cache was looked through.
    Scanned {
        /// Large files in snapshots, each content once.
        files: usize,
        /// Files of which nothing is known yet.
        unknown_files: usize,
        /// Their bytes.
        unknown_bytes: u64,
    },
    /// A file can be found from now on.
    Indexed {
        /// Where it is.
        path: PathBuf,
        /// Its length.
        bytes: u64,
    },
    /// A file was passed over.
    Passed {
        /// Where it is.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Adopted {
    /// Files that can be found now and could not before.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// Indexes the files of a cache that other tools have put there. Nothing in the cache is written. With a `hub`, the CAS
/// is asked what the files are made of, so that later pulls can copy from them.
///
/// # Errors
/// [`Error::Index`] if the index cannot be read or written. A file that cannot be read is passed over.
///
/// # Cancel safety
/// Stops after the file that is being hashed; what was indexed stays.
pub async fn adopt(
    request: AdoptRequest,
    hub: Option<Arc<Hub>>,
    index: Index,
    events: mpsc::Sender<AdoptEvent>,
) -> Result<Adopted, Error> {
    let (steps, mut hashed) = mpsc::channel(HASHED_WAITING_MAX);
    let thread_index = index.clone();
    let work = move || {
        // A thread of its own, because what steps back can never step forward again.
        if let Err(error) = rustix::process::setpriority_process(None, NICE) {
            tracing::debug!(%error, "indexing has the priority of everything else");
        }
        hash_unknown(&request, &thread_index, &steps);
    };
    std::thread::Builder::new().name("adopt".into()).spawn(work).map_err(Error::internal)?;

    let (mut adopted, mut records) = (Adopted::default(), Vec::new());
    let mut terms = Terms::new(hub);
    while let Some(step) = hashed.recv().await {
        let event = match step {
            Step::Scanned(scanned) => scanned?,
            Step::Passed(path, reason) => AdoptEvent::Passed { path, reason },
            Step::Hashed(mut record, leaves) => {
                terms.learn(&mut record, &leaves).await;
                let (path, bytes) = (record.path.clone(), record.identity.size);
                adopted.files += 1;
                adopted.bytes += bytes;
                records.push(*record);
                AdoptEvent::Indexed { path, bytes }
            }
        };
        if records.len() >= RECORDS_MAX || hashed.is_empty() {
            remember(&index, std::mem::take(&mut records)).await?;
        }
        if events.send(event).await.is_err() {
            tracing::trace!("nobody watches");
        }
    }
    remember(&index, records).await?;
    Ok(adopted)
}

/// What the hashing thread has to say.
enum Step {
    Scanned(Result<AdoptEvent, Error>),
    Hashed(Box<FileRecord>, Vec<Leaf>),
    Passed(PathBuf, String),
}

/// Hashes what nothing is known of, until all is done or nobody wants it any more.
fn hash_unknown(request: &AdoptRequest, index: &Index, steps: &mpsc::Sender<Step>) {
    let candidates = scan::scan(request);
    let files = candidates.len();
    let identities: Vec<Identity> = candidates.iter().map(|candidate| candidate.identity).collect();
    let known = match index.unchanged(&identities) {
        Ok(known) => known,
        Err(error) => return drop(steps.blocking_send(Step::Scanned(Err(error)))),
    };
    let is_unknown = |candidate: &Candidate| {
        let hash = known.get(&candidate.identity).and_then(|record| record.xet_hash.as_ref()?.parse::<FileHash>().ok());
        hash.is_none_or(|hash| !index.has_leaves(hash))
    };
    let unknown: Vec<Candidate> = candidates.into_iter().filter(is_unknown).collect();
    let unknown_bytes = unknown.iter().map(|candidate| candidate.identity.size).sum();
    let scanned = AdoptEvent::Scanned { files, unknown_files: unknown.len(), unknown_bytes };
    let mut is_wanted = steps.blocking_send(Step::Scanned(Ok(scanned))).is_ok();
    for candidate in unknown {
        if !is_wanted {
            return;
        }
        let path = candidate.path.clone();
        let step = match hash_file(candidate, index) {
            Ok((record, leaves)) => Step::Hashed(Box::new(record), leaves),
            Err(reason) => Step::Passed(path, reason),
        };
        is_wanted = steps.blocking_send(step).is_ok();
    }
}

/// Hashes a file and keeps its chunk list.
fn hash_file(candidate: Candidate, index: &Index) -> Result<(FileRecord, Vec<Leaf>), String> {
    let Candidate { path, identity, claimed, provenance } = candidate;
    let (leaves, hashed) = hash_chunks(&path).map_err(|error| error.to_string())?;
    if hashed != Some(identity) {
        return Err("it was changed while it was read".into());
    }
    let hash = Leaf::file_hash(&leaves);
    if claimed.is_some_and(|claimed| claimed != hash) {
        return Err("its bytes are not what the listing says".into());
    }
    index.store_leaves(hash, &leaves).map_err(|error| error.to_string())?;
    let (xet_hash, runs) = (Some(hash.to_string()), Arc::default());
    let record = FileRecord { path, identity, etag: None, xet_hash, xorbs: Vec::new(), runs, provenance };
    Ok((record, leaves))
}

async fn remember(index: &Index, records: Vec<FileRecord>) -> Result<(), Error> {
    if records.is_empty() {
        return Ok(());
    }
    let index = index.clone();
    let work = move || {
        index.record(&records)?;
        let hash = |record: &FileRecord| record.xet_hash.as_ref()?.parse().ok();
        index.index_chunks(&records.iter().filter_map(hash).collect::<Vec<FileHash>>())
    };
    tokio::task::spawn_blocking(work).await.map_err(Error::internal)?
}
