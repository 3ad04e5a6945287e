//! Our requests to the peer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::answer::Answer;
use super::event::{Deadline, Deadlines, Event, RequestId};
use super::response::Proof;
use crate::{Chunk, ChunkResponse, Config, End, Error, Have, Limits, Manifest, Object, RETRY_MAX, RETRY_MIN, Status};

/// What we have asked for and not been told the end of.
#[derive(Debug)]
pub(super) struct Asked {
    open: BTreeMap<u32, Open>,
    /// Ids are given out from 1 up, so that every id up to this one was given out, and ended if it is not open.
    last_id: u32,
    window_bytes: u64,
    /// What the open requests take of the window.
    outstanding_bytes: u64,
    /// The peer is busy.
    paused_until: Option<Instant>,
    subscribed: BTreeSet<Object>,
    /// Bytes that may come for requests that have ended.
    late_bytes_left: u64,
    /// The request whose response is coming, and what has yet to come of its data, bytes.
    receiving: Option<(u32, u64)>,
}

/// A request without END.
#[derive(Debug)]
struct Open {
    answer: Answer,
    progress: Duration,
    progress_at: Instant,
    total_at: Instant,
    /// When the END of a cancelled request is overdue. What comes before it is dropped.
    overdue_at: Option<Instant>,
}

impl Open {
    fn deadline(&self) -> (Instant, &'static str) {
        match self.overdue_at {
            Some(overdue) => (overdue, "the end of a cancelled request"),
            None => (self.progress_at.min(self.total_at), "an answer of the peer"),
        }
    }

    /// Nobody wants what comes until the END.
    fn give_up(&mut self, overdue_at: Instant) {
        self.overdue_at = Some(overdue_at);
        self.answer.give_up();
    }

    /// Something came. Returns whether anyone still wants it.
    fn progress(&mut self, now: Instant) -> bool {
        self.progress_at = now + self.progress;
        self.overdue_at.is_none()
    }
}

/// What is to be done about a request that took too long.
#[derive(Debug)]
pub(super) enum Overdue {
    Cancel(u32, Deadline),
    Fail(Error),
}

impl Asked {
    /// `window_bytes` is what may be outstanding.
    pub(super) fn new(window_bytes: u64) -> Self {
        Self {
            open: BTreeMap::new(),
            last_id: 0,
            window_bytes,
            outstanding_bytes: 0,
            paused_until: None,
            subscribed: BTreeSet::new(),
            late_bytes_left: 0,
            receiving: None,
        }
    }

    /// The id of the next request.
    ///
    /// # Errors
    /// Why it may not be made: see [`Exchange::request_range`](super::Exchange::request_range).
    pub(super) fn next_id(&self, window_bytes: u64, config: &Config, now: Instant) -> Result<u32, Error> {
        if self.paused_until.is_some_and(|until| now < until) {
            return Err(Error::Busy);
        }
        if self.open.len() >= config.requests_max || !self.has_window(window_bytes) {
            return Err(Error::WindowFull);
        }
        self.last_id.checked_add(1).ok_or(Error::IdsExhausted)
    }

    /// Remembers the request that was given [`next_id`](Self::next_id).
    pub(super) fn open(&mut self, id: u32, answer: Answer, deadlines: Deadlines, now: Instant) {
        self.last_id = id;
        self.outstanding_bytes += answer.window_bytes();
        let Deadlines { progress, total } = deadlines.clamped();
        let (progress_at, total_at) = (now + progress, now + total);
        self.open.insert(id, Open { answer, progress, progress_at, total_at, overdue_at: None });
    }

    pub(super) fn subscribe(&mut self, objects: &BTreeSet<Object>) {
        self.subscribed.extend(objects);
    }

    pub(super) fn subscriptions_with(&self, objects: &BTreeSet<Object>) -> usize {
        self.subscribed.len() + objects.difference(&self.subscribed).count()
    }

    /// Whether the request was open and not cancelled.
    pub(super) fn cancel(&mut self, id: u32, config: &Config, now: Instant) -> bool {
        match self.open.get_mut(&id) {
            Some(open) if open.overdue_at.is_none() => {
                open.give_up(now + config.end_within);
                true
            }
            _ => false,
        }
    }

