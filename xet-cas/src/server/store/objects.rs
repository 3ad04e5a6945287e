//! Regular files, named as git names blobs.

use tempfile::NamedTempFile;

use super::blobs::{Blob, Kind};
use super::metadata::{OBJECTS, STORED_BYTES, add};
use super::{Store, StoreError};
use crate::GitBlobHasher;
use crate::server::app::unix_now;

/// Files that wait to be synced: one after the other, each would wait for the disk by itself. Each keeps a descriptor
/// open.
const WAITING_MAX: usize = 64;

impl Store {
    /// Opens a regular file that a commit names.
    pub(in super::super) fn open_object(&self, oid: &str) -> Result<Blob, StoreError> {
        let missing = || StoreError::Corrupt { path: oid.into(), reason: "a regular file is missing".into() };
        self.blobs.open(Kind::Object, oid)?.ok_or_else(missing)
    }

    /// For regular files that a commit brings along.
    pub(in super::super) fn new_objects(&self) -> NewObjects<'_> {
        NewObjects { store: self, waiting: Vec::new() }
    }

    /// Whether a regular file is here.
    pub(in super::super) fn has_object(&self, oid: &str) -> Result<bool, StoreError> {
        self.metadata.read(|transaction| Ok(transaction.open_table(OBJECTS)?.get(oid)?.is_some()))
    }
}

/// Regular files on their way in. Only [`finish`](Self::finish) says that all are there for good.
pub(in super::super) struct NewObjects<'s> {
    store: &'s Store,
    waiting: Vec<(String, u64, NamedTempFile)>,
}

impl NewObjects<'_> {
    /// Takes a file and returns its name.
    pub(in super::super) fn add(&mut self, content: &[u8]) -> Result<String, StoreError> {
        let oid = GitBlobHasher::of(content);
        if self.waiting.iter().any(|(waiting, ..)| *waiting == oid) || self.store.has_object(&oid)? {
            return Ok(oid);
        }
        let waiting: u64 = self.waiting.iter().map(|(_, bytes, _)| bytes).sum();
        let bytes = waiting + content.len() as u64;
        self.store.check_quota(bytes)?;
        self.store.check_disk_for_metadata(bytes)?;
        self.waiting.push((oid.clone(), content.len() as u64, self.store.filled(content)?));
        if self.waiting.len() == WAITING_MAX {
            self.keep()?;
        }
        Ok(oid)
    }

    pub(in super::super) fn finish(mut self) -> Result<(), StoreError> {
        self.keep()
    }

    fn keep(&mut self) -> Result<(), StoreError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let (mut files, mut rows) = (Vec::new(), Vec::new());
        for (oid, bytes, file) in self.waiting.drain(..) {
            files.push((oid.clone(), file));
            rows.push((oid, bytes));
        }
        let _nothing_is_removed = self.store.removing.read();
        self.store.blobs.put(Kind::Object, files)?;
        self.store.metadata.write(|transaction| {
            let mut objects = transaction.open_table(OBJECTS)?;
            for (oid, bytes) in rows {
                if objects.insert(oid.as_str(), (bytes, unix_now()))?.is_none() {
                    add(transaction, STORED_BYTES, bytes as i64)?;
                }
            }
            Ok(())
        })
    }
}
