//! Merges: a pull request's changes on top of what its branch has become, file by file.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use redb::ReadableTable;

use super::commit::CommitHead;
use super::discussions::{Discussion, Status, What, discussion_of, pull_ref, put_discussion};
use super::metadata::{COMMITS, Done, TREES, decode};
use super::refs::{branch_ref, existing, head_of, put_ref, resolve_in};
use super::repos::number_in;
use super::{Commit, Entry, RepoKey, Store, StoreError};

/// Commits looked through for the one where branch and pull request have parted.
const COMMITS_MAX: usize = 10_000;

/// Conflicts that are told.
const CONFLICTS_MAX: usize = 1_000;

type Files = BTreeMap<String, Entry>;

/// How a pull request is merged.
#[derive(Debug)]
pub(in super::super) struct Merge {
    /// What is said about it in the discussion.
    pub(in super::super) comment: Option<String>,
    pub(in super::super) author: Option<String>,
    pub(in super::super) unix_seconds: u64,
}

impl Store {
    /// Merges a pull request into its branch and returns the commit. `None`: there is no such pull request.
    pub(in super::super) fn merge_pull_request(
        &self,
        repo: &RepoKey,
        pull: u64,
        merge: Merge,
    ) -> Result<Option<String>, StoreError> {
        self.metadata.write(|transaction| {
            let number = existing(transaction, repo)?;
            let Some(mut discussion) = discussion_of(transaction, number, pull)? else { return Ok(None) };
            let Some(base) = discussion.base.clone() else { return Err(refusal("a discussion cannot be merged")) };
            if !discussion.status.is_open() {
                return Err(refusal("the pull request is not open any more"));
            }
            let missing = |branch: &str| StoreError::NoSuchBranch { branch: branch.to_owned() };
            let branch = branch_ref(&base);
            let ours = head_of(transaction, number, &branch)?.ok_or_else(|| missing(&base))?;
            let theirs = head_of(transaction, number, &pull_ref(pull))?.ok_or_else(|| missing(&pull_ref(pull)))?;
            let files = {
                let (commits, trees) = (transaction.open_table(COMMITS)?, transaction.open_table(TREES)?);
                let commit = |sha: &str| self.commit_of(&commits, &trees, number, sha);
                let from = parting(&commits, number, &ours, &theirs)?.ok_or_else(|| refusal(NOTHING_IN_COMMON))?;
                merged(&*commit(&from)?, &*commit(&ours)?, &*commit(&theirs)?)
                    .map_err(|paths| StoreError::Conflicts { paths })?
            };
            let Merge { comment, author, unix_seconds } = merge;
            let commit = Commit {
                parent: Some(ours),
                summary: format!("{} (#{pull})", discussion.title),
                description: String::new(),
                unix_seconds,
                author: author.clone(),
                files,
            };
            commit.check()?;
            let sha = self.put_commit(transaction, number, repo, &commit)?;
            put_ref(transaction, number, &branch, &sha)?;
            if let Some(text) = comment {
                discussion.push(unix_seconds, author.clone(), What::comment(text));
            }
            discussion.status = Status::Merged;
            discussion.merge_commit = Some(sha.clone());
            discussion.push(unix_seconds, author, What::Status(Status::Merged));
            put_discussion(transaction, number, pull, &discussion)?;
            Ok(Some(sha))
        })
    }

    /// Files that a pull request and its branch have changed in different ways.
    pub(in super::super) fn conflicts(
        &self,
        repo: &RepoKey,
        pull: u64,
        discussion: &Discussion,
    ) -> Result<Vec<String>, StoreError> {
        let Some(base) = discussion.base.as_ref().filter(|_| discussion.status.is_open()) else {
            return Ok(Vec::new());
        };
        self.metadata.read(|transaction| {
            let Some(number) = number_in(transaction, repo)? else { return Ok(Vec::new()) };
            let ours = resolve_in(transaction, number, &branch_ref(base))?;
            let theirs = resolve_in(transaction, number, &pull_ref(pull))?;
            let (Some(ours), Some(theirs)) = (ours, theirs) else { return Ok(Vec::new()) };
            let (commits, trees) = (transaction.open_table(COMMITS)?, transaction.open_table(TREES)?);
            let Some(from) = parting(&commits, number, &ours, &theirs)? else { return Ok(Vec::new()) };
            let commit = |sha: &str| self.commit_of(&commits, &trees, number, sha);
            Ok(merged(&*commit(&from)?, &*commit(&ours)?, &*commit(&theirs)?).err().unwrap_or_default())
        })
    }
}

