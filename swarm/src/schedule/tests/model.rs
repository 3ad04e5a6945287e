//! Sources that bring chunks at their rates, with faults; a store that counts them; and a clock that goes in steps.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use xet_cas::XorbHash;

use super::super::{
    Ability, BLOCK_BYTES, BlockSpec, Command, Config, EntrySpec, FileNumber, Finished, ORIGIN, Outcome, RequestNumber,
    Scheduler, SourceMode, SourceNumber, What,
};
use crate::token_bucket::TokenBucket;

pub(super) const CHUNK_BYTES: u64 = 512 * 1024;
const CHUNKS_A_BLOCK: usize = (BLOCK_BYTES / CHUNK_BYTES) as usize;
/// How far the clock goes at once; later in a run, when slow sources are waited for, so much more.
const STEP_MILLIS: u64 = 10;
const LATER_STEPS: [(u64, u32); 3] = [(600, 50), (60, 5), (0, 1)];
const REQUEST_DEADLINE_SECONDS: u64 = 10;
/// A run that takes longer than this, in its own time, hangs.
const HANGS_AFTER_SECONDS: u64 = 4_000;
/// What a source may bring at once when it brought nothing for a while.
const BURST: f64 = 30.0;
/// More commands for one source at one moment do not come to an end.
const COMMANDS_MAX: u32 = 10_000;
const OPEN_FILES_MAX: usize = 16;

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Faults {
    /// It says that it has everything, and sends nothing.
    pub(super) is_silent: bool,
    /// After so many chunks: it sends nothing more, sends a wrong one, leaves.
    pub(super) stops_after: Option<u32>,
    pub(super) lies_after: Option<u32>,
    pub(super) leaves_after: Option<u32>,
    /// It answers the last request first.
    pub(super) is_reverse: bool,
    /// It sends nothing for seconds, and then everything at once.
    pub(super) bursts: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    /// Bytes a second.
    pub(super) rate: f64,
    pub(super) latency: Duration,
    pub(super) faults: Faults,
    /// How long it is away when it has left.
    pub(super) returns_after: Option<Duration>,
}

impl Peer {
    pub(super) fn of(rate: f64) -> Self {
        Self { rate, latency: Duration::from_millis(10), faults: Faults::default(), returns_after: None }
    }
}

#[derive(Debug)]
struct Connected {
    peer: Peer,
    /// Bytes that it may send.
    credit: f64,
    chunks: u32,
    requests: Vec<Open>,
}

#[derive(Debug)]
struct Open {
    request: RequestNumber,
    file: FileNumber,
    what: What,
    begins_at: Instant,
    /// Chunks of it that were sent.
    next: usize,
    /// What was missing of it when it was asked for.
    chunks: Vec<(u32, usize)>,
}

/// A region of a file: its chunks, and which of them are stored.
#[derive(Debug)]
struct Region {
    entry: u32,
    bytes: u64,
    stored: Vec<bool>,
    is_listed: bool,
}

impl Region {
    fn chunk_bytes(&self, at: usize) -> u64 {
        CHUNK_BYTES.min(self.bytes - at as u64 * CHUNK_BYTES)
    }

    /// Bytes of a block, and how many of them are not stored.
    fn block(&self, block: usize) -> (u64, u64) {
        let chunks = block * CHUNKS_A_BLOCK..self.stored.len().min((block + 1) * CHUNKS_A_BLOCK);
        let bytes = chunks.clone().map(|at| self.chunk_bytes(at)).sum();
        (bytes, chunks.filter(|at| !self.stored[*at]).map(|at| self.chunk_bytes(at)).sum())
    }

    fn blocks(&self) -> Vec<BlockSpec> {
        let block = |at| {
            let (bytes, missing_bytes) = self.block(at);
            BlockSpec { start: at as u64 * BLOCK_BYTES, bytes, missing_bytes }
        };
        (0..self.stored.len().div_ceil(CHUNKS_A_BLOCK)).map(block).collect()
    }
}

