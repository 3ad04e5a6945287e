//! Who is asked for what, and when it is late. Pure: no I/O, no clock.
//!
//! What is missing is known as files of *entries* (what the origin gives by one signed URL), each of *regions* (runs of
//! its chunks), each of *blocks* once a peer has proved the region's chunk list. Sources are the origin, which streams
//! entries from the front, and peers, which bring lists and blocks from the back, or whole xorbs. They meet.
//!
//! The owner tells what happens, and [polls](Scheduler::poll) each source for what it is to do. A source is asked again
//! after [`Scheduler::take_woken`] has named it, and whenever one of its own requests has moved on.
//!
//! - A peer is asked for more when less than its window is outstanding ([`Pace`]): rarest file first, then entries that
//!   peers have begun, then a random one that nobody is at, then one that the origin streams if the peer will be there
//!   first.
//! - A request is late by the source's own rate. Then others may be asked too; the first answer wins, the others are
//!   cancelled. What was sent twice is bounded ([`DUPLICATES_MAX`], [`DUPLICATE_BLOCKS_MAX`]).
//! - Nobody is asked for what the others will have brought sooner. At the end whoever has nothing to do takes over what
//!   it will bring sooner than the one that is at it.
//! - The origin runs as many streams as it bears ([`Concurrency`]), fewer where peers make up for it ([`Probation`]).

mod book;
mod concurrency;
mod meeting;
mod pace;
mod passing;
mod picking;
mod probation;
mod requests;
mod source;
mod source_mode;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand::rngs::SmallRng;

pub(crate) use self::book::{BlockSpec, EntrySpec};
use self::book::{Book, EntryKey};
use self::concurrency::Concurrency;
use self::probation::Probation;
pub(crate) use self::source::Ability;
use self::source::{Request, Source};
pub use self::source_mode::SourceMode;
use crate::token_bucket::TokenBucket;

/// Bytes asked of a peer at once. Large enough that a request costs little beside its data, small enough
/// that a slow peer holds up little and that several peers share a region.
pub(crate) const BLOCK_BYTES: u64 = 2 * 1024 * 1024;

/// How long a peer that was late is not asked; it doubles each time in a row.
const REST: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_secs(60);
/// Streams see to themselves; this is for one that nobody sees to any more.
const STREAM_STILL_MAX: Duration = Duration::from_secs(600);
/// How often sources are looked at that were not asked for a reason that time changes, and files that nobody brings.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// What the rule about peers that spare the origin is told.
const SECOND: Duration = Duration::from_secs(1);
/// An entry that the origin did not give is asked for again after this, if peers have not brought it.
const REFUSAL: Duration = Duration::from_secs(5);

/// Number of a file within a pull.
pub(crate) type FileNumber = usize;
/// Number of a source within a pull.
pub(crate) type SourceNumber = usize;
/// Number of a request within a pull.
pub(crate) type RequestNumber = u64;

/// The source that every pull has.
pub(crate) const ORIGIN: SourceNumber = 0;

/// What a source can be asked for. Numbers are those of entries, regions and blocks in their file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// What is missing of an entry, from the front.
    Entry(u32),
    /// The chunk list of a region.
    List(u32),
    /// A block of a region.
    Block(u32, u32),
    /// All of the xorb that an entry is of.
    Whole(u32),
}

/// What a source is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    Fetch {
        request: RequestNumber,
        file: FileNumber,
        what: What,
    },
    /// Nobody needs it any more, or it is much too late: nothing is to be told of it.
    Cancel {
        request: RequestNumber,
    },
}

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finished {
    /// A region whose chunk list is not known.
    Region(u32),
    /// A block of a region.
    Block(u32, u32),
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All of it came.
    Done,
    /// It could not be asked for at this moment: the connection is full.
    NotAsked,
    /// It did not come, or not all of it.
    Failed,
}

/// How a pull schedules.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) mode: SourceMode,
    /// Streams of the origin at the beginning.
    pub(crate) streams: usize,
    /// After this a request of a peer is late whatever was expected, and after as much again it is cancelled.
    pub(crate) request_deadline: Duration,
    /// Bytes a second from all sources together.
    pub(crate) limit: Option<TokenBucket>,
    pub(crate) seed: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Scheduler {
    mode: SourceMode,
    request_deadline: Duration,
    limit: Option<TokenBucket>,
    book: Book,
    sources: HashMap<SourceNumber, Source>,
    requests: HashMap<RequestNumber, Request>,
    next_source: SourceNumber,
    next_request: RequestNumber,
    /// Requests by their deadlines.
    deadlines: BTreeSet<(Instant, RequestNumber)>,
    /// Requests of peers by when they should have come.
    expected: BTreeSet<(Instant, RequestNumber)>,
    /// Entries that the origin did not give.
    refused: BTreeSet<EntryKey>,
    concurrency: Concurrency,
    probation: Probation,
    /// Missing of everything that is to be fetched, also of files that were not added yet.
    left_bytes: u64,
    /// Bytes that came twice, and that may: of what two sources are at.
    wasted_bytes: u64,
    hedged_bytes: u64,
    /// In this second: from the origin, and from peers.
    second_bytes: [u64; 2],
    second_at: Instant,
    look_at: Instant,
    brought_at: Instant,
    woken: BTreeSet<SourceNumber>,
    abandoned: VecDeque<(FileNumber, Option<u32>)>,
    random: SmallRng,
}

