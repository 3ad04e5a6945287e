//! Repositories: branches and the commits they point to.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use super::folder::read;
use super::{Commit, Operation, Store, StoreError};
use crate::api::encode_segment;
use crate::{GitBlobHasher, RepoId, RepoType};

/// The branch that every repository has.
pub(in super::super) const MAIN: &str = "main";
/// Stands for the owner of a repository without one. No owner can have this name.
const NO_OWNER: &str = "-";
/// Longest file name for a branch, bytes.
const BRANCH_FILE_BYTES_MAX: usize = 240;
/// Digits of a commit's name.
const SHA_DIGITS: usize = 40;

/// Which repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in super::super) struct RepoKey {
    pub(in super::super) kind: RepoType,
    pub(in super::super) id: RepoId,
}

impl RepoKey {
    pub(super) fn folder(&self) -> String {
        format!("repos/{}/{}/{}", self.kind.plural(), self.id.owner().unwrap_or(NO_OWNER), self.id.name())
    }
}

impl fmt::Display for RepoKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.kind.url_prefix(), self.id)
    }
}

/// What one commit is to do.
#[derive(Debug, Clone)]
pub(in super::super) struct Change {
    pub(in super::super) branch: String,
    pub(in super::super) summary: String,
    pub(in super::super) description: String,
    /// If set, the head that the branch must have.
    pub(in super::super) parent: Option<String>,
    pub(in super::super) operations: Vec<Operation>,
    pub(in super::super) unix_seconds: u64,
}

impl Store {
    /// Makes a repository with an empty first commit. False: it exists, and stays as private as it is.
    pub(in super::super) fn create_repo(
        &self,
        repo: &RepoKey,
        is_private: bool,
        unix_seconds: u64,
    ) -> Result<bool, StoreError> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.repo_exists(repo)? {
            return Ok(false);
        }
        if is_private {
            self.write(&self.private_path(repo), b"")?;
        }
        let summary = "initial commit".to_owned();
        let first =
            Commit { parent: None, summary, description: String::new(), unix_seconds, files: Default::default() };
        self.put_commit(repo, MAIN, first)?;
        Ok(true)
    }

    /// Makes a branch that is at this commit. False: it exists.
    pub(in super::super) fn create_branch(&self, repo: &RepoKey, branch: &str, sha: &str) -> Result<bool, StoreError> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.head(repo, branch)?.is_some() {
            return Ok(false);
        }
        self.set_head(repo, branch, sha)?;
        Ok(true)
    }

    /// Whether a repository was made to be private.
    pub(in super::super) fn is_private(&self, repo: &RepoKey) -> bool {
        self.private_path(repo).exists()
    }

    fn private_path(&self, repo: &RepoKey) -> PathBuf {
        self.below(&format!("{}/private", repo.folder()))
    }

    pub(in super::super) fn repo_exists(&self, repo: &RepoKey) -> Result<bool, StoreError> {
        Ok(self.head(repo, MAIN)?.is_some())
    }

    /// The commit that a branch or a commit's full name means.
    pub(in super::super) fn resolve(&self, repo: &RepoKey, revision: &str) -> Result<Option<String>, StoreError> {
        if is_sha(revision) && self.commit_path(repo, revision).exists() {
            return Ok(Some(revision.to_owned()));
        }
        self.head(repo, revision.strip_prefix("refs/heads/").unwrap_or(revision))
    }

    /// The files of a commit that [`resolve`](Self::resolve) returned.
    pub(in super::super) fn commit(&self, repo: &RepoKey, sha: &str) -> Result<Arc<Commit>, StoreError> {
        if let Some(commit) = self.recent.get(repo, sha) {
            return Ok(commit);
        }
        let path = self.commit_path(repo, sha);
        let corrupt = |reason: String| StoreError::Corrupt { path: path.clone(), reason };
        let text = read(&path)?.ok_or_else(|| corrupt("it is missing".into()))?;
        let commit = serde_json::from_slice(&text).map_err(|error| corrupt(error.to_string()))?;
        let commit = Arc::new(commit);
        self.recent.put(repo, sha, &commit);
        Ok(commit)
    }

    /// Moves a branch on by one commit and returns it. A change that changes nothing makes none.
    pub(in super::super) fn change(&self, repo: &RepoKey, change: Change) -> Result<String, StoreError> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let branch = change.branch.clone();
        let Some(head) = self.head(repo, &branch)? else { return Err(StoreError::NoSuchBranch { branch }) };
        if let Some(expected) = change.parent.clone().filter(|expected| *expected != head) {
            return Err(StoreError::ParentMoved { expected, head });
        }
        self.build(repo, head, &branch, change)
    }

    /// Builds the commit that follows on `head` and points a branch to it, if anything changes.
    pub(super) fn build(
        &self,
        repo: &RepoKey,
        head: String,
        branch: &str,
        change: Change,
    ) -> Result<String, StoreError> {
        let Change { summary, description, operations, unix_seconds, .. } = change;
        let before = self.commit(repo, &head)?;
        let files = before.apply(operations)?;
        if files == before.files {
            return Ok(head);
        }
        self.put_commit(repo, branch, Commit { parent: Some(head), summary, description, unix_seconds, files })
    }

    fn put_commit(&self, repo: &RepoKey, branch: &str, commit: Commit) -> Result<String, StoreError> {
        let text = serde_json::to_vec(&commit).map_err(|error| StoreError::Commit { reason: error.to_string() })?;
        // Git hashes other text, but clients only want forty digits that differ whenever anything does. Two repositories
        // with the same content are two: `hf cache rm` finds by the commit what to remove.
        let named = [repo.to_string().as_bytes(), b"\n", &text].concat();
        let sha = GitBlobHasher::of(&named);
        self.write(&self.commit_path(repo, &sha), &text)?;
        self.set_head(repo, branch, &sha)?;
        Ok(sha)
    }

    pub(super) fn set_head(&self, repo: &RepoKey, branch: &str, sha: &str) -> Result<(), StoreError> {
        let path =
            self.branch_path(repo, branch).ok_or_else(|| StoreError::NoSuchBranch { branch: branch.to_owned() })?;
        self.replace(&path, sha.as_bytes())
    }

    pub(super) fn head(&self, repo: &RepoKey, branch: &str) -> Result<Option<String>, StoreError> {
        let Some(path) = self.branch_path(repo, branch) else { return Ok(None) };
        let Some(text) = read(&path)? else { return Ok(None) };
        match String::from_utf8(text) {
            Ok(sha) if is_sha(&sha) => Ok(Some(sha)),
            _ => Err(StoreError::Corrupt { path, reason: "it names no commit".into() }),
        }
    }

    fn commit_path(&self, repo: &RepoKey, sha: &str) -> PathBuf {
        self.below(&format!("{}/commits/{sha}.json", repo.folder()))
    }

    /// A branch is one file whatever its name, so that `a` and `a/b` can both be branches; `None` if nothing can
    /// have this name.
    fn branch_path(&self, repo: &RepoKey, branch: &str) -> Option<PathBuf> {
        let file = encode_segment(branch);
        if file.is_empty() || file.starts_with('.') || file.len() > BRANCH_FILE_BYTES_MAX {
            return None;
        }
        Some(self.below(&format!("{}/refs/heads/{file}", repo.folder())))
    }
}

/// Whether a name is kept for what is no branch of a client's own.
pub(in super::super) fn is_special(branch: &str) -> bool {
    branch.starts_with("refs/")
}

fn is_sha(text: &str) -> bool {
    text.len() == SHA_DIGITS && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
}
