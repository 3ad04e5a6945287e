//! What a source is asked for next.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use rand::RngExt as _;

use super::book::{EntryKey, Shelf};
use super::{
    Ability, BLOCK_BYTES, Command, FileNumber, ORIGIN, Request, RequestNumber, Scheduler, SourceMode, SourceNumber,
    What,
};

/// Lists that a peer is asked for at once. They are cheap to ask for and long to wait for behind data.
const LISTS_MAX: usize = 4;
/// Blocks that a peer may still be asked for when it is asked for the next list, so that the answer comes in time.
const BLOCKS_BEFORE_LIST: usize = 8;
/// Entries that are looked at for one with something for a source.
const LOOKED_AT_MAX: usize = 8;
/// Whoever takes over what another source is at must be expected to have it in this part of the time.
const SOONER: u32 = 2;
/// With less than this left to do, nobody is tried out.
const TRIED_OUT_MIN: Duration = Duration::from_millis(250);
/// With peers first, the origin is asked when they have brought nothing of a file for so long.
const PEERS_PATIENCE: Duration = Duration::from_secs(5);
/// Bytes a second that a stream of the origin should have under a limit: fewer streams then.
const STREAM_RATE_MIN: u64 = 256 * 1024;

impl Scheduler {
    /// The next thing for a source to do.
    pub(crate) fn poll(&mut self, number: SourceNumber, now: Instant) -> Option<Command> {
        let source = self.sources.get_mut(&number)?;
        if let Some(request) = source.cancels.pop_front() {
            return Some(Command::Cancel { request });
        }
        if self.limit.as_mut().is_some_and(|limit| limit.ready_at(now).is_some()) {
            return None;
        }
        let (file, what) = match self.sources.get(&number)?.ability? {
            Ability::Origin => {
                let picked = self.pick_stream(now);
                self.sources.get_mut(&number)?.is_denied = picked.is_none();
                picked?
            }
            ability => self.pick_for_peer(number, ability, now)?,
        };
        Some(self.ask(number, file, what, now))
    }

    fn pick_for_peer(&mut self, number: SourceNumber, ability: Ability, now: Instant) -> Option<(FileNumber, What)> {
        let source = self.sources.get(&number)?;
        let is_resting = source.rests_until.is_some_and(|until| until > now);
        let has_room = match ability {
            Ability::Xorbs => source.requests.is_empty(),
            _ => source.outstanding_bytes == 0 || source.outstanding_bytes < source.pace.window_bytes(),
        };
        if is_resting || source.is_full || !has_room {
            return None;
        }
        let own_time = source.pace.expected(source.outstanding_bytes + BLOCK_BYTES, now);
        if self.is_too_slow(number, own_time, now) {
            self.sources.get_mut(&number)?.is_denied = true;
            return None;
        }
        let source = self.sources.get(&number)?;
        let held = self.book.files().filter(|(file, _)| source.has(*file));
        let mut held: Vec<_> = held.map(|(number, file)| (file.holders, Reverse(number))).collect();
        held.sort_unstable();
        let open = held
            .iter()
            .find_map(|(_, Reverse(file))| Some((*file, self.pick_in(*file, number, ability, own_time, now)?)));
        let picked = open.or_else(|| self.take_over(number, ability, own_time?, now));
        if picked.is_none() {
            self.sources.get_mut(&number)?.is_denied = true;
        }
        picked
    }

    /// Whether the others will have brought everything before this one has brought a block.
    fn is_too_slow(&self, number: SourceNumber, own_time: Option<Duration>, now: Instant) -> bool {
        let busy = self.sources.iter().filter(|(other, source)| **other != number && !source.requests.is_empty());
        let rate: f64 = busy.filter_map(|(_, source)| source.pace.rate(now)).sum();
        if rate < 1.0 {
            return false;
        }
        let rest = self.book.missing_bytes.max(self.left_bytes) as f64 / rate;
        own_time.unwrap_or(TRIED_OUT_MIN).as_secs_f64() > rest
    }