#[derive(Debug)]
pub(super) struct Model {
    scheduler: Scheduler,
    start: Instant,
    now: Instant,
    step: Duration,
    random: SmallRng,
    files: BTreeMap<FileNumber, Vec<Region>>,
    pub(super) origin_rate: f64,
    /// What all sources together may bring in a second.
    pub(super) link_rate: Option<f64>,
    /// How far the clock goes at once, at the beginning.
    pub(super) first_step: Duration,
    /// From when to when the origin gives nothing.
    pub(super) origin_fails: Option<(Duration, Duration)>,
    sources: BTreeMap<SourceNumber, Connected>,
    away: Vec<(Instant, Peer)>,
    to_poll: BTreeSet<SourceNumber>,
    /// Files that are not open yet, with their entries' regions.
    waiting: VecDeque<(FileNumber, Vec<Vec<u64>>)>,
    missing_chunks: usize,
    /// The CAS gives entries of parts of a file.
    pub(super) gives_parts: bool,
    /// Requests in all.
    requests: usize,
    pub(super) origin_bytes: u64,
    pub(super) wasted_bytes: u64,
    total_bytes: u64,
    /// Files that are neither complete nor given up.
    count: usize,
    pub(super) abandoned: Vec<(FileNumber, Option<u32>)>,
    /// When the origin may read on.
    limited_until: Option<Instant>,
}

impl Model {
    pub(super) fn new(mode: SourceMode, seed: u64) -> Self {
        Self::with_limit(mode, seed, None)
    }

    pub(super) fn with_limit(mode: SourceMode, seed: u64, limit: Option<NonZeroU64>) -> Self {
        #[expect(clippy::disallowed_methods, reason = "an origin for fake time")]
        let now = Instant::now();
        let limit = limit.map(|rate| TokenBucket::new(rate, rate.get(), now));
        let config =
            Config { mode, streams: 8, request_deadline: Duration::from_secs(REQUEST_DEADLINE_SECONDS), limit, seed };
        let origin = Connected {
            peer: Peer { latency: Duration::from_millis(30), ..Peer::of(0.0) },
            credit: 0.0,
            chunks: 0,
            requests: Vec::new(),
        };
        Self {
            scheduler: Scheduler::new(config, now),
            start: now,
            now,
            step: Duration::from_millis(STEP_MILLIS),
            random: SmallRng::seed_from_u64(seed),
            files: BTreeMap::new(),
            origin_rate: 0.0,
            link_rate: None,
            first_step: Duration::from_millis(STEP_MILLIS),
            origin_fails: None,
            sources: BTreeMap::from([(ORIGIN, origin)]),
            away: Vec::new(),
            to_poll: BTreeSet::from([ORIGIN]),
            waiting: VecDeque::new(),
            missing_chunks: 0,
            gives_parts: true,
            requests: 0,
            origin_bytes: 0,
            wasted_bytes: 0,
            total_bytes: 0,
            count: 0,
            abandoned: Vec::new(),
            limited_until: None,
        }
    }

    /// Entries of regions, in MiB.
    pub(super) fn add_file(&mut self, number: FileNumber, entries: &[&[u64]]) {
        let entries: Vec<Vec<u64>> =
            entries.iter().map(|regions| regions.iter().map(|mib| mib * 1024 * 1024).collect()).collect();
        self.add_entries(number, &entries);
    }

    pub(super) fn add_file_of_bytes(&mut self, number: FileNumber, bytes: u64) {
        self.add_entries(number, &[vec![bytes]]);
    }

    fn add_entries(&mut self, number: FileNumber, entries: &[Vec<u64>]) {
        let chunks = |bytes: &u64| bytes.div_ceil(CHUNK_BYTES) as usize;
        self.missing_chunks += entries.iter().flatten().map(chunks).sum::<usize>();
        self.total_bytes += entries.iter().flatten().sum::<u64>();
        self.count += 1;
        self.waiting.push_back((number, entries.to_vec()));
        self.open_more();
    }

    /// As a pull does: some files at once.
    fn open_more(&mut self) {
        while self.files.len() < OPEN_FILES_MAX
            && let Some((number, entries)) = self.waiting.pop_front()
        {
            self.open(number, &entries);
        }
    }

