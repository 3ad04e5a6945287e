//! Everything an origin keeps, in one folder:
//!
//! | path | content |
//! |---|---|
//! | `origin.json` | the format's version |
//! | `lock` | held while an origin runs |
//! | `incoming/` | what is being received or written; emptied at the start |
//! | `xorbs/<2 hex>/<xorb hash>` | records and footer |
//! | `files/<2 hex>/<file hash>` | how a file is put together: a shard of that file alone |
//! | `sha256/<2 hex>/<SHA-256>` | the hash of the file with these bytes |
//! | `chunks/<2 hex>/<chunk hash>` | the xorbs to tell of when asked about this chunk; may be lost |
//! | `objects/<2 hex>/<git SHA-1>` | a regular file |
//! | `repos/<kind>/<owner or ->/<name>/refs/heads/<branch>` | a commit; pull requests are branches `refs/pr/<number>` |
//! | `repos/<kind>/<owner or ->/<name>/private` | there for a private repository |
//! | `repos/<kind>/<owner or ->/<name>/commits/<sha>.json` | its files |
//!
//! Files appear by rename, complete and synced, and in this order, so that whatever is visible has what it
//! names. Only branches ever change. Everything here blocks.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Mutex;

mod error;
pub(super) use error::StoreError;

mod folder;

mod batch;

mod xorbs;
pub(super) use xorbs::FOOTER_BYTES_MAX as XORB_FOOTER_BYTES_MAX;

mod files;

mod chunks;
mod shards;
pub(super) use shards::Progress;

mod objects;
pub(super) use objects::NewObjects;

mod commit;
pub(super) use commit::{Commit, Content, Entry, Operation, folders_of};

mod repos;
pub(super) use repos::{Change, MAIN, RepoKey, is_special};

mod recent;
use recent::Recent;

/// The data folder, locked for this process.
pub(super) struct Store {
    root: PathBuf,
    /// Held open for its lock.
    _lock: File,
    /// One change of a repository at a time.
    changing: Mutex<()>,
    recent: Recent,
}
