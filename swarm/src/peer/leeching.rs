//! What is asked of one peer and what comes of it. Pure: no I/O, no clock.
//!
//! A file's chunk lists are proved before its chunks are asked for, so every chunk comes with the hash that
//! it must have.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bep_xet::{
    Deadlines, Event, HaveEntry, HaveState, Manifest, ManifestQuery, Object, Range, RequestId, Sibling, Status,
};
use bytes::Bytes;
use xet_cas::proof::{Node, Outline, ProofLevel, RunProof, Standing};
use xet_cas::xorb::RecordHeader;
use xet_cas::{ByteRange, FileHash, Leaf};

use super::PeerError;
use super::frames::Frame;
use super::session::{Protocol, Session};
use crate::ledger::{BLOCK_BYTES, BlockTask, Task};

/// Serialized bytes that are handed on at once: some ten chunks, so that handing over costs little.
const BATCH_BYTES: usize = 512 * 1024;
/// Lists that are asked for at once. They are cheap to ask for and long to wait for behind data.
const LISTS_MAX: usize = 4;
/// Pauses with late answers after which a peer is left. Its blocks were given to others each time.
const LATE_MAX: u32 = 2;
/// A request may take this many times its progress deadline in all.
const TOTAL_DEADLINES: u32 = 6;

/// Number of a file within a pull.
type FileNumber = usize;

/// Asks one peer for files.
#[derive(Debug)]
pub(super) struct Leeching {
    session: Session,
    /// For a request to make progress.
    deadline: Duration,
    files: BTreeMap<FileNumber, File>,
    requests: BTreeMap<RequestId, Request>,
    /// Pauses since the last chunk that was good.
    late: u32,
    events: VecDeque<LeechEvent>,
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
    /// The peer has said for the first time whether it has the file, or had its time to.
    Decided { file: FileNumber, holds: bool },
    /// The peer turns out not to give the file that it has.
    Left { file: FileNumber },
    /// The chunk list of these bytes of the file, proved.
    Listed { file: FileNumber, range: ByteRange, list: Vec<(u64, Leaf)> },
    /// Chunks, one after the other, that are not looked into yet.
    Received { file: FileNumber, records: Vec<ReceivedRecord> },
    /// The peer does not bring these bytes, or not in time: others may.
    Released { file: FileNumber, range: ByteRange },
}

/// A record that must hold the chunk that was proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReceivedRecord {
    /// Where the chunk begins in the file.
    pub(super) offset: u64,
    pub(super) leaf: Leaf,
    pub(super) record: Bytes,
}

#[derive(Debug)]
struct File {
    wanted: WantedFile,
    /// `None` until the peer has said.
    holds: Option<bool>,
}

#[derive(Debug)]
enum Request {
    Have { files: Vec<FileNumber> },
    List { file: FileNumber, range: ByteRange, is_answered: bool },
    Block { file: FileNumber, task: BlockTask, next: usize, batch: Vec<ReceivedRecord>, batch_bytes: usize },
}

impl Leeching {
    /// `deadline`: for a request to make progress.
    pub(super) fn new(session: Session, deadline: Duration) -> Self {
        Self { session, deadline, files: BTreeMap::new(), requests: BTreeMap::new(), late: 0, events: VecDeque::new() }
    }

    /// Asks whether the peer has these files. False if it has to be tried again later.
    pub(super) fn query(&mut self, files: Vec<WantedFile>, now: Instant) -> Result<bool, PeerError> {
        let objects: Vec<_> = files.iter().map(|wanted| Object::file(wanted.hash)).collect();
        let asked = self.session.exchange.query_have(objects, false, self.deadlines(), now);
        let Some(id) = unless_full(asked)? else { return Ok(false) };
        self.requests.insert(id, Request::Have { files: files.iter().map(|wanted| wanted.number).collect() });
        self.files.extend(files.into_iter().map(|wanted| (wanted.number, File { wanted, holds: None })));
        Ok(true)
    }

    /// Forgets a file: nothing of it is told any more.
    pub(super) fn forget(&mut self, file: FileNumber) {
        self.files.remove(&file);
    }

    /// Whether the peer has a file and gives it.
    pub(super) fn holds(&self, file: FileNumber) -> bool {
        self.files.get(&file).is_some_and(|file| file.holds == Some(true))
    }

