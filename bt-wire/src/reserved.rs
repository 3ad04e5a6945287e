use std::fmt;

/// What the reserved bits of a handshake say that its sender understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Capability {
    /// A node of the DHT, which takes `port` messages (BEP 5).
    Dht,
    /// The peer exchange of XBT, from before BEP 11.
    XbtPeerExchange,
    /// The fast extension (BEP 6).
    Fast,
    /// Traversal of address translators, from before BEP 55.
    NatTraversal,
    /// Version 2 torrents (BEP 52).
    V2,
    /// The extension protocol (BEP 10).
    ExtensionProtocol,
    /// The location-aware protocol.
    LocationAware,
    /// The messaging protocol of Azureus, which follows in place of BEP 3 if both sides have it.
    AzureusMessaging,
}

impl Capability {
    const ALL: [Self; 8] = [
        Self::Dht,
        Self::XbtPeerExchange,
        Self::Fast,
        Self::NatTraversal,
        Self::V2,
        Self::ExtensionProtocol,
        Self::LocationAware,
        Self::AzureusMessaging,
    ];

    /// Counted from the right, the least bit of the last byte being 0.
    const fn bit(self) -> u64 {
        match self {
            Self::Dht => 0,
            Self::XbtPeerExchange => 1,
            Self::Fast => 2,
            Self::NatTraversal => 3,
            Self::V2 => 4,
            Self::ExtensionProtocol => 20,
            Self::LocationAware => 43,
            Self::AzureusMessaging => 63,
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

    /// Clears a bit.
    #[must_use]
    pub const fn without(self, capability: Capability) -> Self {
        Self((u64::from_be_bytes(self.0) & !(1 << capability.bit())).to_be_bytes())
    }

    /// What both sides have: an extension is in use only then.
    #[must_use]
    pub const fn common(self, other: Self) -> Self {
        Self((u64::from_be_bytes(self.0) & u64::from_be_bytes(other.0)).to_be_bytes())
    }

    /// Those that have a name, in the order of their bits.
    pub fn capabilities(self) -> impl Iterator<Item = Capability> {
        Capability::ALL.into_iter().filter(move |capability| self.has(*capability))
    }

    /// Whether a bit is set.
    pub const fn has(self, capability: Capability) -> bool {
        u64::from_be_bytes(self.0) >> capability.bit() & 1 == 1
    }
}

impl fmt::Debug for Reserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reserved({:016x}", u64::from_be_bytes(self.0))?;
        for capability in self.capabilities() {
            write!(f, " {capability:?}")?;
        }
        f.write_str(")")
    }
}
