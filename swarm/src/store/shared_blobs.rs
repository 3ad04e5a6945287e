//! The store that the repositories of a cache share since `huggingface_hub` 2.4: `<cache>/blobs/<2 hex>/<name in
//! the CAS>` holds the payload, `<repo>/blobs/<etag>` links to it, and `<payload>.refs` lists these links, so that
//! a payload without any can be collected. A reference is on the disk before its link can be seen.
//!
//! All of it is optional: what cannot be shared is kept by the repository alone. A payload is never taken for what
//! its name says; whoever links to one has hashed it, or knows that it is unchanged since it was hashed.

use std::fs::{File, Metadata, Permissions};
use std::io::{Error as IoError, ErrorKind, Result as IoResult, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};
use xet_cas::FileHash;

use super::Partial;
use super::lock::FileLock;
use super::staging::StagedLink;
use crate::Error;

/// The store's folder in the cache.
const FOLDER: &str = "blobs";
/// Says that the folder is the shared store, and of which layout.
const MARKER: &str = ".huggingface-shared-blobs";
const MARKER_CONTENT: &[u8] = b"1\n";
/// Most entries that are looked at in a folder without a marker: it is ours to mark only if nothing is in it but
/// markers that were never finished.
const UNFINISHED_MARKERS_MAX: usize = 64;

/// The shared store of one cache.
#[derive(Debug, Clone, Copy)]
pub(super) struct SharedBlobs<'a> {
    cache: &'a Path,
}

/// A link of a repository that leads, or will lead, into the store.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reference<'a> {
    /// Folder of the repository in the cache.
    pub(super) repo: &'a Path,
    pub(super) etag: &'a str,
}

impl Reference<'_> {
    fn path(&self) -> PathBuf {
        self.repo.join("blobs").join(self.etag)
    }

    /// As it stands in the list: relative to the cache.
    fn line(&self) -> IoResult<String> {
        let repo = self.repo.file_name().and_then(|name| name.to_str()).filter(|name| !name.contains(['\n', '\r']));
        let repo = repo.ok_or_else(|| IoError::new(ErrorKind::InvalidInput, "the repository's folder has no name"))?;
        Ok(format!("{repo}/blobs/{}\n", self.etag))
    }
}

/// What came of publishing.
pub(super) enum Published {
    /// The payload is here.
    At(PathBuf, File),
    /// It cannot be shared, and is the partial file still.
    Refused(Error),
}

impl<'a> SharedBlobs<'a> {
    pub(super) fn of(cache: &'a Path) -> Self {
        Self { cache }
    }

    /// The payload of this name, if there is one of the right length. Its bytes may be anything.
    pub(super) fn payload(&self, hash: FileHash, size: u64) -> Option<PathBuf> {
        let path = self.path(hash);
        let is_payload = |metadata: Metadata| metadata.is_file() && metadata.size() == size;
        (self.is_marked() && std::fs::symlink_metadata(&path).is_ok_and(is_payload)).then_some(path)
    }

    /// Makes a verified file the payload of its name, in the place of whatever has the name, and links to it.
    ///
    /// # Errors
    /// Only if it is the payload already and no link could be made.
    pub(super) fn publish(&self, partial: &Partial, hash: FileHash, from: Reference<'_>) -> Result<Published, Error> {
        let prepare = || {
            // The link before all else: where there are no links there is no store.
            let link = self.stage_link(hash, from)?;
            self.create(hash)?;
            // Before the lock is taken, since it may take long.
            partial.file().sync_all()?;
            let lock = self.lock(hash)?;
            self.append_reference(hash, from)?;
            self.make_immutable(partial.file(), hash)?;
            Ok((link, lock))
        };
        let path = self.path(hash);
        let before = partial.file().metadata().map_err(Error::disk("inspect", &path))?.permissions();
        let published = prepare()
            .map_err(Error::disk("share", &path))
            .and_then(|prepared| partial.persist(&path).map(|file| (prepared, file)));
        let ((link, _lock), file) = match published {
            Ok(published) => published,
            Err(error) => {
                // A later pull may go on with it.
                partial.file().set_permissions(before).map_err(Error::disk("share", &path))?;
                return Ok(Published::Refused(error));
            }
        };
        link.rename(&from.path()).map_err(Error::disk("link", from.path()))?;
        Ok(Published::At(path, file))
    }

