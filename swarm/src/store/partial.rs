//! A file that is being written, under a name that no other tool takes for a finished or resumable one.

use std::collections::{HashMap, HashSet};
use std::fs::{File, Metadata, OpenOptions};
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fs::{Advice, FlockOperation, SeekFrom, fadvise, flock, fstatfs};
use xet_cas::{ByteRange, Leaf};

use super::journal::Journal;
use super::lock::{BLOCK_BYTES, is_at};
use crate::Error;
use crate::verified::HashedChunk;

/// Name of files that are being written and have no name of their own yet.
pub(super) const STAGED: &str = "staged";
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

/// Ending of the journal of a partial file, after the file's own name.
const JOURNAL_SUFFIX: &str = "-journal";
/// How long the remains of a pull wait for the next one, if it does not list their content.
const KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 3_600);

/// A partial file. It is locked while it lives, so that the remains of a killed process can be told from the work of
/// a living one.
#[derive(Debug)]
pub(crate) struct Partial {
    file: File,
    path: PathBuf,
    /// Of content that the next pull may go on with.
    journal: Option<Journal>,
    /// What is left of it when it is dropped.
    is_kept: AtomicBool,
    is_in_place: AtomicBool,
}

/// What a pull goes on with.
#[derive(Debug)]
pub(crate) enum TakenUp {
    /// Nothing: the file is new.
    Nothing,
    /// Chunks that the journal names.
    Journal,
    /// Bytes of which nothing is known.
    Bytes,
}

impl Partial {
    /// Creates `<folder>/<etag>.<8 hex>.zest` with room for `size` bytes. It is removed when dropped.
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
            let partial = Self { file, path, journal: None, is_kept: false.into(), is_in_place: false.into() };
            partial.file.set_len(size).map_err(Error::disk("resize", &partial.path))?;
            return Ok(partial);
        }
        Err(Error::disk("lock a file in", folder)(std::io::ErrorKind::WouldBlock.into()))
    }

    /// Goes on with what a pull has left of this content, or begins in `folder`. It is kept when dropped, if it
    /// holds anything.
    pub(crate) fn take_up(remains: &Remains, folder: &Path, etag: &str, size: u64) -> Result<(Self, TakenUp), Error> {
        for path in remains.of(etag) {
            let Ok(file) = OpenOptions::new().read(true).write(true).open(path) else { continue };
            let is_this = |metadata: Metadata| metadata.len() == size;
            if lock(&file) != Lock::Held || !is_abandoned(&file) || !file.metadata().is_ok_and(is_this) {
                continue;
            }
            // Before it was locked here its owner may have finished it: then it is in place, under another name.
            if !is_at(&file, path).is_ok_and(|is_at| is_at) {
                continue;
            }
            let journal_path = journal_path(path);
            let (journal, taken_up) = match Journal::open(journal_path.clone()) {
                Some(journal) => (journal, TakenUp::Journal),
                None => (Journal::new(journal_path), TakenUp::Bytes),
            };
            let (is_kept, is_in_place) = (true.into(), false.into());
            return Ok((Self { file, path: path.clone(), journal: Some(journal), is_kept, is_in_place }, taken_up));
        }
        let mut partial = Self::create(folder, etag, size)?;
        partial.journal = Some(Journal::new(journal_path(&partial.path)));
        Ok((partial, TakenUp::Nothing))
    }

    /// Chunks that the journal says were written before this pull. None of them was looked at.
    pub(crate) fn noted(&self) -> Result<impl Iterator<Item = (u64, Leaf)>, Error> {
        let records = self.journal.as_ref().map(Journal::records).transpose()?;
        Ok(records.into_iter().flatten())
    }

    /// Notes that a chunk is in the file, for a later pull.
    pub(crate) fn note(&self, offset: u64, leaf: Leaf) {
        if let Some(journal) = &self.journal {
            journal.note(offset, leaf);
            self.is_kept.store(true, Ordering::Relaxed);
        }
    }

    /// Notes that bytes are in the file which is hashed as a whole.
    pub(crate) fn keep(&self) {
        self.is_kept.store(true, Ordering::Relaxed);
    }

    /// It is not what it should be: nothing of it is kept.
    pub(crate) fn discard(&self) {
        self.is_kept.store(false, Ordering::Relaxed);
    }

    /// The first stretch of bytes from `from` on that were written, as the file system sees it: in whole pages.
    pub(crate) fn next_extent(&self, from: u64) -> Option<ByteRange> {
        let start = rustix::fs::seek(&self.file, SeekFrom::Data(from)).ok()?;
        let end = rustix::fs::seek(&self.file, SeekFrom::Hole(start)).ok()?;
        Some(ByteRange { start, end })
    }

    /// Has the system begin to write these bytes to the disk, so that little is left to do at the end.
    pub(crate) fn begin_write_back(&self, range: ByteRange) {
        // Without a length the advice would be about all of the file.
        let Some(length) = NonZeroU64::new(range.length()) else { return };
        if let Err(error) = fadvise(&self.file, range.start, Some(length), Advice::DontNeed) {
            tracing::trace!(%error, "the system takes no advice");
        }
    }

    /// Deletes what killed processes left in a folder where nothing is ever taken up.
    pub(crate) fn remove_abandoned(folder: &Path) {
        let paths = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let is_partial = |path: &PathBuf| path.file_name().and_then(|name| etag_of(name.to_str()?)).is_some();
        paths.filter(is_partial).for_each(|path| remove_if_abandoned(&path, None));
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
        self.is_in_place.store(true, Ordering::Relaxed);
        if let Some(journal) = &self.journal {
            journal.remove();
        }
        self.file.try_clone().map_err(Error::disk("open", target))
    }
}