    /// Something of a file that nobody is at, or not in time.
    fn pick_in(
        &mut self,
        file: FileNumber,
        number: SourceNumber,
        ability: Ability,
        own_time: Option<Duration>,
        now: Instant,
    ) -> Option<What> {
        let from = self.random.random_range(0..self.book.file(file)?.entries.len().max(1)) as u32;
        let source = self.sources.get(&number)?;
        if ability == Ability::Xorbs {
            let entries = [Shelf::Untouched, Shelf::Begun, Shelf::Streamed].into_iter();
            let mut entries = entries.flat_map(|shelf| self.book.around(shelf, file, from));
            let is_wanted = |key: &EntryKey| self.book.entry(*key).is_some_and(|entry| source.wants_whole(file, entry));
            return entries.find(is_wanted).map(|(_, entry)| What::Whole(entry));
        }
        let is_list = |request: &RequestNumber| {
            self.requests.get(request).is_some_and(|request| matches!(request.what, What::List(_)))
        };
        let lists = || source.requests.iter().filter(|request| is_list(request)).count();
        let lists = lists();
        let can_list = ability == Ability::Prove && lists < LISTS_MAX;
        if can_list && lists == 0 {
            let begun = self.book.around(Shelf::Begun, file, from).take(LOOKED_AT_MAX);
            let blocks: usize = begun.clone().map(|key| self.book.open_blocks(key)).sum();
            let untouched = self.book.around(Shelf::Untouched, file, from).take(1);
            let list = begun.chain(untouched).find_map(|key| self.book.last_open_list(key));
            if blocks < BLOCKS_BEFORE_LIST && list.is_some() {
                return list;
            }
        }
        let of = |key: EntryKey| {
            let block = self.book.last_open_block(key);
            block.or_else(|| self.book.last_open_list(key).filter(|_| can_list))
        };
        let begun = self.book.around(Shelf::Begun, file, from).take(LOOKED_AT_MAX).find_map(of);
        let untouched = || self.book.around(Shelf::Untouched, file, from).take(LOOKED_AT_MAX).find_map(of);
        let streamed = || {
            let mut entries = self.book.around(Shelf::Streamed, file, from);
            entries.find_map(|key| of(key).filter(|what| self.is_before_stream(key, *what, own_time, now)))
        };
        begun.or_else(untouched).or_else(streamed)
    }

    /// Whether a peer will have brought something before the origin's stream has come to its end.
    fn is_before_stream(&self, key: EntryKey, what: What, own_time: Option<Duration>, now: Instant) -> bool {
        let Some(stream) = self.book.entry(key).and_then(|entry| self.requests.get(&entry.stream?)) else {
            return true;
        };
        let Some((start, end)) = self.book.stretch(key.0, what) else { return false };
        if end <= stream.position {
            // It was passed over, and something of it was wrong.
            return true;
        }
        // Of what a list is of, the back counts.
        let start = if matches!(what, What::List(_)) { end.saturating_sub(BLOCK_BYTES) } else { start };
        if start < stream.position || !self.may_come_twice(BLOCK_BYTES) {
            return false;
        }
        // While nothing is known of the peer, only what is not the stream's next.
        let Some(own_time) = own_time else { return start > stream.position + BLOCK_BYTES };
        self.stream_time(end - stream.position, now).is_none_or(|stream| own_time < stream)
    }

    /// How long one of the origin's streams takes for so many bytes.
    pub(super) fn stream_time(&self, bytes: u64, now: Instant) -> Option<Duration> {
        let origin = self.sources.get(&ORIGIN)?;
        origin.pace.expected(bytes.saturating_mul(origin.requests.len().max(1) as u64), now)
    }

