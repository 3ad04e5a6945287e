//! Pull requests: branches with a number for a name, and what was said when they were opened.

use std::path::PathBuf;
use std::sync::PoisonError;

use serde::{Deserialize, Serialize};

use super::folder::{in_path, read};
use super::{Change, RepoKey, Store, StoreError};
use crate::api::encode_segment;

/// What the names of their branches begin with. No branch of a client's own has such a name.
const PULL_REQUESTS: &str = "refs/pr/";

/// What was said when a pull request was opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct PullRequest {
    pub(in super::super) title: String,
    /// The branch that it is for.
    pub(in super::super) base: String,
    /// When it was opened, seconds since 1970.
    pub(in super::super) unix_seconds: u64,
}

impl Store {
    /// Makes a commit on a new branch beside the one it is for, and returns it and the number of the pull request.
    /// The commit that is named as parent may be any: the branch is not moved.
    pub(in super::super) fn open_pull_request(
        &self,
        repo: &RepoKey,
        mut change: Change,
    ) -> Result<(String, u64), StoreError> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = change.parent.take().unwrap_or_else(|| change.branch.clone());
        let base = match self.resolve(repo, &wanted)? {
            Some(base) if self.head(repo, &change.branch)?.is_some() => base,
            _ => return Err(StoreError::NoSuchBranch { branch: wanted }),
        };
        let number = self.newest_pull_request(repo)? + 1;
        let opened = PullRequest {
            title: change.summary.clone(),
            base: change.branch.clone(),
            unix_seconds: change.unix_seconds,
        };
        let text = serde_json::to_vec(&opened).map_err(|error| StoreError::Commit { reason: error.to_string() })?;
        let branch = format!("{PULL_REQUESTS}{number}");
        // What cannot be committed leaves nothing behind.
        let commit = self.build(repo, base, &branch, change)?;
        self.replace(&self.pull_request_path(repo, number), &text)?;
        self.set_head(repo, &branch, &commit)?;
        Ok((commit, number))
    }

    /// `None`: there is no such pull request.
    pub(in super::super) fn pull_request(
        &self,
        repo: &RepoKey,
        number: u64,
    ) -> Result<Option<PullRequest>, StoreError> {
        let path = self.pull_request_path(repo, number);
        let Some(text) = read(&path)? else { return Ok(None) };
        let corrupt = |error: serde_json::Error| StoreError::Corrupt { path, reason: error.to_string() };
        serde_json::from_slice(&text).map(Some).map_err(corrupt)
    }

    fn pull_request_path(&self, repo: &RepoKey, number: u64) -> PathBuf {
        self.below(&format!("{}/pulls/{number}.json", repo.folder()))
    }

    /// 0 if there is none.
    fn newest_pull_request(&self, repo: &RepoKey) -> Result<u64, StoreError> {
        let folder = self.below(&format!("{}/refs/heads", repo.folder()));
        let prefix = encode_segment(PULL_REQUESTS);
        let mut newest = 0;
        for entry in std::fs::read_dir(&folder).map_err(in_path("list a folder", &folder))? {
            let name = entry.map_err(in_path("list a folder", &folder))?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(&prefix)?.parse().ok());
            newest = newest.max(number.unwrap_or(0));
        }
        Ok(newest)
    }
}
