//! The database: everything an origin knows but the bytes. Many read at once, one writes, and what was written
//! is on the disk when [`Metadata::write`] returns.
//!
//! After the disk failed a database answers nothing more until it was opened anew, which is done here: a full disk
//! must not end the service.

use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use redb::{Database, ReadTransaction, ReadableDatabase as _, ReadableTable as _, TableDefinition, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::StoreError;

/// File of the database.
pub(super) const FILE: &str = "metadata.redb";
/// Memory for pages of the database, bytes. What is read again and again is a few pages of each table.
const CACHE_BYTES: usize = 32 * 1024 * 1024;

/// 32 bytes that name something.
pub(super) type Name = &'static [u8; 32];

/// Name of a repository, `models/lab/tiny`, to its number.
pub(super) const NAMES: TableDefinition<'_, &str, u64> = TableDefinition::new("names");
/// Names that repositories had before, to their number.
pub(super) const FORMER_NAMES: TableDefinition<'_, &str, u64> = TableDefinition::new("former_names");
/// Number of a repository to what it is, JSON.
pub(super) const REPOS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("repos");
/// Repository and full name of a ref to the commit it points to.
pub(super) const REFS: TableDefinition<'_, (u64, &str), &str> = TableDefinition::new("refs");
/// Repository and commit to what was said about it, JSON.
pub(super) const COMMITS: TableDefinition<'_, (u64, &str), &[u8]> = TableDefinition::new("commits");
/// Repository and commit to its files, JSON.
pub(super) const TREES: TableDefinition<'_, (u64, &str), &[u8]> = TableDefinition::new("trees");
/// Repository and number of a discussion to what was said and done in it, JSON.
pub(super) const DISCUSSIONS: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("discussions");
/// Repository and file: some commit of the repository has it.
pub(super) const HELD: TableDefinition<'_, (u64, Name), ()> = TableDefinition::new("held");
/// File to how it is put together: when it was registered, u64 little-endian, and a shard of it alone.
pub(super) const FILES: TableDefinition<'_, Name, &[u8]> = TableDefinition::new("files");
/// SHA-256 to the file with these bytes.
pub(super) const SHA256: TableDefinition<'_, Name, Name> = TableDefinition::new("sha256");
/// Chunk to the xorbs to tell of when asked about it, one after the other.
pub(super) const CHUNKS: TableDefinition<'_, Name, &[u8]> = TableDefinition::new("chunks");
/// Xorb to its bytes, footer included, and when somebody last had a use for it, Unix seconds.
pub(super) const XORBS: TableDefinition<'_, Name, (u64, u64)> = TableDefinition::new("xorbs");
/// Git name of a regular file to its bytes and when somebody last had a use for it, Unix seconds.
pub(super) const OBJECTS: TableDefinition<'_, &str, (u64, u64)> = TableDefinition::new("objects");
/// Numbers about the store itself.
pub(super) const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");
/// Secrets of the store.
pub(super) const SECRETS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("secrets");

/// In [`NUMBERS`]: bytes of all xorbs and objects.
pub(super) const STORED_BYTES: &str = "stored_bytes";
/// In [`NUMBERS`]: the number for the next repository.
pub(super) const NEXT_REPO: &str = "next_repo";
/// In [`SECRETS`]: what signs tokens and URLs.
const SIGNING_KEY: &str = "signing_key";

pub(super) struct Metadata {
    path: PathBuf,
    /// Locked for writing only to open the database anew.
    database: RwLock<Option<Database>>,
}

/// What is done inside a transaction fails by the database or by itself.
pub(super) type Done<T> = Result<T, Failed>;

/// Why a transaction comes to nothing.
pub(super) enum Failed {
    Database(Box<redb::Error>),
    Store(StoreError),
}

impl<E: Into<redb::Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Database(Box::new(error.into()))
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Metadata {
    /// Opens or makes the database in this folder. One that a killed process left is repaired.
    pub(super) fn open(root: &Path) -> Result<Self, StoreError> {
        Self::open_file(root.join(FILE))
    }

    pub(super) fn open_file(path: PathBuf) -> Result<Self, StoreError> {
        let database = open(&path)?;
        let metadata = Self { path, database: RwLock::new(Some(database)) };
        metadata.write(|transaction| {
            // Reading needs no case for tables that are not there.
            transaction.open_table(NAMES)?;
            transaction.open_table(FORMER_NAMES)?;
            transaction.open_table(REPOS)?;
            transaction.open_table(REFS)?;
            transaction.open_table(COMMITS)?;
            transaction.open_table(TREES)?;
            transaction.open_table(DISCUSSIONS)?;
            transaction.open_table(HELD)?;
            transaction.open_table(FILES)?;
            transaction.open_table(SHA256)?;
            transaction.open_table(CHUNKS)?;
            transaction.open_table(XORBS)?;
            transaction.open_table(OBJECTS)?;
            transaction.open_table(NUMBERS)?;
            transaction.open_table(SECRETS)?;
            Ok(())
        })?;
        Ok(metadata)
    }

    /// Looks something up in one state of the database.
    pub(super) fn read<T>(&self, look: impl FnOnce(&ReadTransaction) -> Done<T>) -> Result<T, StoreError> {
        self.with(|database| look(&database.begin_read()?))
    }

    /// Changes something, all of it or nothing, and waits until it is on the disk.
    pub(super) fn write<T>(&self, change: impl FnOnce(&WriteTransaction) -> Done<T>) -> Result<T, StoreError> {
        self.with(|database| {
            let transaction = database.begin_write()?;
            // Dropped without a commit, it comes to nothing.
            let changed = change(&transaction)?;
            transaction.commit()?;
            Ok(changed)
        })
    }

    fn with<T>(&self, job: impl FnOnce(&Database) -> Done<T>) -> Result<T, StoreError> {
        let result = match &*self.database.read().unwrap_or_else(PoisonError::into_inner) {
            Some(database) => job(database),
            None => Err(redb::Error::PreviousIo.into()),
        };
        match result {
            Ok(value) => Ok(value),
            Err(Failed::Store(error)) => Err(error),
            Err(Failed::Database(error)) => {
                if matches!(*error, redb::Error::Io(_) | redb::Error::PreviousIo | redb::Error::Corrupted(_)) {
                    self.open_anew();
                }
                Err(in_database(&self.path)(*error))
            }
        }
    }

    fn open_anew(&self) {
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        // It is locked until it is dropped.
        *database = None;
        match open(&self.path) {
            Ok(opened) => *database = Some(opened),
            Err(error) => {
                tracing::error!(%error, "the database cannot be opened again; the next request tries once more")
            }
        }
    }

    /// The secret that signs tokens and URLs: made once, so that they outlive the process.
    pub(super) fn signing_key(&self) -> Result<[u8; 32], StoreError> {
        self.write(|transaction| {
            let mut secrets = transaction.open_table(SECRETS)?;
            if let Some(known) = secrets.get(SIGNING_KEY)?
                && let Ok(key) = known.value().try_into()
            {
                return Ok(key);
            }
            let key: [u8; 32] = rand::random();
            secrets.insert(SIGNING_KEY, key.as_slice())?;
            Ok(key)
        })
    }
}

fn open(path: &Path) -> Result<Database, StoreError> {
    let opened = Database::builder().set_cache_size(CACHE_BYTES).create(path);
    opened.map_err(|error| in_database(path)(error.into()))
}

fn in_database(path: &Path) -> impl FnOnce(redb::Error) -> StoreError {
    let path = path.to_owned();
    move |error| match error {
        redb::Error::Io(source) => StoreError::Io { what: "use the database", path, source },
        other => StoreError::Corrupt { path, reason: other.to_string() },
    }
}

/// A record as it is stored.
pub(super) fn encode(record: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(record).map_err(|error| StoreError::Commit { reason: error.to_string() })
}

/// Reads a stored record.
pub(super) fn decode<T: DeserializeOwned>(record: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(record)
        .map_err(|error| StoreError::Corrupt { path: PathBuf::from(FILE), reason: error.to_string() })
}

/// Adds to a number, which begins at 0.
pub(super) fn add(transaction: &WriteTransaction, number: &str, difference: i64) -> Done<u64> {
    let mut numbers = transaction.open_table(NUMBERS)?;
    let before = numbers.get(number)?.map_or(0, |value| value.value());
    let after = before.saturating_add_signed(difference);
    numbers.insert(number, after)?;
    Ok(after)
}
