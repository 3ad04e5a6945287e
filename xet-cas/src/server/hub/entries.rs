//! Files and folders as listings tell of them.

use crate::GitBlobHasher;
use crate::api::{LfsJson, TreeEntryJson};
use crate::server::store::{Commit, Content, Entry};

/// What lies at a path: a file or a folder.
pub(super) fn entry(commit: &Commit, path: &str) -> TreeEntryJson {
    let Some(file) = commit.files.get(path) else { return folder_entry(commit, path) };
    let (lfs, xet_hash) = match &file.content {
        Content::Regular => (None, None),
        Content::Xet { sha256, hash } => (Some(lfs(file, sha256)), Some(hash.to_string())),
        Content::Lfs { sha256 } => (Some(lfs(file, sha256)), None),
    };
    TreeEntryJson {
        kind: "file".into(),
        oid: file.oid.clone(),
        size: as_json(file.size),
        path: path.to_owned(),
        lfs,
        xet_hash,
        last_commit: None,
    }
}

fn lfs(file: &Entry, sha256: &str) -> LfsJson {
    LfsJson { oid: sha256.to_owned(), size: as_json(file.size), pointer_size: file.pointer_bytes() as i64 }
}

/// A folder's id changes with its files, as git's would; it is not the same number.
fn folder_entry(commit: &Commit, path: &str) -> TreeEntryJson {
    let inside = format!("{path}/");
    let mut listed = String::new();
    for (file, entry) in commit.files.range(inside.clone()..).take_while(|(file, _)| file.starts_with(&inside)) {
        listed.push_str(&format!("{} {file}\n", entry.oid));
    }
    let oid = GitBlobHasher::of(listed.as_bytes());
    TreeEntryJson {
        kind: "directory".into(),
        oid,
        size: 0,
        path: path.to_owned(),
        lfs: None,
        xet_hash: None,
        last_commit: None,
    }
}

fn as_json(size: u64) -> i64 {
    size.try_into().unwrap_or(i64::MAX)
}
