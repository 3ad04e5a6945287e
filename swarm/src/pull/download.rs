//! Fetching what is missing: plans a few files ahead, keeps a bounded number of fetches going, lets peers
//! work on the same files, and puts each in place when it is complete.

mod claiming;
mod failing;
mod falling_back;

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::MissedTickBehavior;
use xet_cas::client::{self, Cas, Commit, Hub};
use xet_cas::{FileHash, Reconstruction};

use super::indexing::Indexing;
use super::locking::{Claim, Lockouts};
use super::peers::Peers;
use super::presence::{Checked, record};
use super::resume;
use super::{Config, Group};
use crate::fetch::{Shared, Stream, fetch_entry, fetch_whole, plan_parts};
use crate::peer::Leech;
use crate::plan::{EntryPlan, FilePlan, Need};
use crate::present::Present;
use crate::reuse::LocalFiles;
use crate::schedule::{self, Command, ORIGIN, Outcome, RequestNumber, SourceMode, What};
use crate::sharing::{Publicness, repo_swarm};
use crate::store::{FileRecord, Index, Partial, Place, Remains};
use crate::token_bucket::TokenBucket;
use crate::verified::VerifiedFile;
use crate::work::{Board, FileWork};
use crate::{Error, Event, SourceBytes, WireBytes};

/// Files that are planned but not finished, at most: each has an open file and a chunk list.
const OPEN_FILES_MAX: usize = 16;
/// Entries that are planned and that nobody is at, at most, before the next file is planned. Signed URLs
/// age, so not many more than are fetched in the next minutes.
const WAITING_ENTRIES_MAX: usize = 64;
/// Files that are being planned at once: a plan may bring hundreds of entries.
const PLANS_MAX: usize = 2;
/// How often progress is told.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);
/// Verified files that are remembered in the index in one go.
const RECORDS_MAX: usize = 256;
/// Ticks of [`PROGRESS_INTERVAL`] after which fewer are remembered too, so that an interrupt costs little.
const RECORD_TICKS: u32 = 10;
/// Content that is remembered at once, while its lock is held, so that whoever waits for it need not hash it: some
/// 100 ms of hashing.
const RECORD_AT_ONCE_BYTES: u64 = 64 * 1024 * 1024;
/// What passes at once under a limit, at least: the small files of a repository are not held up by it.
const LIMIT_BURST_BYTES_MIN: u64 = 256 * 1024;
/// Notes that a file may be complete, waiting to be read; what is beyond is noticed at the next tick.
const NOTES_WAITING_MAX: usize = 64;

/// What a finished job brought, by source.
#[derive(Debug, Clone, Default)]
pub(super) struct Brought {
    /// Bytes of content; content under several names counts once.
    pub(super) content: SourceBytes,
    pub(super) wire: WireBytes,
    pub(super) banned: Vec<String>,
    pub(super) why_no_peers: Option<String>,
}

/// The fetching part of a pull.
pub(super) struct Job {
    hub: Arc<Hub>,
    commit: Arc<Commit>,
    cas: Cas,
    place: Arc<Place>,
    /// What earlier pulls have left.
    remains: Arc<Remains>,
    index: Index,
    shared: Arc<Shared>,
    board: Arc<Board>,
    mode: SourceMode,
    peer_deadline: Duration,
    notes: mpsc::Receiver<usize>,
    /// Content in the CAS that nobody works on yet.
    waiting: VecDeque<Group>,
    /// Content that is stored as whole files and that nobody works on yet.
    waiting_whole: VecDeque<Group>,
    /// Content that others fetch.
    lockouts: Lockouts,
    /// Content that is being fetched, by a number of its own.
    open: HashMap<usize, OpenFile>,
    next_number: usize,
    tasks: JoinSet<(usize, Step)>,
    slots: Slots,
    /// Streams of the origin.
    streams: HashMap<RequestNumber, AbortHandle>,
    /// Why the origin did not give an entry of a file.
    refusals: HashMap<(usize, u32), Error>,
    peers: Peers,
    /// Those that no session was begun with yet.
    peer_names: Vec<String>,
    has_peers: bool,
    publicness: Arc<Publicness>,
    brought: Brought,
    records: Vec<FileRecord>,
    indexing: Indexing,
    failures: Vec<(usize, Error)>,
    failures_in_a_row: usize,
    /// Files that the CAS did not say anything of use about.
    cas_failures_in_a_row: usize,
    /// It was told that the CAS cannot be used.
    has_fallen_back: bool,
    /// Files that were given up for the failure of others.
    not_tried: usize,
}

