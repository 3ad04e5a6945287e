//! Answers in the legacy dialects: one response a request, of a length that is said first, one request after the other.

use std::collections::VecDeque;
use std::time::Instant;

use bep_xet::{Exchange, Object, PeerRequestId, Schemes, Status};
use bytes::{Buf as _, Bytes};
use xet_cas::ChunkRange;
use xet_cas::xorb::RecordHeader;

use super::{Batch, Job};

/// Answers the requests of one peer in turn. Nothing is looked up before its turn comes.
#[derive(Debug)]
pub(super) struct Responding<F> {
    /// Requests whose turn has not come. The exchange bounds them.
    asked: VecDeque<(PeerRequestId, Object)>,
    turn: Turn<F>,
}

#[derive(Debug)]
enum Turn<F> {
    Nobodys,
    /// It is being found out where the object is.
    LookedUp,
    /// Its next chunks are being read.
    Read(Response<F>),
    /// What was read of it is sent; when there is none left, more is to be read.
    Sent(Response<F>, VecDeque<Bytes>),
}

/// What a response consists of.
#[derive(Debug)]
pub(in crate::peer) struct Whole<F> {
    pub(in crate::peer) file: F,
    /// Chunks of the file.
    pub(in crate::peer) chunks: ChunkRange,
    /// Length of the response.
    pub(in crate::peer) bytes: u64,
    /// Chunks go out as they are, without the headers of records.
    pub(in crate::peer) is_raw: bool,
}

#[derive(Debug)]
struct Response<F> {
    id: PeerRequestId,
    /// What of it was not read.
    left: Whole<F>,
    is_begun: bool,
}

impl<F: Clone> Responding<F> {
    pub(super) fn new() -> Self {
        Self { asked: VecDeque::new(), turn: Turn::Nobodys }
    }

    /// The peer asks for something.
    pub(super) fn ask(&mut self, id: PeerRequestId, object: Object) {
        self.asked.push_back((id, object));
    }

    /// A request has ended without an answer. One whose turn it is shows that when it goes on.
    pub(super) fn stop(&mut self, id: PeerRequestId) {
        self.asked.retain(|(asked, _)| *asked != id);
    }

    /// Whether chunks are being read.
    pub(super) fn is_reading(&self) -> bool {
        matches!(self.turn, Turn::Read(_))
    }

    /// Whether chunks are to be read next.
    pub(super) fn wants_to_read(&self) -> bool {
        matches!(&self.turn, Turn::Sent(_, read) if read.is_empty())
    }

    /// What to read next. Peers of the ranged dialect take any scheme, but a length that is said first.
    pub(super) fn begin_reading(&mut self) -> Option<Batch<F>> {
        if !self.wants_to_read() {
            return None;
        }
        let Turn::Sent(response, _) = std::mem::replace(&mut self.turn, Turn::Nobodys) else { return None };
        let (file, chunks) = (response.left.file.clone(), response.left.chunks);
        self.turn = Turn::Read(response);
        Some(Batch { file, chunks, accept: Schemes::RAW })
    }

    /// What was asked for is here, or there is nothing of it for the peer.
    pub(super) fn found(
        &mut self,
        id: PeerRequestId,
        found: Option<Whole<F>>,
        exchange: &mut Exchange,
    ) -> Result<(), bep_xet::Error> {
        self.turn = match found {
            Some(left) => Turn::Sent(Response { id, left, is_begun: false }, VecDeque::new()),
            None => Turn::Nobodys,
        };
        if matches!(self.turn, Turn::Nobodys) { end(exchange, id, Status::NotFound) } else { Ok(()) }
    }

    /// Chunks were read, in order; `None` where the file has changed.
    pub(super) fn read(&mut self, records: Vec<Option<Bytes>>, exchange: &mut Exchange) -> Result<(), bep_xet::Error> {
        let Turn::Read(mut response) = std::mem::replace(&mut self.turn, Turn::Nobodys) else { return Ok(()) };
        let count = records.len() as u32;
        let is_raw = response.left.is_raw;
        let cut = |mut record: Bytes| {
            if is_raw {
                record.advance(RecordHeader::BYTES.min(record.len()));
            }
            record
        };
        let Some(records) = records.into_iter().collect::<Option<Vec<Bytes>>>() else {
            // The file has changed underneath. A response that has begun is cut, and the connection with it.
            return end(exchange, response.id, Status::NotFound);
        };
        response.left.chunks.start += count;
        self.turn = Turn::Sent(response, records.into_iter().map(cut).collect());
        Ok(())
    }

    /// Sends what is here as far as the connection takes it. Returns what is to be done next, and adds what was sent.
    pub(super) fn go_on(
        &mut self,
        exchange: &mut Exchange,
        sent_bytes: &mut u64,
        now: Instant,
    ) -> Result<Option<Job>, bep_xet::Error> {
        while exchange.wants_data() {
            match std::mem::replace(&mut self.turn, Turn::Nobodys) {
                Turn::Nobodys => {
                    let Some((id, object)) = self.asked.pop_front() else { return Ok(None) };
                    self.turn = Turn::LookedUp;
                    return Ok(Some(Job::Whole { id, object }));
                }
                Turn::Sent(mut response, mut read) => match read.pop_front() {
                    Some(data) => {
                        let bytes = data.len() as u64;
                        if !response.send(data, exchange, now)? {
                            continue;
                        }
                        *sent_bytes += bytes;
                        if !read.is_empty() || response.left.chunks.count() > 0 {
                            self.turn = Turn::Sent(response, read);
                        }
                    }
                    None => {
                        self.turn = Turn::Sent(response, read);
                        return Ok(None);
                    }
                },
                waiting => {
                    self.turn = waiting;
                    return Ok(None);
                }
            }
        }
        Ok(None)
    }
}

impl<F> Response<F> {
    /// False if the request has ended meanwhile.
    fn send(&mut self, data: Bytes, exchange: &mut Exchange, now: Instant) -> Result<bool, bep_xet::Error> {
        let mut sent = Ok(());
        if !self.is_begun {
            sent = exchange.begin_response(self.id, self.left.bytes, now);
            self.is_begun = true;
        }
        match sent.and_then(|()| exchange.send_data(self.id, data, now)) {
            Ok(()) => Ok(true),
            Err(bep_xet::Error::NotOpen { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn end(exchange: &mut Exchange, id: PeerRequestId, status: Status) -> Result<(), bep_xet::Error> {
    match exchange.end(id, status, 0, std::time::Duration::ZERO) {
        Err(bep_xet::Error::NotOpen { .. }) => Ok(()),
        ended => ended,
    }
}
