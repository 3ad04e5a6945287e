//! The asking side: what we want from the peer.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use xet_cas::xorb::RAW_BYTES_MAX;
use xet_cas::{ChunkHash, ChunkRange, Leaf, XorbHash};

use super::answer::{Answer, RangeAnswer, check_range};
use super::response::Response;
use super::{Deadlines, Exchange, RequestId};
use crate::{
    ChunkRequest, Dialect, Error, HaveQuery, ManifestForm, ManifestQuery, ManifestRequest, Message, Object, ObjectKind,
    Range, RangeRequest, Unit,
};

impl Exchange {
    /// Asks what the peer has of some objects, at most 1,024. With `subscribe`, news about them come for as long as
    /// the connection lasts.
    ///
    /// # Errors
    /// See [`request_range`](Self::request_range).
    pub fn query_have(
        &mut self,
        objects: impl IntoIterator<Item = Object>,
        subscribe: bool,
        deadlines: Deadlines,
        now: Instant,
    ) -> Result<RequestId, Error> {
        self.check_spoken(Dialect::V2)?;
        let objects: BTreeSet<Object> = objects.into_iter().collect();
        if objects.is_empty() || objects.len() > self.limits.objects_max {
            return Err(Error::Misuse { what: "a question is about 1 to 1,024 objects" });
        }
        if subscribe && self.asked.subscriptions_with(&objects) > self.limits.subscriptions_max {
            return Err(Error::Misuse { what: "there are too many subscriptions" });
        }
        let query = HaveQuery { id: 0, subscribe, objects: objects.iter().copied().collect() };
        let answer = Answer::Have(objects.clone());
        let id = self.ask(answer, |id| Message::HaveQuery(HaveQuery { id, ..query }), deadlines, now)?;
        if subscribe {
            self.asked.subscribe(&objects);
        }
        Ok(id)
    }

    /// Asks for a list.
    ///
    /// # Errors
    /// See [`request_range`](Self::request_range).
    pub fn request_manifest(
        &mut self,
        query: ManifestQuery,
        deadlines: Deadlines,
        now: Instant,
    ) -> Result<RequestId, Error> {
        self.check_spoken(Dialect::V2)?;
        let is_run = query.form == ManifestForm::Run;
        if matches!(query.form, ManifestForm::Unknown(_)) || (is_run && query.start >= query.end) {
            return Err(Error::Misuse { what: "a list is whole, or of a run that is not empty" });
        }
        let answer = Answer::Manifest(Some(query.form));
        self.ask(answer, |id| Message::ManifestRequest(ManifestRequest { id, query }), deadlines, now)
    }

    /// Asks for chunks. Takes [`Range::window_bytes`] of the window; chunks free it as they come, END frees the rest.
    ///
    /// In the ranged dialect chunks of a xorb can be asked for, without list; see
    /// [`request_listed_range`](Self::request_listed_range). In the base dialect one chunk by its hash: chunks 0 to 1 of
    /// [`Object::chunk`]. What `accept` and `urgent` say is not told to these peers.
    ///
    /// # Errors
    /// - [`Error::Busy`]: wait for [`Event::Resumed`](crate::Event::Resumed);
    /// - [`Error::WindowFull`]: wait until other requests have ended;
    /// - [`Error::QueueFull`]: wait until messages were sent;
    /// - [`Error::TooLargeForPeer`], [`Error::NotSpoken`], [`Error::Misuse`]: not to this peer, or not at all;
    /// - [`Error::IdsExhausted`]: not on this connection.
    pub fn request_range(&mut self, range: Range, deadlines: Deadlines, now: Instant) -> Result<RequestId, Error> {
        if check_range(&range, &self.limits).is_err() {
            return Err(Error::Misuse { what: "a range is not empty and has at most 64 MiB and 8,192 chunks" });
        }
        if self.dialect.is_legacy() {
            return self.request_legacy(range, None, deadlines, now);
        }
        let answer = Answer::Range(RangeAnswer::new(&range));
        self.ask(answer, |id| Message::RangeRequest(RangeRequest { id, range }), deadlines, now)
    }