/// Permits to run tasks; a task gives its own back when it ends, however it ends. How many entries are streamed the
/// scheduler says; whole files have a limit of their own: many small files wait for answers, few large ones for bytes.
struct Slots {
    plans: Arc<Semaphore>,
    whole: Arc<Semaphore>,
}

fn take(slots: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    slots.clone().try_acquire_owned().ok()
}

struct OpenFile {
    group: Group,
    /// What works on it, but for putting it in place.
    tasks: Vec<AbortHandle>,
    is_closing: bool,
    /// Ticks in which it was not complete and nobody was asked for it.
    stuck_ticks: u32,
    /// The entries of content in the CAS.
    entries: Vec<EntryPlan>,
    /// For content in the CAS, once it is planned and until it is complete.
    work: Option<Arc<FileWork>>,
    /// What of it came from where, once that is known. It counts when the file is in place: bytes that turn out to be
    /// wrong are fetched again.
    bytes: SourceBytes,
}

/// What a task reports.
enum Step {
    Claimed(Result<Claim, Error>, OwnedSemaphorePermit),
    Planned(Result<(FilePlan, Arc<FileWork>), Error>),
    Entry(RequestNumber, u32, Result<(), Error>),
    Whole(Result<(VerifiedFile, u64), Error>),
    InPlace(Result<Option<FileRecord>, Error>),
}

impl Job {
    pub(super) fn new(
        hub: Arc<Hub>,
        commit: Commit,
        place: Arc<Place>,
        remains: Remains,
        index: Index,
        config: &Config,
        events: mpsc::Sender<Event>,
    ) -> Result<Self, Error> {
        let (sender, notes) = mpsc::channel(NOTES_WAITING_MAX);
        let fetches_max = config.fetches_max.max(1);
        let peer_deadline = config.peer_deadline;
        let limit = config.limit_down.map(|rate| TokenBucket::new(rate, rate.get().max(LIMIT_BURST_BYTES_MIN), now()));
        let is_limited = limit.is_some();
        let schedule = schedule::Config {
            mode: config.source_mode,
            streams: fetches_max,
            request_deadline: peer_deadline,
            limit,
            seed: rand::random(),
        };
        let board = Arc::new(Board::new(schedule, sender));
        let shared = Shared {
            workers: Arc::new(Semaphore::new(config.workers.max(1))),
            wire_bytes: AtomicU64::new(0),
            peer_bytes: Default::default(),
            written_bytes: AtomicU64::new(0),
            events,
            board: board.clone(),
            is_limited,
        };
        let publicness = Arc::new(Publicness::new(hub.network().clone()));
        Ok(Self {
            cas: hub.cas(&commit)?,
            hub,
            commit: Arc::new(commit),
            place,
            remains: Arc::new(remains),
            indexing: Indexing::new(index.clone()),
            index,
            shared: Arc::new(shared),
            board,
            mode: config.source_mode,
            peer_deadline,
            notes,
            waiting: VecDeque::new(),
            waiting_whole: VecDeque::new(),
            lockouts: Lockouts::new(config.lock_deadline),
            open: HashMap::new(),
            next_number: 0,
            tasks: JoinSet::new(),
            slots: Slots { plans: Arc::new(Semaphore::new(PLANS_MAX)), whole: Arc::new(Semaphore::new(fetches_max)) },
            streams: HashMap::new(),
            refusals: HashMap::new(),
            peers: Peers::default(),
            peer_names: Vec::new(),
            has_peers: false,
            publicness,
            brought: Brought::default(),
            records: Vec::new(),
            failures: Vec::new(),
            failures_in_a_row: 0,
            cas_failures_in_a_row: 0,
            has_fallen_back: false,
            not_tried: 0,
        })
    }

