//! Fetching what is missing: plans a few files ahead, keeps a bounded number of fetches going, and puts
//! each file in place when it is complete.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::MissedTickBehavior;
use xet_cas::client::{self, Cas, Commit, Content, Hub};
use xet_cas::{ChunkHash, FileHash, Leaf, Reconstruction};

use super::presence::record;
use super::{Config, Group};
use crate::fetch::{PlacedLeaves, Shared, XetSource, fetch_entry, fetch_whole};
use crate::plan::{EntryPlan, FilePlan};
use crate::store::{FileRecord, Index, Partial, Place};
use crate::verified::VerifiedFile;
use crate::{Error, ErrorKind, Event};

/// Files that are planned but not finished, at most: each has an open file and a chunk list.
const OPEN_FILES_MAX: usize = 16;
/// Entries that are planned and wait for a fetch, at most, before the next file is planned. Signed URLs
/// age, so not many more than are fetched in the next minutes.
const WAITING_ENTRIES_MAX: usize = 64;
/// Files that fail in a row for lack of a working source before the rest is given up too.
const FAILURES_IN_A_ROW_MAX: usize = 3;
/// How often progress is told.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);
/// Verified files that are remembered in the index in one go.
const RECORDS_MAX: usize = 256;

/// The fetching part of a pull.
pub(super) struct Job {
    hub: Arc<Hub>,
    commit: Arc<Commit>,
    place: Arc<Place>,
    index: Index,
    fetches_max: usize,
    shared: Arc<Shared>,
    /// Content that nobody works on yet.
    waiting: VecDeque<Group>,
    /// Content that is being fetched, by a number of its own.
    open: HashMap<usize, OpenFile>,
    next_number: usize,
    entries: VecDeque<(usize, EntryPlan)>,
    tasks: JoinSet<(usize, Step)>,
    /// Tasks that fetch data, as opposed to plans and puttings in place.
    fetching: usize,
    records: Vec<FileRecord>,
    failures: Vec<(usize, Error)>,
    failures_in_a_row: usize,
}

struct OpenFile {
    group: Group,
    tasks: Vec<AbortHandle>,
    /// For content in the CAS, once it is planned.
    assembly: Option<Assembly>,
}

/// A file that is being put together from entries.
struct Assembly {
    source: Arc<XetSource>,
    partial: Arc<Partial>,
    leaves: Vec<Leaf>,
    entries_left: usize,
}

/// What a task reports.
enum Step {
    Planned(Result<Box<(Arc<XetSource>, FilePlan, Partial)>, Error>),
    Entry(Result<PlacedLeaves, Error>),
    Whole(Result<VerifiedFile, Error>),
    InPlace(Result<Option<FileRecord>, Error>),
}

impl Job {
    pub(super) fn new(
        hub: Arc<Hub>,
        commit: Commit,
        place: Arc<Place>,
        index: Index,
        config: &Config,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let shared = Shared {
            workers: Arc::new(Semaphore::new(config.workers.max(1))),
            wire_bytes: AtomicU64::new(0),
            written_bytes: AtomicU64::new(0),
            events,
        };
        Self {
            hub,
            commit: Arc::new(commit),
            place,
            index,
            fetches_max: config.fetches_max.max(1),
            shared: Arc::new(shared),
            waiting: VecDeque::new(),
            open: HashMap::new(),
            next_number: 0,
            entries: VecDeque::new(),
            tasks: JoinSet::new(),
            fetching: 0,
            records: Vec::new(),
            failures: Vec::new(),
            failures_in_a_row: 0,
        }
    }

    /// Fetches all of it; returns the bytes received.
    pub(super) async fn run(mut self, groups: Vec<Group>, total_bytes: u64) -> Result<u64, Error> {
        let count = groups.len();
        self.waiting = groups.into();
        let cas = self.hub.cas(&self.commit)?;
        let mut ticks = tokio::time::interval(PROGRESS_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            self.start_more(&cas);
            tokio::select! {
                step = self.tasks.join_next() => match step {
                    None => break,
                    Some(Ok((number, step))) => self.handle(number, step).await?,
                    Some(Err(error)) if error.is_cancelled() => self.fetching -= 1,
                    Some(Err(error)) => return Err(Error::internal(error)),
                },
                _ = ticks.tick() => self.tell_progress(total_bytes),
            }
        }
        self.flush_records().await;
        self.tell_progress(total_bytes);
        self.outcome(count).map(|()| self.shared.wire_bytes.load(Ordering::Relaxed))
    }

