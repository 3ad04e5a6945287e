//! Regular files, named as git names blobs.

use std::fs::File;

use super::batch::Batch;
use super::folder::open;
use super::{Store, StoreError};
use crate::GitBlobHasher;

impl Store {
    /// Opens a regular file that a commit names.
    pub(in super::super) fn open_object(&self, oid: &str) -> Result<File, StoreError> {
        let path = self.named("objects", oid);
        open(&path)?.ok_or_else(|| StoreError::Corrupt { path, reason: "it is missing".into() })
    }

    /// For regular files that a commit brings along.
    pub(in super::super) fn new_objects(&self) -> NewObjects<'_> {
        NewObjects { store: self, batch: Batch::new(self) }
    }
}

/// Regular files on their way in. Only [`finish`](Self::finish) says that all are there for good.
pub(in super::super) struct NewObjects<'s> {
    store: &'s Store,
    batch: Batch<'s>,
}

impl NewObjects<'_> {
    /// Takes a file and returns its name.
    pub(in super::super) fn add(&mut self, content: &[u8]) -> Result<String, StoreError> {
        let oid = GitBlobHasher::of(content);
        self.batch.add(self.store.named("objects", &oid), content)?;
        Ok(oid)
    }

    pub(in super::super) fn finish(self) -> Result<(), StoreError> {
        self.batch.finish()
    }
}
