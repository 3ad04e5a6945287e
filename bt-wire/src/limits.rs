use crate::kind::{BITFIELD, EXTENDED, HASH_BYTES, HASHES, PIECE, Shape, name, shape};
use crate::{Error, Pieces};

/// What is refused from a peer. Begin with `default()` and assign.
///
/// A frame beyond the limit of its kind is refused as soon as its length and id are known, and before that if
/// no kind may have that length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The pieces of the torrent. Default none: not known, or no torrent. With them, a bitfield has exactly
    /// their length.
    pub pieces: Option<Pieces>,
    /// Largest bitfield while the pieces are not known, bytes. Default 1 MiB: eight million pieces.
    pub bitfield_bytes_max: u32,
    /// Largest block, asked for or sent, bytes. Default 128 KiB; programs in the field ask for 16 KiB, and
    /// some for more.
    pub block_bytes_max: u32,
    /// Largest message of an extension, bytes of its payload. Default 1 MiB and 64 bytes, for extensions that
    /// carry data with a few fields before it. Metadata and peer exchange need 17 KiB.
    pub extended_bytes_max: u32,
    /// Most hashes in a message, those that prove the others included. Default 8,192, which is 256 KiB.
    pub hashes_max: u32,
    /// Largest body of a message whose id is not known, bytes. Default 128 KiB.
    pub unknown_bytes_max: u32,
    /// Largest extension handshake, bytes. Default 64 KiB; programs in the field send a few hundred bytes.
    pub extension_handshake_bytes_max: usize,
    /// Integers, strings, beginnings and ends in an extension handshake. Default 10,000, which bounds the
    /// memory of the keys that are kept to about a megabyte.
    pub extension_handshake_tokens_max: usize,
    /// Largest metadata, bytes. Default 32 MiB: the info dictionary of a torrent of 1.6 million pieces.
    pub metadata_bytes_max: u32,
    /// Most peers in one message of peer exchange, added and dropped counted apart. Default 200: the first
    /// message of a connection may name more than the 50 of later ones.
    pub pex_peers_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pieces: None,
            bitfield_bytes_max: 1024 * 1024,
            block_bytes_max: 128 * 1024,
            extended_bytes_max: 1024 * 1024 + 64,
            hashes_max: 8_192,
            unknown_bytes_max: 128 * 1024,
            extension_handshake_bytes_max: 64 * 1024,
            extension_handshake_tokens_max: 10_000,
            metadata_bytes_max: 32 * 1024 * 1024,
            pex_peers_max: 200,
        }
    }
}

impl Limits {
    /// Largest frame of a kind, bytes, its length prefix not counted.
    pub fn frame_bytes_max(&self, id: u8) -> u32 {
        let payload_max = match id {
            BITFIELD => self.pieces.map_or(self.bitfield_bytes_max, |pieces| pieces.bitfield_bytes()),
            PIECE => self.block_bytes_max,
            EXTENDED => self.extended_bytes_max,
            HASHES => self.hashes_max.saturating_mul(HASH_BYTES),
            _ => self.unknown_bytes_max,
        };
        match shape(id) {
            Some(Shape::Exactly(bytes)) => bytes,
            Some(Shape::AtLeast(fields)) => payload_max.saturating_add(fields),
            None => payload_max.saturating_add(1),
        }
    }

    /// Checks a frame of which the length is known, its length prefix not counted, and the id if it has one and
    /// that has come: before any more of it is waited for. The error is the same with and without the id, unless
    /// only the id tells.
    ///
    /// # Errors
    /// [`Error::FrameTooLarge`], [`Error::MessageTooLarge`], [`Error::MessageLength`].
    #[inline]
    pub fn check_frame(&self, bytes: u32, id: Option<u8>) -> Result<(), Error> {
        let fits = match id {
            None => bytes <= self.frame_bytes_max_of_all(),
            Some(id) => self.fits(bytes, id),
        };
        if fits { Ok(()) } else { Err(self.frame_error(bytes, id)) }
    }

    #[inline]
    fn fits(&self, bytes: u32, id: u8) -> bool {
        match shape(id) {
            Some(Shape::Exactly(exactly)) => bytes == exactly,
            Some(Shape::AtLeast(least)) => (least..=self.frame_bytes_max(id)).contains(&bytes),
            None => bytes <= self.frame_bytes_max(id),
        }
    }

    /// No kind that is not among these is larger than all of them.
    fn frame_bytes_max_of_all(&self) -> u32 {
        let kinds = [BITFIELD, PIECE, EXTENDED, HASHES, u8::MAX];
        kinds.map(|id| self.frame_bytes_max(id)).into_iter().fold(0, u32::max)
    }

    #[cold]
    fn frame_error(&self, bytes: u32, id: Option<u8>) -> Error {
        let max = self.frame_bytes_max_of_all();
        let Some(id) = id.filter(|_| bytes <= max) else { return Error::FrameTooLarge { bytes, max } };
        let (name, max) = (name(id), self.frame_bytes_max(id));
        match shape(id) {
            Some(Shape::AtLeast(_)) | None if bytes > max => Error::MessageTooLarge { name, id, bytes, max },
            _ => Error::MessageLength { name, id, bytes: bytes.saturating_sub(1) as usize },
        }
    }
}