    fn open(&mut self, number: FileNumber, entries: &[Vec<u64>]) {
        let (mut regions, mut specs) = (Vec::new(), Vec::new());
        for (entry, bytes) in entries.iter().enumerate() {
            for bytes in bytes {
                let stored = vec![false; bytes.div_ceil(CHUNK_BYTES) as usize];
                regions.push(Region { entry: entry as u32, bytes: *bytes, stored, is_listed: false });
            }
            specs.push(EntrySpec {
                regions: bytes.iter().map(|bytes| (*bytes, *bytes)).collect(),
                xorb: XorbHash::from_bytes([entry as u8; 32]),
                xorb_bytes: bytes.iter().sum(),
            });
        }
        self.files.insert(number, regions);
        self.scheduler.add_file(number, &specs, true, self.now);
        for source in self.sources.keys().filter(|source| **source != ORIGIN) {
            self.scheduler.decide(*source, number, true);
        }
    }

    pub(super) fn connect(&mut self, peer: Peer) {
        let number = self.scheduler.add_peer();
        self.scheduler.meet_peer(number, Ability::Prove);
        for file in self.files.keys() {
            self.scheduler.decide(number, *file, true);
        }
        self.sources.insert(number, Connected { peer, credit: 0.0, chunks: 0, requests: Vec::new() });
    }

    pub(super) fn origin_latency(&mut self, latency: Duration) {
        if let Some(origin) = self.sources.get_mut(&ORIGIN) {
            origin.peer.latency = latency;
        }
    }

