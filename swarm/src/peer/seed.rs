//! Serving one peer: what it may have, chunk by chunk, out of the finished files.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bep_xet::{
    Event, HaveEntry, HaveState, ManifestForm, ManifestQuery, ObjectKind, PeerRequestId, Proof, ProofLevel, Range,
    Sibling, Status, Unit,
};
use bytes::Bytes;
use tokio::task::{JoinError, JoinSet};
use xet_cas::proof::{Node, RunProof};
use xet_cas::xorb::RecordHeader;
use xet_cas::{ByteRange, ChunkRange, Leaf};

use super::link::now;
use super::{Link, PeerError, SeedCounters};
use crate::library::{Held, Library, OpenFile};

/// Questions of one peer that are being looked into; it is not read while there are more.
const WORK_MAX: usize = 32;
/// Chunks of a list at most: what the protocol takes.
const LIST_LEAVES_MAX: usize = 8_192;
/// Chunks read from disk in one go: half a megabyte at most, for each peer that does not read.
const CHUNKS_READ_MAX: u32 = 4;

/// Serves a peer until it leaves.
pub(super) async fn seed(
    link: Link,
    peer: SocketAddr,
    library: Arc<Library>,
    counters: SeedCounters,
) -> Result<(), PeerError> {
    let session = Session {
        link,
        peer,
        library,
        counters,
        sendings: VecDeque::new(),
        lists: VecDeque::new(),
        work: JoinSet::new(),
        is_reading: false,
    };
    session.run().await
}

struct Session {
    link: Link,
    peer: SocketAddr,
    library: Arc<Library>,
    counters: SeedCounters,
    /// Requests for chunks that are being answered, in turn.
    sendings: VecDeque<Sending>,
    /// Lists that wait for room.
    lists: VecDeque<(PeerRequestId, List)>,
    work: JoinSet<Done>,
    /// A worker reads chunks for the first sending.
    is_reading: bool,
}

/// A list that was cut and not sent yet.
struct List {
    /// Chunks of the whole object.
    total: u32,
    /// Index in it of the first one here.
    first: u32,
    leaves: Vec<Leaf>,
    proof: Option<Proof>,
}

/// A request for chunks that is being answered.
struct Sending {
    id: PeerRequestId,
    file: Arc<OpenFile>,
    /// Where the object that was named begins in the file.
    first: u32,
    /// Chunks of the file that are not sent yet.
    left: ChunkRange,
    /// The first of them, as far as they were read; `None` where the file has changed.
    read: VecDeque<Option<Bytes>>,
}

/// What a task found.
enum Done {
    Have { id: PeerRequestId, entries: Vec<HaveEntry> },
    Manifest { id: PeerRequestId, is_held: bool, list: Option<List> },
    Range { id: PeerRequestId, held: Option<Held>, range: Range },
    Read { sending: Sending },
}

impl Session {
    async fn run(mut self) -> Result<(), PeerError> {
        loop {
            while let Some(event) = self.link.exchange.poll_event() {
                self.handle(event)?;
            }
            self.send_more()?;
            tokio::select! {
                turn = self.link.turn(), if self.work.len() < WORK_MAX => turn?,
                Some(done) = self.work.join_next() => self.finish(done)?,
            }
        }
    }

