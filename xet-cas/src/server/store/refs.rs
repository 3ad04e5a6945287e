//! Refs: names of commits that move. Branches are `refs/heads/…`, tags `refs/tags/…`, pull requests `refs/pr/…`.

use redb::{ReadTransaction, ReadableTable as _, WriteTransaction};

use super::discussions::PULL_REQUESTS;
use super::metadata::{COMMITS, Done, REFS};
use super::repos::{number_in, number_of, update};
use super::{RepoKey, Store, StoreError};
use crate::server::app::unix_now;

/// The branch that every repository has.
pub(in super::super) const MAIN: &str = "main";
pub(in super::super) const HEADS: &str = "refs/heads/";
pub(in super::super) const TAGS: &str = "refs/tags/";
/// What every full name begins with. No branch or tag of a client's own has such a name.
const REFS_PREFIX: &str = "refs/";
/// What the names of refs begin with that the Hub makes by itself: a dataset in another format.
const CONVERTED: &str = "refs/convert/";
/// Longest full name, bytes.
const REF_BYTES_MAX: usize = 512;
/// Digits of a commit's name.
const SHA_DIGITS: usize = 40;

impl Store {
    /// Full names of all refs of a repository, and the commits they point to, in order; none if there is no repository.
    pub(in super::super) fn refs(&self, repo: &RepoKey) -> Result<Vec<(String, String)>, StoreError> {
        self.metadata.read(|transaction| {
            let Some(number) = number_in(transaction, repo)? else { return Ok(Vec::new()) };
            let mut refs = Vec::new();
            for entry in transaction.open_table(REFS)?.range((number, "")..(number + 1, ""))? {
                let (name, sha) = entry?;
                refs.push((name.value().1.to_owned(), sha.value().to_owned()));
            }
            Ok(refs)
        })
    }

    /// Makes a ref under its full name. False: it exists, and points to where it did.
    pub(in super::super) fn create_ref(&self, repo: &RepoKey, name: &str, sha: &str) -> Result<bool, StoreError> {
        check_name(name)?;
        self.metadata.write(|transaction| {
            let number = existing(transaction, repo)?;
            if head_of(transaction, number, name)?.is_some() {
                return Ok(false);
            }
            put_ref(transaction, number, name, sha)?;
            Ok(true)
        })
    }

    /// Makes a ref or moves it.
    #[cfg_attr(not(feature = "client"), allow(dead_code, reason = "for what is copied from another Hub"))]
    pub(in super::super) fn set_ref(&self, repo: &RepoKey, name: &str, sha: &str) -> Result<(), StoreError> {
        check_name(name)?;
        self.metadata.write(|transaction| {
            let number = existing(transaction, repo)?;
            put_ref(transaction, number, name, sha)
        })
    }

    /// Forgets a ref. False: there is none.
    pub(in super::super) fn delete_ref(&self, repo: &RepoKey, name: &str) -> Result<bool, StoreError> {
        self.metadata.write(|transaction| {
            let number = existing(transaction, repo)?;
            let was_there = transaction.open_table(REFS)?.remove((number, name))?.is_some();
            if was_there {
                update(transaction, number, |record| record.modified = unix_now())?;
            }
            Ok(was_there)
        })
    }

    /// The commit that a branch, a tag, the full name of a ref or of a commit means.
    pub(in super::super) fn resolve(&self, repo: &RepoKey, revision: &str) -> Result<Option<String>, StoreError> {
        self.metadata.read(|transaction| match number_in(transaction, repo)? {
            Some(number) => resolve_in(transaction, number, revision),
            None => Ok(None),
        })
    }
}

/// [`Store::resolve`] in a repository by its number.
pub(super) fn resolve_in(transaction: &ReadTransaction, number: u64, revision: &str) -> Done<Option<String>> {
    if is_sha(revision) && transaction.open_table(COMMITS)?.get((number, revision))?.is_some() {
        return Ok(Some(revision.to_owned()));
    }
    let refs = transaction.open_table(REFS)?;
    for name in full_names(revision) {
        if let Some(sha) = refs.get((number, name.as_str()))? {
            return Ok(Some(sha.value().to_owned()));
        }
    }
    Ok(None)
}

/// What a revision may mean, the likeliest first.
fn full_names(revision: &str) -> Vec<String> {
    match revision.starts_with(REFS_PREFIX) {
        true => vec![revision.to_owned()],
        false => vec![format!("{HEADS}{revision}"), format!("{TAGS}{revision}")],
    }
}

/// The full name of a branch as clients write it.
pub(in super::super) fn branch_ref(branch: &str) -> String {
    match branch.starts_with(REFS_PREFIX) {
        true => branch.to_owned(),
        false => format!("{HEADS}{branch}"),
    }
}

/// Points a ref of a repository that is there to a commit.
pub(super) fn put_ref(transaction: &WriteTransaction, number: u64, name: &str, sha: &str) -> Done<()> {
    // It may have been collected since it was looked up.
    if transaction.open_table(COMMITS)?.get((number, sha))?.is_none() {
        return Err(StoreError::NoSuchCommit { sha: sha.to_owned() }.into());
    }
    transaction.open_table(REFS)?.insert((number, name), sha)?;
    update(transaction, number, |record| record.modified = unix_now())
}

/// Where a ref points to.
pub(super) fn head_of(transaction: &WriteTransaction, number: u64, name: &str) -> Done<Option<String>> {
    Ok(transaction.open_table(REFS)?.get((number, name))?.map(|sha| sha.value().to_owned()))
}

/// The number of a repository that must be there.
pub(super) fn existing(transaction: &WriteTransaction, repo: &RepoKey) -> Done<u64> {
    Ok(number_of(transaction, repo)?.ok_or_else(|| StoreError::NoSuchRepo { repo: repo.id.to_string() })?)
}

fn check_name(name: &str) -> Result<(), StoreError> {
    let short = [HEADS, TAGS, PULL_REQUESTS, CONVERTED].iter().find_map(|prefix| name.strip_prefix(prefix));
    if name.len() > REF_BYTES_MAX || short.is_none_or(|short| short.is_empty() || short.starts_with('.')) {
        return Err(StoreError::Commit { reason: "this cannot be the name of a branch or tag".into() });
    }
    Ok(())
}

pub(in super::super) fn is_sha(text: &str) -> bool {
    text.len() == SHA_DIGITS && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
}
