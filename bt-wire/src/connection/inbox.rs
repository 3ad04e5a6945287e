//! From bytes to events. Whole frames are cut off the read buffer many at a time, and payloads are slices of
//! that, so that neither a small message nor a payload costs an allocation or a copy.

use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};

use super::Event;
use crate::buffer_pool::{BUFFER_BYTES, Buffer, BufferPool, PoolHandle};
use crate::kind::{HASHES, fields_before_payload};
use crate::{Error, Handshake, HandshakeDecoder, HandshakeStage, Limits, Message};

const PREFIX_BYTES: usize = 4;
/// What is read at least, when nothing is known of what comes.
const READ_BYTES_MIN: usize = 4 * 1024;

#[derive(Debug)]
pub(crate) struct Inbox {
    buffer: Buffer,
    /// Whole frames, some with a payload.
    batch: Bytes,
    pool: PoolHandle,
    pub(crate) limits: Limits,
    whole_bytes_max: u32,
    stage: Stage,
    /// Length of the last frame with a payload.
    frame_bytes: usize,
    pub(crate) messages: u64,
    /// Bytes that were moved in memory to make room.
    pub(crate) moved: u64,
}

#[derive(Debug)]
enum Stage {
    Handshake(Box<HandshakeDecoder>),
    Messages,
    /// A payload that is delivered in parts: of its frame `taken` bytes are, of it `left` are not.
    Payload {
        taken: usize,
        left: u32,
    },
}

/// What the beginning of the buffer is.
enum Front {
    /// Nothing whole. With it so much would have to be there, if that is known.
    Incomplete { whole: Option<usize> },
    /// A whole frame of this length, prefix included.
    Whole(usize),
    /// A frame that is delivered in parts: what stands before its payload, prefix included, and the payload.
    Large { head: usize, payload: u32 },
}

impl Inbox {
    pub(crate) fn new(limits: Limits, whole_bytes_max: u32, pool: BufferPool, shakes_hands: bool) -> Self {
        Self {
            buffer: Buffer::default(),
            batch: Bytes::new(),
            pool: PoolHandle::new(pool),
            limits,
            whole_bytes_max,
            stage: if shakes_hands { Stage::Handshake(Box::default()) } else { Stage::Messages },
            frame_bytes: 0,
            messages: 0,
            moved: 0,
        }
    }

    /// Room to read into.
    pub(crate) fn unfilled(&mut self) -> bytes::buf::Limit<&mut bytes::BytesMut> {
        let held = self.buffer.bytes().len();
        let whole = match &self.stage {
            // Not beyond the handshake, so that nothing has to be moved behind it.
            Stage::Handshake(decoder) => Handshake::BYTES - decoder.bytes(),
            Stage::Payload { left, .. } => (*left as usize).min(BUFFER_BYTES),
            Stage::Messages => match self.front() {
                Ok(Front::Incomplete { whole: Some(whole) }) => whole,
                _ => self.frame_bytes.clamp(READ_BYTES_MIN, BUFFER_BYTES),
            },
        };
        let missing = whole.saturating_sub(held).max(1);
        // Memory follows what a peer sends, not what it announces.
        self.moved += self.pool.reserve(&mut self.buffer, missing.min(held.max(BUFFER_BYTES))) as u64;
        let room = self.buffer.room();
        let read = match self.stage {
            Stage::Handshake(_) => missing,
            // If what follows is as long as this, the buffer ends where a frame does.
            Stage::Messages if whole >= READ_BYTES_MIN && missing <= room => missing + (room - missing) / whole * whole,
            _ => room,
        };
        bytes::BufMut::limit(self.buffer.bytes_mut(), read.min(room))
    }

    /// There is nothing to read for now.
    pub(crate) fn rest(&mut self) {
        if self.buffer.bytes().is_empty() {
            self.pool.release(&mut self.buffer);
        }
    }

