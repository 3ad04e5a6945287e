//! Discussions: numbers under which people talk. Some are pull requests: each has a ref, and a branch that it is for.

use redb::{ReadableTable as _, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::metadata::{COMMITS, DISCUSSIONS, Done, decode, encode};
use super::refs::{branch_ref, existing, head_of, put_ref};
use super::repos::number_in;
use super::{Change, RepoKey, Store, StoreError};

/// What the names of the refs of pull requests begin with.
pub(in super::super) const PULL_REQUESTS: &str = "refs/pr/";
/// Texts of one discussion, bytes: it is read and written whole.
const TEXTS_BYTES_MAX: usize = 1024 * 1024;
/// What happened in one discussion.
const EVENTS_MAX: usize = 5_000;
/// Discussions of one repository: a list of them reads them all.
const DISCUSSIONS_MAX: u64 = 20_000;

/// What was said and done under one number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Discussion {
    pub(in super::super) title: String,
    /// The branch that a pull request is for; `None`: it is none.
    #[serde(default)]
    pub(in super::super) base: Option<String>,
    /// When it was opened, seconds since 1970.
    pub(in super::super) unix_seconds: u64,
    #[serde(default)]
    pub(in super::super) author: Option<String>,
    #[serde(default)]
    pub(in super::super) status: Status,
    /// The commit that it was merged with.
    #[serde(default)]
    pub(in super::super) merge_commit: Option<String>,
    #[serde(default)]
    pub(in super::super) events: Vec<Event>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in super::super) enum Status {
    #[default]
    Draft,
    Open,
    Closed,
    Merged,
}

impl Status {
    /// Whether there is still something to do.
    pub(in super::super) fn is_open(self) -> bool {
        matches!(self, Self::Draft | Self::Open)
    }
}

/// Something that happened in a discussion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Event {
    /// When, seconds since 1970.
    pub(in super::super) unix_seconds: u64,
    pub(in super::super) author: Option<String>,
    pub(in super::super) what: What,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in super::super) enum What {
    Comment {
        text: String,
        /// When its text was last replaced, seconds since 1970.
        edited: Option<u64>,
        is_hidden: bool,
    },
    Status(Status),
    Title {
        from: String,
        to: String,
    },
}

impl What {
    pub(in super::super) fn comment(text: String) -> Self {
        Self::Comment { text, edited: None, is_hidden: false }
    }
}

impl Discussion {
    pub(in super::super) fn new(title: String, author: Option<String>, unix_seconds: u64, status: Status) -> Self {
        Self { title, base: None, unix_seconds, author, status, merge_commit: None, events: Vec::new() }
    }

    /// Adds what happened.
    pub(in super::super) fn push(&mut self, unix_seconds: u64, author: Option<String>, what: What) {
        self.events.push(Event { unix_seconds, author, what });
    }

    fn check(&self) -> Result<(), StoreError> {
        let text = |event: &Event| match &event.what {
            What::Comment { text, .. } => text.len(),
            What::Title { from, to } => from.len() + to.len(),
            What::Status(_) => 0,
        };
        let bytes = self.title.len() + self.events.iter().map(text).sum::<usize>();
        if bytes > TEXTS_BYTES_MAX || self.events.len() > EVENTS_MAX {
            let reason = format!("a discussion has at most {TEXTS_BYTES_MAX} bytes of text and {EVENTS_MAX} events");
            return Err(StoreError::Commit { reason });
        }
        Ok(())
    }
}