    pub(super) fn have(&mut self, mut have: Have, now: Instant) -> Result<Option<Event>, Error> {
        if have.id == 0 {
            if self.subscribed.is_empty() {
                return Err(Error::NeverAsked { message: "HAVE", id: 0 });
            }
            have.entries.retain(|entry| self.subscribed.contains(&entry.object));
            return Ok(Some(Event::Have { id: None, entries: have.entries }));
        }
        let bytes = have.entries.iter().map(crate::HaveEntry::encoded_bytes).sum();
        let Some(open) = self.get("HAVE", have.id, bytes)? else { return Ok(None) };
        open.answer.have(have.id, &have.entries)?;
        let wanted = open.progress(now);
        Ok(wanted.then_some(Event::Have { id: Some(RequestId(have.id)), entries: have.entries }))
    }

    pub(super) fn manifest(&mut self, manifest: Manifest, now: Instant) -> Result<Option<Event>, Error> {
        let Some(open) = self.get("MANIFEST", manifest.id, 36 * manifest.leaves.len())? else { return Ok(None) };
        open.answer.manifest(manifest.id, &manifest)?;
        let wanted = open.progress(now);
        Ok(wanted.then_some(Event::Manifest { id: RequestId(manifest.id), manifest }))
    }

    pub(super) fn chunk(&mut self, chunk: Chunk, now: Instant) -> Result<Option<Event>, Error> {
        let Some(open) = self.get("CHUNK", chunk.id, chunk.record.len())? else { return Ok(None) };
        let range = open.answer.range(chunk.id)?;
        if open.overdue_at.is_some() {
            range.pass_over(&chunk)?;
            return Ok(None);
        }
        let (header, freed) = range.chunk(&chunk)?;
        open.progress(now);
        self.outstanding_bytes -= freed;
        let Chunk { id, index, record } = chunk;
        Ok(Some(Event::Chunk { id: RequestId(id), index, header, record }))
    }

    pub(super) fn end(&mut self, end: End, limits: &Limits, now: Instant) -> Result<Event, Error> {
        let End { id, status, next, retry_ms, detail } = end;
        self.check_asked("END", id)?;
        let open = self.open.remove(&id).ok_or(Error::EndedTwice { id })?;
        self.outstanding_bytes -= open.answer.window_bytes();
        self.late_bytes_left =
            limits.late_bytes_max.min(self.late_bytes_left.saturating_add(open.answer.wire_bytes_max(limits)));
        let mut retry = Duration::from_millis(retry_ms.into()).min(RETRY_MAX);
        if status == Status::Busy {
            retry = retry.max(RETRY_MIN);
            self.paused_until = self.paused_until.max(Some(now + retry));
        }
        Ok(Event::Ended { id: RequestId(id), status, next, retry, detail })
    }

    /// A response of a legacy dialect, or its front.
    pub(super) fn response(
        &mut self,
        head: ChunkResponse,
        limits: &Limits,
        events: &mut VecDeque<Event>,
        now: Instant,
    ) -> Result<(), Error> {
        let id = head.id;
        self.check_not_receiving()?;
        self.check_asked("CHUNK_RESPONSE", id)?;
        let open = self.open.get_mut(&id).ok_or(Error::EndedTwice { id })?;
        let response = open.answer.response(id)?;
        if open.overdue_at.is_none() {
            response.begin(&head, limits)?;
        }
        self.receiving = Some((id, head.length.into()));
        self.data(head.data, limits, events, now)
    }

    /// The next data of the response that is coming.
    pub(super) fn data(
        &mut self,
        data: Bytes,
        limits: &Limits,
        events: &mut VecDeque<Event>,
        now: Instant,
    ) -> Result<(), Error> {
        let unasked = Error::NotAskedFor { message: "data behind a response", id: 0 };
        let Some((id, left)) = &mut self.receiving else { return Err(unasked) };
        *left = left.checked_sub(data.len() as u64).ok_or(unasked)?;
        let (id, is_complete) = (*id, *left == 0);
        // It stays open until its response has come.
        let Some(open) = self.open.get_mut(&id) else { return Ok(()) };
        let is_wanted = open.progress(now);
        let response = open.answer.response(id)?;
        if is_wanted && !data.is_empty() {
            let chunks = response.data(id, data, limits)?;
            if !chunks.is_empty() {
                events.push_back(Event::Proven { id: RequestId(id), chunks, is_whole: false });
            }
        }
        if !is_complete {
            return Ok(());
        }
        self.receiving = None;
        let (start, end) = response.asked();
        let (status, next) = if is_wanted {
            let Proof { chunks, next } = response.finish(id)?;
            if !chunks.is_empty() {
                events.push_back(Event::Proven { id: RequestId(id), chunks, is_whole: true });
            }
            if next.is_none() {
                events.push_back(Event::Unproven { id: RequestId(id) });
            }
            let next = next.unwrap_or(start);
            (if next >= end { Status::Done } else { Status::NotFound }, next)
        } else {
            (Status::Cancelled, start)
        };
        events.push_back(self.close(id, status, next, Bytes::new())?);
        Ok(())
    }

