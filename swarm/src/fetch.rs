//! Fetching from the origin: a fetch entry is streamed from its front, and its chunks are hashed and
//! written as they arrive.
//!
//! Network reads stay on the async threads; decoding, hashing and writing happen batch by batch on a
//! bounded number of worker threads, one batch ahead of the reader at most. So an entry holds two batches
//! of memory whatever its size.

mod received;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use xet_cas::client::{self, Body, Cas, Commit, ErrorKind, Hub, TreeFile};
use xet_cas::{ByteRange, Error as FormatError, FileHash, xorb};

use self::received::{Received, Records};
use crate::ledger::Source;
use crate::plan::{Cursor, EntryPlan, Need, plan_entries};
use crate::pull::tell;
use crate::schedule::RequestNumber;
use crate::store::{EtagHasher, Partial, Remains, TakenUp};
use crate::verified::{HashedChunk, VerifiedFile};
use crate::work::{Board, FileWork};
use crate::{Error, Event};

/// Serialized bytes that go to a worker at once: some ten chunks, so that handing over costs little.
const BATCH_BYTES: usize = 512 * 1024;

/// Bytes that are written to the disk in one go.
const WRITE_BACK_BYTES: u64 = 8 * 1024 * 1024;

/// Attempts at one entry or file before it is given up. An attempt that brought something new does not
/// count, so a slow link that breaks often still gets there.
const ATTEMPTS_MAX: u32 = 4;
/// New bytes that an attempt must have brought not to count.
const ATTEMPT_PROGRESS_BYTES_MIN: u64 = 1024 * 1024;
/// Longest pause before the second attempt; it doubles with each.
const ATTEMPT_PAUSE: Duration = Duration::from_millis(200);
/// Longest pause before any attempt.
const ATTEMPT_PAUSE_MAX: Duration = Duration::from_secs(5);
/// How often one entry may ask for new URLs in a row, because those it got were refused.
const URL_RENEWALS_MAX: u32 = 2;

/// What all fetches of a pull share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// One permit a worker thread.
    pub(crate) workers: Arc<Semaphore>,
    /// Bytes received from the Hub and the CAS.
    pub(crate) wire_bytes: AtomicU64,
    /// Chunk records received from peers on the local network, and from others.
    pub(crate) peer_bytes: [AtomicU64; 2],
    /// Bytes written into partial files.
    pub(crate) written_bytes: AtomicU64,
    /// Where repeated attempts are told.
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) board: Arc<Board>,
    /// There is a limit of what may be received in a second.
    pub(crate) is_limited: bool,
}

impl Shared {
    async fn tell_retry(&self, what: String, error: &Error) {
        self.tell(Event::Retry { what, reason: error.to_string() }).await;
    }

    /// Tells what of a file was on this machine: left by an earlier pull, and copied from other files.
    pub(crate) async fn tell_local(&self, path: &str, left_bytes: u64, copied_bytes: u64) {
        self.written_bytes.fetch_add(left_bytes + copied_bytes, Ordering::Relaxed);
        if left_bytes > 0 {
            self.tell(Event::Resumed { path: path.to_owned(), bytes: left_bytes }).await;
        }
        if copied_bytes > 0 {
            self.tell(Event::Copied { path: path.to_owned(), bytes: copied_bytes }).await;
        }
    }

    /// Counts what came of a body, and waits until more may.
    async fn received_of(&self, body: &mut Body, bytes: usize) {
        self.wire_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        if self.is_limited
            && let Some(until) = self.board.schedule(|scheduler, now| scheduler.spend(bytes as u64, now))
        {
            tokio::time::sleep_until(until.into()).await;
            body.excuse_pause();
        }
    }

