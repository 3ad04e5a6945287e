//! What is spoken on one connection, without the connection: BitTorrent's messages around an [`Exchange`].

use std::time::Instant;

use bep_xet::{Exchange, Status};
use bt_wire::{EXTENSION_HANDSHAKE_ID, ExtensionHandshake, Limits, Message};
use bytes::BytesMut;

use super::PeerError;

/// Name of the extension in handshakes.
pub(super) const UT_XET: &str = "ut_xet";
/// Our number for the extension: peers in the field answer with it whatever was negotiated.
pub(super) const OUR_UT_XET: u8 = 1;
/// Extension handshakes of one peer that are read; more are a flood.
const EXTENSION_HANDSHAKES_MAX: u32 = 8;
/// Messages other than of the extension that are passed over between two of its own; more are a flood.
const FOREIGN_MESSAGES_MAX: u32 = 10_000;

/// A state machine that a connection can drive. After anything in, all events are to be taken.
pub(super) trait Protocol {
    /// What its owner is told.
    type Event;

    /// Takes a message of the peer.
    fn handle_message(&mut self, message: Message, now: Instant) -> Result<(), PeerError>;
    /// Does what is due at the time that `poll_timeout` named.
    fn handle_timeout(&mut self, now: Instant) -> Result<(), PeerError>;
    /// The next message for the connection, when it has room.
    fn poll_message(&mut self) -> Option<Message>;
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
}

impl Session {
    pub(super) fn new(exchange: Exchange, their_ut_xet: u8) -> Self {
        Self { exchange, their_ut_xet, extension_handshakes: 1, foreign_messages: 0 }
    }

    /// Ends a request of the peer, unless it has ended meanwhile.
    pub(super) fn end(&mut self, id: bep_xet::PeerRequestId, status: Status, next: u64) -> Result<(), PeerError> {
        match self.exchange.end(id, status, next, std::time::Duration::ZERO) {
            Ok(()) | Err(bep_xet::Error::NotOpen { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Protocol for Session {
    type Event = bep_xet::Event;

    fn handle_message(&mut self, message: Message, now: Instant) -> Result<(), PeerError> {
        match message {
            Message::Extended { id: OUR_UT_XET, payload } => {
                self.foreign_messages = 0;
                let message = bep_xet::Message::decode(payload, &bep_xet::Limits::default())?;
                self.exchange.handle_message(message, now)?;
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
        self.exchange.handle_timeout(now);
        Ok(())
    }

    fn poll_message(&mut self) -> Option<Message> {
        let message = self.exchange.poll_message()?;
        let mut payload = BytesMut::new();
        message.encode(&mut payload);
        Some(Message::Extended { id: self.their_ut_xet, payload: payload.freeze() })
    }

    fn poll_event(&mut self) -> Option<bep_xet::Event> {
        self.exchange.poll_event()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.exchange.poll_timeout()
    }
}