impl Scheduler {
    pub(crate) fn new(config: Config, now: Instant) -> Self {
        let mut sources = HashMap::new();
        sources.insert(ORIGIN, Source::new(Some(Ability::Origin)));
        Self {
            mode: config.mode,
            request_deadline: config.request_deadline,
            limit: config.limit,
            book: Book::default(),
            sources,
            requests: HashMap::new(),
            next_source: ORIGIN + 1,
            next_request: 0,
            deadlines: BTreeSet::new(),
            expected: BTreeSet::new(),
            refused: BTreeSet::new(),
            concurrency: Concurrency::new(config.streams),
            probation: Probation::new(),
            left_bytes: 0,
            wasted_bytes: 0,
            hedged_bytes: 0,
            second_bytes: [0; 2],
            second_at: now + SECOND,
            look_at: now + LOOK_INTERVAL,
            brought_at: now,
            woken: BTreeSet::new(),
            abandoned: VecDeque::new(),
            random: SmallRng::seed_from_u64(config.seed),
        }
    }

    /// Adds a file. `is_shareable`: peers may be asked for it.
    pub(crate) fn add_file(&mut self, file: FileNumber, entries: &[EntrySpec], is_shareable: bool, now: Instant) {
        if self.book.missing_bytes == 0 {
            self.brought_at = now;
        }
        self.book.add(file, entries, is_shareable, now);
        self.wake_all();
    }

    /// How much is missing of everything that is to be fetched, also of files that come later.
    pub(crate) fn set_left(&mut self, bytes: u64) {
        self.left_bytes = bytes;
    }

    /// Whether there is nothing to come but what was added.
    fn is_all_added(&self) -> bool {
        self.left_bytes <= self.book.missing_bytes
    }

    /// Forgets a file; what is being asked for of it is cancelled.
    pub(crate) fn remove_file(&mut self, file: FileNumber, now: Instant) {
        let of_file = self.requests.iter().filter(|(_, request)| request.file == file);
        let mut requests: Vec<_> = of_file.map(|(number, _)| *number).collect();
        requests.sort_unstable();
        requests.into_iter().for_each(|request| self.cancel(request, now));
        self.book.remove(file);
        self.refused.retain(|(refused, _)| *refused != file);
        self.sources.values_mut().for_each(|source| source.forget(file));
        self.wake_all();
    }

    /// A peer that is being connected to.
    pub(crate) fn add_peer(&mut self) -> SourceNumber {
        let number = self.next_source;
        self.next_source += 1;
        self.sources.insert(number, Source::new(None));
        number
    }

    /// It is known what a peer can be asked for.
    pub(crate) fn meet_peer(&mut self, source: SourceNumber, ability: Ability) {
        if let Some(source) = self.sources.get_mut(&source) {
            source.ability = Some(ability);
        }
        self.woken.insert(source);
    }

    /// A peer is gone, and what it was asked for is asked of others.
    pub(crate) fn remove_peer(&mut self, source: SourceNumber, now: Instant) {
        let Some(gone) = self.sources.remove(&source) else { return };
        for file in gone.held() {
            self.change_holders(file, &gone, -1);
        }
        for request in gone.requests {
            self.drop_request(request, now);
        }
        self.woken.remove(&source);
        if self.sources.len() == 1 {
            self.probation.without_peers();
        }
        self.wake_all();
    }

    /// A peer says, or is found not to keep to it, that it has a file.
    pub(crate) fn decide(&mut self, source: SourceNumber, file: FileNumber, has: bool) {
        let Some(mut peer) = self.sources.remove(&source) else { return };
        if peer.has(file) {
            self.change_holders(file, &peer, -1);
        }
        peer.decide(file, has);
        if has {
            self.change_holders(file, &peer, 1);
        }
        self.sources.insert(source, peer);
        self.woken.insert(source);
    }

