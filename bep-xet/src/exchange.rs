//! What two peers have asked of each other: the state of one connection, without the connection.

mod answer;
mod asked;
mod asking;
mod event;
mod keep_alive;
mod outbox;
mod serve;
mod serving;

use std::collections::VecDeque;
use std::time::Instant;

use asked::{Asked, Overdue};
pub use event::{Deadline, Deadlines, Event, PeerRequestId, RequestId, StopReason};
use keep_alive::{Due, KeepAlive};
use outbox::Outbox;
use serving::Serving;

use crate::{Config, End, Error, Limits, Message, Status, XetHandshake};

/// Requests and answers of one connection, in both directions. Pure: it is told what comes and what time it is,
/// and asked what is to be sent.
///
/// - **In:** [`handle_message`](Self::handle_message), [`handle_timeout`](Self::handle_timeout),
///   [`handle_unchoke`](Self::handle_unchoke).
/// - **To ask:** [`query_have`](Self::query_have), [`request_manifest`](Self::request_manifest),
///   [`request_range`](Self::request_range), [`cancel`](Self::cancel), [`ping`](Self::ping).
/// - **To answer:** [`send_have`](Self::send_have), [`send_news`](Self::send_news),
///   [`send_manifest`](Self::send_manifest), [`send_chunk`](Self::send_chunk), [`end`](Self::end).
/// - **Out:** [`poll_event`](Self::poll_event), [`poll_message`](Self::poll_message),
///   [`poll_timeout`](Self::poll_timeout).
///
/// **After anything in, take all events; send messages as the connection takes them, and call `handle_timeout` when
/// the time of `poll_timeout` has come.** One message in brings at most one event. Messages that are held back while a
/// connection is full do no harm: what waits is bounded, and what would be too much is refused.
///
/// Every request ends with exactly one END. Everything that waits for something has a deadline.
#[derive(Debug)]
pub struct Exchange {
    config: Config,
    limits: Limits,
    peer_message_bytes_max: usize,
    asked: Asked,
    serving: Serving,
    keep_alive: KeepAlive,
    outbox: Outbox,
    events: VecDeque<Event>,
    failed: bool,
}

impl Exchange {
    /// Begins when the peer's extension handshake has come.
    pub fn new(config: Config, limits: Limits, peer: &XetHandshake, now: Instant) -> Self {
        let config = config.clamped();
        Self {
            peer_message_bytes_max: (peer.frame_bytes_max as usize).saturating_sub(Message::FRAME_BYTES),
            asked: Asked::new(&config, peer),
            serving: Serving::new(config.answer_within),
            keep_alive: KeepAlive::new(config.ping_after, config.pong_within, now),
            outbox: Outbox::default(),
            events: VecDeque::new(),
            failed: false,
            config,
            limits,
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
        self.keep_alive.heard(now);
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
            Message::Pong { nonce } => self.keep_alive.pong(nonce, now).map(|round_trip| Event::Pong { round_trip }),
            Message::Unknown { .. } => None,
        };
        self.events.extend(event);
        Ok(())
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
                    self.outbox.push(Message::Cancel { id });
                    self.events.push_back(Event::RequestTimedOut { id: RequestId(id), deadline });
                }
                Overdue::Fail(error) => return self.fail(error),
            }
        }
        for id in self.serving.expire(now) {
            self.outbox.forget(id.id);
            self.outbox.push(Message::End(End::new(id.id, Status::Busy).with_retry(self.config.busy_retry)));
            self.events.push_back(Event::Stopped { id, reason: StopReason::Expired });
        }
        match self.keep_alive.handle_timeout(now) {
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

    /// When to call [`handle_timeout`](Self::handle_timeout); `None` only after [`Event::Failed`].
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
        let keep_alive = Some((self.keep_alive.deadline(), "a word from the peer"));
        [self.asked.deadline(), self.serving.deadline(), keep_alive].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// Measures the round trip to the peer, unless that is going on already. The answer comes as [`Event::Pong`].
    pub fn ping(&mut self, now: Instant) {
        if let Some(nonce) = self.keep_alive.ping(now) {
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
