//! What is answered to one peer, and in which turn. Pure: no I/O, no clock. What has to be looked up is given to the
//! owner as a job, whose finding comes back; chunks are read when the owner says that it is this peer's turn.

mod responding;

use std::collections::VecDeque;
use std::time::Instant;

use bep_xet::{
    Event, Exchange, HaveEntry, HaveState, ManifestQuery, Object, PeerRequestId, Proof, Range, Schemes, Status,
};
use bytes::Bytes;
use xet_cas::xorb::RecordHeader;
use xet_cas::{ChunkRange, Leaf};

use responding::Responding;
pub(super) use responding::Whole;

use super::PeerError;
use super::frames::Frame;
use super::session::{Protocol, Session};

/// Jobs of one peer that are open; it is not listened to while there are more.
const JOBS_MAX: usize = 32;
/// Serves one peer. `F` is what chunks of a file are read from.
#[derive(Debug)]
pub(super) struct Seeding<F> {
    session: Session,
    /// Requests for chunks that are being answered, in turn: those that a file waits for, and the others.
    urgent: VecDeque<Sending<F>>,
    patient: VecDeque<Sending<F>>,
    /// The one of which something was read and is not sent yet: it is sent before more is read.
    unsent: Option<Sending<F>>,
    /// Lists that wait for room.
    lists: VecDeque<(PeerRequestId, List)>,
    jobs: VecDeque<Job>,
    /// Jobs whose findings have not come back.
    open_jobs: usize,
    /// The request whose chunks are being read.
    reading: Option<Sending<F>>,
    /// What is answered in a legacy dialect.
    responding: Responding<F>,
    sent_bytes: u64,
}

/// Something to find out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Job {
    /// Which of these there are for the peer.
    Have { id: PeerRequestId, objects: Vec<Object> },
    /// A list.
    Manifest { id: PeerRequestId, query: ManifestQuery },
    /// Where the chunks of a range are.
    Range { id: PeerRequestId, range: Range },
    /// Where all of a xorb or a chunk is, in a legacy dialect.
    Whole { id: PeerRequestId, object: Object },
}

/// Chunks to read, as many from the first as one batch takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Batch<F> {
    pub(super) file: F,
    /// At least one.
    pub(super) chunks: ChunkRange,
    /// Schemes that their records may have.
    pub(super) accept: Schemes,
}

/// What was found.
#[derive(Debug)]
pub(super) enum Found<F> {
    Have {
        id: PeerRequestId,
        held: Vec<(Object, bool)>,
    },
    Manifest {
        id: PeerRequestId,
        list: Result<List, NoList>,
    },
    /// `None` if there is nothing of it for the peer.
    Range {
        id: PeerRequestId,
        run: Option<Run<F>>,
        range: Range,
    },
    /// `None` if there is nothing of it for the peer.
    Whole {
        id: PeerRequestId,
        whole: Option<Whole<F>>,
    },
    /// The first chunks of the batch, in order, at least one; `None` where the file has changed.
    Read {
        records: Vec<Option<Bytes>>,
    },
}

/// A list that was cut and not sent yet.
#[derive(Debug)]
pub(super) struct List {
    /// Chunks of the whole object.
    pub(super) total: u32,
    /// Index in it of the first one here.
    pub(super) first: u32,
    pub(super) leaves: Vec<Leaf>,
    pub(super) proof: Option<Proof>,
}

/// Why there is no list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoList {
    /// There is nothing of it for the peer.
    NotFound,
    /// Not in one message.
    TooLarge,
}

/// Chunks of a file.
#[derive(Debug)]
pub(super) struct Run<F> {
    pub(super) file: F,
    /// Where the object that was named begins in the file.
    pub(super) first: u32,
    /// Chunks of the file.
    pub(super) chunks: ChunkRange,
}

/// A request for chunks that is being answered.
#[derive(Debug)]
struct Sending<F> {
    id: PeerRequestId,
    is_urgent: bool,
    accept: Schemes,
    /// What is not sent yet.
    left: Run<F>,
    /// The first of it, as far as it was read.
    read: VecDeque<Option<Bytes>>,
}