    /// Links to a payload that is known to be right.
    ///
    /// # Errors
    /// If it is gone meanwhile, or cannot be linked to.
    pub(super) fn link(&self, hash: FileHash, size: u64, from: Reference<'_>) -> Result<(), Error> {
        let stage = || {
            let lock = self.lock(hash)?;
            if self.payload(hash, size).is_none() {
                return Err(ErrorKind::NotFound.into());
            }
            let link = self.stage_link(hash, from)?;
            self.append_reference(hash, from)?;
            Ok((link, lock))
        };
        let (link, _lock) = stage().map_err(Error::disk("share", self.path(hash)))?;
        link.rename(&from.path()).map_err(Error::disk("link", from.path()))
    }

    fn folder(&self) -> PathBuf {
        self.cache.join(FOLDER)
    }

    fn path(&self, hash: FileHash) -> PathBuf {
        let name = hash.to_string();
        self.folder().join(&name[..2]).join(name)
    }

    fn beside(&self, hash: FileHash, ending: &str) -> PathBuf {
        let mut path = self.path(hash).into_os_string();
        path.push(ending);
        path.into()
    }

    fn is_marked(&self) -> bool {
        let marker = self.folder().join(MARKER);
        is_folder(&self.folder())
            && std::fs::symlink_metadata(&marker).is_ok_and(|metadata| metadata.is_file() && metadata.size() <= 64)
            && std::fs::read(&marker).is_ok_and(|content| content == MARKER_CONTENT)
    }

    /// Creates the store, if it is not there, and the folder for one payload. A folder that others use for
    /// something else is left alone.
    fn create(&self, hash: FileHash) -> IoResult<()> {
        create_folder(&self.folder())?;
        if !self.is_marked() {
            // Another process may mark it at the same time, and remove our marker before it has its name.
            let marked = self.mark();
            if !self.is_marked() {
                return Err(marked.err().unwrap_or_else(|| not_ours(&self.folder())));
            }
        }
        let path = self.path(hash);
        let prefix = path.parent().unwrap_or(&path);
        create_folder(prefix)?;
        self.mirror_mode(prefix)
    }

    fn mark(&self) -> IoResult<()> {
        let folder = self.folder();
        let mut unfinished = Vec::new();
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if unfinished.len() >= UNFINISHED_MARKERS_MAX || !is_unfinished_marker(&path) {
                return Err(not_ours(&folder));
            }
            unfinished.push(path);
        }
        for path in unfinished {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.mirror_mode(&folder)?;
        let staged = folder.join(format!("{MARKER}.{:08x}.tmp", rand::random::<u32>()));
        let mark = || {
            std::fs::write(&staged, MARKER_CONTENT)?;
            std::fs::set_permissions(&staged, Permissions::from_mode(self.payload_mode()))?;
            std::fs::rename(&staged, folder.join(MARKER))
        };
        mark().inspect_err(|_| {
            if let Err(error) = std::fs::remove_file(&staged) {
                tracing::debug!(path = %staged.display(), %error, "cannot remove a marker");
            }
        })
    }

    fn lock(&self, hash: FileHash) -> IoResult<FileLock> {
        FileLock::wait_for_payload(&self.beside(hash, ".lock"))
    }

    fn stage_link(&self, hash: FileHash, from: Reference<'_>) -> IoResult<StagedLink> {
        let name = hash.to_string();
        let target: PathBuf = ["..", "..", FOLDER, &name[..2], &name].iter().collect();
        let staged = format!(".{}.{:08x}.shared", from.etag, rand::random::<u32>());
        StagedLink::create(self.blobs_of(from)?.join(staged), &target)
    }

