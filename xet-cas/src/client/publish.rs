//! Publishing a folder: find out what is new, chunk, pack and upload it, register it, and commit everything at once.

mod batch;
mod buffers;
mod folder;
mod known;
mod pipeline;
mod plan;
mod target;
mod upload;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::folder::LocalFile;
use self::known::Known;
use self::plan::Plan;
use self::target::{Change, Target};
use self::upload::{Uploaded, Uploader};
use super::blocking::blocking;
use super::{Cas, Error, Hub, Patterns};
use crate::api::{RepoId, RepoType};

/// Where and how to publish. Start from `default()` and assign.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct PublishOptions {
    /// Kind of repository.
    pub repo_type: RepoType,
    /// Branch, which is made if there is none. Default (empty): `main`.
    pub revision: String,
    /// Title of the commit. Default (empty): one that says what zest did.
    pub message: String,
    /// Text of the commit below its title. Default: none.
    pub description: String,
    /// Files to publish. Default: all.
    pub patterns: Patterns,
    /// Whether the repository, if it has to be made, is private. Nothing changes for one that exists.
    pub private: bool,
    /// Whether to open a pull request with the commit, and leave the branch alone.
    pub create_pr: bool,
    /// Whether to send nothing, and only say what would be. Files are read and packed all the same, and the CAS is
    /// asked what it has if the repository exists.
    pub dry_run: bool,
    /// Folder in which is kept what was stored before, so that it is not sent again: `HF_XET_CACHE`, which hf-xet
    /// uses too. Default: none, nothing is kept.
    pub cache: Option<PathBuf>,
}

/// Where a publication stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishProgress {
    /// So many files of so many bytes were found.
    Begun {
        /// Files.
        files: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// It was decided what happens with a file.
    File {
        /// Its path in the repository.
        path: String,
        /// Its bytes.
        bytes: u64,
        /// Which way it goes.
        way: Way,
    },
    /// A xorb was stored.
    XorbStored {
        /// Uncompressed bytes it stands for.
        raw_bytes: u64,
        /// Bytes that were sent.
        sent_bytes: u64,
    },
}

/// Which way a file goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Way {
    /// The repository has it already.
    Unchanged,
    /// The repository's rules say that it is none of its files.
    Ignored,
    /// It stands in the commit itself, as small files do.
    InCommit,
    /// Its chunks go to the CAS.
    Xet,
}

/// What was published.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Published {
    /// The commit that holds the files: a new one, or the branch's head if nothing had changed. Empty after a dry run
    /// without a repository.
    pub commit: String,
    /// The pull request that was opened, as a revision: `refs/pr/N`.
    pub pull_request: Option<String>,
    /// Files in the folder, those included that were left out.
    pub files: u64,
    /// Their bytes.
    pub file_bytes: u64,
    /// Files that the repository had already.
    pub unchanged_files: u64,
    /// Bytes of chunks that were found nowhere, neither in the folder nor in what is known to be stored.
    pub unique_bytes: u64,
    /// Bytes of xorbs and shards that were sent, or would be.
    pub sent_bytes: u64,
    /// Bytes of files that stand in the commit itself.
    pub commit_bytes: u64,
}

impl Hub {
    /// Publishes the files of a folder as one commit, creating repository and branch if there are none. Files that
    /// the repository has at the same path are left out; of the others, chunks are sent that are not known to be
    /// stored: in this folder, in what was [stored before](PublishOptions::cache), or by what the CAS says.
    ///
    /// Memory does not depend on the size of the files.
    ///
    /// # Errors
    /// [`Error::LocalFile`] and [`Error::Unpublishable`] for what is wrong with the folder, also if a file changes
    /// meanwhile; [`Error::Conflict`] if somebody else commits to the branch meanwhile; or what any request can meet.
    /// Nothing is visible in the repository before the commit. What was stored by then is not sent again next time.
    ///
    /// # Cancel safety
    /// The folder is left unpublished, or published completely, if the future is dropped. The repository may
    /// have been created.
    pub async fn publish(
        &self,
        folder: &Path,
        repo: &RepoId,
        options: &PublishOptions,
        progress: impl Fn(PublishProgress),
    ) -> Result<Published, Error> {
        let target = Target { hub: self, repo, options };
        let files = read_folder(folder.to_owned(), options.patterns.clone()).await?;
        let mut published = Published {
            files: files.len() as u64,
            file_bytes: files.iter().map(|file| file.size).sum(),
            ..Published::default()
        };
        progress(PublishProgress::Begun { files: published.files, bytes: published.file_bytes });
        let threads = Arc::new(pipeline::threads()?);
        let head = target.head().await?;
        let Plan { regular, large, unchanged, .. } =
            Plan::make(&target, files, head.is_some(), &threads, &progress).await?;
        let (regular, large) = (Arc::new(regular), Arc::new(large));

        let cas = if head.is_some() && !large.is_empty() { Some(target.write_cas()?) } else { None };
        let uploaded = store(cas, options, &large, &threads, &progress).await?;
        published.unchanged_files = unchanged;
        (published.unique_bytes, published.sent_bytes) = (uploaded.new_bytes, uploaded.sent_bytes);
        published.commit_bytes = regular.iter().map(|file| file.size).sum();
        let head = head.unwrap_or_default();
        if options.dry_run || (regular.is_empty() && large.is_empty()) {
            published.commit = head;
            return Ok(published);
        }
        let large = uploaded.files.iter().map(|file| (large[file.number].path.as_str(), file.sha256, file.size));
        let committed = target.commit(Change { parent: &head, regular: &regular, large: large.collect() }).await?;
        (published.commit, published.pull_request) = (committed.sha, committed.pull_request);
        Ok(published)
    }
}

/// Stores the files, without sending again what is known to be stored. If it turns out not to be (the server has
/// lost it, or is another one at the same address), everything is sent.
async fn store(
    cas: Option<Cas>,
    options: &PublishOptions,
    files: &Arc<Vec<LocalFile>>,
    threads: &Arc<rayon::ThreadPool>,
    progress: &impl Fn(PublishProgress),
) -> Result<Uploaded, Error> {
    let mut known = match (&options.cache, &cas) {
        (Some(cache), Some(cas)) => Known::load(cache, &cas.base_url().await?).await,
        _ => Known::nothing(),
    };
    let mut uploader = Uploader { cas, sends: !options.dry_run, asks: true, known: &mut known, progress };
    let first = uploader.upload(Arc::clone(files), Arc::clone(threads)).await;
    let uploaded = match first {
        Err(Error::Refused { .. } | Error::Status { status: 400 | 422, .. }) if uploader.known.was_used() => {
            tracing::warn!("what was stored before is not there any more; everything is sent again");
            uploader.known.forget().await;
            // It may be the CAS itself that told of it.
            uploader.asks = false;
            uploader.upload(Arc::clone(files), Arc::clone(threads)).await?
        }
        first => first?,
    };
    if !options.dry_run {
        known.finish().await;
    }
    Ok(uploaded)
}

async fn read_folder(folder: PathBuf, patterns: Patterns) -> Result<Vec<LocalFile>, Error> {
    blocking(move || folder::walk(&folder, &patterns)).await
}
