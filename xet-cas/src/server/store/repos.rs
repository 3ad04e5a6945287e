//! Repositories: what they are called, and what they are.

use std::collections::BTreeSet;
use std::fmt;

use redb::{ReadableTable as _, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::metadata::{
    COMMITS, DISCUSSIONS, Done, FORMER_NAMES, HELD, NAMES, NEXT_REPO, REFS, REPOS, TREES, add, decode, encode,
};
use super::refs::{MAIN, put_ref};
use super::{Commit, Store, StoreError};
use crate::{RepoId, RepoType};

/// Which repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in super::super) struct RepoKey {
    pub(in super::super) kind: RepoType,
    pub(in super::super) id: RepoId,
}

impl RepoKey {
    /// As it stands in the database: `models/lab/tiny`.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.kind.plural(), self.id)
    }

    fn of_name(name: &str) -> Option<Self> {
        let (kind, id) = name.split_once('/')?;
        Some(Self { kind: kind.strip_suffix('s')?.parse().ok()?, id: id.parse().ok()? })
    }
}

impl fmt::Display for RepoKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.kind.url_prefix(), self.id)
    }
}

/// What a repository is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(in super::super) struct RepoRecord {
    pub(in super::super) private: bool,
    pub(in super::super) gated: Gated,
    /// Users who may read the files of a gated repository.
    pub(in super::super) readers: BTreeSet<String>,
    /// When it was made, seconds since 1970.
    pub(in super::super) created: u64,
    /// When a ref of it last changed, seconds since 1970.
    pub(in super::super) modified: u64,
    /// It follows one of another Hub, and was last compared with it then, seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in super::super) mirrored: Option<u64>,
}

/// Whether whoever wants to read a repository's files has to be let in first, and by whom.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in super::super) enum Gated {
    #[default]
    No,
    /// Whoever asks.
    Auto,
    /// Whom the owner lets in.
    Manual,
}

/// What became of a new name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Moved {
    Done,
    Missing,
    /// Another repository has the name.
    Taken,
}

impl Store {
    /// Makes a repository with an empty first commit. False: it exists, and stays as it is.
    pub(in super::super) fn create_repo(&self, repo: &RepoKey, record: RepoRecord) -> Result<bool, StoreError> {
        let first = Commit { summary: "initial commit".into(), unix_seconds: record.created, ..Commit::default() };
        self.metadata.write(|transaction| {
            let Some(number) = new_repo(transaction, repo, &record)? else { return Ok(false) };
            let sha = self.put_commit(transaction, number, repo, &first)?;
            put_ref(transaction, number, &format!("refs/heads/{MAIN}"), &sha)?;
            Ok(true)
        })
    }

    /// Makes a repository without a commit, to be filled from elsewhere. False: it exists, and stays as it is.
    #[cfg_attr(not(feature = "client"), allow(dead_code, reason = "for what is copied from another Hub"))]
    pub(in super::super) fn create_empty_repo(&self, repo: &RepoKey, record: &RepoRecord) -> Result<bool, StoreError> {
        self.metadata.write(|transaction| Ok(new_repo(transaction, repo, record)?.is_some()))
    }

    /// What a repository is, under its name or a former one.
    pub(in super::super) fn repo(&self, repo: &RepoKey) -> Result<Option<RepoRecord>, StoreError> {
        self.metadata.read(|transaction| {
            let Some(number) = number_in(transaction, repo)? else { return Ok(None) };
            let record = transaction.open_table(REPOS)?.get(number)?.map(|record| decode(record.value()));
            Ok(record.transpose()?)
        })
    }

    /// The name that a repository has, if `repo` is that name or a former one; else `repo`.
    pub(in super::super) fn current_name(&self, repo: RepoKey) -> Result<RepoKey, StoreError> {
        self.metadata.read(|transaction| {
            if transaction.open_table(NAMES)?.get(repo.name().as_str())?.is_some() {
                return Ok(repo);
            }
            let Some(number) = transaction.open_table(FORMER_NAMES)?.get(repo.name().as_str())? else {
                return Ok(repo);
            };
            for name in transaction.open_table(NAMES)?.iter()? {
                let (name, of) = name?;
                if of.value() == number.value()
                    && let Some(current) = RepoKey::of_name(name.value())
                {
                    return Ok(current);
                }
            }
            Ok(repo)
        })
    }

    /// Changes what a repository is. False: there is none.
    pub(in super::super) fn update_repo(
        &self,
        repo: &RepoKey,
        change: impl FnOnce(&mut RepoRecord),
    ) -> Result<bool, StoreError> {
        self.metadata.write(|transaction| {
            let Some(number) = number_of(transaction, repo)? else { return Ok(false) };
            update(transaction, number, change)?;
            Ok(true)
        })
    }

