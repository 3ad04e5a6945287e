//! Where files end up: the Hugging Face cache or a folder, and what is remembered about them.

mod partial;
pub(crate) use partial::Partial;

mod staging;

mod lock;
pub(crate) use lock::{FileLock, Patience, partial_bytes};

mod hub_layout;

mod shared_blobs;

mod cache_layout;
pub(crate) use cache_layout::CacheOptions;

mod folder_layout;

mod destination;
use destination::Candidates;
pub use destination::Destination;
pub(crate) use destination::Place;

mod index;
pub use index::Index;
pub(crate) use index::{FileRecord, Identity, Provenance, XorbRecord};

mod check;
pub(crate) use check::{EtagHasher, hash_file};