    fn change_holders(&mut self, file: FileNumber, source: &Source, by: i32) {
        if let (Some(Ability::Prove), Some(file)) = (source.ability, self.book.file_mut(file)) {
            file.holders = file.holders.saturating_add_signed(by);
        }
    }

    /// The chunk list of a region is known: these are its blocks.
    pub(crate) fn listed(&mut self, file: FileNumber, region: u32, blocks: &[BlockSpec], now: Instant) {
        for request in self.book.list(file, region, blocks) {
            self.settle(request, now);
        }
        self.wake_all();
    }

    /// A region has another block, which was to be copied and cannot be.
    pub(crate) fn add_block(&mut self, file: FileNumber, region: u32, block: BlockSpec) {
        self.book.add_block(file, region, block);
        self.wake_all();
    }

    /// Something is written, whoever brought it.
    pub(crate) fn finished(&mut self, file: FileNumber, what: Finished, now: Instant) {
        let Some((needless, bytes)) = self.book.finish(file, what) else { return };
        if bytes > 0 {
            self.brought_at = now;
        }
        for request in needless {
            if let Some(Request { what: What::Entry(entry), .. }) = self.requests.get(&request) {
                // Its own last bytes end it, mostly, before its end is told.
                self.refused.remove(&(file, *entry));
                self.concurrency.succeeded();
            }
            self.settle(request, now);
        }
    }

    /// New bytes of a request's content came.
    pub(crate) fn received(&mut self, request: RequestNumber, bytes: u64, now: Instant) {
        self.brought_at = now;
        let Some(open) = self.requests.get_mut(&request) else { return };
        let Some(source) = self.sources.get_mut(&open.source) else { return };
        if open.received == 0 && open.is_alone {
            source.pace.answered(now.saturating_duration_since(open.asked_at));
        }
        let left = open.left();
        open.received += bytes;
        source.outstanding_bytes -= left - open.left();
        source.pace.received(bytes, now);
        if source.outstanding_bytes < source.pace.window_bytes() {
            self.woken.insert(open.source);
        }
        let is_origin = open.source == ORIGIN;
        self.second_bytes[usize::from(!is_origin)] += bytes;
        if !is_origin && let Some(file) = self.book.file_mut(open.file) {
            // One that drips is as good as none.
            file.peers_bytes += bytes;
            if file.peers_bytes >= BLOCK_BYTES / 4 {
                file.peers_bytes = 0;
                file.peers_brought_at = Some(now);
            }
        }
        let renewed = match open.what {
            What::Entry(_) => STREAM_STILL_MAX,
            _ if open.is_late => self.request_deadline,
            _ => return,
        };
        let before = std::mem::replace(&mut open.deadline, now + renewed);
        self.deadlines.remove(&(before, request));
        self.deadlines.insert((now + renewed, request));
    }

    /// So many bytes came that were there already.
    pub(crate) fn came_twice(&mut self, bytes: u64) {
        self.wasted_bytes += bytes;
    }

    /// A request ended. A block or a list that came counts as being there when it is written.
    pub(crate) fn ended(&mut self, request: RequestNumber, outcome: Outcome, now: Instant) {
        let Some(open) = self.requests.get_mut(&request) else { return };
        let (number, file) = (open.source, open.file);
        if let What::Entry(entry) = open.what {
            let left = self.book.entry((file, entry)).map_or(0, |entry| entry.missing_bytes);
            // A list may have shown that something of it was wrong, so that more is missing than before.
            let brought = open.missing_bytes.saturating_sub(left);
            self.drop_request(request, now);
            self.streamed_to_its_end((file, entry), outcome, brought, now);
        } else if outcome == Outcome::Done {
            let is_in_time = !open.is_late && open.bytes > 0;
            open.has_arrived = true;
            let before = std::mem::replace(&mut open.deadline, now + self.request_deadline);
            self.deadlines.remove(&(before, request));
            self.deadlines.insert((now + self.request_deadline, request));
            self.forget_expected(request);
            self.rest_from(request, now);
            if let Some(source) = self.sources.get_mut(&number).filter(|_| is_in_time) {
                source.strikes = 0;
            }
        } else {
            let what = open.what;
            self.drop_request(request, now);
            if outcome == Outcome::NotAsked {
                self.not_asked(number, file, what, now);
                return;
            }
            self.wake_all();
        }
        let Some(source) = self.sources.get_mut(&number) else { return };
        if outcome == Outcome::Failed && source.ability == Some(Ability::Prove) {
            // It has the file, as it says, and does not give it: asked at once, it would say so again.
            source.is_late(now);
        }
        source.is_full = false;
        self.woken.insert(number);
    }

