//! What can go wrong between two peers.

use crate::Dialect;

/// Why a message was refused, or why a method would have sent one that may not be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A message ends inside a field.
    #[error("{message} is cut short after {bytes} bytes")]
    Truncated {
        /// The message.
        message: &'static str,
        /// Length of its body.
        bytes: usize,
    },
    /// A message is longer than we take.
    #[error("a message of {bytes} bytes is longer than the {max} that we take")]
    MessageTooLarge {
        /// Its length.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// A field outside its bounds.
    #[error("{what} is {value}, allowed are {min} to {max}")]
    OutOfBounds {
        /// The field.
        what: &'static str,
        /// Its value.
        value: u64,
        /// Smallest allowed value.
        min: u64,
        /// Largest allowed value.
        max: u64,
    },
    /// Runs of chunks that overlap or are not in order.
    #[error("runs of chunks overlap or are out of order")]
    RunsOutOfOrder,
    /// A form of list that nobody can have asked for.
    #[error("the list has the unknown form {form}")]
    UnknownForm {
        /// The form.
        form: u8,
    },
    /// The `xet` dictionary of the extension handshake is not what it should be.
    #[error("the xet dictionary of the extension handshake: {reason}")]
    Handshake {
        /// What is wrong.
        reason: String,
    },
    /// A chunk record that is not one, or that has another length than its header says.
    #[error("chunk {index} of request {id} is not a chunk record: {source}")]
    Record {
        /// The request.
        id: u32,
        /// Index of the chunk.
        index: u32,
        /// What is wrong.
        source: xet_cas::Error,
    },

    /// An answer to a request that was never made.
    #[error("{message} for request {id}, which was never made")]
    NeverAsked {
        /// The message.
        message: &'static str,
        /// The id.
        id: u32,
    },
    /// An answer that the request does not have, or not at this point.
    #[error("{message} for request {id}, which did not ask for it")]
    NotAskedFor {
        /// The message.
        message: &'static str,
        /// The request.
        id: u32,
    },
    /// A chunk outside of what was asked for, or not after the one before.
    #[error("chunk {index} of request {id}, where {min} to {max} could come")]
    ChunkOutOfRange {
        /// The request.
        id: u32,
        /// Index of the chunk.
        index: u32,
        /// Smallest index that could come.
        min: u64,
        /// Largest index that could come.
        max: u64,
    },
    /// Chunks that together are longer than what was asked for.
    #[error("the chunks of request {id} are longer than the range that it asked for")]
    TooManyBytes {
        /// The request.
        id: u32,
    },
    /// A chunk in a compression scheme that the request does not accept.
    #[error("chunk {index} of request {id} has the compression scheme {scheme}, which was not accepted")]
    SchemeNotAccepted {
        /// The request.
        id: u32,
        /// Index of the chunk.
        index: u32,
        /// The scheme.
        scheme: u8,
    },
    /// Data that is not what its name says: its hash is another.
    #[error("chunk {index} of request {id} does not have the hash that it was asked for by")]
    ChunkHash {
        /// The request.
        id: u32,
        /// Index of the chunk.
        index: u32,
    },
    /// A request was ended twice.
    #[error("request {id} was ended twice")]
    EndedTwice {
        /// The request.
        id: u32,
    },
    /// More data for requests that have ended than was ever asked for.
    #[error("data for requests that had ended, more than they asked for")]
    LateData,
    /// The peer used an id for which it has a request open, or 0.
    #[error("request id {id} is in use")]
    IdInUse {
        /// The id.
        id: u32,
    },
    /// The peer asks and asks and does not read the answers.
    #[error("the peer left {unread} answers unread")]
    Flood {
        /// Requests whose end was not sent.
        unread: usize,
    },
    /// A request was cancelled, and the peer did not end it in time.
    #[error("request {id} was cancelled and not ended in time")]
    EndOverdue {
        /// The request.
        id: u32,
    },
    /// Nothing was heard from the peer, not even the answer to a ping.
    #[error("the peer does not answer")]
    PongOverdue,

    /// A response of ours cannot be completed, and its length was said. Only the end of the connection ends it.
    #[error("the response to request {id} was begun and is not completed")]
    ResponseCut {
        /// The request.
        id: u32,
    },
    /// The peer wants a version of the protocol that we do not speak.
    #[error("the peer speaks no version of ut_xet that we speak")]
    NoCommonVersion,
    /// The dialect in which the peer is spoken to has no such request.
    #[error("the dialect of the peer ({dialect}) has no such request")]
    NotSpoken {
        /// The dialect.
        dialect: Dialect,
    },

    /// The peer said that it is busy. Wait for [`Event::Resumed`](crate::Event::Resumed).
    #[error("the peer is busy")]
    Busy,
    /// As many requests are open as may be, or as many bytes. Wait for one to end.
    #[error("the window to the peer is full")]
    WindowFull,
    /// Too much waits to be sent. Wait for [`Exchange::wants_data`](crate::Exchange::wants_data), or poll messages.
    #[error("the queue to the peer is full")]
    QueueFull,
    /// The peer takes no message as long as this.
    #[error("a message of {bytes} bytes is longer than the {max} that the peer takes")]
    TooLargeForPeer {
        /// Its length.
        bytes: usize,
        /// The peer's limit.
        max: usize,
    },
    /// The request of the peer has ended, by us, by the peer, or by its deadline.
    #[error("request {id} of the peer has ended")]
    NotOpen {
        /// The request.
        id: u32,
    },
    /// The caller would break the protocol.
    #[error("{what}")]
    Misuse {
        /// What is not allowed.
        what: &'static str,
    },
    /// Every id was used. Begin another connection.
    #[error("every request id was used")]
    IdsExhausted,
}

impl Error {
    /// Whether the peer broke a rule, which nobody who follows the protocol does. Silence is no fault: it may be
    /// the network's.
    pub fn is_peer_fault(&self) -> bool {
        match self {
            Self::Truncated { .. }
            | Self::MessageTooLarge { .. }
            | Self::OutOfBounds { .. }
            | Self::RunsOutOfOrder
            | Self::UnknownForm { .. }
            | Self::Handshake { .. }
            | Self::Record { .. }
            | Self::NeverAsked { .. }
            | Self::NotAskedFor { .. }
            | Self::ChunkOutOfRange { .. }
            | Self::TooManyBytes { .. }
            | Self::SchemeNotAccepted { .. }
            | Self::ChunkHash { .. }
            | Self::EndedTwice { .. }
            | Self::LateData
            | Self::IdInUse { .. }
            | Self::Flood { .. } => true,
            Self::EndOverdue { .. }
            | Self::PongOverdue
            | Self::ResponseCut { .. }
            | Self::NoCommonVersion
            | Self::NotSpoken { .. }
            | Self::Busy
            | Self::WindowFull
            | Self::QueueFull
            | Self::TooLargeForPeer { .. }
            | Self::NotOpen { .. }
            | Self::Misuse { .. }
            | Self::IdsExhausted => false,
        }
    }
}
