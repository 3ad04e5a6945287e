//! That a whole file is the one it should be.

use sha2::{Digest as _, Sha256};

use crate::api::{GitBlobHasher, shown};
use crate::client::{Content, Error, TreeFile};
use crate::{Leaf, RootBuilder};

/// Hashes a file as it is read.
pub(super) enum Proof {
    /// And how long they are together: of what was cut off something the bytes are not what was proved.
    Chunks(RootBuilder, u64),
    Sha256(Sha256),
    Git(GitBlobHasher),
}

impl Proof {
    /// By its chunks, for a file in the CAS.
    pub(super) fn of_chunks() -> Self {
        Self::Chunks(RootBuilder::new(), 0)
    }

    /// By its bytes.
    pub(super) fn of_bytes(file: &TreeFile) -> Self {
        match file.content {
            Content::Regular => Self::Git(GitBlobHasher::new(file.size)),
            Content::Lfs { .. } | Content::Xet { .. } => Self::Sha256(Sha256::new()),
        }
    }

    pub(super) fn push_chunk(&mut self, leaf: &Leaf) {
        if let Self::Chunks(root, bytes) = self {
            root.push(leaf);
            *bytes += u64::from(leaf.length);
        }
    }

    pub(super) fn push_bytes(&mut self, bytes: &[u8]) {
        match self {
            Self::Chunks(..) => {}
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Git(hasher) => hasher.update(bytes),
        }
    }

    pub(super) fn finish(self, file: &TreeFile) -> Result<(), Error> {
        let source = match self {
            Self::Chunks(root, bytes) => {
                let Content::Xet { hash: claimed, .. } = file.content else { return Ok(()) };
                let actual = root.finish_file();
                if bytes != file.size {
                    crate::Error::Mismatch { what: "bytes of a file and of its chunks", left: bytes, right: file.size }
                } else if actual != claimed {
                    crate::Error::FileHash { claimed, actual }
                } else {
                    return Ok(());
                }
            }
            Self::Sha256(hasher) => {
                return by_etag(file, hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
            }
            Self::Git(hasher) => return by_etag(file, hasher.finish()),
        };
        Err(Error::Format { what: shown(&file.path), source })
    }
}

fn by_etag(file: &TreeFile, actual: String) -> Result<(), Error> {
    if actual == file.etag() {
        return Ok(());
    }
    let source = crate::Error::Digest { claimed: file.etag().to_owned(), actual };
    Err(Error::Format { what: shown(&file.path), source })
}
