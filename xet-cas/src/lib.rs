#![doc = include_str!("../README.md")]

mod hash;
pub use hash::{ChunkHash, FileHash, RangeHash, ShardHash, XorbHash};

mod chunker;
pub use chunker::{CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, CHUNK_BYTES_TARGET, Chunker, chunks, next_stable_chunk_boundary};

mod merkle;
pub use merkle::{Leaf, MerkleHashSubtree, RootBuilder};

pub mod proof;

mod compression;
pub use compression::{CompressionPolicy, Compressor, Decompressor, Scheme, SchemeChooser};

pub mod xorb;

pub mod shard;

pub mod dedup;

#[cfg(any(feature = "client", feature = "server"))]
#[cfg_attr(
    not(all(feature = "client", feature = "server")),
    allow(dead_code, reason = "a client packs many files, a server is read from meanwhile")
)]
mod pack;

mod reconstruction;
pub use reconstruction::{ByteRange, ChunkRange, FetchEntry, Reconstruction, Term};

pub mod multipart;

mod error;
pub use error::Error;

#[cfg(feature = "api")]
#[cfg_attr(
    not(all(feature = "client", feature = "server")),
    allow(dead_code, unused_imports, reason = "what one side reads, the other writes")
)]
mod api;
#[cfg(feature = "api")]
pub use api::{GitBlobHasher, RepoId, RepoType};

#[cfg(feature = "client")]
pub mod client;

#[cfg(feature = "server")]
pub mod server;
