//! The peer's requests to us.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::answer::{Answer, RangeAnswer, Stream, check_range};
use super::event::PeerRequestId;
use crate::{Chunk, Error, HaveEntry, Limits, Manifest, ManifestForm, ManifestQuery, Object, Range, Status};

/// What the peer has asked for and we have not ended.
#[derive(Debug)]
pub(super) struct Serving {
    open: BTreeMap<u32, Served>,
    answer_within: Duration,
    /// Requests that were taken so far.
    taken: u64,
    /// What the open requests take of the window that the peer has.
    requested_bytes: u64,
    /// Objects about which the open requests ask.
    queried_objects: usize,
    subscribed: BTreeSet<Object>,
}

/// A request without END.
#[derive(Debug)]
struct Served {
    serial: u64,
    answer: Answer,
    expires_at: Instant,
}

impl Serving {
    pub(super) fn new(answer_within: Duration) -> Self {
        Self {
            open: BTreeMap::new(),
            answer_within,
            taken: 0,
            requested_bytes: 0,
            queried_objects: 0,
            subscribed: BTreeSet::new(),
        }
    }

    /// Checks the id of a request, whatever it asks for.
    ///
    /// # Errors
    /// An id that is in use, or one request too many without a read END.
    pub(super) fn check_id(&self, id: u32, unsent_ends: &BTreeSet<u32>, limits: &Limits) -> Result<(), Error> {
        if self.open.contains_key(&id) || unsent_ends.contains(&id) {
            return Err(Error::IdInUse { id });
        }
        let unread = self.open.len() + unsent_ends.len();
        if unread >= limits.unread_requests_max {
            return Err(Error::Flood { unread });
        }
        Ok(())
    }

    /// Takes a question about objects, or says how it ends.
    pub(super) fn take_have(
        &mut self,
        id: u32,
        objects: &[Object],
        subscribe: bool,
        limits: &Limits,
        now: Instant,
    ) -> Result<PeerRequestId, Status> {
        let objects: BTreeSet<Object> = objects.iter().copied().collect();
        if subscribe && self.subscribed.len() + objects.difference(&self.subscribed).count() > limits.subscriptions_max
        {
            return Err(Status::TooLarge);
        }
        let taken = self.take(id, Answer::Have(objects.clone()), limits, now)?;
        if subscribe {
            self.subscribed.extend(objects);
        }
        Ok(taken)
    }

    /// Takes a request for a list, or says how it ends.
    pub(super) fn take_manifest(
        &mut self,
        id: u32,
        query: &ManifestQuery,
        limits: &Limits,
        now: Instant,
    ) -> Result<PeerRequestId, Status> {
        match query.form {
            ManifestForm::Unknown(_) => Err(Status::Unsupported),
            ManifestForm::Run if query.start >= query.end => Err(Status::Error),
            ManifestForm::Whole | ManifestForm::Run => self.take(id, Answer::Manifest(Some(query.form)), limits, now),
        }
    }

    /// Takes a request for chunks, or says how it ends.
    pub(super) fn take_range(
        &mut self,
        id: u32,
        range: &Range,
        limits: &Limits,
        now: Instant,
    ) -> Result<PeerRequestId, Status> {
        check_range(range, limits)?;
        if range.window_bytes() > limits.requested_bytes_max {
            return Err(Status::TooLarge);
        }
        self.take(id, Answer::Range(RangeAnswer::new(range)), limits, now)
    }

    /// Takes a request of a legacy dialect, or says how it ends.
    pub(super) fn take_legacy(
        &mut self,
        id: u32,
        hash: [u8; 32],
        bytes_max: u64,
        limits: &Limits,
        now: Instant,
    ) -> Result<PeerRequestId, Status> {
        self.take(id, Answer::Stream(Stream { hash, bytes_max, left: None }), limits, now)
    }

    /// The request of a legacy dialect for which something is sent.
    pub(super) fn stream(&mut self, id: PeerRequestId, now: Instant) -> Result<&mut Stream, Error> {
        let misuse = Error::Misuse { what: "the request is not one of a legacy dialect" };
        self.get(id, now)?.answer.stream().ok_or(misuse)
    }

    /// Whether a response has begun and is not complete.
    pub(super) fn is_streaming(&self) -> bool {
        let is_begun = |served: &Served| matches!(served.answer, Answer::Stream(Stream { left: Some(_), .. }));
        self.open.values().any(is_begun)
    }

