//! What is asked of one peer and what comes of it, in any dialect. Pure: no I/O, no clock.

mod by_hash;
mod proving;
mod xorbs;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bep_xet::{Deadlines, Event, Exchange, ProvenChunk, RequestId, Status};
use bytes::Bytes;
use xet_cas::proof::Outline;
use xet_cas::{ByteRange, FileHash, Leaf, XorbHash};

pub(super) use self::by_hash::ByHash;
pub(super) use self::proving::Proving;
pub(super) use self::xorbs::Xorbs;
use super::PeerError;
use super::frames::Frame;
use super::session::{Protocol, Session};
use crate::ledger::Task;
use crate::schedule::{Ability, Outcome, RequestNumber};

/// Serialized bytes that are handed on at once: some ten chunks, so that handing over costs little.
pub(super) const BATCH_BYTES: usize = 512 * 1024;

/// Number of a file within a pull.
type FileNumber = usize;

/// Asks one peer for files, in the way of its dialect.
#[derive(Debug)]
pub(super) struct Leeching<A> {
    session: Session,
    /// For a request to make progress.
    deadline: Duration,
    asking: A,
    /// Pauses since the last chunk that was good.
    late: u32,
}

/// How a peer is asked in one dialect.
pub(super) trait Asking: Debug + Default {
    /// What the peer can be asked for.
    const ABILITY: Ability;
    /// Pauses with late answers after which a peer is left. What it was asked for was given to others each time.
    const LATE_MAX: u32;
    /// A request may take this many times its progress deadline in all.
    const TOTAL_DEADLINES: u32;

    /// Finds out whether the peer has these files. False if it has to be tried again later.
    fn query(
        &mut self,
        files: Vec<WantedFile>,
        exchange: &mut Exchange,
        deadlines: Deadlines,
        now: Instant,
    ) -> Result<bool, PeerError>;
    /// Forgets a file.
    fn forget(&mut self, file: FileNumber);
    /// Asks for something of a file. False if that cannot be done at this moment.
    fn request(
        &mut self,
        file: FileNumber,
        request: RequestNumber,
        task: Task,
        exchange: &mut Exchange,
        deadlines: Deadlines,
        now: Instant,
    ) -> Result<bool, PeerError>;
    /// Nobody needs a request any more, and nothing is told of it.
    fn cancel(&mut self, request: RequestNumber, exchange: &mut Exchange, now: Instant);
    /// Takes what came of requests.
    fn handle_event(&mut self, event: Event, deadlines: Deadlines) -> Result<(), PeerError>;
    /// Asks for what had to wait until there was room.
    fn go_on(&mut self, _exchange: &mut Exchange, _deadlines: Deadlines, _now: Instant) -> Result<(), PeerError> {
        Ok(())
    }
    /// A request took too long; nothing comes of it any more.
    fn give_up(&mut self, id: RequestId);
    /// The next thing for the owner to know.
    fn poll_event(&mut self) -> Option<LeechEvent>;
}

/// A file that a peer may be asked for.
#[derive(Debug, Clone)]
pub(super) struct WantedFile {
    pub(super) number: FileNumber,
    pub(super) hash: FileHash,
    pub(super) bytes: u64,
    pub(super) outline: Outline,
}

/// What comes of a session.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LeechEvent {
    /// It is known for the first time whether the peer has the file, or it had its time to say so.
    Decided { file: FileNumber, holds: bool },
    /// The peer turns out not to give the file that it has.
    Left { file: FileNumber },
    /// The chunk list of these bytes of the file, proved.
    Listed { file: FileNumber, range: ByteRange, list: Vec<(u64, Leaf)> },
    /// Chunks, one after the other, that are not looked into yet.
    Received { file: FileNumber, request: RequestNumber, records: Vec<ReceivedRecord> },
    /// Chunks of a xorb, which are proved to be those. Where they belong is for the plan to say.
    OfXorb { request: RequestNumber, xorb: XorbHash, starts: ChunkStarts, chunks: Vec<ProvenChunk> },
    /// All of what was asked for has come, or what was told of it is all that will.
    Ended { request: RequestNumber, outcome: Outcome },
}

