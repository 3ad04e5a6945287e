//! The answering side: what the peer wants from us.

use std::time::{Duration, Instant};

use bytes::Bytes;
use xet_cas::Leaf;

use super::answer::Answer;
use super::{Event, Exchange, PeerRequestId, StopReason};
use crate::{
    Chunk, End, Error, Have, HaveEntry, HaveQuery, HaveState, Manifest, ManifestRequest, Message, Proof, RangeRequest,
    Status,
};

impl Exchange {
    /// Says what there is of objects that the peer asked about. May be called several times; each object once.
    ///
    /// # Errors
    /// - [`Error::NotOpen`]: the request has ended, by whomever;
    /// - [`Error::QueueFull`]: wait until messages were sent;
    /// - [`Error::TooLargeForPeer`], [`Error::Misuse`]: nothing was sent.
    pub fn send_have(&mut self, id: PeerRequestId, entries: Vec<HaveEntry>, now: Instant) -> Result<(), Error> {
        self.check_open(id)?;
        self.check_entries(&entries)?;
        self.serving.have(id, &entries, now)?;
        self.push_have(id.id, entries);
        Ok(())
    }

    /// Tells of changes. Objects to which the peer did not subscribe are left out.
    ///
    /// # Errors
    /// [`Error::QueueFull`], [`Error::TooLargeForPeer`] or [`Error::Misuse`]: nothing was sent.
    pub fn send_news(&mut self, entries: impl IntoIterator<Item = HaveEntry>) -> Result<(), Error> {
        let entries: Vec<_> = entries.into_iter().filter(|entry| self.serving.is_subscribed(&entry.object)).collect();
        self.check_entries(&entries)?;
        self.push_have(0, entries);
        Ok(())
    }

    /// Sends the list that the peer asked for, alone or before chunks. `total` is a hint.
    ///
    /// # Errors
    /// - [`Error::NotOpen`]: the request has ended, by whomever;
    /// - [`Error::QueueFull`]: wait until [`wants_data`](Self::wants_data);
    /// - [`Error::TooLargeForPeer`]: end the request with [`Status::TooLarge`];
    /// - [`Error::Misuse`]: no such list was asked for, or it was sent, or its lengths are not those of a list.
    pub fn send_manifest(
        &mut self,
        id: PeerRequestId,
        total: u32,
        first: u32,
        leaves: Vec<Leaf>,
        proof: Option<Proof>,
        now: Instant,
    ) -> Result<(), Error> {
        let limits = &self.limits;
        let fits = (1..=limits.leaves_max).contains(&leaves.len())
            && proof.as_ref().is_none_or(|proof| {
                let siblings = |level: &crate::ProofLevel| level.left.len().max(level.right.len());
                proof.levels.len() <= limits.levels_max
                    && proof.levels.iter().all(|level| siblings(level) <= limits.siblings_max)
            });
        if !fits {
            return Err(Error::Misuse { what: "the list or its proof is empty or too long" });
        }
        let manifest = Manifest { id: id.id, total, first, leaves, proof };
        self.check_data(id, 1 + manifest.encoded_bytes())?;
        self.serving.manifest(id, &manifest, now)?;
        self.outbox.push(Message::Manifest(manifest));
        Ok(())
    }

    /// Sends a chunk: `record` is its header and payload, as they stand in a xorb.
    ///
    /// # Errors
    /// - [`Error::NotOpen`]: the request has ended, by whomever;
    /// - [`Error::QueueFull`]: wait until [`wants_data`](Self::wants_data);
    /// - [`Error::TooLargeForPeer`]: end the request with [`Status::TooLarge`];
    /// - [`Error::Misuse`]: this is no chunk, or not one that was asked for and may come after the one before.
    pub fn send_chunk(&mut self, id: PeerRequestId, index: u32, record: Bytes, now: Instant) -> Result<(), Error> {
        let chunk = Chunk { id: id.id, index, record };
        self.check_data(id, 1 + chunk.encoded_bytes())?;
        self.serving.chunk(id, &chunk, now)?;
        self.outbox.push(Message::Chunk(chunk));
        Ok(())
    }

    /// Ends a request. `next` is the first chunk or byte of a range that was not sent, `retry` how long a busy peer
    /// wants to be left alone.
    ///
    /// In a legacy dialect a request ends by itself with the last of its data. This ends it without: the peer is told
    /// that there is nothing, or that something went wrong, and no more. After the response has begun that cannot be
    /// told any more: [`Event::Failed`] follows.
    ///
    /// # Errors
    /// [`Error::NotOpen`]: it has ended, by whomever.
    pub fn end(&mut self, id: PeerRequestId, status: Status, next: u64, retry: Duration) -> Result<(), Error> {
        match self.serving.end(id)? {
            Answer::Stream(stream) => self.end_legacy(id, &stream, status),
            _ => self.outbox.push(Message::End(End::new(id.id, status).with_next(next).with_retry(retry))),
        }
        Ok(())
    }

    /// Ends a request of the peer for which there was no time, and tells of it.
    pub(super) fn end_for_us(&mut self, id: PeerRequestId, answer: Answer, reason: StopReason) {
        match answer {
            Answer::Stream(stream) => self.end_legacy(id, &stream, Status::Busy),
            _ => self.outbox.push(Message::End(End::new(id.id, Status::Busy).with_retry(self.config.busy_retry))),
        }
        if !self.failed {
            self.events.push_back(Event::Stopped { id, reason });
        }
    }

