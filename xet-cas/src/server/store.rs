//! Everything an origin keeps, in one folder:
//!
//! | path | content |
//! |---|---|
//! | `origin.json` | the format's version |
//! | `lock` | held while an origin runs |
//! | `metadata.redb` | everything but bytes: see `metadata` |
//! | `incoming/` | what is being received or written; emptied at the start |
//! | `xorbs/<2 hex>/<xorb hash>` | records and footer |
//! | `objects/<2 hex>/<git SHA-1>` | a regular file |
//!
//! The last two may be in a bucket instead. Bytes are there for good before the database names them, and are removed
//! after it has forgotten them: whatever it names is there, and what it does not name is left by a crash. Everything
//! here blocks.

use std::fs::File;
use std::path::PathBuf;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

mod error;
pub(super) use error::StoreError;

mod folder;
mod metadata;
mod migrate;

mod blobs;
pub(super) use blobs::Blob;
use blobs::Blobs;

mod xorbs;
pub(super) use xorbs::{FOOTER_BYTES_MAX as XORB_FOOTER_BYTES_MAX, SealedXorb};

mod footers;
use footers::Footers;

mod files;

mod chunks;
mod shards;
pub(super) use shards::Progress;

mod objects;
pub(super) use objects::NewObjects;

mod commit;
pub(super) use commit::{Commit, CommitHead, Content, Entry, Operation, folders_of};

mod repos;
pub(super) use repos::{Gated, Moved, RepoKey, RepoRecord};

mod refs;
pub(super) use refs::{HEADS, MAIN, TAGS};
#[cfg(feature = "client")]
pub(super) use refs::{branch_ref, is_sha};

mod history;
pub(super) use history::Change;

mod discussions;
pub(super) use discussions::{Discussion, Event, PULL_REQUESTS, Status, What};

mod merge;
pub(super) use merge::Merge;

mod room;

mod garbage;
pub use garbage::Collected;

mod check;
pub use check::{CheckOptions, CheckReport};

mod recent;
use recent::Recent;

#[cfg(test)]
mod tests;

/// The data folder, locked for this process.
pub(super) struct Store {
    root: PathBuf,
    metadata: metadata::Metadata,
    blobs: Blobs,
    /// Held for reading from before bytes get their name until the database knows of them, and for writing while bytes
    /// are removed.
    removing: RwLock<()>,
    /// Bytes kept at most.
    quota: Option<u64>,
    recent: Recent,
    footers: Footers,
    /// Held open for its lock. Let go last, when all else is closed.
    _lock: File,
}

impl Store {
    /// The secret that signs tokens and URLs, the same for as long as the data lives.
    pub(super) fn signing_key(&self) -> Result<[u8; 32], StoreError> {
        self.metadata.signing_key()
    }

    /// As long as this is held no bytes are removed.
    fn spare(&self) -> RwLockReadGuard<'_, ()> {
        self.removing.read().unwrap_or_else(PoisonError::into_inner)
    }
}
