//! Commits: a listing of all files each, and how one follows from another.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::{FileHash, GitBlobHasher};

/// Files in a commit at most. The Hub recommends fewer than 100,000.
const FILES_MAX: usize = 200_000;

/// A state of a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in super::super) struct Commit {
    pub(in super::super) parent: Option<String>,
    pub(in super::super) summary: String,
    pub(in super::super) description: String,
    /// When it was made, seconds since 1970.
    pub(in super::super) unix_seconds: u64,
    /// The user who made it, if the origin knows its users.
    pub(in super::super) author: Option<String>,
    /// By path.
    pub(in super::super) files: BTreeMap<String, Entry>,
}

/// What a commit says besides its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct CommitHead {
    pub(in super::super) parent: Option<String>,
    pub(in super::super) summary: String,
    pub(in super::super) description: String,
    /// When it was made, seconds since 1970.
    pub(in super::super) unix_seconds: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in super::super) author: Option<String>,
    /// When it came here, seconds since 1970. No part of its name.
    #[serde(default)]
    pub(in super::super) stored: u64,
}

/// A file in a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Entry {
    /// Bytes.
    pub(in super::super) size: u64,
    /// Git's name of the file, or of the pointer that stands for it.
    pub(in super::super) oid: String,
    pub(in super::super) content: Content,
}

/// Where the bytes of a file are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in super::super) enum Content {
    /// In the object of the same name.
    Regular,
    /// In xorbs.
    Xet {
        /// 64 lowercase hexadecimal digits.
        sha256: String,
        #[serde(with = "text")]
        hash: FileHash,
    },
    /// At another Hub, which does not say how it is put together; once it is here, the SHA-256 tells which file it is.
    Lfs {
        /// 64 lowercase hexadecimal digits.
        sha256: String,
    },
}

impl Content {
    /// The hash of a file in xorbs, as far as it is known.
    #[cfg_attr(not(feature = "client"), allow(dead_code, reason = "for who fetches by it"))]
    pub(in super::super) fn hash(&self) -> Option<FileHash> {
        match self {
            Self::Xet { hash, .. } => Some(*hash),
            Self::Regular | Self::Lfs { .. } => None,
        }
    }
}

impl Entry {
    pub(in super::super) fn regular(oid: String, size: u64) -> Self {
        Self { size, oid, content: Content::Regular }
    }

    pub(in super::super) fn xet(sha256: String, hash: FileHash, size: u64) -> Self {
        Self { size, oid: GitBlobHasher::of(pointer(&sha256, size).as_bytes()), content: Content::Xet { sha256, hash } }
    }

    /// The pointer that git has in place of the file, if it has one.
    pub(in super::super) fn pointer(&self) -> Option<String> {
        match &self.content {
            Content::Regular => None,
            Content::Xet { sha256, .. } | Content::Lfs { sha256 } => Some(pointer(sha256, self.size)),
        }
    }

    /// Bytes of the pointer.
    pub(in super::super) fn pointer_bytes(&self) -> usize {
        self.pointer().map_or(0, |pointer| pointer.len())
    }
}

fn pointer(sha256: &str, size: u64) -> String {
    format!("version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n")
}

/// One step from a commit to the next.
#[derive(Debug, Clone)]
pub(in super::super) enum Operation {
    Put { path: String, entry: Entry },
    DeleteFile { path: String },
    DeleteFolder { path: String },
}

impl Commit {
    /// What it says besides its files.
    pub(super) fn head(&self, stored: u64) -> CommitHead {
        let Self { parent, summary, description, unix_seconds, author, .. } = self.clone();
        CommitHead { parent, summary, description, unix_seconds, author, stored }
    }

    pub(super) fn of_parts(head: CommitHead, files: BTreeMap<String, Entry>) -> Self {
        let CommitHead { parent, summary, description, unix_seconds, author, .. } = head;
        Self { parent, summary, description, unix_seconds, author, files }
    }

    /// The files after some steps, taken in order.
    pub(super) fn apply(&self, operations: Vec<Operation>) -> Result<BTreeMap<String, Entry>, StoreError> {
        let mut files = self.files.clone();
        for operation in operations {
            match operation {
                Operation::Put { path, entry } => {
                    files.insert(path, entry);
                }
                Operation::DeleteFile { path } => {
                    files.remove(&path).ok_or(StoreError::NoSuchEntry { path })?;
                }
                Operation::DeleteFolder { path } => {
                    let before = files.len();
                    let inside = format!("{}/", path.trim_end_matches('/'));
                    files.retain(|file, _| !file.starts_with(&inside));
                    if files.len() == before {
                        return Err(StoreError::NoSuchEntry { path });
                    }
                }
            }
        }
        check_files(&files)?;
        Ok(files)
    }

    /// Whether its files can be those of a commit.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        check_files(&self.files)
    }

    /// Whether the path is a folder of this commit.
    pub(in super::super) fn has_folder(&self, path: &str) -> bool {
        let inside = format!("{path}/");
        self.files.range(inside.clone()..).next().is_some_and(|(file, _)| file.starts_with(&inside))
    }
}

fn check_files(files: &BTreeMap<String, Entry>) -> Result<(), StoreError> {
    if files.len() > FILES_MAX {
        return Err(StoreError::Commit {
            reason: format!("a commit has {} files, at most {FILES_MAX} are taken", files.len()),
        });
    }
    for path in files.keys() {
        if let Some(file) = folders_of(path).find(|folder| files.contains_key(*folder)) {
            return Err(StoreError::Commit { reason: format!("`{file}` cannot be a file and a folder") });
        }
    }
    Ok(())
}

/// The folders above a path, outermost first.
pub(in super::super) fn folders_of(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

/// Hashes as their text.
mod text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
