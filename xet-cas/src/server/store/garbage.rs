//! Garbage: what no ref of any repository leads to any more, once nobody has had a use for it for a while.
//!
//! An upload is referred to at its end only, and a client that was told that something is here relies on it: either is
//! a use. Rows go first, in one transaction with a last look at them, and the bytes behind that.

use std::collections::{BTreeMap, HashSet};
use std::sync::PoisonError;
use std::time::Duration;

use redb::{ReadableTable as _, WriteTransaction};

use super::blobs::Kind;
use super::commit::{CommitHead, Content, Entry};
use super::files::{registered, terms_of};
use super::metadata::{
    CHUNKS, COMMITS, Done, FILES, HELD, OBJECTS, REFS, REPOS, SHA256, STORED_BYTES, TREES, XORBS, add, decode,
};
use super::{RepoRecord, Store, StoreError};
use crate::server::app::unix_now;
use crate::{FileHash, XorbHash};

/// Removed together, while nothing can be added.
const BATCH: usize = 64;

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Collected {
    /// Commits that no ref leads to.
    pub commits: u64,
    /// Files that no commit has: how they are put together.
    pub files: u64,
    /// Xorbs that no file needs.
    pub xorbs: u64,
    /// Regular files that no commit has.
    pub objects: u64,
    /// Bytes of the last two.
    pub bytes: u64,
}

/// What commits refer to.
#[derive(Default)]
struct Marked {
    /// Commits that have been looked at.
    commits: HashSet<(u64, String)>,
    files: HashSet<[u8; 32]>,
    objects: HashSet<String>,
}

/// Bytes that nothing refers to.
struct Candidates {
    xorbs: Vec<XorbHash>,
    objects: Vec<String>,
}

impl Store {
    /// Removes what nothing refers to and nobody has had a use for within `grace`. Uploads go on meanwhile.
    pub(in super::super) fn collect_garbage(&self, grace: Duration) -> Result<Collected, StoreError> {
        let grace = grace.as_secs();
        let mut collected = Collected {
            commits: self.metadata.write(|transaction| drop_commits(transaction, grace))?,
            ..Collected::default()
        };
        let mut marked = Marked::default();
        // The longest part, beside which others may write.
        self.metadata.read(|transaction| mark(&transaction.open_table(TREES)?, &mut marked))?;
        let candidates = self.metadata.write(|transaction| {
            mark(&transaction.open_table(TREES)?, &mut marked)?;
            for entry in transaction.open_table(HELD)?.iter()? {
                marked.files.insert(*entry?.0.value().1);
            }
            collected.files = drop_files(transaction, &marked, grace)?;
            candidates(transaction, &marked, grace)
        })?;
        for batch in candidates.xorbs.chunks(BATCH) {
            let (count, bytes) = self.remove_xorbs(batch, grace)?;
            collected.xorbs += count;
            collected.bytes += bytes;
        }
        for batch in candidates.objects.chunks(BATCH) {
            let (count, bytes) = self.remove_objects(batch, grace)?;
            collected.objects += count;
            collected.bytes += bytes;
        }
        if collected.xorbs > 0 {
            self.metadata.write(drop_chunks)?;
        }
        Ok(collected)
    }

    fn remove_xorbs(&self, batch: &[XorbHash], grace: u64) -> Result<(u64, u64), StoreError> {
        let _nothing_is_added = self.removing.write().unwrap_or_else(PoisonError::into_inner);
        let (removed, bytes) = self.metadata.write(|transaction| {
            let mut xorbs = transaction.open_table(XORBS)?;
            let (mut removed, mut bytes) = (Vec::new(), 0);
            for xorb in batch {
                let Some((length, used)) = xorbs.get(xorb.as_bytes())?.map(|row| row.value()) else { continue };
                // A file that needs it may have come since: that was a use.
                if is_over(used, grace) {
                    xorbs.remove(xorb.as_bytes())?;
                    removed.push(xorb);
                    bytes += length;
                }
            }
            add(transaction, STORED_BYTES, -(bytes as i64))?;
            Ok((removed, bytes))
        })?;
        for xorb in &removed {
            self.footers.forget(**xorb);
            self.remove_blob(Kind::Xorb, &xorb.to_string());
        }
        Ok((removed.len() as u64, bytes))
    }

    /// Nothing names it any more. What cannot be removed is found by a check.
    fn remove_blob(&self, kind: Kind, name: &str) {
        if let Err(error) = self.blobs.remove(kind, name) {
            tracing::error!(%error, "bytes without a name stay; a check removes them");
        }
    }

    fn remove_objects(&self, batch: &[String], grace: u64) -> Result<(u64, u64), StoreError> {
        let _nothing_is_added = self.removing.write().unwrap_or_else(PoisonError::into_inner);
        let (removed, bytes) = self.metadata.write(|transaction| {
            let mut objects = transaction.open_table(OBJECTS)?;
            let (mut removed, mut bytes) = (Vec::new(), 0);
            for oid in batch {
                let Some((length, used)) = objects.get(oid.as_str())?.map(|row| row.value()) else { continue };
                if is_over(used, grace) {
                    objects.remove(oid.as_str())?;
                    removed.push(oid);
                    bytes += length;
                }
            }
            add(transaction, STORED_BYTES, -(bytes as i64))?;
            Ok((removed, bytes))
        })?;
        for oid in &removed {
            self.remove_blob(Kind::Object, oid);
        }
        Ok((removed.len() as u64, bytes))
    }
}

fn is_over(used: u64, grace: u64) -> bool {
    used.saturating_add(grace) <= unix_now()
}

