//! Serving one peer: what it may have, chunk by chunk, out of the finished files.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bep_xet::{
    Event, HaveEntry, HaveState, ManifestForm, ManifestQuery, Object, ObjectKind, PeerRequestId, Proof, ProofLevel,
    Range, Sibling, Status, Unit,
};
use bytes::Bytes;
use tokio::task::{JoinError, JoinSet};
use xet_cas::proof::{Node, RunProof};
use xet_cas::xorb::RecordHeader;
use xet_cas::{ByteRange, ChunkRange, FileHash};

use super::link::now;
use super::{Link, PeerError, SeedCounters};
use crate::library::{Library, OpenFile};

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
    lists: VecDeque<ListSending>,
    work: JoinSet<Done>,
    /// A worker reads chunks for the first sending.
    is_reading: bool,
}

/// A list that was cut and not sent yet.
struct ListSending {
    id: PeerRequestId,
    total: u32,
    first: u32,
    proof: RunProof,
}

/// A request for chunks that is being answered.
struct Sending {
    id: PeerRequestId,
    file: Arc<OpenFile>,
    /// Chunks that are not sent yet.
    left: ChunkRange,
    /// The first of them, as far as they were read; `None` where the file has changed.
    read: VecDeque<Option<Bytes>>,
}

/// What a task found.
enum Done {
    Have { id: PeerRequestId, entries: Vec<HaveEntry> },
    Manifest { id: PeerRequestId, file: Option<Arc<OpenFile>>, proof: Option<(u32, RunProof)> },
    Range { id: PeerRequestId, file: Option<Arc<OpenFile>>, range: Range },
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
                        let has = match file_hash(&object) {
                            Some(hash) => library.find(swarm, hash, to).await.is_some(),
                            None => false,
                        };
                        entries.push(HaveEntry { object, state: if has { HaveState::All } else { HaveState::None } });
                    }
                    Done::Have { id, entries }
                });
            }
            Event::ManifestAsked { id, query } => {
                self.work.spawn(async move {
                    let file = match file_hash(&query.object) {
                        Some(hash) if query.form == ManifestForm::Run => library.find(swarm, hash, to).await,
                        _ => None,
                    };
                    let proof = match &file {
                        Some(file) => prove(file.clone(), query).await,
                        None => None,
                    };
                    Done::Manifest { id, file, proof }
                });
            }
            Event::RangeAsked { id, range } => {
                self.work.spawn(async move {
                    let file = match file_hash(&range.object) {
                        Some(hash) => library.find(swarm, hash, to).await,
                        None => None,
                    };
                    Done::Range { id, file, range }
                });
            }
            Event::Stopped { id, .. } => {
                self.sendings.retain(|sending| sending.id != id);
                self.lists.retain(|list| list.id != id);
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
            Done::Manifest { id, file: Some(file), proof: Some((first, proof)) } => {
                let total = file.chunk_count();
                let wire = wire_proof(&proof);
                let sent = self
                    .answer(id, |exchange| exchange.send_manifest(id, total, first, proof.leaves, Some(wire), now()))?;
                self.end(id, if sent { Status::Done } else { Status::Busy }, 0)
            }
            Done::Manifest { id, file, .. } => {
                self.end(id, if file.is_some() { Status::TooLarge } else { Status::NotFound }, 0)
            }
            // Lists are asked for by themselves.
            Done::Range { id, range, .. } if range.with_manifest => self.end(id, Status::Unsupported, range.start),
            Done::Range { id, file: Some(file), range } => match chunks_of(&file, &range) {
                Some(left) => {
                    self.sendings.push_back(Sending { id, file, left, read: VecDeque::new() });
                    Ok(())
                }
                None => self.end(id, Status::NotFound, range.start),
            },
            Done::Range { id, file: None, range } => self.end(id, Status::NotFound, range.start),
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
            && let Some(ListSending { id, total, first, proof }) = self.lists.pop_front()
        {
            let wire = wire_proof(&proof);
            if self.answer(id, |exchange| exchange.send_manifest(id, total, first, proof.leaves, Some(wire), now()))? {
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
                return self.end(sending.id, Status::NotFound, sending.left.start.into());
            };
            let length = (chunk.len() - RecordHeader::BYTES) as u64;
            let (id, index) = (sending.id, sending.left.start);
            if !self.answer(id, |exchange| exchange.send_chunk(id, index, chunk, now()))? {
                return Ok(());
            }
            self.counters.sent(length);
            sending.left.start += 1;
        }
        if sending.left.count() == 0 {
            return self.end(sending.id, Status::Done, sending.left.end.into());
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

fn file_hash(object: &Object) -> Option<FileHash> {
    (object.kind == ObjectKind::File).then(|| FileHash::from_bytes(object.hash))
}

/// Cuts a proof on a worker thread: the first one reads the whole chunk list.
async fn prove(file: Arc<OpenFile>, query: ManifestQuery) -> Option<(u32, RunProof)> {
    let cut = move || {
        let chunks = file.tree.chunks_in(ByteRange { start: query.start, end: query.end })?;
        if chunks.count() as usize > LIST_LEAVES_MAX {
            return None;
        }
        Some((chunks.start, file.tree.run_proof(chunks).ok()?))
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

/// The chunks that a request names, as far as they exist.
fn chunks_of(file: &OpenFile, range: &Range) -> Option<ChunkRange> {
    match range.unit {
        Unit::FileBytes => file.tree.chunks_in(ByteRange { start: range.start, end: range.end.min(file.bytes()) }),
        Unit::Chunks => {
            let start = u32::try_from(range.start).ok()?;
            let end = range.end.min(file.chunk_count().into()) as u32;
            (start < end).then_some(ChunkRange { start, end })
        }
        _ => None,
    }
}
