//! Where files end up: the Hugging Face cache or a folder, and what is remembered about them.

mod journal;

mod partial;
pub(crate) use partial::{Partial, Remains, TakenUp};

mod staging;

mod lock;
pub(crate) use lock::{FileLock, Patience, partial_bytes};

mod hub_layout;
pub(crate) use hub_layout::TreeJson;

mod shared_blobs;

mod cache_layout;
pub(crate) use cache_layout::CacheOptions;

mod folder_layout;

mod destination;
use destination::Candidates;
pub use destination::Destination;
pub(crate) use destination::Place;

mod leaf_lists;

mod chunk_index;

mod index;
pub use index::Index;
pub(crate) use index::{FileRecord, Identity, Provenance, XorbRecord};

mod check;
pub(crate) use check::{EtagHasher, hash_chunks, hash_file};
