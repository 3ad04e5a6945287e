//! Copying a repository of another Hub into a data folder, with the commits that lead to its branches and tags.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::app::unix_now;
use super::store::{Entry, RepoKey, RepoRecord, Store, StoreError, TAGS, branch_ref, is_sha};
use super::upstream::{CopyError, Upstream, commit_of, gated};
use super::workers::Workers;
use super::{Config, Error};
use crate::client::{self, HistoryEntry, Hub, Ref, RepoState, TreeFile};
use crate::{RepoId, RepoType};

/// Where commits begin that nobody asked for otherwise.
const MAIN: &str = "main";

/// What is copied. Start from `default()` and assign.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ImportOptions {
    /// Kind of repository.
    pub repo_type: RepoType,
    /// Branches, tags and commits, each with all commits that lead to it. Default (empty): `main`.
    pub revisions: Vec<String>,
    /// Whether all branches and tags are copied besides. Default: no.
    pub all_refs: bool,
    /// Files that are fetched at once. Default 4; each may take a few times 64 MiB of memory.
    pub files_at_once: usize,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self { repo_type: RepoType::Model, revisions: Vec::new(), all_refs: false, files_at_once: 4 }
    }
}

/// Where an import stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImportEvent {
    /// So many commits lead to what is copied.
    Begun {
        /// All of them.
        commits: u64,
        /// Those that are here already.
        known_commits: u64,
    },
    /// The next commit is looked at.
    Commit {
        /// 40 hexadecimal digits.
        sha: String,
        /// Its files.
        files: u64,
        /// Bytes of those that this import has not seen in an earlier commit.
        bytes: u64,
    },
    /// More of a file has come.
    Fetched {
        /// Bytes.
        bytes: u64,
    },
    /// A file is here, and is what it should be.
    File {
        /// Its path.
        path: String,
        /// Bytes of it.
        bytes: u64,
        /// Whether it was here before.
        is_known: bool,
    },
}

/// What was copied.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Imported {
    /// Commits that came.
    pub commits: u64,
    /// Commits that were here already.
    pub known_commits: u64,
    /// Files that came.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Branches and tags, by their full names, and the commits that they are at.
    pub refs: Vec<(String, String)>,
}

/// Why a repository was not copied. What came by then is not fetched again next time.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The data folder cannot be used.
    #[error(transparent)]
    Data(#[from] Error),
    /// The other Hub does not give what it should.
    #[error(transparent)]
    Upstream(#[from] client::Error),
    /// A file is not what its listing says.
    #[error("{path}: {reason}")]
    Wrong {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The repository here has commits of its own.
    #[error(
        "{repo} has commits here that the other Hub does not have (`{name}` is at {sha}); import under another name"
    )]
    Diverged {
        /// Its name.
        repo: String,
        /// A branch or tag.
        name: String,
        /// Where it is here.
        sha: String,
    },
    /// What came cannot be kept.
    #[error("what was fetched cannot be kept: {reason}")]
    Store {
        /// Why.
        reason: String,
    },
}

impl From<StoreError> for ImportError {
    fn from(error: StoreError) -> Self {
        Self::Store { reason: error.to_string() }
    }
}

impl From<CopyError> for ImportError {
    fn from(error: CopyError) -> Self {
        match error {
            CopyError::Upstream(error) => Self::Upstream(error),
            CopyError::Store(error) => error.into(),
            CopyError::Wrong { path, reason } => Self::Wrong { path, reason },
        }
    }
}

/// Copies a repository into the data folder of an origin that does not run.
///
/// Every file is checked before a commit that names it is visible, commits keep their names, and branches and tags are
/// set when everything is there. What is here already (files by their hashes, commits by their names) is not fetched
/// again, so an import that was stopped goes on where it was, and a later one brings what is new.
///
/// # Errors
/// [`ImportError`] says whose fault it is.
///
/// # Cancel safety
/// What came so far stays, and is not fetched again. Branches and tags are as they were before.
pub async fn import(
    config: &Config,
    hub: &Hub,
    repo: &RepoId,
    options: &ImportOptions,
    on_event: impl Fn(ImportEvent),
) -> Result<Imported, ImportError> {
    let settings = config.clone();
    let opened = tokio::task::spawn_blocking(move || Store::open(&settings)).await;
    let store = opened.map_err(|stopped| Error::Data { path: config.data.clone(), source: stopped.into() })??;
    let upstream = Upstream { hub: hub.clone(), store: Arc::new(store), workers: Workers::new() };
    let key = RepoKey { kind: options.repo_type, id: repo.clone() };
    let workers = upstream.workers.clone();
    let imported = Import { upstream, repo: key, options, on_event: &on_event }.run().await;
    // What was begun may still be at work on a thread, and the folder is in use until it is done.
    workers.idle().await;
    imported
}

