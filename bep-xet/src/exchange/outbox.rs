//! What waits to be sent, in two lanes.

use std::collections::{BTreeSet, VecDeque};

use crate::Message;

/// Messages that wait for the connection. Its owner keeps every part of it within bounds.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pongs: VecDeque<u64>,
    control: Lane,
    data: Lane,
    /// Requests of the peer whose end waits to be sent.
    unsent_ends: BTreeSet<u32>,
    /// The response whose front was taken, and what of its data was not, bytes. Nothing may be sent in between.
    inside: Option<(u32, u64)>,
}

/// First in, first out.
#[derive(Debug, Default)]
struct Lane {
    messages: VecDeque<Message>,
    bytes: usize,
}

impl Outbox {
    pub(super) fn push(&mut self, message: Message) {
        self.unsent_ends.extend(ended(&message));
        if message.is_control() { &mut self.control } else { &mut self.data }.push(message);
    }

    /// Answers to pings are not worth keeping: of more than `max` the oldest are dropped.
    pub(super) fn push_pong(&mut self, nonce: u64, max: usize) {
        self.pongs.push_back(nonce);
        while self.pongs.len() > max {
            self.pongs.pop_front();
        }
    }

    /// Drops what waits to be sent for a request of the peer.
    pub(super) fn forget(&mut self, request: u32) {
        let is_for = |message: &Message| match message {
            Message::Have(have) => have.id == request,
            Message::Manifest(manifest) => manifest.id == request,
            Message::Chunk(chunk) => chunk.id == request,
            _ => false,
        };
        self.control.retain(|message| !is_for(message));
        self.data.retain(|message| !is_for(message));
    }

    pub(super) fn pop(&mut self) -> Option<Message> {
        if let Some(control) = self.pop_control() {
            return Some(control);
        }
        let message = self.data.pop()?;
        match (&message, &mut self.inside) {
            (Message::ChunkResponse(response), inside) => *inside = Some((response.id, response.missing_bytes())),
            (Message::ChunkData(data), Some((_, left))) => *left = left.saturating_sub(data.len() as u64),
            _ => self.forget_end(&message),
        }
        if let Some((id, _)) = self.inside.take_if(|(_, left)| *left == 0) {
            self.unsent_ends.remove(&id);
        }
        Some(message)
    }

    pub(super) fn pop_control(&mut self) -> Option<Message> {
        if self.inside.is_some() {
            return None;
        }
        let message = self.pongs.pop_front().map(|nonce| Message::Pong { nonce }).or_else(|| self.control.pop())?;
        self.forget_end(&message);
        Some(message)
    }

    fn forget_end(&mut self, message: &Message) {
        if let Some(id) = ended(message) {
            self.unsent_ends.remove(&id);
        }
    }

    pub(super) fn control_bytes(&self) -> usize {
        self.control.bytes
    }

    pub(super) fn data_bytes(&self) -> usize {
        self.data.bytes
    }

    pub(super) fn unsent_ends(&self) -> &BTreeSet<u32> {
        &self.unsent_ends
    }
}

/// The request of the peer that a message ends, once it and its data are sent.
fn ended(message: &Message) -> Option<u32> {
    match message {
        Message::End(end) => Some(end.id),
        Message::ChunkResponse(response) => Some(response.id),
        Message::ChunkNotFound(answer) => Some(answer.id),
        Message::ChunkError(answer) => Some(answer.id),
        _ => None,
    }
}

impl Lane {
    fn push(&mut self, message: Message) {
        self.bytes += message.encoded_bytes();
        self.messages.push_back(message);
    }

    fn pop(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.encoded_bytes();
        Some(message)
    }

    fn retain(&mut self, keep: impl Fn(&Message) -> bool) {
        self.messages.retain(keep);
        self.bytes = self.messages.iter().map(Message::encoded_bytes).sum();
    }
}
