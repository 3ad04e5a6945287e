//! How many files may come in at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::server::refusal::Refusal;

/// Files that clients upload at once; each holds a xorb that is being packed, and two batches. `huggingface_hub`
/// uploads five at a time.
const UPLOADS_MAX: usize = 8;

pub(in super::super) struct Ingests(Arc<Semaphore>);

impl Ingests {
    pub(in super::super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(UPLOADS_MAX)))
    }

    /// A place for one upload, which is free again when dropped. Waits no longer than this.
    pub(in super::super) async fn place(&self, patience: Duration) -> Result<OwnedSemaphorePermit, Refusal> {
        match tokio::time::timeout(patience, Arc::clone(&self.0).acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            // Nobody closes it.
            Ok(Err(_)) | Err(_) => Err(Refusal::busy("too many files are being uploaded; try again later")),
        }
    }
}