const NOTHING_IN_COMMON: &str = "the pull request and its branch have no commit in common";

fn refusal(reason: &str) -> super::metadata::Failed {
    StoreError::Commit { reason: reason.to_owned() }.into()
}

/// The newest commit that two others have both come from.
fn parting(
    commits: &impl ReadableTable<(u64, &'static str), &'static [u8]>,
    number: u64,
    a: &str,
    b: &str,
) -> Done<Option<String>> {
    let parent = |sha: &str| -> Done<Option<String>> {
        let head = commits.get((number, sha))?.map(|record| decode::<CommitHead>(record.value())).transpose()?;
        Ok(head.and_then(|head| head.parent))
    };
    let (mut of_a, mut next) = (HashSet::new(), Some(a.to_owned()));
    // What was copied from elsewhere may go round in circles.
    while let Some(sha) = next.take().filter(|sha| of_a.len() < COMMITS_MAX && !of_a.contains(sha)) {
        next = parent(&sha)?;
        of_a.insert(sha);
    }
    let mut next = Some(b.to_owned());
    for _ in 0..COMMITS_MAX {
        match next.take() {
            Some(sha) if of_a.contains(&sha) => return Ok(Some(sha)),
            Some(sha) => next = parent(&sha)?,
            None => break,
        }
    }
    Ok(None)
}

/// The files of `ours` with what changed from `from` to `theirs`; or the paths where both have changed something else.
fn merged(from: &Commit, ours: &Commit, theirs: &Commit) -> Result<Files, Vec<String>> {
    let (mut files, mut conflicts) = (ours.files.clone(), Vec::new());
    let paths: BTreeSet<&String> = from.files.keys().chain(theirs.files.keys()).collect();
    for path in paths {
        let (before, wanted, there) = (from.files.get(path), theirs.files.get(path), ours.files.get(path));
        if before == wanted || wanted == there {
            continue;
        }
        match wanted {
            _ if there != before => {
                conflicts.push(path.clone());
                if conflicts.len() == CONFLICTS_MAX {
                    break;
                }
            }
            Some(entry) => {
                files.insert(path.clone(), entry.clone());
            }
            None => {
                files.remove(path);
            }
        }
    }
    if conflicts.is_empty() { Ok(files) } else { Err(conflicts) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(files: &[(&str, u64)]) -> Commit {
        let entry = |size: u64| Entry::regular(format!("{size:040}"), size);
        let files = files.iter().map(|(path, size)| ((*path).to_owned(), entry(*size))).collect();
        Commit { files, ..Commit::default() }
    }

    #[test]
    fn given_changes_on_both_sides_when_merged_then_both_are_there() {
        let from = commit(&[("a", 1), ("b", 1), ("c", 1), ("same", 1)]);
        let ours = commit(&[("a", 2), ("c", 1), ("new", 1), ("same", 2)]);
        let theirs = commit(&[("a", 1), ("b", 1), ("other", 1), ("same", 2)]);

        let expected = commit(&[("a", 2), ("new", 1), ("other", 1), ("same", 2)]).files;
        assert_eq!(Ok(expected), merged(&from, &ours, &theirs));
    }

    #[test]
    fn given_different_changes_of_one_file_when_merged_then_a_conflict() {
        let from = commit(&[("a", 1), ("b", 1), ("c", 1)]);
        let ours = commit(&[("a", 2), ("c", 2), ("d", 2)]);
        let theirs = commit(&[("a", 3), ("b", 3), ("d", 3)]);

        let conflicts = merged(&from, &ours, &theirs).unwrap_err();

        assert_eq!(vec!["a", "b", "c", "d"], conflicts);
    }
}
