//! Beginning with content: it may be that another process fetches it, or has just brought it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::OwnedSemaphorePermit;

use super::{Group, Job, Step};
use crate::Error;
use crate::pull::locking::{Claim, claim};
use crate::store::Remains;

impl Job {
    /// Lays claim to content before it is fetched.
    pub(super) fn claim(&mut self, group: Group, slot: OwnedSemaphorePermit) {
        let (place, index, events) = (self.place.clone(), self.index.clone(), self.shared.events.clone());
        let claim = claim(place, group.clone(), index, events);
        let number = self.open(group);
        let task = self.tasks.spawn(async move { (number, Step::Claimed(claim.await, slot)) });
        if let Some(open) = self.open.get_mut(&number) {
            open.tasks.push(task);
        }
    }

    pub(super) async fn claimed(&mut self, number: usize, claim: Claim, slot: OwnedSemaphorePermit) {
        let Some(open) = self.open.get_mut(&number) else { return };
        match claim {
            Claim::Mine(group) => {
                let chunked = group.chunked();
                open.group = group;
                match chunked {
                    Some(hash) => self.start_plan(number, hash, slot),
                    None => self.start_whole(number, slot),
                }
            }
            Claim::Busy(group) => {
                self.open.remove(&number);
                self.lockouts.add(group);
            }
            Claim::Present(group) => {
                self.remains.remove(group.file().etag());
                open.bytes.local = group.bytes();
                self.shared.written_bytes.fetch_add(group.bytes(), Ordering::Relaxed);
                self.close_file(number, None).await;
            }
        }
    }

    /// Takes up again what others have let go of.
    pub(super) async fn look_at_lockouts(&mut self) -> Result<(), Error> {
        let is_idle = self.waiting.is_empty() && self.waiting_whole.is_empty();
        let (groups, events) = self.lockouts.look(&self.place, is_idle).await?;
        for event in events {
            self.shared.tell(event).await;
        }
        if !groups.is_empty() {
            // Whoever let go of it may have been killed: what it has left was not there when this pull began.
            let folder = self.place.partial_folder();
            let look = tokio::task::spawn_blocking(move || Remains::look(&folder, |_| true));
            self.remains = Arc::new(look.await.map_err(Error::internal)?);
        }
        groups.into_iter().for_each(|group| self.enqueue(group));
        Ok(())
    }
}