    /// Counts what a peer sent.
    pub(crate) fn received(&self, source: Source, bytes: u64) {
        if let Some(counter) = self.peer_bytes.get(source as usize) {
            counter.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    pub(crate) async fn tell(&self, event: Event) {
        tell(&self.events, event).await;
    }
}

/// Pause before attempt `made + 1`: a random part of a time that doubles.
async fn pause_after(made: u32) {
    tokio::time::sleep(longest_pause(made).mul_f64(rand::random())).await;
}

fn longest_pause(made: u32) -> Duration {
    (ATTEMPT_PAUSE * (1 << made.saturating_sub(1).min(8))).min(ATTEMPT_PAUSE_MAX)
}

/// A stream of the origin, as the scheduler has it.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    pub(crate) request: RequestNumber,
    pub(crate) file: Arc<FileWork>,
    /// Number of the entry in the file's plan.
    pub(crate) entry: u32,
}

/// Fetches what is missing of an entry into a partial file, again where that may help.
pub(crate) async fn fetch_entry(stream: Stream, plan: EntryPlan, shared: Arc<Shared>) -> Result<(), Error> {
    let file = &stream.file;
    let need = file.ledger().need(stream.entry);
    let plans = match need {
        Need::Nothing => return Ok(()),
        Need::Whole => vec![plan],
        Need::Parts(_) if !file.gives_parts.load(Ordering::Relaxed) => vec![plan],
        Need::Parts(parts) => match plan_parts(&file.cas, file.hash, &parts).await {
            Ok(plans) => plans,
            Err(error) => {
                tracing::info!(%error, "the CAS gives no smaller entries");
                file.gives_parts.store(false, Ordering::Relaxed);
                vec![plan]
            }
        },
    };
    for plan in plans {
        fetch_from_origin(stream.clone(), plan, shared.clone()).await?;
    }
    Ok(())
}

/// Asks for entries of parts of a file.
pub(crate) async fn plan_parts(
    cas: &Cas,
    hash: FileHash,
    parts: &[ByteRange],
) -> Result<Vec<EntryPlan>, client::Error> {
    let mut entries = Vec::new();
    for part in parts {
        let planned = plan_entries(cas.reconstruct_range(hash, *part).await?, *part);
        entries.extend(planned.map_err(|source| client::Error::Format { what: format!("a part of {hash}"), source })?);
    }
    Ok(entries)
}

async fn fetch_from_origin(stream: Stream, plan: EntryPlan, shared: Arc<Shared>) -> Result<(), Error> {
    let Stream { request, file, .. } = stream;
    let mut fetch = EntryFetch { progress: Some(Progress::new(&plan)), plan, request, file, shared };
    let (mut attempts, mut renewals, mut generation) = (0, 0, 0);
    loop {
        let file = fetch.file.clone();
        generation = file.renew_url(&mut fetch.plan, generation, false).await?;
        let mut body = match file.cas.open(&fetch.plan.entry).await {
            Err(error @ client::Error::UrlExpired { .. }) if renewals < URL_RENEWALS_MAX => {
                renewals += 1;
                fetch.shared.tell_retry(fetch.what(), &error.into()).await;
                generation = file.renew_url(&mut fetch.plan, generation, true).await?;
                continue;
            }
            opened => opened.inspect_err(|_| fetch.tell_overload())?,
        };
        if body.attempts() > 1 {
            fetch.tell_overload();
        }
        renewals = 0;
        let before = fetch.placed_bytes();
        let error = match fetch.attempt(&mut body).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        attempts = if fetch.placed_bytes() - before >= ATTEMPT_PROGRESS_BYTES_MIN { 1 } else { attempts + 1 };
        if attempts >= ATTEMPTS_MAX || !may_help_again(&error) {
            return Err(error);
        }
        if is_overload(&error) {
            fetch.tell_overload();
        }
        fetch.shared.tell_retry(fetch.what(), &error).await;
        pause_after(attempts).await;
    }
}

/// Whether the origin has too much to do, as it says or as it seems.
fn is_overload(error: &Error) -> bool {
    use client::Error::{Deadline, RateLimited, Status};
    let Error::Client(error) = error else { return false };
    matches!(error, Deadline { .. } | RateLimited { .. } | Status { status: 429 | 500..=599, .. })
}

/// Broken connections, and bytes that may have been damaged on the way.
fn may_help_again(error: &Error) -> bool {
    matches!(error.kind(), Some(ErrorKind::Network | ErrorKind::Integrity))
}

struct EntryFetch {
    plan: EntryPlan,
    request: RequestNumber,
    file: Arc<FileWork>,
    shared: Arc<Shared>,
    /// Taken while a worker has it.
    progress: Option<Progress>,
}

/// A batch of records that a worker is busy with.
type Batch = JoinHandle<(Progress, Result<(), Error>)>;

impl EntryFetch {
    /// The origin has much to do: fewer streams of it are run.
    fn tell_overload(&self) {
        self.shared.board.schedule(|scheduler, now| scheduler.overloaded(now));
    }

