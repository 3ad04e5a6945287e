//! Pull requests: refs with a number for a name, and what was said about them.

use redb::{ReadableTable as _, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::metadata::{Done, PULLS, decode, encode};
use super::refs::{branch_ref, existing, head_of, put_ref};
use super::repos::number_in;
use super::{Change, RepoKey, Store, StoreError};
use crate::server::store::metadata::COMMITS;

/// What the names of their refs begin with.
const PULL_REQUESTS: &str = "refs/pr/";

/// What was said about a pull request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct PullRequest {
    pub(in super::super) title: String,
    #[serde(default)]
    pub(in super::super) description: String,
    /// The branch that it is for.
    pub(in super::super) base: String,
    /// When it was opened, seconds since 1970.
    pub(in super::super) unix_seconds: u64,
    #[serde(default)]
    pub(in super::super) author: Option<String>,
    #[serde(default)]
    pub(in super::super) status: PullStatus,
    /// The commit that it was merged with.
    #[serde(default)]
    pub(in super::super) merge_commit: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in super::super) enum PullStatus {
    #[default]
    Draft,
    Open,
    Closed,
    Merged,
}

impl Store {
    /// Makes a commit on a new ref beside the branch it is for, and returns it and the number of the pull request.
    /// The commit that is named as parent may be any: the branch is not moved.
    pub(in super::super) fn open_pull_request(
        &self,
        repo: &RepoKey,
        mut change: Change,
    ) -> Result<(String, u64), StoreError> {
        let wanted = change.parent.take();
        self.metadata.write(|transaction| {
            let number = existing(transaction, repo)?;
            let missing = |branch: &str| StoreError::NoSuchBranch { branch: branch.to_owned() };
            let head = head_of(transaction, number, &branch_ref(&change.branch))?;
            let head = head.ok_or_else(|| missing(&change.branch))?;
            let base = match wanted {
                None => head,
                Some(sha) if transaction.open_table(COMMITS)?.get((number, sha.as_str()))?.is_some() => sha,
                Some(branch) => {
                    let named = head_of(transaction, number, &branch_ref(&branch))?;
                    named.ok_or_else(|| missing(&branch))?
                }
            };
            let opened = PullRequest {
                title: change.summary.clone(),
                description: change.description.clone(),
                base: change.branch.clone(),
                unix_seconds: change.unix_seconds,
                author: change.author.clone(),
                status: PullStatus::default(),
                merge_commit: None,
            };
            let newest = newest(transaction, number)?;
            // What cannot be committed leaves nothing behind.
            let commit = self.build(transaction, number, repo, &base, change)?;
            put_pull(transaction, number, newest + 1, &opened)?;
            put_ref(transaction, number, &pull_ref(newest + 1), &commit)?;
            Ok((commit, newest + 1))
        })
    }

    /// `None`: there is no such pull request.
    pub(in super::super) fn pull_request(&self, repo: &RepoKey, pull: u64) -> Result<Option<PullRequest>, StoreError> {
        self.metadata.read(|transaction| {
            let Some(number) = number_in(transaction, repo)? else { return Ok(None) };
            let record = transaction.open_table(PULLS)?.get((number, pull))?.map(|record| decode(record.value()));
            Ok(record.transpose()?)
        })
    }

    /// Pull requests of a repository, newest first: `max` at most, those before number `before`.
    pub(in super::super) fn pull_requests(
        &self,
        repo: &RepoKey,
        before: u64,
        max: usize,
    ) -> Result<Vec<(u64, PullRequest)>, StoreError> {
        self.metadata.read(|transaction| {
            let Some(number) = number_in(transaction, repo)? else { return Ok(Vec::new()) };
            let mut found = Vec::new();
            for entry in transaction.open_table(PULLS)?.range((number, 0)..(number, before))?.rev().take(max) {
                let (key, record) = entry?;
                found.push((key.value().1, decode(record.value())?));
            }
            Ok(found)
        })
    }

    /// Changes what is said about a pull request. False: there is none.
    pub(in super::super) fn update_pull_request(
        &self,
        repo: &RepoKey,
        pull: u64,
        change: impl FnOnce(&mut PullRequest),
    ) -> Result<bool, StoreError> {
        self.metadata.write(|transaction| {
            let number = existing(transaction, repo)?;
            let record = transaction.open_table(PULLS)?.get((number, pull))?.map(|record| decode(record.value()));
            let Some(mut record) = record.transpose()? else { return Ok(false) };
            change(&mut record);
            put_pull(transaction, number, pull, &record)?;
            Ok(true)
        })
    }
}

/// The ref of a pull request.
pub(in super::super) fn pull_ref(pull: u64) -> String {
    format!("{PULL_REQUESTS}{pull}")
}

pub(super) fn put_pull(transaction: &WriteTransaction, number: u64, pull: u64, record: &PullRequest) -> Done<()> {
    transaction.open_table(PULLS)?.insert((number, pull), encode(record)?.as_slice())?;
    Ok(())
}

/// 0 if there is none.
fn newest(transaction: &WriteTransaction, number: u64) -> Done<u64> {
    let pulls = transaction.open_table(PULLS)?;
    let last = pulls.range((number, 0)..(number + 1, 0))?.next_back();
    Ok(last.transpose()?.map_or(0, |(key, _)| key.value().1))
}