impl<F: Clone> Seeding<F> {
    pub(super) fn new(session: Session) -> Self {
        Self {
            session,
            urgent: VecDeque::new(),
            patient: VecDeque::new(),
            unsent: None,
            lists: VecDeque::new(),
            jobs: VecDeque::new(),
            open_jobs: 0,
            reading: None,
            responding: Responding::new(),
            sent_bytes: 0,
        }
    }

    /// Whether the peer may be listened to.
    pub(super) fn has_room(&self) -> bool {
        self.open_jobs < JOBS_MAX
    }

    /// Bytes of chunks that were sent since this was last asked.
    pub(super) fn take_sent_bytes(&mut self) -> u64 {
        std::mem::take(&mut self.sent_bytes)
    }

    /// Takes what a job has found.
    pub(super) fn handle_found(&mut self, found: Found<F>, now: Instant) -> Result<(), PeerError> {
        self.open_jobs -= 1;
        match found {
            Found::Have { id, held } => {
                let state = |has| if has { HaveState::All } else { HaveState::None };
                let entries = held.into_iter().map(|(object, has)| HaveEntry { object, state: state(has) }).collect();
                self.answer(id, |exchange| exchange.send_have(id, entries, now))?;
                self.session.end(id, Status::Done, 0)?;
            }
            Found::Manifest { id, list: Ok(list) } => self.lists.push_back((id, list)),
            Found::Manifest { id, list: Err(NoList::NotFound) } => self.session.end(id, Status::NotFound, 0)?,
            Found::Manifest { id, list: Err(NoList::TooLarge) } => self.session.end(id, Status::TooLarge, 0)?,
            Found::Range { id, run: Some(left), range: Range { accept, urgent: is_urgent, .. } } => {
                self.put_off(Sending { id, is_urgent, accept, left, read: VecDeque::new() });
            }
            Found::Range { id, run: None, range } => self.session.end(id, Status::NotFound, range.start)?,
            Found::Whole { id, whole } => self.responding.found(id, whole, &mut self.session.exchange)?,
            Found::Read { records } if self.responding.is_reading() => {
                self.responding.read(records, &mut self.session.exchange)?;
            }
            Found::Read { records } => {
                if let Some(mut sending) = self.reading.take() {
                    sending.read = records.into();
                    self.send(sending, now)?;
                }
            }
        }
        self.handle_events()
    }

