//! What two peers have asked of each other: the state of one connection, without the connection.

mod answer;
mod asked;
mod asking;
mod event;
mod keep_alive;
mod outbox;
mod response;
mod serve;
mod serve_legacy;
mod serving;

use std::collections::VecDeque;
use std::time::Instant;

use bencode::OwnedValue;
use bytes::Bytes;

use asked::{Asked, Overdue};
pub use event::{Deadline, Deadlines, Event, PeerRequestId, ProvenChunk, RequestId, StopReason};
use keep_alive::{Due, KeepAlive};
use outbox::Outbox;
use serving::Serving;

use crate::config::clamped;
use crate::{ChunkError, ChunkResponse, Config, Decoder, Dialect, Error, Limits, Message, Status, XetHandshake};

/// Requests and answers of one connection, in both directions. Pure: it is told what comes and what time it is,
/// and asked what is to be sent.
///
/// - **In:** [`handle_payload`](Self::handle_payload), or [`begin_payload`](Self::begin_payload) and
///   [`handle_piece`](Self::handle_piece), or [`handle_message`](Self::handle_message);
///   [`handle_timeout`](Self::handle_timeout), [`handle_unchoke`](Self::handle_unchoke).
/// - **To ask:** [`query_have`](Self::query_have), [`request_manifest`](Self::request_manifest),
///   [`request_range`](Self::request_range), [`request_listed_range`](Self::request_listed_range),
///   [`cancel`](Self::cancel), [`ping`](Self::ping).
/// - **To answer:** [`send_have`](Self::send_have), [`send_news`](Self::send_news),
///   [`send_manifest`](Self::send_manifest), [`send_chunk`](Self::send_chunk),
///   [`begin_response`](Self::begin_response), [`send_data`](Self::send_data), [`end`](Self::end).
/// - **Out:** [`poll_event`](Self::poll_event), [`poll_message`](Self::poll_message),
///   [`poll_timeout`](Self::poll_timeout).
///
/// **After anything in, take all events; send messages as the connection takes them, and call `handle_timeout` when
/// the time of `poll_timeout` has come.** One message in brings at most three events. Messages that are held back while a
/// connection is full do no harm: what waits is bounded, and what would be too much is refused.
///
/// Every request ends with exactly one END, or one answer in a legacy dialect. Everything that waits for something has
/// a deadline.
///
/// # Legacy dialects
/// A peer of the [`Ranged`](Dialect::Ranged) dialect can only be asked for chunks of a xorb, one of the
/// [`Base`](Dialect::Base) dialect for a chunk by its hash; data comes as [`Event::Proven`], and is checked. There is
/// no way to cancel a request or to ask whether the peer is there: what comes for a request that was given up is
/// dropped as it comes, and the connection fails if nothing does.
#[derive(Debug)]
pub struct Exchange {
    config: Config,
    limits: Limits,
    dialect: Dialect,
    decoder: Decoder,
    peer_message_bytes_max: usize,
    asked: Asked,
    serving: Serving,
    /// Legacy dialects have no message for it.
    keep_alive: Option<KeepAlive>,
    outbox: Outbox,
    events: VecDeque<Event>,
    failed: bool,
}

impl Exchange {
    /// Begins when the extension handshake of a peer of version 2 has come.
    pub fn new(config: Config, limits: Limits, peer: &XetHandshake, now: Instant) -> Self {
        let window_bytes = config.window_bytes.min(peer.outstanding_bytes);
        let peer_message_bytes_max = (peer.frame_bytes_max as usize).saturating_sub(Message::FRAME_BYTES);
        let keep_alive = KeepAlive::new(clamped(config.ping_after), clamped(config.pong_within), now);
        Self {
            keep_alive: Some(keep_alive),
            ..Self::in_dialect(Dialect::V2, config, limits, window_bytes, peer_message_bytes_max)
        }
    }

    /// Begins when the extension handshake of any peer that has `ut_xet` has come: `client` is its `v`, `xet` its
    /// [`xet`](XetHandshake::KEY), if it has them. What the peer says later changes nothing.
    ///
    /// # Errors
    /// [`Error::Handshake`]: a peer of version 2 whose `xet` is malformed. [`Error::NoCommonVersion`].
    pub fn for_peer(
        config: Config,
        limits: Limits,
        client: Option<&str>,
        xet: Option<&OwnedValue>,
        now: Instant,
    ) -> Result<Self, Error> {
        match (Dialect::of_peer(client, xet), xet) {
            (Dialect::V2, Some(xet)) => {
                let peer = XetHandshake::from_value(xet, &limits)?;
                if peer.speaks_v2() { Ok(Self::new(config, limits, &peer, now)) } else { Err(Error::NoCommonVersion) }
            }
            (dialect, _) => {
                let window_bytes = config.window_bytes;
                // Nothing that we send but the data of responses is long.
                Ok(Self::in_dialect(dialect, config, limits, window_bytes, usize::MAX))
            }
        }
    }

