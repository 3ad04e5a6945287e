//! The asking side: what we want from the peer.

use std::collections::BTreeSet;
use std::time::Instant;

use super::answer::{Answer, RangeAnswer, check_range};
use super::{Deadlines, Exchange, RequestId};
use crate::{Error, HaveQuery, ManifestForm, ManifestQuery, ManifestRequest, Message, Object, Range, RangeRequest};

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
        let is_run = query.form == ManifestForm::Run;
        if matches!(query.form, ManifestForm::Unknown(_)) || (is_run && query.start >= query.end) {
            return Err(Error::Misuse { what: "a list is whole, or of a run that is not empty" });
        }
        let answer = Answer::Manifest(Some(query.form));
        self.ask(answer, |id| Message::ManifestRequest(ManifestRequest { id, query }), deadlines, now)
    }

    /// Asks for chunks. Takes [`Range::window_bytes`] of the window; chunks free it as they come, END frees the rest.
    ///
    /// # Errors
    /// - [`Error::Busy`]: wait for [`Event::Resumed`](crate::Event::Resumed);
    /// - [`Error::WindowFull`]: wait until other requests have ended;
    /// - [`Error::QueueFull`]: wait until messages were sent;
    /// - [`Error::TooLargeForPeer`], [`Error::Misuse`]: not to this peer, or not at all;
    /// - [`Error::IdsExhausted`]: not on this connection.
    pub fn request_range(&mut self, range: Range, deadlines: Deadlines, now: Instant) -> Result<RequestId, Error> {
        if check_range(&range, &self.limits).is_err() {
            return Err(Error::Misuse { what: "a range is not empty and has at most 64 MiB and 8,192 chunks" });
        }
        let answer = Answer::Range(RangeAnswer::new(&range));
        self.ask(answer, |id| Message::RangeRequest(RangeRequest { id, range }), deadlines, now)
    }

    /// Gives up a request. It stays open, and nothing but [`Event::Ended`](crate::Event::Ended) comes for it. Returns
    /// whether it was open and not cancelled before.
    pub fn cancel(&mut self, id: RequestId, now: Instant) -> bool {
        let cancelled = self.asked.cancel(id.0, &self.config, now);
        if cancelled {
            self.outbox.push(Message::Cancel { id: id.0 });
        }
        cancelled
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
