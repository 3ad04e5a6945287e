//! Lets the chunks of finished files be found, beside the pull, which does not wait for the disk to have them.

use tokio::task::JoinSet;
use xet_cas::FileHash;

use crate::store::{FileRecord, Index};

/// Adds files to the chunk index, one batch at a time.
pub(super) struct Indexing {
    index: Index,
    /// Files that came while a batch was being added.
    waiting: Vec<FileHash>,
    task: JoinSet<()>,
}

impl Indexing {
    pub(super) fn new(index: Index) -> Self {
        Self { index, waiting: Vec::new(), task: JoinSet::new() }
    }

    /// Takes over files that are remembered now, and whose leaf lists are stored.
    pub(super) fn add(&mut self, records: &[FileRecord]) {
        self.waiting.extend(records.iter().filter_map(|record| record.xet_hash.as_ref()?.parse::<FileHash>().ok()));
        while self.task.try_join_next().is_some() {}
        if self.task.is_empty() {
            self.start();
        }
    }

    /// Waits until the rest is added.
    pub(super) async fn finish(&mut self) {
        while self.task.join_next().await.is_some() {}
        self.start();
        while self.task.join_next().await.is_some() {}
    }

    fn start(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let (index, files) = (self.index.clone(), std::mem::take(&mut self.waiting));
        self.task.spawn_blocking(move || {
            if let Err(error) = index.index_chunks(&files) {
                tracing::info!(%error, "chunks cannot be found by their hash yet");
            }
        });
    }
}
