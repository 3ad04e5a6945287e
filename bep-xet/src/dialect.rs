//! In which of its dialects a peer is spoken to.

use std::fmt;

use bencode::OwnedValue;

use crate::XetHandshake;

/// The dialects of `ut_xet`. A connection has one, from the peer's extension handshake to its end, so that every
/// reply is read in the dialect of the request that it answers.
///
/// The two legacy dialects share the messages 0x01 to 0x04 and differ in their fields. What a legacy peer does not know
/// ends its process, if it is of the wrong kind: it must be sent nothing but these four.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// BEP XET as published: one chunk by its hash, as it is.
    Base,
    /// That of zest 0.2 to 0.4: chunks of a xorb, in the form in which a xorb stores them.
    Ranged,
    /// Version 2: lists, ranges, proofs.
    V2,
}

impl Dialect {
    /// Chooses by what the peer's extension handshake says: `client` is its `v`, `xet` its
    /// [`xet`](XetHandshake::KEY).
    ///
    /// A version in `xet` of 2 or more is the plainest statement and comes first; peers of the base dialect may have
    /// a `xet` of another shape, which says nothing.
    pub fn of_peer(client: Option<&str>, xet: Option<&OwnedValue>) -> Self {
        let version = xet.and_then(|xet| xet.get(b"v")).and_then(OwnedValue::as_u64);
        if version.is_some_and(|version| version >= XetHandshake::VERSION.into()) {
            Self::V2
        } else if client.is_some_and(|client| client.starts_with(RANGED_CLIENT_PREFIX)) {
            Self::Ranged
        } else {
            Self::Base
        }
    }

    /// Whether it is one of the dialects before version 2.
    pub const fn is_legacy(self) -> bool {
        matches!(self, Self::Base | Self::Ranged)
    }
}

/// As in logs.
impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Base => "base",
            Self::Ranged => "ranged",
            Self::V2 => "version 2",
        })
    }
}

/// Clients with this in front speak the ranged dialect. Ours says `zest `, with a space.
const RANGED_CLIENT_PREFIX: &str = "zest/";
