//! Changes to the index: one process at a time, under a lock.
//!
//! New files are merged with as many of the smallest segments as keeps every segment at least twice as large as the
//! next. So there are few, and an entry is written again only when what it lies in grows by half or more: a number of
//! times that is logarithmic in all that there is.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use xet_cas::{FileHash, Leaf};

use super::catalogue::{Catalogue, FORGOTTEN_MAX, SEGMENTS_MAX, View};
use super::merge::{Fresh, MergeError, merge};
use super::segment::Segment;
use crate::Error;
use crate::store::Partial;
use crate::store::leaf_lists::LeafLists;

/// A segment is at least this many times as large as the next smaller one.
const SIZE_RATIO: u64 = 2;
/// Segments with fewer entries are merged whenever something is added: writing 256 KiB costs less than waiting for the
/// disk to have it.
const SMALL_ENTRIES: u64 = 16 * 1024;
/// Leaves that are held at once when many lists are brought in: 2.3 MiB.
const BATCH_LEAVES: usize = 64 * 1024;
/// Others write for milliseconds, seconds when the index of terabytes is merged. Whoever has waited this long leaves a
/// note that something is missing, and goes on without.
pub(super) const LOCK_DEADLINE: Duration = Duration::from_secs(5);
/// Names of the note that files are missing: as it was left, and while they are being added.
const NOTES: [&str; 2] = ["behind", "catching-up"];
/// Pause between two tries to get the lock.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// The right to change the index.
pub(super) struct Writer<'a> {
    folder: &'a Path,
    view: View,
    /// Held until the writer is dropped. `None` where the file system has no locks: two that write at once may lose
    /// entries then.
    _lock: Option<File>,
}

impl<'a> Writer<'a> {
    /// Waits for the lock, clears what killed writers left, and puts aside what cannot be used.
    /// Segments that `known` has open are not opened again, unless something is wrong.
    pub(super) fn open(folder: &'a Path, known: &View, deadline: Duration) -> Result<Self, Error> {
        std::fs::create_dir_all(folder).map_err(Error::disk("create the folder", folder))?;
        let lock = lock(folder, deadline)?;
        let nothing = View::default();
        let view = View::load(folder, if is_noted(folder) { &nothing } else { known });
        let mut writer = Self { folder, view, _lock: lock };
        Partial::remove_abandoned(folder);
        for (number, error) in std::mem::take(&mut writer.view.unusable) {
            writer.put_aside(number, &error)?;
        }
        writer.remove_unlisted();
        Ok(writer)
    }

    /// Whether files with leaf lists may be missing.
    pub(super) fn is_behind(&self) -> bool {
        self.view.is_missing || is_noted(self.folder)
    }

    /// Adds those of these files that are not there yet and have a leaf list.
    pub(super) fn add(&mut self, files: impl Iterator<Item = FileHash>, lists: &LeafLists) -> Result<(), Error> {
        let (mut batch, mut leaf_count, mut is_remembered) = (Vec::new(), 0, false);
        for file in files {
            is_remembered |= self.view.forgotten.remove(&file);
            if self.view.has_file(file) {
                continue;
            }
            let Some(leaves) = lists.load(file) else { continue };
            leaf_count += leaves.len();
            batch.push((file, leaves));
            if leaf_count >= BATCH_LEAVES {
                self.add_batch(std::mem::take(&mut batch))?;
                leaf_count = 0;
            }
        }
        if !batch.is_empty() {
            self.add_batch(batch)
        } else if is_remembered || self.view.is_missing {
            self.commit()
        } else {
            Ok(())
        }
    }

    fn add_batch(&mut self, batch: Vec<(FileHash, Vec<Leaf>)>) -> Result<(), Error> {
        let fresh = Fresh::new(batch);
        let sizes: Vec<u64> = self.view.segments.iter().map(|segment| segment.entry_count()).collect();
        self.insert(&fresh, staying_beside(&sizes, fresh.entry_count()))
    }

    /// Takes files out: at once for lookups, on the disk when their segments are merged.
    pub(super) fn forget(&mut self, files: &[FileHash]) -> Result<(), Error> {
        for files in files.chunks(FORGOTTEN_MAX) {
            let held: Vec<FileHash> = files.iter().copied().filter(|file| self.view.has_file(*file)).collect();
            self.view.forgotten.extend(held);
            if self.view.forgotten.len() > FORGOTTEN_MAX {
                self.insert(&Fresh::new(Vec::new()), 0)?;
            }
        }
        self.commit()
    }

