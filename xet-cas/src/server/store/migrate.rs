//! From format 1, in which everything was a file of its own: repositories in `repos/`, files in `files/`, their
//! SHA-256 in `sha256/`, known chunks in `chunks/`. The bytes stay where they are.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use redb::WriteTransaction;
use serde::Deserialize;

use super::blobs::{Directory, Kind};
use super::commit::{CommitHead, Content, Entry};
use super::discussions::{Discussion, put_discussion};
use super::files::from_hex;
use super::folder::{in_path, read, sync_folder};
use super::metadata::{
    self, CHUNKS, COMMITS, Done, FILES, HELD, Metadata, OBJECTS, REFS, SHA256, STORED_BYTES, TREES, XORBS, add, decode,
    encode,
};
use super::refs::branch_ref;
use super::repos::{RepoRecord, new_repo};
use super::{RepoKey, StoreError};
use crate::server::app::unix_now;
use crate::{FileHash, XorbHash};

/// What only format 1 has.
const OLD_FOLDERS: [&str; 4] = ["repos", "files", "sha256", "chunks"];
/// The database while it is being built.
const UNFINISHED: &str = "metadata.redb.new";
/// Stood for the owner of a repository without one.
const NO_OWNER: &str = "-";

#[derive(Deserialize)]
struct OldCommit {
    parent: Option<String>,
    summary: String,
    description: String,
    unix_seconds: u64,
    files: BTreeMap<String, Entry>,
}

/// Builds the database of a folder of format 1. One that is there already is replaced: it was built before a crash.
pub(super) fn build_database(root: &Path) -> Result<(), StoreError> {
    let unfinished = root.join(UNFINISHED);
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(in_path("remove a file", &unfinished)(error));
        }
        _ => {}
    }
    let database = Metadata::open_file(unfinished.clone())?;
    database.write(|transaction| {
        bytes(transaction, root)?;
        files(transaction, root)?;
        repos(transaction, root)
    })?;
    drop(database);
    let finished = root.join(metadata::FILE);
    fs::rename(&unfinished, &finished).map_err(in_path("rename a file", &finished))?;
    sync_folder(root)
}

