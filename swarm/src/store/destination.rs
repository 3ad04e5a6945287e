//! Putting verified files where Hugging Face tools look for them.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use xet_cas::client::{Commit, TreeFile};

use super::hub_layout::{CACHEDIR_TAG, TreeJson, blob_link, repo_folder};
use super::partial::STAGED;
use super::{Identity, Partial, Provenance, Remains};
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

/// A destination, opened for one commit.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    endpoint: String,
    commit: Commit,
    layout: Layout,
}

#[derive(Debug, Clone)]
enum Layout {
    Cache {
        cache: PathBuf,
        /// `models--org--name`.
        repo: PathBuf,
        /// `snapshots/<sha>` below it.
        snapshot: PathBuf,
    },
    Folder {
        root: PathBuf,
        /// `.cache/huggingface`, which tools keep beside the files.
        metadata: PathBuf,
    },
}

/// What is known about a file without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// There is nothing of the right length.
    Absent,
    /// There is a file of the right length.
    Candidate(Identity),
}

impl Destination {
    /// The folder given.
    pub fn path(&self) -> &Path {
        match self {
            Self::Cache(path) | Self::Folder(path) => path,
        }
    }

    /// Where the files of a commit are, or will be. Touches nothing.
    pub(crate) fn at(&self, endpoint: &str, commit: &Commit) -> Result<Place, Error> {
        // Records outlive the working directory.
        let absolute = |path: &Path| std::path::absolute(path).map_err(Error::disk("find", path));
        let layout = match self {
            Self::Cache(cache) => {
                let cache = absolute(cache)?;
                let repo = repo_folder(&cache, commit);
                let snapshot = repo.join("snapshots").join(&commit.sha);
                Layout::Cache { cache, repo, snapshot }
            }
            Self::Folder(root) => {
                let root = absolute(root)?;
                let metadata = root.join(".cache/huggingface");
                Layout::Folder { root, metadata }
            }
        };
        Ok(Place { endpoint: endpoint.to_owned(), commit: commit.clone(), layout })
    }
}

impl Place {
    /// Creates what every commit needs and looks at what earlier pulls left. The listing is written before
    /// anything that it lists, so that a snapshot that is not complete never looks it.
    pub(crate) fn prepare(&self, all_files: &[TreeFile]) -> Result<Remains, Error> {
        let staging = self.partial_folder();
        create_folder(&staging)?;
        let listed: HashSet<&str> = all_files.iter().map(TreeFile::etag).collect();
        let remains = Remains::look(&staging, |etag| listed.contains(etag));
        let trees = match &self.layout {
            Layout::Cache { cache, repo, .. } => {
                tag_cache(cache);
                repo.join("trees")
            }
            Layout::Folder { metadata, .. } => {
                tag_cache(metadata);
                write_if_different(&staging, &metadata.join(".gitignore"), b"*")?;
                metadata.join("trees")
            }
        };
        let tree = serde_json::to_vec(&TreeJson::new(all_files)).map_err(Error::internal)?;
        write_if_different(&staging, &trees.join(format!("{}.json", self.commit.sha)), &tree)?;
        Ok(remains)
    }

    /// Whether content under several names is kept several times.
    pub(crate) fn keeps_copies(&self) -> bool {
        matches!(self.layout, Layout::Folder { .. })
    }

    /// What the user opens.
    pub(crate) fn path(&self) -> &Path {
        match &self.layout {
            Layout::Cache { snapshot, .. } => snapshot,
            Layout::Folder { root, .. } => root,
        }
    }

    /// Where partial files lie: on the file system of the finished ones.
    pub(crate) fn partial_folder(&self) -> PathBuf {
        match &self.layout {
            Layout::Cache { repo, .. } => repo.join("blobs"),
            Layout::Folder { metadata, .. } => metadata.join("download"),
        }
    }

    /// Where the bytes of a file are, or will be.
    pub(crate) fn bytes_path(&self, file: &TreeFile) -> PathBuf {
        match &self.layout {
            Layout::Cache { repo, .. } => repo.join("blobs").join(file.etag()),
            Layout::Folder { root, .. } => root.join(&file.path),
        }
    }

    pub(crate) fn presence(&self, file: &TreeFile) -> Presence {
        match Identity::of(&self.bytes_path(file)) {
            Some(identity) if identity.size == file.size => Presence::Candidate(identity),
            _ => Presence::Absent,
        }
    }

