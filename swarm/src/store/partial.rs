//! A file that is being written, under a name that no other tool takes for a finished or resumable one.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock, fstatfs};

use crate::Error;
use crate::verified::HashedChunk;

/// Ending of partial files. Not `.incomplete`: older versions of `huggingface_hub` continue such a file
/// from its size, and ours have holes.
const SUFFIX: &str = ".zest";
/// On a network file system a partial file counts as abandoned when nothing was written for so long: longer
/// than any deadline of a pull.
const ABANDONED_AFTER: Duration = Duration::from_secs(6 * 3_600);
/// Magic numbers of file systems that other machines may share: NFS, CIFS, SMB2, Lustre, FUSE, Ceph, GPFS, 9P.
const NETWORK_FILE_SYSTEMS: [u64; 8] =
    [0x6969, 0xff53_4d42, 0xfe53_4d42, 0x0bd0_0bd0, 0x6573_5546, 0x00c3_6400, 0x4750_4653, 0x0102_1997];
/// Tries to create a file that no other pull removes at that moment.
const CREATIONS_MAX: u32 = 16;

/// A partial file. It is deleted when dropped, and locked while it lives, so that the remains of a
/// killed process can be told from the work of a living one.
#[derive(Debug)]
pub(crate) struct Partial {
    file: File,
    path: PathBuf,
    /// It has its final name.
    is_kept: AtomicBool,
}

impl Partial {
    /// Creates `<folder>/<etag>.<8 hex>.zest` with room for `size` bytes.
    pub(crate) fn create(folder: &Path, etag: &str, size: u64) -> Result<Self, Error> {
        std::fs::create_dir_all(folder).map_err(Error::disk("create the folder", folder))?;
        for _ in 0..CREATIONS_MAX {
            let path = folder.join(format!("{etag}.{:08x}{SUFFIX}", rand::random::<u32>()));
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create_new(true)
                .open(&path)
                .map_err(Error::disk("create", &path))?;
            if lock(&file) == Lock::Busy || file.metadata().map_err(Error::disk("inspect", &path))?.nlink() == 0 {
                // Another pull took the file for abandoned before it was locked, and removes it.
                continue;
            }
            let partial = Self { file, path, is_kept: AtomicBool::new(false) };
            partial.file.set_len(size).map_err(Error::disk("resize", &partial.path))?;
            return Ok(partial);
        }
        Err(Error::disk("lock a file in", folder)(std::io::ErrorKind::WouldBlock.into()))
    }

    /// Writes a chunk at its place.
    pub(crate) fn write_chunk(&self, chunk: &HashedChunk<'_>, offset: u64) -> Result<(), Error> {
        self.write(chunk.data(), offset)
    }

    /// Writes bytes that are hashed as a whole file.
    pub(crate) fn write(&self, data: &[u8], offset: u64) -> Result<(), Error> {
        self.file.write_all_at(data, offset).map_err(Error::disk("write", &self.path))
    }

    /// Reads back what was written.
    pub(crate) fn read(&self, data: &mut [u8], offset: u64) -> Result<(), Error> {
        self.file.read_exact_at(data, offset).map_err(Error::disk("read", &self.path))
    }

    /// The open file, for what concerns it as a whole.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Makes the bytes durable and gives the file its final name. An older file of that name is replaced.
    pub(crate) fn persist(&self, target: &Path) -> Result<File, Error> {
        self.file.sync_all().map_err(Error::disk("write", &self.path))?;
        self.rename(target)
    }

    /// Gives the file its final name. After a power failure it may be empty, which its readers notice.
    pub(crate) fn rename(&self, target: &Path) -> Result<File, Error> {
        std::fs::rename(&self.path, target).map_err(Error::disk("put in place", target))?;
        self.is_kept.store(true, Ordering::Relaxed);
        self.file.try_clone().map_err(Error::disk("open", target))
    }

    /// Deletes what killed processes left in `folder`.
    pub(crate) fn remove_abandoned(folder: &Path) {
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.extension().is_none_or(|extension| extension != &SUFFIX[1..]) {
                continue;
            }
            // The lock is held until the file is gone: whoever creates one checks both.
            let Ok(file) = OpenOptions::new().write(true).open(&path) else { continue };
            if lock(&file) == Lock::Held && is_abandoned(&file) && std::fs::remove_file(&path).is_ok() {
                tracing::debug!(path = %path.display(), "removed what a killed pull left");
            }
        }
    }
}

/// Whether a file whose lock was free is nobody's. On a network file system another machine may hold a lock
/// that is not seen here, so the file must have been left alone for long.
fn is_abandoned(file: &File) -> bool {
    let is_local = fstatfs(file).is_ok_and(|status| !NETWORK_FILE_SYSTEMS.contains(&(status.f_type as u64)));
    let rested = || file.metadata().ok()?.modified().ok()?.elapsed().ok();
    is_local || rested().is_some_and(|rested| rested > ABANDONED_AFTER)
}

/// What came of locking a file. The lock ends with the last descriptor of the file.
#[derive(PartialEq, Eq)]
enum Lock {
    Held,
    Busy,
    /// Some network file systems know no locks: nothing is taken for abandoned there.
    Unsupported,
}

fn lock(file: &File) -> Lock {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Lock::Held,
        Err(rustix::io::Errno::WOULDBLOCK) => Lock::Busy,
        Err(_) => Lock::Unsupported,
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.is_kept.load(Ordering::Relaxed)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::debug!(path = %self.path.display(), %error, "cannot remove a partial file");
        }
    }
}
