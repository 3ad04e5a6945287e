//! The data folder itself: opening it, and writing files so that they are there completely or not at all.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::Deserialize;
use tempfile::NamedTempFile;

use super::super::Error;
use super::{Recent, Store, StoreError};

/// Version of the layout that is written and read.
const FORMAT: u32 = 1;
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
    pub(in super::super) fn open(root: &Path) -> Result<Self, Error> {
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
        let store = Self { root: root.to_owned(), _lock: lock, changing: Mutex::new(()), recent: Recent::default() };
        store.settle().map_err(|error| match error {
            Unsettled::Format { found } => Error::Format { path: root.to_owned(), found, supported: FORMAT },
            Unsettled::Store(StoreError::Io { path, source, .. }) => Error::Data { path, source },
            Unsettled::Store(other) => {
                Error::Data { path: root.to_owned(), source: io::Error::other(other.to_string()) }
            }
        })?;
        Ok(store)
    }

    /// Checks the format, throws away what a crash has left, and writes the format where there is none yet.
    fn settle(&self) -> Result<(), Unsettled> {
        let format_path = self.root.join(FORMAT_FILE);
        let stated = read(&format_path)?;
        if let Some(text) = &stated {
            let format = serde_json::from_slice(text).map(|Format { format }| format);
            if !matches!(format, Ok(FORMAT)) {
                let found = format.map_or("unknown".to_owned(), |format| format.to_string());
                return Err(Unsettled::Format { found });
            }
        }
        let incoming = self.root.join(INCOMING_FOLDER);
        match fs::remove_dir_all(&incoming) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(in_path("empty a folder", &incoming)(error).into());
            }
            _ => fs::create_dir(&incoming).map_err(in_path("create a folder", &incoming))?,
        }
        if stated.is_none() {
            let format = serde_json::json!({ "format": FORMAT }).to_string();
            self.replace(&format_path, format.as_bytes())?;
        }
        Ok(())
    }

    /// A file to write into, on the same file system. It is deleted when dropped.
    pub(in super::super) fn incoming(&self) -> Result<NamedTempFile, StoreError> {
        let folder = self.root.join(INCOMING_FOLDER);
        NamedTempFile::new_in(&folder).map_err(in_path("create a file", &folder))
    }

    /// Where something named by a hash in hexadecimal lies.
    pub(super) fn named(&self, kind: &str, name: &str) -> PathBuf {
        self.root.join(kind).join(name.get(..2).unwrap_or("--")).join(name)
    }

    /// A folder or file below the root.
    pub(super) fn below(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Makes a written file visible under its final name, unless something has that name: then what is there
    /// stays, and the answer is false.
    pub(super) fn publish(&self, file: NamedTempFile, target: &Path) -> Result<bool, StoreError> {
        file.as_file().sync_all().map_err(in_path("sync a file", target))?;
        let is_new = self.rename(file, target)?;
        sync_folder(folder_of(target))?;
        Ok(is_new)
    }

    /// [`publish`](Self::publish) for a caller that syncs the file before and the folder behind.
    pub(super) fn rename(&self, file: NamedTempFile, target: &Path) -> Result<bool, StoreError> {
        create_folder(folder_of(target))?;
        match file.persist_noclobber(target) {
            Ok(_) => Ok(true),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(in_path("rename a file", target)(error.error)),
        }
    }

    /// Writes a small file that cannot be there in another version.
    pub(super) fn write(&self, target: &Path, content: &[u8]) -> Result<bool, StoreError> {
        if target.exists() {
            return Ok(false);
        }
        self.publish(self.filled(content)?, target)
    }

    /// Writes a small file over what is there.
    pub(super) fn replace(&self, target: &Path, content: &[u8]) -> Result<(), StoreError> {
        let file = self.filled(content)?;
        file.as_file().sync_all().map_err(in_path("sync a file", target))?;
        create_folder(folder_of(target))?;
        file.persist(target).map_err(|error| in_path("rename a file", target)(error.error))?;
        sync_folder(folder_of(target))
    }

    /// [`replace`](Self::replace) without waiting for the disk: after a power cut anything may be there.
    pub(super) fn replace_unsynced(&self, target: &Path, content: &[u8]) -> Result<(), StoreError> {
        let file = self.filled(content)?;
        create_folder(folder_of(target))?;
        file.persist(target).map(drop).map_err(|error| in_path("rename a file", target)(error.error))
    }

    /// A file with this content, not synced.
    pub(super) fn filled(&self, content: &[u8]) -> Result<NamedTempFile, StoreError> {
        let mut file = self.incoming()?;
        file.write_all(content).map_err(in_path("write a file", file.path()))?;
        Ok(file)
    }
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
fn create_folder(folder: &Path) -> Result<(), StoreError> {
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
