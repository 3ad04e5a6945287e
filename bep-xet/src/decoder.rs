//! Payloads that arrive in pieces.

use bytes::{Bytes, BytesMut};

use crate::{ChunkResponse, Dialect, Error, Limits, Message};

/// Reads the payloads of one connection in its dialect, each whole or in pieces of any size.
///
/// Messages are read whole, but for the data of a response of the legacy dialects, which is up to 64 MiB long: that is
/// passed on as it comes, first in [`Message::ChunkResponse`], then as [`Message::ChunkData`]. Holds no more than what
/// has come of one message, at most [`message_bytes_max`](Limits::message_bytes_max).
#[derive(Debug)]
pub struct Decoder {
    dialect: Dialect,
    limits: Limits,
    /// Bytes of the payload that have yet to come.
    left: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    /// What came of a message that is not complete.
    Message(BytesMut),
    /// The data of a response: bytes that have yet to come.
    Data(u64),
    /// What is left of the payload is passed over.
    Behind,
}

impl Decoder {
    /// Begins between two payloads.
    pub fn new(dialect: Dialect, limits: Limits) -> Self {
        Self { dialect, limits, left: 0, state: State::Behind }
    }

    /// A payload of this length begins. How long it may be is for the caller to check: see
    /// [`Exchange::frame_bytes_max`](crate::Exchange::frame_bytes_max).
    ///
    /// # Errors
    /// [`Error::Truncated`]: no payload is empty. [`Error::Misuse`]: the one before is not complete.
    pub fn begin(&mut self, payload_bytes: u64) -> Result<(), Error> {
        if self.left > 0 {
            return Err(Error::Misuse { what: "a payload begins inside of another" });
        }
        if payload_bytes == 0 {
            return Err(Error::Truncated { message: "a message", bytes: 0 });
        }
        self.left = payload_bytes;
        self.state = State::Message(BytesMut::new());
        Ok(())
    }

    /// Takes the next piece of the payload. A piece completes at most one message, or is data.
    ///
    /// # Errors
    /// As [`Message::decode_in`]; [`Error::Misuse`] for more than the payload has left.
    pub fn decode(&mut self, piece: Bytes) -> Result<Option<Message>, Error> {
        let Some(left) = self.left.checked_sub(piece.len() as u64) else {
            return Err(Error::Misuse { what: "a piece is longer than what is left of its payload" });
        };
        self.left = left;
        match &mut self.state {
            State::Message(front) => {
                // Pieces are joined only where a message is cut.
                let front = if front.is_empty() {
                    piece
                } else {
                    front.extend_from_slice(&piece);
                    std::mem::take(front).freeze()
                };
                self.decode_front(front)
            }
            State::Data(data_left) => {
                let data = piece.slice(..piece.len().min(usize::try_from(*data_left).unwrap_or(usize::MAX)));
                *data_left -= data.len() as u64;
                if *data_left == 0 {
                    self.state = State::Behind;
                }
                Ok((!data.is_empty()).then_some(Message::ChunkData(data)))
            }
            State::Behind => Ok(None),
        }
    }

    /// Whether a payload has begun and is not complete.
    pub fn is_inside(&self) -> bool {
        self.left > 0
    }

    fn decode_front(&mut self, front: Bytes) -> Result<Option<Message>, Error> {
        let Some(&kind) = front.first() else { return Ok(None) };
        let max = self.limits.message_bytes_max;
        let is_response = self.dialect.is_legacy() && Message::is_response(kind);
        let bytes = front.len() as u64 + self.left;
        if !is_response && bytes > max as u64 {
            return Err(Error::MessageTooLarge { bytes: usize::try_from(bytes).unwrap_or(usize::MAX), max });
        }
        let head_is_here = is_response && front.len() >= ChunkResponse::head_bytes(self.dialect);
        if self.left > 0 && !head_is_here {
            self.state = State::Message(front.try_into_mut().unwrap_or_else(|front| BytesMut::from(&front[..])));
            return Ok(None);
        }
        let message = match self.dialect {
            Dialect::V2 => Message::decode(front, &self.limits)?,
            dialect => Message::decode_legacy(dialect, front, self.left, &self.limits)?,
        };
        self.state = match &message {
            Message::ChunkResponse(response) if response.missing_bytes() > 0 => State::Data(response.missing_bytes()),
            _ => State::Behind,
        };
        Ok(Some(message))
    }
}
