//! The folder that is published: which files, under which names.

use std::fs::Metadata;
#[cfg(unix)]
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tokio::io::AsyncReadExt as _;

use crate::api::check_path;
use crate::client::{Error, Patterns};

/// Folders inside each other at most; deeper ones are a mistake or a loop.
const DEPTH_MAX: usize = 64;
/// Files published at once at most.
const FILES_MAX: usize = 100_000;
/// Version control: a folder, or a file that says where it is. Never published.
const GIT: &str = ".git";
/// What tools keep beside a downloaded folder. Never published.
const CACHE_FOLDER: &str = ".cache";

#[derive(Debug, Clone)]
pub(super) struct LocalFile {
    /// Path in the repository, with `/`.
    pub(super) path: String,
    pub(super) source: PathBuf,
    pub(super) size: u64,
    /// What tells that the file was not written to since.
    pub(super) state: FileState,
}

/// What the system says of a file's content without reading it. Equal states mean, as far as the clock of the file
/// system can tell, that nothing was written in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileState {
    size: u64,
    modified: Option<SystemTime>,
    #[cfg(unix)]
    inode: (u64, u64),
}

impl FileState {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            size: metadata.len(),
            modified: metadata.modified().ok(),
            #[cfg(unix)]
            inode: (metadata.dev(), metadata.ino()),
        }
    }
}

/// Lists the wanted files of a folder, sorted by path. Links to files are followed, links to folders are not.
pub(super) fn walk(root: &Path, patterns: &Patterns) -> Result<Vec<LocalFile>, Error> {
    let mut files = Vec::new();
    let mut folders = vec![(root.to_owned(), String::new(), 0)];
    while let Some((folder, prefix, depth)) = folders.pop() {
        let local = |error| local_file(&folder, error);
        for entry in std::fs::read_dir(&folder).map_err(local)? {
            let entry = entry.map_err(local)?;
            let source = entry.path();
            let name = entry.file_name().into_string().map_err(|_| unpublishable(&source, "its name is not UTF-8"))?;
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
            let is_folder = entry.file_type().map_err(local)?.is_dir();
            if name.eq_ignore_ascii_case(GIT) || (is_folder && name == CACHE_FOLDER) {
                continue;
            }
            if is_folder {
                if depth == DEPTH_MAX {
                    return Err(unpublishable(&source, "it lies too deep"));
                }
                folders.push((source, path, depth + 1));
            } else if patterns.matches(&path) {
                let metadata = std::fs::metadata(&source).map_err(|error| local_file(&source, error))?;
                if metadata.is_file() {
                    check_path(&path).map_err(|reason| unpublishable(&source, &reason))?;
                    files.push(LocalFile { path, source, size: metadata.len(), state: FileState::of(&metadata) });
                }
            }
            if files.len() > FILES_MAX {
                return Err(unpublishable(root, "there are more than 100,000 files in it"));
            }
        }
    }
    if files.is_empty() {
        return Err(unpublishable(root, "there are no files in it that were asked for"));
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// The first bytes of a file.
pub(super) async fn read_start(file: &LocalFile, bytes: usize) -> Result<Vec<u8>, Error> {
    let read = async {
        let mut start = Vec::with_capacity(bytes);
        tokio::fs::File::open(&file.source).await?.take(bytes as u64).read_to_end(&mut start).await?;
        Ok(start)
    };
    read.await.map_err(|error| local_file(&file.source, error))
}

/// A file that the Hub wants inside the commit; such files are small by its own rule.
pub(super) async fn read_whole(file: &LocalFile) -> Result<Vec<u8>, Error> {
    let read = async {
        let mut reader = tokio::fs::File::open(&file.source).await?;
        let mut content = Vec::new();
        (&mut reader).take(file.size.saturating_add(1)).read_to_end(&mut content).await?;
        Ok((content, FileState::of(&reader.metadata().await?)))
    };
    let (content, state) = read.await.map_err(|error| local_file(&file.source, error))?;
    if content.len() as u64 != file.size || state != file.state {
        return Err(changed(file));
    }
    Ok(content)
}

pub(super) fn changed(file: &LocalFile) -> Error {
    unpublishable(&file.source, "it changed while it was read; run it again")
}

pub(super) fn local_file(path: &Path, error: std::io::Error) -> Error {
    Error::LocalFile { path: path.to_owned(), source: Arc::new(error) }
}

fn unpublishable(path: &Path, reason: &str) -> Error {
    Error::Unpublishable { path: path.to_owned(), reason: reason.to_owned() }
}
