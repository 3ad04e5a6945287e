//! Locks between processes that share a cache, ours and others': `flock` on files made for it, as Python's
//! `filelock` takes it. Nothing here is needed for correctness, which rests on renaming: a lock only saves
//! fetching the same content twice.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Error as IoError, ErrorKind, Result as IoResult};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags, fchmod, flock, open};
use rustix::io::Errno;

/// Mode of the lock files of content, as `huggingface_hub` makes them: a group may share a cache.
const CONTENT_LOCK_MODE: Mode = Mode::from_raw_mode(0o664);
/// Mode of the locks of the shared store: its users need have no group in common.
const SHARED_LOCK_MODE: Mode = Mode::from_raw_mode(0o666);
/// Tries to lock a file that others remove or replace at that moment.
const TRIES_MAX: u32 = 16;
/// Bytes by which the work of a lock's holder must have grown to count as progress, so that a trickle does not
/// hold up others for ever.
const PROGRESS_BYTES_MIN: u64 = 1024 * 1024;
/// Unit in which the system counts what a file takes on the disk.
pub(super) const BLOCK_BYTES: u64 = 512;
/// Longest wait for a lock of the shared store, which is held for the time of a few renames.
const SHARED_LOCK_DEADLINE: Duration = Duration::from_secs(10);
/// Pause between two tries at such a lock.
const SHARED_LOCK_PAUSE: Duration = Duration::from_millis(20);

/// A lock, held until it is dropped. Its file stays: whoever waits for it has it open.
#[derive(Debug)]
pub(crate) struct FileLock {
    _file: File,
}

impl FileLock {
    /// Tries once to lock the content that `path` stands for. `None` while another has it.
    ///
    /// # Errors
    /// If there is no such lock to be had: the cache cannot be written, or the file system knows no locks.
    pub(crate) fn try_content(path: &Path) -> IoResult<Option<Self>> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        Self::try_at(path, CONTENT_LOCK_MODE)
    }

    /// Locks a payload of the shared store. Blocks, but not for long.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`] if others do not let go of it, and as [`Self::try_content`].
    pub(super) fn wait_for_payload(path: &Path) -> IoResult<Self> {
        let mut waited = Duration::ZERO;
        loop {
            if let Some(lock) = Self::try_at(path, SHARED_LOCK_MODE)? {
                return Ok(lock);
            }
            if waited >= SHARED_LOCK_DEADLINE {
                return Err(ErrorKind::TimedOut.into());
            }
            std::thread::sleep(SHARED_LOCK_PAUSE);
            waited += SHARED_LOCK_PAUSE;
        }
    }

    fn try_at(path: &Path, mode: Mode) -> IoResult<Option<Self>> {
        for _ in 0..TRIES_MAX {
            let file = match open_lock_file(path, mode) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                opened => opened?,
            };
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                // Some file systems say so in their own way.
                Err(Errno::WOULDBLOCK | Errno::ACCESS) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
            // A lock on a file that others no longer find keeps nobody out.
            if is_at(&file, path)? {
                return Ok(Some(Self { _file: file }));
            }
        }
        Err(IoError::new(ErrorKind::NotFound, "the lock is removed again and again"))
    }
}

/// Opens a lock file, or makes it. Never one behind a link that somebody put there.
fn open_lock_file(path: &Path, mode: Mode) -> IoResult<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file: File = match open(path, flags | OFlags::RDWR | OFlags::CREATE | OFlags::EXCL, mode) {
        Ok(created) => {
            // Before anybody else can have it open; the umask has taken bits away.
            if let Err(error) = fchmod(&created, mode) {
                tracing::debug!(path = %path.display(), %error, "cannot set the mode of a lock");
            }
            created.into()
        }
        Err(Errno::EXIST) => match open(path, flags | OFlags::RDWR, Mode::empty()) {
            // Of another user, who lets us read it. That is enough, but for some network file systems.
            Err(Errno::ACCESS) => open(path, flags | OFlags::RDONLY, Mode::empty())?.into(),
            opened => opened?.into(),
        },
        Err(error) => return Err(error.into()),
    };
    if !file.metadata()?.is_file() {
        return Err(IoError::new(ErrorKind::InvalidInput, "the lock is no regular file"));
    }
    Ok(file)
}

