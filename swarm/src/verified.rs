//! What has been checked, as types: bytes whose hash we computed, and files whose hash chain is closed.
//! Only a [`VerifiedFile`] can be put in place.

use std::sync::Arc;

use xet_cas::{Error as FormatError, Leaf};

use crate::store::Partial;
use crate::work::FileWork;

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
    content: Content,
    leaves: Vec<Leaf>,
}

#[derive(Debug)]
enum Content {
    Chunks(Arc<FileWork>),
    Whole(Partial),
}

impl VerifiedFile {
    /// Closes the hash chain of a file in the CAS: its chunks, in order, reduce to its name. Nothing writes
    /// into a complete file any more.
    pub(crate) fn from_chunks(file: Arc<FileWork>) -> Result<Self, FormatError> {
        let leaves = file.ledger().leaves().unwrap_or_default();
        let (claimed, actual) = (file.hash, Leaf::file_hash(&leaves));
        if actual != claimed {
            return Err(FormatError::FileHash { claimed, actual });
        }
        Ok(Self { content: Content::Chunks(file), leaves })
    }

    /// A file that was hashed as a whole while it was written. `digest` is what was computed.
    pub(crate) fn from_digest(partial: Partial, digest: &str, claimed: &str) -> Result<Self, String> {
        if digest != claimed {
            return Err(format!("its bytes hash to {digest}, the Hub says {claimed}"));
        }
        Ok(Self { content: Content::Whole(partial), leaves: Vec::new() })
    }

    /// The chunks of a file in the CAS.
    pub(crate) fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    pub(crate) fn partial(&self) -> &Partial {
        match &self.content {
            Content::Chunks(file) => &file.partial,
            Content::Whole(partial) => partial,
        }
    }
}
