//! The bytes of files: each is fetched once, for all who want it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::super::{Place, Source};
use super::{Live, lock};
use crate::FileHash;
use crate::client;
use crate::server::ingest::{Arrival, Failure};
use crate::server::refusal::Refusal;
use crate::server::store::{Content, StoreError};
use crate::server::upstream::{CopyError, tree_file};

/// Large files that are fetched at once. Each takes the memory of an entry of a xorb (64 MiB at most) that is being
/// fetched, and of a xorb that is being packed. As many as hf-xet downloads at once, so that none of them waits.
const LARGE_AT_ONCE_MAX: usize = 8;
/// Regular files that are fetched at once.
const REGULAR_AT_ONCE_MAX: usize = 8;
/// Files that are being fetched or wait for it.
const RUNNING_MAX: usize = 1_024;
/// How long a file that could not be had is not tried again.
const FAILURE_PAUSE: Duration = Duration::from_secs(30);
/// Failures that are remembered.
const FAILURES_MAX: usize = 1_024;

/// What a file's bytes are known by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum FileKey {
    Xet(FileHash),
    Sha256(String),
    Git(String),
}

impl FileKey {
    fn of(content: &Content, oid: &str) -> Self {
        match content {
            Content::Regular => Self::Git(oid.to_owned()),
            Content::Lfs { sha256 } => Self::Sha256(sha256.clone()),
            Content::Xet { hash, .. } => Self::Xet(*hash),
        }
    }
}

pub(super) struct Files {
    state: Mutex<State>,
    large: Semaphore,
    regular: Semaphore,
}

#[derive(Default)]
struct State {
    running: HashMap<FileKey, Arc<Arrival>>,
    failed: HashMap<FileKey, (Instant, Failure)>,
}

impl Files {
    pub(super) fn new() -> Self {
        let (large, regular) = (Semaphore::new(LARGE_AT_ONCE_MAX), Semaphore::new(REGULAR_AT_ONCE_MAX));
        Self { state: Mutex::default(), large, regular }
    }
}

impl State {
    fn note_failure(&mut self, key: FileKey, failure: Failure) {
        if self.failed.len() >= FAILURES_MAX {
            self.failed.retain(|_, (at, _)| at.elapsed() < FAILURE_PAUSE);
        }
        if self.failed.len() >= FAILURES_MAX {
            self.failed.clear();
        }
        self.failed.insert(key, (Instant::now(), failure));
    }
}

impl Live {
    pub(in super::super) async fn source(self: &Arc<Self>, place: Place) -> Result<Option<Source>, Refusal> {
        let (store, wanted) = (Arc::clone(&self.upstream.store), place.clone());
        let kept = self.upstream.workers.disk(move || {
            let Place { repo, entry, .. } = wanted;
            let sha256 = match &entry.content {
                Content::Regular => return Ok(store.has_object(&entry.oid)?.then_some(FileHash::ZERO)),
                Content::Xet { hash, .. } if store.file(*hash)?.is_some() => return Ok(Some(*hash)),
                Content::Xet { sha256, .. } | Content::Lfs { sha256 } => sha256,
            };
            // That a file has this SHA-256 may be what somebody says; that it belongs to the repository is what was
            // found when it was fetched.
            match store.file_of_sha256(sha256)? {
                Some(hash) if hash == FileHash::ZERO || store.file_is_in(&repo, hash)? => Ok(Some(hash)),
                _ => Ok::<_, StoreError>(None),
            }
        });
        if let Some(hash) = kept.await? {
            return Ok(Some(Source::Kept(hash)));
        }
        let is_mirrored = {
            let (store, repo) = (Arc::clone(&self.upstream.store), place.repo.clone());
            let record = self.upstream.workers.disk(move || store.repo(&repo)).await?;
            record.is_some_and(|record| record.mirrored.is_some())
        };
        if !is_mirrored {
            return Ok(None);
        }
        self.fetch(place).map(|arrival| Some(Source::Arriving(arrival)))
    }

    fn fetch(self: &Arc<Self>, place: Place) -> Result<Arc<Arrival>, Refusal> {
        let key = FileKey::of(&place.entry.content, &place.entry.oid);
        let mut state = lock(&self.files.state);
        if let Some(arrival) = state.running.get(&key) {
            return Ok(Arc::clone(arrival));
        }
        if let Some((at, failure)) = state.failed.get(&key) {
            if at.elapsed() < FAILURE_PAUSE {
                return Err(Refusal::upstream(failure.to_string()));
            }
            state.failed.remove(&key);
        }
        if state.running.len() >= RUNNING_MAX {
            return Err(Refusal::busy("too many files are being fetched; try again later"));
        }
        let arrival = Arc::new(Arrival::new(place.entry.size));
        state.running.insert(key.clone(), Arc::clone(&arrival));
        drop(state);
        let running = Running { live: Arc::clone(self), key, arrival: Arc::clone(&arrival) };
        self.spawn(running.fetch(place));
        Ok(arrival)
    }

    async fn bring(&self, place: &Place, arrival: &Arc<Arrival>) -> Result<FileHash, CopyError> {
        let Place { repo, sha, path, entry } = place;
        let places = if entry.content == Content::Regular { &self.files.regular } else { &self.files.large };
        let _place = places.acquire().await.map_err(|_| StoreError::GivenUp)?;
        let commit =
            client::Commit { repo_type: repo.kind, repo: repo.id.clone(), revision: sha.clone(), sha: sha.clone() };
        let file = tree_file(path, entry);
        let brought = self.upstream.bring(&commit, &file, Some(arrival), |_| {}).await?;
        if entry.content != Content::Regular && entry.content.hash() != Some(brought.hash) {
            let (store, repo, hash) = (Arc::clone(&self.upstream.store), repo.clone(), brought.hash);
            self.upstream.workers.disk(move || store.hold_file(&repo, hash)).await?;
        }
        tracing::info!(%repo, path, bytes = brought.fetched_bytes, "a file has come from the other Hub");
        Ok(brought.hash)
    }
}

/// A file that is being fetched. When this is dropped it is over.
struct Running {
    live: Arc<Live>,
    key: FileKey,
    arrival: Arc<Arrival>,
}

impl Running {
    async fn fetch(self, place: Place) {
        let brought = self.live.bring(&place, &self.arrival).await.map_err(|error| {
            tracing::info!(repo = %place.repo, path = place.path, %error, "a file cannot be had from the other Hub");
            let ours = matches!(error, CopyError::Store(_));
            Failure::new(if ours { "it cannot be kept here".to_owned() } else { error.to_string() })
        });
        if let Err(failure) = &brought {
            lock(&self.live.files.state).note_failure(self.key.clone(), failure.clone());
        }
        self.arrival.end(brought);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.arrival.end(Err(Failure::new("it was given up")));
        lock(&self.live.files.state).running.remove(&self.key);
    }
}
