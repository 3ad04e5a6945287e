//! A mirror with a Hub behind it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;

use super::{Place, Source};
use crate::FileHash;
use crate::client::{self, Hub, Secret};
use crate::server::refusal::Refusal;
use crate::server::store::{RepoKey, Store, StoreError};
use crate::server::upstream::Upstream;
use crate::server::workers::Workers;
use crate::server::{Error, config};

mod files;
use files::Files;

mod lookups;
use lookups::Lookups;

/// Commits that are remembered to be read: their files may be asked for by hash. And of a repository's branches and
/// tags, as many are looked at.
const READ_MAX: usize = 64;
/// How often a request is made of the other Hub: whoever waits here asks again too.
const ATTEMPTS: u32 = 3;

pub(super) struct Live {
    upstream: Upstream,
    refresh: Duration,
    lookups: Lookups,
    files: Files,
    /// The commits that were read last, most recent in front.
    read: Mutex<VecDeque<(RepoKey, String)>>,
    /// What goes on although nobody may be waiting for it any more.
    tasks: Mutex<JoinSet<()>>,
}

impl Live {
    pub(super) fn new(mirror: &config::Mirror, store: &Arc<Store>, workers: &Workers) -> Result<Self, Error> {
        let unusable = |error: client::Error| Error::Mirror { reason: error.to_string() };
        let mut config = client::Config::new(&mirror.endpoint).map_err(unusable)?;
        config.token = mirror.token.as_deref().and_then(Secret::new);
        config.network = mirror.network.clone();
        config.retry.attempts = ATTEMPTS;
        config.deadlines = mirror.deadlines;
        let hub = Hub::new(&config).map_err(unusable)?;
        Ok(Self {
            upstream: Upstream { hub, store: Arc::clone(store), workers: workers.clone() },
            refresh: mirror.refresh,
            lookups: Lookups::new(),
            files: Files::new(),
            read: Mutex::default(),
            tasks: Mutex::default(),
        })
    }

    pub(super) fn note(&self, repo: &RepoKey, sha: &str) {
        let mut read = lock(&self.read);
        read.retain(|(r, s)| r != repo || s != sha);
        read.push_front((repo.clone(), sha.to_owned()));
        read.truncate(READ_MAX);
    }

    /// A place of a file in a repository.
    async fn place_of(&self, repo: &RepoKey, file: FileHash) -> Result<Option<Place>, Refusal> {
        let read: Vec<String> =
            lock(&self.read).iter().filter(|(of, _)| of == repo).map(|(_, sha)| sha.clone()).collect();
        let (store, repo) = (Arc::clone(&self.upstream.store), repo.clone());
        let found = self.upstream.workers.disk(move || {
            if !store.file_is_in(&repo, file)? {
                return Ok(None);
            }
            let heads = store.refs(&repo)?.into_iter().map(|(_, sha)| sha).take(READ_MAX);
            for sha in read.into_iter().chain(heads) {
                // One that is read may have been removed since.
                let Ok(commit) = store.commit(&repo, &sha) else { continue };
                let found = commit.files.iter().find(|(_, entry)| entry.content.hash() == Some(file));
                if let Some((path, entry)) = found {
                    let (path, entry) = (path.clone(), entry.clone());
                    return Ok(Some(Place { repo, sha, path, entry }));
                }
            }
            Ok::<_, StoreError>(None)
        });
        Ok(found.await?)
    }

    pub(super) async fn source_of(self: &Arc<Self>, repo: &RepoKey, file: FileHash) -> Result<Option<Source>, Refusal> {
        match self.place_of(repo, file).await? {
            Some(place) => self.source(place).await,
            None => Ok(None),
        }
    }

    pub(super) async fn stop(&self) {
        let mut tasks = std::mem::take(&mut *lock(&self.tasks));
        tasks.shutdown().await;
    }

    pub(super) fn abort(&self) {
        lock(&self.tasks).abort_all();
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = lock(&self.tasks);
        while let Some(ended) = tasks.try_join_next() {
            if let Err(error) = ended
                && error.is_panic()
            {
                tracing::error!(%error, "fetching from the other Hub failed inside the origin");
            }
        }
        tasks.spawn(task);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
