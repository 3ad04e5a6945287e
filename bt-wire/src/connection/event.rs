use bytes::Bytes;

use super::Lane;
use crate::Message;

/// What happens on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A message.
    Message(Message),
    /// The beginning of a message that is too large to be delivered whole. Its payload is empty here and comes
    /// in [`Part`](Self::Part)s, between which there are no messages.
    Large {
        /// The message, without its payload.
        message: Message,
        /// Bytes of the payload.
        payload_bytes: u32,
    },
    /// What comes next of the payload of a large message; as much as was there, never more than a buffer.
    Part {
        /// The bytes.
        data: Bytes,
        /// Bytes of the payload that come after them; 0 in the last part.
        left: u32,
    },
    /// A lane that refused a message has room again.
    Room(Lane),
}

/// What has passed over a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counters {
    /// Bytes that came, handshake and framing included.
    pub bytes_received: u64,
    /// Bytes that the stream took, handshake and framing included.
    pub bytes_sent: u64,
    /// Messages that came, keep-alives included.
    pub messages_received: u64,
    /// Messages that the stream took whole, keep-alives and the handshake included.
    pub messages_sent: u64,
    /// Bytes of messages that were copied in memory on their way in, because a buffer ended inside of one.
    pub bytes_moved: u64,
}
