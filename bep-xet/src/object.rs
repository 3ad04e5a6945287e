//! What requests name.

use std::fmt;

use bytes::{BufMut, BytesMut};
use nom::Parser;
use nom::combinator::map;
use nom::number::complete::u8 as byte;
use xet_cas::{ChunkHash, FileHash, XorbHash};

use crate::wire::{Parsed, hash};

/// A xorb, a file or a chunk, by its hash. Kinds that are not known are kept, so that whoever asks for one
/// gets an answer.
///
/// # Wire shape
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 1 | kind: high nibble the hash system (0 = Xet), low nibble what it is |
/// | 1 | 32 | hash, raw bytes |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Object {
    /// What it is.
    pub kind: ObjectKind,
    /// Its name, raw bytes.
    pub hash: [u8; 32],
}

impl Object {
    /// Size on the wire, bytes.
    pub const BYTES: usize = 1 + 32;

    /// A xorb.
    pub fn xorb(hash: XorbHash) -> Self {
        Self { kind: ObjectKind::Xorb, hash: *hash.as_bytes() }
    }

    /// A file.
    pub fn file(hash: FileHash) -> Self {
        Self { kind: ObjectKind::File, hash: *hash.as_bytes() }
    }

    /// A chunk.
    pub fn chunk(hash: ChunkHash) -> Self {
        Self { kind: ObjectKind::Chunk, hash: *hash.as_bytes() }
    }

    pub(crate) fn put(&self, out: &mut BytesMut) {
        out.put_u8(self.kind.to_byte());
        out.put_slice(&self.hash);
    }
}

/// In Xet's text form, after the kind.
impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hash = XorbHash::from_bytes(self.hash);
        match self.kind {
            ObjectKind::Xorb => write!(f, "xorb {hash}"),
            ObjectKind::File => write!(f, "file {hash}"),
            ObjectKind::Chunk => write!(f, "chunk {hash}"),
            ObjectKind::Unknown(kind) => write!(f, "object of kind {kind:#04x} {hash}"),
        }
    }
}

/// `<kind><hash>`
pub(crate) fn object(input: &[u8]) -> Parsed<'_, Object> {
    map((byte, hash), |(kind, hash)| Object { kind: ObjectKind::from_byte(kind), hash }).parse(input)
}

/// What an [`Object`] is: hash system and kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectKind {
    /// Up to 64 MiB of chunks that are stored together.
    Xorb,
    /// A file.
    File,
    /// One chunk.
    Chunk,
    /// A kind or hash system that is not known: the raw byte, never one of those above.
    Unknown(u8),
}

impl ObjectKind {
    /// Reads the byte on the wire.
    pub const fn from_byte(byte: u8) -> Self {
        match byte {
            0 => Self::Xorb,
            1 => Self::File,
            2 => Self::Chunk,
            byte => Self::Unknown(byte),
        }
    }

    /// The byte on the wire.
    pub const fn to_byte(self) -> u8 {
        match self {
            Self::Xorb => 0,
            Self::File => 1,
            Self::Chunk => 2,
            Self::Unknown(byte) => byte,
        }
    }
}
