use std::io;

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
            | Self::NotADictionary { .. } => true,
            Self::ExtensionHandshake(error) => error.is_peer_fault(),
            Self::Ended { .. } | Self::Unframeable { .. } | Self::Io(_) => false,
        }
    }
}