    fn placed_bytes(&self) -> u64 {
        self.progress.as_ref().map_or(0, |progress| progress.placed_bytes)
    }

    /// One attempt: reads a body to its end. What was placed when it fails stays placed.
    async fn attempt(&mut self, body: &mut Body) -> Result<(), Error> {
        if let Some(progress) = &mut self.progress {
            progress.skip_chunks = progress.placed_chunks;
        }
        let mut batch = None;
        let read = self.read(body, &mut batch).await;
        self.finish(batch).await.and(read)?;
        match &self.progress {
            Some(progress) if progress.cursor.is_complete() => Ok(()),
            _ => Err(self.malformed(FormatError::Reconstruction { reason: "the entry holds too few chunks".into() })),
        }
    }

    async fn read(&mut self, body: &mut Body, batch: &mut Option<Batch>) -> Result<(), Error> {
        let mut received = Received::default();
        loop {
            let piece = body.next().await;
            if let Ok(Some(piece)) = &piece {
                self.shared.received_of(body, piece.len()).await;
                received.push(piece.clone()).map_err(|error| self.malformed(error))?;
                if received.bytes() < BATCH_BYTES {
                    continue;
                }
            }
            let records = match piece {
                Ok(None) => received.take_all(),
                // What arrived whole counts, also if the rest did not come.
                _ => received.take_complete(),
            };
            if let Some(records) = records {
                self.finish(batch.take()).await?;
                *batch = Some(self.start(records).await?);
                body.excuse_pause();
            }
            if piece?.is_none() {
                return Ok(());
            }
        }
    }

    /// Hands records to a worker.
    async fn start(&mut self, records: Records) -> Result<Batch, Error> {
        let permit = self.shared.workers.clone().acquire_owned().await.map_err(Error::internal)?;
        let mut progress = self.progress.take().ok_or_else(|| Error::internal("two batches of one entry at once"))?;
        let (file, shared, request) = (self.file.clone(), self.shared.clone(), self.request);
        let what = self.what();
        Ok(tokio::task::spawn_blocking(move || {
            let result = progress.place(records, &file, &shared).map_err(|error| match error {
                PlaceError::Format(source) => client::Error::Format { what, source }.into(),
                PlaceError::Disk(error) => error,
            });
            drop(permit);
            progress.tell(request, &file, &shared.board);
            (progress, result)
        }))
    }

    /// Waits for the worker and takes the progress back.
    async fn finish(&mut self, batch: Option<Batch>) -> Result<(), Error> {
        let Some(batch) = batch else { return Ok(()) };
        let (progress, result) = batch.await.map_err(Error::internal)?;
        self.progress = Some(progress);
        result
    }

    fn malformed(&self, source: FormatError) -> Error {
        client::Error::Format { what: self.what(), source }.into()
    }

    fn what(&self) -> String {
        self.plan.what()
    }
}

/// How far an entry is.
struct Progress {
    cursor: Cursor,
    placed_chunks: usize,
    placed_bytes: u64,
    /// Chunks that an earlier attempt placed and this one passes over undecoded.
    skip_chunks: usize,
    scratch: Vec<u8>,
    offsets: Vec<u64>,
    write_back: WriteBack,
    /// Since that was last told: bytes that were written, bytes that were there, and where the last of them ended.
    fresh_bytes: u64,
    known_bytes: u64,
    reached: Option<u64>,
}

enum PlaceError {
    Format(FormatError),
    Disk(Error),
}

impl Progress {
    fn new(plan: &EntryPlan) -> Self {
        Self {
            cursor: plan.cursor(),
            placed_chunks: 0,
            placed_bytes: 0,
            skip_chunks: 0,
            scratch: Vec::new(),
            offsets: Vec::new(),
            write_back: WriteBack::default(),
            fresh_bytes: 0,
            known_bytes: 0,
            reached: None,
        }
    }

