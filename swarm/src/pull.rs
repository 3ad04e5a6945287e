//! A pull: from a repository's name to verified files in place.
//!
//! One task decides everything; fetches run beside it and report back. What is there already is found
//! first, then files are planned a few ahead of the fetches, and each is put in place the moment its
//! hash chain closes. The ref that makes the snapshot findable is written last, if nothing failed.

mod download;
mod indexing;
mod locking;
mod peers;
mod presence;
mod resume;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::statvfs;
use tokio::sync::mpsc;
use xet_cas::client::{self, Content, Hub, TreeFile};
use xet_cas::{FileHash, RepoId, RepoType};

use self::locking::Hold;
use self::presence::Found;
use crate::schedule::SourceMode;
use crate::selection::Selection;
use crate::store::{CacheOptions, Destination, Identity, Index, Place, Remains};
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
    /// Peers to fetch from besides the Hub: `host:port`.
    pub peers: Vec<String>,
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
            peers: Vec::new(),
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
    /// For a peer to connect, to shake hands, and to bring something new of what it was asked for. Default 10 s.
    pub peer_deadline: Duration,
    /// For another process that fetches the same content into the same cache to bring something new of it, before it
    /// is fetched here too. Default 30 s: longer than a source may be silent before it is given up.
    pub lock_deadline: Duration,
    /// Content in the CAS is kept once for all repositories of a cache, as `huggingface_hub` 2.4 does unless
    /// `HF_HUB_DISABLE_SHARED_BLOBS` is set. Default: yes, where the cache allows it.
    pub shared_blobs: bool,
    /// Snapshots link to blobs, as they do unless `HF_HUB_DISABLE_SYMLINKS` is set. Default: yes, where links can be
    /// made; else snapshots hold the files, and there is no shared store.
    pub symlinks: bool,
    /// Which sources are asked. Default: whoever is fastest.
    pub source_mode: SourceMode,
    /// Bytes a second from all sources together, at most. Default: no limit.
    pub limit_down: Option<NonZeroU64>,
    /// Bytes that must stay free on the disk beyond what is fetched. Default 16 MiB, for the index and
    /// whatever else is written meanwhile.
    pub spare_disk_bytes: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            fetches_max: 8,
            workers: std::thread::available_parallelism().map_or(2, usize::from),
            peer_deadline: Duration::from_secs(10),
            lock_deadline: Duration::from_secs(30),
            shared_blobs: true,
            symlinks: true,
            source_mode: SourceMode::Auto,
            limit_down: None,
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
    /// The CAS did not say how it is put together, so the Hub is asked for it as it is.
    is_plain: bool,
    /// Files that were there and are not it.
    refused: Vec<Identity>,
    /// Whether others are kept from fetching it too.
    hold: Hold,
}

impl Group {
    /// By content, in the order of first appearance.
    ///
    /// # Errors
    /// If the listing gives two files the same name of content but different content.
    fn of(files: &[TreeFile], repo: &RepoId) -> Result<Vec<Self>, Error> {
        let mut groups: Vec<Self> = Vec::new();
        let mut by_etag = HashMap::new();
        for file in files {
            let at = *by_etag.entry(file.etag()).or_insert(groups.len());
            if at == groups.len() {
                groups.push(Self {
                    files: Vec::new(),
                    is_second_try: false,
                    is_plain: false,
                    refused: Vec::new(),
                    hold: Hold::NotTried,
                });
            }
            let group = &mut groups[at].files;
            if group.first().is_some_and(|first| first.size != file.size || first.content != file.content) {
                let reason = format!("`{}` and `{}` have one SHA-256 and different content", group[0].path, file.path);
                return Err(client::Error::Listing { repo: repo.to_string(), reason }.into());
            }
            group.push(file.clone());
        }
        Ok(groups)
    }

    /// The content, under its first name.
    fn file(&self) -> &TreeFile {
        &self.files[0]
    }

    /// How its chunks are found, if that is how it is fetched.
    fn chunked(&self) -> Option<FileHash> {
        match self.file().content {
            Content::Xet { hash, .. } if !self.is_plain => Some(hash),
            _ => None,
        }
    }

    /// Bytes that fetching it writes.
    fn written_bytes(&self, keeps_copies: bool) -> u64 {
        self.bytes() * if keeps_copies { self.files.len() as u64 } else { 1 }
    }