    /// Fills in what was read beside.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.pool.reserve(&mut self.buffer, bytes.len());
        self.buffer.bytes_mut().extend_from_slice(bytes);
    }

    /// A stage of the handshake.
    pub(crate) fn poll_handshake(&mut self) -> Result<Option<HandshakeStage>, Error> {
        let Stage::Handshake(decoder) = &mut self.stage else { return Ok(None) };
        let mut input = self.buffer.bytes();
        let before = input.len();
        let stage = decoder.decode(&mut input)?;
        let taken = before - input.len();
        self.buffer.bytes_mut().advance(taken);
        if matches!(stage, Some(HandshakeStage::Complete(_))) {
            self.stage = Stage::Messages;
        }
        Ok(stage)
    }

    /// What comes next of what was read. `Pending` only for the pool; `None` if more has to be read.
    #[inline]
    pub(crate) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Event>, Error>> {
        match self.stage {
            Stage::Handshake(_) => return Poll::Ready(Ok(None)),
            Stage::Payload { taken, left } => return self.poll_part(cx, taken, left).map(Ok),
            Stage::Messages => {}
        }
        if self.batch.is_empty() {
            match self.front() {
                Err(error) => return Poll::Ready(Err(error)),
                Ok(Front::Incomplete { .. }) => return Poll::Ready(Ok(None)),
                Ok(Front::Large { head, payload }) => return Poll::Ready(self.begin_payload(head, payload).map(Some)),
                Ok(Front::Whole(end)) => match Message::decode_fixed(&self.buffer.bytes()[PREFIX_BYTES..end]) {
                    Err(error) => return Poll::Ready(Err(error)),
                    Ok(Some(message)) => {
                        self.buffer.bytes_mut().advance(end);
                        self.messages += 1;
                        return Poll::Ready(Ok(Some(Event::Message(message))));
                    }
                    Ok(None) => {
                        let whole = self.whole_frames(end);
                        self.batch = ready!(self.pool.poll_cut(cx, &mut self.buffer, whole));
                    }
                },
            }
        }
        Poll::Ready(self.next_of_batch().map(Some))
    }

    #[inline]
    fn next_of_batch(&mut self) -> Result<Event, Error> {
        let end = self.batch.first_chunk().map_or(0, |prefix| PREFIX_BYTES + u32::from_be_bytes(*prefix) as usize);
        self.frame_bytes = end;
        // The last one lets go of the buffer.
        let mut frame =
            if end == self.batch.len() { std::mem::take(&mut self.batch) } else { self.batch.split_to(end) };
        frame.advance(PREFIX_BYTES);
        self.messages += 1;
        Message::decode(frame).map(Event::Message)
    }

    #[inline]
    fn front(&self) -> Result<Front, Error> {
        self.frame_at(self.buffer.bytes())
    }

    #[inline]
    fn frame_at(&self, bytes: &[u8]) -> Result<Front, Error> {
        let Some(prefix) = bytes.first_chunk() else { return Ok(Front::Incomplete { whole: None }) };
        let length = u32::from_be_bytes(*prefix);
        let id = bytes.get(PREFIX_BYTES).copied().filter(|_| length > 0);
        self.limits.check_frame(length, id)?;
        let whole = PREFIX_BYTES + length as usize;
        if length > self.whole_bytes_max
            && let Some(id) = id
            && id != HASHES
            && let Some(fields) = fields_before_payload(id)
        {
            let head = PREFIX_BYTES + fields as usize;
            return Ok(if bytes.len() < head {
                Front::Incomplete { whole: Some(head) }
            } else {
                Front::Large { head, payload: length - fields }
            });
        }
        Ok(if bytes.len() < whole { Front::Incomplete { whole: Some(whole) } } else { Front::Whole(whole) })
    }

    /// The end of the last whole frame, of which one ends at `end`.
    fn whole_frames(&self, mut end: usize) -> usize {
        // What is wrong with a later frame is said when it is its turn.
        while let Ok(Front::Whole(length)) = self.frame_at(&self.buffer.bytes()[end..]) {
            end += length;
        }
        end
    }

    fn begin_payload(&mut self, head: usize, payload: u32) -> Result<Event, Error> {
        let message = Message::decode(Bytes::copy_from_slice(&self.buffer.bytes()[PREFIX_BYTES..head]))?;
        self.buffer.bytes_mut().advance(head);
        self.stage = Stage::Payload { taken: head, left: payload };
        self.messages += 1;
        Ok(Event::Large { message, payload_bytes: payload })
    }

    fn poll_part(&mut self, cx: &mut Context<'_>, taken: usize, left: u32) -> Poll<Option<Event>> {
        let there = self.buffer.bytes().len().min(left as usize);
        if there == 0 {
            return Poll::Ready(None);
        }
        let data = ready!(self.pool.poll_cut(cx, &mut self.buffer, there));
        let left = left - there as u32;
        self.stage = if left == 0 { Stage::Messages } else { Stage::Payload { taken: taken + there, left } };
        Poll::Ready(Some(Event::Part { data, left }))
    }

    /// Of what the end of the stream cuts off a part, and how much of it came.
    pub(crate) fn inside(&self) -> Option<(&'static str, usize)> {
        let held = self.buffer.bytes().len();
        match &self.stage {
            Stage::Handshake(decoder) => Some(("the handshake", decoder.bytes())),
            Stage::Payload { taken, .. } => Some(("a message", taken + held)),
            Stage::Messages => (held > 0).then_some(("a message", held)),
        }
    }
}