    /// Fetches all of it.
    pub(super) async fn run(
        mut self,
        groups: Vec<Group>,
        total_bytes: u64,
        peers: &[String],
    ) -> Result<Brought, Error> {
        let count = groups.len();
        if self.mode != SourceMode::CdnOnly {
            self.peer_names = peers.to_vec();
        }
        self.has_peers = !self.peer_names.is_empty();
        if self.hub.is_anonymous() && !groups.is_empty() {
            self.start_peers();
        }
        groups.into_iter().for_each(|group| self.enqueue(group));
        self.tell_left(total_bytes);
        let mut ticks_to_record = RECORD_TICKS;
        let mut ticks = tokio::time::interval(PROGRESS_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            self.start_more().await;
            if self.open.is_empty() && self.tasks.is_empty() && self.lockouts.is_empty() {
                break;
            }
            let due = self.board.schedule(|scheduler, _| scheduler.poll_timeout());
            tokio::select! {
                Some(step) = self.tasks.join_next() => match step {
                    Ok((number, step)) => self.handle(number, step).await,
                    // Its file was given up.
                    Err(error) if error.is_cancelled() => {}
                    Err(error) => return Err(Error::internal(error)),
                },
                Some(number) = self.notes.recv() => self.verify_if_complete(number),
                () = self.board.origin.notified() => {}
                () = wait_until(due) => {
                    self.board.schedule(|scheduler, now| scheduler.handle_timeout(now));
                }
                Some(ended) = self.peers.next_end() => self.shared.tell(Event::PeerLost(ended)).await,
                _ = ticks.tick() => {
                    self.tell_progress(total_bytes);
                    self.tell_left(total_bytes);
                    self.look_at_open().await;
                    self.look_at_lockouts().await?;
                    ticks_to_record -= 1;
                    if ticks_to_record == 0 {
                        ticks_to_record = RECORD_TICKS;
                        self.flush_records().await;
                    }
                }
            }
        }
        self.flush_records().await;
        self.indexing.finish().await;
        self.tell_progress(total_bytes);
        self.outcome(count)?;
        let [lan, wan] = [0, 1].map(|at| self.shared.peer_bytes[at].load(Ordering::Relaxed));
        self.brought.wire = WireBytes { lan, wan, cdn: self.shared.wire_bytes.load(Ordering::Relaxed) };
        self.brought.banned = self.peers.banned();
        self.brought.why_no_peers = self.peers.why_none(lan + wan, !self.peer_names.is_empty());
        Ok(self.brought)
    }

    /// Begins sessions with the peers that were named. Not before it is known that something is public: whoever
    /// connects names the repository.
    fn start_peers(&mut self) {
        let Commit { repo_type, repo, .. } = &*self.commit;
        let swarm = repo_swarm(self.hub.endpoint(), &repo_type.to_string(), repo.as_str());
        for name in std::mem::take(&mut self.peer_names) {
            let (board, shared) = (self.board.clone(), self.shared.clone());
            self.peers
                .start(&name, Leech { swarm, board, shared, local: self.local_files(), deadline: self.peer_deadline });
        }
    }

    fn local_files(&self) -> LocalFiles {
        LocalFiles::new(self.index.clone(), self.hub.endpoint())
    }

    fn enqueue(&mut self, group: Group) {
        let is_plain = group.is_plain || self.is_cas_given_up();
        let group = Group { is_plain, ..group };
        match group.chunked() {
            Some(_) => self.waiting.push_back(group),
            None => self.waiting_whole.push_back(group),
        }
    }

    /// Keeps as much going as the limits allow.
    async fn start_more(&mut self) {
        while let Some((number, entry)) = self.board.schedule(|scheduler, _| scheduler.poll_abandoned()) {
            self.abandon(number, entry).await;
        }
        while let Some(command) = self.board.schedule(|scheduler, now| scheduler.poll(ORIGIN, now)) {
            match command {
                Command::Fetch { request, file, what } => self.start_stream(request, file, what),
                Command::Cancel { request } => {
                    if let Some(stream) = self.streams.remove(&request) {
                        stream.abort();
                    }
                }
            }
        }
        while !self.waiting_whole.is_empty()
            && let Some(slot) = take(&self.slots.whole)
            && let Some(group) = self.waiting_whole.pop_front()
        {
            self.claim(group, slot);
        }
        while !self.waiting.is_empty()
            && self.board.schedule(|scheduler, _| scheduler.untouched_entries()) < WAITING_ENTRIES_MAX
            && self.open.len() < OPEN_FILES_MAX
            && let Some(slot) = take(&self.slots.plans)
            && let Some(group) = self.waiting.pop_front()
        {
            self.claim(group, slot);
        }
    }