    /// Decodes, hashes and writes complete records.
    fn place(&mut self, records: Records, file: &FileWork, shared: &Shared) -> Result<(), PlaceError> {
        for record in records {
            let Some(record) = xorb::Records::new(&record).next() else {
                return Err(PlaceError::Format(FormatError::Reconstruction { reason: "a footer is no chunk".into() }));
            };
            let record = record.map_err(PlaceError::Format)?;
            if self.skip_chunks > 0 {
                self.skip_chunks -= 1;
                continue;
            }
            let chunk = HashedChunk::new(record.decode(&mut self.scratch).map_err(PlaceError::Format)?);
            self.offsets.clear();
            self.cursor.place(record.header.raw_length, &mut self.offsets).map_err(PlaceError::Format)?;
            for offset in &self.offsets {
                let Some(written) = file.write(&chunk, *offset, Source::Origin).map_err(PlaceError::Disk)? else {
                    let reason = format!("the chunk at byte {offset} is not the one that was proved to belong there");
                    return Err(PlaceError::Format(FormatError::Reconstruction { reason }));
                };
                shared.written_bytes.fetch_add(written, Ordering::Relaxed);
                self.fresh_bytes += written;
                if written == 0 {
                    self.known_bytes += u64::from(record.header.raw_length);
                }
            }
            self.reached = self.offsets.first().map(|offset| offset + u64::from(record.header.raw_length));
            // Only now: a chunk that was not decoded or not taken is offered again.
            self.cursor.advance(record.header.raw_length);
            self.write_back.extend(&self.offsets, record.header.raw_length, &file.partial);
            self.placed_chunks += 1;
            self.placed_bytes += u64::from(record.header.raw_length);
        }
        Ok(())
    }

    /// Tells the scheduler how far it is.
    fn tell(&mut self, request: RequestNumber, file: &FileWork, board: &Board) {
        let (fresh, known) = (std::mem::take(&mut self.fresh_bytes), std::mem::take(&mut self.known_bytes));
        // Before what ends the stream: its last bytes are its own.
        board.schedule(|scheduler, now| {
            scheduler.received(request, fresh + known, now);
            scheduler.came_twice(known);
        });
        board.tell_finished(file);
        // The end of the last chunk is in its region.
        let place = self.reached.take().and_then(|end| file.ledger().place(end - 1));
        if let Some((region, offset)) = place {
            board.schedule(|scheduler, now| scheduler.streamed(request, region, offset + 1, now));
        }
    }
}

/// A stretch of a file that was written and that the system was not yet asked to write to the disk. Without asking,
/// all of a file would be left to the moment when it is put in place.
#[derive(Default)]
struct WriteBack {
    start: u64,
    end: u64,
}

impl WriteBack {
    /// Adds a chunk, which mostly follows the one before.
    fn extend(&mut self, offsets: &[u64], length: u32, partial: &Partial) {
        for offset in offsets {
            if *offset != self.end || self.end - self.start >= WRITE_BACK_BYTES {
                partial.begin_write_back(ByteRange { start: self.start, end: self.end });
                self.start = *offset;
            }
            self.end = offset + u64::from(length);
        }
    }
}

/// Fetches a file that is stored as a whole, hashing it on the way. Goes on where an earlier attempt, or an earlier
/// pull, has stopped; returns also how many bytes such a pull had left.
pub(crate) async fn fetch_whole(
    hub: Arc<Hub>,
    commit: Arc<Commit>,
    file: TreeFile,
    (remains, folder): (Arc<Remains>, PathBuf),
    shared: Arc<Shared>,
) -> Result<(VerifiedFile, u64), Error> {
    let target = file.clone();
    let take_up = tokio::task::spawn_blocking(move || WholeFile::take_up(&remains, &folder, &target));
    let whole = take_up.await.map_err(Error::internal)??;
    shared.tell_local(&file.path, whole.left_bytes, 0).await;
    let (mut attempts, mut whole) = (0, Some(whole));
    loop {
        let before = whole.as_ref().map_or(0, |whole| whole.offset);
        let error = match WholeFile::attempt(&mut whole, &hub, &commit, &file, &shared).await {
            Ok(()) => break,
            Err(error) => error,
        };
        let reached = whole.as_ref().map_or(0, |whole| whole.offset);
        attempts = if reached.saturating_sub(before) >= ATTEMPT_PROGRESS_BYTES_MIN { 1 } else { attempts + 1 };
        if attempts >= ATTEMPTS_MAX || !may_help_again(&error) {
            return Err(error);
        }
        shared.tell_retry(file.path.clone(), &error).await;
        pause_after(attempts).await;
    }
    let WholeFile { partial, hasher, left_bytes, .. } = whole.ok_or_else(|| Error::internal("the file was lost"))?;
    let verified = VerifiedFile::from_digest(partial, &hasher.finish(), file.etag())
        .map_err(|reason| Error::Integrity { path: file.path.clone(), reason })?;
    Ok((verified, left_bytes))
}

/// A file as far as it was fetched and hashed.
struct WholeFile {
    partial: Partial,
    hasher: EtagHasher,
    offset: u64,
    /// What an earlier pull had left and was not fetched again.
    left_bytes: u64,
}

impl WholeFile {
    /// Goes on with what an earlier pull has left: what was written from the start on, but for the last batch, of
    /// which only a part may be there.
    fn take_up(remains: &Remains, folder: &Path, file: &TreeFile) -> Result<Self, Error> {
        let (partial, taken_up) = Partial::take_up(remains, folder, file.etag(), file.size)?;
        let mut whole = Self { partial, hasher: EtagHasher::new(file), offset: 0, left_bytes: 0 };
        let extent = match taken_up {
            TakenUp::Nothing => None,
            TakenUp::Journal | TakenUp::Bytes => whole.partial.next_extent(0).filter(|extent| extent.start == 0),
        };
        let left = extent.map_or(0, |extent| extent.end.saturating_sub(BATCH_BYTES as u64));
        let mut piece = vec![0; BATCH_BYTES];
        while whole.offset < left {
            let length = (left - whole.offset).min(BATCH_BYTES as u64) as usize;
            if whole.partial.read(&mut piece[..length], whole.offset).is_err() {
                break;
            }
            whole.hasher.update(&piece[..length]);
            whole.offset += length as u64;
        }
        whole.left_bytes = whole.offset;
        Ok(whole)
    }

