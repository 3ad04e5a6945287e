//! Commits as they are kept, and how one follows from another.

use std::collections::HashSet;
use std::sync::Arc;

use redb::{ReadableTable, WriteTransaction};
use serde::Serialize;

use super::commit::CommitHead;
use super::metadata::{COMMITS, Done, FILES, HELD, OBJECTS, TREES, decode, encode};
use super::refs::{branch_ref, existing, head_of, is_sha, put_ref};
use super::repos::{number_in, update};
use super::{Commit, Content, Entry, Operation, RepoKey, Store, StoreError};
use crate::server::app::unix_now;
use crate::{FileHash, GitBlobHasher};

/// What one commit is to do.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Change {
    /// A branch, or the full name of a ref.
    pub(in super::super) branch: String,
    pub(in super::super) summary: String,
    pub(in super::super) description: String,
    /// If set, the head that the branch must have.
    pub(in super::super) parent: Option<String>,
    pub(in super::super) operations: Vec<Operation>,
    pub(in super::super) unix_seconds: u64,
    pub(in super::super) author: Option<String>,
}

/// Where the files of a commit are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Files {
    Here,
    /// Those that are not here can be fetched.
    Elsewhere,
}

impl Store {
    /// The files of a commit that [`resolve`](Self::resolve) returned.
    pub(in super::super) fn commit(&self, repo: &RepoKey, sha: &str) -> Result<Arc<Commit>, StoreError> {
        self.metadata.read(|transaction| {
            let missing = || StoreError::NoSuchRepo { repo: repo.id.to_string() };
            let number = number_in(transaction, repo)?.ok_or_else(missing)?;
            let (commits, trees) = (transaction.open_table(COMMITS)?, transaction.open_table(TREES)?);
            self.commit_of(&commits, &trees, number, sha)
        })
    }