    fn start_plan(&mut self, number: usize, hash: FileHash, slot: OwnedSemaphorePermit) {
        let Some(open) = self.open.get(&number) else { return };
        let (cas, file, folder) = (self.cas.clone(), open.group.file().clone(), self.place.partial_folder());
        let provenance = self.place.provenance(&file);
        let (publicness, is_anonymous, has_peers) = (self.publicness.clone(), self.hub.is_anonymous(), self.has_peers);
        // What is here was wrong the first time, or some of it: a source that says wrong things of a xorb once says
        // them again.
        let is_first_try = !open.group.is_second_try;
        let local = is_first_try.then(|| (self.remains.clone(), self.local_files()));
        let shared = self.shared.clone();
        self.start(number, slot, async move {
            let planned = async {
                let plan = plan(&cas, hash, file.size).await?;
                let (etag, file_bytes) = (file.etag().to_owned(), file.size);
                let begin = move || begin_locally(local, &folder, &etag, file_bytes, plan);
                let begun = tokio::task::spawn_blocking(begin).await.map_err(Error::internal)??;
                let Local { mut plan, partial, present, left_bytes } = begun;
                if present.bytes() > 0 {
                    shared.tell_local(&file.path, left_bytes, present.bytes() - left_bytes).await;
                    plan = without_present(&cas, hash, plan, &present).await;
                }
                let mut work = FileWork::new(number, hash, cas, partial, &plan, file.size, &present);
                // What was planned without a token is public; else it has to be shown before any peer is asked.
                work.is_shareable = has_peers && (is_anonymous || publicness.is_public(&provenance, hash).await);
                Ok((plan, Arc::new(work)))
            };
            Step::Planned(planned.await)
        });
    }

    fn start_whole(&mut self, number: usize, slot: OwnedSemaphorePermit) {
        let Some(open) = self.open.get(&number) else { return };
        let (file, place) = (open.group.file().clone(), (self.remains.clone(), self.place.partial_folder()));
        let fetch = fetch_whole(self.hub.clone(), self.commit.clone(), file, place, self.shared.clone());
        self.start(number, slot, async move { Step::Whole(fetch.await) });
    }

    fn start_stream(&mut self, request: RequestNumber, number: usize, what: What) {
        let open = self.open.get(&number);
        let (What::Entry(entry), Some((file, plan))) =
            (what, open.and_then(|open| Some((open.work.clone()?, open.entries.get(entry_of(what)?)?.clone()))))
        else {
            self.board.schedule(|scheduler, now| scheduler.ended(request, Outcome::Failed, now));
            return;
        };
        let fetch = fetch_entry(Stream { request, file, entry }, plan, self.shared.clone());
        let stream = self.tasks.spawn(async move { (number, Step::Entry(request, entry, fetch.await)) });
        self.streams.insert(request, stream);
    }

    fn open(&mut self, group: Group) -> usize {
        let number = self.next_number;
        self.next_number += 1;
        self.open.insert(
            number,
            OpenFile {
                group,
                tasks: Vec::new(),
                is_closing: false,
                stuck_ticks: 0,
                entries: Vec::new(),
                work: None,
                bytes: SourceBytes::default(),
            },
        );
        number
    }

    fn start(&mut self, number: usize, slot: OwnedSemaphorePermit, work: impl Future<Output = Step> + Send + 'static) {
        let task = self.tasks.spawn(async move {
            let step = work.await;
            drop(slot);
            (number, step)
        });
        if let Some(open) = self.open.get_mut(&number) {
            open.tasks.push(task);
        }
    }

