//! What is remembered about files that were verified, so that they need not be hashed again and can be
//! served: a small database, and beside it the leaf list of every file in the CAS, and which files hold a chunk.
//!
//! The index is a cache of what can be found out again. It is opened for moments only, so that several
//! processes share it; one that cannot be read is put aside.

#[cfg(test)]
mod tests;
mod xorb_runs;

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use redb::{
    Database, DatabaseError, ReadOnlyTable, ReadableDatabase as _, ReadableTable as _, TableDefinition, TableError,
};
use serde::{Deserialize, Serialize};
use xet_cas::{ChunkHash, FileHash, Leaf, XorbHash};

use self::xorb_runs::HeldRun;
use super::Partial;
use super::chunk_index::ChunkIndex;
use super::leaf_lists::LeafLists;
use crate::Error;
use crate::plan::TermRun;

/// Raised when the meaning of a record changes; an index of another version is begun anew.
const SCHEMA_VERSION: u64 = 2;
/// File identity (device, inode) → [`FileRecord`] as JSON.
const FILES: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("files");
/// Name of a file's content → identity of a file that holds it.
const BY_CONTENT: TableDefinition<'_, &str, (u64, u64)> = TableDefinition::new("by_content");
/// Facts about the index itself.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const SCHEMA_KEY: &str = "schema_version";
/// Another process holds the index for milliseconds; after this long something is wrong with it and the
/// pull goes on without.
const OPEN_DEADLINE: Duration = Duration::from_secs(5);
/// Pause between two tries to open it.
const OPEN_PAUSE: Duration = Duration::from_millis(20);

/// The index of one user, under `ZEST_HOME`.
#[derive(Debug, Clone)]
pub struct Index {
    home: PathBuf,
    lists: LeafLists,
    chunks: ChunkIndex,
}

/// What tells a file from another one at the same path, and from itself after a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) size: u64,
    pub(crate) modified_ns: i128,
    pub(crate) changed_ns: i128,
}

impl Identity {
    /// Of an open file.
    pub(crate) fn of_file(file: &std::fs::File) -> std::io::Result<Self> {
        file.metadata().map(|metadata| Self::from_metadata(&metadata))
    }

    /// Of the file that `path` leads to; `None` if it is no file.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        metadata.is_file().then(|| Self::from_metadata(&metadata))
    }

    pub(crate) fn from_metadata(metadata: &Metadata) -> Self {
        let ns = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    fn key(&self) -> (u64, u64) {
        (self.device, self.inode)
    }
}

type FilesTable = ReadOnlyTable<(u64, u64), &'static [u8]>;

/// The table of files; `None` in an index that has none yet.
fn read_files(database: &Database) -> Result<Option<FilesTable>, redb::Error> {
    match database.begin_read()?.open_table(FILES) {
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        table => Ok(Some(table?)),
    }
}

/// A file that was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileRecord {
    pub(crate) path: PathBuf,
    pub(crate) identity: Identity,
    /// SHA-256 of large files, git's SHA-1 of others, if that is what was recomputed.
    pub(crate) etag: Option<String>,
    /// Name in the CAS, text form, if that is what was recomputed. Its leaf list lies beside the index.
    pub(crate) xet_hash: Option<String>,
    /// Xorbs that it holds whole.
    #[serde(default)]
    pub(crate) xorbs: Vec<XorbRecord>,
    /// What it is made of. To be remembered; kept in a table of its own, and empty in records that were read.
    #[serde(skip)]
    pub(crate) runs: Arc<[TermRun]>,
    pub(crate) provenance: Provenance,
}

/// A whole xorb within a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct XorbRecord {
    /// Its name, text form.
    pub(crate) hash: String,
    /// Chunks of the file, end exclusive.
    pub(crate) first_chunk: u32,
    pub(crate) end_chunk: u32,
}

/// Where a file came from; decides later with whom it may be shared.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Provenance {
    pub(crate) endpoint: String,
    pub(crate) repo_type: String,
    pub(crate) repo: String,
    pub(crate) commit: String,
    /// Path in the repository.
    pub(crate) path: String,
}

impl Index {
    /// The index under this folder; nothing is opened or created yet.
    pub fn new(home: impl Into<PathBuf>) -> Self {
        let home = home.into();
        Self { lists: LeafLists::new(&home), chunks: ChunkIndex::new(&home), home }
    }

