//! The whole list of a xorb, before and after it is settled that its entries are chunks.

use super::entries::Entries;
use super::{Standing, check_lengths};
use crate::{ByteRange, Error, Leaf, Term, XorbHash, xorb};

/// Checks that a list reduces to a xorb. It may be an inner level of the tree
/// ([module documentation](super)), and a list of one does not bind its length, so the result is a candidate.
///
/// # Errors
/// [`Error::OutOfBounds`] or [`Error::XorbHash`], each of which proves that the sender is at fault.
pub fn verify_xorb_list(xorb: XorbHash, leaves: Vec<Leaf>) -> Result<CandidateList, Error> {
    Error::check_bounds("chunks of a xorb", leaves.len() as u64, 1, xorb::CHUNKS_MAX as u64)?;
    check_lengths(&leaves)?;
    let entries = Entries::new(0, leaves);
    Error::check_bounds("raw bytes of a xorb", entries.bytes().end, 1, xorb::RAW_BYTES_MAX)?;
    let actual = Leaf::xorb_hash(entries.leaves());
    if actual != xorb {
        return Err(Error::XorbHash { claimed: xorb, actual });
    }
    Ok(CandidateList { xorb, entries })
}

/// A list that reduces to its xorb, but may be an inner level of the tree: good for asking for chunks and
/// for nothing else. Not to be stored or passed on; a mismatch against it blames nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CandidateList {
    xorb: XorbHash,
    entries: Entries,
}

impl CandidateList {
    /// How many entries it has.
    pub fn count(&self) -> usize {
        self.entries.leaves().len()
    }

    /// Settles it by the number of chunks of the xorb and their uncompressed bytes, from a trusted source.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if the list has others: the sender gave out inner nodes as chunks.
    pub fn of_size(self, chunks: u32, bytes: u64) -> Result<VerifiedList, Error> {
        Error::check_equal("chunks of a list and of the plan", self.count() as u64, chunks.into())?;
        Error::check_equal("bytes of a list and of the plan", self.entries.bytes().end, bytes)?;
        Ok(VerifiedList(self))
    }

    /// Holds it against the terms of a plan; those of other xorbs are passed over. It is settled if one
    /// of them begins at the xorb's first chunk: at an inner level, as many entries from there on hold more
    /// bytes. For any other run of chunks, that inner nodes differ is likely but not certain.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] or [`Error::Mismatch`] if the list lacks chunks of a term, or they have other
    /// bytes: the sender gave out inner nodes as chunks.
    pub fn under(self, terms: &[Term]) -> Result<Standing<VerifiedList, Self>, Error> {
        let mut settled = false;
        for term in terms.iter().filter(|term| term.xorb == self.xorb && term.chunks.count() > 0) {
            let end = term.chunks.end;
            Error::check_bounds("last chunk of a term", end.into(), 1, self.count() as u64)?;
            let bytes = self.start_of(end) - self.start_of(term.chunks.start);
            Error::check_equal("bytes of a list and of a term", bytes, term.unpacked_length.into())?;
            settled |= term.chunks.start == 0;
        }
        Ok(if settled { Standing::Verified(VerifiedList(self)) } else { Standing::Candidate(self) })
    }

    /// Settles it by a chunk that has arrived: `received` must be what [`Leaf::of`] makes of its bytes.
    ///
    /// # Errors
    /// Itself if it has no such entry. That blames nobody.
    pub fn promote(self, received: &Leaf) -> Result<VerifiedList, Self> {
        if self.entries.contains(received) { Ok(VerifiedList(self)) } else { Err(self) }
    }

    /// The better one of two of the same xorb: the longer one, as the other then is an inner level. Itself
    /// if `other` is of another xorb or not longer.
    pub fn or_longer(self, other: Self) -> Self {
        if other.xorb == self.xorb && other.count() > self.count() { other } else { self }
    }

    fn start_of(&self, at: u32) -> u64 {
        self.entries.get(at as usize).map_or(self.entries.bytes().end, |(start, _)| start)
    }
}

/// The chunks of a xorb: proved, and settled to be chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedList(CandidateList);

impl VerifiedList {
    /// The xorb.
    pub fn xorb(&self) -> XorbHash {
        self.0.xorb
    }

    /// Uncompressed bytes of all chunks, from 0 on.
    pub fn bytes(&self) -> ByteRange {
        self.0.entries.bytes()
    }

    /// The chunks.
    pub fn leaves(&self) -> &[Leaf] {
        self.0.entries.leaves()
    }

    /// A chunk by its index in the xorb, and where it begins in the raw bytes.
    pub fn get(&self, at: usize) -> Option<(u64, &Leaf)> {
        self.0.entries.get(at)
    }

    /// The chunk that holds a byte of the raw xorb, and where it begins there.
    pub fn leaf_at(&self, byte: u64) -> Option<(u64, &Leaf)> {
        self.0.entries.leaf_at(byte)
    }
}