/// Where each chunk of a xorb begins in its uncompressed bytes, and where the last one ends.
pub(super) type ChunkStarts = Arc<[u64]>;

/// A record that must hold the chunk that was proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReceivedRecord {
    /// Where the chunk begins in the file.
    pub(super) offset: u64,
    pub(super) leaf: Leaf,
    pub(super) record: Bytes,
}

impl<A: Asking> Leeching<A> {
    /// `deadline`: for a request to make progress.
    pub(super) fn new(session: Session, deadline: Duration) -> Self {
        Self { session, deadline, asking: A::default(), late: 0 }
    }

    /// Finds out whether the peer has these files. False if it has to be tried again later.
    pub(super) fn query(&mut self, files: Vec<WantedFile>, now: Instant) -> Result<bool, PeerError> {
        let deadlines = self.deadlines();
        self.asking.query(files, &mut self.session.exchange, deadlines, now)
    }

    /// Forgets a file: nothing of it is told any more.
    pub(super) fn forget(&mut self, file: FileNumber) {
        self.asking.forget(file);
    }

    /// Asks for something of a file. False if that cannot be done at this moment.
    pub(super) fn request(
        &mut self,
        file: FileNumber,
        request: RequestNumber,
        task: Task,
        now: Instant,
    ) -> Result<bool, PeerError> {
        let deadlines = self.deadlines();
        self.asking.request(file, request, task, &mut self.session.exchange, deadlines, now)
    }

    /// Nobody needs a request any more: nothing is told of it.
    pub(super) fn cancel(&mut self, request: RequestNumber, now: Instant) {
        self.asking.cancel(request, &mut self.session.exchange, now);
    }

    /// Chunks were good: the peer is not late any more.
    pub(super) fn received_well(&mut self) {
        self.late = 0;
    }

    fn deadlines(&self) -> Deadlines {
        Deadlines { progress: self.deadline, total: self.deadline * A::TOTAL_DEADLINES }
    }

    fn handle_events(&mut self, now: Instant) -> Result<(), PeerError> {
        let (mut is_late, deadlines) = (false, self.deadlines());
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::RequestTimedOut { id, .. } => {
                    // Others may take over at once; what still comes for it is dropped.
                    is_late = true;
                    self.asking.give_up(id);
                }
                Event::Failed { error } => return Err(error.into()),
                // A peer may ask, but there is nothing here to serve it from.
                Event::HaveAsked { id, .. }
                | Event::ManifestAsked { id, .. }
                | Event::RangeAsked { id, .. }
                | Event::XorbAsked { id, .. }
                | Event::ChunkAsked { id, .. } => {
                    self.session.end(id, Status::NotFound, 0)?;
                }
                event => self.asking.handle_event(event, deadlines)?,
            }
        }
        self.asking.go_on(&mut self.session.exchange, deadlines, now)?;
        // However many requests one pause made late, it was one pause.
        self.late += u32::from(is_late);
        if is_late && self.late >= A::LATE_MAX { Err(PeerError::TooSlow) } else { Ok(()) }
    }
}

impl<A: Asking> Protocol for Leeching<A> {
    type Event = LeechEvent;

    fn handle_message(&mut self, message: Frame, now: Instant) -> Result<(), PeerError> {
        self.session.handle_message(message, now)?;
        self.handle_events(now)
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), PeerError> {
        self.session.handle_timeout(now)?;
        self.handle_events(now)
    }

    fn poll_message(&mut self, now: Instant) -> Option<Frame> {
        self.session.poll_message(now)
    }

    fn poll_event(&mut self) -> Option<LeechEvent> {
        self.asking.poll_event()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.session.poll_timeout()
    }
}

/// What the exchange cannot take at the moment is asked later; anything else is the end.
fn unless_full(asked: Result<RequestId, bep_xet::Error>) -> Result<Option<RequestId>, PeerError> {
    match asked {
        Ok(id) => Ok(Some(id)),
        Err(bep_xet::Error::Busy | bep_xet::Error::WindowFull | bep_xet::Error::QueueFull) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