    pub(super) fn total(&self) -> f64 {
        self.total_bytes as f64
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    pub(super) fn is_complete(&self) -> bool {
        self.missing_chunks == 0
    }

    /// Everything that came, less what was needed, is within the bound of 2 % and eight blocks. What was on its way when
    /// a source failed is not counted: it was not asked of two at once.
    #[track_caller]
    pub(super) fn check_waste(&self) {
        let max = 0.02 * self.total() + (8 * BLOCK_BYTES) as f64;
        assert!(self.wasted_bytes as f64 <= max, "{} bytes came twice, at most {max} may", self.wasted_bytes);
    }

    /// Whatever fails, there are not many more requests than blocks and lists, and some for what time brings.
    #[track_caller]
    pub(super) fn check_requests(&self) {
        let units = self.total_bytes.div_ceil(BLOCK_BYTES) as usize;
        let max = 4 * units + 50 + 20 * self.elapsed().as_secs() as usize;
        assert!(self.requests <= max, "{} requests for {units} blocks in {:?}", self.requests, self.elapsed());
    }

    /// Until everything is stored or given up.
    pub(super) fn run(&mut self) {
        while self.count > 0 {
            assert!(self.elapsed().as_secs() < HANGS_AFTER_SECONDS, "it hangs: {:?}", self.scheduler);
            let due = self.scheduler.poll_timeout();
            assert!(due.is_some(), "nothing will happen by itself: {:?}", self.scheduler);
            let waiting: u64 = self.waiting.iter().flat_map(|(_, entries)| entries.iter().flatten()).sum();
            let left = self.missing_chunks as u64 * CHUNK_BYTES;
            self.scheduler.set_left(if waiting > 0 { left } else { 0 });
            self.step = self.next_step();
            self.now += self.step;
            if due.is_some_and(|due| due <= self.now) {
                self.scheduler.handle_timeout(self.now);
            }
            while let Some(abandoned) = self.scheduler.poll_abandoned() {
                self.close(abandoned.0);
                self.abandoned.push(abandoned);
            }
            for (_, peer) in self.away.extract_if(.., |(at, _)| *at <= self.now).collect::<Vec<_>>() {
                self.connect(peer);
            }
            self.poll();
            self.bring();
        }
    }

    fn next_step(&self) -> Duration {
        let later = LATER_STEPS.iter().find(|(after, _)| self.elapsed().as_secs() >= *after);
        self.first_step * later.map_or(1, |(_, times)| *times)
    }

    fn poll(&mut self) {
        self.to_poll.extend(self.scheduler.take_woken());
        while let Some(number) = self.to_poll.pop_first() {
            let mut commands = 0;
            while let Some(command) = self.scheduler.poll(number, self.now) {
                commands += 1;
                assert!(commands < COMMANDS_MAX, "there is no end to what source {number} is told: {command:?}");
                let Some(source) = self.sources.get_mut(&number) else { break };
                match command {
                    Command::Fetch { request, file, what } => {
                        self.requests += 1;
                        let begins_at = self.now + source.peer.latency;
                        let chunks = missing(&self.files[&file], what, self.gives_parts);
                        source.requests.push(Open { request, file, what, begins_at, next: 0, chunks });
                    }
                    Command::Cancel { request } => source.requests.retain(|open| open.request != request),
                }
            }
            self.to_poll.extend(self.scheduler.take_woken());
        }
    }

    /// One step of every source, in a random order.
    fn bring(&mut self) {
        let mut numbers: Vec<_> = self.sources.keys().copied().collect();
        for at in 1..numbers.len() {
            numbers.swap(at, self.random.random_range(0..=at));
        }
        let mut link = self.link_rate.map(|rate| rate * self.step.as_secs_f64());
        for number in numbers {
            let is_origin = number == ORIGIN;
            let Some(source) = self.sources.get_mut(&number) else { continue };
            let bursts = source.peer.faults.bursts;
            let rate = if is_origin { self.origin_rate } else { source.peer.rate };
            let gained = rate * self.step.as_secs_f64();
            let most = if bursts { rate * BURST } else { gained * 2.0 }.max(2.0 * CHUNK_BYTES as f64);
            source.credit = (source.credit + gained).min(most);
            let is_waiting = bursts && source.credit < most * 0.1 && source.chunks % 50 == 0;
            while !is_waiting && self.bring_one(number, link.as_mut()) {}
        }
    }

    /// One chunk, list, or end of a source. False if it brings nothing more in this step.
    fn bring_one(&mut self, number: SourceNumber, link: Option<&mut f64>) -> bool {
        let failing = self.origin_fails.is_some_and(|(from, to)| (from..to).contains(&self.elapsed()));
        let is_origin = number == ORIGIN;
        let now = self.now;
        let Some(source) = self.sources.get_mut(&number) else { return false };
        let is_ready = |open: &Open| open.begins_at <= now;
        let at = match source.peer.faults.is_reverse {
            true => source.requests.iter().rposition(is_ready),
            false if is_origin && !source.requests.is_empty() => {
                let from = self.random.random_range(0..source.requests.len());
                let count = source.requests.len();
                (from..from + count).map(|at| at % count).find(|at| is_ready(&source.requests[*at]))
            }
            false => source.requests.iter().position(is_ready),
        };
        let Some(at) = at else { return false };
        let faults = source.peer.faults;
        let after = |limit: Option<u32>| limit.is_some_and(|limit| source.chunks >= limit);
        if faults.is_silent || after(faults.stops_after) {
            return false;
        }
        if is_origin && failing {
            let open = source.requests.remove(at);
            self.scheduler.ended(open.request, Outcome::Failed, now);
            return true;
        }
        if after(faults.leaves_after) || after(faults.lies_after) {
            let (peer, lies) = (source.peer, faults.lies_after.is_some());
            self.sources.remove(&number);
            self.scheduler.remove_peer(number, now);
            if let (Some(after), false) = (peer.returns_after, lies) {
                self.away.push((now + after, peer));
            }
            return false;
        }
        if is_origin && self.limited_until.is_some_and(|until| until > now) {
            return false;
        }
        if let What::List(region) = source.requests[at].what {
            let open = source.requests.remove(at);
            self.scheduler.ended(open.request, Outcome::Done, now);
            self.list(open.file, region);
            return true;
        }
        if source.credit < CHUNK_BYTES as f64 || link.as_ref().is_some_and(|link| **link < 0.0) {
            return false;
        }
        source.credit -= CHUNK_BYTES as f64;
        source.chunks += 1;
        if let Some(link) = link {
            *link -= CHUNK_BYTES as f64;
        }
        let open = &mut source.requests[at];
        let (request, file, chunk) = (open.request, open.file, open.chunks[open.next]);
        open.next += 1;
        let is_last = open.next == open.chunks.len();
        self.bring_chunk(number, request, file, chunk, is_last);
        true
    }

    /// A chunk of a request, which may be the last of it.
    fn bring_chunk(
        &mut self,
        number: SourceNumber,
        request: RequestNumber,
        file: FileNumber,
        (region, chunk): (u32, usize),
        is_last: bool,
    ) {
        if !self.files.contains_key(&file) {
            return;
        }
        let here = &self.files[&file][region as usize];
        let (bytes, was_stored) = (here.chunk_bytes(chunk), here.stored[chunk]);
        self.scheduler.received(request, bytes, self.now);
        if was_stored {
            self.wasted_bytes += bytes;
            self.scheduler.came_twice(bytes);
        } else {
            self.store(file, region, chunk);
        }
        if number == ORIGIN {
            self.origin_bytes += bytes;
            self.limited_until = self.scheduler.spend(bytes, self.now);
            self.scheduler.streamed(request, region, chunk as u64 * CHUNK_BYTES + bytes, self.now);
        }
        if is_last {
            if let Some(source) = self.sources.get_mut(&number) {
                source.requests.retain(|open| open.request != request);
            }
            self.scheduler.ended(request, Outcome::Done, self.now);
        }
        // Its cancels go before anything more of it comes.
        self.poll();
    }

    fn store(&mut self, file: FileNumber, region: u32, chunk: usize) {
        let Some(here) = self.files.get_mut(&file).map(|regions| &mut regions[region as usize]) else { return };
        assert!(!std::mem::replace(&mut here.stored[chunk], true), "stored twice");
        self.missing_chunks -= 1;
        let block = chunk / CHUNKS_A_BLOCK;
        if !here.is_listed && here.stored.iter().all(|stored| *stored) {
            self.scheduler.finished(file, Finished::Region(region), self.now);
        } else if here.is_listed && here.block(block).1 == 0 {
            self.scheduler.finished(file, Finished::Block(region, block as u32), self.now);
        }
        if self.files[&file].iter().all(|region| region.stored.iter().all(|stored| *stored)) {
            self.close(file);
        }
    }

    fn close(&mut self, file: FileNumber) {
        self.scheduler.remove_file(file, self.now);
        if self.files.remove(&file).is_some() {
            self.count -= 1;
        }
        self.open_more();
    }

    fn list(&mut self, file: FileNumber, region: u32) {
        let Some(here) = self.files.get_mut(&file).map(|regions| &mut regions[region as usize]) else { return };
        if !std::mem::replace(&mut here.is_listed, true) {
            let blocks = here.blocks();
            self.scheduler.listed(file, region, &blocks, self.now);
        }
    }
}

/// The chunks of something that are not stored. What is there is left out, of an entry by asking for parts.
fn missing(regions: &[Region], what: What, gives_parts: bool) -> Vec<(u32, usize)> {
    let missing = |region: &Region, at: usize| !region.stored[at];
    match what {
        What::Entry(entry) => {
            let of_entry = (0..).zip(regions).filter(|(_, region)| region.entry == entry);
            let chunks =
                of_entry.flat_map(|(at, region)| (0..region.stored.len()).map(move |chunk| (at, region, chunk)));
            chunks
                .filter(|(_, region, chunk)| !gives_parts || missing(region, *chunk))
                .map(|(at, _, chunk)| (at, chunk))
                .collect()
        }
        What::Block(at, block) => {
            let region = &regions[at as usize];
            let (first, end) = (block as usize * CHUNKS_A_BLOCK, (block as usize + 1) * CHUNKS_A_BLOCK);
            let chunks = (first..end.min(region.stored.len())).filter(|chunk| missing(region, *chunk));
            chunks.map(|chunk| (at, chunk)).collect()
        }
        What::List(_) => Vec::new(),
        What::Whole(_) => unreachable!("no peer of the model is asked for xorbs"),
    }
}
