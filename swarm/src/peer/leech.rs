//! Fetching from one peer: claims work from the board, and has what arrives checked and written.

mod collecting;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bep_xet::{Dialect, ProvenChunk};
use bt_wire::InfoHash;
use tokio::net::lookup_host;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use xet_cas::xorb::{Record, RecordHeader};
use xet_cas::{ByteRange, Leaf, XorbHash};

pub(crate) use self::collecting::Collecting;
use self::collecting::Permit;
use super::leeching::{Asking, BATCH_BYTES, ByHash, LeechEvent, Leeching, Proving, ReceivedRecord, WantedFile, Xorbs};
use super::link::now;
use super::session::{Protocol as _, Session};
use super::{Link, PeerError};
use crate::fetch::Shared;
use crate::ledger::{Source, Task};
use crate::reuse::LocalFiles;
use crate::schedule::{Command, FileNumber, Finished, Outcome, RequestNumber, What};
use crate::sharing::is_local;
use crate::verified::HashedChunk;
use crate::work::{Board, FileWork, PeerSeat};

/// Bytes that one peer is asked for at once, at most: what the scheduler lets be outstanding, and a block.
const WINDOW_BYTES: u64 = 64 * 1024 * 1024;
/// Batches of one peer that workers are busy with; reading waits when there are more.
const BATCHES_MAX: usize = 4;

/// What a session needs of the pull that it is part of.
#[derive(Debug, Clone)]
pub(crate) struct Leech {
    pub(crate) swarm: InfoHash,
    pub(crate) board: Arc<Board>,
    pub(crate) shared: Arc<Shared>,
    /// Where what is listed may be had without asking anybody.
    pub(crate) local: LocalFiles,
    /// For connecting, for shaking hands, and for a request to make progress.
    pub(crate) deadline: Duration,
}

