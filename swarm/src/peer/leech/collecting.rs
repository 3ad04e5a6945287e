//! A budget for data that is held until it proves itself, shared by all peers of a pull.

use std::sync::Arc;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Xorbs of peers of the ranged dialect that are held at once, at most: each may have 64 MiB.
const XORBS_MAX: usize = 2;

/// Permits to hold a xorb.
#[derive(Debug)]
pub(crate) struct Collecting {
    xorbs: Arc<Semaphore>,
    /// Told when there is a permit again.
    changed: Arc<Notify>,
}

impl Collecting {
    pub(crate) fn new(changed: Arc<Notify>) -> Self {
        Self { xorbs: Arc::new(Semaphore::new(XORBS_MAX)), changed }
    }

    /// `None` if as many are held as may be.
    pub(super) fn try_begin(&self) -> Option<Permit> {
        let permit = self.xorbs.clone().try_acquire_owned().ok()?;
        Some(Permit { permit: Some(permit), changed: self.changed.clone() })
    }
}

/// The right to hold one xorb.
#[derive(Debug)]
pub(super) struct Permit {
    permit: Option<OwnedSemaphorePermit>,
    changed: Arc<Notify>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        // Given back before others look.
        drop(self.permit.take());
        self.changed.notify_waiters();
    }
}
