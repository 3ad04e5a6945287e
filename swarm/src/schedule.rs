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
mod pace;
mod picking;
mod probation;
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

/// What may come twice: this part of everything, and so many blocks besides.
const DUPLICATES_MAX: f64 = 0.02;
const DUPLICATE_BLOCKS_MAX: u64 = 8;
/// A request is late when it takes this many times what it should, and this much longer.
const LATE_FACTOR: u32 = 3;
const LATE_SLACK: Duration = Duration::from_millis(500);
/// For the first answer of a peer of which nothing is known.
const FIRST_DEADLINE: Duration = Duration::from_secs(2);
/// How long a peer that was late is not asked; it doubles each time in a row.
const REST: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_secs(60);
/// A stream that comes to so many bytes that are there is ended, and begun anew behind them: for the price of a question
/// to the CAS, which is worth less where much has come twice already.
const SKIPPED_BYTES: u64 = 4 * 1024 * 1024;
const SKIPPED_BYTES_MIN: u64 = 1024 * 1024;
/// Times that a stream of one entry is begun anew for that. There are CASes that give no parts.
const SKIPS_MAX: u32 = 4;
/// Streams see to themselves; this is for one that nobody sees to any more.
const STREAM_STILL_MAX: Duration = Duration::from_secs(120);
/// How often sources are looked at that were not asked for a reason that time changes, and files that nobody brings.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// What the rule about peers that spare the origin is told.
const SECOND: Duration = Duration::from_secs(1);
/// A file that nobody can bring at this moment is given up after this: time for peers to say what they have.
const HOPELESS_MAX: Duration = Duration::from_millis(600);
/// An entry that the origin did not give is asked for again after this, if peers have not brought it.
const REFUSAL: Duration = Duration::from_secs(5);
/// Such rounds in a row without a new byte of anything, from anyone, after which its file is given up.
const REFUSALS_MAX: u32 = 2;
/// Without a byte from anyone, and nothing that is being asked for, everything is given up after this.
const STILL_MAX: Duration = Duration::from_secs(30);

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
        let Some((needless, _)) = self.book.finish(file, what) else { return };
        self.brought_at = now;
        needless.into_iter().for_each(|request| self.settle(request, now));
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
            file.peers_brought_at = Some(now);
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

    /// The origin's stream has come to this place of a region.
    pub(crate) fn streamed(&mut self, request: RequestNumber, region: u32, offset: u64, now: Instant) {
        let Some(open) = self.requests.get_mut(&request) else { return };
        let (What::Entry(entry), file) = (open.what, open.file) else { return };
        let Some(position) = self.book.position(file, region, offset) else { return };
        open.position = open.position.max(position);
        let skip = if self.may_come_twice(SKIPPED_BYTES) { SKIPPED_BYTES } else { SKIPPED_BYTES_MIN };
        let entry_key = (file, entry);
        let may_skip = self.book.entry(entry_key).is_some_and(|entry| entry.skips < SKIPS_MAX);
        if may_skip && self.book.is_stored_behind(file, region, offset, skip) {
            if let Some(entry) = self.book.entry_mut(entry_key) {
                entry.skips += 1;
            }
            self.cancel(request, now);
            self.woken.insert(ORIGIN);
        } else {
            self.meet(entry_key, now);
        }
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
            let was_late = open.is_late;
            open.has_arrived = true;
            let before = std::mem::replace(&mut open.deadline, now + self.request_deadline);
            self.deadlines.remove(&(before, request));
            self.deadlines.insert((now + self.request_deadline, request));
            self.forget_expected(request);
            self.rest_from(request, now);
            if let Some(source) = self.sources.get_mut(&number).filter(|_| !was_late) {
                source.strikes = 0;
            }
        } else {
            self.drop_request(request, now);
            self.wake_all();
        }
        let Some(source) = self.sources.get_mut(&number) else { return };
        if outcome == Outcome::Failed && source.ability == Some(Ability::Prove) {
            // It has the file, as it says, and does not give it: asked at once, it would say so again.
            source.is_late(now);
        }
        if outcome == Outcome::NotAsked {
            // It is tried again when one of its requests has ended, or after a while.
            source.is_full = !source.requests.is_empty();
            source.is_denied = true;
            self.woken.remove(&number);
        } else {
            source.is_full = false;
            self.woken.insert(number);
        }
    }

    fn streamed_to_its_end(&mut self, key: EntryKey, outcome: Outcome, brought: u64, now: Instant) {
        let missing_bytes = self.book.missing_bytes;
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
            let is_idle = is_well || refusal.missing_bytes == missing_bytes;
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

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, request)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.deadlines.remove(&(at, request));
            self.is_late(request, now);
        }
        if self.second_at <= now {
            let [origin, peers] = std::mem::take(&mut self.second_bytes);
            // A pause of the owner's is no second.
            let is_second = now.saturating_duration_since(self.second_at) < SECOND / 4;
            let is_full = is_second && !self.book.shelf(book::Shelf::Untouched).is_empty();
            self.probation.second(origin, peers, is_full);
            self.second_at = now + SECOND;
            self.woken.insert(ORIGIN);
        }
        if self.look_at <= now {
            self.look_at = now + LOOK_INTERVAL;
            self.look(now);
        }
    }

    /// A deadline has passed.
    fn is_late(&mut self, request: RequestNumber, now: Instant) {
        let Some(open) = self.requests.get_mut(&request) else { return };
        let number = open.source;
        if open.has_arrived {
            // It was not written for a long time, or not where it should be.
            self.drop_request(request, now);
        } else if open.is_stream() && self.limit.as_ref().is_some_and(|limit| limit.ready_at(now).is_some()) {
            open.deadline = now + STREAM_STILL_MAX;
            self.deadlines.insert((open.deadline, request));
        } else if open.is_late || open.is_stream() {
            self.cancel(request, now);
        } else {
            open.is_late = true;
            open.deadline = now + self.request_deadline;
            self.deadlines.insert((open.deadline, request));
            let (file, what) = (open.file, open.what);
            self.forget_expected(request);
            self.book.release(file, what, request, true);
            // What waits behind it would be later still.
            let Some(source) = self.sources.get_mut(&number) else { return };
            source.is_late(now);
            let waiting = source.requests.iter().filter(|waiting| **waiting != request);
            let waiting: Vec<_> = waiting
                .copied()
                .filter(|waiting| self.requests.get(waiting).is_some_and(Request::is_waiting))
                .collect();
            waiting.into_iter().for_each(|waiting| self.cancel(waiting, now));
        }
        self.wake_all();
    }

    /// Looks at what only time changes.
    fn look(&mut self, now: Instant) {
        for (number, source) in &mut self.sources {
            if std::mem::take(&mut source.is_denied) || source.rests_until.take_if(|until| *until <= now).is_some() {
                self.woken.insert(*number);
            }
        }
        let is_limited = self.limit.as_ref().is_some();
        if is_limited || self.mode == SourceMode::PeersFirst || !self.refused.is_empty() {
            self.wake_all();
        }
        let still = now.saturating_duration_since(self.brought_at) >= STILL_MAX && self.requests.is_empty();
        let numbers: Vec<_> = self.book.files().filter(|(_, file)| file.missing_bytes > 0).map(|(at, _)| at).collect();
        for number in numbers {
            let may_bring = self.may_bring(number);
            let refused = self.refused.range((number, 0)..=(number, u32::MAX)).copied();
            let mut refused = refused.filter(|key| self.book.entry(*key).is_some_and(|entry| entry.missing_bytes > 0));
            let given_up = |key: &EntryKey| {
                self.book
                    .entry(*key)
                    .is_some_and(|entry| entry.refusal.rounds >= REFUSALS_MAX && entry.stream.is_none())
            };
            let first_refused = refused.clone().next().map(|(_, entry)| entry);
            let hopeless = refused.find(given_up).map(|(_, entry)| entry);
            let is_at_an_end = !may_bring && (first_refused.is_some() || self.mode == SourceMode::PeersOnly);
            let Some(file) = self.book.file_mut(number) else { continue };
            let since = if is_at_an_end { Some(*file.hopeless_since.get_or_insert(now)) } else { None };
            file.hopeless_since = since;
            let is_over = since.is_some_and(|since| now.saturating_duration_since(since) >= HOPELESS_MAX);
            if is_over || still || hopeless.is_some() {
                file.hopeless_since = None;
                self.abandoned.push_back((number, hopeless.or(first_refused)));
            }
        }
        if still {
            self.brought_at = now;
        }
    }

    /// The origin and peers are at the same entry. If nothing is open behind where the stream is, then they have met, and
    /// it ends if they will be there first. Else it goes on, and what it comes to they need not bring.
    fn meet(&mut self, key: EntryKey, now: Instant) {
        let Some(stream) = self.book.entry(key).and_then(|entry| entry.stream) else { return };
        // One that was begun because it would be there first goes on until it is.
        let met = self.requests.get(&stream).filter(|request| !request.is_hedge);
        let Some(position) = met.map(|request| request.position) else { return };
        let claims = self.book.claims_behind(key, position);
        if claims.is_empty() {
            return;
        }
        let end = self.book.stretch(key.0, What::Entry(key.1)).map_or(position, |(_, end)| end);
        // Whoever's rate is not known yet is taken to be slow.
        let mut last = claims.iter().map(|(_, request)| self.expected_of(*request, now));
        let last = last.try_fold(now, |last, at| Some(last.max(at?)));
        if self.book.is_met(key, position) && self.is_before(last, end.saturating_sub(position), now) {
            self.cancel(stream, now);
            self.woken.insert(ORIGIN);
            return;
        }
        for (_, request) in claims.into_iter().filter(|(start, _)| *start < position) {
            if self.requests.get(&request).is_some_and(|request| request.received <= request.bytes / 2) {
                self.cancel(request, now);
            }
        }
    }

    /// When all of a request should have come; `None` if that cannot be said.
    fn expected_of(&self, request: RequestNumber, now: Instant) -> Option<Instant> {
        let request = self.requests.get(&request)?;
        if request.has_arrived { Some(now) } else { request.expected_at.filter(|_| !request.is_late) }
    }

    /// Whether something is expected before one of the origin's streams has brought so many bytes.
    fn is_before(&self, expected: Option<Instant>, bytes: u64, now: Instant) -> bool {
        let stream = self.stream_time(bytes, now);
        expected.is_some_and(|at| stream.is_none_or(|stream| at.saturating_duration_since(now) <= stream))
    }

    /// Makes a request.
    fn ask(&mut self, number: SourceNumber, file: FileNumber, what: What, now: Instant) -> Command {
        let request = self.next_request;
        self.next_request += 1;
        let bytes = self.book.bytes(file, what);
        self.cancel_late_if_dear(file, what, bytes, now);
        let is_stream = matches!(what, What::Entry(_));
        let Some(source) = self.sources.get_mut(&number) else { return Command::Cancel { request } };
        let expected = source.pace.expected(source.outstanding_bytes + bytes, now);
        let late = expected.map_or(FIRST_DEADLINE, |expected| expected * LATE_FACTOR + LATE_SLACK);
        let late = if is_stream { STREAM_STILL_MAX } else { late.min(self.request_deadline) };
        let expected_at = expected.filter(|_| !is_stream).map(|expected| now + expected);
        let open = Request {
            source: number,
            file,
            what,
            bytes,
            received: 0,
            missing_bytes: bytes,
            position: 0,
            asked_at: now,
            is_alone: source.outstanding_bytes == 0 && !is_stream,
            expected_at,
            deadline: now + late,
            is_late: false,
            has_arrived: false,
            is_hedge: match what {
                What::Entry(entry) => self.book.entry((file, entry)).is_some_and(|entry| !entry.has_open()),
                _ => !self.book.claims_of(file, what).is_empty(),
            },
        };
        source.pace.begin(now);
        source.outstanding_bytes += bytes;
        source.requests.insert(request);
        if let What::Whole(entry) = what {
            source.tried.extend(self.book.entry((file, entry)).map(|entry| (file, entry.xorb)));
        }
        if open.is_hedge {
            self.hedged_bytes += bytes;
        }
        if let (Some(limit), false) = (&mut self.limit, is_stream) {
            limit.spend(bytes, now);
        }
        self.deadlines.insert((open.deadline, request));
        self.expected.extend(expected_at.map(|at| (at, request)));
        self.requests.insert(request, open);
        self.book.claim(file, what, request);
        if let Some(entry) = self.book.entry_of(file, what).filter(|_| !is_stream) {
            self.meet((file, entry), now);
        }
        Command::Fetch { request, file, what }
    }

    /// What is late may still come; where so much has come twice that it may not, it is cancelled.
    fn cancel_late_if_dear(&mut self, file: FileNumber, what: What, bytes: u64, now: Instant) {
        if !self.may_come_twice(bytes) {
            for late in self.book.claims_of(file, what) {
                self.cancel(late, now);
            }
        }
    }

    /// Whether so many bytes more may come twice.
    fn may_come_twice(&self, bytes: u64) -> bool {
        let max = (self.book.total_bytes as f64 * DUPLICATES_MAX) as u64 + DUPLICATE_BLOCKS_MAX * BLOCK_BYTES;
        self.wasted_bytes + self.hedged_bytes + bytes <= max
    }

    /// What a request was for is there: what of it is still under way is needless.
    fn settle(&mut self, request: RequestNumber, now: Instant) {
        if self.requests.get(&request).is_some_and(|request| request.has_arrived) {
            self.drop_request(request, now);
        } else {
            self.cancel(request, now);
        }
    }

    /// Has a source stop.
    fn cancel(&mut self, request: RequestNumber, now: Instant) {
        let Some(open) = self.requests.get(&request) else { return };
        let number = open.source;
        if let Some(source) = self.sources.get_mut(&number).filter(|_| !open.has_arrived) {
            source.cancels.push_back(request);
            source.is_full = false;
            self.woken.insert(number);
        }
        self.drop_request(request, now);
    }

    /// Forgets a request, and lets others be asked for what it was for.
    fn drop_request(&mut self, request: RequestNumber, now: Instant) {
        self.forget_expected(request);
        self.rest_from(request, now);
        let Some(open) = self.requests.remove(&request) else { return };
        if open.is_hedge {
            self.hedged_bytes -= open.bytes;
        }
        self.deadlines.remove(&(open.deadline, request));
        if let Some(source) = self.sources.get_mut(&open.source) {
            source.requests.remove(&request);
        }
        if let (Some(limit), false) = (&mut self.limit, open.is_stream()) {
            limit.give_back(open.left());
        }
        self.book.release(open.file, open.what, request, false);
    }

    fn forget_expected(&mut self, request: RequestNumber) {
        if let Some(at) = self.requests.get(&request).and_then(|request| request.expected_at) {
            self.expected.remove(&(at, request));
        }
    }

    /// Nothing more comes of a request.
    fn rest_from(&mut self, request: RequestNumber, now: Instant) {
        let Some(open) = self.requests.get_mut(&request) else { return };
        let left = open.left();
        open.received = open.received.max(open.bytes);
        let Some(source) = self.sources.get_mut(&open.source) else { return };
        source.outstanding_bytes -= left;
        let requests = &self.requests;
        let is_outstanding = |other: &RequestNumber| {
            *other != request && requests.get(other).is_some_and(|request| !request.has_arrived)
        };
        if !source.requests.iter().any(is_outstanding) {
            source.pace.rest(now);
        }
    }

    fn wake_all(&mut self) {
        self.woken.extend(self.sources.keys().copied());
    }
}

#[cfg(test)]
mod tests;