    /// Keeps as much going as the limits allow.
    fn start_more(&mut self, cas: &Cas) {
        while self.fetching < self.fetches_max {
            let Some((number, plan)) = self.entries.pop_front() else { break };
            self.start_entry(number, plan);
        }
        while self.open.len() < OPEN_FILES_MAX && self.entries.len() < WAITING_ENTRIES_MAX {
            let Some(group) = self.waiting.pop_front() else { break };
            self.open_file(group, cas);
        }
    }

    fn open_file(&mut self, group: Group, cas: &Cas) {
        let number = self.next_number;
        self.next_number += 1;
        let file = group.file().clone();
        let folder = self.place.partial_folder();
        let task = match &file.content {
            Content::Xet { hash, .. } => {
                let source = Arc::new(XetSource { cas: cas.clone(), hash: *hash, bytes: file.size });
                self.tasks.spawn(async move {
                    let planned = async {
                        let reconstruction = reconstruct(&source).await?;
                        let plan =
                            FilePlan::new(reconstruction, file.size).map_err(|error| malformed(source.hash, error))?;
                        let partial = Partial::create(&folder, file.etag(), file.size)?;
                        Ok(Box::new((source, plan, partial)))
                    };
                    (number, Step::Planned(planned.await))
                })
            }
            _ => {
                self.fetching += 1;
                let fetch = fetch_whole(self.hub.clone(), self.commit.clone(), file, folder, self.shared.clone());
                self.tasks.spawn(async move { (number, Step::Whole(fetch.await)) })
            }
        };
        self.open.insert(number, OpenFile { group, tasks: vec![task], assembly: None });
    }

    fn start_entry(&mut self, number: usize, plan: EntryPlan) {
        let Some(open) = self.open.get_mut(&number) else { return };
        let Some(assembly) = &open.assembly else { return };
        let fetch = fetch_entry(assembly.source.clone(), plan, assembly.partial.clone(), self.shared.clone());
        self.fetching += 1;
        open.tasks.push(self.tasks.spawn(async move { (number, Step::Entry(fetch.await)) }));
    }

    async fn handle(&mut self, number: usize, step: Step) -> Result<(), Error> {
        let result = match step {
            Step::Planned(planned) => planned.map(|planned| self.begin_assembly(number, *planned)),
            Step::Entry(placed) => {
                self.fetching -= 1;
                placed.map(|placed| self.take_leaves(number, placed))
            }
            Step::Whole(verified) => {
                self.fetching -= 1;
                verified.map(|verified| self.put(number, None, move || Ok(verified)))
            }
            Step::InPlace(done) => match done {
                Ok(record) => {
                    self.close_file(number, record).await;
                    Ok(())
                }
                Err(error) => Err(error),
            },
        };
        match result {
            Ok(()) => Ok(()),
            Err(error) => self.fail_file(number, error).await,
        }
    }

    fn begin_assembly(&mut self, number: usize, (source, plan, partial): (Arc<XetSource>, FilePlan, Partial)) {
        let Some(open) = self.open.get_mut(&number) else { return };
        let leaves = vec![Leaf { hash: ChunkHash::ZERO, length: 0 }; plan.leaf_count];
        let entries_left = plan.entries.len();
        open.assembly = Some(Assembly { source, partial: Arc::new(partial), leaves, entries_left });
        self.entries.extend(plan.entries.into_iter().map(|entry| (number, entry)));
        if entries_left == 0 {
            self.verify(number);
        }
    }

    fn take_leaves(&mut self, number: usize, placed: PlacedLeaves) {
        let Some(assembly) = self.open.get_mut(&number).and_then(|open| open.assembly.as_mut()) else { return };
        for (at, leaf) in placed {
            assembly.leaves[at] = leaf;
        }
        assembly.entries_left -= 1;
        if assembly.entries_left == 0 {
            self.verify(number);
        }
    }

    /// All bytes are there: closes the hash chain and puts the file in place.
    fn verify(&mut self, number: usize) {
        let Some(open) = self.open.get_mut(&number) else { return };
        let Some(assembly) = open.assembly.take() else { return };
        let path = open.group.file().path.clone();
        let hash = assembly.source.hash;
        self.put(number, Some(hash), move || {
            let partial =
                Arc::into_inner(assembly.partial).ok_or_else(|| Error::internal("a partial file has two owners"))?;
            VerifiedFile::from_leaves(partial, assembly.leaves, hash)
                .map_err(|error| Error::Integrity { path, reason: error.to_string() })
        });
    }