/// Forgets commits that no ref leads to, and returns how many there were.
fn drop_commits(transaction: &WriteTransaction, grace: u64) -> Done<u64> {
    let mut dropped = 0;
    let repos: Vec<u64> = transaction
        .open_table(REPOS)?
        .iter()?
        .map(|entry| entry.map(|(number, _)| number.value()))
        .collect::<Result<_, _>>()?;
    for number in repos {
        if is_mirrored(transaction, number)? {
            // Its commits may be asked for when the Hub that they come from is gone.
            continue;
        }
        let (first, behind) = ((number, ""), (number + 1, ""));
        let mut known: BTreeMap<String, CommitHead> = BTreeMap::new();
        for entry in transaction.open_table(COMMITS)?.range(first..behind)? {
            let (key, head) = entry?;
            known.insert(key.value().1.to_owned(), decode(head.value())?);
        }
        let mut next = Vec::new();
        for entry in transaction.open_table(REFS)?.range(first..behind)? {
            next.push(entry?.1.value().to_owned());
        }
        // What came a moment ago may get its ref yet, and so may what follows on it.
        next.extend(known.iter().filter(|(_, head)| !is_over(head.stored, grace)).map(|(sha, _)| sha.clone()));
        while let Some(sha) = next.pop() {
            next.extend(known.remove(&sha).and_then(|head| head.parent));
        }
        if known.is_empty() {
            continue;
        }
        dropped += known.len() as u64;
        let is_known = |sha: &str| known.contains_key(sha);
        transaction.open_table(COMMITS)?.retain_in(first..behind, |(_, sha), _| !is_known(sha))?;
        transaction.open_table(TREES)?.retain_in(first..behind, |(_, sha), _| !is_known(sha))?;
        hold_anew(transaction, number)?;
    }
    Ok(dropped)
}

fn is_mirrored(transaction: &WriteTransaction, number: u64) -> Done<bool> {
    let repos = transaction.open_table(REPOS)?;
    let Some(record) = repos.get(number)? else { return Ok(false) };
    Ok(decode::<RepoRecord>(record.value())?.mirrored.is_some())
}

/// Notes which files the commits of a repository have that are left.
fn hold_anew(transaction: &WriteTransaction, number: u64) -> Done<()> {
    let mut marked = Marked::default();
    let trees = transaction.open_table(TREES)?;
    for entry in trees.range((number, "")..(number + 1, ""))? {
        mark_tree(entry?.1.value(), &mut marked)?;
    }
    let least = [0; 32];
    let is_marked = |file: &[u8; 32]| marked.files.contains(file);
    transaction.open_table(HELD)?.retain_in((number, &least)..(number + 1, &least), |(_, file), ()| is_marked(file))?;
    Ok(())
}

/// Marks what commits refer to that have not been looked at.
fn mark(trees: &impl redb::ReadableTable<(u64, &'static str), &'static [u8]>, marked: &mut Marked) -> Done<()> {
    for entry in trees.iter()? {
        let (key, tree) = entry?;
        let (number, sha) = key.value();
        if marked.commits.insert((number, sha.to_owned())) {
            mark_tree(tree.value(), marked)?;
        }
    }
    Ok(())
}

fn mark_tree(tree: &[u8], marked: &mut Marked) -> Result<(), StoreError> {
    let files: BTreeMap<String, Entry> = decode(tree)?;
    for entry in files.into_values() {
        match entry.content {
            Content::Regular => drop(marked.objects.insert(entry.oid)),
            Content::Xet { hash, .. } => drop(marked.files.insert(*hash.as_bytes())),
            // Where it is here, the repository is said to hold it.
            Content::Lfs { .. } => {}
        }
    }
    Ok(())
}

/// Forgets how files are put together that no commit has, and returns how many there were.
fn drop_files(transaction: &WriteTransaction, marked: &Marked, grace: u64) -> Done<u64> {
    let mut dropped = HashSet::new();
    transaction.open_table(FILES)?.retain(|file, record| {
        let stays = marked.files.contains(file) || !is_over(registered(record), grace);
        if !stays {
            dropped.insert(*file);
        }
        stays
    })?;
    if !dropped.is_empty() {
        transaction.open_table(SHA256)?.retain(|_, file| !dropped.contains(file))?;
    }
    Ok(dropped.len() as u64)
}

fn candidates(transaction: &WriteTransaction, marked: &Marked, grace: u64) -> Done<Candidates> {
    let mut needed = HashSet::new();
    for entry in transaction.open_table(FILES)?.iter()? {
        let (file, record) = entry?;
        let terms = terms_of(FileHash::from_bytes(*file.value()), record.value())?;
        needed.extend(terms.iter().map(|term| term.xorb));
    }
    let (mut xorbs, mut objects) = (Vec::new(), Vec::new());
    for entry in transaction.open_table(XORBS)?.iter()? {
        let (xorb, row) = entry?;
        let xorb = XorbHash::from_bytes(*xorb.value());
        if !needed.contains(&xorb) && is_over(row.value().1, grace) {
            xorbs.push(xorb);
        }
    }
    for entry in transaction.open_table(OBJECTS)?.iter()? {
        let (oid, row) = entry?;
        if !marked.objects.contains(oid.value()) && is_over(row.value().1, grace) {
            objects.push(oid.value().to_owned());
        }
    }
    Ok(Candidates { xorbs, objects })
}

/// Forgets chunks whose xorbs are all gone.
fn drop_chunks(transaction: &WriteTransaction) -> Done<()> {
    let xorbs = transaction.open_table(XORBS)?;
    let mut failed = None;
    transaction.open_table(CHUNKS)?.retain(|_, of| {
        let (of, _) = of.as_chunks::<32>();
        of.iter().any(|xorb| match xorbs.get(xorb) {
            Ok(row) => row.is_some(),
            Err(error) => {
                failed = Some(error);
                true
            }
        })
    })?;
    failed.map_or(Ok(()), |error| Err(error.into()))
}
