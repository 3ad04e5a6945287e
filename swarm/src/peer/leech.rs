//! Fetching from one peer: lists are proved before chunks are asked for, and chunks are checked before they
//! are written.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bep_xet::{Deadlines, Event, HaveState, Manifest, ManifestQuery, Object, Range, RequestId, Sibling, Status};
use bt_wire::InfoHash;
use bytes::Bytes;
use tokio::net::lookup_host;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use xet_cas::proof::{Node, ProofLevel, RunProof, Standing};
use xet_cas::xorb::{Record, RecordHeader};
use xet_cas::{ByteRange, Leaf};

use super::link::now;
use super::{Link, PeerError};
use crate::fetch::Shared;
use crate::ledger::{BLOCK_BYTES, BlockTask, CLAIMS_MAX, PeerNumber, Source, Task};
use crate::sharing::is_local;
use crate::verified::HashedChunk;
use crate::work::{Board, FileWork};

/// Bytes that one peer is asked for at once: some 100 ms of a 1 Gbit/s link, and eight blocks.
const WINDOW_BYTES: u64 = 16 * 1024 * 1024;
/// Serialized bytes that go to a worker at once.
const BATCH_BYTES: usize = 512 * 1024;
/// Batches of one peer that workers are busy with; reading waits when there are more.
const BATCHES_MAX: usize = 4;
/// Lists that are asked for at once. They are cheap to ask for and long to wait for behind data.
const LISTS_MAX: usize = 4;
/// Pauses with late answers after which a peer is left. Its blocks were given to others each time.
const LATE_MAX: u32 = 2;
/// A request may take this many times its progress deadline in all.
const TOTAL_DEADLINES: u32 = 6;

/// What a session needs of the pull that it is part of.
#[derive(Debug, Clone)]
pub(crate) struct Leech {
    pub(crate) number: PeerNumber,
    pub(crate) swarm: InfoHash,
    pub(crate) board: Arc<Board>,
    pub(crate) shared: Arc<Shared>,
    /// For connecting, for shaking hands, and for a request to make progress.
    pub(crate) deadline: Duration,
}