    fn in_dialect(
        dialect: Dialect,
        config: Config,
        limits: Limits,
        window_bytes: u64,
        peer_message_bytes_max: usize,
    ) -> Self {
        let config = config.clamped();
        Self {
            dialect,
            decoder: Decoder::new(dialect, limits.clone()),
            peer_message_bytes_max,
            asked: Asked::new(window_bytes),
            serving: Serving::new(config.answer_within),
            keep_alive: None,
            outbox: Outbox::default(),
            events: VecDeque::new(),
            failed: false,
            config,
            limits,
        }
    }

    /// In what the peer is spoken to.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The longest frame that may come at the moment, bytes: a payload with [`Message::FRAME_BYTES`] before it. That is
    /// `mm` of our handshake, and more only while a request is open that a peer of the ranged dialect answers.
    pub fn frame_bytes_max(&self) -> u64 {
        let message_bytes_max = self.limits.message_bytes_max as u64;
        let payload_bytes_max = if self.dialect == Dialect::Ranged && self.asked.awaits_response() {
            let response_bytes_max = ChunkResponse::head_bytes(self.dialect) as u64 + ChunkResponse::DATA_BYTES_MAX;
            message_bytes_max.max(response_bytes_max)
        } else {
            message_bytes_max
        };
        payload_bytes_max + Message::FRAME_BYTES as u64
    }

    /// Takes the whole payload of a BEP 10 message of the peer.
    ///
    /// # Errors
    /// As [`handle_message`](Self::handle_message).
    pub fn handle_payload(&mut self, payload: Bytes, now: Instant) -> Result<(), Error> {
        self.begin_payload(payload.len() as u64)?;
        self.handle_piece(payload, now)
    }

    /// The payload of a BEP 10 message begins, whose pieces are handed over as they come, to
    /// [`handle_piece`](Self::handle_piece).
    ///
    /// # Errors
    /// [`Error::MessageTooLarge`] if the frame is longer than [`frame_bytes_max`](Self::frame_bytes_max), and what
    /// [`Decoder::begin`] refuses.
    pub fn begin_payload(&mut self, payload_bytes: u64) -> Result<(), Error> {
        let max = self.frame_bytes_max() - Message::FRAME_BYTES as u64;
        if payload_bytes > max {
            let [bytes, max] = [payload_bytes, max].map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
            return Err(Error::MessageTooLarge { bytes, max });
        }
        self.decoder.begin(payload_bytes)
    }

    /// Takes the next piece of a payload. Messages are put together; the data of a response is not: each piece is
    /// checked as far as it can be, and counts as progress.
    ///
    /// # Errors
    /// As [`handle_message`](Self::handle_message), and what [`Decoder::decode`] refuses.
    pub fn handle_piece(&mut self, piece: Bytes, now: Instant) -> Result<(), Error> {
        match self.decoder.decode(piece)? {
            Some(message) => self.handle_message(message, now),
            None => {
                self.heard(now);
                Ok(())
            }
        }
    }

    /// Takes a message of the peer.
    ///
    /// # Errors
    /// What nobody who follows the protocol sends ([`Error::is_peer_fault`] holds for all of it). Close the connection.
    pub fn handle_message(&mut self, message: Message, now: Instant) -> Result<(), Error> {
        if self.failed {
            return Ok(());
        }
        self.heard(now);
        if self.dialect.is_legacy() { self.handle_legacy(message, now) } else { self.handle_v2(message, now) }
    }

    fn handle_v2(&mut self, message: Message, now: Instant) -> Result<(), Error> {
        let event = match message {
            Message::Have(have) => self.asked.have(have, now)?,
            Message::Manifest(manifest) => self.asked.manifest(manifest, now)?,
            Message::Chunk(chunk) => self.asked.chunk(chunk, now)?,
            Message::End(end) => Some(self.asked.end(end, &self.limits, now)?),
            Message::HaveQuery(query) => self.handle_have_query(query, now)?,
            Message::ManifestRequest(request) => self.handle_manifest_request(request, now)?,
            Message::RangeRequest(request) => self.handle_range_request(request, now)?,
            Message::UnknownRequest { id, .. } => self.handle_unknown_request(id)?,
            Message::Cancel { id } => self.handle_cancel(id),
            Message::Ping { nonce } => {
                self.outbox.push_pong(nonce, self.limits.pings_max);
                None
            }
            Message::Pong { nonce } => self.handle_pong(nonce, now),
            // What this dialect does not have is as good as unknown.
            Message::ChunkRequest(_)
            | Message::ChunkResponse(_)
            | Message::ChunkData(_)
            | Message::ChunkNotFound(_)
            | Message::ChunkError(_)
            | Message::Unknown { .. } => None,
        };
        self.events.extend(event);
        Ok(())
    }

