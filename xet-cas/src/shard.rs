//! Shards: what a client tells the CAS about files and xorbs it uploaded, and the CAS a client about xorbs
//! that hold a chunk.
//!
//! The [upload form](Shard::encode_upload) is a header, a file section and a xorb section, each a sequence of
//! 48-byte entries closed by a bookend, and nothing behind them. [Other forms](StoredShard) have lookup tables and
//! a footer behind the sections.

mod read;
mod write;

mod stored;
pub use stored::{NEVER_EXPIRES, STORED_SHARD_BYTES_MAX, StoredShard, StoredXorb};

mod tables;
pub use tables::LookupTables;

mod footer;
mod merge;
mod verify;

use crate::{FileHash, Leaf, RangeHash, Term, XorbHash};

/// Largest shard that is sent or accepted, bytes.
pub const SHARD_BYTES_MAX: usize = 64 * 1024 * 1024;

const TAG: [u8; 32] = *b"HFRepoMetaData\0\x55\x69\x67\x45\x6a\x7b\x81\x57\x83\xa5\xbd\xd9\x5c\xcd\xd1\x4a\xa9";
const VERSION: u64 = 2;
const HEADER_BYTES: usize = 48;
const ENTRY_BYTES: usize = 48;
/// Closes a section: a hash of all ones.
const BOOKEND: [u8; 32] = [0xff; 32];
/// File flag: one verification entry a term follows the terms.
const FILE_HAS_VERIFICATION: u32 = 1 << 31;
/// File flag: a metadata entry with the SHA-256 follows.
const FILE_HAS_METADATA: u32 = 1 << 30;
/// Chunk flag: the CAS knows of it when it is asked about a chunk.
const CHUNK_IN_GLOBAL_DEDUP: u32 = 1 << 31;

/// Files and xorbs, as one upload announces them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shard {
    /// The files.
    pub files: Vec<ShardFile>,
    /// The xorbs that are new.
    pub xorbs: Vec<ShardXorb>,
}

/// How one file is put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardFile {
    /// Its name.
    pub hash: FileHash,
    /// Its terms, in order. None: an empty file.
    pub terms: Vec<Term>,
    /// One hash a term over the term's chunk hashes: shows that the uploader has the file. Either none
    /// or as many as there are terms.
    pub verification: Option<Vec<RangeHash>>,
    /// SHA-256 of the file: the usual digest, not the shuffled form in which shards store it.
    pub sha256: Option<[u8; 32]>,
}

/// The chunks of one xorb.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardXorb {
    /// Its name.
    pub hash: XorbHash,
    /// Its chunks, in order.
    pub leaves: Vec<Leaf>,
}

impl ShardFile {
    /// Entries that it takes in a shard.
    fn entries(&self) -> usize {
        1 + self.terms.len() + self.verification.as_ref().map_or(0, Vec::len) + usize::from(self.sha256.is_some())
    }
}

impl ShardXorb {
    /// Entries that it takes in a shard.
    fn entries(&self) -> usize {
        1 + self.leaves.len()
    }
}