    fn blobs_of(&self, from: Reference<'_>) -> IoResult<PathBuf> {
        let folder = from.repo.join("blobs");
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// One write and on the disk: others append to the same list.
    fn append_reference(&self, hash: FileHash, from: Reference<'_>) -> IoResult<()> {
        let path = self.beside(hash, ".refs");
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o666);
        let mut list: File = open(&path, flags, mode)?.into();
        let metadata = list.metadata()?;
        if !metadata.is_file() {
            return Err(IoError::new(ErrorKind::InvalidInput, "the list of references is no regular file"));
        }
        // Other users of the cache append too; the umask has taken bits away.
        if metadata.mode() & 0o777 != 0o666
            && let Err(error) = list.set_permissions(Permissions::from_mode(0o666))
        {
            tracing::debug!(path = %path.display(), %error, "cannot set the mode of a list of references");
        }
        let line = from.line()?;
        let written = list.write(line.as_bytes())?;
        if written != line.len() {
            return Err(IoError::new(ErrorKind::WriteZero, "a reference was written in part"));
        }
        list.sync_all()
    }

    /// A payload is read by whoever may enter the cache, and changed by nobody.
    fn make_immutable(&self, payload: &File, hash: FileHash) -> IoResult<()> {
        let mode = self.payload_mode();
        payload.set_permissions(Permissions::from_mode(mode))?;
        let path = self.path(hash);
        let group = std::fs::metadata(path.parent().unwrap_or(&path))?.gid();
        if payload.metadata()?.gid() == group {
            return Ok(());
        }
        match fchown(payload, None, Some(group)) {
            // Readable to a group that is not the cache's, and to nobody else: of no use to others.
            Err(error) if mode & 0o040 != 0 && mode & 0o004 == 0 => Err(error),
            _ => Ok(()),
        }
    }

    fn payload_mode(&self) -> u32 {
        std::fs::metadata(self.cache).map_or(0o400, |metadata| payload_mode(metadata.mode()))
    }

    /// A folder of the store is as open as the cache, and inherits as it does.
    fn mirror_mode(&self, folder: &Path) -> IoResult<()> {
        let wanted = std::fs::metadata(self.cache).map_or(0o700, |metadata| metadata.mode()) & 0o3777;
        let present = std::fs::symlink_metadata(folder)?.mode() & 0o7777;
        if present == wanted { Ok(()) } else { std::fs::set_permissions(folder, Permissions::from_mode(wanted)) }
    }
}

/// Read-only, for those who may enter the cache.
fn payload_mode(cache_mode: u32) -> u32 {
    let group = if cache_mode & 0o010 != 0 { 0o040 } else { 0 };
    let others = if cache_mode & 0o001 != 0 { 0o004 } else { 0 };
    0o400 | group | others
}

fn create_folder(path: &Path) -> IoResult<()> {
    match std::fs::create_dir(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ if is_folder(path) => Ok(()),
        _ => Err(not_ours(path)),
    }
}