    fn handle_legacy(&mut self, message: Message, now: Instant) -> Result<(), Error> {
        let Self { asked, limits, events, .. } = self;
        match message {
            Message::ChunkRequest(request) => self.handle_chunk_request(request, now)?,
            Message::ChunkResponse(response) => asked.response(response, limits, events, now)?,
            Message::ChunkData(data) => asked.data(data, limits, events, now)?,
            Message::ChunkNotFound(answer) => {
                events.push_back(asked.refusal(answer.id, Status::NotFound, Bytes::new())?);
            }
            Message::ChunkError(ChunkError { id, code, text }) => {
                let detail = format!("error {code}: {}", text.escape_ascii());
                events.push_back(asked.refusal(id, Status::Error, detail.into())?);
            }
            // What legacy dialects do not have is as good as unknown.
            _ => {}
        }
        Ok(())
    }

    fn heard(&mut self, now: Instant) {
        if let Some(keep_alive) = &mut self.keep_alive {
            keep_alive.heard(now);
        }
    }

    fn handle_pong(&mut self, nonce: u64, now: Instant) -> Option<Event> {
        let round_trip = self.keep_alive.as_mut()?.pong(nonce, now)?;
        Some(Event::Pong { round_trip })
    }

    /// Does what is due: cancels requests that took too long, ends those of the peer that we did not answer, asks a
    /// silent peer whether it is there.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.failed {
            return;
        }
        let (overdue, resumed) = self.asked.handle_timeout(&self.config, now);
        if resumed {
            self.events.push_back(Event::Resumed);
        }
        for overdue in overdue {
            match overdue {
                Overdue::Cancel(id, deadline) => {
                    self.push_cancel(id);
                    self.events.push_back(Event::RequestTimedOut { id: RequestId(id), deadline });
                }
                Overdue::Fail(error) => return self.fail(error),
            }
        }
        for (id, answer) in self.serving.expire(now) {
            self.outbox.forget(id.id);
            self.end_for_us(id, answer, StopReason::Expired);
        }
        match self.keep_alive.as_mut().map_or(Due::Nothing, |keep_alive| keep_alive.handle_timeout(now)) {
            Due::Nothing => {}
            Due::Ping { nonce } => self.outbox.push(Message::Ping { nonce }),
            Due::GiveUp => self.fail(Error::PongOverdue),
        }
    }

    /// The peer has unchoked us: it may be asked again, whatever it said before.
    pub fn handle_unchoke(&mut self) {
        if self.asked.resume() {
            self.events.push_back(Event::Resumed);
        }
    }

    /// The next message for the connection, control messages first.
    pub fn poll_message(&mut self) -> Option<Message> {
        self.outbox.pop()
    }

    /// The next control message, for a connection that has no room for data at the moment.
    pub fn poll_control(&mut self) -> Option<Message> {
        self.outbox.pop_control()
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout); `None` after [`Event::Failed`], and in a legacy dialect
    /// while nothing is waited for.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_timeout().map(|(at, _)| at)
    }

    /// What the time of [`poll_timeout`](Self::poll_timeout) is the end of, for logs.
    pub fn timeout_reason(&self) -> Option<&'static str> {
        self.next_timeout().map(|(_, reason)| reason)
    }

    fn next_timeout(&self) -> Option<(Instant, &'static str)> {
        if self.failed {
            return None;
        }
        let keep_alive = self.keep_alive.as_ref().map(|keep_alive| (keep_alive.deadline(), "a word from the peer"));
        [self.asked.deadline(), self.serving.deadline(), keep_alive].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// Measures the round trip to the peer, unless that is going on already. The answer comes as [`Event::Pong`]. Does
    /// nothing in a legacy dialect.
    pub fn ping(&mut self, now: Instant) {
        if let Some(nonce) = self.keep_alive.as_mut().and_then(|keep_alive| keep_alive.ping(now)) {
            self.outbox.push(Message::Ping { nonce });
        }
    }

    fn fail(&mut self, error: Error) {
        self.failed = true;
        self.events.push_back(Event::Failed { error });
    }

    /// Checks that the peer takes a message of this length.
    fn check_length(&self, bytes: usize) -> Result<(), Error> {
        let max = self.peer_message_bytes_max;
        if bytes > max { Err(Error::TooLargeForPeer { bytes, max }) } else { Ok(()) }
    }

    /// Checks that there is room for control messages of this length.
    fn check_control(&self, bytes: usize) -> Result<(), Error> {
        let max = self.config.control_queued_bytes_max;
        if bytes > max {
            return Err(Error::Misuse { what: "the answer is longer than the queue: send it in parts" });
        }
        if self.outbox.control_bytes() + bytes > max { Err(Error::QueueFull) } else { Ok(()) }
    }
}