    fn handle(&mut self, event: Event) -> Result<(), PeerError> {
        let (library, swarm, to) = (self.library.clone(), self.link.swarm, self.peer.ip());
        match event {
            Event::HaveAsked { id, objects, .. } => {
                self.work.spawn(async move {
                    let mut entries = Vec::with_capacity(objects.len());
                    for object in objects {
                        let has = library.find(swarm, object, to).await.is_some();
                        entries.push(HaveEntry { object, state: if has { HaveState::All } else { HaveState::None } });
                    }
                    Done::Have { id, entries }
                });
            }
            Event::ManifestAsked { id, query } => {
                self.work.spawn(async move {
                    let held = library.find(swarm, query.object, to).await;
                    let list = match &held {
                        Some(held) => cut(held.clone(), query).await,
                        None => None,
                    };
                    Done::Manifest { id, is_held: held.is_some(), list }
                });
            }
            Event::RangeAsked { id, range } => {
                self.work.spawn(async move {
                    let held = library.find(swarm, range.object, to).await;
                    Done::Range { id, held, range }
                });
            }
            Event::Stopped { id, .. } => {
                self.sendings.retain(|sending| sending.id != id);
                self.lists.retain(|(list, _)| *list != id);
            }
            Event::Failed { error } => return Err(error.into()),
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self, done: Result<Done, JoinError>) -> Result<(), PeerError> {
        let done = done.map_err(|error| PeerError::Ours(crate::Error::internal(error)))?;
        match done {
            Done::Have { id, entries } => {
                self.answer(id, |exchange| exchange.send_have(id, entries, now()))?;
                self.end(id, Status::Done, 0)
            }
            Done::Manifest { id, list: Some(list), .. } => {
                self.lists.push_back((id, list));
                Ok(())
            }
            Done::Manifest { id, is_held, .. } => {
                self.end(id, if is_held { Status::TooLarge } else { Status::NotFound }, 0)
            }
            // Lists are asked for by themselves.
            Done::Range { id, range, .. } if range.with_manifest => self.end(id, Status::Unsupported, range.start),
            Done::Range { id, held, range } => match held.and_then(|held| Some((chunks_of(&held, &range)?, held))) {
                Some((left, Held { file, chunks })) => {
                    self.sendings.push_back(Sending { id, file, first: chunks.start, left, read: VecDeque::new() });
                    Ok(())
                }
                None => self.end(id, Status::NotFound, range.start),
            },
            Done::Read { sending } => {
                self.is_reading = false;
                self.send(sending)
            }
        }
    }

    /// Goes on with the request whose turn it is, when the connection has room. Lists go first: the peer can ask
    /// for nothing before it has them.
    fn send_more(&mut self) -> Result<(), PeerError> {
        while self.link.exchange.wants_data()
            && let Some((id, List { total, first, leaves, proof })) = self.lists.pop_front()
        {
            if self.answer(id, |exchange| exchange.send_manifest(id, total, first, leaves, proof, now()))? {
                self.end(id, Status::Done, 0)?;
            }
        }
        while !self.is_reading && self.link.exchange.wants_data() {
            let Some(mut sending) = self.sendings.pop_front() else { break };
            if !sending.read.is_empty() {
                self.send(sending)?;
                continue;
            }
            self.is_reading = true;
            self.work.spawn_blocking(move || {
                let end = sending.left.end.min(sending.left.start + CHUNKS_READ_MAX);
                sending.read = (sending.left.start..end).map(|index| sending.file.read_record(index)).collect();
                Done::Read { sending }
            });
        }
        Ok(())
    }

    /// Queues what was read, as far as the connection takes it.
    fn send(&mut self, mut sending: Sending) -> Result<(), PeerError> {
        while self.link.exchange.wants_data()
            && let Some(chunk) = sending.read.pop_front()
        {
            let Some(chunk) = chunk else {
                // The file has changed underneath: nothing of it is sent any more.
                return self.end(sending.id, Status::NotFound, (sending.left.start - sending.first).into());
            };
            let length = (chunk.len() - RecordHeader::BYTES) as u64;
            let (id, index) = (sending.id, sending.left.start - sending.first);
            if !self.answer(id, |exchange| exchange.send_chunk(id, index, chunk, now()))? {
                return Ok(());
            }
            self.counters.sent(length);
            sending.left.start += 1;
        }
        if sending.left.count() == 0 {
            return self.end(sending.id, Status::Done, (sending.left.end - sending.first).into());
        }
        if sending.read.is_empty() {
            // In turn, so that a large request does not hold up the others.
            self.sendings.push_back(sending);
        } else {
            // What was read goes first: only one request at a time holds any.
            self.sendings.push_front(sending);
        }
        Ok(())
    }

    /// Sends an answer; false if the request has ended meanwhile or there is no room, in which case it was
    /// ended.
    fn answer(
        &mut self,
        id: PeerRequestId,
        send: impl FnOnce(&mut bep_xet::Exchange) -> Result<(), bep_xet::Error>,
    ) -> Result<bool, PeerError> {
        match send(&mut self.link.exchange) {
            Ok(()) => Ok(true),
            Err(bep_xet::Error::NotOpen { .. }) => Ok(false),
            Err(bep_xet::Error::QueueFull) => {
                self.end(id, Status::Busy, 0)?;
                Ok(false)
            }
            Err(bep_xet::Error::TooLargeForPeer { .. }) => {
                self.end(id, Status::TooLarge, 0)?;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn end(&mut self, id: PeerRequestId, status: Status, next: u64) -> Result<(), PeerError> {
        match self.link.exchange.end(id, status, next, Duration::ZERO) {
            Ok(()) | Err(bep_xet::Error::NotOpen { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Cuts a list on a worker thread: of a run of a file, with its proof, or of a whole xorb, which proves itself.
async fn cut(held: Held, query: ManifestQuery) -> Option<List> {
    let cut = move || {
        let tree = &held.file.tree;
        let total = held.chunks.count();
        match (query.object.kind, query.form) {
            (ObjectKind::File, ManifestForm::Run) => {
                let chunks = tree.chunks_in(ByteRange { start: query.start, end: query.end })?;
                if chunks.count() as usize > LIST_LEAVES_MAX {
                    return None;
                }
                let proof = tree.run_proof(chunks).ok()?;
                let wire = wire_proof(&proof);
                Some(List { total, first: chunks.start, leaves: proof.leaves, proof: Some(wire) })
            }
            (ObjectKind::Xorb, ManifestForm::Whole) => {
                let leaves = tree.leaves().get(held.chunks.start as usize..held.chunks.end as usize)?.to_vec();
                Some(List { total, first: 0, leaves, proof: None })
            }
            _ => None,
        }
    };
    tokio::task::spawn_blocking(cut).await.ok()?
}

fn wire_proof(proof: &RunProof) -> Proof {
    let sibling = |node: &Node| Sibling { hash: node.hash, size: node.size };
    let level = |level: &xet_cas::proof::ProofLevel| ProofLevel {
        left: level.left.iter().map(sibling).collect(),
        right: level.right.iter().map(sibling).collect(),
    };
    Proof { offset: proof.offset, levels: proof.levels.iter().map(level).collect() }
}

/// The chunks of the file that a request names, as far as they exist.
fn chunks_of(held: &Held, range: &Range) -> Option<ChunkRange> {
    let Held { file, chunks } = held;
    match range.unit {
        Unit::FileBytes => file.tree.chunks_in(ByteRange { start: range.start, end: range.end.min(file.bytes()) }),
        Unit::Chunks => {
            let start = chunks.start.checked_add(u32::try_from(range.start).ok()?)?;
            let end = chunks.start + range.end.min(chunks.count().into()) as u32;
            (start < end).then_some(ChunkRange { start, end })
        }
        _ => None,
    }
}