/// Removes what the database has made needless.
pub(super) fn remove_old(root: &Path) -> Result<(), StoreError> {
    for folder in OLD_FOLDERS {
        let folder = root.join(folder);
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(in_path("remove a folder", &folder)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn bytes(transaction: &WriteTransaction, root: &Path) -> Done<()> {
    let (directory, now) = (Directory::new(root.to_owned()), unix_now());
    let (mut xorbs, mut objects) = (Vec::new(), Vec::new());
    directory.list(Kind::Xorb, &mut |name, bytes| xorbs.push((name, bytes)))?;
    directory.list(Kind::Object, &mut |name, bytes| objects.push((name, bytes)))?;
    let stored: u64 = xorbs.iter().chain(&objects).map(|(_, bytes)| bytes).sum();
    add(transaction, STORED_BYTES, stored as i64)?;
    let mut table = transaction.open_table(XORBS)?;
    for (name, bytes) in xorbs {
        if let Ok(xorb) = name.parse::<XorbHash>() {
            table.insert(xorb.as_bytes(), (bytes, now))?;
        }
    }
    let mut table = transaction.open_table(OBJECTS)?;
    for (name, bytes) in objects {
        table.insert(name.as_str(), (bytes, now))?;
    }
    Ok(())
}

fn files(transaction: &WriteTransaction, root: &Path) -> Done<()> {
    let now = unix_now().to_le_bytes();
    let mut table = transaction.open_table(FILES)?;
    each_named(&root.join("files"), |name, content| {
        if let Ok(file) = name.parse::<FileHash>() {
            table.insert(file.as_bytes(), [&now, content].concat().as_slice())?;
        }
        Ok(())
    })?;
    let mut table = transaction.open_table(SHA256)?;
    each_named(&root.join("sha256"), |name, content| {
        let file = std::str::from_utf8(content).ok().and_then(|text| text.parse::<FileHash>().ok());
        if let (Some(sha256), Some(file)) = (from_hex(name), file) {
            table.insert(&sha256, file.as_bytes())?;
        }
        Ok(())
    })?;
    let mut table = transaction.open_table(CHUNKS)?;
    each_named(&root.join("chunks"), |name, content| {
        let xorbs: Option<Vec<XorbHash>> =
            std::str::from_utf8(content).ok().and_then(|text| text.lines().map(|line| line.parse().ok()).collect());
        if let (Ok(chunk), Some(xorbs)) = (name.parse::<crate::ChunkHash>(), xorbs) {
            let xorbs: Vec<u8> = xorbs.iter().flat_map(|xorb| *xorb.as_bytes()).collect();
            table.insert(chunk.as_bytes(), xorbs.as_slice())?;
        }
        Ok(())
    })
}

/// Calls `each` with name and content of every file in `<folder>/<2 hex>/`.
fn each_named(folder: &Path, mut each: impl FnMut(&str, &[u8]) -> Done<()>) -> Done<()> {
    for some in listed(folder)? {
        for path in listed(&some)? {
            if let (Some(name), Some(content)) = (name_of(&path), read(&path)?) {
                each(name, &content)?;
            }
        }
    }
    Ok(())
}

fn repos(transaction: &WriteTransaction, root: &Path) -> Done<()> {
    for kind in listed(&root.join("repos"))? {
        for owner in listed(&kind)? {
            for repo in listed(&owner)? {
                let (Some(kind), Some(owner), Some(name)) = (name_of(&kind), name_of(&owner), name_of(&repo)) else {
                    continue;
                };
                let id = if owner == NO_OWNER { name.to_owned() } else { format!("{owner}/{name}") };
                if let (Ok(kind), Ok(id)) = (kind.trim_end_matches('s').parse(), id.parse()) {
                    one_repo(transaction, &repo, &RepoKey { kind, id })?;
                }
            }
        }
    }
    Ok(())
}

fn one_repo(transaction: &WriteTransaction, folder: &Path, repo: &RepoKey) -> Done<()> {
    let now = unix_now();
    let mut commits = BTreeMap::new();
    for path in listed(&folder.join("commits"))? {
        let sha = name_of(&path).and_then(|name| name.strip_suffix(".json"));
        if let (Some(sha), Some(text)) = (sha, read(&path)?) {
            commits.insert(sha.to_owned(), decode::<OldCommit>(&text)?);
        }
    }
    let made = commits.values().map(|commit| commit.unix_seconds);
    let (created, modified) = (made.clone().min().unwrap_or(now), made.max().unwrap_or(now));
    let record = RepoRecord { private: folder.join("private").exists(), created, modified, ..RepoRecord::default() };
    let Some(number) = new_repo(transaction, repo, &record)? else { return Ok(()) };
    let mut held = transaction.open_table(HELD)?;
    for (sha, commit) in commits {
        let OldCommit { parent, summary, description, unix_seconds, files } = commit;
        let head = CommitHead { parent, summary, description, unix_seconds, author: None, stored: now };
        let key = (number, sha.as_str());
        transaction.open_table(COMMITS)?.insert(key, encode(&head)?.as_slice())?;
        transaction.open_table(TREES)?.insert(key, encode(&files)?.as_slice())?;
        for entry in files.values() {
            if let Content::Xet { hash, .. } = &entry.content {
                held.insert((number, hash.as_bytes()), ())?;
            }
        }
    }
    for path in listed(&folder.join("refs/heads"))? {
        let branch = name_of(&path).and_then(|name| percent_decode_str(name).decode_utf8().ok());
        if let (Some(branch), Some(sha)) = (branch, read(&path)?) {
            transaction
                .open_table(REFS)?
                .insert((number, branch_ref(&branch).as_str()), &*String::from_utf8_lossy(&sha))?;
        }
    }
    for path in listed(&folder.join("pulls"))? {
        let pull = name_of(&path).and_then(|name| name.strip_suffix(".json")?.parse().ok());
        if let (Some(pull), Some(text)) = (pull, read(&path)?) {
            put_discussion(transaction, number, pull, &decode::<Discussion>(&text)?)?;
        }
    }
    Ok(())
}

fn name_of(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

/// What is in a folder; nothing if it is none.
fn listed(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let listed = match fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        listed => listed.and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect()),
    };
    listed.map_err(in_path("list a folder", folder))
}
