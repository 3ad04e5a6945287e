//! What is spoken on one connection, without the connection: BitTorrent's messages around an [`Exchange`].

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bep_xet::{Exchange, Status};
use bt_wire::{EXTENSION_HANDSHAKE_ID, ExtensionHandshake, Limits, Message};
use bytes::BytesMut;

use super::PeerError;
use super::frames::Frame;

/// Name of the extension in handshakes.
pub(super) const UT_XET: &str = "ut_xet";
/// Our number for the extension: peers in the field answer with it whatever was negotiated.
pub(super) const OUR_UT_XET: u8 = 1;
/// Extension handshakes of one peer that are read; more are a flood.
const EXTENSION_HANDSHAKES_MAX: u32 = 8;
/// Messages other than of the extension that are passed over between two of its own; more are a flood.
const FOREIGN_MESSAGES_MAX: u32 = 10_000;
/// A connection in a legacy dialect on which nothing has moved for so long is closed: these dialects have no way to
/// ask whether the peer is there. Half again BEP 3's two minutes between keep-alives.
pub(super) const STILL_MAX: Duration = Duration::from_secs(180);

/// A state machine that a connection can drive. After anything in, all events are to be taken.
pub(super) trait Protocol {
    /// What its owner is told.
    type Event;

    /// Takes a message of the peer, or the next part of one.
    fn handle_message(&mut self, message: Frame, now: Instant) -> Result<(), PeerError>;
    /// Does what is due at the time that `poll_timeout` named.
    fn handle_timeout(&mut self, now: Instant) -> Result<(), PeerError>;
    /// The next message for the connection, or the next part of one, when it has room.
    fn poll_message(&mut self, now: Instant) -> Option<Frame>;
    /// The next thing for the owner to do or to know.
    fn poll_event(&mut self) -> Option<Self::Event>;
    /// When to call `handle_timeout`; `None` if there is nothing to wait for.
    fn poll_timeout(&self) -> Option<Instant>;
}

/// A session after the handshakes.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) exchange: Exchange,
    /// The peer's number for the extension.
    their_ut_xet: u8,
    extension_handshakes: u32,
    foreign_messages: u32,
    /// Goes out before anything of the exchange.
    outgoing: VecDeque<Frame>,
    /// When the connection is too still, if it is one in a legacy dialect.
    still_at: Option<Instant>,
}

impl Session {
    pub(super) fn new(exchange: Exchange, their_ut_xet: u8, now: Instant) -> Self {
        let (mut outgoing, mut still_at) = (VecDeque::new(), None);
        if exchange.dialect().is_legacy() {
            // As they do: there are programs that ask nobody who chokes them.
            outgoing.extend([Message::Unchoke, Message::Interested].map(Frame::Message));
            still_at = Some(now + STILL_MAX);
        }
        Self { exchange, their_ut_xet, extension_handshakes: 1, foreign_messages: 0, outgoing, still_at }
    }

    /// Ends a request of the peer, unless it has ended meanwhile.
    pub(super) fn end(&mut self, id: bep_xet::PeerRequestId, status: Status, next: u64) -> Result<(), PeerError> {
        match self.exchange.end(id, status, next, Duration::ZERO) {
            Ok(()) | Err(bep_xet::Error::NotOpen { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn moved(&mut self, now: Instant) {
        self.still_at = self.still_at.map(|_| now + STILL_MAX);
    }

    /// The next message of the exchange as it goes to the connection; a response of a legacy dialect in parts.
    fn next_of_exchange(&mut self) -> Option<Frame> {
        let message = self.exchange.poll_message()?;
        let (mut front, id) = (BytesMut::new(), self.their_ut_xet);
        // Data is not copied to follow its head.
        let Some(bytes) = message.payload_bytes() else {
            let bep_xet::Message::ChunkData(data) = message else { return None };
            return Some(Frame::Piece(data));
        };
        let data = message.encode_head(&mut front);
        let payload = front.freeze();
        if !data.is_empty() {
            return Some(Frame::Split { id, head: payload, data });
        }
        if bytes == payload.len() as u64 {
            return Some(Frame::Message(Message::Extended { id, payload }));
        }
        self.outgoing.push_back(Frame::Piece(payload));
        Some(Frame::Payload { id, bytes })
    }
}

impl Protocol for Session {
    type Event = bep_xet::Event;

    fn handle_message(&mut self, message: Frame, now: Instant) -> Result<(), PeerError> {
        self.moved(now);
        let message = match message {
            Frame::Payload { bytes, .. } => {
                self.foreign_messages = 0;
                return Ok(self.exchange.begin_payload(bytes)?);
            }
            Frame::Piece(piece) => return Ok(self.exchange.handle_piece(piece, now)?),
            Frame::Split { id, head, data } => Message::Extended { id, payload: [head, data].concat().into() },
            Frame::Message(message) => message,
        };
        match message {
            Message::Extended { id: OUR_UT_XET, payload } => {
                self.foreign_messages = 0;
                self.exchange.handle_payload(payload, now)?;
            }
            Message::Extended { id: EXTENSION_HANDSHAKE_ID, payload } => {
                let again = ExtensionHandshake::decode(&payload, &Limits::default())?;
                self.extension_handshakes += 1;
                if self.extension_handshakes > EXTENSION_HANDSHAKES_MAX {
                    return Err(PeerError::Lied("it shakes hands without end".into()));
                }
                if let Some(id) = again.m.id(UT_XET) {
                    self.their_ut_xet = id.get();
                }
            }
            Message::Unchoke => self.exchange.handle_unchoke(),
            _ => {
                self.foreign_messages += 1;
                if self.foreign_messages > FOREIGN_MESSAGES_MAX {
                    return Err(PeerError::Lied("it sends nothing but other messages".into()));
                }
            }
        }
        Ok(())
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), PeerError> {
        if self.still_at.is_some_and(|still_at| still_at <= now) {
            return Err(PeerError::Deadline { what: "a word from the peer", deadline: STILL_MAX });
        }
        self.exchange.handle_timeout(now);
        Ok(())
    }

    fn poll_message(&mut self, now: Instant) -> Option<Frame> {
        let next = self.outgoing.pop_front().or_else(|| self.next_of_exchange())?;
        self.moved(now);
        Some(next)
    }

    fn poll_event(&mut self) -> Option<bep_xet::Event> {
        self.exchange.poll_event()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.exchange.poll_timeout().into_iter().chain(self.still_at).min()
    }
}
