//! The Hugging Face cache: blobs by content, and snapshots that link to them; where links cannot be made,
//! snapshots that hold the files.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use xet_cas::client::{Commit, Content, TreeFile};

use super::Candidates;
use super::hub_layout::{CACHEDIR_TAG, LOCKS, TreeJson, blob_link, repo_folder};
use super::shared_blobs::{Published, Reference, SharedBlobs};
use super::staging::{can_link, copy, create_folder, create_parent, link, write_atomically, write_if_different};
use crate::Error;
use crate::verified::VerifiedFile;

/// How a cache is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CacheOptions {
    /// Content in the CAS is kept once for all repositories.
    pub(crate) shared_blobs: bool,
    /// Snapshots link to blobs.
    pub(crate) symlinks: bool,
}

/// A repository's part of a cache, for one commit.
#[derive(Debug, Clone)]
pub(super) struct CacheLayout {
    cache: PathBuf,
    /// `models--org--name`.
    repo: PathBuf,
    /// `snapshots/<sha>` below it.
    snapshot: PathBuf,
    options: CacheOptions,
    /// Whether links can be made here, once it was tried.
    can_link: Arc<OnceLock<bool>>,
}

impl CacheLayout {
    pub(super) fn new(cache: PathBuf, commit: &Commit, options: CacheOptions) -> Self {
        let repo = repo_folder(&cache, commit);
        let snapshot = repo.join("snapshots").join(&commit.sha);
        Self { cache, repo, snapshot, options, can_link: Arc::default() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.snapshot
    }

    pub(super) fn blobs(&self) -> PathBuf {
        self.repo.join("blobs")
    }

    pub(super) fn lock_path(&self, file: &TreeFile) -> PathBuf {
        let repo = self.repo.file_name().unwrap_or_default();
        self.cache.join(LOCKS).join(repo).join(format!("{}.lock", file.etag()))
    }

    pub(super) fn prepare(&self, commit: &Commit, all_files: &[TreeFile]) -> Result<(), Error> {
        let staging = self.blobs();
        create_folder(&staging)?;
        tag(&self.cache);
        TreeJson::new(all_files).write(&staging, &self.repo.join("trees"), &commit.sha)
    }

    /// Every place that may hold the content: its blob, the names that it has in the snapshot, of which tools
    /// without links make files, and else what another repository put into the shared store.
    pub(super) fn look(&self, files: &[TreeFile], found: &mut Candidates) {
        let Some(first) = files.first() else { return };
        found.look_at(&self.blob(first), first.size);
        files.iter().for_each(|file| found.look_at(&self.name(file), file.size));
        if found.is_empty()
            && let Some((shared, Content::Xet { hash, .. })) = self.shared().zip(Some(&first.content))
            && let Some(payload) = shared.payload(*hash, first.size)
        {
            found.look_at(&payload, first.size);
        }
    }

    /// Whether content under several names is kept several times.
    pub(super) fn keeps_copies(&self) -> bool {
        !self.can_link()
    }

    /// Puts verified bytes where the cache keeps them.
    pub(super) fn put(&self, verified: &VerifiedFile, file: &TreeFile) -> Result<(PathBuf, File), Error> {
        let partial = verified.partial();
        if !self.can_link() {
            let name = self.name(file);
            create_parent(&name)?;
            return partial.persist(&name).map(|file| (name, file));
        }
        if let Some((shared, Content::Xet { hash, .. })) = self.shared().zip(Some(&file.content)) {
            match shared.publish(partial, *hash, self.reference(file))? {
                Published::At(path, file) => return Ok((path, file)),
                Published::Refused(error) => tracing::debug!(%error, "kept by its repository alone"),
            }
        }
        let blob = self.blob(file);
        partial.persist(&blob).map(|file| (blob, file))
    }

    /// Gives bytes, which are at all of `sources`, every name that they have in the repository. Names that lead
    /// to one of these are left as they are. `sources` are real paths.
    pub(super) fn expose(&self, sources: &[PathBuf], files: &[TreeFile]) -> Result<(), Error> {
        let Some(source) = sources.first() else { return Ok(()) };
        let staging = self.blobs();
        let mut has_blob = false;
        for file in files {
            let name = self.name(file);
            if leads_to(&name, sources) {
                continue;
            }
            if !self.can_link() {
                copy(&staging, source, &name)?;
                continue;
            }
            if !has_blob {
                self.make_blob(sources, source, file)?;
                has_blob = true;
            }
            link(&staging, &name, &blob_link(&file.path, file.etag()))?;
        }
        Ok(())
    }

    /// Sees to it that the blob leads to verified bytes.
    fn make_blob(&self, sources: &[PathBuf], source: &Path, file: &TreeFile) -> Result<(), Error> {
        let blob = self.blob(file);
        if leads_to(&blob, sources) {
            return Ok(());
        }
        if let Some((shared, Content::Xet { hash, .. })) = self.shared().zip(Some(&file.content))
            && let Some(payload) = shared.payload(*hash, file.size)
            && leads_to(&payload, sources)
        {
            match shared.link(*hash, file.size, self.reference(file)) {
                Ok(()) => return Ok(()),
                Err(error) => tracing::debug!(%error, "copied, since it cannot be linked to"),
            }
        }
        copy(&self.blobs(), source, &blob)
    }

    /// Closes a pull that succeeded: the ref that names the commit comes last of all.
    pub(super) fn finish(&self, commit: &Commit) -> Result<(), Error> {
        create_folder(&self.snapshot)?;
        if commit.revision == commit.sha {
            return Ok(());
        }
        write_if_different(&self.blobs(), &self.repo.join("refs").join(&commit.revision), commit.sha.as_bytes())
    }

    fn blob(&self, file: &TreeFile) -> PathBuf {
        self.blobs().join(file.etag())
    }

    fn name(&self, file: &TreeFile) -> PathBuf {
        self.snapshot.join(&file.path)
    }

    fn reference<'a>(&'a self, file: &'a TreeFile) -> Reference<'a> {
        Reference { repo: &self.repo, etag: file.etag() }
    }

    /// The store of all repositories, if it is to be used.
    fn shared(&self) -> Option<SharedBlobs<'_>> {
        (self.options.shared_blobs && self.options.symlinks).then(|| SharedBlobs::of(&self.cache))
    }

    fn can_link(&self) -> bool {
        self.options.symlinks
            && *self.can_link.get_or_init(|| {
                let staging = self.blobs();
                create_folder(&staging).is_ok() && can_link(&staging)
            })
    }
}

/// Whether a path leads to one of these files, through whatever links.
pub(super) fn leads_to(path: &Path, files: &[PathBuf]) -> bool {
    std::fs::canonicalize(path).is_ok_and(|real| files.contains(&real))
}

/// Other tools write the tag too; that it is missing harms nobody.
pub(super) fn tag(folder: &Path) {
    let tag = folder.join("CACHEDIR.TAG");
    if !tag.exists()
        && let Err(error) = write_atomically(folder, &tag, CACHEDIR_TAG.as_bytes())
    {
        tracing::debug!(%error, "cannot tag the cache");
    }
}
