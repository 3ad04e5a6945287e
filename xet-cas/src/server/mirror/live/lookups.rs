//! Which commit a revision is at the other Hub: asked once for all who want to know, and not again for a while.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};

use super::super::PATIENCE;
use super::{Live, lock};
use crate::api::error_code;
use crate::client::{self, Error, RepoState};
use crate::server::app::unix_now;
use crate::server::refusal::Refusal;
use crate::server::store::{MAIN, RepoKey, RepoRecord, StoreError, branch_ref, is_sha};
use crate::server::upstream::{commit_of, gated, listed_entry};

/// How long who asks for something that is here waits to hear whether it has changed. `huggingface_hub` waits 10 s.
const KNOWN_PATIENCE: Duration = Duration::from_secs(3);
/// How long a failure is remembered: a Hub that is down is not asked for every request.
const FAILURE_PAUSE: Duration = Duration::from_secs(10);
/// Answers that are remembered.
const ANSWERS_MAX: usize = 4_096;
/// Questions that are open, those included that wait to be asked.
const RUNNING_MAX: usize = 256;
/// Questions that are asked at once.
const AT_ONCE_MAX: usize = 8;

/// A revision of a repository.
type Key = (RepoKey, String);
type Answer = Result<(), Trouble>;

/// Why a revision cannot be had.
#[derive(Debug, Clone)]
enum Trouble {
    RepoNotFound,
    RevisionNotFound,
    NotAllowed(String),
    Unavailable(String),
}

pub(super) struct Lookups {
    state: Mutex<State>,
    places: Semaphore,
}

#[derive(Default)]
struct State {
    answers: HashMap<Key, (Instant, Answer)>,
    running: HashMap<Key, watch::Receiver<Option<Answer>>>,
}

impl Lookups {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), places: Semaphore::new(AT_ONCE_MAX) }
    }
}

impl State {
    /// What was found out lately.
    fn recent(&self, key: &Key, refresh: Duration) -> Option<Answer> {
        let (at, answer) = self.answers.get(key)?;
        is_recent(*at, answer, refresh).then(|| answer.clone())
    }

    fn remember(&mut self, key: Key, answer: Answer, refresh: Duration) {
        if self.answers.len() >= ANSWERS_MAX {
            self.answers.retain(|_, (at, answer)| is_recent(*at, answer, refresh));
        }
        if self.answers.len() >= ANSWERS_MAX {
            self.answers.clear();
        }
        self.answers.insert(key, (Instant::now(), answer));
    }
}

fn is_recent(at: Instant, answer: &Answer, refresh: Duration) -> bool {
    let good = if answer.is_ok() { refresh } else { refresh.min(FAILURE_PAUSE) };
    at.elapsed() < good
}

impl Live {
    pub(in super::super) async fn look_up(self: &Arc<Self>, repo: &RepoKey, revision: &str) -> Result<(), Refusal> {
        let (store, key) = (Arc::clone(&self.upstream.store), (repo.clone(), revision.to_owned()));
        let asked = key.clone();
        let found = self.upstream.workers.disk(move || {
            let (repo, revision) = asked;
            Ok::<_, StoreError>((store.repo(&repo)?, store.resolve(&repo, &revision)?.is_some()))
        });
        let (record, is_here) = found.await?;
        // What was made here stays as it is.
        if record.is_some_and(|record| record.mirrored.is_none()) {
            return Ok(());
        }
        // A commit never changes.
        if is_here && is_sha(revision) {
            return Ok(());
        }
        let answer = match self.recent_or_running(key)? {
            Ok(answer) => answer,
            Err(mut running) => {
                let patience = if is_here { KNOWN_PATIENCE } else { PATIENCE };
                match timeout(patience, running.wait_for(Option::is_some)).await {
                    Ok(Ok(answer)) => answer.clone().unwrap_or(Ok(())),
                    // Whoever asked was stopped.
                    Ok(Err(_)) => Err(Trouble::Unavailable("it was given up".into())),
                    Err(_) if is_here => Ok(()),
                    Err(_) => return Err(Refusal::arriving(super::super::RETRY_AFTER_SECONDS)),
                }
            }
        };
        match answer {
            Err(trouble) if is_here => {
                tracing::debug!(%repo, ?trouble, "what is here is given, without a look at the other Hub");
                Ok(())
            }
            Err(trouble) => Err(trouble.refusal(repo, revision)),
            Ok(()) => Ok(()),
        }
    }