    /// Whether there is room for another list or chunk. Read the next one from disk when there is.
    pub fn wants_data(&self) -> bool {
        self.outbox.data_bytes() < self.config.data_queued_bytes_max
    }

    /// Whether this request of the peer has not ended.
    pub fn is_open(&self, id: PeerRequestId) -> bool {
        self.serving.is_open(id)
    }

    /// Requests of the peer that have not ended.
    pub fn peer_requests(&self) -> usize {
        self.serving.count()
    }

    /// Bytes that they ask for and that were not sent.
    pub fn requested_bytes(&self) -> u64 {
        self.serving.requested_bytes()
    }

    pub(super) fn handle_have_query(&mut self, query: HaveQuery, now: Instant) -> Result<Option<Event>, Error> {
        let HaveQuery { id, subscribe, mut objects } = query;
        objects.sort_unstable();
        objects.dedup();
        self.check_peer_id(id)?;
        let taken = self.serving.take_have(id, &objects, subscribe, &self.limits, now);
        Ok(self.taken_or_ended(id, 0, taken).map(|id| Event::HaveAsked { id, objects, subscribe }))
    }

    pub(super) fn handle_manifest_request(
        &mut self,
        request: ManifestRequest,
        now: Instant,
    ) -> Result<Option<Event>, Error> {
        let ManifestRequest { id, query } = request;
        self.check_peer_id(id)?;
        let taken = self.serving.take_manifest(id, &query, &self.limits, now);
        Ok(self.taken_or_ended(id, query.start, taken).map(|id| Event::ManifestAsked { id, query }))
    }

    pub(super) fn handle_range_request(&mut self, request: RangeRequest, now: Instant) -> Result<Option<Event>, Error> {
        let RangeRequest { id, range } = request;
        self.check_peer_id(id)?;
        let taken = self.serving.take_range(id, &range, &self.limits, now);
        Ok(self.taken_or_ended(id, range.start, taken).map(|id| Event::RangeAsked { id, range }))
    }

    /// What is not known closes no connection: an id that cannot be answered under is passed over.
    pub(super) fn handle_unknown_request(&mut self, id: u32) -> Result<Option<Event>, Error> {
        match self.check_peer_id(id) {
            Err(Error::IdInUse { .. }) => return Ok(None),
            checked => checked?,
        }
        self.outbox.push(Message::End(End::new(id, Status::Unsupported)));
        Ok(None)
    }

    /// A request that has ended may be cancelled, as messages cross.
    pub(super) fn handle_cancel(&mut self, id: u32) -> Option<Event> {
        let (taken, _) = self.serving.remove(id)?;
        self.outbox.forget(id);
        self.outbox.push(Message::End(End::new(id, Status::Cancelled)));
        Some(Event::Stopped { id: taken, reason: StopReason::Cancelled })
    }

    /// Checks the id of a request of version 2.
    fn check_peer_id(&self, id: u32) -> Result<(), Error> {
        if id == 0 {
            return Err(Error::IdInUse { id });
        }
        self.serving.check_id(id, self.outbox.unsent_ends(), &self.limits)
    }

    pub(super) fn check_open(&self, id: PeerRequestId) -> Result<(), Error> {
        if self.serving.is_open(id) { Ok(()) } else { Err(Error::NotOpen { id: id.id }) }
    }

    fn check_data(&self, id: PeerRequestId, bytes: usize) -> Result<(), Error> {
        self.check_open(id)?;
        self.check_length(bytes)?;
        if self.wants_data() { Ok(()) } else { Err(Error::QueueFull) }
    }

    fn check_entries(&self, entries: &[HaveEntry]) -> Result<(), Error> {
        if entries.iter().any(|entry| matches!(entry.state, HaveState::Unknown { .. })) {
            return Err(Error::Misuse { what: "nobody is told of a state that is not known" });
        }
        let longest = entries.iter().map(HaveEntry::encoded_bytes).max().unwrap_or_default();
        self.check_length(1 + Have::BYTES_MIN + longest)?;
        self.check_control(entries.iter().map(HaveEntry::encoded_bytes).sum())
    }

    /// In as many messages as it takes.
    fn push_have(&mut self, id: u32, entries: Vec<HaveEntry>) {
        let (mut part, mut bytes) = (Vec::new(), 1 + Have::BYTES_MIN);
        for entry in entries {
            if part.len() == self.limits.objects_max || bytes + entry.encoded_bytes() > self.peer_message_bytes_max {
                self.outbox.push(Message::Have(Have { id, entries: std::mem::take(&mut part) }));
                bytes = 1 + Have::BYTES_MIN;
            }
            bytes += entry.encoded_bytes();
            part.push(entry);
        }
        if !part.is_empty() {
            self.outbox.push(Message::Have(Have { id, entries: part }));
        }
    }

    fn taken_or_ended(&mut self, id: u32, next: u64, taken: Result<PeerRequestId, Status>) -> Option<PeerRequestId> {
        match taken {
            Ok(taken) => Some(taken),
            Err(status) => {
                let retry = if status == Status::Busy { self.config.busy_retry } else { Duration::ZERO };
                self.outbox.push(Message::End(End::new(id, status).with_next(next).with_retry(retry)));
                None
            }
        }
    }
}
