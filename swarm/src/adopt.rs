//! Indexing what other tools put in the Hugging Face cache, so that it can be served and copied from. Files are cut
//! and hashed once, in the background: one at a time, on a thread that yields to everything else.

mod scan;

use std::path::PathBuf;

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use xet_cas::{FileHash, RepoId, RepoType};

use self::scan::Candidate;
use crate::store::{FileRecord, Identity, Index, hash_chunks};
use crate::{Error, plan::TermRun};

/// How far the indexing thread steps back behind other work (nice value): what the user does comes first.
const NICE: i32 = 10;
/// Files that are remembered in one go.
const RECORDS_MAX: usize = 64;

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

/// Indexes the files of a cache that other tools have put there. Nothing in the cache is written.
///
/// # Errors
/// [`Error::Index`] if the index cannot be read or written. A file that cannot be read is passed over.
///
/// # Cancel safety
/// Stops after the file that is being hashed; what was indexed stays.
pub async fn adopt(request: AdoptRequest, index: Index, events: mpsc::Sender<AdoptEvent>) -> Result<Adopted, Error> {
    let (done, result) = oneshot::channel();
    let work = move || {
        // A thread of its own, because what steps back can never step forward again.
        if let Err(error) = rustix::process::setpriority_process(None, NICE) {
            tracing::debug!(%error, "indexing has the priority of everything else");
        }
        if done.send(run(&request, &index, &events)).is_err() {
            tracing::debug!("nobody waits for the index any more");
        }
    };
    std::thread::Builder::new().name("adopt".into()).spawn(work).map_err(Error::internal)?;
    result.await.map_err(Error::internal)?
}

fn run(request: &AdoptRequest, index: &Index, events: &mpsc::Sender<AdoptEvent>) -> Result<Adopted, Error> {
    let candidates = scan::scan(request);
    let files = candidates.len();
    let identities: Vec<Identity> = candidates.iter().map(|candidate| candidate.identity).collect();
    let known = index.unchanged(&identities)?;
    let is_unknown = |candidate: &Candidate| {
        let hash = known.get(&candidate.identity).and_then(|record| record.xet_hash.as_ref()?.parse::<FileHash>().ok());
        hash.is_none_or(|hash| !index.has_leaves(hash))
    };
    let unknown: Vec<Candidate> = candidates.into_iter().filter(is_unknown).collect();
    let unknown_bytes = unknown.iter().map(|candidate| candidate.identity.size).sum();
    let mut is_watched = tell(events, AdoptEvent::Scanned { files, unknown_files: unknown.len(), unknown_bytes });
    let (mut adopted, mut records) = (Adopted::default(), Vec::new());
    for candidate in unknown {
        if !is_watched {
            break;
        }
        let (path, bytes) = (candidate.path.clone(), candidate.identity.size);
        let event = match index_file(candidate, index) {
            Ok(record) => {
                records.push(record);
                adopted.files += 1;
                adopted.bytes += bytes;
                AdoptEvent::Indexed { path, bytes }
            }
            Err(reason) => AdoptEvent::Passed { path, reason },
        };
        if records.len() >= RECORDS_MAX {
            remember(index, &mut records)?;
        }
        is_watched = tell(events, event);
    }
    remember(index, &mut records)?;
    Ok(adopted)
}

/// Hashes a file and keeps its chunk list.
fn index_file(candidate: Candidate, index: &Index) -> Result<FileRecord, String> {
    let Candidate { path, identity, claimed, provenance } = candidate;
    let (leaves, hashed) = hash_chunks(&path).map_err(|error| error.to_string())?;
    if hashed != Some(identity) {
        return Err("it was changed while it was read".into());
    }
    let hash = xet_cas::Leaf::file_hash(&leaves);
    if claimed.is_some_and(|claimed| claimed != hash) {
        return Err("its bytes are not what the listing says".into());
    }
    index.store_leaves(hash, &leaves).map_err(|error| error.to_string())?;
    let (xet_hash, runs) = (Some(hash.to_string()), <std::sync::Arc<[TermRun]>>::default());
    Ok(FileRecord { path, identity, etag: None, xet_hash, xorbs: Vec::new(), runs, provenance })
}

fn remember(index: &Index, records: &mut Vec<FileRecord>) -> Result<(), Error> {
    index.record(records)?;
    let hashes: Vec<FileHash> = records.drain(..).filter_map(|record| record.xet_hash.as_ref()?.parse().ok()).collect();
    index.index_chunks(&hashes)
}

/// False if nobody watches any more, and the work is to end.
fn tell(events: &mpsc::Sender<AdoptEvent>, event: AdoptEvent) -> bool {
    events.blocking_send(event).is_ok()
}