    /// One attempt at the rest. What was written when it fails stays.
    async fn attempt(
        slot: &mut Option<Self>,
        hub: &Hub,
        commit: &Commit,
        file: &TreeFile,
        shared: &Shared,
    ) -> Result<(), Error> {
        let Some(whole) = slot else { return Err(Error::internal("the file was lost")) };
        if whole.offset == file.size {
            return Ok(());
        }
        let (mut body, start) = hub.open_file_from(commit, file, whole.offset).await?;
        if start != whole.offset {
            whole.hasher = EtagHasher::new(file);
            whole.offset = start;
            whole.left_bytes = 0;
        }
        let (mut received, mut is_last) = (BytesMut::new(), false);
        while !is_last {
            let piece = body.next().await;
            if let Ok(Some(piece)) = &piece {
                shared.received_of(&mut body, piece.len()).await;
                received.extend_from_slice(piece);
            }
            // What arrived counts, also if the rest does not come.
            is_last = !matches!(piece, Ok(Some(_)));
            if received.len() >= BATCH_BYTES || (is_last && !received.is_empty()) {
                let data = received.split().freeze();
                let permit = shared.workers.clone().acquire_owned().await.map_err(Error::internal)?;
                let Some(mut whole) = slot.take() else { return Err(Error::internal("the file was lost")) };
                let write = move || {
                    let written = whole.write(&data);
                    drop(permit);
                    written.map(|()| (whole, data.len() as u64))
                };
                let (whole, length) = tokio::task::spawn_blocking(write).await.map_err(Error::internal)??;
                *slot = Some(whole);
                shared.written_bytes.fetch_add(length, Ordering::Relaxed);
                body.excuse_pause();
            }
            piece?;
        }
        Ok(())
    }

    fn write(&mut self, data: &[u8]) -> Result<(), Error> {
        self.partial.write(data, self.offset)?;
        self.partial.keep();
        self.hasher.update(data);
        let range = ByteRange { start: self.offset, end: self.offset + data.len() as u64 };
        self.partial.begin_write_back(range);
        self.offset = range.end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{ATTEMPT_PAUSE, ATTEMPT_PAUSE_MAX, longest_pause};

    #[test]
    fn given_many_attempts_at_an_entry_when_the_next_one_waits_then_never_longer_than_the_longest_pause() {
        assert_eq!([ATTEMPT_PAUSE, 2 * ATTEMPT_PAUSE], [longest_pause(1), longest_pause(2)]);
        assert!((3..1_000).all(|made| longest_pause(made) <= ATTEMPT_PAUSE_MAX));
        assert_eq!(ATTEMPT_PAUSE_MAX, longest_pause(u32::MAX));
    }
}