    async fn handle(&mut self, number: usize, step: Step) {
        let result = match step {
            Step::Claimed(Ok(claim), slot) => {
                self.claimed(number, claim, slot).await;
                Ok(())
            }
            Step::Claimed(Err(error), _) => Err(error),
            Step::Planned(Ok((plan, work))) => {
                self.begin_file(number, plan, work);
                Ok(())
            }
            Step::Planned(Err(Error::Client(error))) if self.may_fall_back(&error) => {
                self.fall_back(number, &error).await;
                Ok(())
            }
            Step::Planned(Err(error)) => Err(error),
            Step::Entry(request, entry, fetched) => self.streamed(number, request, entry, fetched).await,
            Step::Whole(verified) => verified.map(|(verified, left_bytes)| {
                if let Some(open) = self.open.get_mut(&number) {
                    let cdn = open.group.bytes().saturating_sub(left_bytes);
                    open.bytes = SourceBytes { local: left_bytes, cdn, ..Default::default() };
                }
                self.put(number, None, move || Ok(verified));
            }),
            Step::InPlace(Ok(record)) => {
                self.close_file(number, record).await;
                Ok(())
            }
            Step::InPlace(Err(error)) => Err(error),
        };
        if let Err(error) = result {
            self.fail_file(number, error).await;
        }
    }

    fn begin_file(&mut self, number: usize, plan: FilePlan, work: Arc<FileWork>) {
        self.cas_failures_in_a_row = 0;
        let Some(open) = self.open.get_mut(&number) else { return };
        open.work = Some(work.clone());
        open.entries = plan.entries;
        let is_shareable = work.is_shareable;
        self.board.add(work);
        if is_shareable && !self.peer_names.is_empty() {
            self.start_peers();
        }
        self.verify_if_complete(number);
    }

    /// When all bytes are there: closes the hash chain and puts the file in place.
    fn verify_if_complete(&mut self, number: usize) {
        let Some(open) = self.open.get_mut(&number) else { return };
        let Some(work) = open.work.take_if(|work| work.ledger().is_complete()) else { return };
        self.board.remove(number);
        let [lan, wan, cdn, local] = work.ledger().by_source();
        open.bytes = SourceBytes { local, lan, wan, cdn };
        let path = open.group.file().path.clone();
        self.put(number, Some(work.hash), move || {
            VerifiedFile::from_chunks(work).map_err(|error| Error::Integrity { path, reason: error.to_string() })
        });
    }

    fn put(
        &mut self,
        number: usize,
        xet_hash: Option<FileHash>,
        verify: impl FnOnce() -> Result<VerifiedFile, Error> + Send + 'static,
    ) {
        let Some(open) = self.open.get_mut(&number) else { return };
        open.is_closing = true;
        let (place, index, group) = (self.place.clone(), self.index.clone(), open.group.clone());
        let remains = self.remains.clone();
        self.tasks.spawn_blocking(move || {
            let put = || {
                let verified = verify()?;
                if let Some(hash) = xet_hash
                    && let Err(error) = index.store_leaves(hash, verified.leaves())
                {
                    tracing::info!(%error, "cannot keep a leaf list");
                }
                let in_place = place.put(&verified, &group.files)?;
                remains.remove(group.file().etag());
                let checked = match xet_hash {
                    Some(hash) => Checked::Xet(hash.to_string(), verified.xorbs().to_vec(), verified.runs().clone()),
                    None => Checked::Etag(group.file().etag().to_owned()),
                };
                Ok(in_place.and_then(|(path, identity)| record(&place, group.file(), path, identity, checked)))
            };
            (number, Step::InPlace(put()))
        });
    }

    async fn close_file(&mut self, number: usize, record: Option<FileRecord>) {
        let Some(open) = self.open.remove(&number) else { return };
        let (content, SourceBytes { local, lan, wan, cdn }) = (&mut self.brought.content, open.bytes);
        content.local += local;
        content.lan += lan;
        content.wan += wan;
        content.cdn += cdn;
        self.failures_in_a_row = 0;
        self.records.extend(record);
        if self.records.len() >= RECORDS_MAX || open.group.bytes() >= RECORD_AT_ONCE_BYTES {
            self.flush_records().await;
        }
        for file in open.group.files {
            self.shared.tell(Event::FileDone { path: file.path, bytes: file.size }).await;
        }
    }

