//! What a pull tells whoever watches it: one typed stream, which bars, JSON and summaries read.

use serde::Serialize;

/// Something that happened in a pull. As JSON: an object with the variant's name in `event`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// The revision was found.
    Resolved {
        /// The repository.
        repo: String,
        /// What was asked for.
        revision: String,
        /// The commit it is.
        commit: String,
    },
    /// Files that are already there are being checked, because nothing is known about them.
    Checking {
        /// How many.
        files: usize,
        /// Their bytes.
        bytes: u64,
    },
    /// It is known what has to be fetched.
    Planned {
        /// Files in the selection.
        files: usize,
        /// Their bytes.
        bytes: u64,
        /// Files to fetch.
        missing_files: usize,
        /// Their bytes; files of the same content count once.
        missing_bytes: u64,
    },
    /// An earlier pull has left a part of a file, which need not be fetched again.
    Resumed {
        /// As the repository calls it.
        path: String,
        /// How much.
        bytes: u64,
    },
    /// Other files on this machine hold a part of a file, which was copied.
    Copied {
        /// As the repository calls it.
        path: String,
        /// How much.
        bytes: u64,
    },
    /// How far the pull is. Sent a few times a second at most; may be left out.
    Progress {
        /// Bytes written of those that are missing.
        bytes: u64,
        /// Bytes that are missing in all.
        total_bytes: u64,
        /// Bytes received.
        wire_bytes: u64,
    },
    /// A file is verified and in place.
    FileDone {
        /// As the repository calls it.
        path: String,
        /// Its length.
        bytes: u64,
    },
    /// A file was given up; the others go on.
    FileFailed {
        /// As the repository calls it.
        path: String,
        /// Why.
        reason: String,
    },
    /// A source failed and is asked again, or another one is.
    Retry {
        /// What was being fetched.
        what: String,
        /// Why it is fetched again.
        reason: String,
    },
    /// Something is waited for that may take longer; told once it has taken a second.
    Waiting {
        /// What cannot go on.
        what: String,
        /// What it waits for.
        reason: String,
    },
    /// A peer is of no use any more.
    PeerLost(PeerLost),
    /// Something is not as it should be, but the pull goes on.
    Warning {
        /// What.
        message: String,
    },
    /// The pull has succeeded. Always the last event.
    Summary(Summary),
}

/// How a peer was lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PeerLost {
    /// As it was named.
    pub peer: String,
    /// Why.
    pub reason: String,
    /// It was proved to be at fault, and is not asked again.
    pub is_banned: bool,
}

impl PeerLost {
    pub(crate) fn text(&self) -> String {
        format!("{}: {}", self.peer, self.reason)
    }
}

/// What a pull did.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// The repository.
    pub repo: String,
    /// The commit.
    pub commit: String,
    /// Where the files are.
    pub path: String,
    /// Whether nothing was fetched because it was only asked what would be.
    pub dry_run: bool,
    /// How many files were selected.
    pub files: usize,
    /// Where their bytes came from. Every byte of every file counts once.
    pub file_bytes: SourceBytes,
    /// Bytes that crossed the network.
    pub wire_bytes: WireBytes,
    /// Peers that were banned, and why.
    pub banned: Vec<String>,
    /// Why no peer was asked.
    pub why_no_peers: Option<String>,
    /// How long it took.
    pub seconds: f64,
}

/// Bytes of files by where they came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct SourceBytes {
    /// They were on this machine.
    pub local: u64,
    /// From peers on the local network.
    pub lan: u64,
    /// From peers elsewhere.
    pub wan: u64,
    /// From the Hub and the CAS.
    pub cdn: u64,
}

/// Bytes received by source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct WireBytes {
    /// From peers on the local network.
    pub lan: u64,
    /// From peers elsewhere.
    pub wan: u64,
    /// From the Hub and the CAS.
    pub cdn: u64,
}
