//! Putting verified files where Hugging Face tools look for them.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use xet_cas::client::{Commit, TreeFile};

use super::cache_layout::{CacheLayout, CacheOptions};
use super::folder_layout::FolderLayout;
use super::{FileLock, Identity, Partial, Provenance, Remains};
use crate::Error;
use crate::verified::VerifiedFile;

/// Where a pull puts its files.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Destination {
    /// A Hugging Face cache (`HF_HUB_CACHE`): blobs, and snapshots that link to them.
    Cache(PathBuf),
    /// A folder that holds the files themselves, as `hf download --local-dir` leaves it.
    Folder(PathBuf),
}

impl Destination {
    /// The folder given.
    pub fn path(&self) -> &Path {
        match self {
            Self::Cache(path) | Self::Folder(path) => path,
        }
    }

    /// Where the files of a commit are, or will be. Touches nothing.
    pub(crate) fn at(&self, endpoint: &str, commit: &Commit, options: CacheOptions) -> Result<Place, Error> {
        // Records outlive the working directory.
        let path = std::path::absolute(self.path()).map_err(Error::disk("find", self.path()))?;
        let layout = match self {
            Self::Cache(_) => Layout::Cache(CacheLayout::new(path, commit, options)),
            Self::Folder(_) => Layout::Folder(FolderLayout::new(path)),
        };
        Ok(Place { endpoint: endpoint.to_owned(), commit: commit.clone(), layout })
    }
}

/// A destination, opened for one commit.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    endpoint: String,
    commit: Commit,
    layout: Layout,
}

#[derive(Debug, Clone)]
enum Layout {
    Cache(CacheLayout),
    Folder(FolderLayout),
}

/// Files of the right length where content may be, each once, by their real paths. Nothing was read.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    found: Vec<(PathBuf, Identity)>,
}

impl Candidates {
    pub(super) fn look_at(&mut self, path: &Path, size: u64) {
        if let Some(identity) = Identity::of(path).filter(|identity| identity.size == size)
            && let Ok(real) = std::fs::canonicalize(path)
            && !self.found.iter().any(|(present, _)| *present == real)
        {
            self.found.push((real, identity));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }
}

impl Place {
    /// Creates what every commit needs and looks at what earlier pulls left. The listing is written before
    /// anything that it lists, so that a snapshot that is not complete never looks it.
    pub(crate) fn prepare(&self, all_files: &[TreeFile]) -> Result<(), Error> {
        match &self.layout {
            Layout::Cache(cache) => cache.prepare(&self.commit, all_files),
            Layout::Folder(folder) => folder.prepare(&self.commit, all_files),
        }
    }

    /// What earlier pulls have left of these files.
    pub(crate) fn remains(&self, all_files: &[TreeFile]) -> Remains {
        let listed: HashSet<&str> = all_files.iter().map(TreeFile::etag).collect();
        Remains::look(&self.partial_folder(), |etag| listed.contains(etag))
    }

    /// Finds out whether files can be written.
    pub(crate) fn check_writable(&self) -> Result<(), Error> {
        Partial::create(&self.partial_folder(), "probe", 0).map(drop)
    }

    /// Whether content under several names is kept several times.
    pub(crate) fn keeps_copies(&self) -> bool {
        match &self.layout {
            Layout::Cache(cache) => cache.keeps_copies(),
            Layout::Folder(_) => true,
        }
    }

    /// What the user opens.
    pub(crate) fn path(&self) -> &Path {
        match &self.layout {
            Layout::Cache(cache) => cache.path(),
            Layout::Folder(folder) => folder.path(),
        }
    }

    /// Where partial files lie: on the file system of the finished ones.
    pub(crate) fn partial_folder(&self) -> PathBuf {
        match &self.layout {
            Layout::Cache(cache) => cache.blobs(),
            Layout::Folder(folder) => folder.downloads(),
        }
    }

    /// What may be the content of `files`, which are names of the same.
    pub(crate) fn look(&self, files: &[TreeFile]) -> Vec<(PathBuf, Identity)> {
        let mut found = Candidates::default();
        match &self.layout {
            Layout::Cache(cache) => cache.look(files, &mut found),
            Layout::Folder(folder) => folder.look(files, &mut found),
        }
        found.found
    }

    /// Locks content against others who would fetch it too. `None` while another does.
    ///
    /// # Errors
    /// If there are no locks here.
    pub(crate) fn try_lock(&self, file: &TreeFile) -> std::io::Result<Option<FileLock>> {
        FileLock::try_content(&match &self.layout {
            Layout::Cache(cache) => cache.lock_path(file),
            Layout::Folder(folder) => folder.lock_path(file),
        })
    }

    /// Puts a verified file in place under all names that it has in the repository. Returns where its
    /// bytes are and their identity.
    pub(crate) fn put(
        &self,
        verified: &VerifiedFile,
        files: &[TreeFile],
    ) -> Result<Option<(PathBuf, Identity)>, Error> {
        let Some(first) = files.first() else { return Ok(None) };
        let (target, file) = match &self.layout {
            Layout::Cache(cache) => cache.put(verified, first)?,
            Layout::Folder(folder) => folder.put(verified, first)?,
        };
        let real = std::fs::canonicalize(&target).map_err(Error::disk("find", &target))?;
        let identity = Identity::of_file(&file).map_err(Error::disk("inspect", &target))?;
        self.expose(std::slice::from_ref(&real), files)?;
        Ok(Some((real, identity)))
    }

    /// Gives verified bytes, which are at all of `sources`, all names that they have in the repository.
    pub(crate) fn expose(&self, sources: &[PathBuf], files: &[TreeFile]) -> Result<(), Error> {
        match &self.layout {
            Layout::Cache(cache) => cache.expose(sources, files),
            Layout::Folder(folder) => folder.expose(sources, files, &self.commit),
        }
    }

    /// Where a file comes from.
    pub(crate) fn provenance(&self, file: &TreeFile) -> Provenance {
        Provenance {
            endpoint: self.endpoint.clone(),
            repo_type: self.commit.repo_type.to_string(),
            repo: self.commit.repo.to_string(),
            commit: self.commit.sha.clone(),
            path: file.path.clone(),
        }
    }

    /// Closes a pull that succeeded.
    pub(crate) fn finish(&self) -> Result<(), Error> {
        match &self.layout {
            Layout::Cache(cache) => cache.finish(&self.commit),
            Layout::Folder(_) => Ok(()),
        }
    }
}