    /// Forgets a repository. What nothing else names is collected later. False: there is none.
    pub(in super::super) fn delete_repo(&self, repo: &RepoKey) -> Result<bool, StoreError> {
        self.metadata.write(|transaction| {
            // A former name is no name to delete by.
            let Some(number) =
                transaction.open_table(NAMES)?.remove(repo.name().as_str())?.map(|number| number.value())
            else {
                return Ok(false);
            };
            transaction.open_table(FORMER_NAMES)?.retain(|_, of| of != number)?;
            transaction.open_table(REPOS)?.remove(number)?;
            let (first, behind) = ((number, ""), (number + 1, ""));
            transaction.open_table(REFS)?.retain_in(first..behind, |_, _| false)?;
            transaction.open_table(COMMITS)?.retain_in(first..behind, |_, _| false)?;
            transaction.open_table(TREES)?.retain_in(first..behind, |_, _| false)?;
            transaction.open_table(DISCUSSIONS)?.retain_in((number, 0)..(number + 1, 0), |_, _| false)?;
            let least = [0; 32];
            transaction.open_table(HELD)?.retain_in((number, &least)..(number + 1, &least), |_, ()| false)?;
            Ok(true)
        })
    }

    /// Gives a repository another name. The former one leads to it until another repository is given that.
    pub(in super::super) fn move_repo(&self, from: &RepoKey, to: &RepoKey) -> Result<Moved, StoreError> {
        self.metadata.write(|transaction| {
            let mut names = transaction.open_table(NAMES)?;
            let (from, to) = (from.name(), to.name());
            let Some(number) = names.get(from.as_str())?.map(|number| number.value()) else {
                return Ok(Moved::Missing);
            };
            if names.get(to.as_str())?.is_some() {
                return Ok(Moved::Taken);
            }
            names.remove(from.as_str())?;
            names.insert(to.as_str(), number)?;
            let mut former = transaction.open_table(FORMER_NAMES)?;
            former.insert(from.as_str(), number)?;
            former.remove(to.as_str())?;
            Ok(Moved::Done)
        })
    }

    /// Repositories of a kind in the order of their names, those behind `after`.
    pub(in super::super) fn repos(
        &self,
        kind: RepoType,
        after: Option<&RepoId>,
        max: usize,
    ) -> Result<Vec<(RepoId, RepoRecord)>, StoreError> {
        self.metadata.read(|transaction| {
            let records = transaction.open_table(REPOS)?;
            let first = format!("{}/{}", kind.plural(), after.map_or("", RepoId::as_str));
            let mut found = Vec::new();
            for entry in transaction.open_table(NAMES)?.range(first.as_str()..)? {
                let (name, number) = entry?;
                let Some(key) = RepoKey::of_name(name.value()).filter(|key| key.kind == kind) else { break };
                if Some(&key.id) == after {
                    continue;
                }
                if found.len() == max {
                    break;
                }
                if let Some(record) = records.get(number.value())? {
                    found.push((key.id, decode(record.value())?));
                }
            }
            Ok(found)
        })
    }
}

/// Takes a number for a new repository; `None` if there is one of that name.
pub(super) fn new_repo(transaction: &WriteTransaction, repo: &RepoKey, record: &RepoRecord) -> Done<Option<u64>> {
    let mut names = transaction.open_table(NAMES)?;
    let name = repo.name();
    if names.get(name.as_str())?.is_some() {
        return Ok(None);
    }
    let number = add(transaction, NEXT_REPO, 1)?;
    names.insert(name.as_str(), number)?;
    transaction.open_table(FORMER_NAMES)?.remove(name.as_str())?;
    transaction.open_table(REPOS)?.insert(number, encode(record)?.as_slice())?;
    Ok(Some(number))
}

/// Changes the record of a repository that is there.
pub(super) fn update(transaction: &WriteTransaction, number: u64, change: impl FnOnce(&mut RepoRecord)) -> Done<()> {
    let mut repos = transaction.open_table(REPOS)?;
    let mut record: RepoRecord = match repos.get(number)? {
        Some(record) => decode(record.value())?,
        None => RepoRecord::default(),
    };
    change(&mut record);
    repos.insert(number, encode(&record)?.as_slice())?;
    Ok(())
}

/// The number of a repository, under its name or a former one.
pub(super) fn number_of(transaction: &WriteTransaction, repo: &RepoKey) -> Done<Option<u64>> {
    let name = repo.name();
    if let Some(number) = transaction.open_table(NAMES)?.get(name.as_str())? {
        return Ok(Some(number.value()));
    }
    Ok(transaction.open_table(FORMER_NAMES)?.get(name.as_str())?.map(|number| number.value()))
}

/// [`number_of`] for who only looks.
pub(super) fn number_in(transaction: &redb::ReadTransaction, repo: &RepoKey) -> Done<Option<u64>> {
    let name = repo.name();
    if let Some(number) = transaction.open_table(NAMES)?.get(name.as_str())? {
        return Ok(Some(number.value()));
    }
    Ok(transaction.open_table(FORMER_NAMES)?.get(name.as_str())?.map(|number| number.value()))
}