/// Links do not count: they lead out of the cache.
fn is_folder(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

/// What a process leaves that is killed while it marks the store; or one that is just doing so.
fn is_unfinished_marker(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let middle = name.strip_prefix(MARKER).and_then(|rest| rest.strip_prefix('.')?.strip_suffix(".tmp"));
    let is_named_so = middle.is_some_and(|hex| hex.len() == 8 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let is_short = |metadata: Metadata| metadata.is_file() && metadata.size() <= MARKER_CONTENT.len() as u64;
    match std::fs::symlink_metadata(path).map(is_short) {
        Ok(is_short) => {
            is_named_so && is_short && std::fs::read(path).is_ok_and(|content| MARKER_CONTENT.starts_with(&content))
        }
        Err(error) => is_named_so && error.kind() == ErrorKind::NotFound,
    }
}

fn not_ours(folder: &Path) -> IoError {
    IoError::new(ErrorKind::AlreadyExists, format!("{} is used for something else", folder.display()))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::{Path, PathBuf};

    use tempfile::TempDir;
    use xet_cas::FileHash;

    use super::{Partial, Published, Reference, SharedBlobs, payload_mode};

    const HASH: FileHash = FileHash::from_bytes([0xab; 32]);
    const ETAG: &str = "e7a6";

    struct Cache {
        folder: TempDir,
        repo: PathBuf,
    }

    impl Cache {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            std::fs::set_permissions(folder.path(), Permissions::from_mode(0o2750)).unwrap();
            let repo = folder.path().join("models--a--b");
            Self { folder, repo }
        }

        fn store(&self) -> SharedBlobs<'_> {
            SharedBlobs::of(self.folder.path())
        }

        fn reference(&self) -> Reference<'_> {
            Reference { repo: &self.repo, etag: ETAG }
        }

        fn publish(&self, bytes: &[u8]) -> Published {
            let partial = Partial::create(&self.repo.join("blobs"), ETAG, bytes.len() as u64).unwrap();
            partial.write(bytes, 0).unwrap();
            self.store().publish(&partial, HASH, self.reference()).unwrap()
        }

        fn beside(&self, ending: &str) -> PathBuf {
            self.store().beside(HASH, ending)
        }

        fn blobs(&self) -> Vec<PathBuf> {
            std::fs::read_dir(self.repo.join("blobs")).unwrap().map(|entry| entry.unwrap().path()).collect()
        }
    }

    fn mode(path: &Path) -> u32 {
        path.symlink_metadata().unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn given_a_cache_when_its_payloads_are_made_then_readable_to_whoever_may_enter() {
        for (cache, payload) in [(0o755, 0o444), (0o711, 0o444), (0o750, 0o440), (0o700, 0o400), (0o766, 0o400)] {
            assert_eq!(payload, payload_mode(cache), "{cache:o}");
        }
    }

    #[test]
    fn given_a_cache_when_a_payload_is_published_then_the_store_is_as_open_as_the_cache() {
        let cache = Cache::new();

        let published = cache.publish(b"payload");

        let Published::At(path, _) = published else { panic!("refused") };
        let store = cache.folder.path().join("blobs");
        for (expected, path) in [
            (0o2750, &store),
            (0o2750, &path.parent().unwrap().to_owned()),
            (0o440, &store.join(".huggingface-shared-blobs")),
            (0o440, &path),
            (0o666, &cache.beside(".refs")),
            (0o666, &cache.beside(".lock")),
        ] {
            assert_eq!(expected, mode(path), "{}", path.display());
        }
        assert_eq!([cache.repo.join("blobs").join(ETAG)], cache.blobs()[..]);
        assert_eq!(b"payload", &std::fs::read(cache.repo.join("blobs").join(ETAG)).unwrap()[..]);
    }

    #[test]
    fn given_a_payload_when_verified_bytes_are_published_then_they_take_its_place() {
        let cache = Cache::new();
        cache.publish(b"damaged");

        cache.publish(b"payload");

        let path = cache.store().payload(HASH, 7).unwrap();
        assert_eq!(b"payload", &std::fs::read(path).unwrap()[..]);
        assert_eq!("models--a--b/blobs/e7a6\n".repeat(2), std::fs::read_to_string(cache.beside(".refs")).unwrap());
    }

    #[test]
    fn given_no_way_to_note_the_reference_when_published_then_refused_and_no_link_is_seen() {
        for ending in [".refs", ".lock"] {
            let cache = Cache::new();
            cache.store().create(HASH).unwrap();
            let outside = cache.folder.path().join("outside");
            symlink(&outside, cache.beside(ending)).unwrap();

            let published = cache.publish(b"payload");

            assert!(matches!(published, Published::Refused(_)), "{ending}");
            assert!(!outside.exists(), "written through a link");
            assert_eq!(Vec::<PathBuf>::new(), cache.blobs());
        }
    }

    #[test]
    fn given_a_payload_that_is_gone_or_of_another_length_when_linked_then_an_error_and_no_link() {
        let cache = Cache::new();
        cache.publish(b"payload");
        std::fs::remove_file(cache.repo.join("blobs").join(ETAG)).unwrap();

        assert!(cache.store().link(HASH, 8, cache.reference()).is_err());
        assert_eq!(Vec::<PathBuf>::new(), cache.blobs());
        cache.store().link(HASH, 7, cache.reference()).unwrap();
        assert_eq!(1, cache.blobs().len());
    }

    #[test]
    fn given_a_folder_without_marker_when_looked_into_then_nothing_in_it_counts() {
        let cache = Cache::new();
        cache.publish(b"payload");
        let marker = cache.folder.path().join("blobs/.huggingface-shared-blobs");

        for content in [Some("2\n"), Some(""), None] {
            std::fs::remove_file(&marker).unwrap();
            match content {
                Some(content) => std::fs::write(&marker, content).unwrap(),
                None => symlink("elsewhere", &marker).unwrap(),
            }
            assert!(cache.store().payload(HASH, 7).is_none(), "{content:?}");
        }
    }
}
