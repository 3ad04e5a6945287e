//! Names of chunks, xorbs, files and chunk ranges: BLAKE3 in keyed mode, one key per meaning.
//!
//! The text form is not the plain hex of the bytes: every group of eight bytes is printed as one
//! little-endian word, so each group reads reversed. It is used in URLs, JSON and tree node text;
//! binary formats hold the raw bytes.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// Key for the hash of a chunk's uncompressed bytes.
const DATA_KEY: [u8; 32] = *b"\x66\x97\xf5\x77\x5b\x95\x50\xde\x31\x35\xcb\xac\xa5\x97\x18\x1c\x9d\xe4\x21\x10\x9b\xeb\x2b\x58\xb4\xd0\xb0\x4b\x93\xad\xf2\x29";
/// Key for the hash of an inner node's text.
const INTERNAL_NODE_KEY: [u8; 32] = *b"\x01\x7e\xc5\xc7\xa5\x47\x29\x96\xfd\x94\x66\x66\xb4\x8a\x02\xe6\x5d\xdd\x53\x6f\x37\xc7\x6d\xd2\xf8\x63\x52\xe6\x4a\x53\x71\x3f";
/// Key for the hash of a run of chunk hashes (term verification).
const VERIFICATION_KEY: [u8; 32] = *b"\x7f\x18\x57\xd6\xce\x56\xed\x66\x12\x7f\xf9\x13\xe7\xa5\xc3\xf3\xa4\xcd\x26\xd5\xb5\xdb\x49\xe6\x41\x24\x98\x7f\x28\xfb\x94\xc3";
/// The salt that turns a tree root into a file hash. Zero, but still a keyed hash step.
const FILE_SALT: [u8; 32] = [0; 32];

macro_rules! hash_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// `Display` and `FromStr` use Xet's text form; `Ord` is the order of that text, which is the
        /// order in which shards list their contents.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The zero hash: the name of nothing (an empty file, an empty list).
            pub const ZERO: Self = Self([0; 32]);

            /// Takes the 32 raw bytes, as binary formats hold them.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 raw bytes, as binary formats hold them.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(std::str::from_utf8(&text(&self.0)).unwrap_or_default())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:016x}…)"), word(&self.0, 0))
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                parse(text).map(Self)
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                words(&self.0).cmp(&words(&other.0))
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }
    };
}

hash_type! {
    /// Name of a chunk: the keyed hash of its uncompressed bytes.
    ChunkHash
}
hash_type! {
    /// Name of a xorb: the tree root over its (chunk hash, length) list.
    XorbHash
}
hash_type! {
    /// Name of a file: the tree root over its (chunk hash, length) list, keyed once more with a salt.
    FileHash
}
hash_type! {
    /// Proof that a client knows every chunk hash of a term: the keyed hash of those hashes in a row.
    RangeHash
}

hash_type! {
    /// Name of a shard: the hash that a chunk of the same bytes would have.
    ShardHash
}

impl ShardHash {
    /// Hashes the bytes of a shard, in whatever form: each has its own name.
    pub fn of(shard: &[u8]) -> Self {
        Self(*ChunkHash::of(shard).as_bytes())
    }
}

impl ChunkHash {
    /// Hashes the uncompressed bytes of a chunk.
    pub fn of(data: &[u8]) -> Self {
        Self(*blake3::keyed_hash(&DATA_KEY, data).as_bytes())
    }

    /// The form under which a keyed shard lists this chunk. A zero key means "not keyed" in a shard
    /// footer; that decision is the caller's.
    pub fn keyed(&self, key: &[u8; 32]) -> Self {
        Self(*blake3::keyed_hash(key, &self.0).as_bytes())
    }

    /// Whether the chunk is in the global deduplication index by its hash alone (1 in 1,024 is).
    pub fn is_global_dedup_eligible(&self) -> bool {
        word(&self.0, 3).is_multiple_of(1024)
    }
}

impl FileHash {
    /// Keys a tree root with the default salt. An empty file has the zero hash, not a keyed one:
    /// see [`Leaf::file_hash`](crate::Leaf::file_hash).
    pub(crate) fn from_root(root: [u8; 32], salt: Option<&[u8; 32]>) -> Self {
        Self(*blake3::keyed_hash(salt.unwrap_or(&FILE_SALT), &root).as_bytes())
    }
}

impl RangeHash {
    /// Hashes the chunk hashes of a term, in order. No sizes, no tree.
    pub fn of<'a>(chunks: impl IntoIterator<Item = &'a ChunkHash>) -> Self {
        let mut hasher = blake3::Hasher::new_keyed(&VERIFICATION_KEY);
        for chunk in chunks {
            hasher.update(&chunk.0);
        }
        Self(*hasher.finalize().as_bytes())
    }
}

/// Hash of an inner node, given the text of its children.
pub(crate) fn node_hash(text: &[u8]) -> [u8; 32] {
    *blake3::keyed_hash(&INTERNAL_NODE_KEY, text).as_bytes()
}

/// Whether a node may end a group of the tree.
pub(crate) fn is_cut_point(hash: &[u8; 32]) -> bool {
    word(hash, 3).is_multiple_of(4)
}

/// The text form, as ASCII.
pub(crate) fn text(bytes: &[u8; 32]) -> [u8; 64] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = [0; 64];
    for (i, pair) in out.chunks_exact_mut(2).enumerate() {
        let byte = bytes[reversed_in_group(i)];
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    out
}

fn parse(text: &str) -> Result<[u8; 32], Error> {
    let error = || Error::HashText { len: text.len() };
    let digits: &[u8; 64] = text.as_bytes().try_into().map_err(|_| error())?;
    let mut bytes = [0; 32];
    for (i, pair) in digits.chunks_exact(2).enumerate() {
        let digit = |c: u8| char::from(c).to_digit(16).ok_or_else(error);
        bytes[reversed_in_group(i)] = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
    }
    Ok(bytes)
}

/// Byte `i` of the text stands at this place of the raw bytes.
fn reversed_in_group(i: usize) -> usize {
    i ^ 7
}

fn word(bytes: &[u8; 32], index: usize) -> u64 {
    words(bytes)[index]
}

fn words(bytes: &[u8; 32]) -> [u64; 4] {
    let mut words = [0; 4];
    for (word, group) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = group.iter().rev().fold(0, |acc, byte| acc << 8 | u64::from(*byte));
    }
    words
}

/// Converts a SHA-256 digest to or from the form in which shards store it: each group of eight bytes
/// reversed, so that the Xet text form of the stored bytes reads as the usual hex.
pub(crate) fn swap_groups(bytes: &[u8; 32]) -> [u8; 32] {
    std::array::from_fn(|i| bytes[reversed_in_group(i)])
}
