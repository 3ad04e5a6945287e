//! Bytes by their names: xorbs and regular files, in the data folder or in a bucket. What has a name never changes.

mod blob;
pub(in super::super) use blob::Blob;

mod directory;
pub(super) use directory::Directory;

#[cfg(feature = "s3")]
mod bucket;
#[cfg(feature = "s3")]
pub(super) use bucket::Bucket;

use tempfile::NamedTempFile;

use super::StoreError;

/// What bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Records and footer, named by the xorb's hash.
    Xorb,
    /// A regular file, named as git names it.
    Object,
}

impl Kind {
    pub(super) const ALL: [Self; 2] = [Self::Xorb, Self::Object];

    const fn folder(self) -> &'static str {
        match self {
            Self::Xorb => "xorbs",
            Self::Object => "objects",
        }
    }

    /// Digits of a name.
    const fn digits(self) -> usize {
        match self {
            Self::Xorb => 64,
            Self::Object => 40,
        }
    }

    /// Whether something may have this name.
    fn is_name(self, name: &str) -> bool {
        name.len() == self.digits() && name.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
    }

    /// `xorbs/<2 hex>/<name>`
    fn path(self, name: &str) -> String {
        format!("{}/{}/{name}", self.folder(), name.get(..2).unwrap_or("--"))
    }
}

/// Where the bytes are.
pub(super) enum Blobs {
    Directory(Directory),
    #[cfg(feature = "s3")]
    Bucket(Bucket),
}

impl Blobs {
    /// Keeps these files under their names, each complete and for good once this returns. Those of a name that
    /// has bytes already are dropped.
    pub(super) fn put(&self, kind: Kind, files: Vec<(String, NamedTempFile)>) -> Result<(), StoreError> {
        match self {
            Self::Directory(directory) => directory.put(kind, files),
            #[cfg(feature = "s3")]
            Self::Bucket(bucket) => bucket.put(kind, files),
        }
    }

    /// What has a name; `None` if nothing has.
    pub(super) fn open(&self, kind: Kind, name: &str) -> Result<Option<Blob>, StoreError> {
        match self {
            Self::Directory(directory) => directory.open(kind, name),
            #[cfg(feature = "s3")]
            Self::Bucket(bucket) => bucket.open(kind, name),
        }
    }

    /// Removes what has a name, if anything has.
    pub(super) fn remove(&self, kind: Kind, name: &str) -> Result<(), StoreError> {
        match self {
            Self::Directory(directory) => directory.remove(kind, name),
            #[cfg(feature = "s3")]
            Self::Bucket(bucket) => bucket.remove(kind, name),
        }
    }

    /// Names and bytes of all there are.
    pub(super) fn list(&self, kind: Kind, each: &mut dyn FnMut(String, u64)) -> Result<(), StoreError> {
        match self {
            Self::Directory(directory) => directory.list(kind, each),
            #[cfg(feature = "s3")]
            Self::Bucket(bucket) => bucket.list(kind, each),
        }
    }
}