    pub(super) fn commit_of(
        &self,
        commits: &impl ReadableTable<(u64, &'static str), &'static [u8]>,
        trees: &impl ReadableTable<(u64, &'static str), &'static [u8]>,
        number: u64,
        sha: &str,
    ) -> Done<Arc<Commit>> {
        if let Some(commit) = self.recent.get(number, sha) {
            return Ok(commit);
        }
        let missing = || StoreError::NoSuchCommit { sha: sha.to_owned() };
        let head = commits.get((number, sha))?.ok_or_else(missing)?;
        let tree = trees.get((number, sha))?.ok_or_else(missing)?;
        let commit = Arc::new(Commit::of_parts(decode(head.value())?, decode(tree.value())?));
        self.recent.put(number, sha, &commit);
        Ok(commit)
    }

    /// [`commit`](Self::commit) for who is about to write.
    fn commit_before(&self, transaction: &WriteTransaction, number: u64, sha: &str) -> Done<Arc<Commit>> {
        let (commits, trees) = (transaction.open_table(COMMITS)?, transaction.open_table(TREES)?);
        self.commit_of(&commits, &trees, number, sha)
    }

    /// A commit and those before it, newest first, `max` at most.
    pub(in super::super) fn history(
        &self,
        repo: &RepoKey,
        sha: &str,
        max: usize,
    ) -> Result<Vec<(String, CommitHead)>, StoreError> {
        self.metadata.read(|transaction| {
            let Some(number) = number_in(transaction, repo)? else { return Ok(Vec::new()) };
            let commits = transaction.open_table(COMMITS)?;
            let (mut history, mut next) = (Vec::new(), Some(sha.to_owned()));
            while let Some(sha) = next.take().filter(|_| history.len() < max) {
                // The history of one that was copied from elsewhere may end before its beginning.
                let Some(record) = commits.get((number, sha.as_str()))? else { break };
                let head: CommitHead = decode(record.value())?;
                next.clone_from(&head.parent);
                history.push((sha, head));
            }
            Ok(history)
        })
    }

    /// Moves a branch on by one commit and returns it. A change that changes nothing makes none.
    pub(in super::super) fn change(&self, repo: &RepoKey, change: Change) -> Result<String, StoreError> {
        let name = branch_ref(&change.branch);
        self.metadata.write(|transaction| {
            let number = existing(transaction, repo)?;
            let Some(head) = head_of(transaction, number, &name)? else {
                return Err(StoreError::NoSuchBranch { branch: change.branch }.into());
            };
            if let Some(expected) = change.parent.clone().filter(|expected| *expected != head) {
                return Err(StoreError::ParentMoved { expected, head }.into());
            }
            let sha = self.build(transaction, number, repo, &head, change)?;
            if sha != head {
                put_ref(transaction, number, &name, &sha)?;
            }
            Ok(sha)
        })
    }

    /// Makes one commit without a past of what a branch has, points the branch to it and returns it.
    pub(in super::super) fn squash(
        &self,
        repo: &RepoKey,
        branch: &str,
        summary: String,
        author: Option<String>,
        unix_seconds: u64,
    ) -> Result<String, StoreError> {
        let name = branch_ref(branch);
        self.metadata.write(|transaction| {
            let number = existing(transaction, repo)?;
            let missing = || StoreError::NoSuchBranch { branch: branch.to_owned() };
            let head = head_of(transaction, number, &name)?.ok_or_else(missing)?;
            let files = self.commit_before(transaction, number, &head)?.files.clone();
            let commit = Commit { parent: None, summary, description: String::new(), unix_seconds, author, files };
            let sha = self.put_commit(transaction, number, repo, &commit)?;
            put_ref(transaction, number, &name, &sha)?;
            Ok(sha)
        })
    }

    /// Builds the commit that follows on `head`; `head` itself if nothing changes.
    pub(super) fn build(
        &self,
        transaction: &WriteTransaction,
        number: u64,
        repo: &RepoKey,
        head: &str,
        change: Change,
    ) -> Done<String> {
        let Change { summary, description, operations, unix_seconds, author, .. } = change;
        let before = self.commit_before(transaction, number, head)?;
        let files = before.apply(operations)?;
        if files == before.files {
            return Ok(head.to_owned());
        }
        let commit = Commit { parent: Some(head.to_owned()), summary, description, unix_seconds, author, files };
        self.put_commit(transaction, number, repo, &commit)
    }

    /// Keeps a commit and returns its name.
    pub(super) fn put_commit(
        &self,
        transaction: &WriteTransaction,
        number: u64,
        repo: &RepoKey,
        commit: &Commit,
    ) -> Done<String> {
        #[derive(Serialize)]
        struct Named<'c> {
            repo: String,
            number: u64,
            head: &'c CommitHead,
            files: &'c std::collections::BTreeMap<String, Entry>,
        }
        // Git hashes other text, but clients only want forty digits that differ whenever anything does. Two repositories
        // with the same content are two: `hf cache rm` finds by the commit what to remove.
        let named = Named { repo: repo.to_string(), number, head: &commit.head(0), files: &commit.files };
        let sha = GitBlobHasher::of(&encode(&named)?);
        self.keep_commit(transaction, number, &sha, commit, Files::Here)?;
        Ok(sha)
    }

    /// Keeps a commit under the name that it has elsewhere. Its files must be here.
    #[cfg_attr(not(feature = "client"), allow(dead_code, reason = "for what is copied from another Hub"))]
    pub(in super::super) fn import_commit(&self, repo: &RepoKey, sha: &str, commit: &Commit) -> Result<(), StoreError> {
        self.import(repo, sha, commit, Files::Here)
    }

    /// [`import_commit`](Self::import_commit) of one whose files are fetched when they are needed.
    #[cfg_attr(not(feature = "client"), allow(dead_code, reason = "for who can fetch them"))]
    pub(in super::super) fn follow_commit(&self, repo: &RepoKey, sha: &str, commit: &Commit) -> Result<(), StoreError> {
        self.import(repo, sha, commit, Files::Elsewhere)
    }

    fn import(&self, repo: &RepoKey, sha: &str, commit: &Commit, place: Files) -> Result<(), StoreError> {
        if !is_sha(sha) {
            return Err(StoreError::Commit { reason: "a commit's name has 40 lowercase hexadecimal digits".into() });
        }
        commit.check()?;
        self.metadata.write(|transaction| {
            let number = existing(transaction, repo)?;
            self.keep_commit(transaction, number, sha, commit, place)
        })
    }

    fn keep_commit(
        &self,
        transaction: &WriteTransaction,
        number: u64,
        sha: &str,
        commit: &Commit,
        place: Files,
    ) -> Done<()> {
        let now = unix_now();
        transaction.open_table(COMMITS)?.insert((number, sha), encode(&commit.head(now))?.as_slice())?;
        transaction.open_table(TREES)?.insert((number, sha), encode(&commit.files)?.as_slice())?;
        let known = match &commit.parent {
            Some(parent) => self.commit_before(transaction, number, parent).ok(),
            None => None,
        };
        let known =
            |path: &str, entry: &Entry| known.as_ref().is_some_and(|known| known.files.get(path) == Some(entry));
        let files = transaction.open_table(FILES)?;
        let mut objects = transaction.open_table(OBJECTS)?;
        let mut held = transaction.open_table(HELD)?;
        let mut seen = HashSet::new();
        for (path, entry) in commit.files.iter().filter(|(path, entry)| !known(path, entry)) {
            match &entry.content {
                Content::Regular => {
                    let Some((bytes, used)) = objects.get(entry.oid.as_str())?.map(|object| object.value()) else {
                        if place == Files::Elsewhere {
                            continue;
                        }
                        return Err(StoreError::MissingObject { path: path.clone() }.into());
                    };
                    // What was looked for a moment ago must not be collected now.
                    if used < now {
                        objects.insert(entry.oid.as_str(), (bytes, now))?;
                    }
                }
                Content::Xet { sha256, hash } if seen.insert(*hash) => {
                    if place == Files::Here && *hash != FileHash::ZERO && files.get(hash.as_bytes())?.is_none() {
                        let (path, sha256) = (path.clone(), sha256.clone());
                        return Err(StoreError::UnknownSha256 { path, sha256 }.into());
                    }
                    held.insert((number, hash.as_bytes()), ())?;
                }
                Content::Xet { .. } => {}
                Content::Lfs { .. } if place == Files::Elsewhere => {}
                Content::Lfs { sha256 } => {
                    let (path, sha256) = (path.clone(), sha256.clone());
                    return Err(StoreError::UnknownSha256 { path, sha256 }.into());
                }
            }
        }
        update(transaction, number, |record| record.modified = now)
    }

    /// Says that some commit of a repository has this file, which names it otherwise.
    #[cfg_attr(not(feature = "client"), allow(dead_code, reason = "for who can fetch them"))]
    pub(in super::super) fn hold_file(&self, repo: &RepoKey, file: FileHash) -> Result<(), StoreError> {
        self.metadata.write(|transaction| {
            let number = existing(transaction, repo)?;
            transaction.open_table(HELD)?.insert((number, file.as_bytes()), ())?;
            Ok(())
        })
    }

    /// Whether some commit of a repository has this file.
    pub(in super::super) fn file_is_in(&self, repo: &RepoKey, file: FileHash) -> Result<bool, StoreError> {
        self.metadata.read(|transaction| {
            let Some(number) = number_in(transaction, repo)? else { return Ok(false) };
            Ok(transaction.open_table(HELD)?.get((number, file.as_bytes()))?.is_some())
        })
    }
}