    /// Adds every file that there is a leaf list of. Whatever was missing is there then.
    pub(super) fn catch_up(&mut self, lists: &LeafLists) -> Result<(), Error> {
        // What others note meanwhile is for the next writer. What is not finished stays noted.
        let [noted, doing] = NOTES.map(|note| self.folder.join(note));
        let absent_is_fine = |done: io::Result<()>| match done {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::disk("remove", &noted)(error)),
            _ => Ok(()),
        };
        absent_is_fine(std::fs::rename(&noted, &doing))?;
        let forgotten = self.view.forgotten.clone();
        self.add(lists.files().filter(|file| !forgotten.contains(file)), lists)?;
        absent_is_fine(std::fs::remove_file(&doing))
    }

    /// Merges all segments but the largest `stay` with new files. A segment that cannot be read is put aside.
    fn insert(&mut self, fresh: &Fresh, stay: usize) -> Result<(), Error> {
        loop {
            let inputs = &self.view.segments[stay.min(self.view.segments.len())..];
            match merge(self.folder, fresh, inputs, &self.view.forgotten) {
                Ok(merged) => {
                    self.view.segments.truncate(stay);
                    self.view.segments.extend(merged.map(Arc::new));
                    self.view.segments.sort_by_key(|segment| std::cmp::Reverse(segment.entry_count()));
                    return self.commit();
                }
                Err(MergeError::Input { number, error }) => self.put_aside(number, &error)?,
                Err(MergeError::Output(error)) => return Err(error),
            }
        }
    }

    /// Makes the change happen, and deletes what is in no use any more.
    fn commit(&mut self) -> Result<(), Error> {
        let View { segments, forgotten, .. } = &mut self.view;
        // One that cannot be read may still have it.
        forgotten.retain(|file| segments.iter().any(|segment| segment.has_file(*file).unwrap_or(true)));
        let catalogue = Catalogue {
            segments: segments.iter().map(|segment| segment.number()).collect(),
            forgotten: forgotten.clone(),
        };
        catalogue.write(self.folder)?;
        self.view.is_missing = false;
        self.remove_unlisted();
        Ok(())
    }

    /// Renames a segment that cannot be used, and notes that what it had is missing.
    fn put_aside(&mut self, number: u64, reason: &io::Error) -> Result<(), Error> {
        let path = Segment::path(self.folder, number);
        tracing::info!(path = %path.display(), %reason, "a chunk segment is put aside");
        note_behind(self.folder);
        self.view.segments.retain(|segment| segment.number() != number);
        match std::fs::rename(&path, self.folder.join("segment.broken")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::disk("put aside", path)(error)),
            _ => Ok(()),
        }
    }

    /// Deletes segments that are in no catalogue: merged ones, and those of writers that were killed.
    fn remove_unlisted(&self) {
        let listed: Vec<_> = self.view.segments.iter().map(|it| Segment::path(self.folder, it.number())).collect();
        let Ok(entries) = std::fs::read_dir(self.folder) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.extension().is_some_and(|extension| extension == "segment") && !listed.contains(&path) {
                // What stays is deleted by the next writer.
                let _ = std::fs::remove_file(&path);
            }
        }
    }
}

/// How many segments, the largest ones, stay as they are when so many entries are added. `sizes`: entries in each, the
/// largest first.
pub(super) fn staying_beside(sizes: &[u64], mut entries: u64) -> usize {
    let mut stay = sizes.len();
    while let Some((smallest, _)) = sizes[..stay].split_last()
        && (*smallest < SMALL_ENTRIES.max(SIZE_RATIO.saturating_mul(entries)) || stay >= SEGMENTS_MAX)
    {
        entries = entries.saturating_add(*smallest);
        stay -= 1;
    }
    stay
}

/// Leaves a note that files with leaf lists are missing; the next writer adds them.
pub(super) fn note_behind(folder: &Path) {
    if let Err(error) = File::create(folder.join(NOTES[0])) {
        tracing::debug!(%error, "cannot note that chunks are missing from the index");
    }
}

fn is_noted(folder: &Path) -> bool {
    NOTES.iter().any(|note| folder.join(note).exists())
}

fn lock(folder: &Path, deadline: Duration) -> Result<Option<File>, Error> {
    let path = folder.join("lock");
    let open = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = open.map_err(Error::disk("open", &path))?;
    let mut waited = Duration::ZERO;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(file)),
            Err(Errno::WOULDBLOCK) if waited >= deadline => {
                return Err(Error::Index { path, reason: "another process does not let go of it".to_owned() });
            }
            Err(Errno::WOULDBLOCK | Errno::INTR) => {
                std::thread::sleep(LOCK_PAUSE);
                waited += LOCK_PAUSE;
            }
            Err(_) => return Ok(None),
        }
    }
}