    /// Asks a peer of the ranged dialect for chunks of a xorb whose list is known, whole and checked: whoever sends
    /// something else lies. Each chunk is proven as it comes, and nothing is held; without a list nothing but a whole
    /// xorb proves itself, and all of it is held until then.
    ///
    /// Takes the window of a whole xorb, as this is what comes most often.
    ///
    /// # Errors
    /// See [`request_range`](Self::request_range).
    pub fn request_listed_range(
        &mut self,
        range: Range,
        list: Arc<[Leaf]>,
        deadlines: Deadlines,
        now: Instant,
    ) -> Result<RequestId, Error> {
        self.check_spoken(Dialect::Ranged)?;
        let is_inside = range.end <= list.len() as u64 && list.len() <= self.limits.leaves_max;
        if check_range(&range, &self.limits).is_err() || !is_inside {
            return Err(Error::Misuse { what: "the range is empty, or not inside of the list" });
        }
        self.request_legacy(range, Some(list), deadlines, now)
    }

    fn request_legacy(
        &mut self,
        range: Range,
        list: Option<Arc<[Leaf]>>,
        deadlines: Deadlines,
        now: Instant,
    ) -> Result<RequestId, Error> {
        let not_spoken = Error::NotSpoken { dialect: self.dialect };
        let chunks = match (u32::try_from(range.start), u32::try_from(range.end)) {
            (Ok(start), Ok(end)) if range.unit == Unit::Chunks && !range.with_manifest => ChunkRange { start, end },
            _ => return Err(not_spoken),
        };
        let hash = range.object.hash;
        let (response, asked) = match (self.dialect, range.object.kind) {
            (Dialect::Ranged, ObjectKind::Xorb) => {
                (Response::of_xorb(XorbHash::from_bytes(hash), chunks, list), Some(chunks))
            }
            (Dialect::Base, ObjectKind::Chunk) if chunks == (ChunkRange { start: 0, end: 1 }) => {
                (Response::of_chunk(ChunkHash::from_bytes(hash)), None)
            }
            _ => return Err(not_spoken),
        };
        let answer = Answer::Response { response, window_bytes: self.range_window_bytes(&range) };
        let message = |id| Message::ChunkRequest(ChunkRequest { id, hash, chunks: asked });
        self.ask(answer, message, deadlines, now)
    }

    /// Gives up a request. It stays open, and nothing but [`Event::Ended`](crate::Event::Ended) comes for it. Returns
    /// whether it was open and not cancelled before.
    pub fn cancel(&mut self, id: RequestId, now: Instant) -> bool {
        let cancelled = self.asked.cancel(id.0, &self.config, now);
        if cancelled {
            self.push_cancel(id.0);
        }
        cancelled
    }

    /// Tells the peer, if there are words for it.
    pub(super) fn push_cancel(&mut self, id: u32) {
        if self.dialect == Dialect::V2 {
            self.outbox.push(Message::Cancel { id });
        }
    }

    /// Whether this range would be asked for at once.
    pub fn can_request_range(&self, range: &Range) -> bool {
        self.can_request(self.range_window_bytes(range))
    }

    /// What a range takes of the window to this peer, bytes. Peers of the ranged dialect may send the whole xorb,
    /// whatever they are asked for.
    fn range_window_bytes(&self, range: &Range) -> u64 {
        match self.dialect {
            Dialect::Ranged => RAW_BYTES_MAX.min(self.asked.window_bytes()),
            Dialect::Base | Dialect::V2 => range.window_bytes(),
        }
    }

    /// Whether a request for so many bytes would be made at once. See [`Range::window_bytes`].
    pub fn can_request(&self, window_bytes: u64) -> bool {
        !self.failed
            && !self.asked.is_paused()
            && self.asked.count() < self.config.requests_max
            && self.asked.has_window(window_bytes)
    }

    /// Bytes that may be outstanding: what the peer lets us have, or less if we want less.
    pub fn window_bytes(&self) -> u64 {
        self.asked.window_bytes()
    }

    /// Bytes that are outstanding.
    pub fn outstanding_bytes(&self) -> u64 {
        self.asked.outstanding_bytes()
    }

    /// Our requests that have no END.
    pub fn open_requests(&self) -> usize {
        self.asked.count()
    }

    fn check_spoken(&self, dialect: Dialect) -> Result<(), Error> {
        if self.dialect == dialect { Ok(()) } else { Err(Error::NotSpoken { dialect: self.dialect }) }
    }

    fn ask(
        &mut self,
        answer: Answer,
        message: impl FnOnce(u32) -> Message,
        deadlines: Deadlines,
        now: Instant,
    ) -> Result<RequestId, Error> {
        let id = self.asked.next_id(answer.window_bytes(), &self.config, now)?;
        let message = message(id);
        self.check_length(message.encoded_bytes())?;
        self.check_control(message.encoded_bytes())?;
        self.asked.open(id, answer, deadlines, now);
        self.outbox.push(message);
        Ok(RequestId(id))
    }
}
