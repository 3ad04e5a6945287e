//! The data folder itself: opening it, and writing files so that they are there completely or not at all.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::sync::RwLock;

use serde::Deserialize;
use tempfile::NamedTempFile;

use super::super::{Config, Error};
use super::blobs::{Blobs, Directory};
use super::metadata::Metadata;
use super::{Footers, Recent, Store, StoreError, migrate};

/// Version of the layout that is written and read.
const FORMAT: u32 = 2;
/// The version before, which is brought up to this one.
const OLD_FORMAT: u32 = 1;
const FORMAT_FILE: &str = "origin.json";
const LOCK_FILE: &str = "lock";
const INCOMING_FOLDER: &str = "incoming";

#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// Why a folder cannot be used.
enum Unsettled {
    Format { found: String },
    Store(StoreError),
}

impl From<StoreError> for Unsettled {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Store {
    /// Opens the folder, or makes one where there is nothing yet.
    pub(in super::super) fn open(config: &Config) -> Result<Self, Error> {
        let root = config.data.as_path();
        let in_folder = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Data { path, source }
        };
        fs::create_dir_all(root).map_err(in_folder(root))?;
        if !root.join(FORMAT_FILE).exists() && !holds_nothing(root).map_err(in_folder(root))? {
            return Err(Error::Foreign { path: root.to_owned() });
        }
        let lock_path = root.join(LOCK_FILE);
        let lock =
            File::options().create(true).truncate(false).write(true).open(&lock_path).map_err(in_folder(&lock_path))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => Error::InUse { path: root.to_owned() },
            TryLockError::Error(source) => Error::Data { path: lock_path.clone(), source },
        })?;
        let unusable = |error| match error {
            Unsettled::Format { found } => Error::Format { path: root.to_owned(), found, supported: FORMAT },
            Unsettled::Store(StoreError::Io { path, source, .. }) => Error::Data { path, source },
            Unsettled::Store(other) => {
                Error::Data { path: root.to_owned(), source: io::Error::other(other.to_string()) }
            }
        };
        settle(root).map_err(unusable)?;
        let metadata = Metadata::open(root).map_err(|error| unusable(error.into()))?;
        Ok(Self {
            root: root.to_owned(),
            _lock: lock,
            metadata,
            blobs: blobs(config)?,
            removing: RwLock::new(()),
            quota: config.quota,
            recent: Recent::default(),
            footers: Footers::default(),
        })
    }

    /// A file to write into, on the same file system. It is deleted when dropped.
    pub(in super::super) fn incoming(&self) -> Result<NamedTempFile, StoreError> {
        let folder = self.root.join(INCOMING_FOLDER);
        NamedTempFile::new_in(&folder).map_err(in_path("create a file", &folder))
    }

    /// A file with this content, not synced.
    pub(super) fn filled(&self, content: &[u8]) -> Result<NamedTempFile, StoreError> {
        let mut file = self.incoming()?;
        file.write_all(content).map_err(in_path("write a file", file.path()))?;
        Ok(file)
    }
}

fn blobs(config: &Config) -> Result<Blobs, Error> {
    #[cfg(feature = "s3")]
    if let Some(bucket) = &config.bucket {
        let store = std::sync::Arc::new(bucket.open()?);
        let runtime = tokio::runtime::Handle::current();
        return Ok(Blobs::Bucket(super::blobs::Bucket::new(store, &bucket.prefix, runtime)));
    }
    Ok(Blobs::Directory(Directory::new(config.data.clone())))
}

/// Checks the format, throws away what a crash has left, and writes the format where there is none yet.
fn settle(root: &Path) -> Result<(), Unsettled> {
    let format_path = root.join(FORMAT_FILE);
    let stated = read(&format_path)?;
    let format = match &stated {
        None => None,
        Some(text) => match serde_json::from_slice(text).map(|Format { format }| format) {
            Ok(format @ (OLD_FORMAT | FORMAT)) => Some(format),
            Ok(other) => return Err(Unsettled::Format { found: other.to_string() }),
            Err(_) => return Err(Unsettled::Format { found: "unknown".to_owned() }),
        },
    };
    let incoming = root.join(INCOMING_FOLDER);
    match fs::remove_dir_all(&incoming) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(in_path("empty a folder", &incoming)(error).into());
        }
        _ => fs::create_dir(&incoming).map_err(in_path("create a folder", &incoming))?,
    }
    if format == Some(OLD_FORMAT) {
        migrate::build_database(root)?;
    }
    if format != Some(FORMAT) {
        replace(&format_path, &incoming, serde_json::json!({ "format": FORMAT }).to_string().as_bytes())?;
    }
    Ok(migrate::remove_old(root)?)
}

/// Writes a small file over what is there.
fn replace(target: &Path, incoming: &Path, content: &[u8]) -> Result<(), StoreError> {
    let mut file = NamedTempFile::new_in(incoming).map_err(in_path("create a file", incoming))?;
    file.write_all(content).map_err(in_path("write a file", file.path()))?;
    file.as_file().sync_all().map_err(in_path("sync a file", target))?;
    file.persist(target).map_err(|error| in_path("rename a file", target)(error.error))?;
    sync_folder(folder_of(target))
}

/// Whether a folder has no entry but what opening it leaves there.
fn holds_nothing(root: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(root)? {
        let name = entry?.file_name();
        if name != LOCK_FILE && name != INCOMING_FOLDER {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Reads a file; `None` if there is none.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(mut file) = open(path)? else { return Ok(None) };
    let mut content = Vec::new();
    file.read_to_end(&mut content).map_err(in_path("read a file", path))?;
    Ok(Some(content))
}

/// Opens a file; `None` if there is none.
pub(super) fn open(path: &Path) -> Result<Option<File>, StoreError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(in_path("open a file", path)(error)),
    }
}

pub(super) fn in_path(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { what, path, source }
}

/// Makes a folder and those above it, each known to its parent for good.
pub(super) fn create_folder(folder: &Path) -> Result<(), StoreError> {
    if folder.is_dir() {
        return Ok(());
    }
    let Some(parent) = folder.parent() else { return Ok(()) };
    create_folder(parent)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(in_path("create a folder", folder)(error)),
        _ => sync_folder(parent),
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// A rename survives a power cut only once its folder is synced.
pub(super) fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    if cfg!(unix) {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(in_path("sync a folder", folder))?;
    }
    Ok(())
}
