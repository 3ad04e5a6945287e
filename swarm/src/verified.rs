//! What has been checked, as types: bytes whose hash we computed, and files whose hash chain is closed.
//! Only a [`VerifiedFile`] can be put in place.

use xet_cas::{Error as FormatError, FileHash, Leaf};

use crate::store::Partial;

/// A chunk's bytes with the hash that we computed of them. It may be written into a partial file; that
/// it belongs there is known only when the file's hash chain closes.
pub(crate) struct HashedChunk<'a> {
    data: &'a [u8],
    leaf: Leaf,
}

impl<'a> HashedChunk<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self { data, leaf: Leaf::of(data) }
    }

    pub(crate) fn data(&self) -> &'a [u8] {
        self.data
    }

    pub(crate) fn leaf(&self) -> Leaf {
        self.leaf
    }
}

/// A complete file whose hash, as the Hub gave it, was recomputed from its bytes.
#[derive(Debug)]
pub(crate) struct VerifiedFile {
    partial: Partial,
    leaves: Vec<Leaf>,
}

impl VerifiedFile {
    /// Closes the hash chain of a file in the CAS: its chunks, in order, reduce to its name. `leaves` are
    /// those of the chunks that were hashed and written into `partial`.
    pub(crate) fn from_leaves(partial: Partial, leaves: Vec<Leaf>, claimed: FileHash) -> Result<Self, FormatError> {
        let actual = Leaf::file_hash(&leaves);
        if actual != claimed {
            return Err(FormatError::FileHash { claimed, actual });
        }
        Ok(Self { partial, leaves })
    }

    /// A file that was hashed as a whole while it was written. `digest` is what was computed.
    pub(crate) fn from_digest(partial: Partial, digest: &str, claimed: &str) -> Result<Self, String> {
        if digest != claimed {
            return Err(format!("its bytes hash to {digest}, the Hub says {claimed}"));
        }
        Ok(Self { partial, leaves: Vec::new() })
    }

    /// The chunks of a file in the CAS.
    pub(crate) fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    pub(crate) fn into_partial(self) -> Partial {
        self.partial
    }
}
