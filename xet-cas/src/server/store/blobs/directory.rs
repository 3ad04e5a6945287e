//! Bytes as files: they appear by rename, complete and synced.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::super::StoreError;
use super::super::folder::{create_folder, in_path, sync_folder};
use super::{Blob, Kind};

/// Threads that sync at once: most of a sync is waiting, and a file system's journal takes many in one go.
const SYNC_THREADS: usize = 8;

pub(in super::super) struct Directory {
    root: PathBuf,
}

impl Directory {
    pub(in super::super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(super) fn put(&self, kind: Kind, files: Vec<(String, NamedTempFile)>) -> Result<(), StoreError> {
        let target = |name: &str| self.root.join(kind.path(name));
        at_once(&files, |(name, file)| file.as_file().sync_all().map_err(in_path("sync a file", &target(name))))?;
        let mut folders = BTreeSet::new();
        for (name, file) in files {
            let target = target(&name);
            if let Some(folder) = target.parent() {
                create_folder(folder)?;
                folders.insert(folder.to_owned());
            }
            match file.persist_noclobber(&target) {
                Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(in_path("rename a file", &target)(error.error));
                }
                _ => {}
            }
        }
        at_once(&folders.into_iter().collect::<Vec<_>>(), |folder| sync_folder(folder))
    }

    pub(super) fn open(&self, kind: Kind, name: &str) -> Result<Option<Blob>, StoreError> {
        let path = self.root.join(kind.path(name));
        let opened = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.and_then(Blob::of_file),
        };
        opened.map(Some).map_err(in_path("open a file", &path))
    }

    pub(super) fn remove(&self, kind: Kind, name: &str) -> Result<(), StoreError> {
        let path = self.root.join(kind.path(name));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(in_path("remove a file", &path)(error)),
            _ => Ok(()),
        }
    }

    pub(in super::super) fn list(&self, kind: Kind, each: &mut dyn FnMut(String, u64)) -> Result<(), StoreError> {
        for folder in entries(&self.root.join(kind.folder()))? {
            for file in entries(&folder.path())? {
                let (name, metadata) = (file.file_name(), file.metadata());
                let metadata = metadata.map_err(in_path("look at a file", &file.path()))?;
                // Anything else is none of ours.
                if let Some(name) = name.to_str().filter(|name| kind.is_name(name)) {
                    each(name.to_owned(), metadata.len());
                }
            }
        }
        Ok(())
    }
}

/// What is in a folder; nothing if it is none.
fn entries(folder: &Path) -> Result<Vec<fs::DirEntry>, StoreError> {
    let listed = match fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        listed => listed.and_then(Iterator::collect),
    };
    listed.map_err(in_path("list a folder", folder))
}

/// Does something with each of these, several at a time.
fn at_once<T: Sync>(these: &[T], each: impl Fn(&T) -> Result<(), StoreError> + Sync) -> Result<(), StoreError> {
    if let [only] = these {
        return each(only);
    }
    let share = these.len().div_ceil(SYNC_THREADS).max(1);
    std::thread::scope(|scope| {
        let threads: Vec<_> = these.chunks(share).map(|some| scope.spawn(|| some.iter().try_for_each(&each))).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}