    /// Puts a verified file in place under all names that it has in the repository. Returns where its
    /// bytes are and their identity.
    pub(crate) fn put(
        &self,
        verified: &VerifiedFile,
        files: &[TreeFile],
    ) -> Result<Option<(PathBuf, Identity)>, Error> {
        let Some(first) = files.first() else { return Ok(None) };
        let target = self.bytes_path(first);
        create_parent(&target)?;
        let file = verified.partial().persist(&target)?;
        let identity = file.metadata().map_err(Error::disk("inspect", &target))?;
        self.expose(std::slice::from_ref(&target), files)?;
        Ok(Some((target, Identity::from_metadata(&identity))))
    }

    /// Gives verified bytes, which are at all of `sources`, all names that they have in the repository.
    pub(crate) fn expose(&self, sources: &[PathBuf], files: &[TreeFile]) -> Result<(), Error> {
        let Some(source) = sources.first() else { return Ok(()) };
        let staging = self.partial_folder();
        for file in files {
            match &self.layout {
                Layout::Cache { snapshot, .. } => {
                    link(&staging, &snapshot.join(&file.path), &blob_link(&file.path, file.etag()))?
                }
                Layout::Folder { metadata, .. } => {
                    let target = self.bytes_path(file);
                    if !sources.contains(&target) {
                        let copy = Partial::create(&staging, STAGED, 0)?;
                        copy.copy_from(source)?;
                        create_parent(&target)?;
                        copy.persist(&target)?;
                    }
                    self.write_folder_metadata(metadata, file)?;
                }
            }
        }
        Ok(())
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

    /// Closes a pull that succeeded: the ref that names the commit comes last of all.
    pub(crate) fn finish(&self) -> Result<(), Error> {
        let Layout::Cache { repo, snapshot, .. } = &self.layout else { return Ok(()) };
        create_folder(snapshot)?;
        if self.commit.revision == self.commit.sha {
            return Ok(());
        }
        write_if_different(
            &self.partial_folder(),
            &repo.join("refs").join(&self.commit.revision),
            self.commit.sha.as_bytes(),
        )
    }

    /// What `hf download --local-dir` reads to tell that a file is up to date.
    fn write_folder_metadata(&self, metadata: &Path, file: &TreeFile) -> Result<(), Error> {
        let path = metadata.join("download").join(format!("{}.metadata", file.path));
        let stamp = format!("{}\n{}\n", self.commit.sha, file.etag());
        if std::fs::read_to_string(&path).is_ok_and(|present| present.starts_with(&stamp)) {
            return Ok(());
        }
        let written = system_now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let text = format!("{stamp}{written}\n");
        let partial = Partial::create(&self.partial_folder(), STAGED, text.len() as u64)?;
        partial.write(text.as_bytes(), 0)?;
        create_parent(&path)?;
        partial.rename(&path).map(drop)
    }
}

fn create_folder(path: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(path).map_err(Error::disk("create the folder", path))
}

fn create_parent(path: &Path) -> Result<&Path, Error> {
    let parent = path.parent().unwrap_or(Path::new("."));
    create_folder(parent)?;
    Ok(parent)
}

/// Other tools write the tag too; that it is missing harms nobody.
fn tag_cache(folder: &Path) {
    let tag = folder.join("CACHEDIR.TAG");
    if !tag.exists()
        && let Err(error) = write_atomically(folder, &tag, CACHEDIR_TAG.as_bytes())
    {
        tracing::debug!(%error, "cannot tag the cache");
    }
}

/// Writes a small file beside its name, in `staging`, which is on the same file system and is swept of what
/// killed processes leave, and then gives it its name.
pub(super) fn write_atomically(staging: &Path, path: &Path, content: &[u8]) -> Result<(), Error> {
    let partial = Partial::create(staging, STAGED, content.len() as u64)?;
    partial.write(content, 0)?;
    create_parent(path)?;
    partial.persist(path).map(drop)
}

/// Leaves alone what is right already, which may be on a disk that cannot be written.
fn write_if_different(staging: &Path, path: &Path, content: &[u8]) -> Result<(), Error> {
    if std::fs::read(path).is_ok_and(|present| present == content) {
        return Ok(());
    }
    write_atomically(staging, path, content)
}

/// Links, in one step where there is nothing, and otherwise by putting a new link in the place of the old.
fn link(staging: &Path, path: &Path, target: &Path) -> Result<(), Error> {
    create_parent(path)?;
    match symlink(target, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        result => return result.map_err(Error::disk("link", path)),
    }
    if std::fs::read_link(path).is_ok_and(|present| present == target) {
        return Ok(());
    }
    let staged = staging.join(format!("{STAGED}.{:08x}", rand::random::<u32>()));
    symlink(target, &staged).and_then(|()| std::fs::rename(&staged, path)).map_err(Error::disk("link", path))
}

#[expect(clippy::disallowed_methods, reason = "the store is a shell: files bear wall-clock times")]
fn system_now() -> SystemTime {
    SystemTime::now()
}
