//! Content that another process fetches into the same cache at this moment is left to it.
//!
//! Content is locked from before it is fetched until it is in place. While another has the lock other files go
//! first; then the lock is waited for, as long as the other makes progress and a deadline longer. Whoever gets it
//! looks whether the content is there now.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::{Group, presence};
use crate::store::{FileLock, Index, Patience, Place, partial_bytes};
use crate::{Error, Event};

/// A wait that takes longer is told.
const TOLD_AFTER: Duration = Duration::from_secs(1);

/// Whether others are kept from fetching some content.
#[derive(Debug, Clone)]
pub(super) enum Hold {
    NotTried,
    /// Until the last clone is dropped.
    Held {
        _lock: Arc<FileLock>,
    },
    /// There is no lock to be had, or it was waited for long enough.
    Without,
}

/// What came of laying claim to content.
pub(super) enum Claim {
    /// It has to be fetched.
    Mine(Group),
    /// Another process has it.
    Busy(Group),
    /// Another process has brought it; it has all its names.
    Present(Group),
}

/// Lays claim to content that was missing when it was last looked for.
pub(super) async fn claim(
    place: Arc<Place>,
    mut group: Group,
    index: Index,
    events: mpsc::Sender<Event>,
) -> Result<Claim, Error> {
    let locking = place.clone();
    let lock = move || {
        if matches!(group.hold, Hold::NotTried) {
            group.hold = match locking.try_lock(group.file()) {
                Ok(Some(lock)) => Hold::Held { _lock: Arc::new(lock) },
                Ok(None) => return (Claim::Busy(group), false),
                Err(error) => {
                    tracing::debug!(etag = group.file().etag(), %error, "fetched without a lock");
                    Hold::Without
                }
            };
        }
        let is_there = locking.look(&group.files).iter().any(|(_, identity)| !group.refused.contains(identity));
        (Claim::Mine(group), is_there)
    };
    let group = match tokio::task::spawn_blocking(lock).await.map_err(Error::internal)? {
        (Claim::Mine(group), true) => group,
        (claim, _) => return Ok(claim),
    };
    let presence::Found { mut missing, mut present } = presence::look(&place, vec![group], &index, &events).await?;
    let expose = move || {
        if let Some(group) = missing.pop() {
            return Ok(Claim::Mine(group));
        }
        let (group, sources) =
            present.pop().ok_or_else(|| Error::internal("content was lost while it was looked for"))?;
        place.expose(&sources, &group.files)?;
        Ok(Claim::Present(group))
    };
    tokio::task::spawn_blocking(expose).await.map_err(Error::internal)?
}

/// Content that others have locked.
#[derive(Debug)]
pub(super) struct Lockouts {
    waiting: Vec<Lockout>,
    deadline: Duration,
}

#[derive(Debug)]
struct Lockout {
    group: Group,
    patience: Patience,
    is_told: bool,
}

impl Lockouts {
    pub(super) fn new(deadline: Duration) -> Self {
        Self { waiting: Vec::new(), deadline }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn add(&mut self, group: Group) {
        self.waiting.push(Lockout { group, patience: Patience::new(now()), is_told: false });
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = Group> {
        self.waiting.drain(..).map(|lockout| lockout.group)
    }

    /// Looks at all of them: returns those that may be claimed again, and what there is to tell. `is_idle`: there
    /// is nothing else to begin, so that the deadline counts.
    pub(super) async fn look(&mut self, place: &Arc<Place>, is_idle: bool) -> Result<(Vec<Group>, Vec<Event>), Error> {
        if self.is_empty() {
            return Ok(Default::default());
        }
        let (place, waiting) = (place.clone(), std::mem::take(&mut self.waiting));
        let look = move || {
            let is_locked = |lockout: &Lockout| matches!(place.try_lock(lockout.group.file()), Ok(None));
            let (locked, free): (Vec<_>, Vec<_>) = waiting.into_iter().partition(is_locked);
            (locked, free, partial_bytes(&place.partial_folder()))
        };
        let (locked, free, bytes) = tokio::task::spawn_blocking(look).await.map_err(Error::internal)?;
        self.waiting = locked;
        let (mut events, now) = (self.look_at_progress(&bytes, now()), now());
        let mut groups: Vec<Group> = free.into_iter().map(|lockout| lockout.group).collect();
        // One holder works on some of what it has locked and lets the rest wait, so progress of one counts for all.
        let idle = self.waiting.iter().map(|lockout| lockout.patience.idle(now)).min();
        if is_idle && idle.is_some_and(|idle| idle >= self.deadline) {
            for mut group in self.drain() {
                let reason = "another process has locked it and brings nothing of it";
                events.push(Event::Retry { what: group.file().path.clone(), reason: reason.to_owned() });
                group.hold = Hold::Without;
                groups.push(group);
            }
        }
        Ok((groups, events))
    }

    fn look_at_progress(&mut self, bytes: &HashMap<String, u64>, now: Instant) -> Vec<Event> {
        let mut events = Vec::new();
        for Lockout { group, patience, is_told } in &mut self.waiting {
            let file = group.file();
            patience.look(bytes.get(file.etag()).copied().unwrap_or_default(), now);
            if !*is_told && patience.waited(now) >= TOLD_AFTER {
                *is_told = true;
                let reason = "another process is fetching it into the same cache".to_owned();
                events.push(Event::Waiting { what: file.path.clone(), reason });
            }
        }
        events
    }
}

#[expect(clippy::disallowed_methods, reason = "a pull is a shell: this is the clock of its waits for locks")]
fn now() -> Instant {
    Instant::now()
}
