//! A file that is being written, under a name that no other tool takes for a finished or resumable one.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::Error;
use crate::verified::HashedChunk;

/// Ending of partial files. Not `.incomplete`: older versions of `huggingface_hub` continue such a file
/// from its size, and ours have holes.
const SUFFIX: &str = ".zest";

/// A partial file. It is deleted when dropped, and locked while it lives, so that the remains of a
/// killed process can be told from the work of a living one.
#[derive(Debug)]
pub(crate) struct Partial {
    file: File,
    path: PathBuf,
    is_kept: bool,
}

impl Partial {
    /// Creates `<folder>/<etag>.<8 hex>.zest` with room for `size` bytes.
    pub(crate) fn create(folder: &Path, etag: &str, size: u64) -> Result<Self, Error> {
        std::fs::create_dir_all(folder).map_err(Error::disk("create the folder", folder))?;
        let path = folder.join(format!("{etag}.{:08x}{SUFFIX}", rand::random::<u32>()));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(Error::disk("create", &path))?;
        let partial = Self { file, path, is_kept: false };
        flock(&partial.file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| Error::disk("lock", &partial.path)(error.into()))?;
        partial.file.set_len(size).map_err(Error::disk("resize", &partial.path))?;
        Ok(partial)
    }

    /// Writes a chunk at its place.
    pub(crate) fn write_chunk(&self, chunk: &HashedChunk<'_>, offset: u64) -> Result<(), Error> {
        self.write(chunk.data(), offset)
    }

    /// Writes bytes that are hashed as a whole file.
    pub(crate) fn write(&self, data: &[u8], offset: u64) -> Result<(), Error> {
        self.file.write_all_at(data, offset).map_err(Error::disk("write", &self.path))
    }

    /// Makes the bytes durable and gives the file its final name. An older file of that name is replaced.
    pub(crate) fn persist(mut self, target: &Path) -> Result<File, Error> {
        self.file.sync_all().map_err(Error::disk("write", &self.path))?;
        std::fs::rename(&self.path, target).map_err(Error::disk("put in place", target))?;
        self.is_kept = true;
        self.file.try_clone().map_err(Error::disk("open", target))
    }

    /// Deletes what killed processes left in `folder`.
    pub(crate) fn remove_abandoned(folder: &Path) {
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            let is_ours = path.extension().is_some_and(|extension| extension == &SUFFIX[1..]);
            if is_ours && is_unlocked(&path) && std::fs::remove_file(&path).is_ok() {
                tracing::debug!(path = %path.display(), "removed what a killed pull left");
            }
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.is_kept
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::debug!(path = %self.path.display(), %error, "cannot remove a partial file");
        }
    }
}

fn is_unlocked(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok())
}