/// Fetches from a peer for as long as it is of use. `name` is `host:port`.
pub(crate) async fn leech(name: &str, context: Leech, seat: PeerSeat) -> Result<(), PeerError> {
    let deadline = context.deadline;
    let unresolved = |reason: String| PeerError::Resolve { name: name.to_owned(), reason };
    let found = timeout(deadline, lookup_host(name)).await;
    let found = found.map_err(|_| unresolved("no answer".into()))?.map_err(|error| unresolved(error.to_string()))?;
    let mut failure = unresolved("it has no address".into());
    for address in found {
        let mut config = bep_xet::Config::default();
        config.window_bytes = WINDOW_BYTES;
        match Link::dial(address, context.swarm, config, deadline).await {
            Ok((link, session)) => {
                return match session.exchange.dialect() {
                    Dialect::V2 => Driver::<Proving>::new(link, session, address, context, seat).run().await,
                    Dialect::Ranged => Driver::<Xorbs>::new(link, session, address, context, seat).run().await,
                    Dialect::Base => Driver::<ByHash>::new(link, session, address, context, seat).run().await,
                };
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

struct Driver<A> {
    link: Link,
    leeching: Leeching<A>,
    source: Source,
    context: Leech,
    /// Files on the board, by number.
    files: BTreeMap<FileNumber, Arc<FileWork>>,
    batches: JoinSet<Result<(), PeerError>>,
    /// The right to hold the xorb that was asked for until it has proved itself.
    collecting: Option<Arc<Permit>>,
    seat: PeerSeat,
}

impl<A: Asking> Driver<A> {
    fn new(link: Link, session: Session, address: SocketAddr, context: Leech, seat: PeerSeat) -> Self {
        let source = if is_local(address.ip()) { Source::Lan } else { Source::Wan };
        let leeching = Leeching::new(session, context.deadline);
        seat.meet(A::ABILITY);
        let (files, batches) = (BTreeMap::new(), JoinSet::new());
        Self { link, leeching, source, context, files, batches, collecting: None, seat }
    }

    async fn run(mut self) -> Result<(), PeerError> {
        let woken = self.seat.woken();
        loop {
            while let Some(event) = self.leeching.poll_event() {
                self.handle(event)?;
            }
            let is_free = self.batches.len() < BATCHES_MAX;
            tokio::select! {
                biased;
                () = woken.notified() => {
                    self.look_at_board()?;
                    self.ask()?;
                }
                Some(done) = self.batches.join_next() => self.finish_batch(done)?,
                turn = self.link.turn(&mut self.leeching), if is_free => turn?,
            }
        }
    }

    /// Asks what the peer has of files that are new on the board, and forgets those that are gone.
    fn look_at_board(&mut self) -> Result<(), PeerError> {
        let on_board = self.context.board.shareable();
        let leeching = &mut self.leeching;
        self.files.retain(|number, _| {
            let is_on_board = on_board.iter().any(|work| work.number == *number);
            if !is_on_board {
                leeching.forget(*number);
            }
            is_on_board
        });
        let new: Vec<_> = on_board.into_iter().filter(|work| !self.files.contains_key(&work.number)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let wanted = |work: &Arc<FileWork>| {
            let (number, hash, bytes) = (work.number, work.hash, work.bytes);
            WantedFile { number, hash, bytes, outline: work.outline.clone() }
        };
        if self.leeching.query(new.iter().map(wanted).collect(), now())? {
            self.files.extend(new.into_iter().map(|work| (work.number, work)));
        }
        Ok(())
    }

    /// Does what the scheduler has for the peer.
    fn ask(&mut self) -> Result<(), PeerError> {
        while let Some(command) = self.seat.poll() {
            let (request, file, what) = match command {
                Command::Fetch { request, file, what } => (request, file, what),
                Command::Cancel { request } => {
                    // Of a xorb nothing more is held: there is one at a time.
                    self.collecting = None;
                    self.leeching.cancel(request, now());
                    continue;
                }
            };
            if !self.request(request, file, what)? {
                self.seat.ended(request, Outcome::NotAsked);
                break;
            }
        }
        Ok(())
    }

    /// Asks for something; false if it has to be tried later.
    fn request(&mut self, request: RequestNumber, file: FileNumber, what: What) -> Result<bool, PeerError> {
        let Some(work) = self.files.get(&file) else { return Ok(false) };
        let task = work.ledger().task(what);
        let Some(task) = task else {
            // It was written in this moment.
            if let What::Block(region, block) = what {
                self.context
                    .board
                    .schedule(|schedule, now| schedule.finished(file, Finished::Block(region, block), now));
            }
            return Ok(false);
        };
        if let Task::Xorb(task) = &task
            && task.whole_list().is_none()
        {
            let Some(permit) = self.context.board.collecting.try_begin() else { return Ok(false) };
            self.collecting = Some(Arc::new(permit));
        }
        let asked = self.leeching.request(file, request, task, now());
        if !matches!(asked, Ok(true)) {
            self.collecting = None;
        }
        asked
    }

    fn handle(&mut self, event: LeechEvent) -> Result<(), PeerError> {
        match event {
            LeechEvent::Decided { file, holds } => self.seat.decide(file, holds),
            LeechEvent::Left { file } => self.seat.decide(file, false),
            LeechEvent::Listed { file, range, list } => {
                let (source, local, board) = (self.source, self.context.local.clone(), self.context.board.clone());
                self.start_batch(file, move |work| take_list(work, range, list, &local, &board, source));
            }
            LeechEvent::Received { file, request, records } => {
                let (shared, source) = (&self.context.shared, self.source);
                shared.received(source, records.iter().map(|received| received.record.len() as u64).sum());
                self.seat.received(request, records.iter().map(|received| u64::from(received.leaf.length)).sum());
                let board = self.context.board.clone();
                self.start_batch(file, move |work| write_batch(work, &records, PlacedBy::Proof, source, &board));
            }
            LeechEvent::OfXorb { request, xorb, starts, chunks } => {
                self.seat.received(request, chunks.iter().map(|chunk| u64::from(chunk.leaf().length)).sum());
                self.place(xorb, &starts, &chunks);
            }
            LeechEvent::Ended { request, outcome } => {
                self.collecting = None;
                self.seat.ended(request, outcome);
            }
        }
        Ok(())
    }

    /// Has chunks of a xorb written in every file on the board that needs them. What the plan says about them is not
    /// the peer's word, so that it is not to blame where it is wrong.
    fn place(&mut self, xorb: XorbHash, starts: &[u64], chunks: &[ProvenChunk]) {
        let bytes = chunks.iter().map(|chunk| chunk.record().len() as u64).sum();
        self.context.shared.received(self.source, bytes);
        let files: Vec<_> = self.files.iter().map(|(number, work)| (*number, work.clone())).collect();
        for (number, work) in files {
            let places = work.ledger().places_of(xorb, starts);
            let (mut batch, mut batch_bytes) = (Vec::new(), 0);
            for (range, offset) in places {
                let inside = chunks.iter().filter(|chunk| (range.start..range.end).contains(&chunk.index()));
                for chunk in inside {
                    let offset = offset + starts[chunk.index() as usize] - starts[range.start as usize];
                    batch_bytes += chunk.record().len();
                    batch.push(ReceivedRecord { offset, leaf: chunk.leaf(), record: chunk.record().clone() });
                    if batch_bytes >= BATCH_BYTES {
                        batch_bytes = 0;
                        self.start_placed(number, std::mem::take(&mut batch));
                    }
                }
            }
            if !batch.is_empty() {
                self.start_placed(number, batch);
            }
        }
    }

    fn start_placed(&mut self, file: usize, records: Vec<ReceivedRecord>) {
        let (permit, source, board) = (self.collecting.clone(), self.source, self.context.board.clone());
        self.start_batch(file, move |work| {
            let written = write_batch(work, &records, PlacedBy::Plan, source, &board);
            drop((records, permit));
            written
        });
    }

    /// Checks and writes chunks on a worker; `write` tells how many bytes it has written.
    fn start_batch(&mut self, file: usize, write: impl FnOnce(&FileWork) -> Result<u64, PeerError> + Send + 'static) {
        let Some(work) = self.files.get(&file) else { return };
        let (work, shared, board) = (work.clone(), self.context.shared.clone(), self.context.board.clone());
        self.batches.spawn(async move {
            let ours = |error: crate::Error| PeerError::Ours(error);
            let permit = shared.workers.clone().acquire_owned().await.map_err(|e| ours(crate::Error::internal(e)))?;
            let written = tokio::task::spawn_blocking(move || {
                let result = write(&work);
                drop(permit);
                board.tell_finished(&work);
                shared.written_bytes.fetch_add(result?, Ordering::Relaxed);
                Ok(())
            });
            written.await.map_err(|error| ours(crate::Error::internal(error)))?
        });
    }

    fn finish_batch(&mut self, done: Result<Result<(), PeerError>, JoinError>) -> Result<(), PeerError> {
        done.map_err(|error| PeerError::Ours(crate::Error::internal(error)))??;
        self.leeching.received_well();
        Ok(())
    }
}

/// By whose word chunks belong where they are to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PlacedBy {
    /// A list that the peer, or another one, has proved.
    Proof,
    /// What the origin says that the file is made of.
    Plan,
}

/// Takes a proved list, after what it lists and is on this machine was copied, so that nobody is asked for that.
fn take_list(
    work: &FileWork,
    range: ByteRange,
    list: Vec<(u64, Leaf)>,
    local: &LocalFiles,
    board: &Board,
    source: Source,
) -> Result<u64, PeerError> {
    let copied = local.copy_listed(work, &list).map_err(PeerError::Ours)?;
    let Some(recurrences) = board.take_list(work, range, list) else {
        return Err(PeerError::Lied(format!("its list of {} is not that of the plan", work.hash)));
    };
    Ok(copied + board.copy_within(work, &recurrences, source).map_err(PeerError::Ours)?)
}

/// Decodes, checks and writes chunks.
fn write_batch(
    work: &FileWork,
    records: &[ReceivedRecord],
    placed_by: PlacedBy,
    source: Source,
    board: &Board,
) -> Result<u64, PeerError> {
    let (mut bytes, mut known_bytes, mut scratch) = (0, 0, Vec::new());
    for ReceivedRecord { offset, leaf, record } in records {
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
        match work.write(&chunk, *offset, source).map_err(PeerError::Ours)? {
            Some(0) => known_bytes += u64::from(leaf.length),
            Some(written) => bytes += written,
            // The origin may be wrong about xorbs.
            None if placed_by == PlacedBy::Plan => {}
            None => return Err(lied("another chunk was proved to belong there".into())),
        }
    }
    board.came_twice(known_bytes);
    Ok(bytes)
}