    fn take(&mut self, id: u32, answer: Answer, limits: &Limits, now: Instant) -> Result<PeerRequestId, Status> {
        let requested_bytes = self.requested_bytes + answer.window_bytes();
        let queried_objects = self.queried_objects + answer.objects();
        if self.open.len() >= limits.requests_max
            || requested_bytes > limits.requested_bytes_max
            || queried_objects > limits.queried_objects_max
        {
            return Err(Status::Busy);
        }
        self.requested_bytes = requested_bytes;
        self.queried_objects = queried_objects;
        let serial = self.taken;
        self.taken += 1;
        self.open.insert(id, Served { serial, answer, expires_at: now + self.answer_within });
        Ok(PeerRequestId { id, serial })
    }

    /// Checks that these entries may be sent.
    pub(super) fn have(&mut self, id: PeerRequestId, entries: &[HaveEntry], now: Instant) -> Result<(), Error> {
        let what = "the request does not ask about these objects, or not any more";
        let misuse = |_| Error::Misuse { what };
        self.get(id, now)?.answer.have(id.id, entries).map_err(misuse)?;
        self.queried_objects -= entries.len();
        Ok(())
    }

    /// Checks that this list may be sent.
    pub(super) fn manifest(&mut self, id: PeerRequestId, manifest: &Manifest, now: Instant) -> Result<(), Error> {
        let misuse = |_| Error::Misuse { what: "the request does not ask for such a list, or not any more" };
        self.get(id, now)?.answer.manifest(id.id, manifest).map_err(misuse)
    }

    /// Checks that this chunk may be sent.
    pub(super) fn chunk(&mut self, id: PeerRequestId, chunk: &Chunk, now: Instant) -> Result<(), Error> {
        let misuse = |_| Error::Misuse { what: "the request does not ask for such a chunk, or not at this point" };
        let range = self.get(id, now)?.answer.range(id.id).map_err(misuse)?;
        let (_, freed) = range.chunk(chunk).map_err(misuse)?;
        self.requested_bytes -= freed;
        Ok(())
    }

    /// Forgets a request.
    ///
    /// # Errors
    /// [`Error::NotOpen`]
    pub(super) fn end(&mut self, id: PeerRequestId) -> Result<Answer, Error> {
        let removed = if self.is_open(id) { self.remove(id.id) } else { None };
        removed.map(|(_, answer)| answer).ok_or(Error::NotOpen { id: id.id })
    }

    /// Forgets the request that has this number.
    pub(super) fn remove(&mut self, id: u32) -> Option<(PeerRequestId, Answer)> {
        let Served { serial, answer, .. } = self.open.remove(&id)?;
        self.requested_bytes -= answer.window_bytes();
        self.queried_objects -= answer.objects();
        Some((PeerRequestId { id, serial }, answer))
    }

    /// Forgets the requests for which nothing was sent for too long.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<(PeerRequestId, Answer)> {
        let expired = |(id, served): (&u32, &Served)| (served.expires_at <= now).then_some(*id);
        let expired: Vec<u32> = self.open.iter().filter_map(expired).collect();
        expired.into_iter().filter_map(|id| self.remove(id)).collect()
    }

    pub(super) fn deadline(&self) -> Option<(Instant, &'static str)> {
        self.open.values().map(|served| (served.expires_at, "our answer to the peer")).min_by_key(|(at, _)| *at)
    }

    pub(super) fn is_open(&self, id: PeerRequestId) -> bool {
        self.open.get(&id.id).is_some_and(|served| served.serial == id.serial)
    }

    pub(super) fn is_subscribed(&self, object: &Object) -> bool {
        self.subscribed.contains(object)
    }

    pub(super) fn requested_bytes(&self) -> u64 {
        self.requested_bytes
    }

    pub(super) fn count(&self) -> usize {
        self.open.len()
    }

    /// The request for which something is sent.
    fn get(&mut self, id: PeerRequestId, now: Instant) -> Result<&mut Served, Error> {
        let served = self.open.get_mut(&id.id).filter(|served| served.serial == id.serial);
        let served = served.ok_or(Error::NotOpen { id: id.id })?;
        served.expires_at = now + self.answer_within;
        Ok(served)
    }
}