/// Whether an open file is the one that has this name.
pub(super) fn is_at(file: &File, path: &Path) -> IoResult<bool> {
    let ours = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(named) => Ok((ours.dev(), ours.ino()) == (named.dev(), named.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Bytes on the disk of all that is being written in a folder of blobs, ours and others', by the content's name.
pub(crate) fn partial_bytes(folder: &Path) -> HashMap<String, u64> {
    let mut bytes = HashMap::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        // `<etag>.<8 hex>.zest`, and of other tools `<etag>.<8 hex>.incomplete` and `<etag>.incomplete`.
        if let Some((etag, _)) = name.to_str().and_then(|name| name.split_once('.'))
            && let Ok(metadata) = entry.metadata()
        {
            // Not the length, which may be set before anything is written.
            *bytes.entry(etag.to_owned()).or_default() += metadata.blocks() * BLOCK_BYTES;
        }
    }
    bytes
}

/// How long the holder of a lock is waited for: as long as its work grows, and a deadline longer.
#[derive(Debug)]
pub(crate) struct Patience {
    begun: Instant,
    /// When the work had last grown, and to what.
    grown_at: Instant,
    bytes: u64,
}

impl Patience {
    pub(crate) fn new(now: Instant) -> Self {
        Self { begun: now, grown_at: now, bytes: 0 }
    }

    /// Takes note of how many bytes the holder has on the disk.
    pub(crate) fn look(&mut self, bytes: u64, now: Instant) {
        if bytes >= self.bytes.saturating_add(PROGRESS_BYTES_MIN) {
            self.bytes = bytes;
            self.grown_at = now;
        }
    }

    /// For how long nothing has grown.
    pub(crate) fn idle(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.grown_at)
    }

    /// For how long it has been waited.
    pub(crate) fn waited(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.begun)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::time::{Duration, Instant};

    use super::{FileLock, PROGRESS_BYTES_MIN, Patience, partial_bytes};

    #[test]
    fn given_a_lock_when_it_is_tried_again_then_busy_until_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("repo/etag.lock");

        let held = FileLock::try_content(&path).unwrap();

        assert!(held.is_some());
        assert!(FileLock::try_content(&path).unwrap().is_none());
        drop(held);
        assert!(FileLock::try_content(&path).unwrap().is_some());
        assert_eq!(0o664, path.metadata().unwrap().permissions().mode() & 0o777);
    }

    #[test]
    fn given_a_lock_whose_file_was_removed_when_tried_then_the_new_file_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("etag.lock");
        let _old = FileLock::try_content(&path).unwrap().unwrap();
        std::fs::remove_file(&path).unwrap();

        let new = FileLock::try_content(&path).unwrap();

        assert!(new.is_some());
        assert!(FileLock::try_content(&path).unwrap().is_none());
    }

    #[test]
    fn given_a_link_or_a_folder_in_a_locks_place_when_tried_then_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("target"), folder.path().join("etag.lock"));
        symlink(&target, &link).unwrap();

        assert!(FileLock::try_content(&link).is_err());
        assert!(!target.exists());
        assert!(FileLock::try_content(folder.path()).is_err());
    }

    #[test]
    fn given_partial_files_when_counted_then_by_content_and_only_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: usize| std::fs::write(folder.path().join(name), vec![1; bytes]).unwrap();
        write("aa.01234567.zest", 10_000);
        write("aa.01234567.incomplete", 10_000);
        write("bb.incomplete", 10_000);
        write("finished", 10_000);
        std::fs::File::create(folder.path().join("cc.01234567.zest")).unwrap().set_len(1 << 30).unwrap();

        let bytes = partial_bytes(folder.path());

        assert!(bytes["aa"] >= 20_000 && bytes["bb"] >= 10_000, "{bytes:?}");
        assert!(bytes["cc"] < 1 << 20, "{bytes:?}");
        assert!(!bytes.contains_key("finished"));
    }

    #[expect(clippy::disallowed_methods, reason = "a point in time to count from")]
    fn now() -> Instant {
        Instant::now()
    }

    #[test]
    fn given_growth_of_a_megabyte_when_looked_at_then_the_deadline_begins_anew() {
        let begun = now();
        let later = |seconds| begun + Duration::from_secs(seconds);
        let mut patience = Patience::new(begun);

        patience.look(PROGRESS_BYTES_MIN - 1, later(5));
        assert_eq!(Duration::from_secs(5), patience.idle(later(5)));
        patience.look(PROGRESS_BYTES_MIN, later(6));
        assert_eq!(Duration::from_secs(3), patience.idle(later(9)));
        patience.look(PROGRESS_BYTES_MIN + 1, later(10));
        patience.look(0, later(11));
        assert_eq!(Duration::from_secs(6), patience.idle(later(12)));
        assert_eq!(Duration::from_secs(12), patience.waited(later(12)));
    }
}
