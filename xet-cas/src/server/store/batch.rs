//! Many small files made durable together: one after the other, each would wait for the disk by itself.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::folder::{in_path, sync_folder};
use super::{Store, StoreError};

/// Files that wait to be synced. Each keeps a descriptor open.
const WAITING_MAX: usize = 64;
/// Threads that sync at once: most of a sync is waiting, and a file system's journal takes many in one go.
const SYNC_THREADS: usize = 8;

/// Files named by their content on their way in. Only [`finish`](Self::finish) says that all are there for good.
pub(super) struct Batch<'s> {
    store: &'s Store,
    waiting: Vec<(NamedTempFile, PathBuf)>,
}

impl<'s> Batch<'s> {
    pub(super) fn new(store: &'s Store) -> Self {
        Self { store, waiting: Vec::new() }
    }

    /// Takes a file, unless it is there already: then the answer is false.
    pub(super) fn add(&mut self, target: PathBuf, content: &[u8]) -> Result<bool, StoreError> {
        if target.exists() {
            return Ok(false);
        }
        self.waiting.push((self.store.filled(content)?, target));
        if self.waiting.len() == WAITING_MAX {
            self.keep()?;
        }
        Ok(true)
    }

    pub(super) fn finish(mut self) -> Result<(), StoreError> {
        self.keep()
    }

    fn keep(&mut self) -> Result<(), StoreError> {
        let files = std::mem::take(&mut self.waiting);
        at_once(&files, |(file, target)| file.as_file().sync_all().map_err(in_path("sync a file", target)))?;
        let mut folders = BTreeSet::new();
        for (file, target) in files {
            folders.extend(target.parent().map(Path::to_owned));
            self.store.rename(file, &target)?;
        }
        at_once(&folders.into_iter().collect::<Vec<_>>(), |folder| sync_folder(folder))
    }
}

/// Does something with each of these, several at a time.
fn at_once<T: Sync>(these: &[T], each: impl Fn(&T) -> Result<(), StoreError> + Sync) -> Result<(), StoreError> {
    let share = these.len().div_ceil(SYNC_THREADS).max(1);
    std::thread::scope(|scope| {
        let threads: Vec<_> = these.chunks(share).map(|some| scope.spawn(|| some.iter().try_for_each(&each))).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}