    /// An answer of a legacy dialect without data.
    pub(super) fn refusal(&mut self, id: u32, status: Status, detail: Bytes) -> Result<Event, Error> {
        self.check_not_receiving()?;
        self.check_asked("CHUNK_NOT_FOUND or CHUNK_ERROR", id)?;
        let open = self.open.get_mut(&id).ok_or(Error::EndedTwice { id })?;
        let (start, _) = open.answer.response(id)?.asked();
        self.close(id, status, start, detail)
    }

    fn close(&mut self, id: u32, status: Status, next: u64, detail: Bytes) -> Result<Event, Error> {
        let open = self.open.remove(&id).ok_or(Error::EndedTwice { id })?;
        self.outstanding_bytes -= open.answer.window_bytes();
        Ok(Event::Ended { id: RequestId(id), status, next, retry: Duration::ZERO, detail })
    }

    /// Between a response and the end of its data nothing else comes.
    fn check_not_receiving(&self) -> Result<(), Error> {
        match self.receiving {
            Some((id, _)) => Err(Error::NotAskedFor { message: "a message inside of the data", id }),
            None => Ok(()),
        }
    }

    /// Whether a request is open that is answered with a response.
    pub(super) fn awaits_response(&self) -> bool {
        self.open.values().any(|open| matches!(open.answer, Answer::Response { .. }))
    }

    /// Whether a pause was ended.
    pub(super) fn resume(&mut self) -> bool {
        self.paused_until.take().is_some()
    }

    /// What is overdue, and whether a pause is over.
    pub(super) fn handle_timeout(&mut self, config: &Config, now: Instant) -> (Vec<Overdue>, bool) {
        let mut overdue = Vec::new();
        for (&id, open) in &mut self.open {
            match open.overdue_at {
                Some(overdue_at) if overdue_at <= now => overdue.push(Overdue::Fail(Error::EndOverdue { id })),
                Some(_) => {}
                None if open.progress_at.min(open.total_at) <= now => {
                    let deadline = if open.total_at <= now { Deadline::Total } else { Deadline::Progress };
                    open.give_up(now + config.end_within);
                    overdue.push(Overdue::Cancel(id, deadline));
                }
                None => {}
            }
        }
        let resumed = self.paused_until.is_some_and(|until| until <= now) && self.resume();
        (overdue, resumed)
    }

    pub(super) fn deadline(&self) -> Option<(Instant, &'static str)> {
        let pause = self.paused_until.map(|until| (until, "a busy peer"));
        self.open.values().map(Open::deadline).chain(pause).min_by_key(|(at, _)| *at)
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused_until.is_some()
    }

    pub(super) fn has_window(&self, bytes: u64) -> bool {
        self.outstanding_bytes.saturating_add(bytes) <= self.window_bytes
    }

    pub(super) fn window_bytes(&self) -> u64 {
        self.window_bytes
    }

    pub(super) fn outstanding_bytes(&self) -> u64 {
        self.outstanding_bytes
    }

    pub(super) fn count(&self) -> usize {
        self.open.len()
    }

    /// The request that an answer is for; `None` if it has ended, as lanes may overtake each other.
    fn get(&mut self, message: &'static str, id: u32, bytes: usize) -> Result<Option<&mut Open>, Error> {
        self.check_asked(message, id)?;
        let open = self.open.get_mut(&id);
        if open.is_none() {
            self.late_bytes_left = self.late_bytes_left.checked_sub(bytes as u64).ok_or(Error::LateData)?;
        }
        Ok(open)
    }

    fn check_asked(&self, message: &'static str, id: u32) -> Result<(), Error> {
        if id == 0 || id > self.last_id { Err(Error::NeverAsked { message, id }) } else { Ok(()) }
    }
}
