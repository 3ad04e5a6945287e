//! A budget for data that is held until it proves itself, shared by all peers of a pull.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Xorbs of peers of the ranged dialect that are held at once, at most: each may have 64 MiB.
const XORBS_MAX: usize = 2;

/// Permits to hold a xorb.
#[derive(Debug)]
pub(crate) struct Collecting(Arc<Semaphore>);

impl Collecting {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(XORBS_MAX)))
    }

    /// `None` if as many are held as may be.
    pub(super) fn try_begin(&self) -> Option<Permit> {
        self.0.clone().try_acquire_owned().ok().map(Permit)
    }
}

/// The right to hold one xorb.
#[derive(Debug)]
pub(super) struct Permit(#[expect(dead_code, reason = "held, and given back when dropped")] OwnedSemaphorePermit);