    fn handle_events(&mut self) -> Result<(), PeerError> {
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::HaveAsked { id, objects, .. } => self.begin(Job::Have { id, objects }),
                Event::ManifestAsked { id, query } => self.begin(Job::Manifest { id, query }),
                // Lists are asked for by themselves.
                Event::RangeAsked { id, range } if range.with_manifest => {
                    self.session.end(id, Status::Unsupported, range.start)?;
                }
                Event::RangeAsked { id, range } => self.begin(Job::Range { id, range }),
                Event::XorbAsked { id, xorb, .. } => self.responding.ask(id, Object::xorb(xorb)),
                Event::ChunkAsked { id, chunk } => self.responding.ask(id, Object::chunk(chunk)),
                Event::Stopped { id, .. } => {
                    self.responding.stop(id);
                    self.urgent.retain(|sending| sending.id != id);
                    self.patient.retain(|sending| sending.id != id);
                    self.unsent.take_if(|sending| sending.id == id);
                    self.lists.retain(|(list, _)| *list != id);
                }
                Event::Failed { error } => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    fn begin(&mut self, job: Job) {
        self.open_jobs += 1;
        self.jobs.push_back(job);
    }

    /// Goes on as far as the connection has room and nothing has to be read: to be called after anything in, and
    /// when messages were taken. Lists go first: the peer can ask for nothing before it has them.
    pub(super) fn send_more(&mut self, now: Instant) -> Result<(), PeerError> {
        while self.session.exchange.wants_data()
            && let Some((id, List { total, first, leaves, proof })) = self.lists.pop_front()
        {
            if self.answer(id, |exchange| exchange.send_manifest(id, total, first, leaves, proof, now))? {
                self.session.end(id, Status::Done, 0)?;
            }
        }
        if let Some(sending) = self.unsent.take() {
            self.send(sending, now)?;
        }
        let Self { session, responding, sent_bytes, .. } = self;
        if let Some(job) = responding.go_on(&mut session.exchange, sent_bytes, now)? {
            self.begin(job);
        }
        Ok(())
    }

    /// Whether there is something to read, and room to send it.
    pub(super) fn wants_to_read(&self) -> bool {
        let is_asked = !self.urgent.is_empty() || !self.patient.is_empty() || self.responding.wants_to_read();
        is_asked && self.reading.is_none() && self.unsent.is_none() && self.session.exchange.wants_data()
    }

    /// It is this peer's turn: what to read for it, if there still is something. What is urgent goes first.
    pub(super) fn begin_reading(&mut self) -> Option<Batch<F>> {
        if !self.wants_to_read() {
            return None;
        }
        let batch = match self.urgent.pop_front().or_else(|| self.patient.pop_front()) {
            Some(sending) => {
                let (file, chunks, accept) = (sending.left.file.clone(), sending.left.chunks, sending.accept);
                self.reading = Some(sending);
                Batch { file, chunks, accept }
            }
            None => self.responding.begin_reading()?,
        };
        self.open_jobs += 1;
        Some(batch)
    }

    /// Queues what was read, as far as the connection takes it.
    fn send(&mut self, mut sending: Sending<F>, now: Instant) -> Result<(), PeerError> {
        let (id, first) = (sending.id, sending.left.first);
        while self.session.exchange.wants_data()
            && let Some(chunk) = sending.read.pop_front()
        {
            let index = sending.left.chunks.start - first;
            let Some(chunk) = chunk else {
                // The file has changed underneath: nothing of it is sent any more.
                return self.session.end(id, Status::NotFound, index.into());
            };
            let length = (chunk.len() - RecordHeader::BYTES) as u64;
            if !self.answer(id, |exchange| exchange.send_chunk(id, index, chunk, now))? {
                return Ok(());
            }
            self.sent_bytes += length;
            sending.left.chunks.start += 1;
        }
        if sending.left.chunks.count() == 0 {
            return self.session.end(id, Status::Done, (sending.left.chunks.end - first).into());
        }
        if sending.read.is_empty() {
            self.put_off(sending);
        } else {
            self.unsent = Some(sending);
        }
        Ok(())
    }

    /// Others of the same peer go first, so that a large request does not hold them up.
    fn put_off(&mut self, sending: Sending<F>) {
        let turn = if sending.is_urgent { &mut self.urgent } else { &mut self.patient };
        turn.push_back(sending);
    }

    /// Sends an answer; false if the request has ended meanwhile or there is no room, in which case it was
    /// ended.
    fn answer(
        &mut self,
        id: PeerRequestId,
        send: impl FnOnce(&mut Exchange) -> Result<(), bep_xet::Error>,
    ) -> Result<bool, PeerError> {
        let status = match send(&mut self.session.exchange) {
            Ok(()) => return Ok(true),
            Err(bep_xet::Error::NotOpen { .. }) => return Ok(false),
            Err(bep_xet::Error::QueueFull) => Status::Busy,
            Err(bep_xet::Error::TooLargeForPeer { .. }) => Status::TooLarge,
            Err(error) => return Err(error.into()),
        };
        self.session.end(id, status, 0)?;
        Ok(false)
    }
}

impl<F: Clone> Protocol for Seeding<F> {
    type Event = Job;

    fn handle_message(&mut self, message: Frame, now: Instant) -> Result<(), PeerError> {
        self.session.handle_message(message, now)?;
        self.handle_events()
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), PeerError> {
        self.session.handle_timeout(now)?;
        self.handle_events()
    }

    fn poll_message(&mut self, now: Instant) -> Option<Frame> {
        self.session.poll_message(now)
    }

    fn poll_event(&mut self) -> Option<Job> {
        self.jobs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.session.poll_timeout()
    }
}
