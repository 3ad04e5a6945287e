//! How much is kept, and how much more may be.

use redb::ReadableTableMetadata as _;

use super::metadata::{FILES, NAMES, NUMBERS, OBJECTS, STORED_BYTES, XORBS};
use super::{Store, StoreError};

/// Bytes that xorbs leave free on the disk, so that what says what they are can still be written.
const RESERVE_BYTES: u64 = 64 * 1024 * 1024;
/// Bytes that shards and commits leave free, so that the database can still be: what it needs for a large commit.
const DATABASE_RESERVE_BYTES: u64 = 16 * 1024 * 1024;

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Usage {
    /// Bytes of all xorbs and regular files.
    pub(in super::super) bytes: u64,
    /// Bytes that there may be.
    pub(in super::super) quota: Option<u64>,
    /// Bytes that are free on the disk.
    pub(in super::super) free: Option<u64>,
    pub(in super::super) repos: u64,
    pub(in super::super) files: u64,
    pub(in super::super) xorbs: u64,
    pub(in super::super) objects: u64,
}

impl Store {
    pub(in super::super) fn usage(&self) -> Result<Usage, StoreError> {
        self.metadata.read(|transaction| {
            Ok(Usage {
                bytes: transaction.open_table(NUMBERS)?.get(STORED_BYTES)?.map_or(0, |bytes| bytes.value()),
                quota: self.quota,
                free: self.free_bytes(),
                repos: transaction.open_table(NAMES)?.len()?,
                files: transaction.open_table(FILES)?.len()?,
                xorbs: transaction.open_table(XORBS)?.len()?,
                objects: transaction.open_table(OBJECTS)?.len()?,
            })
        })
    }

    /// Refuses if so many bytes more may not be kept, or cannot be.
    pub(in super::super) fn make_room(&self, bytes: u64) -> Result<(), StoreError> {
        self.check_quota(bytes)?;
        self.check_disk(bytes)
    }

    /// Refuses if so many bytes more may not be kept.
    pub(in super::super) fn check_quota(&self, bytes: u64) -> Result<(), StoreError> {
        let Some(quota) = self.quota else { return Ok(()) };
        let stored = self.metadata.read(|transaction| {
            Ok(transaction.open_table(NUMBERS)?.get(STORED_BYTES)?.map_or(0, |bytes| bytes.value()))
        })?;
        if stored.saturating_add(bytes) > quota {
            return Err(StoreError::Full { what: format!("the origin's quota of {quota} bytes is used up") });
        }
        Ok(())
    }

    /// Refuses if the disk has no room to write so many bytes of a xorb more.
    pub(in super::super) fn check_disk(&self, bytes: u64) -> Result<(), StoreError> {
        self.check_free(bytes.saturating_add(RESERVE_BYTES))
    }

    /// Refuses if the disk has no room to write so many bytes more of what says what xorbs are, and of regular files.
    pub(in super::super) fn check_disk_for_metadata(&self, bytes: u64) -> Result<(), StoreError> {
        self.check_free(bytes.saturating_add(DATABASE_RESERVE_BYTES))
    }

    fn check_free(&self, bytes: u64) -> Result<(), StoreError> {
        if self.free_bytes().is_some_and(|free| free < bytes) {
            return Err(StoreError::Full { what: "the origin's disk is full".into() });
        }
        Ok(())
    }

    /// Bytes that are free where the folder is; `None` if nobody knows.
    #[cfg(unix)]
    fn free_bytes(&self) -> Option<u64> {
        let space = rustix::fs::statvfs(&self.root).ok()?;
        Some(space.f_bavail.saturating_mul(space.f_frsize))
    }

    #[cfg(not(unix))]
    fn free_bytes(&self) -> Option<u64> {
        None
    }
}