    pub(in super::super) async fn meet(self: &Arc<Self>, repo: &RepoKey, must_know: bool) -> Result<(), Refusal> {
        let (store, key) = (Arc::clone(&self.upstream.store), repo.clone());
        if self.upstream.workers.disk(move || store.repo(&key)).await?.is_some() {
            return Ok(());
        }
        match self.look_up(repo, MAIN).await {
            // It may have other branches.
            Err(refusal) if must_know && refusal.code != error_code::REVISION_NOT_FOUND => Err(refusal),
            _ => Ok(()),
        }
    }

    /// What was found out lately, or the question that is open.
    fn recent_or_running(
        self: &Arc<Self>,
        key: Key,
    ) -> Result<Result<Answer, watch::Receiver<Option<Answer>>>, Refusal> {
        let mut state = lock(&self.lookups.state);
        if let Some(answer) = state.recent(&key, self.refresh) {
            return Ok(Ok(answer));
        }
        if let Some(running) = state.running.get(&key) {
            return Ok(Err(running.clone()));
        }
        if state.running.len() >= RUNNING_MAX {
            return Err(Refusal::busy("too many repositories are being looked up; try again later"));
        }
        let (tell, running) = watch::channel(None);
        state.running.insert(key.clone(), running.clone());
        drop(state);
        let open = Open { live: Arc::clone(self), key, tell };
        self.spawn(open.ask());
        Ok(Err(running))
    }

    /// Asks, and keeps what is new.
    async fn compare(&self, repo: &RepoKey, revision: &str) -> Answer {
        let hub = &self.upstream.hub;
        let state = hub.repo_state(repo.kind, &repo.id, revision).await?;
        if !self.take_state(repo, &state).await? {
            return Ok(());
        }
        if (state.private || state.gated != client::Gated::No) && hub.is_anonymous() {
            return Err(Trouble::NotAllowed(format!(
                "{repo} is private or gated, and this mirror has no token for it"
            )));
        }
        let name = async { if is_sha(revision) { None } else { self.full_name(repo, revision, &state.sha).await } };
        let (kept, name) = tokio::join!(self.keep_commit(repo, &state), name);
        kept?;
        let Some(name) = name else { return Ok(()) };
        let (store, repo) = (Arc::clone(&self.upstream.store), repo.clone());
        Ok(self.upstream.workers.disk(move || store.set_ref(&repo, &name, &state.sha)).await?)
    }

    /// Brings what is known of a repository that is here up to date. False: it is none of the mirror's.
    async fn take_state(&self, repo: &RepoKey, state: &RepoState) -> Result<bool, StoreError> {
        let (store, repo) = (Arc::clone(&self.upstream.store), repo.clone());
        let (private, gated) = (state.private, gated(state.gated));
        let taken = self.upstream.workers.disk(move || match store.repo(&repo)? {
            None => Ok(true),
            Some(record) if record.mirrored.is_none() => Ok(false),
            Some(record) => {
                let now = unix_now();
                let is_same = record.private == private && record.gated == gated && record.mirrored == Some(now);
                if !is_same {
                    store.update_repo(&repo, |record| {
                        (record.private, record.gated, record.mirrored) = (private, gated, Some(now));
                    })?;
                }
                Ok(true)
            }
        });
        taken.await
    }

