//! Which local files hold a chunk: from a chunk's hash to files and places in their leaf lists.
//!
//! What it says are hints. Whoever uses one looks at the file's leaf list and hashes the bytes, so damage costs a
//! miss and never a wrong byte. All of it can be had again from the leaf lists.
//!
//! Under `ZEST_HOME/chunks/`: a few sorted [segments](segment), a [catalogue] that names them, a lock for
//! [writers](writer), and at times a note that files are missing. Readers take no lock: what they read is never
//! changed, and what was deleted stays readable for those who have it open.

mod catalogue;
mod entry;
mod merge;
mod segment;
#[cfg(test)]
mod tests;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use xet_cas::{ChunkHash, FileHash};

use self::catalogue::View;
use self::entry::{Entry, prefix};
use self::writer::{LOCK_DEADLINE, Writer, note_behind};
use super::leaf_lists::LeafLists;
use crate::Error;

/// Places that are told of one chunk, at most: when none of so many files is there any more, others hardly are.
const PLACES_MAX: usize = 8;
/// Entries that are looked at for one chunk in one segment, at most: those of forgotten files count too.
const LOOKED_AT_MAX: usize = 64;

/// The index of one user. Clones share what is open.
#[derive(Debug, Clone)]
pub(crate) struct ChunkIndex {
    folder: PathBuf,
    lists: LeafLists,
    view: Arc<Mutex<Arc<View>>>,
}

impl ChunkIndex {
    /// The index under this folder; nothing is opened or created yet.
    pub(crate) fn new(home: &Path) -> Self {
        Self { folder: home.join("chunks"), lists: LeafLists::new(home), view: Arc::default() }
    }

    /// Adds the chunks of these files, from their leaf lists. Those that are there already are passed over. If that
    /// fails, whoever writes next does it.
    pub(crate) fn add(&self, files: &[FileHash]) -> Result<(), Error> {
        self.write(|writer| writer.add(files.iter().copied(), &self.lists))
    }

    /// For each chunk, some of the files that had it, and where: an index into the file's leaf list. Files that were
    /// added last come first.
    pub(crate) fn find_batch(&self, chunks: &[ChunkHash]) -> Vec<Vec<(FileHash, u32)>> {
        let mut view = self.view();
        if view.is_missing && self.lists.files().next().is_some() {
            // If another is at it, this one goes without.
            let rebuilt = Writer::open(&self.folder, Duration::ZERO).and_then(|mut it| it.catch_up(&self.lists));
            match rebuilt {
                Ok(()) => view = self.view(),
                Err(error) => tracing::info!(%error, "the chunk index cannot be made"),
            }
        }
        let mut entries = Vec::new();
        chunks.iter().map(|chunk| find(&view, chunk, &mut entries)).collect()
    }

    /// Files that are there no longer are not told of any more.
    pub(crate) fn forget(&self, files: &[FileHash]) -> Result<(), Error> {
        self.write(|writer| writer.forget(files))
    }

    /// Brings in every file that there is a leaf list of: all of them if the index was lost.
    pub(crate) fn rebuild(&self) -> Result<(), Error> {
        Writer::open(&self.folder, LOCK_DEADLINE)?.catch_up(&self.lists)
    }

    fn write(&self, work: impl FnOnce(&mut Writer<'_>) -> Result<(), Error>) -> Result<(), Error> {
        let written = Writer::open(&self.folder, LOCK_DEADLINE).and_then(|mut writer| {
            if writer.is_behind() {
                writer.catch_up(&self.lists)?;
            }
            work(&mut writer)
        });
        written.inspect_err(|_| note_behind(&self.folder))
    }

    /// What there is now.
    fn view(&self) -> Arc<View> {
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        if !view.is_current(&self.folder) {
            *view = Arc::new(View::load(&self.folder, &view));
            for (number, error) in &view.unusable {
                tracing::info!(%error, segment = %format_args!("{number:016x}"), "a chunk segment cannot be used");
                note_behind(&self.folder);
            }
        }
        view.clone()
    }
}

/// `entries` is for the work in between.
fn find(view: &View, chunk: &ChunkHash, entries: &mut Vec<Entry>) -> Vec<(FileHash, u32)> {
    let mut places: Vec<(FileHash, u32)> = Vec::new();
    // The smallest ones are the newest.
    for segment in view.segments.iter().rev() {
        entries.clear();
        if let Err(error) = segment.find(prefix(chunk), LOOKED_AT_MAX, entries) {
            tracing::debug!(%error, "a chunk segment cannot be read");
        }
        for entry in &*entries {
            let Ok(file) = segment.file(entry.file) else { continue };
            if places.len() < PLACES_MAX && !view.forgotten.contains(&file) && places.iter().all(|it| it.0 != file) {
                places.push((file, entry.chunk));
            }
        }
        if places.len() >= PLACES_MAX {
            break;
        }
    }
    places
}
