use std::fmt;

use nom::bytes::complete::{tag, take};
use nom::sequence::preceded;
use nom::{IResult, Parser};

use crate::{Error, InfoHash, PeerId};

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
        handshake(bytes).map(|(_, handshake)| handshake).map_err(|_| Error::NotBitTorrent)
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

fn handshake(input: &[u8]) -> IResult<&[u8], Handshake> {
    let fields = (array, array, array).map(|(reserved, info_hash, peer_id)| Handshake {
        reserved: Reserved::from_bytes(reserved),
        info_hash: InfoHash::from_bytes(info_hash),
        peer_id: PeerId::from_bytes(peer_id),
    });
    preceded(tag(&PROTOCOL[..]), fields).parse(input)
}

fn array<const N: usize>(input: &[u8]) -> IResult<&[u8], [u8; N]> {
    take(N).map(|bytes: &[u8]| bytes.try_into().expect("just taken")).parse(input)
}

/// What the reserved bits of a handshake say that its sender understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Capability {
    /// A node of the DHT, which takes `port` messages (BEP 5).
    Dht,
    /// The fast extension (BEP 6).
    Fast,
    /// Version 2 torrents (BEP 52).
    V2,
    /// The extension protocol (BEP 10).
    ExtensionProtocol,
}

impl Capability {
    const ALL: [Self; 4] = [Self::Dht, Self::Fast, Self::V2, Self::ExtensionProtocol];

    /// Counted from the right, the least bit of the last byte being 0.
    const fn bit(self) -> u64 {
        match self {
            Self::Dht => 0,
            Self::Fast => 2,
            Self::V2 => 4,
            Self::ExtensionProtocol => 20,
        }
    }
}

/// The eight reserved bytes of a handshake. Bits without a name are kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Reserved([u8; 8]);

impl Reserved {
    /// Takes the bytes as they are on the wire.
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// The bytes as they are on the wire.
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }

    /// Sets a bit.
    #[must_use]
    pub const fn with(self, capability: Capability) -> Self {
        Self((u64::from_be_bytes(self.0) | 1 << capability.bit()).to_be_bytes())
    }

    /// Whether a bit is set.
    pub const fn has(self, capability: Capability) -> bool {
        u64::from_be_bytes(self.0) >> capability.bit() & 1 == 1
    }
}

impl fmt::Debug for Reserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reserved({:016x}", u64::from_be_bytes(self.0))?;
        for capability in Capability::ALL.into_iter().filter(|capability| self.has(*capability)) {
            write!(f, " {capability:?}")?;
        }
        f.write_str(")")
    }
}