    /// Removes what killed processes left beside the leaf lists.
    pub(crate) fn sweep(&self) {
        Partial::remove_abandoned(&self.home.join("leaves"));
    }

    /// Which of these files are as they were when they were verified.
    pub(crate) fn unchanged(&self, identities: &[Identity]) -> Result<HashMap<Identity, FileRecord>, Error> {
        if identities.is_empty() || !self.database_path().exists() {
            return Ok(HashMap::new());
        }
        self.with_database(|database| {
            let mut found = HashMap::new();
            let Some(files) = read_files(database)? else { return Ok(found) };
            for identity in identities {
                let Some(value) = files.get(identity.key())? else { continue };
                let Ok(record) = serde_json::from_slice::<FileRecord>(value.value()) else { continue };
                if record.identity == *identity {
                    found.insert(*identity, record);
                }
            }
            Ok(found)
        })
    }

    /// All files that are remembered. Those whose records this version cannot read are left out.
    pub(crate) fn all(&self) -> Result<Vec<FileRecord>, Error> {
        if !self.database_path().exists() {
            return Ok(Vec::new());
        }
        self.with_database(|database| {
            let mut records = Vec::new();
            let Some(files) = read_files(database)? else { return Ok(records) };
            for entry in files.iter()? {
                records.extend(serde_json::from_slice::<FileRecord>(entry?.1.value()));
            }
            Ok(records)
        })
    }

    /// When the index last changed, to tell whether it is worth reading again.
    pub(crate) fn changed(&self) -> Option<SystemTime> {
        std::fs::metadata(self.database_path()).ok()?.modified().ok()
    }

    /// Remembers files that were verified. Files whose path is not UTF-8 are passed over.
    pub(crate) fn record(&self, records: &[FileRecord]) -> Result<(), Error> {
        if records.is_empty() {
            return Ok(());
        }
        self.with_database(|database| {
            let transaction = database.begin_write()?;
            {
                let mut files = transaction.open_table(FILES)?;
                let mut by_content = transaction.open_table(BY_CONTENT)?;
                for record in records {
                    let Ok(value) = serde_json::to_vec(record) else { continue };
                    let key = record.identity.key();
                    files.insert(key, value.as_slice())?;
                    for content in [&record.etag, &record.xet_hash].into_iter().flatten() {
                        by_content.insert(content.as_str(), key)?;
                    }
                }
            }
            xorb_runs::write(&transaction, records)?;
            Ok(transaction.commit()?)
        })
    }

    /// For each of these xorbs, the runs of its chunks that lie in files that were verified. Files may have changed or
    /// gone since.
    pub(crate) fn xorb_runs(&self, xorbs: &[XorbHash]) -> Result<Vec<Vec<HeldRun>>, Error> {
        if xorbs.is_empty() || !self.database_path().exists() {
            return Ok(vec![Vec::new(); xorbs.len()]);
        }
        self.with_database(|database| xorb_runs::read(&database.begin_read()?, xorbs))
    }

    /// Keeps the chunk list of a file.
    #[doc(hidden)] // For the bench of the chunk index.
    pub fn store_leaves(&self, hash: FileHash, leaves: &[Leaf]) -> Result<(), Error> {
        self.lists.store(hash, leaves)
    }

    /// Whether there is a chunk list of a file, which was not looked into.
    pub(crate) fn has_leaves(&self, hash: FileHash) -> bool {
        self.lists.has(hash)
    }

    /// The chunk list of a file, if it is there and reduces to the file's name.
    pub(crate) fn leaves(&self, hash: FileHash) -> Option<Vec<Leaf>> {
        self.lists.load(hash)
    }

    /// Lets the chunks of files be found by their hash. Their lists must be there; files without are passed over.
    #[doc(hidden)] // For the bench of the chunk index.
    pub fn index_chunks(&self, files: &[FileHash]) -> Result<(), Error> {
        self.chunks.add(files)
    }

    /// Lets the chunks of every file that there is a leaf list of be found: those that are not yet, so all of them if
    /// that index was lost.
    #[doc(hidden)] // For the bench of the chunk index.
    pub fn rebuild_chunks(&self) -> Result<(), Error> {
        self.chunks.rebuild()
    }

