//! Which commit changed each path last.

use std::sync::Arc;

use crate::api::{LastCommitJson, TreeEntryJson, utc};
use crate::server::store::{Commit, Entry, RepoKey, Store, StoreError};

/// Commits that are looked at. What none of them changed is said to come from the oldest of them.
const COMMITS_MAX: usize = 1_000;
/// Files in all the commits that are looked at: they are read whole.
const FILES_READ_MAX: usize = 2_000_000;

/// Fills in the last commit of each entry of a commit, walking back through its history.
pub(super) fn fill(
    store: &Store,
    repo: &RepoKey,
    sha: &str,
    commit: &Arc<Commit>,
    entries: &mut [TreeEntryJson],
) -> Result<(), StoreError> {
    let (mut sha, mut commit) = (sha.to_owned(), Arc::clone(commit));
    let mut undecided: Vec<&mut TreeEntryJson> = entries.iter_mut().collect();
    let mut files_read = 0;
    for looked_at in 1.. {
        if undecided.is_empty() {
            break;
        }
        files_read += commit.files.len();
        let is_oldest = looked_at == COMMITS_MAX || files_read > FILES_READ_MAX;
        let parent = match &commit.parent {
            Some(parent) if !is_oldest => match store.commit(repo, parent) {
                Ok(commit) => Some((parent.clone(), commit)),
                // The history of a repository that was copied from elsewhere ends where the copy began.
                Err(StoreError::NoSuchCommit { .. }) => None,
                Err(error) => return Err(error),
            },
            _ => None,
        };
        let told = LastCommitJson { id: sha.clone(), title: commit.summary.clone(), date: utc(commit.unix_seconds) };
        let earlier = parent.as_ref().map(|(_, parent)| parent);
        undecided = undecided
            .into_iter()
            .filter_map(|entry| match earlier.is_some_and(|earlier| is_same(&commit, earlier, &entry.path)) {
                true => Some(entry),
                false => {
                    entry.last_commit = Some(told.clone());
                    None
                }
            })
            .collect();
        let Some(earlier) = parent else { break };
        (sha, commit) = earlier;
    }
    Ok(())
}

/// Whether a file, or all files of a folder, are the same in two commits.
fn is_same(a: &Commit, b: &Commit, path: &str) -> bool {
    match (a.files.get(path), b.files.get(path)) {
        (Some(a), Some(b)) => a == b,
        (None, None) => {
            let inside = format!("{path}/");
            let within = |commit| files_within(commit, &inside);
            within(a).eq(within(b))
        }
        _ => false,
    }
}

fn files_within<'c>(commit: &'c Commit, inside: &str) -> impl Iterator<Item = (&'c String, &'c Entry)> {
    commit.files.range(inside.to_owned()..).take_while(move |(path, _)| path.starts_with(inside))
}
