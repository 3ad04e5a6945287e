//! The pull-through mirror: what is asked for and is not here is looked up at another Hub, kept, and given from here
//! afterwards, also when that Hub is gone.
//!
//! A commit comes with its listing and keeps its name. The bytes of a file come when they are first asked for, and are
//! given on while they arrive. They go on arriving when whoever asked has left.

use std::sync::Arc;
use std::time::Duration;

use super::ingest::{Arrival, Failure};
use super::refusal::Refusal;
use super::store::{Entry, RepoKey, Store};
use super::workers::Workers;
use super::{Config, Error};
use crate::FileHash;

#[cfg_attr(not(feature = "client"), path = "mirror/none.rs")]
mod live;
use live::Live;

/// How long a request waits for what is still arriving. Clients and proxies give up after 30 s and more, and ask again
/// when they are told to.
const PATIENCE: Duration = Duration::from_secs(25);
/// When they are told to ask again, seconds.
const RETRY_AFTER_SECONDS: u32 = 5;

/// What stands behind this origin, if anything does.
pub(super) struct Mirror(Option<Arc<Live>>);

/// Where the bytes of a file are.
pub(super) enum Source {
    /// Here, under this hash.
    Kept(FileHash),
    /// On their way here.
    Arriving(Arc<Arrival>),
}

/// A file of a commit.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) repo: RepoKey,
    pub(super) sha: String,
    pub(super) path: String,
    pub(super) entry: Entry,
}

impl Mirror {
    pub(super) fn new(config: &Config, store: &Arc<Store>, workers: &Workers) -> Result<Self, Error> {
        let live = config.mirror.as_ref().map(|mirror| Live::new(mirror, store, workers));
        Ok(Self(live.transpose()?.map(Arc::new)))
    }

    /// Sees to it that a revision is here as it is at the other Hub, as far as that can be had.
    pub(super) async fn look_up(&self, repo: &RepoKey, revision: &str) -> Result<(), Refusal> {
        match &self.0 {
            Some(live) => live.look_up(repo, revision).await,
            None => Ok(()),
        }
    }

    /// Sees to it that a repository which nobody has asked for yet is known, if the other Hub has it. `must_know`:
    /// whether it matters why nothing is known of it.
    pub(super) async fn meet(&self, repo: &RepoKey, must_know: bool) -> Result<(), Refusal> {
        match &self.0 {
            Some(live) => live.meet(repo, must_know).await,
            None => Ok(()),
        }
    }

    /// Notes that somebody reads a commit: its files may be asked for by their hash alone.
    pub(super) fn note(&self, repo: &RepoKey, sha: &str) {
        if let Some(live) = &self.0 {
            live.note(repo, sha);
        }
    }

    /// Where the bytes of a file are; those of one that is nowhere begin to arrive. `None`: there is no way to get it.
    pub(super) async fn source(&self, place: Place) -> Result<Option<Source>, Refusal> {
        match &self.0 {
            Some(live) => live.source(place).await,
            None => Ok(None),
        }
    }

    /// [`source`](Self::source) of a file of a repository by its hash, which some commit has that is read or that a branch
    /// is at.
    pub(super) async fn source_of(&self, repo: &RepoKey, file: FileHash) -> Result<Option<Source>, Refusal> {
        match &self.0 {
            Some(live) => live.source_of(repo, file).await,
            None => Ok(None),
        }
    }

    /// Gives up what is under way, and waits for the end of it.
    pub(super) async fn stop(&self) {
        if let Some(live) = &self.0 {
            live.stop().await;
        }
    }

    /// Gives up what is under way.
    pub(super) fn abort(&self) {
        if let Some(live) = &self.0 {
            live.abort();
        }
    }
}

/// Waits for what is arriving, but not so long that who asked gives up first.
pub(super) async fn patiently<T>(arriving: impl Future<Output = Result<T, Failure>>) -> Result<T, Refusal> {
    match tokio::time::timeout(PATIENCE, arriving).await {
        Ok(Ok(arrived)) => Ok(arrived),
        Ok(Err(failure)) => Err(Refusal::upstream(failure.to_string())),
        Err(_) => Err(Refusal::arriving(RETRY_AFTER_SECONDS)),
    }
}