    /// Keeps the listing of a commit that is not here.
    async fn keep_commit(&self, repo: &RepoKey, state: &RepoState) -> Answer {
        let (hub, workers) = (&self.upstream.hub, &self.upstream.workers);
        let (store, key, sha) = (Arc::clone(&self.upstream.store), repo.clone(), state.sha.clone());
        if workers.disk(move || store.resolve(&key, &sha)).await?.is_some() {
            return Ok(());
        }
        let (kind, id, sha) = (repo.kind, &repo.id, state.sha.clone());
        let commit = client::Commit { repo_type: kind, repo: id.clone(), revision: sha.clone(), sha };
        let (files, history) = tokio::join!(hub.list(&commit), hub.history(kind, id, &state.sha, 2));
        let files = files?.into_iter().map(|file| (file.path.clone(), listed_entry(&file))).collect();
        // It says only who made the commit and when.
        let mut history = history.unwrap_or_default().into_iter();
        let told = history.next().filter(|entry| entry.sha == state.sha);
        let parent = history.next().filter(|_| told.is_some()).map(|entry| entry.sha);
        let commit = commit_of(told, parent, files);
        let now = unix_now();
        let record = RepoRecord {
            private: state.private,
            gated: gated(state.gated),
            created: now,
            modified: now,
            mirrored: Some(now),
            ..RepoRecord::default()
        };
        let (store, repo, sha) = (Arc::clone(&self.upstream.store), repo.clone(), state.sha.clone());
        let kept = workers.heavy(move || {
            store.create_empty_repo(&repo, &record)?;
            // Somebody may have made one of this name in the meantime.
            match store.repo(&repo)?.and_then(|record| record.mirrored) {
                Some(_) => store.follow_commit(&repo, &sha, &commit),
                None => Ok(()),
            }
        });
        Ok(kept.await?)
    }

    /// What a revision is called in full: a branch, or a tag. `None`: it has no such name.
    async fn full_name(&self, repo: &RepoKey, revision: &str, sha: &str) -> Option<String> {
        let branch = branch_ref(revision);
        if branch == revision {
            return Some(branch);
        }
        let (store, key) = (Arc::clone(&self.upstream.store), repo.clone());
        let known = self.upstream.workers.disk(move || store.refs(&key)).await.unwrap_or_default();
        let is_called = |name: &str| name == branch || name.strip_prefix("refs/tags/") == Some(revision);
        if let Some((name, _)) = known.into_iter().find(|(name, _)| is_called(name)) {
            return Some(name);
        }
        match self.upstream.hub.refs(repo.kind, &repo.id).await {
            Ok(refs) => match refs.into_iter().find(|listed| is_called(&listed.full_name)) {
                Some(listed) => Some(listed.full_name),
                // The beginning of a commit's name may do for the other Hub.
                None => (!sha.starts_with(revision)).then_some(branch),
            },
            Err(_) => Some(branch),
        }
    }
}

/// A question that is open. It is over when this is dropped.
struct Open {
    live: Arc<Live>,
    key: Key,
    tell: watch::Sender<Option<Answer>>,
}

impl Open {
    async fn ask(self) {
        let (repo, revision) = &self.key;
        let answer = match self.live.lookups.places.acquire().await {
            Ok(_place) => self.live.compare(repo, revision).await,
            // Nobody closes it.
            Err(_) => Err(Trouble::Unavailable("it was given up".into())),
        };
        if let Err(trouble) = &answer {
            tracing::info!(%repo, revision, ?trouble, "not found at the other Hub");
        }
        lock(&self.live.lookups.state).remember(self.key.clone(), answer.clone(), self.live.refresh);
        self.tell.send_replace(Some(answer));
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        lock(&self.live.lookups.state).running.remove(&self.key);
    }
}

impl Trouble {
    fn refusal(self, repo: &RepoKey, revision: &str) -> Refusal {
        match self {
            Self::RepoNotFound => Refusal::repo_not_found(repo.id.as_str()),
            Self::RevisionNotFound => Refusal::revision_not_found(&repo.id, revision),
            Self::NotAllowed(reason) => Refusal::forbidden(reason),
            Self::Unavailable(reason) => Refusal::upstream(reason),
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        match error {
            Error::RepoNotFound { .. } => Self::RepoNotFound,
            Error::RevisionNotFound { .. } => Self::RevisionNotFound,
            Error::Gated { .. } | Error::Unauthorized { .. } | Error::Forbidden { .. } => {
                Self::NotAllowed(error.to_string())
            }
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "what the other Hub has cannot be kept");
        Self::Unavailable("it cannot be kept here".into())
    }
}
