//! Peer exchange (BEP 11): peers tell each other to whom they are connected.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use bencode::OwnedValue;
use bytes::Bytes;

use crate::meter::Meter;
use crate::{Error, Limits, Violation};

/// Name of the extension.
pub const UT_PEX: &str = "ut_pex";

/// How far apart messages are to be sent.
pub const PEX_INTERVAL: Duration = Duration::from_secs(60);

/// Most peers added, and most dropped, in any message but the first of a connection.
pub const PEX_PEERS_MAX: usize = 50;

/// Eight keys and strings, and what else there is.
const TOKENS_MAX: usize = 100;

/// What a peer is said to be: bits without a name are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PexFlags(pub u8);

impl PexFlags {
    /// It prefers encrypted connections.
    pub const ENCRYPTION: Self = Self(0x01);
    /// It wants nothing more.
    pub const UPLOAD_ONLY: Self = Self(0x02);
    /// It takes connections over uTP (BEP 29).
    pub const UTP: Self = Self(0x04);
    /// It understands the holepunch extension (BEP 55).
    pub const HOLEPUNCH: Self = Self(0x08);
    /// The sender has connected to it, so that it can be reached.
    pub const REACHABLE: Self = Self(0x10);

    /// Whether all of these are set.
    pub const fn has(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// With these set, too.
    #[must_use]
    pub const fn with(self, flags: Self) -> Self {
        Self(self.0 | flags.0)
    }
}

/// A peer that the sender has connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PexPeer {
    /// Where it is.
    pub address: SocketAddr,
    /// What it is.
    pub flags: PexFlags,
}

/// A message of the extension [`UT_PEX`]: hearsay, and in the hands of an attacker a way to aim others at a
/// victim.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PeerExchange {
    /// Peers that have come since the last message: those of IPv4 first, each family in the sender's order.
    pub added: Vec<PexPeer>,
    /// Peers that have gone, in the same order.
    pub dropped: Vec<SocketAddr>,
}

impl PeerExchange {
    /// Reads the payload of a message of the extension. What is not canonical is accepted, as are flags that are
    /// missing and bytes behind the last whole address.
    ///
    /// # Errors
    /// It is not bencode, or names too many peers.
    pub fn decode(payload: &[u8], limits: &Limits) -> Result<Self, Error> {
        let mut bencode_limits = bencode::Limits::default();
        bencode_limits.tokens_max = TOKENS_MAX;
        let decoder = bencode::Decoder::lenient().limits(bencode_limits);
        let (document, _) =
            decoder.decode_prefix(payload).map_err(|source| Error::Extension { name: UT_PEX, source })?;
        let bytes = |key: &str| document.root().get(key.as_bytes()).and_then(|value| value.as_bytes()).unwrap_or(b"");
        let added = [v4(bytes("added")).collect::<Vec<_>>(), v6(bytes("added6")).collect()].concat();
        let dropped = [v4(bytes("dropped")).collect::<Vec<_>>(), v6(bytes("dropped6")).collect()].concat();
        let (peers, max) = (added.len().max(dropped.len()), limits.pex_peers_max);
        if peers > max {
            return Err(Error::PexTooManyPeers { peers, max });
        }
        let (flags, flags6) = (bytes("added.f"), bytes("added6.f"));
        let of_v4 = added.iter().filter(|address| address.is_ipv4()).count();
        let flags = |at: usize| match at.checked_sub(of_v4) {
            None => flags.get(at),
            Some(at) => flags6.get(at),
        };
        let peer = |(at, address)| PexPeer { address, flags: PexFlags(flags(at).copied().unwrap_or_default()) };
        Ok(Self { added: added.into_iter().enumerate().map(peer).collect(), dropped })
    }

    /// The payload to send. Keys without peers are left out.
    pub fn encode(&self) -> Bytes {
        let mut strings = [(); 6].map(|()| Vec::new());
        let [added, flags, added6, flags6, dropped, dropped6] = &mut strings;
        for peer in &self.added {
            if put(peer.address, added, added6) { &mut *flags } else { &mut *flags6 }.push(peer.flags.0);
        }
        for address in &self.dropped {
            put(*address, dropped, dropped6);
        }
        let keys = ["added", "added.f", "added6", "added6.f", "dropped", "dropped6"];
        let pairs = keys.into_iter().zip(strings).filter(|(_, string)| !string.is_empty());
        let dict = OwnedValue::dict(pairs.map(|(key, string)| (key, OwnedValue::from(string))));
        bencode::encode(&dict).unwrap_or_default().into()
    }
}

/// `address: 4 bytes, port: u16`, over and over.
fn v4(bytes: &[u8]) -> impl Iterator<Item = SocketAddr> {
    bytes
        .as_chunks::<6>()
        .0
        .iter()
        .map(|[a, b, c, d, port @ ..]| SocketAddr::from((Ipv4Addr::new(*a, *b, *c, *d), u16::from_be_bytes(*port))))
}

/// `address: 16 bytes, port: u16`, over and over.
fn v6(bytes: &[u8]) -> impl Iterator<Item = SocketAddr> {
    bytes.as_chunks::<18>().0.iter().filter_map(|entry| {
        let (address, port) = entry.split_first_chunk::<16>()?;
        Some(SocketAddr::from((Ipv6Addr::from(*address), u16::from_be_bytes(*port.first_chunk()?))))
    })
}

/// Writes an address, and says whether it is of version 4.
fn put(address: SocketAddr, v4: &mut Vec<u8>, v6: &mut Vec<u8>) -> bool {
    let compact = match address {
        SocketAddr::V4(address) => {
            v4.extend_from_slice(&address.ip().octets());
            v4
        }
        SocketAddr::V6(address) => {
            v6.extend_from_slice(&address.ip().octets());
            v6
        }
    };
    compact.extend_from_slice(&address.port().to_be_bytes());
    address.is_ipv4()
}

/// Messages that may come at once: networks delay some and not others.
const AT_ONCE: u32 = 3;
/// A little less than [`PEX_INTERVAL`]: clocks differ.
const INTERVAL_MIN: Duration = Duration::from_secs(55);

/// Watches the messages of one peer for a flood of them.
#[derive(Debug, Clone)]
pub struct PexMeter(Meter);

impl Default for PexMeter {
    fn default() -> Self {
        Self::new()
    }
}

impl PexMeter {
    /// Before the first message.
    pub const fn new() -> Self {
        Self(Meter::new(INTERVAL_MIN, AT_ONCE))
    }

    /// Looks at a message that came in.
    ///
    /// # Errors
    /// [`Violation::PexTooOften`] if messages come more often than every minute, three at once being allowed;
    /// [`Violation::PexTooManyPeers`] if one that is not the first adds or drops more than 50 peers.
    pub fn handle_message(&mut self, message: &PeerExchange, now: Instant) -> Result<(), Violation> {
        let (peers, max) = (message.added.len().max(message.dropped.len()), PEX_PEERS_MAX);
        if peers > max && !self.0.is_new() {
            return Err(Violation::PexTooManyPeers { peers, max });
        }
        if self.0.count(now) { Ok(()) } else { Err(Violation::PexTooOften) }
    }
}