/// What earlier pulls have left in a folder, by content.
#[derive(Debug, Default)]
pub(crate) struct Remains {
    by_etag: HashMap<String, Vec<PathBuf>>,
}

impl Remains {
    /// Looks at what is there. Deletes at once what nobody can go on with, and after a while what nobody does.
    /// `is_listed`: whether content is of the commit that is pulled, and so may be wanted.
    pub(crate) fn look(folder: &Path, is_listed: impl Fn(&str) -> bool) -> Self {
        let mut remains = Self::default();
        let (mut partials, mut journals) = (HashSet::new(), Vec::new());
        for path in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if let Some(partial) = name.strip_suffix(JOURNAL_SUFFIX) {
                journals.push((folder.join(partial), path));
            } else if let Some(etag) = etag_of(name) {
                match etag {
                    STAGED => remove_if_abandoned(&path, None),
                    etag if is_listed(etag) => remains.by_etag.entry(etag.to_owned()).or_default().push(path.clone()),
                    _ => remove_if_abandoned(&path, Some(KEPT_FOR)),
                }
                partials.insert(path);
            }
        }
        for (partial, journal) in journals {
            if !partials.contains(&partial)
                && let Err(error) = std::fs::remove_file(&journal)
            {
                tracing::debug!(path = %journal.display(), %error, "cannot remove a journal");
            }
        }
        remains
    }

    fn of(&self, etag: &str) -> &[PathBuf] {
        self.by_etag.get(etag).map_or(&[], Vec::as_slice)
    }

    /// Removes what is left of content that is in place now.
    pub(crate) fn remove(&self, etag: &str) {
        self.of(etag).iter().for_each(|path| remove_if_abandoned(path, None));
    }

    /// Bytes on disk that need not be written again of this content of `size` bytes.
    pub(crate) fn bytes_of(&self, etag: &str, size: u64) -> u64 {
        let of_size = self.of(etag).iter().filter_map(|path| path.metadata().ok().filter(|it| it.len() == size));
        of_size.map(|metadata| (metadata.blocks() * BLOCK_BYTES).min(size)).max().unwrap_or(0)
    }
}

/// The lock is held until the file is gone: whoever creates one checks both.
fn remove_if_abandoned(path: &Path, for_longer_than: Option<Duration>) {
    // One that was about to become a shared payload may be read only.
    let Ok(file) = OpenOptions::new().write(true).open(path).or_else(|_| File::open(path)) else { return };
    let rested = || for_longer_than.is_none_or(|time| age(&file).is_some_and(|age| age > time));
    if lock(&file) == Lock::Held && is_abandoned(&file) && rested() && std::fs::remove_file(path).is_ok() {
        if let Err(error) = std::fs::remove_file(journal_path(path)) {
            tracing::trace!(%error, "there was no journal");
        }
        tracing::debug!(path = %path.display(), "removed what a killed pull left");
    }
}

/// The content that a partial file is of: `<etag>.<8 hex>.zest`.
fn etag_of(name: &str) -> Option<&str> {
    name.strip_suffix(SUFFIX)?.rsplit_once('.').map(|(etag, _)| etag)
}

fn journal_path(partial: &Path) -> PathBuf {
    let mut path = partial.as_os_str().to_owned();
    path.push(JOURNAL_SUFFIX);
    path.into()
}

/// Time since a file was last written.
fn age(file: &File) -> Option<Duration> {
    file.metadata().ok()?.modified().ok()?.elapsed().ok()
}

/// Whether a file whose lock was free is nobody's. On a network file system another machine may hold a lock
/// that is not seen here, so the file must have been left alone for long.
fn is_abandoned(file: &File) -> bool {
    let is_local = fstatfs(file).is_ok_and(|status| !NETWORK_FILE_SYSTEMS.contains(&(status.f_type as u64)));
    is_local || age(file).is_some_and(|age| age > ABANDONED_AFTER)
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
        if self.is_in_place.load(Ordering::Relaxed) || self.is_kept.load(Ordering::Relaxed) {
            return;
        }
        if let Some(journal) = &self.journal {
            journal.remove();
        }
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "cannot remove a partial file");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::{Partial, Remains};

    #[test]
    fn given_remains_of_another_length_when_counted_then_they_save_no_room() {
        let folder = tempfile::tempdir().unwrap();
        let (partial, _) = Partial::take_up(&Remains::default(), folder.path(), "etag", 10_000).unwrap();
        partial.write(&[1; 10_000], 0).unwrap();
        partial.keep();
        drop(partial);

        let remains = Remains::look(folder.path(), |_| true);

        // In whole blocks on the disk, but never more than there is to write.
        assert_eq!(10_000, remains.bytes_of("etag", 10_000));
        assert_eq!(0, remains.bytes_of("etag", 20_000));
    }

    #[test]
    fn given_remains_that_are_read_only_when_their_content_is_in_place_then_they_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (partial, _) = Partial::take_up(&Remains::default(), folder.path(), "etag", 9).unwrap();
        partial.keep();
        partial.file().set_permissions(std::fs::Permissions::from_mode(0o440)).unwrap();
        drop(partial);

        Remains::look(folder.path(), |_| true).remove("etag");

        assert_eq!(0, std::fs::read_dir(folder.path()).unwrap().count());
    }
}