struct Import<'a, E> {
    upstream: Upstream,
    repo: RepoKey,
    options: &'a ImportOptions,
    on_event: &'a E,
}

/// One revision and how it came about.
struct Chain {
    /// Its full name.
    name: String,
    /// Newest first.
    commits: Vec<HistoryEntry>,
}

impl<E: Fn(ImportEvent)> Import<'_, E> {
    async fn run(self) -> Result<Imported, ImportError> {
        let (state, chains) = self.chains().await?;
        self.check_refs(&chains).await?;
        let known = self.known(&chains).await?;
        let all: HashSet<&str> =
            chains.iter().flat_map(|chain| &chain.commits).map(|commit| commit.sha.as_str()).collect();
        let mut imported = Imported { known_commits: known.len() as u64, ..Imported::default() };
        (self.on_event)(ImportEvent::Begun { commits: all.len() as u64, known_commits: imported.known_commits });
        let (mut done, mut seen) = (known, HashMap::new());
        for chain in &chains {
            for (at, told) in chain.commits.iter().enumerate().rev() {
                if !done.insert(told.sha.clone()) {
                    continue;
                }
                let parent = chain.commits.get(at + 1).map(|parent| parent.sha.clone());
                self.commit(&state, told, parent, &mut seen, &mut imported).await?;
                imported.commits += 1;
            }
        }
        for chain in chains {
            let Chain { name, commits } = chain;
            let Some(HistoryEntry { sha, .. }) = commits.into_iter().next() else { continue };
            imported.refs.push((name.clone(), sha.clone()));
            let (store, repo) = (self.store(), self.repo.clone());
            self.upstream.workers.disk(move || store.set_ref(&repo, &name, &sha)).await?;
        }
        Ok(imported)
    }

    fn store(&self) -> Arc<Store> {
        Arc::clone(&self.upstream.store)
    }

    /// What is to be copied, and what the repository is.
    async fn chains(&self) -> Result<(RepoState, Vec<Chain>), ImportError> {
        let (hub, RepoKey { kind, id }) = (&self.upstream.hub, &self.repo);
        let refs = match hub.refs(*kind, id).await {
            // One that does not tell may have the revision all the same.
            Err(client::Error::NotFound { .. }) if !self.options.all_refs => Vec::new(),
            refs => refs?,
        };
        let mut wanted: Vec<String> = self.options.revisions.clone();
        if self.options.all_refs {
            wanted.extend(refs.iter().map(|listed| listed.full_name.clone()));
        } else if wanted.is_empty() {
            wanted.push(MAIN.to_owned());
        }
        let (mut chains, mut names, mut first) = (Vec::new(), HashSet::new(), None);
        for revision in wanted {
            let name = full_name(&refs, &revision);
            if !names.insert(name.clone()) {
                continue;
            }
            let state = hub.repo_state(*kind, id, &revision).await?;
            // By the commit, so that it is this one's history even if the branch moves meanwhile.
            let commits = hub.history(*kind, id, &state.sha, usize::MAX).await?;
            if commits.first().is_none_or(|head| head.sha != state.sha) {
                let reason = format!("the history of {} does not begin with it", state.sha);
                return Err(client::Error::Listing { repo: id.to_string(), reason }.into());
            }
            first.get_or_insert(state);
            chains.push(Chain { name, commits });
        }
        match first {
            Some(state) => Ok((state, chains)),
            None => Err(client::Error::RevisionNotFound { repo: id.to_string(), revision: MAIN.to_owned() }.into()),
        }
    }

    /// A branch that has commits of its own here is not moved away from them.
    async fn check_refs(&self, chains: &[Chain]) -> Result<(), ImportError> {
        let (store, repo) = (self.store(), self.repo.clone());
        let found = self.upstream.workers.disk(move || Ok::<_, StoreError>((store.repo(&repo)?, store.refs(&repo)?)));
        let (record, refs) = found.await?;
        if record.is_none_or(|record| record.mirrored.is_some()) {
            return Ok(());
        }
        for (name, sha) in refs {
            let chain = chains.iter().find(|chain| chain.name == name);
            if chain.is_some_and(|chain| !chain.commits.iter().any(|commit| commit.sha == sha)) {
                return Err(ImportError::Diverged { repo: self.repo.to_string(), name, sha });
            }
        }
        Ok(())
    }

    /// Commits that are here.
    async fn known(&self, chains: &[Chain]) -> Result<HashSet<String>, ImportError> {
        let (store, repo) = (self.store(), self.repo.clone());
        let all: Vec<String> =
            chains.iter().flat_map(|chain| &chain.commits).map(|commit| commit.sha.clone()).collect();
        let is_mirrored = {
            let (store, repo) = (self.store(), self.repo.clone());
            let record = self.upstream.workers.disk(move || store.repo(&repo)).await?;
            record.is_some_and(|record| record.mirrored.is_some())
        };
        if is_mirrored {
            // Of these the files may be elsewhere.
            return Ok(HashSet::new());
        }
        let known = self.upstream.workers.heavy(move || {
            let mut known = HashSet::new();
            for sha in all {
                if store.resolve(&repo, &sha)?.is_some() {
                    known.insert(sha);
                }
            }
            Ok::<_, StoreError>(known)
        });
        Ok(known.await?)
    }

    /// Brings a commit with all of its files. `seen` are those of this import, by what they are known by.
    async fn commit(
        &self,
        state: &RepoState,
        told: &HistoryEntry,
        parent: Option<String>,
        seen: &mut HashMap<String, Entry>,
        imported: &mut Imported,
    ) -> Result<(), ImportError> {
        let RepoKey { kind, id } = &self.repo;
        let sha = told.sha.clone();
        let commit = client::Commit { repo_type: *kind, repo: id.clone(), revision: sha.clone(), sha: sha.clone() };
        let files = self.upstream.hub.list(&commit).await?;
        let unseen: HashMap<&str, &TreeFile> =
            files.iter().filter(|file| !seen.contains_key(file.etag())).map(|file| (file.etag(), file)).collect();
        let bytes = unseen.values().map(|file| file.size).sum();
        (self.on_event)(ImportEvent::Commit { sha: sha.clone(), files: files.len() as u64, bytes });
        let at_once = self.options.files_at_once.max(1);
        let brought = stream::iter(unseen.into_values().map(|file| self.file(&commit, file))).buffer_unordered(at_once);
        for (etag, entry, fetched_bytes) in brought.try_collect::<Vec<_>>().await? {
            seen.insert(etag, entry);
            if let Some(bytes) = fetched_bytes {
                imported.files += 1;
                imported.bytes += bytes;
            }
        }
        let entries = files.iter().filter_map(|file| Some((file.path.clone(), seen.get(file.etag())?.clone())));
        let commit = commit_of(Some(told.clone()), parent, entries.collect());
        let now = unix_now();
        let record = RepoRecord {
            private: state.private,
            gated: gated(state.gated),
            created: now,
            modified: now,
            ..RepoRecord::default()
        };
        let (store, repo) = (self.store(), self.repo.clone());
        let kept = self.upstream.workers.heavy(move || {
            store.create_empty_repo(&repo, &record)?;
            store.import_commit(&repo, &sha, &commit)
        });
        Ok(kept.await?)
    }

    async fn file(
        &self,
        commit: &client::Commit,
        file: &TreeFile,
    ) -> Result<(String, Entry, Option<u64>), ImportError> {
        let on_bytes = |bytes| (self.on_event)(ImportEvent::Fetched { bytes });
        let brought = self.upstream.bring(commit, file, None, on_bytes).await?;
        let is_known = brought.fetched_bytes == 0 && file.size > 0;
        (self.on_event)(ImportEvent::File { path: file.path.clone(), bytes: file.size, is_known });
        Ok((file.etag().to_owned(), brought.entry, (!is_known).then_some(brought.fetched_bytes)))
    }
}

/// What a revision is called in full. A commit that is asked for by its name becomes a tag, so that it stays.
fn full_name(refs: &[Ref], revision: &str) -> String {
    let is_called = |listed: &&Ref| listed.full_name == revision || listed.revision() == revision;
    match refs.iter().find(is_called) {
        Some(listed) => listed.full_name.clone(),
        None if is_sha(revision) => format!("{TAGS}{revision}"),
        None => branch_ref(revision),
    }
}
