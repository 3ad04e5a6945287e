//! What the store cannot do, and whose fault it is.

use std::io;
use std::path::PathBuf;

use crate::{FileHash, XorbHash};

/// Why the store did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum StoreError {
    /// The disk's fault.
    #[error("cannot {what} ({path}): {source}")]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    /// Something else wrote into the folder, or the disk lies.
    #[error("{path} is damaged: {reason}")]
    Corrupt { path: PathBuf, reason: String },

    /// What went before it failed, and was reported then.
    #[error("it was given up")]
    GivenUp,
    /// The bucket's fault.
    #[cfg(feature = "s3")]
    #[error("cannot {what} ({path}): {source}")]
    Bucket { what: &'static str, path: String, source: object_store::Error },
    /// There is no room for more.
    #[error("{what}")]
    Full { what: String },
    /// Collected between two steps of a client that took very long.
    #[error("the content of {path} has gone meanwhile; commit again")]
    MissingObject { path: String },

    // From here on, the client's fault.
    #[error("{source}")]
    Format { source: crate::Error },
    #[error("xorb {xorb} has not been uploaded")]
    MissingXorb { xorb: XorbHash },
    #[error("no upload has announced a file with the SHA-256 {sha256} (for {path})")]
    UnknownSha256 { path: String, sha256: String },
    #[error("file {file} does not have the SHA-256 {sha256}")]
    WrongSha256 { file: FileHash, sha256: String },
    #[error("the branch has moved: its head is {head}, not {expected}")]
    ParentMoved { expected: String, head: String },
    #[error("changed on both sides: {}", paths.join(", "))]
    Conflicts { paths: Vec<String> },
    #[error("there is no repository {repo}")]
    NoSuchRepo { repo: String },
    #[error("there is no commit {sha}")]
    NoSuchCommit { sha: String },
    #[error("there is no branch {branch}")]
    NoSuchBranch { branch: String },
    #[error("there is no entry {path}")]
    NoSuchEntry { path: String },
    #[error("{reason}")]
    Commit { reason: String },
}

impl StoreError {
    /// Whether the same request may succeed later.
    pub(in super::super) fn is_ours(&self) -> bool {
        match self {
            Self::Io { .. } | Self::Corrupt { .. } | Self::Full { .. } | Self::MissingObject { .. } | Self::GivenUp => {
                true
            }
            #[cfg(feature = "s3")]
            Self::Bucket { .. } => true,
            _ => false,
        }
    }
}

impl From<crate::Error> for StoreError {
    fn from(source: crate::Error) -> Self {
        Self::Format { source }
    }
}
