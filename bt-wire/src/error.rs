use std::io;

use crate::Violation;

/// Why bytes are not what a BitTorrent peer sends, or why they cannot be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A connection that does not begin as one of BitTorrent does.
    #[error("not a BitTorrent handshake")]
    NotBitTorrent,
    /// A frame that is too large. Said before any of it is waited for.
    #[error("a frame of {bytes} bytes, allowed are {max}")]
    FrameTooLarge {
        /// Its length, bytes.
        bytes: u32,
        /// Bytes allowed.
        max: u32,
    },
    /// A frame that is too large for its kind. Said when its id is known, before any more of it is waited for.
    #[error("message {name} (id {id}) of {bytes} bytes, allowed are {max}")]
    MessageTooLarge {
        /// The kind.
        name: &'static str,
        /// Id of the kind.
        id: u8,
        /// Its length, bytes.
        bytes: u32,
        /// Bytes allowed.
        max: u32,
    },
    /// A message of a known kind whose length it cannot have.
    #[error("message {name} (id {id}) has a body of {bytes} bytes")]
    MessageLength {
        /// The kind.
        name: &'static str,
        /// Id of the kind.
        id: u8,
        /// Length of what follows the id.
        bytes: usize,
    },
    /// An extension handshake that is too large.
    #[error("an extension handshake of {bytes} bytes, allowed are {max}")]
    ExtensionHandshakeTooLarge {
        /// Its length, bytes.
        bytes: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// An extension handshake that is not bencode, or beyond its limits.
    #[error("malformed extension handshake")]
    ExtensionHandshake(#[source] bencode::Error),
    /// An extension handshake, or its `m`, that is not a dictionary.
    #[error("{what} is not a dictionary")]
    NotADictionary {
        /// Which of them.
        what: &'static str,
    },
    /// A message of an extension that is not bencode, or beyond its limits.
    #[error("malformed message of {name}")]
    Extension {
        /// The extension.
        name: &'static str,
        /// What is wrong with it.
        #[source]
        source: bencode::Error,
    },
    /// A message of an extension without a number that it must have.
    #[error("a message of {name} without a number {key}")]
    ExtensionField {
        /// The extension.
        name: &'static str,
        /// The key.
        key: &'static str,
    },
    /// A message of an extension whose length it cannot have.
    #[error("a message of {name} of {bytes} bytes")]
    ExtensionLength {
        /// The extension.
        name: &'static str,
        /// Its length, bytes.
        bytes: usize,
    },
    /// Metadata of no bytes, or of too many.
    #[error("metadata of {bytes} bytes, allowed are 1 to {max}")]
    MetadataSize {
        /// What was claimed, bytes.
        bytes: u64,
        /// Bytes allowed.
        max: u32,
    },
    /// Metadata that does not fit together.
    #[error("a peer sent {what}")]
    Metadata {
        /// What is wrong.
        what: &'static str,
    },
    /// Metadata of which pieces are missing.
    #[error("the metadata is not complete")]
    MetadataIncomplete,
    /// A message of peer exchange that names too many peers.
    #[error("peer exchange of {peers} peers, allowed are {max}")]
    PexTooManyPeers {
        /// Peers added or dropped, whichever is more.
        peers: usize,
        /// How many are allowed.
        max: usize,
    },
    /// A message that may not be sent at this point.
    #[error("a message out of place")]
    Violation(#[from] Violation),
    /// The stream ends inside a handshake or a frame.
    #[error("the connection ended inside {what}, {bytes} bytes into it")]
    Ended {
        /// Inside what.
        what: &'static str,
        /// Bytes of it that came.
        bytes: usize,
    },
    /// A message of ours is longer than a length prefix can say.
    #[error("a message of {bytes} bytes cannot be framed")]
    Unframeable {
        /// Its length, bytes.
        bytes: usize,
    },
    /// The stream failed.
    #[error("the connection failed")]
    Io(#[from] io::Error),
}

impl Error {
    /// Whether the peer broke the protocol, as opposed to the network or the caller of this crate. A
    /// connection that ends at a bad moment is nobody's fault.
    pub fn is_peer_fault(&self) -> bool {
        match self {
            Self::NotBitTorrent
            | Self::FrameTooLarge { .. }
            | Self::MessageLength { .. }
            | Self::ExtensionHandshakeTooLarge { .. }
            | Self::MessageTooLarge { .. }
            | Self::NotADictionary { .. }
            | Self::ExtensionField { .. }
            | Self::ExtensionLength { .. }
            | Self::MetadataSize { .. }
            | Self::Metadata { .. }
            | Self::PexTooManyPeers { .. }
            | Self::Violation(_) => true,
            Self::ExtensionHandshake(source) | Self::Extension { source, .. } => source.is_peer_fault(),
            Self::Ended { .. } | Self::MetadataIncomplete | Self::Unframeable { .. } | Self::Io(_) => false,
        }
    }
}