    fn put(
        &mut self,
        number: usize,
        xet_hash: Option<FileHash>,
        verify: impl FnOnce() -> Result<VerifiedFile, Error> + Send + 'static,
    ) {
        let Some(open) = self.open.get_mut(&number) else { return };
        let (place, index, group) = (self.place.clone(), self.index.clone(), open.group.clone());
        open.tasks.push(self.tasks.spawn_blocking(move || {
            let put = || {
                let verified = verify()?;
                if let Some(hash) = xet_hash
                    && let Err(error) = index.store_leaves(hash, verified.leaves())
                {
                    tracing::info!(%error, "cannot keep a leaf list");
                }
                let in_place = place.put(verified, &group.files)?;
                Ok(in_place.map(|(path, identity)| record(&place, group.file(), path, identity)))
            };
            (number, Step::InPlace(put()))
        }));
    }

    async fn close_file(&mut self, number: usize, record: Option<FileRecord>) {
        let Some(open) = self.open.remove(&number) else { return };
        self.failures_in_a_row = 0;
        self.records.extend(record);
        if self.records.len() >= RECORDS_MAX {
            self.flush_records().await;
        }
        for file in open.group.files {
            self.shared.tell(Event::FileDone { path: file.path, bytes: file.size }).await;
        }
    }

    /// Gives up one file, and with it the pull if others would fare no better.
    async fn fail_file(&mut self, number: usize, error: Error) -> Result<(), Error> {
        let Some(open) = self.open.remove(&number) else { return Ok(()) };
        open.tasks.iter().for_each(AbortHandle::abort);
        self.entries.retain(|(owner, _)| *owner != number);
        if error.kind() == Some(ErrorKind::Integrity) && !open.group.is_second_try {
            // Bytes can be damaged on the way; a source that is wrong twice is wrong.
            self.shared.tell(Event::Retry { what: open.group.file().path.clone(), reason: error.to_string() }).await;
            self.waiting.push_back(Group { is_second_try: true, ..open.group });
            return Ok(());
        }
        for file in &open.group.files {
            self.shared.tell(Event::FileFailed { path: file.path.clone(), reason: error.to_string() }).await;
        }
        self.failures_in_a_row += 1;
        let is_hopeless = match error.kind() {
            Some(ErrorKind::Disk | ErrorKind::NotAuthorised) => true,
            Some(ErrorKind::Network) => self.failures_in_a_row >= FAILURES_IN_A_ROW_MAX,
            _ => false,
        };
        let path = open.group.file().path.clone();
        let error = match error {
            error @ (Error::Integrity { .. } | Error::Disk { .. }) => error,
            error => Error::File { path, source: Box::new(error) },
        };
        self.failures.push((open.group.files.len(), error));
        if is_hopeless {
            self.waiting.clear();
        }
        Ok(())
    }

    async fn flush_records(&mut self) {
        let (index, records) = (self.index.clone(), std::mem::take(&mut self.records));
        let recorded = tokio::task::spawn_blocking(move || index.record(&records)).await;
        if let Ok(Err(error)) = recorded {
            self.shared.tell(Event::Warning { message: error.to_string() }).await;
        }
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

    fn outcome(&mut self, files: usize) -> Result<(), Error> {
        let failed = self.failures.iter().map(|(files, _)| files).sum();
        let kinds: Vec<_> = self.failures.iter().map(|(_, error)| error.kind()).collect();
        let same_kind = kinds.windows(2).all(|pair| pair[0] == pair[1]);
        let mut failures = std::mem::take(&mut self.failures).into_iter().map(|(_, error)| error);
        let Some(first) = failures.next() else { return Ok(()) };
        if failures.next().is_none() {
            return Err(first);
        }
        Err(Error::Partial { failed, files, first: Box::new(first), same_kind })
    }
}

/// An empty file is in no xorb, and the CAS need not know it.
async fn reconstruct(source: &XetSource) -> Result<Reconstruction, Error> {
    if source.bytes == 0 {
        return Ok(Reconstruction::default());
    }
    Ok(source.cas.reconstruct(source.hash, source.bytes).await?)
}

fn malformed(hash: FileHash, source: xet_cas::Error) -> Error {
    client::Error::Format { what: format!("reconstruction of {hash}"), source }.into()
}