    async fn flush_records(&mut self) {
        let (index, records) = (self.index.clone(), std::mem::take(&mut self.records));
        self.indexing.add(&records);
        let recorded = tokio::task::spawn_blocking(move || index.record(&records)).await;
        if let Ok(Err(error)) = recorded {
            self.shared.tell(Event::Warning { message: error.to_string() }).await;
        }
    }

    /// Tells the scheduler what is to come after what it knows of.
    fn tell_left(&self, total_bytes: u64) {
        let waiting: u64 = self.waiting.iter().map(Group::bytes).sum();
        let left = total_bytes.saturating_sub(self.shared.written_bytes.load(Ordering::Relaxed));
        self.board.schedule(|scheduler, _| scheduler.set_left(if waiting > 0 { left } else { 0 }));
    }

    /// Left out when the watcher is behind: the next one says more.
    fn tell_progress(&self, total_bytes: u64) {
        let event = Event::Progress {
            bytes: self.shared.written_bytes.load(Ordering::Relaxed).min(total_bytes),
            total_bytes,
            wire_bytes: self.shared.wire_bytes.load(Ordering::Relaxed),
        };
        if self.shared.events.try_send(event).is_err() {
            tracing::trace!("progress was left out");
        }
    }
}

/// Asks how a file is put together. An empty one is in no xorb, and the CAS need not know it.
async fn plan(cas: &Cas, hash: FileHash, bytes: u64) -> Result<FilePlan, Error> {
    let mut reconstruction = Reconstruction::default();
    if bytes > 0 {
        reconstruction = cas.reconstruct(hash, bytes).await?;
    }
    FilePlan::new(reconstruction, bytes).map_err(|error| {
        let what = format!("reconstruction of {hash}");
        client::Error::Malformed { what, reason: error.to_string() }.into()
    })
}

/// A file that is begun with what is on this machine.
struct Local {
    plan: FilePlan,
    partial: Partial,
    present: Present,
    /// What of it an earlier pull had left; the rest was copied.
    left_bytes: u64,
}

/// Takes up what an earlier pull has left of a file, and copies what other files hold; or begins with nothing.
fn begin_locally(
    local: Option<(Arc<Remains>, LocalFiles)>,
    folder: &Path,
    etag: &str,
    bytes: u64,
    plan: FilePlan,
) -> Result<Local, Error> {
    let Some((remains, local_files)) = local else {
        let (partial, _) = Partial::take_up(&Remains::default(), folder, etag, bytes)?;
        return Ok(Local { plan, partial, present: Present::default(), left_bytes: 0 });
    };
    let (partial, taken_up) = Partial::take_up(&remains, folder, etag, bytes)?;
    let mut present = resume::look(&partial, &taken_up, &plan)?;
    let left_bytes = present.bytes();
    local_files.copy(&partial, &plan, &mut present)?;
    Ok(Local { plan, partial, present, left_bytes })
}

/// The plan without what is there: for entries of which some is, the CAS is asked for smaller ones. One that does not
/// give them is not asked again: whole entries do as well.
async fn without_present(cas: &Cas, hash: FileHash, plan: FilePlan, present: &Present) -> FilePlan {
    let needs = plan.needs(present);
    let mut entries = Vec::with_capacity(plan.entries.len());
    let mut gives_parts = plan.gives_parts;
    for (entry, need) in plan.entries.into_iter().zip(needs) {
        match need {
            Need::Nothing => {}
            Need::Parts(parts) if gives_parts => match plan_parts(cas, hash, &parts).await {
                Ok(smaller) => entries.extend(smaller),
                Err(error) => {
                    tracing::info!(%error, "the CAS gives no smaller entries");
                    gives_parts = false;
                    entries.push(entry);
                }
            },
            Need::Whole | Need::Parts(_) => entries.push(entry),
        }
    }
    FilePlan { entries, gives_parts, ..plan }
}

fn entry_of(what: What) -> Option<usize> {
    if let What::Entry(entry) = what { Some(entry as usize) } else { None }
}

async fn wait_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

#[expect(clippy::disallowed_methods, reason = "a pull is a shell: this is the clock of its limit")]
fn now() -> Instant {
    Instant::now()
}
