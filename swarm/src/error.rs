//! Why a pull, or one file of it, failed.

use std::path::PathBuf;

use xet_cas::client;
pub use xet_cas::client::ErrorKind;

/// Why a pull failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The Hub or the CAS did not give what was asked for.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// No file of the repository matches.
    #[error("no file of the repository matches {patterns}")]
    NothingSelected {
        /// The patterns that were given.
        patterns: String,
    },
    /// The revision cannot be a branch, tag or commit.
    #[error("`{revision}` is no revision")]
    Revision {
        /// What was given.
        revision: String,
    },
    /// The disk has too little room, found out before anything was downloaded.
    #[error("{path} has {available} bytes free, {needed} are needed")]
    NoSpace {
        /// Where the files would go.
        path: PathBuf,
        /// Bytes that would be written.
        needed: u64,
        /// Bytes that are free.
        available: u64,
    },
    /// Files are missing where none can be written, found out before anything was downloaded.
    #[error("{path} cannot be written, and {missing_files} files are missing")]
    ReadOnly {
        /// Where the files would go.
        path: PathBuf,
        /// Files that would be fetched.
        missing_files: usize,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// What was tried.
        address: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The disk did not do what it should.
    #[error("cannot {action} {path}: {source}")]
    Disk {
        /// What was tried: "write", "create".
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The bytes of a file are not those that the Hub names. It was not put in place.
    #[error("{path} failed verification: {reason}")]
    Integrity {
        /// The file, as the repository calls it.
        path: String,
        /// What differs.
        reason: String,
    },
    /// A file could not be had from any source.
    #[error("{path}: {source}")]
    File {
        /// The file, as the repository calls it.
        path: String,
        /// What the last source said.
        source: Box<Self>,
    },
    /// No source that may be asked has the rest of it.
    #[error("no peer brought the last {missing_bytes} bytes, and only peers may be asked")]
    NoPeer {
        /// How much is missing.
        missing_bytes: u64,
    },
    /// Several files failed, for different reasons. The others are in place.
    #[error("{failed} of {files} files failed{}; the first: {first}", not_tried_text(*not_tried))]
    Partial {
        /// How many failed.
        failed: usize,
        /// How many were not tried any more, because they would have failed too.
        not_tried: usize,
        /// How many there are.
        files: usize,
        /// Why the first did.
        first: Box<Self>,
        /// Whether they failed for reasons of one kind.
        same_kind: bool,
    },
    /// The index cannot be used. The files themselves are not affected.
    #[error("the index in {path} cannot be used: {reason}")]
    Index {
        /// Where it lies.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A part of the program failed in a way that it should not.
    #[error("internal error: {reason}; please report this")]
    Internal {
        /// What happened.
        reason: String,
    },
}

impl Error {
    /// What the user may do about it; `None` if several things went wrong or it is our own mistake.
    pub fn kind(&self) -> Option<ErrorKind> {
        match self {
            Self::Client(error) => Some(error.kind()),
            Self::Revision { .. } => Some(ErrorKind::Usage),
            Self::NothingSelected { .. } => Some(ErrorKind::NotFound),
            Self::NoSpace { .. } | Self::ReadOnly { .. } | Self::Disk { .. } | Self::Index { .. } => {
                Some(ErrorKind::Disk)
            }
            Self::Integrity { .. } => Some(ErrorKind::Integrity),
            Self::Listen { .. } | Self::NoPeer { .. } => Some(ErrorKind::Network),
            Self::File { source, .. } => source.kind(),
            Self::Partial { first, same_kind, .. } => first.kind().filter(|_| *same_kind),
            Self::Internal { .. } => None,
        }
    }

    /// Whether several files failed for different reasons.
    pub fn is_mixed(&self) -> bool {
        matches!(self, Self::Partial { same_kind: false, .. })
    }

    /// The error at the bottom, which says what happened; files and their number are above it.
    pub fn root(&self) -> &Self {
        match self {
            Self::File { source: inner, .. } | Self::Partial { first: inner, .. } => inner.root(),
            other => other,
        }
    }

    /// Whether the disk, or its owner, does not let anything be written.
    pub(crate) fn is_read_only(&self) -> bool {
        use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
        matches!(self, Self::Disk { source, .. } if matches!(source.kind(), PermissionDenied | ReadOnlyFilesystem))
    }

    pub(crate) fn disk(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Disk { action, path, source }
    }

    pub(crate) fn internal(reason: impl ToString) -> Self {
        Self::Internal { reason: reason.to_string() }
    }
}

fn not_tried_text(files: usize) -> String {
    if files == 0 { String::new() } else { format!(", {files} were not tried any more") }
}