    /// Bytes of the content.
    fn bytes(&self) -> u64 {
        self.file().size
    }
}

/// Pulls. Events go to `events`, which must be read; the last one is the summary that is also returned.
///
/// Dropping the future stops the pull: finished files stay, and what came of others is gone on with by the next pull.
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

    let commit = hub.resolve(request.repo_type, &request.repo, &request.revision).await?;
    let (repo, revision) = (commit.repo.to_string(), commit.revision.clone());
    tell(&events, Event::Resolved { repo, revision, commit: commit.sha.clone() }).await;
    let all_files = hub.list(&commit).await?;
    let files = selection.apply(all_files.clone())?;
    let groups = Group::of(&files, &request.repo)?;
    let bytes = files.iter().map(|file| file.size).sum();

    let options = CacheOptions { shared_blobs: config.shared_blobs, symlinks: config.symlinks };
    let place = Arc::new(request.destination.at(hub.endpoint(), &commit, options)?);
    let Found { missing, present } = presence::look(&place, groups, index, &events).await?;
    let missing_bytes = missing.iter().map(Group::bytes).sum();
    let missing_files = missing.iter().map(|group| group.files.len()).sum();
    tell(&events, Event::Planned { files: files.len(), bytes, missing_files, missing_bytes }).await;

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
        let swept = index.clone();
        tokio::task::spawn_blocking(move || swept.sweep()).await.map_err(Error::internal)?;
        let remains = prepare(&place, all_files, present, missing.clone(), config.spare_disk_bytes).await?;
        let job = download::Job::new(hub, commit, place.clone(), remains, index.clone(), config, events.clone())?;
        let brought = job.run(missing, missing_bytes, &request.peers).await?;
        let local = bytes - missing_bytes + brought.content.local;
        summary.file_bytes = SourceBytes { local, ..brought.content };
        summary.wire_bytes = brought.wire;
        summary.banned = brought.banned;
        summary.why_no_peers = brought.why_no_peers;
        let finished = tokio::task::spawn_blocking(move || place.finish()).await.map_err(Error::internal)?;
        match finished {
            // All that was asked for is there, though by its commit only.
            Err(error) if missing_files == 0 && error.is_read_only() => {
                let message = format!("the cache does not say that `{}` is this commit: {error}", request.revision);
                tell(&events, Event::Warning { message }).await;
            }
            finished => finished?,
        }
    }
    summary.seconds = started.elapsed().as_secs_f64();
    tell(&events, Event::Summary(summary.clone())).await;
    Ok(summary)
}

/// Makes ready for files to come, and gives those that are there their names. A cache that cannot be written is
/// fine when nothing has to be.
async fn prepare(
    place: &Arc<Place>,
    all_files: Vec<TreeFile>,
    present: Vec<(Group, Vec<PathBuf>)>,
    missing: Vec<Group>,
    spare_bytes: u64,
) -> Result<Remains, Error> {
    let place = place.clone();
    let prepare = move || {
        let check = || if missing.is_empty() { Ok(()) } else { place.check_writable() };
        match place.prepare(&all_files).and_then(|()| check()) {
            Err(error) if error.is_read_only() && !missing.is_empty() => {
                let missing_files = missing.iter().map(|group| group.files.len()).sum();
                return Err(Error::ReadOnly { path: place.partial_folder(), missing_files });
            }
            Err(error) if error.is_read_only() => tracing::debug!(%error, "left as it is"),
            prepared => prepared?,
        }
        let remains = place.remains(&all_files);
        let written: u64 = missing.iter().map(|group| group.written_bytes(place.keeps_copies())).sum();
        let left: u64 = missing.iter().map(|group| remains.bytes_of(group.file().etag(), group.bytes())).sum();
        check_space(&place.partial_folder(), written.saturating_sub(left), spare_bytes)?;
        for (group, sources) in &present {
            place.expose(sources, &group.files)?;
            remains.remove(group.file().etag());
        }
        Ok(remains)
    };
    tokio::task::spawn_blocking(prepare).await.map_err(Error::internal)?
}

/// A watcher that went away does not stop the pull.
pub(crate) async fn tell(events: &mpsc::Sender<Event>, event: Event) {
    if events.send(event).await.is_err() {
        tracing::trace!("nobody watches");
    }
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
