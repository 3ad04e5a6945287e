/// What a peer sent that it may not send at this point, or not on this connection, though it can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// Bitfield, have all or have none after messages that they may not follow.
    #[error("{name} is not among the first messages")]
    NotFirst {
        /// The kind.
        name: &'static str,
    },
    /// More than one of bitfield, have all and have none.
    #[error("{name} after the pieces were told")]
    PiecesToldTwice {
        /// The kind.
        name: &'static str,
    },
    /// A message of an extension that is not in use.
    #[error("{name} without its extension")]
    NotNegotiated {
        /// The kind.
        name: &'static str,
    },
    /// A bitfield of another length than the pieces need.
    #[error("a bitfield of {bytes} bytes, {expected} are needed")]
    BitfieldLength {
        /// Its length, bytes.
        bytes: usize,
        /// What it has to be.
        expected: u32,
    },
    /// A bitfield with bits for pieces that are not there.
    #[error("a bitfield with bits beyond the last piece")]
    SpareBits,
    /// A piece that is not there.
    #[error("{name} of piece {piece}, beyond the last")]
    NoSuchPiece {
        /// The kind.
        name: &'static str,
        /// Index of the piece.
        piece: u32,
    },
    /// A block that is empty, too long or not within its piece.
    #[error("{name} of {length} bytes at {begin} of piece {piece}, which is no block")]
    NoSuchBlock {
        /// The kind.
        name: &'static str,
        /// Index of the piece.
        piece: u32,
        /// Where in the piece it begins, bytes.
        begin: u32,
        /// Bytes.
        length: u32,
    },
    /// More requests than were allowed to be outstanding.
    #[error("more than {max} requests at once")]
    TooManyRequests {
        /// How many are allowed.
        max: usize,
    },
    /// A block, hashes or a rejection of what was never asked for, or was answered already.
    #[error("{name} that was not asked for")]
    NotRequested {
        /// The kind.
        name: &'static str,
    },
    /// A range of hashes that no tree has.
    #[error("{name} of a range of hashes that no tree has")]
    NoSuchHashes {
        /// The kind.
        name: &'static str,
    },
    /// A kind of message that does nothing, over and over.
    #[error("{name}, over and over")]
    Flood {
        /// The kind.
        name: &'static str,
    },
    /// Messages of peer exchange more often than every minute.
    #[error("peer exchange too often")]
    PexTooOften,
    /// A message of peer exchange, not the first one, that adds or drops many peers.
    #[error("peer exchange of {peers} peers, allowed are {max}")]
    PexTooManyPeers {
        /// Peers added or dropped, whichever is more.
        peers: usize,
        /// How many are allowed.
        max: usize,
    },
}
