//! What has been checked, as types: bytes whose hash we computed, and files whose hash chain is closed.
//! Only a [`VerifiedFile`] can be put in place.

use std::sync::Arc;

use xet_cas::{ByteRange, ChunkRange, Error as FormatError, Leaf, XorbHash};

use crate::plan::TermRun;
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
    xorbs: Vec<XorbRun>,
    runs: Arc<[TermRun]>,
}

/// A run of a file's chunks that is a whole xorb, by its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct XorbRun {
    pub(crate) xorb: XorbHash,
    /// Chunks of the file.
    pub(crate) chunks: ChunkRange,
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
        let leaves = file.ledger().take_leaves().unwrap_or_default();
        let (claimed, actual) = (file.hash, Leaf::file_hash(&leaves));
        if actual != claimed {
            file.partial.discard();
            return Err(FormatError::FileHash { claimed, actual });
        }
        let xorbs = whole_xorbs(&file.xorb_candidates, &leaves);
        // The chunks are those of the file; that they are those of the xorbs is the word of the CAS.
        let is_all_of_it = file.runs.last().is_none_or(|last| last.end_chunk() == leaves.len() as u64);
        let runs = if is_all_of_it { file.runs.clone() } else { Arc::default() };
        Ok(Self { content: Content::Chunks(file), leaves, xorbs, runs })
    }

    /// A file that was hashed as a whole while it was written. `digest` is what was computed.
    pub(crate) fn from_digest(partial: Partial, digest: &str, claimed: &str) -> Result<Self, String> {
        if digest != claimed {
            partial.discard();
            return Err(format!("its bytes hash to {digest}, the Hub says {claimed}"));
        }
        let (leaves, xorbs, runs) = Default::default();
        Ok(Self { content: Content::Whole(partial), leaves, xorbs, runs })
    }

    /// The chunks of a file in the CAS.
    pub(crate) fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    /// Which of them are whole xorbs.
    pub(crate) fn xorbs(&self) -> &[XorbRun] {
        &self.xorbs
    }

    /// The runs of xorbs that they are made of.
    pub(crate) fn runs(&self) -> &Arc<[TermRun]> {
        &self.runs
    }

    pub(crate) fn partial(&self) -> &Partial {
        match &self.content {
            Content::Chunks(file) => &file.partial,
            Content::Whole(partial) => partial,
        }
    }
}

/// Which of the candidates are whole xorbs, by their hash.
pub(crate) fn whole_xorbs(candidates: &[(XorbHash, ByteRange)], leaves: &[Leaf]) -> Vec<XorbRun> {
    let offsets = chunk_offsets(leaves);
    let run = |(xorb, range): &(XorbHash, ByteRange)| {
        let first = offsets.binary_search(&range.start).ok()?;
        let last = offsets.partition_point(|offset| *offset < range.end);
        let is_whole = Leaf::xorb_hash(leaves.get(first..last)?) == *xorb;
        is_whole.then_some(XorbRun { xorb: *xorb, chunks: ChunkRange { start: first as u32, end: last as u32 } })
    };
    candidates.iter().filter_map(run).collect()
}

/// Where each chunk of a file begins.
pub(crate) fn chunk_offsets(leaves: &[Leaf]) -> Vec<u64> {
    let mut end = 0;
    let begin = |leaf: &Leaf| {
        let begin = end;
        end += u64::from(leaf.length);
        begin
    };
    leaves.iter().map(begin).collect()
}