    /// For each chunk, some of the files that had it, and where: an index into the file's leaf list. Hints.
    #[doc(hidden)] // For the bench of the chunk index.
    pub fn find_chunks(&self, chunks: &[ChunkHash]) -> Vec<Vec<(FileHash, u32)>> {
        self.chunks.find_batch(chunks)
    }

    /// Forgets what a file was made of, when no copy of it is there any more.
    #[cfg_attr(not(test), expect(dead_code, reason = "whoever finds files gone comes next"))]
    pub(crate) fn forget_chunks(&self, files: &[FileHash]) -> Result<(), Error> {
        files.iter().try_for_each(|file| self.lists.remove(*file))?;
        self.chunks.forget(files)
    }

    fn database_path(&self) -> PathBuf {
        self.home.join("index.redb")
    }

    /// Does something with the database, which is open for as long as that takes. What turns out to be
    /// damaged is put aside, so that the next one begins anew.
    fn with_database<T>(&self, work: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, Error> {
        let database = self.open()?;
        // redb asserts what a damaged file breaks.
        let done = std::panic::catch_unwind(AssertUnwindSafe(|| work(&database)));
        drop(database);
        let reason = match done {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(redb::Error::Io(error))) => return Err(self.error(error)),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it is damaged".to_owned(),
        };
        self.put_aside(&reason)?;
        Err(self.error(format!("{reason}; it is begun anew")))
    }

    /// Opens the database, waiting while another process has it, and putting a broken one aside.
    fn open(&self) -> Result<Database, Error> {
        std::fs::create_dir_all(&self.home).map_err(Error::disk("create the folder", &self.home))?;
        let path = self.database_path();
        let mut waited = Duration::ZERO;
        loop {
            let opened =
                std::panic::catch_unwind(|| Database::create(&path).map_err(OpenFailure::from).and_then(check_version));
            match opened.unwrap_or_else(|_| Err(OpenFailure::Unusable("it is damaged".to_owned()))) {
                Ok(database) => return Ok(database),
                Err(OpenFailure::Busy) if waited < OPEN_DEADLINE => {
                    std::thread::sleep(OPEN_PAUSE);
                    waited += OPEN_PAUSE;
                }
                Err(OpenFailure::Busy) => return Err(self.error("another process does not let go of it")),
                Err(OpenFailure::Unusable(reason)) => self.put_aside(&reason)?,
                Err(OpenFailure::Io(reason)) => return Err(self.error(reason)),
            }
        }
    }

    fn put_aside(&self, reason: &str) -> Result<(), Error> {
        let path = self.database_path();
        tracing::info!(path = %path.display(), reason, "the index is begun anew");
        std::fs::rename(&path, path.with_extension("redb.broken")).map_err(Error::disk("put aside", &path))
    }

    fn error(&self, reason: impl ToString) -> Error {
        Error::Index { path: self.database_path(), reason: reason.to_string() }
    }
}

enum OpenFailure {
    /// Another process has it.
    Busy,
    /// It is no index of ours, or a broken one.
    Unusable(String),
    /// The disk failed; a new index would fare no better.
    Io(String),
}

impl From<DatabaseError> for OpenFailure {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen => Self::Busy,
            DatabaseError::Storage(redb::StorageError::Io(error))
                if error.kind() != std::io::ErrorKind::InvalidData =>
            {
                Self::Io(error.to_string())
            }
            other => Self::Unusable(other.to_string()),
        }
    }
}

fn check_version(database: Database) -> Result<Database, OpenFailure> {
    let io = |error: String| OpenFailure::Io(error);
    let transaction = database.begin_read().map_err(|error| io(error.to_string()))?;
    let version = match transaction.open_table(META) {
        Ok(meta) => meta.get(SCHEMA_KEY).map_err(|error| io(error.to_string()))?.map(|version| version.value()),
        Err(TableError::TableDoesNotExist(_)) => None,
        Err(error) => return Err(OpenFailure::Unusable(error.to_string())),
    };
    match version {
        Some(SCHEMA_VERSION) => {}
        Some(other) => return Err(OpenFailure::Unusable(format!("it has version {other}, this is {SCHEMA_VERSION}"))),
        None => write_version(&database).map_err(|error| io(error.to_string()))?,
    }
    Ok(database)
}

fn write_version(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(META)?.insert(SCHEMA_KEY, SCHEMA_VERSION)?;
    transaction.commit()?;
    Ok(())
}
