//! Regular files, named as git names blobs.

use std::fs::File;

use super::folder::open;
use super::{Store, StoreError};
use crate::GitBlobHasher;

impl Store {
    /// Keeps a regular file and returns its name.
    pub(in super::super) fn put_object(&self, content: &[u8]) -> Result<String, StoreError> {
        let oid = GitBlobHasher::of(content);
        self.write(&self.named("objects", &oid), content)?;
        Ok(oid)
    }

    /// Opens a regular file that a commit names.
    pub(in super::super) fn open_object(&self, oid: &str) -> Result<File, StoreError> {
        let path = self.named("objects", oid);
        open(&path)?.ok_or_else(|| StoreError::Corrupt { path, reason: "it is missing".into() })
    }
}