impl Store {
    /// Makes a commit on a new ref beside the branch it is for, and returns it and the number of the pull request.
    /// The commit that is named as parent may be any: the branch is not moved. Without anything to commit it is a draft.
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
            let status = if change.operations.is_empty() { Status::Draft } else { Status::Open };
            let mut opened =
                Discussion::new(change.summary.clone(), change.author.clone(), change.unix_seconds, status);
            opened.base = Some(change.branch.clone());
            if !change.description.is_empty() {
                let text = What::comment(change.description.clone());
                opened.push(change.unix_seconds, change.author.clone(), text);
            }
            let next = next(transaction, number)?;
            // What cannot be committed leaves nothing behind.
            let commit = self.build(transaction, number, repo, &base, change)?;
            put_discussion(transaction, number, next, &opened)?;
            put_ref(transaction, number, &pull_ref(next), &commit)?;
            Ok((commit, next))
        })
    }

    /// Opens a discussion that is no pull request, and returns its number.
    pub(in super::super) fn open_discussion(&self, repo: &RepoKey, discussion: &Discussion) -> Result<u64, StoreError> {
        self.metadata.write(|transaction| {
            let number = existing(transaction, repo)?;
            let next = next(transaction, number)?;
            put_discussion(transaction, number, next, discussion)?;
            Ok(next)
        })
    }

    /// `None`: there is nothing under this number.
    pub(in super::super) fn discussion(&self, repo: &RepoKey, at: u64) -> Result<Option<Discussion>, StoreError> {
        self.metadata.read(|transaction| {
            let Some(number) = number_in(transaction, repo)? else { return Ok(None) };
            let record = transaction.open_table(DISCUSSIONS)?.get((number, at))?.map(|record| decode(record.value()));
            Ok(record.transpose()?)
        })
    }

    /// Discussions of a repository, newest first: `max` at most, those before number `before`.
    pub(in super::super) fn discussions(
        &self,
        repo: &RepoKey,
        before: u64,
        max: usize,
    ) -> Result<Vec<(u64, Discussion)>, StoreError> {
        self.metadata.read(|transaction| {
            let Some(number) = number_in(transaction, repo)? else { return Ok(Vec::new()) };
            let mut found = Vec::new();
            for entry in transaction.open_table(DISCUSSIONS)?.range((number, 0)..(number, before))?.rev().take(max) {
                let (key, record) = entry?;
                found.push((key.value().1, decode(record.value())?));
            }
            Ok(found)
        })
    }

    /// Changes a discussion, unless the change refuses. `None`: there is nothing under this number.
    pub(in super::super) fn update_discussion<T>(
        &self,
        repo: &RepoKey,
        at: u64,
        change: impl FnOnce(&mut Discussion) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        self.metadata.write(|transaction| {
            let number = existing(transaction, repo)?;
            let Some(mut discussion) = discussion_of(transaction, number, at)? else { return Ok(None) };
            let changed = change(&mut discussion)?;
            put_discussion(transaction, number, at, &discussion)?;
            Ok(Some(changed))
        })
    }
}

/// The ref of a pull request.
pub(in super::super) fn pull_ref(pull: u64) -> String {
    format!("{PULL_REQUESTS}{pull}")
}

pub(super) fn discussion_of(transaction: &WriteTransaction, number: u64, at: u64) -> Done<Option<Discussion>> {
    let record = transaction.open_table(DISCUSSIONS)?.get((number, at))?.map(|record| decode(record.value()));
    Ok(record.transpose()?)
}

pub(super) fn put_discussion(
    transaction: &WriteTransaction,
    number: u64,
    at: u64,
    discussion: &Discussion,
) -> Done<()> {
    discussion.check()?;
    transaction.open_table(DISCUSSIONS)?.insert((number, at), encode(discussion)?.as_slice())?;
    Ok(())
}

/// The number for another discussion.
fn next(transaction: &WriteTransaction, number: u64) -> Done<u64> {
    let discussions = transaction.open_table(DISCUSSIONS)?;
    let last = discussions.range((number, 0)..(number + 1, 0))?.next_back();
    let last = last.transpose()?.map_or(0, |(key, _)| key.value().1);
    if last >= DISCUSSIONS_MAX {
        let reason = format!("a repository has at most {DISCUSSIONS_MAX} discussions");
        return Err(StoreError::Commit { reason }.into());
    }
    Ok(last + 1)
}
