//! Serving one peer out of the finished files: looks up what its session asks for.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bep_xet::{
    ChunkResponse, ManifestForm, ManifestQuery, Object, ObjectKind, PeerRequestId, Proof, ProofLevel, Range, Schemes,
    Sibling, Unit,
};
use bt_wire::InfoHash;
use tokio::task::{JoinError, JoinSet};
use xet_cas::proof::{Node, RunProof};
use xet_cas::xorb::RecordHeader;
use xet_cas::{ByteRange, ChunkHash, ChunkRange, Compressor};

use super::link::now;
use super::packing::{self, Pace, Packing};
use super::seeding::{Batch, Found, Job, List, NoList, Run, Seeding, Whole};
use super::session::{Protocol as _, Session};
use super::uploads::{Grant, Uploader};
use super::{Link, PeerError, SeedCounters};
use crate::library::{Held, Library, OpenFile};
use crate::sharing::is_local;

/// Chunks of a list at most: what the protocol takes.
const LIST_LEAVES_MAX: usize = 8_192;

/// Serves a peer until it leaves.
pub(super) async fn seed(
    mut link: Link,
    session: Session,
    peer: SocketAddr,
    library: Arc<Library>,
    uploader: Uploader,
    counters: SeedCounters,
) -> Result<(), PeerError> {
    let shelf = Shelf { library, swarm: link.swarm, to: peer.ip() };
    let mut seeding = Seeding::<Arc<OpenFile>>::new(session);
    let mut packing = Packing::new(is_local(peer.ip()), uploader.limit());
    let mut jobs = JoinSet::<FoundFile>::new();
    let mut is_in_turn = false;
    loop {
        seeding.send_more(now())?;
        counters.sent(seeding.take_sent_bytes());
        while let Some(job) = seeding.poll_event() {
            let shelf = shelf.clone();
            drop(match job {
                Job::Have { id, objects } => jobs.spawn(shelf.have(id, objects)),
                Job::Manifest { id, query } => jobs.spawn(shelf.list(id, query)),
                Job::Range { id, range } => jobs.spawn(shelf.run(id, range)),
                Job::Whole { id, object } => jobs.spawn(shelf.whole(id, object)),
            });
        }
        if !is_in_turn && seeding.wants_to_read() {
            uploader.ask();
            is_in_turn = true;
        }
        // Taken when it comes, also if nothing is wanted any more: others wait for it.
        if is_in_turn && let Some(grant) = uploader.take_grant() {
            is_in_turn = false;
            if let Some(mut batch) = seeding.begin_reading() {
                batch.accept = packing.schemes(batch.accept, link.bytes_per_second());
                let (bytes_max, pace) = (uploader.batch_bytes(), packing.pace());
                drop(jobs.spawn_blocking(move || read(&batch, bytes_max, grant, &pace)));
            }
        }
        tokio::select! {
            turn = link.turn(&mut seeding), if seeding.has_room() => turn?,
            Some(found) = jobs.join_next() => {
                let found = found.map_err(|error: JoinError| PeerError::Ours(crate::Error::internal(error)))?;
                seeding.handle_found(found, now())?;
            }
            () = uploader.rung(), if is_in_turn => {}
        }
    }
}

/// Reads a batch, and compresses it if it may be.
fn read(
    Batch { file, chunks, accept }: &Batch<Arc<OpenFile>>,
    bytes_max: u64,
    mut grant: Grant,
    pace: &Pace,
) -> FoundFile {
    let ChunkRange { start, end } = file.batch(*chunks, bytes_max);
    let (mut scheme, mut compressor) = (None, Compressor::new());
    let (mut raw_bytes, mut took) = (0, Duration::ZERO);
    let records = (start..end).map(|index| {
        let mut record = file.read_record(index)?;
        if *accept != Schemes::RAW {
            let begun = now();
            raw_bytes += record.len() as u64;
            // One choice for a batch, as for a run of chunks of a xorb.
            let scheme = *scheme.get_or_insert_with(|| packing::choose(&record, *accept));
            record = packing::pack(record, scheme, &mut compressor);
            took += now().saturating_duration_since(begun);
        }
        grant.use_bytes(record.len() as u64);
        Some(record)
    });
    let records = records.collect();
    if raw_bytes > 0 {
        pace.packed(raw_bytes, took);
    }
    Found::Read { records }
}

/// What there is for one peer.
#[derive(Debug, Clone)]
struct Shelf {
    library: Arc<Library>,
    swarm: InfoHash,
    to: IpAddr,
}

type FoundFile = Found<Arc<OpenFile>>;

impl Shelf {
    async fn have(self, id: PeerRequestId, objects: Vec<Object>) -> FoundFile {
        let mut held = Vec::with_capacity(objects.len());
        for object in objects {
            held.push((object, self.find(object).await.is_some()));
        }
        Found::Have { id, held }
    }

    async fn list(self, id: PeerRequestId, query: ManifestQuery) -> FoundFile {
        let Some(held) = self.find(query.object).await else {
            return Found::Manifest { id, list: Err(NoList::NotFound) };
        };
        let cut = tokio::task::spawn_blocking(move || cut(&held, query)).await;
        Found::Manifest { id, list: cut.ok().flatten().ok_or(NoList::TooLarge) }
    }

    async fn run(self, id: PeerRequestId, range: Range) -> FoundFile {
        let held = self.find(range.object).await;
        let run = held.and_then(|held| {
            let (chunks, first) = (chunks_of(&held, &range)?, held.chunks.start);
            Some(Run { file: held.file, first, chunks })
        });
        Found::Range { id, run, range }
    }

    /// A xorb as records, or a chunk as it is: what the legacy dialects ask for.
    async fn whole(self, id: PeerRequestId, object: Object) -> FoundFile {
        let is_raw = object.kind == ObjectKind::Chunk;
        let held = match is_raw {
            true => self.library.find_chunk(self.swarm, ChunkHash::from_bytes(object.hash), self.to).await,
            false => self.find(object).await,
        };
        let whole = held.and_then(|Held { file, chunks }| {
            let leaves = file.tree.leaves().get(chunks.start as usize..chunks.end as usize)?;
            let header = if is_raw { 0 } else { RecordHeader::BYTES as u64 };
            let bytes = leaves.iter().map(|leaf| header + u64::from(leaf.length)).sum();
            (bytes <= ChunkResponse::DATA_BYTES_MAX).then_some(Whole { file, chunks, bytes, is_raw })
        });
        Found::Whole { id, whole }
    }

    async fn find(&self, object: Object) -> Option<Held> {
        self.library.find(self.swarm, object, self.to).await
    }
}

/// Cuts a list: of a run of a file, with its proof, or of a whole xorb, which proves itself.
fn cut(held: &Held, query: ManifestQuery) -> Option<List> {
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
}

pub(super) fn wire_proof(proof: &RunProof) -> Proof {
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
