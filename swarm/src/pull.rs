//! A pull: from a repository's name to verified files in place.
//!
//! One task decides everything; fetches run beside it and report back. What is there already is found
//! first, then files are planned a few ahead of the fetches, and each is put in place the moment its
//! hash chain closes. The ref that makes the snapshot findable is written last, if nothing failed.

mod download;
mod presence;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use rustix::fs::statvfs;
use tokio::sync::mpsc;
use xet_cas::client::{Hub, TreeFile};
use xet_cas::{RepoId, RepoType};

use crate::selection::Selection;
use crate::store::{Destination, Index, Place};
use crate::{Error, Event, SourceBytes, Summary};

/// What to pull, and where to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PullRequest {
    /// Kind of repository.
    pub repo_type: RepoType,
    /// The repository.
    pub repo: RepoId,
    /// Branch, tag, commit or `refs/pr/N`.
    pub revision: String,
    /// Globs of wanted files; empty: all.
    pub include: Vec<String>,
    /// Globs of unwanted files.
    pub exclude: Vec<String>,
    /// Where the files go.
    pub destination: Destination,
    /// Only find out what would be fetched.
    pub dry_run: bool,
}

impl PullRequest {
    /// All of a model's main branch.
    pub fn new(repo: RepoId, destination: Destination) -> Self {
        Self {
            repo_type: RepoType::Model,
            repo,
            revision: "main".to_owned(),
            include: Vec::new(),
            exclude: Vec::new(),
            destination,
            dry_run: false,
        }
    }
}

/// How a pull behaves. Start from `default()` and assign.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// Entries and whole files fetched at once. Default 8: enough to fill a link through a CDN.
    pub fetches_max: usize,
    /// Threads that decode, hash and write. Default: one a core.
    pub workers: usize,
    /// Bytes that must stay free on the disk beyond what is fetched. Default 16 MiB, for the index and
    /// whatever else is written meanwhile.
    pub spare_disk_bytes: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            fetches_max: 8,
            workers: std::thread::available_parallelism().map_or(2, usize::from),
            spare_disk_bytes: 16 * 1024 * 1024,
        }
    }
}

/// Files of the same content, which is fetched and kept once.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    /// All names of the content; at least one.
    files: Vec<TreeFile>,
    /// It was fetched before and failed verification.
    is_second_try: bool,
}

impl Group {
    /// By content, in the order of first appearance.
    fn of(files: &[TreeFile]) -> Vec<Self> {
        let mut groups: Vec<Self> = Vec::new();
        let mut by_etag = std::collections::HashMap::new();
        for file in files {
            let at = *by_etag.entry((file.etag().to_owned(), file.size)).or_insert(groups.len());
            if at == groups.len() {
                groups.push(Self { files: Vec::new(), is_second_try: false });
            }
            groups[at].files.push(file.clone());
        }
        groups
    }

    /// The content, under its first name.
    fn file(&self) -> &TreeFile {
        &self.files[0]
    }

    /// Bytes of the content.
    fn bytes(&self) -> u64 {
        self.file().size
    }
}

/// Pulls. Events go to `events`, which must be read; the last one is the summary that is also returned.
///
/// Dropping the future stops the pull: partial files are removed, finished ones stay.
///
/// # Errors
/// Finds out first what makes the whole pull pointless (unknown repository, no space). If single files fail the
/// others are still put in place, and no ref is written.
pub async fn pull(
    hub: Arc<Hub>,
    request: &PullRequest,
    index: &Index,
    config: &Config,
    events: mpsc::Sender<Event>,
) -> Result<Summary, Error> {
    let started = now();
    check_revision(&request.revision)?;
    let selection = Selection::new(&request.include, &request.exclude)?;
    let tell = async |event| {
        if events.send(event).await.is_err() {
            tracing::trace!("nobody watches");
        }
    };

    let commit = hub.resolve(request.repo_type, &request.repo, &request.revision).await?;
    let (repo, revision) = (commit.repo.to_string(), commit.revision.clone());
    tell(Event::Resolved { repo, revision, commit: commit.sha.clone() }).await;
    let all_files = hub.list(&commit).await?;
    let files = selection.apply(all_files.clone())?;
    let groups = Group::of(&files);
    let bytes = files.iter().map(|file| file.size).sum();

    let place = Arc::new(request.destination.open(hub.endpoint(), &commit)?);
    let missing = presence::find_missing(&place, groups, index, &events).await?;
    let missing_bytes = missing.iter().map(Group::bytes).sum();
    let missing_files = missing.iter().map(|group| group.files.len()).sum();
    tell(Event::Planned { files: files.len(), bytes, missing_files, missing_bytes }).await;

    let mut summary = Summary {
        repo: commit.repo.to_string(),
        commit: commit.sha.clone(),
        path: place.path().display().to_string(),
        dry_run: request.dry_run,
        files: files.len(),
        file_bytes: SourceBytes { local: bytes - missing_bytes, cdn: missing_bytes, ..Default::default() },
        why_no_peers: Some("no peer was named".to_owned()),
        ..Summary::default()
    };
    if !request.dry_run {
        check_space(request.destination.path(), missing_bytes, config.spare_disk_bytes)?;
        let job = download::Job::new(hub, commit, place.clone(), index.clone(), config, events.clone());
        summary.wire_bytes.cdn = job.run(missing, missing_bytes).await?;
        finish(place, all_files).await?;
    }
    summary.seconds = started.elapsed().as_secs_f64();
    tell(Event::Summary(summary.clone())).await;
    Ok(summary)
}

async fn finish(place: Arc<Place>, all_files: Vec<TreeFile>) -> Result<(), Error> {
    tokio::task::spawn_blocking(move || place.finish(&all_files)).await.map_err(Error::internal)?
}

/// A revision becomes a path under `refs`.
fn check_revision(revision: &str) -> Result<(), Error> {
    let is_fine = |part: &str| !matches!(part, "" | "." | "..") && !part.chars().any(|c| c.is_control() || c == '\\');
    if revision.len() <= 255 && revision.split('/').all(is_fine) {
        return Ok(());
    }
    Err(Error::Revision { revision: revision.to_owned() })
}

/// Finds out whether `needed` bytes fit before the first of them is fetched.
fn check_space(path: &Path, needed: u64, spare: u64) -> Result<(), Error> {
    if needed == 0 {
        return Ok(());
    }
    let status = statvfs(path).map_err(|error| Error::disk("inspect", path)(error.into()))?;
    let available = status.f_bavail.saturating_mul(status.f_frsize);
    let needed = needed.saturating_add(spare);
    if available < needed {
        return Err(Error::NoSpace { path: path.to_owned(), needed, available });
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a pull is a shell: this is the clock of its summary")]
fn now() -> Instant {
    Instant::now()
}