    /// Whether the peer may be asked for more at this moment.
    pub(super) fn has_room(&self) -> bool {
        let lists = self.requests.values().filter(|request| matches!(request, Request::List { .. })).count();
        self.session.exchange.can_request(BLOCK_BYTES) && lists < LISTS_MAX
    }

    /// Asks for a part of a file. False if it has to be tried again later.
    pub(super) fn request(&mut self, file: FileNumber, task: Task, now: Instant) -> Result<bool, PeerError> {
        let Some(File { wanted, .. }) = self.files.get(&file) else { return Ok(false) };
        let (object, deadlines) = (Object::file(wanted.hash), self.deadlines());
        let (asked, request) = match task {
            Task::List(range) => {
                // A little more, where the range alone would not show at which level of the tree it is.
                let settling = wanted.outline.settling(range);
                let query = ManifestQuery::run(object, settling.start, settling.end);
                let asked = self.session.exchange.request_manifest(query, deadlines, now);
                (asked, Request::List { file, range, is_answered: false })
            }
            Task::Block(task) => {
                let asked = Range::file_bytes(object, task.range.start, task.range.end);
                let asked = self.session.exchange.request_range(asked, deadlines, now);
                (asked, Request::Block { file, task, next: 0, batch: Vec::new(), batch_bytes: 0 })
            }
        };
        let id = unless_full(asked)?;
        Ok(id.map(|id| self.requests.insert(id, request)).is_some())
    }

    /// Chunks were good: the peer is not late any more.
    pub(super) fn received_well(&mut self) {
        self.late = 0;
    }

    fn deadlines(&self) -> Deadlines {
        Deadlines { progress: self.deadline, total: self.deadline * TOTAL_DEADLINES }
    }