    /// A connection takes no request at this moment. Nobody is woken: two such sources would wake each other without end.
    fn not_asked(&mut self, number: SourceNumber, file: FileNumber, what: What, now: Instant) {
        let Some(source) = self.sources.get_mut(&number) else { return };
        let is_outstanding = |request| self.requests.get(request).is_some_and(|request: &Request| !request.has_arrived);
        source.is_full = source.requests.iter().any(is_outstanding);
        if !source.is_full {
            source.rests_until = source.rests_until.max(Some(now + LOOK_INTERVAL));
        }
        if let What::Whole(entry) = what
            && let Some(entry) = self.book.entry((file, entry))
        {
            source.tried.remove(&(file, entry.xorb));
        }
        self.woken.remove(&number);
    }

    fn streamed_to_its_end(&mut self, key: EntryKey, outcome: Outcome, brought: u64, now: Instant) {
        let missing_bytes = self.book.missing_bytes;
        let peers = self.sources.iter().filter(|(number, _)| **number != ORIGIN);
        let are_peers_at_it = peers.into_iter().any(|(_, peer)| peer.is_resting() || !peer.requests.is_empty());
        let Some(entry) = self.book.entry_mut(key) else { return };
        let is_well = outcome == Outcome::Done;
        if is_well && (brought > 0 || entry.missing_bytes == 0) {
            self.refused.remove(&key);
            entry.refusal = book::Refusal::default();
            self.concurrency.succeeded();
        } else if entry.missing_bytes > 0 {
            let refusal = &mut entry.refusal;
            // Peers mostly bring something of others for a long time. Of a stream that came to its end what is missing
            // must have come.
            let is_idle = is_well || (refusal.missing_bytes == missing_bytes && !are_peers_at_it);
            refusal.rounds = if is_idle { refusal.rounds + 1 } else { 0 };
            refusal.missing_bytes = missing_bytes;
            (refusal.since, refusal.until) = (Some(now), Some(now + REFUSAL));
            self.refused.insert(key);
        }
        self.wake_all();
    }

    /// The origin timed out, or said that it has too much to do.
    pub(crate) fn overloaded(&mut self, now: Instant) {
        self.concurrency.overloaded(now);
    }

    /// Bytes were received that count for the limit. When the next ones may be: at once if `None`.
    pub(crate) fn spend(&mut self, bytes: u64, now: Instant) -> Option<Instant> {
        let limit = self.limit.as_mut()?;
        limit.spend(bytes, now);
        limit.ready_at(now)
    }

    /// Whether a peer may still bring a file.
    pub(crate) fn may_bring(&self, file: FileNumber) -> bool {
        let Some(wanted) = self.book.file(file).filter(|file| file.is_shareable) else { return false };
        self.sources.values().any(|source| match source.ability {
            Some(Ability::Origin | Ability::ByHash) => false,
            Some(Ability::Xorbs) => {
                let is_asked = |request| self.requests.get(request).is_some_and(|request| request.file == file);
                source.requests.iter().any(is_asked)
                    || (source.has(file) && wanted.entries.iter().any(|entry| source.wants_whole(file, entry)))
            }
            None => true,
            Some(Ability::Prove) => source.decided(file).unwrap_or(true),
        })
    }

    /// Whether a request is not cancelled.
    pub(crate) fn is_open(&self, request: RequestNumber) -> bool {
        self.requests.contains_key(&request)
    }

    /// Whether nothing of a file is missing, as far as is known here, and nothing is asked for.
    pub(crate) fn is_done_with(&self, file: FileNumber) -> bool {
        self.book.file(file).is_none_or(|file| file.missing_bytes == 0)
            && !self.requests.values().any(|request| request.file == file)
    }

    /// Entries that nobody streams or has begun.
    pub(crate) fn untouched_entries(&self) -> usize {
        self.book.shelf(book::Shelf::Untouched).len()
    }

    /// Sources that may have something to do since this was last asked.
    pub(crate) fn take_woken(&mut self) -> BTreeSet<SourceNumber> {
        std::mem::take(&mut self.woken)
    }

    /// A file that nobody brings, and the entry that the origin did not give, if it is for that.
    pub(crate) fn poll_abandoned(&mut self) -> Option<(FileNumber, Option<u32>)> {
        self.abandoned.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout); `None` if nothing is missing.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let is_idle = self.book.missing_bytes == 0 && self.requests.is_empty();
        let first = self.deadlines.first().map(|(at, _)| *at);
        (!is_idle).then(|| first.into_iter().fold(self.look_at.min(self.second_at), Instant::min))
    }

    fn wake_all(&mut self) {
        self.woken.extend(self.sources.keys().copied());
    }
}

#[cfg(test)]
mod tests;
