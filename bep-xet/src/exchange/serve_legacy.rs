//! The answering side in the legacy dialects: one response a request, of a length that is said first.

use std::time::Instant;

use bytes::Bytes;
use xet_cas::{CHUNK_BYTES_MAX, ChunkHash, ChunkRange, XorbHash};

use super::answer::Stream;
use super::{Event, Exchange, PeerRequestId};
use crate::{ChunkError, ChunkNotFound, ChunkRequest, ChunkResponse, Dialect, Error, Message, Status};

impl Exchange {
    /// Begins the response to [`Event::XorbAsked`] or [`Event::ChunkAsked`], with `bytes` of data, which
    /// [`send_data`](Self::send_data) sends. Until all of it was handed over, nothing else is sent to the peer, and no
    /// other response begins.
    ///
    /// # Errors
    /// - [`Error::NotOpen`]: the request has ended, by whomever;
    /// - [`Error::QueueFull`]: wait until [`wants_response`](Self::wants_response);
    /// - [`Error::Misuse`]: no answer is as short or as long, or has begun already.
    pub fn begin_response(&mut self, id: PeerRequestId, bytes: u64, now: Instant) -> Result<(), Error> {
        self.check_open(id)?;
        if !self.wants_response() {
            return Err(Error::QueueFull);
        }
        let chunk_offset = (self.dialect == Dialect::Ranged).then_some(0);
        let stream = self.serving.stream(id, now)?;
        let length = match u32::try_from(bytes) {
            Ok(length) if (1..=stream.bytes_max).contains(&bytes) => length,
            _ => return Err(Error::Misuse { what: "the data is empty, or longer than a chunk or xorb" }),
        };
        stream.left = Some(bytes);
        let response = ChunkResponse { id: id.id, chunk_offset, length, data: Bytes::new() };
        self.outbox.push(Message::ChunkResponse(response));
        Ok(())
    }

    /// Sends the next data of the response that was begun. The request ends with the last of it.
    ///
    /// # Errors
    /// - [`Error::NotOpen`]: the request has ended, by whomever;
    /// - [`Error::QueueFull`]: wait until [`wants_data`](Self::wants_data);
    /// - [`Error::Misuse`]: the response has not begun, or is shorter.
    pub fn send_data(&mut self, id: PeerRequestId, data: Bytes, now: Instant) -> Result<(), Error> {
        self.check_open(id)?;
        if !self.wants_data() {
            return Err(Error::QueueFull);
        }
        let bytes = data.len() as u64;
        let Some(left) = &mut self.serving.stream(id, now)?.left else {
            return Err(Error::Misuse { what: "the response was not begun" });
        };
        *left = left.checked_sub(bytes).ok_or(Error::Misuse { what: "the data is longer than was said" })?;
        if *left == 0 {
            self.serving.end(id)?;
        }
        if bytes > 0 {
            self.outbox.push(Message::ChunkData(data));
        }
        Ok(())
    }

    /// Whether a response could begin: there is room, and none is incomplete.
    pub fn wants_response(&self) -> bool {
        self.wants_data() && !self.serving.is_streaming()
    }

    pub(super) fn handle_chunk_request(&mut self, request: ChunkRequest, now: Instant) -> Result<(), Error> {
        let ChunkRequest { id, hash, chunks } = request;
        self.serving.check_id(id, self.outbox.unsent_ends(), &self.limits)?;
        let bytes_max = match self.dialect {
            Dialect::Ranged => ChunkResponse::DATA_BYTES_MAX,
            Dialect::Base | Dialect::V2 => CHUNK_BYTES_MAX as u64,
        };
        match self.serving.take_legacy(id, hash, bytes_max, &self.limits, now) {
            Ok(id) => self.events.push_back(match self.dialect {
                Dialect::Ranged => {
                    let chunks = chunks.unwrap_or(ChunkRange { start: 0, end: 0 });
                    Event::XorbAsked { id, xorb: XorbHash::from_bytes(hash), chunks }
                }
                Dialect::Base | Dialect::V2 => Event::ChunkAsked { id, chunk: ChunkHash::from_bytes(hash) },
            }),
            Err(status) => self.outbox.push(refusal(id, hash, status)),
        }
        Ok(())
    }

    /// Ends a request without data. A response that has begun can only be ended by the end of the connection.
    pub(super) fn end_legacy(&mut self, id: PeerRequestId, stream: &Stream, status: Status) {
        match stream.left {
            None => self.outbox.push(refusal(id.id, stream.hash, status)),
            Some(_) => self.fail(Error::ResponseCut { id: id.id }),
        }
    }
}

fn refusal(id: u32, hash: [u8; 32], status: Status) -> Message {
    match status {
        Status::NotFound => Message::ChunkNotFound(ChunkNotFound { id, hash: Some(hash) }),
        status => Message::ChunkError(ChunkError { id, code: status.to_byte().into(), text: Bytes::new() }),
    }
}
