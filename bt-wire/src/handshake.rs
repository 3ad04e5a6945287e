use crate::{Capability, Error, InfoHash, PeerId, Reserved};

/// Length of the protocol's name, and the name.
const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";

/// How a connection begins, in both directions (BEP 3).
///
/// # Wire shape
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 20 | `\x13BitTorrent protocol` |
/// | 20 | 8 | reserved |
/// | 28 | 20 | info hash |
/// | 48 | 20 | peer id |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Handshake {
    /// What the sender is capable of.
    pub reserved: Reserved,
    /// The swarm.
    pub info_hash: InfoHash,
    /// The sender.
    pub peer_id: PeerId,
}

impl Handshake {
    /// Its length.
    pub const BYTES: usize = 68;

    /// Of a peer that speaks the extension protocol.
    pub fn new(info_hash: InfoHash, peer_id: PeerId) -> Self {
        Self { reserved: Reserved::default().with(Capability::ExtensionProtocol), info_hash, peer_id }
    }

    /// The bytes to send.
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..20].copy_from_slice(PROTOCOL);
        bytes[20..28].copy_from_slice(self.reserved.as_bytes());
        bytes[28..48].copy_from_slice(self.info_hash.as_bytes());
        bytes[48..].copy_from_slice(self.peer_id.as_bytes());
        bytes
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`Error::NotBitTorrent`].
    pub fn decode(bytes: &[u8; Self::BYTES]) -> Result<Self, Error> {
        let (protocol, fields) = bytes.split_at(PROTOCOL.len());
        if protocol != PROTOCOL {
            return Err(Error::NotBitTorrent);
        }
        let (reserved, ids) = fields.split_at(8);
        let (info_hash, peer_id) = ids.split_at(20);
        Ok(Self {
            reserved: Reserved::from_bytes(array(reserved)),
            info_hash: InfoHash::from_bytes(array(info_hash)),
            peer_id: PeerId::from_bytes(array(peer_id)),
        })
    }

    /// Reads one off the front, and returns what follows. `None` if it is not complete.
    ///
    /// # Errors
    /// [`Error::NotBitTorrent`] as soon as that shows, however little there is.
    pub fn decode_prefix(bytes: &[u8]) -> Result<Option<(Self, &[u8])>, Error> {
        let known = bytes.len().min(PROTOCOL.len());
        if bytes[..known] != PROTOCOL[..known] {
            return Err(Error::NotBitTorrent);
        }
        let Some((handshake, rest)) = bytes.split_first_chunk() else { return Ok(None) };
        Ok(Some((Self::decode(handshake)?, rest)))
    }
}

/// A field of this length.
fn array<const N: usize>(field: &[u8]) -> [u8; N] {
    field.try_into().expect("the handshake was cut where its fields end")
}

/// The first part of a [`Handshake`], which is there 20 bytes before the rest: some peers send their id only
/// after they have seen ours, and a swarm that is not known here can be refused at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HandshakeStart {
    /// What the sender is capable of.
    pub reserved: Reserved,
    /// The swarm.
    pub info_hash: InfoHash,
}

/// What a [`HandshakeDecoder`] has come to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeStage {
    /// All but the peer id: told once.
    Start(HandshakeStart),
    /// All of it: told once, after [`Start`](Self::Start).
    Complete(Handshake),
}

/// Reads a handshake that comes in pieces, and tells each stage as soon as it is there.
#[derive(Debug, Clone)]
pub struct HandshakeDecoder {
    received: [u8; Handshake::BYTES],
    len: usize,
}

impl Default for HandshakeDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl HandshakeDecoder {
    /// Bytes up to the end of the info hash.
    const START_BYTES: usize = 48;

    /// Before the first byte.
    pub const fn new() -> Self {
        Self { received: [0; Handshake::BYTES], len: 0 }
    }

    /// Takes bytes off the front of the input, up to the end of the stage that is next and never beyond the
    /// handshake. Call it until it returns `None`, which says that it wants more input or is done.
    ///
    /// # Errors
    /// [`Error::NotBitTorrent`] as soon as that shows, however little there is.
    pub fn decode(&mut self, input: &mut &[u8]) -> Result<Option<HandshakeStage>, Error> {
        let end = if self.len < Self::START_BYTES { Self::START_BYTES } else { Handshake::BYTES };
        let (taken, rest) = input.split_at(input.len().min(end - self.len));
        self.received[self.len..][..taken.len()].copy_from_slice(taken);
        self.len += taken.len();
        *input = rest;
        let known = self.len.min(PROTOCOL.len());
        if self.received[..known] != PROTOCOL[..known] {
            return Err(Error::NotBitTorrent);
        }
        if taken.is_empty() || self.len < end {
            return Ok(None);
        }
        let handshake = Handshake::decode(&self.received)?;
        Ok(Some(if end == Handshake::BYTES {
            HandshakeStage::Complete(handshake)
        } else {
            HandshakeStage::Start(HandshakeStart { reserved: handshake.reserved, info_hash: handshake.info_hash })
        }))
    }

    /// Bytes of the handshake that have come.
    pub fn bytes(&self) -> usize {
        self.len
    }
}
