//! Commits that were read lately: one listing serves many requests.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::Commit;

/// Commits kept.
const COMMITS_MAX: usize = 64;
/// Files in all of them, about 300 bytes each.
const FILES_MAX: usize = 400_000;

/// The commits that were asked for last, most recent in front. Commits never change.
#[derive(Default)]
pub(super) struct Recent(Mutex<VecDeque<(u64, String, Arc<Commit>)>>);

impl Recent {
    pub(super) fn get(&self, repo: u64, sha: &str) -> Option<Arc<Commit>> {
        let mut commits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = commits.iter().position(|(r, s, _)| *r == repo && s == sha)?;
        let found = commits.remove(at)?;
        let commit = Arc::clone(&found.2);
        commits.push_front(found);
        Some(commit)
    }

    pub(super) fn put(&self, repo: u64, sha: &str, commit: &Arc<Commit>) {
        let mut commits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        commits.retain(|(r, s, _)| *r != repo || s != sha);
        commits.push_front((repo, sha.to_owned(), Arc::clone(commit)));
        while commits.len() > COMMITS_MAX
            || commits.iter().map(|(.., commit)| commit.files.len()).sum::<usize>() > FILES_MAX
        {
            commits.pop_back();
        }
    }
}
