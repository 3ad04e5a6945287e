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
mod filter;
mod merge;
mod segment;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::{HashMap, hash_map};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use xet_cas::{ChunkHash, FileHash};

use self::catalogue::View;
use self::entry::{Entry, prefix};
use self::segment::Segment;
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
            let writer = Writer::open(&self.folder, &view, Duration::ZERO);
            let rebuilt = writer.and_then(|mut writer| writer.catch_up(&self.lists));
            match rebuilt {
                Ok(()) => view = self.view(),
                Err(error) => tracing::info!(%error, "the chunk index cannot be made"),
            }
        }
        let mut lookup = Lookup { view: &view, entries: Vec::new(), names: HashMap::new() };
        chunks.iter().map(|chunk| lookup.find(chunk)).collect()
    }

    /// Files that are there no longer are not told of any more.
    pub(crate) fn forget(&self, files: &[FileHash]) -> Result<(), Error> {
        self.write(|writer| writer.forget(files))
    }

    /// Brings in every file that there is a leaf list of: all of them if the index was lost.
    pub(crate) fn rebuild(&self) -> Result<(), Error> {
        Writer::open(&self.folder, &self.view(), LOCK_DEADLINE)?.catch_up(&self.lists)
    }

    fn write(&self, work: impl FnOnce(&mut Writer<'_>) -> Result<(), Error>) -> Result<(), Error> {
        let written = Writer::open(&self.folder, &self.view(), LOCK_DEADLINE).and_then(|mut writer| {
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

/// Lookups that belong together.
struct Lookup<'a> {
    view: &'a View,
    /// For the work in between.
    entries: Vec<Entry>,
    /// Files that were met, by segment and number: chunks that are asked for together are often in the same ones.
    names: HashMap<(u64, u32), FileHash>,
}

impl Lookup<'_> {
    fn find(&mut self, chunk: &ChunkHash) -> Vec<(FileHash, u32)> {
        let mut places: Vec<(FileHash, u32)> = Vec::new();
        // The smallest ones are the newest.
        for segment in self.view.segments.iter().rev() {
            self.entries.clear();
            if let Err(error) = segment.find(prefix(chunk), LOOKED_AT_MAX, &mut self.entries) {
                tracing::debug!(%error, "a chunk segment cannot be read");
            }
            for at in 0..self.entries.len() {
                let Entry { file, chunk, .. } = self.entries[at];
                let Some(file) = self.name(segment, file) else { continue };
                if !self.view.forgotten.contains(&file) && places.iter().all(|place| place.0 != file) {
                    places.push((file, chunk));
                }
                if places.len() >= PLACES_MAX {
                    return places;
                }
            }
        }
        places
    }

    fn name(&mut self, segment: &Segment, number: u32) -> Option<FileHash> {
        match self.names.entry((segment.number(), number)) {
            hash_map::Entry::Occupied(known) => Some(*known.get()),
            hash_map::Entry::Vacant(unknown) => Some(*unknown.insert(segment.file(number).ok()?)),
        }
    }
}