    fn handle_events(&mut self) -> Result<(), PeerError> {
        let mut is_late = false;
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Have { id: Some(id), entries } => self.decide(id, &entries),
                Event::Manifest { id, manifest } => self.take_list(id, manifest)?,
                Event::Chunk { id, header, record, .. } => self.take_chunk(id, header, record)?,
                Event::Ended { id, status, retry, .. } => {
                    // A peer that is busy for longer than others may be late is of no use for this file.
                    let is_useful = status == Status::Done || (status == Status::Busy && retry <= self.deadline);
                    self.end(id, status, is_useful)?;
                }
                Event::RequestTimedOut { id, .. } => {
                    // Others may take over at once; what still comes for it is dropped.
                    is_late = true;
                    if let Some(request) = self.requests.remove(&id) {
                        self.release(request);
                    }
                }
                Event::Failed { error } => return Err(error.into()),
                // A peer may ask, but there is nothing here to serve it from.
                Event::HaveAsked { id, .. } | Event::ManifestAsked { id, .. } | Event::RangeAsked { id, .. } => {
                    self.session.end(id, Status::NotFound, 0)?;
                }
                _ => {}
            }
        }
        // However many requests one pause made late, it was one pause.
        self.late += u32::from(is_late);
        if is_late && self.late >= LATE_MAX { Err(PeerError::TooSlow) } else { Ok(()) }
    }

    fn decide(&mut self, id: RequestId, entries: &[HaveEntry]) {
        let Some(Request::Have { files }) = self.requests.get(&id) else { return };
        for number in files {
            let Some(file) = self.files.get_mut(number).filter(|file| file.holds.is_none()) else { continue };
            let object = Object::file(file.wanted.hash);
            if entries.iter().any(|entry| entry.object == object && entry.state == HaveState::All) {
                file.holds = Some(true);
                self.events.push_back(LeechEvent::Decided { file: *number, holds: true });
            }
        }
    }

    /// Checks a list against the file's hash.
    fn take_list(&mut self, id: RequestId, manifest: Manifest) -> Result<(), PeerError> {
        let Some(Request::List { file, range, is_answered }) = self.requests.get_mut(&id) else { return Ok(()) };
        *is_answered = true;
        let (file, range) = (*file, *range);
        let Some(File { wanted, .. }) = self.files.get(&file) else { return Ok(()) };
        let lied = |what: String| PeerError::Lied(format!("its list of {} is false: {what}", wanted.hash));
        let run = run_proof(manifest).ok_or_else(|| lied("it has no proof".into()))?;
        let candidate = run.verify(wanted.hash, wanted.bytes).map_err(|error| lied(error.to_string()))?;
        let Standing::Verified(run) = candidate.under(&wanted.outline).map_err(|error| lied(error.to_string()))? else {
            // It may be right or wrong, and nobody can be blamed for it.
            self.leave(file);
            return Ok(());
        };
        let listed = (0..).map_while(|at| run.get(at)).map(|(start, leaf)| (start, *leaf));
        let list: Vec<_> = listed.filter(|(start, _)| (range.start..range.end).contains(start)).collect();
        let end = list.last().map_or(range.start, |(start, leaf)| start + u64::from(leaf.length));
        if list.first().is_none_or(|(start, _)| *start != range.start) || end != range.end {
            return Err(lied("it is of other bytes than were asked for".into()));
        }
        self.events.push_back(LeechEvent::Listed { file, range, list });
        Ok(())
    }

    /// Collects a chunk for the next batch.
    fn take_chunk(&mut self, id: RequestId, header: RecordHeader, record: Bytes) -> Result<(), PeerError> {
        let Some(Request::Block { file, task, next, batch, batch_bytes }) = self.requests.get_mut(&id) else {
            return Ok(());
        };
        let Some((offset, leaf)) = task.chunks().get(*next).copied() else {
            return Err(PeerError::Lied("it sends more chunks than were asked for".into()));
        };
        if header.raw_length != leaf.length {
            let reason = format!("a chunk has {} bytes, proved are {}", header.raw_length, leaf.length);
            return Err(PeerError::Lied(reason));
        }
        *next += 1;
        *batch_bytes += record.len();
        batch.push(ReceivedRecord { offset, leaf, record });
        if *batch_bytes >= BATCH_BYTES || *next == task.chunks().len() {
            *batch_bytes = 0;
            let (file, records) = (*file, std::mem::take(batch));
            self.events.push_back(LeechEvent::Received { file, records });
        }
        Ok(())
    }

    fn end(&mut self, id: RequestId, status: Status, is_useful: bool) -> Result<(), PeerError> {
        let Some(request) = self.requests.remove(&id) else { return Ok(()) };
        match request {
            Request::List { file, is_answered, .. } => {
                if !is_useful || (!is_answered && status == Status::Done) {
                    self.leave(file);
                }
                self.release(request);
            }
            Request::Block { file, ref task, next, .. } => {
                if !is_useful {
                    self.leave(file);
                }
                let is_short = next < task.chunks().len();
                // A block that arrived whole stays claimed: its last batch may not be written yet.
                if is_short {
                    self.release(request);
                }
                if is_short && status == Status::Done {
                    // It claims to have everything and to have sent all of it.
                    return Err(PeerError::Lied("it ends an answer before its last chunk".into()));
                }
            }
            Request::Have { .. } => self.release(request),
        }
        Ok(())
    }

    /// Gives up on what was asked. What arrived is handed on.
    fn release(&mut self, request: Request) {
        match request {
            Request::Have { files } => {
                for number in files {
                    if let Some(file) = self.files.get_mut(&number).filter(|file| file.holds.is_none()) {
                        file.holds = Some(false);
                        self.events.push_back(LeechEvent::Decided { file: number, holds: false });
                    }
                }
            }
            Request::List { file, range, .. } => self.events.push_back(LeechEvent::Released { file, range }),
            Request::Block { file, task, batch, .. } => {
                if !batch.is_empty() {
                    self.events.push_back(LeechEvent::Received { file, records: batch });
                }
                self.events.push_back(LeechEvent::Released { file, range: task.range });
            }
        }
    }

    /// Asks the peer no more for a file that it turns out not to give.
    fn leave(&mut self, number: FileNumber) {
        if let Some(file) = self.files.get_mut(&number).filter(|file| file.holds == Some(true)) {
            file.holds = Some(false);
            self.events.push_back(LeechEvent::Left { file: number });
        }
    }
}

impl Protocol for Leeching {
    type Event = LeechEvent;

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

    fn poll_event(&mut self) -> Option<LeechEvent> {
        self.events.pop_front()
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

fn run_proof(manifest: Manifest) -> Option<RunProof> {
    let node = |sibling: &Sibling| Node { hash: sibling.hash, size: sibling.size };
    let proof = manifest.proof?;
    let level = |level: &bep_xet::ProofLevel| ProofLevel {
        left: level.left.iter().map(node).collect(),
        right: level.right.iter().map(node).collect(),
    };
    let levels = proof.levels.iter().map(level).collect();
    Some(RunProof { first_leaf: manifest.first, leaves: manifest.leaves, offset: proof.offset, levels })
}