    /// At the end: what another source is at and this one will have in half of the time.
    fn take_over(
        &self,
        number: SourceNumber,
        ability: Ability,
        own_time: Duration,
        now: Instant,
    ) -> Option<(FileNumber, What)> {
        let can_take_over = matches!(ability, Ability::Prove | Ability::ByHash) && self.is_all_added();
        if !can_take_over || !self.may_come_twice(BLOCK_BYTES) {
            return None;
        }
        let source = self.sources.get(&number)?;
        self.last_expected(now).find_map(|(left, request)| {
            if own_time * SOONER > left {
                return None;
            }
            let is_block = matches!(request.what, What::Block(..));
            let is_alone = self.book.claims_of(request.file, request.what).len() == 1;
            let fits = is_block && is_alone && request.source != number && source.has(request.file);
            let key = (request.file, self.book.entry_of(request.file, request.what)?);
            let stream = self.book.entry(key).and_then(|entry| self.requests.get(&entry.stream?));
            let (start, _) = self.book.stretch(request.file, request.what)?;
            let fits = fits && stream.is_none_or(|stream| stream.position <= start);
            fits.then_some((request.file, request.what))
        })
    }

    /// Requests that are in time, but overdue or expected last, and how long they may take yet. What is overdue is taken to
    /// need as long again.
    fn last_expected(&self, now: Instant) -> impl Iterator<Item = (Duration, &Request)> {
        let overdue = self.expected.range(..(now, RequestNumber::MAX)).take(LOOKED_AT_MAX);
        let last = self.expected.range((now, RequestNumber::MAX)..).rev().take(LOOKED_AT_MAX);
        let left = move |at: Instant| at.saturating_duration_since(now).max(now.saturating_duration_since(at));
        overdue.chain(last).filter_map(move |(at, request)| Some((left(*at), self.requests.get(request)?)))
    }

    fn pick_stream(&mut self, now: Instant) -> Option<(FileNumber, What)> {
        let running = self.sources.get(&ORIGIN)?.requests.len();
        let mut limit = self.concurrency.limit();
        if let Some(bucket) = &self.limit {
            limit = limit.min((bucket.rate().get() / STREAM_RATE_MIN).max(1) as usize);
        }
        if running >= limit {
            return None;
        }
        let files: Vec<_> =
            self.book.files().filter(|(_, file)| file.missing_bytes > 0).map(|(file, _)| file).collect();
        let allowed: Vec<_> = files.into_iter().filter(|file| self.may_stream(*file, now)).collect();
        let is_spared = running >= self.probation.streams(limit);
        let mut shelves = [Shelf::Untouched, Shelf::Begun].into_iter();
        let open = shelves.find_map(|shelf| {
            let entries = allowed.iter().flat_map(|file| self.book.around(shelf, *file, 0));
            let mut entries = entries.filter(|(file, _)| !is_spared || !self.may_bring(*file));
            entries
                .find(|key| self.book.entry(*key).is_some_and(|entry| entry.refusal.until.is_none_or(|at| at <= now)))
        });
        let picked = open.or_else(|| self.take_over_entry(&allowed, now));
        picked.map(|(file, entry)| (file, What::Entry(entry)))
    }

    /// Whether the mode lets the origin be asked for a file.
    fn may_stream(&self, file: FileNumber, now: Instant) -> bool {
        match self.mode {
            SourceMode::Auto | SourceMode::CdnOnly => true,
            SourceMode::PeersOnly => false,
            SourceMode::PeersFirst => {
                let brought_at = self.book.file(file).and_then(|file| file.peers_brought_at);
                let waited = brought_at.map(|at| now.saturating_duration_since(at));
                waited.is_some_and(|waited| waited >= PEERS_PATIENCE) || !self.may_bring(file)
            }
        }
    }

    /// At the end: an entry whose rest peers are at, and which the origin will have in half of the time.
    fn take_over_entry(&self, allowed: &[FileNumber], now: Instant) -> Option<EntryKey> {
        self.last_expected(now).find_map(|(left, request)| {
            let key = (request.file, self.book.entry_of(request.file, request.what)?);
            let entry = self.book.entry(key).filter(|entry| entry.stream.is_none())?;
            let own_time = self.stream_time(entry.missing_bytes, now)?;
            let is_sooner = own_time * SOONER < left && self.may_come_twice(entry.missing_bytes);
            let is_given = entry.refusal.until.is_none_or(|until| until <= now);
            (is_sooner && is_given && allowed.contains(&request.file)).then_some(key)
        })
    }
}