/// Fetches from a peer for as long as it is of use. `name` is `host:port`.
pub(crate) async fn leech(name: &str, context: Leech, undecided: Undecided) -> Result<(), PeerError> {
    let deadline = context.deadline;
    let unresolved = |reason: String| PeerError::Resolve { name: name.to_owned(), reason };
    let found = timeout(deadline, lookup_host(name)).await;
    let found = found.map_err(|_| unresolved("no answer".into()))?.map_err(|error| unresolved(error.to_string()))?;
    let mut failure = unresolved("it has no address".into());
    for address in found {
        let mut config = bep_xet::Config::default();
        config.window_bytes = WINDOW_BYTES;
        match Link::dial(address, context.swarm, config, deadline).await {
            Ok(link) => return Session::new(link, address, context, undecided).run().await,
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

struct Session {
    link: Link,
    source: Source,
    context: Leech,
    files: HashMap<usize, File>,
    requests: HashMap<RequestId, Request>,
    batches: JoinSet<Result<usize, PeerError>>,
    late: u32,
    /// A request was late since this was last looked at.
    is_late: bool,
    /// Until the peer has said for the first time what it has.
    undecided: Option<Undecided>,
}

/// What is known of one file.
struct File {
    work: Arc<FileWork>,
    /// The peer has it, as it says. Counts as long as this lives.
    holder: Option<Holder>,
}

/// Counts the peers that have a file.
struct Holder(Arc<FileWork>);

impl Holder {
    fn new(work: &Arc<FileWork>) -> Self {
        work.holders.fetch_add(1, Ordering::Relaxed);
        Self(work.clone())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.holders.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts peers that have not said yet what they have.
#[derive(Debug)]
pub(crate) struct Undecided(Arc<Board>);

impl Undecided {
    pub(crate) fn new(board: &Arc<Board>) -> Self {
        board.undecided.fetch_add(1, Ordering::Relaxed);
        Self(board.clone())
    }
}

impl Drop for Undecided {
    fn drop(&mut self) {
        let undecided: &AtomicUsize = &self.0.undecided;
        undecided.fetch_sub(1, Ordering::Relaxed);
    }
}

enum Request {
    Have { files: Vec<usize>, _undecided: Undecided },
    List { file: usize, range: ByteRange, is_answered: bool },
    Block { file: usize, task: BlockTask, next: usize, batch: Vec<(u64, Leaf, Bytes)>, batch_bytes: usize },
}

impl Session {
    fn new(link: Link, address: SocketAddr, context: Leech, undecided: Undecided) -> Self {
        let source = if is_local(address.ip()) { Source::Lan } else { Source::Wan };
        Self {
            link,
            source,
            context,
            files: HashMap::new(),
            requests: HashMap::new(),
            batches: JoinSet::new(),
            late: 0,
            is_late: false,
            undecided: Some(undecided),
        }
    }

    async fn run(mut self) -> Result<(), PeerError> {
        let result = self.drive().await;
        for file in self.files.values() {
            file.work.ledger().release_all(self.context.number);
        }
        self.context.board.changed.notify_waiters();
        result
    }

    async fn drive(&mut self) -> Result<(), PeerError> {
        let board = self.context.board.clone();
        loop {
            let changed = board.changed.notified();
            while let Some(event) = self.link.exchange.poll_event() {
                self.handle(event).await?;
            }
            // However many requests one pause made late, it was one pause.
            if std::mem::take(&mut self.is_late) {
                self.late += 1;
                if self.late >= LATE_MAX {
                    return Err(PeerError::TooSlow);
                }
            }
            self.look_at_board()?;
            self.ask()?;
            let is_free = self.batches.len() < BATCHES_MAX;
            tokio::select! {
                turn = self.link.turn(), if is_free => turn?,
                Some(done) = self.batches.join_next() => self.finish_batch(done).await?,
                () = changed => {}
            }
        }
    }

    /// Asks what the peer has of files that are new on the board, and forgets those that are gone.
    fn look_at_board(&mut self) -> Result<(), PeerError> {
        let on_board = self.context.board.last_first();
        self.files.retain(|number, _| on_board.iter().any(|work| work.number == *number));
        let new: Vec<_> = on_board.into_iter().filter(|work| !self.files.contains_key(&work.number)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let objects: Vec<Object> = new.iter().map(|work| Object::file(work.hash)).collect();
        match self.link.exchange.query_have(objects, false, self.deadlines(), now()) {
            Ok(id) => {
                let files = new.iter().map(|work| work.number).collect();
                let undecided = Undecided::new(&self.context.board);
                self.requests.insert(id, Request::Have { files, _undecided: undecided });
                for work in new {
                    self.files.insert(work.number, File { work, holder: None });
                }
                Ok(())
            }
            Err(error) => wait_or_fail(error),
        }
    }

    /// Claims as much as the window allows, from the last file on the board backwards.
    fn ask(&mut self) -> Result<(), PeerError> {
        let deadlines = self.deadlines();
        let held = self.context.board.last_first();
        // What others are doing already is taken only when nothing else is left.
        for (claims_max, work) in [1, CLAIMS_MAX].into_iter().flat_map(|max| held.iter().map(move |work| (max, work))) {
            if self.files.get(&work.number).is_none_or(|file| file.holder.is_none()) {
                continue;
            }
            while self.link.exchange.can_request(BLOCK_BYTES) && self.open_lists() < LISTS_MAX {
                let Some(task) = work.ledger().claim(self.context.number, claims_max) else { break };
                let (object, file) = (Object::file(work.hash), work.number);
                let (range, asked) = match task {
                    Task::List(range) => {
                        // A little more, where the range alone would not show at which level of the tree it is.
                        let settling = work.outline.settling(range);
                        let query = ManifestQuery::run(object, settling.start, settling.end);
                        let asked = self.link.exchange.request_manifest(query, deadlines, now());
                        (range, asked.map(|id| (id, Request::List { file, range, is_answered: false })))
                    }
                    Task::Block(task) => {
                        let range = task.range;
                        let asked = Range::file_bytes(object, range.start, range.end);
                        let asked = self.link.exchange.request_range(asked, deadlines, now());
                        let request = Request::Block { file, task, next: 0, batch: Vec::new(), batch_bytes: 0 };
                        (range, asked.map(|id| (id, request)))
                    }
                };
                match asked {
                    Ok((id, request)) => drop(self.requests.insert(id, request)),
                    Err(error) => {
                        work.ledger().release(self.context.number, range);
                        return wait_or_fail(error);
                    }
                }
            }
        }
        Ok(())
    }

    fn open_lists(&self) -> usize {
        self.requests.values().filter(|request| matches!(request, Request::List { .. })).count()
    }

    async fn handle(&mut self, event: Event) -> Result<(), PeerError> {
        match event {
            Event::Have { id: Some(id), entries } => {
                let Some(Request::Have { files, .. }) = self.requests.get(&id) else { return Ok(()) };
                for number in files {
                    let Some(file) = self.files.get_mut(number) else { continue };
                    let object = Object::file(file.work.hash);
                    if entries.iter().any(|entry| entry.object == object && entry.state == HaveState::All) {
                        file.holder = Some(Holder::new(&file.work));
                    }
                }
                Ok(())
            }
            Event::Manifest { id, manifest } => self.take_list(id, manifest),
            Event::Chunk { id, header, record, .. } => self.take_chunk(id, header, record),
            Event::Ended { id, status, retry, .. } => {
                // A peer that is busy for longer than others may be late is of no use for this file.
                let is_useful = status == Status::Done || (status == Status::Busy && retry <= self.context.deadline);
                self.end_request(id, status, is_useful)
            }
            Event::RequestTimedOut { id, .. } => {
                // Others may take over at once; the request itself stays until its END.
                if let Some(request) = self.requests.remove(&id) {
                    self.release(&request);
                    if matches!(request, Request::Have { .. }) {
                        self.undecided = None;
                    }
                }
                self.is_late = true;
                Ok(())
            }
            Event::Failed { error } => Err(error.into()),
            // A peer may ask, but there is nothing here to serve it from: it is ended when it expires.
            Event::HaveAsked { id, .. } | Event::ManifestAsked { id, .. } | Event::RangeAsked { id, .. } => {
                match self.link.exchange.end(id, Status::NotFound, 0, Duration::ZERO) {
                    Ok(()) | Err(bep_xet::Error::NotOpen { .. }) => Ok(()),
                    Err(error) => Err(error.into()),
                }
            }
            _ => Ok(()),
        }
    }

    /// Checks a list against the file's hash, and takes it if it is the region's.
    fn take_list(&mut self, id: RequestId, manifest: Manifest) -> Result<(), PeerError> {
        let Some(Request::List { file, range, is_answered }) = self.requests.get_mut(&id) else { return Ok(()) };
        *is_answered = true;
        let Some(File { work, .. }) = self.files.get(file) else { return Ok(()) };
        let lied = |what: String| PeerError::Lied(format!("its list of {} is false: {what}", work.hash));
        let run = run_proof(manifest).ok_or_else(|| lied("it has no proof".into()))?;
        let candidate = run.verify(work.hash, work.bytes).map_err(|error| lied(error.to_string()))?;
        let Standing::Verified(run) = candidate.under(&work.outline).map_err(|error| lied(error.to_string()))? else {
            // It may be right or wrong, and nobody can be blamed for it.
            let file = *file;
            self.leave_file_unless(file, false);
            return Ok(());
        };
        let listed = (0..).map_while(|at| run.get(at)).map(|(start, leaf)| (start, *leaf));
        let list: Vec<_> = listed.filter(|(start, _)| (range.start..range.end).contains(start)).collect();
        if !work.ledger().take_list(*range, list) {
            return Err(lied("it is of other bytes than were asked for".into()));
        }
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
            return Err(PeerError::Lied(format!(
                "a chunk has {} bytes, proved are {}",
                header.raw_length, leaf.length
            )));
        }
        self.context.shared.received(self.source, record.len() as u64);
        *next += 1;
        *batch_bytes += record.len();
        batch.push((offset, leaf, record));
        if *batch_bytes >= BATCH_BYTES || *next == task.chunks().len() {
            *batch_bytes = 0;
            let (file, batch) = (*file, std::mem::take(batch));
            self.start_batch(file, batch);
        }
        Ok(())
    }

    /// Decodes, checks and writes chunks on a worker.
    fn start_batch(&mut self, file: usize, batch: Vec<(u64, Leaf, Bytes)>) {
        let Some(File { work, .. }) = self.files.get(&file) else { return };
        let (work, shared, source) = (work.clone(), self.context.shared.clone(), self.source);
        self.batches.spawn(async move {
            let ours = |error: crate::Error| PeerError::Ours(error);
            let permit = shared.workers.clone().acquire_owned().await.map_err(|e| ours(crate::Error::internal(e)))?;
            let written = tokio::task::spawn_blocking(move || {
                let result = write_batch(&work, &batch, source, &shared);
                drop(permit);
                work.changed.notify_waiters();
                result.map(|()| work.number)
            });
            written.await.map_err(|error| ours(crate::Error::internal(error)))?
        });
    }

    async fn finish_batch(&mut self, done: Result<Result<usize, PeerError>, JoinError>) -> Result<(), PeerError> {
        let number = done.map_err(|error| PeerError::Ours(crate::Error::internal(error)))??;
        self.late = 0;
        if self.files.get(&number).is_some_and(|file| file.work.ledger().is_complete())
            && self.context.board.progress.send(number).await.is_err()
        {
            return Err(PeerError::Closed);
        }
        Ok(())
    }

    fn end_request(&mut self, id: RequestId, status: Status, is_useful: bool) -> Result<(), PeerError> {
        let Some(request) = self.requests.remove(&id) else { return Ok(()) };
        // A block that arrived whole stays claimed: its last batch may not be written yet.
        if !matches!(&request, Request::Block { task, next, .. } if *next == task.chunks().len()) {
            self.release(&request);
        }
        let is_short = match request {
            Request::Have { .. } => {
                self.undecided = None;
                false
            }
            Request::List { file, is_answered, .. } => {
                self.leave_file_unless(file, is_useful && (is_answered || status != Status::Done));
                false
            }
            Request::Block { file, task, next, batch, .. } => {
                self.start_batch(file, batch);
                self.leave_file_unless(file, is_useful);
                status == Status::Done && next < task.chunks().len()
            }
        };
        // It claims to have everything and to have sent all of it.
        if is_short { Err(PeerError::Lied("it ends an answer before its last chunk".into())) } else { Ok(()) }
    }

    /// Asks a peer no more for a file that it turns out not to give.
    fn leave_file_unless(&mut self, file: usize, is_useful: bool) {
        if let Some(file) = self.files.get_mut(&file).filter(|_| !is_useful) {
            file.holder = None;
        }
    }

    fn release(&self, request: &Request) {
        let (file, range) = match request {
            Request::Have { .. } => return,
            Request::List { file, range, .. } => (file, *range),
            Request::Block { file, task, .. } => (file, task.range),
        };
        if let Some(file) = self.files.get(file) {
            file.work.ledger().release(self.context.number, range);
        }
        self.context.board.changed.notify_waiters();
    }

    fn deadlines(&self) -> Deadlines {
        Deadlines { progress: self.context.deadline, total: self.context.deadline * TOTAL_DEADLINES }
    }
}

/// What the exchange cannot take at the moment is asked later; anything else is the end.
fn wait_or_fail(error: bep_xet::Error) -> Result<(), PeerError> {
    match error {
        bep_xet::Error::Busy | bep_xet::Error::WindowFull | bep_xet::Error::QueueFull => Ok(()),
        error => Err(error.into()),
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

fn write_batch(
    work: &FileWork,
    batch: &[(u64, Leaf, Bytes)],
    source: Source,
    shared: &Shared,
) -> Result<(), PeerError> {
    let mut scratch = Vec::new();
    for (offset, leaf, record) in batch {
        let lied = |what: String| PeerError::Lied(format!("the chunk at byte {offset} of {}: {what}", work.hash));
        let Some((header, payload)) = record.split_first_chunk() else {
            return Err(lied("it is cut short".into()));
        };
        let header = RecordHeader::decode(header).map_err(|error| lied(error.to_string()))?;
        let record = Record { header, payload };
        let chunk = HashedChunk::new(record.decode(&mut scratch).map_err(|error| lied(error.to_string()))?);
        if chunk.leaf() != *leaf {
            return Err(lied("its bytes have another hash than was proved".into()));
        }
        let copies = work.ledger().copies_of(*offset);
        for place in copies.into_iter().chain([*offset]) {
            let Some(written) = work.write(&chunk, place, source).map_err(PeerError::Ours)? else {
                return Err(lied("another chunk was proved to belong there".into()));
            };
            shared.written_bytes.fetch_add(written, Ordering::Relaxed);
        }
    }
    Ok(())
}
