//! Which chunks of a file need not be uploaded, because a xorb that is stored already holds them.
//!
//! Three parts, each of use alone. The [`Index`] finds runs of chunks in xorbs that are known. The [`QueryRule`]
//! says about which of the others to ask the CAS, whose answer (a shard, usually
//! [keyed](crate::ChunkHash::keyed)) goes into the index as well. The [`FragmentationGuard`] says which of the
//! runs found are worth a term of their own.

mod index;
pub use index::{Found, INDEX_CHUNKS_MAX, INDEX_KEYS_MAX, Index};

mod fragmentation;
pub use fragmentation::FragmentationGuard;

mod query;
pub use query::QueryRule;
