//! Runs that reduce to their file, before and after it is settled that they are chunks.

use super::RunProof;
use super::entries::Entries;
use super::outline::{Mark, Outline};
use crate::{ByteRange, Error, FileHash, Leaf};

/// What became of a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing<V, C> {
    /// Its entries are chunks.
    Verified(V),
    /// Nothing speaks against it, and nothing settles it.
    Candidate(C),
}

/// A run that reduces to its file, but may stand at an inner level of the tree: good for asking for chunks
/// and for nothing else. Not to be stored or passed on; a mismatch against it blames nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CandidateRun {
    file: FileHash,
    file_bytes: u64,
    depth: usize,
    entries: Entries,
}

impl CandidateRun {
    pub(super) fn new(proof: RunProof, file: FileHash, file_bytes: u64) -> Self {
        let RunProof { leaves, offset, levels, .. } = proof;
        Self { file, file_bytes, depth: levels.len(), entries: Entries::new(offset, leaves) }
    }

    /// The bytes of the file that it is about. They are right at whatever level it stands.
    pub fn bytes(&self) -> ByteRange {
        self.entries.bytes()
    }

    /// Holds it against what is known of the file's chunks. It is settled if the outline counts two chunks of
    /// it or more, or one that is not the last of the file; [`Outline::settling`] says what to ask for. An
    /// outline of another length is not that of this file and settles nothing.
    ///
    /// # Errors
    /// [`Error::Mismatch`] or [`Error::Proof`] if the two disagree: the sender gave out inner nodes as chunks.
    pub fn under(self, outline: &Outline) -> Result<Standing<VerifiedRun, Self>, Error> {
        if outline.bytes() != self.file_bytes {
            return Ok(Standing::Candidate(self));
        }
        let marks = outline.marks_in(self.bytes());
        let mut counted: Option<(Mark, usize)> = None;
        for mark in marks {
            let at = self.entries.boundary(mark.bytes).ok_or(Error::Proof { reason: "a term ends inside a chunk" })?;
            if let Some((before, before_at)) = counted {
                let planned = mark.chunks - before.chunks;
                Error::check_equal("chunks of a run and of the plan", (at - before_at) as u64, planned)?;
            }
            counted = Some((*mark, at));
        }
        Ok(match marks {
            [start, .., end] if outline.settles(*start, *end) => Standing::Verified(VerifiedRun(self)),
            _ => Standing::Candidate(self),
        })
    }

    /// Settles it by the depth of another run of the same file that is [verified](VerifiedRun::depth).
    ///
    /// # Errors
    /// [`Error::Mismatch`] if it stands at another depth: the sender gave out inner nodes as chunks.
    pub fn at_depth(self, depth: usize) -> Result<VerifiedRun, Error> {
        Error::check_equal("depths of two runs of a file", self.depth as u64, depth as u64)?;
        Ok(VerifiedRun(self))
    }

    /// Settles it by a chunk that has arrived: `received` must be what [`Leaf::of`] makes of its bytes.
    ///
    /// # Errors
    /// Itself if it has no such entry. That blames nobody.
    pub fn promote(self, received: &Leaf) -> Result<VerifiedRun, Self> {
        if self.entries.contains(received) { Ok(VerifiedRun(self)) } else { Err(self) }
    }

    /// The better one of two of the same file: the deeper one, as the other then shows inner nodes. Itself if
    /// `other` is of another file or at the same depth.
    pub fn or_deeper(self, other: Self) -> Self {
        if other.file == self.file && other.depth > self.depth { other } else { self }
    }
}

/// Chunks that stand at an offset of a file: proved, and settled to be chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedRun(CandidateRun);

impl VerifiedRun {
    /// The file.
    pub fn file(&self) -> FileHash {
        self.0.file
    }

    /// Where the run begins in the file.
    pub fn offset(&self) -> u64 {
        self.bytes().start
    }

    /// The bytes of the file that it is about.
    pub fn bytes(&self) -> ByteRange {
        self.0.entries.bytes()
    }

    /// Levels above the leaves of this file, the same for every run of it.
    pub fn depth(&self) -> usize {
        self.0.depth
    }

    /// The chunks.
    pub fn leaves(&self) -> &[Leaf] {
        self.0.entries.leaves()
    }

    /// A chunk by its place in the run, and where it begins in the file.
    pub fn get(&self, at: usize) -> Option<(u64, &Leaf)> {
        self.0.entries.get(at)
    }

    /// The chunk that holds a byte of the file, and where it begins in the file.
    pub fn leaf_at(&self, byte: u64) -> Option<(u64, &Leaf)> {
        self.0.entries.leaf_at(byte)
    }
}
