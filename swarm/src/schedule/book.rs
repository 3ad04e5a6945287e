//! What is to be fetched, and which of it is open: files, their fetch entries, the entries' regions, and the
//! regions' blocks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use xet_cas::XorbHash;

use super::{FileNumber, Finished, RequestNumber, What};

/// Requests of one unit at once: one, and one that takes over when that is late.
const CLAIMS_MAX: usize = 2;

/// A fetch entry, as the plan has it.
#[derive(Debug, Clone)]
pub(crate) struct EntrySpec {
    /// Its regions, in the order in which the origin streams them: bytes, and how many of them are missing.
    pub(crate) regions: Vec<(u64, u64)>,
    pub(crate) xorb: XorbHash,
    /// About how many bytes of content all of the xorb is, as far as it is known.
    pub(crate) xorb_bytes: u64,
}

/// A block of a region whose chunk list is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockSpec {
    /// Where it begins in the region, bytes.
    pub(crate) start: u64,
    pub(crate) bytes: u64,
    pub(crate) missing_bytes: u64,
}

/// An entry of a file.
pub(super) type EntryKey = (FileNumber, u32);

#[derive(Debug, Default)]
pub(super) struct Book {
    files: BTreeMap<FileNumber, File>,
    /// Entries with open units, by who is at them: nobody, peers, the origin.
    shelves: [BTreeSet<EntryKey>; 3],
    /// Of all files that were ever added.
    pub(super) total_bytes: u64,
    pub(super) missing_bytes: u64,
}

/// Who is at an entry that has open units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shelf {
    Untouched,
    Begun,
    Streamed,
}

#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) entries: Vec<Entry>,
    regions: Vec<Region>,
    pub(super) missing_bytes: u64,
    /// Peers may be asked for it.
    pub(super) is_shareable: bool,
    /// Peers that have all of it and can prove so.
    pub(super) holders: u32,
    /// What peers have brought since then.
    pub(super) peers_bytes: u64,
    /// When peers last brought enough of it to matter, or it was added.
    pub(super) peers_brought_at: Option<Instant>,
    /// Since when nobody can bring what is open.
    pub(super) hopeless_since: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) xorb: XorbHash,
    pub(super) xorb_bytes: u64,
    /// Regions of the file: from, to.
    regions: (u32, u32),
    pub(super) missing_bytes: u64,
    /// Regions whose list nobody was asked for, and blocks that nobody was asked for; or not in time.
    open_lists: BTreeSet<u32>,
    open_blocks: BTreeSet<(u32, u32)>,
    /// Regions of which something is missing and whose list is not known.
    unlisted: u32,
    /// Request of all of its xorb, and whether it is late.
    whole: Option<Claim>,
    pub(super) stream: Option<RequestNumber>,
    is_begun: bool,
    /// Streams of it that were ended for what they would come to.
    pub(super) skips: u32,
    shelf: Option<Shelf>,
    /// What the origin's attempts at it came to.
    pub(super) refusal: Refusal,
}

/// An entry that the origin did not give, or of which it gave nothing new.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Refusal {
    /// When it is asked again.
    pub(super) until: Option<Instant>,
    /// When it said so, for lack of which it is not refused.
    pub(super) since: Option<Instant>,
    /// Rounds in a row that brought nothing.
    pub(super) rounds: u32,
    /// Missing bytes of all files after the last round.
    pub(super) missing_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Claim {
    request: RequestNumber,
    is_late: bool,
}

#[derive(Debug)]
struct Region {
    entry: u32,
    /// Where it begins in what the origin streams of the entry, bytes of content.
    start: u64,
    bytes: u64,
    missing_bytes: u64,
    state: RegionState,
}

#[derive(Debug)]
enum RegionState {
    Unlisted { claims: Claims },
    Listed { blocks: Vec<Block> },
}

#[derive(Debug)]
struct Block {
    /// In the region.
    start: u64,
    bytes: u64,
    missing_bytes: u64,
    is_done: bool,
    claims: Claims,
}

/// Requests of one unit.
#[derive(Debug, Clone, Copy, Default)]
struct Claims([Option<Claim>; CLAIMS_MAX]);

impl Claims {
    fn iter(&self) -> impl Iterator<Item = Claim> {
        self.0.into_iter().flatten()
    }

    /// Whether another one may ask for it.
    fn are_open(&self) -> bool {
        self.0.iter().any(Option::is_none) && self.iter().all(|claim| claim.is_late)
    }

    fn add(&mut self, request: RequestNumber) {
        if let Some(free) = self.0.iter_mut().find(|claim| claim.is_none()) {
            *free = Some(Claim { request, is_late: false });
        }
    }

    fn change(&mut self, request: RequestNumber, to: Option<Claim>) {
        for claim in &mut self.0 {
            if claim.is_some_and(|claim| claim.request == request) {
                *claim = to;
            }
        }
    }

    fn take(&mut self) -> impl Iterator<Item = RequestNumber> + use<> {
        std::mem::take(self).0.into_iter().flatten().map(|claim| claim.request)
    }
}

impl Block {
    fn new(BlockSpec { start, bytes, missing_bytes }: BlockSpec) -> Self {
        Self { start, bytes, missing_bytes, is_done: missing_bytes == 0, claims: Claims::default() }
    }
}

impl Book {
    /// Adds a file's entries.
    pub(super) fn add(&mut self, number: FileNumber, entries: &[EntrySpec], is_shareable: bool, now: Instant) {
        let mut file = File { is_shareable, peers_brought_at: Some(now), ..File::default() };
        for (at, spec) in entries.iter().enumerate() {
            let first = file.regions.len() as u32;
            let (mut start, mut open_lists) = (0, BTreeSet::new());
            let mut missing_of_entry = 0;
            for (region, (bytes, missing_bytes)) in (first..).zip(spec.regions.iter().copied()) {
                let state = RegionState::Unlisted { claims: Claims::default() };
                file.regions.push(Region { entry: at as u32, start, bytes, missing_bytes, state });
                start += bytes;
                missing_of_entry += missing_bytes;
                if missing_bytes > 0 {
                    open_lists.insert(region);
                }
            }
            file.missing_bytes += missing_of_entry;
            file.entries.push(Entry {
                xorb: spec.xorb,
                xorb_bytes: spec.xorb_bytes,
                regions: (first, file.regions.len() as u32),
                missing_bytes: missing_of_entry,
                unlisted: open_lists.len() as u32,
                open_lists,
                open_blocks: BTreeSet::new(),
                whole: None,
                stream: None,
                is_begun: false,
                skips: 0,
                shelf: None,
                refusal: Refusal::default(),
            });
        }
        self.total_bytes += file.missing_bytes;
        self.missing_bytes += file.missing_bytes;
        let count = file.entries.len() as u32;
        self.files.insert(number, file);
        (0..count).for_each(|entry| self.shelve((number, entry)));
    }

    pub(super) fn remove(&mut self, number: FileNumber) {
        let Some(file) = self.files.remove(&number) else { return };
        self.missing_bytes -= file.missing_bytes;
        for (at, entry) in file.entries.iter().enumerate() {
            if let Some(shelf) = entry.shelf {
                self.shelves[shelf as usize].remove(&(number, at as u32));
            }
        }
    }

    pub(super) fn files(&self) -> impl DoubleEndedIterator<Item = (FileNumber, &File)> {
        self.files.iter().map(|(number, file)| (*number, file))
    }

    pub(super) fn file(&self, number: FileNumber) -> Option<&File> {
        self.files.get(&number)
    }

    pub(super) fn file_mut(&mut self, number: FileNumber) -> Option<&mut File> {
        self.files.get_mut(&number)
    }

    pub(super) fn entry(&self, (file, entry): EntryKey) -> Option<&Entry> {
        self.files.get(&file)?.entries.get(entry as usize)
    }

    pub(super) fn entry_mut(&mut self, (file, entry): EntryKey) -> Option<&mut Entry> {
        self.files.get_mut(&file)?.entries.get_mut(entry as usize)
    }

    /// Entries on a shelf, in order.
    pub(super) fn shelf(&self, shelf: Shelf) -> &BTreeSet<EntryKey> {
        &self.shelves[shelf as usize]
    }

    /// Entries of one file on a shelf, from the `from`th on and then around.
    pub(super) fn around(&self, shelf: Shelf, file: FileNumber, from: u32) -> impl Iterator<Item = EntryKey> + Clone {
        let shelf = self.shelf(shelf);
        let behind = shelf.range((file, from)..=(file, u32::MAX));
        behind.chain(shelf.range((file, 0)..(file, from))).copied()
    }

    /// A region's chunks are known now. Returns the requests of its list, which are needless now.
    pub(super) fn list(&mut self, number: FileNumber, region: u32, specs: &[BlockSpec]) -> Vec<RequestNumber> {
        let Some(file) = self.files.get_mut(&number) else { return Vec::new() };
        let Some(entry) = file.regions.get(region as usize).map(|region| region.entry) else { return Vec::new() };
        let mut missing_bytes = 0;
        let mut blocks = Vec::with_capacity(specs.len());
        let open = &mut file.entries[entry as usize];
        open.open_lists.remove(&region);
        open.is_begun = true;
        for (at, spec) in specs.iter().enumerate() {
            blocks.push(Block::new(*spec));
            missing_bytes += spec.missing_bytes;
            if spec.missing_bytes > 0 {
                open.open_blocks.insert((region, at as u32));
            }
        }
        let here = &mut file.regions[region as usize];
        if here.missing_bytes > 0 && matches!(here.state, RegionState::Unlisted { .. }) {
            open.unlisted -= 1;
        }
        let before = std::mem::replace(&mut here.missing_bytes, missing_bytes);
        let mut state = std::mem::replace(&mut here.state, RegionState::Listed { blocks });
        self.change_missing(number, entry, before, missing_bytes);
        self.shelve((number, entry));
        match &mut state {
            RegionState::Unlisted { claims } => claims.take().collect(),
            RegionState::Listed { .. } => Vec::new(),
        }
    }

    /// A region has another block, of what could not be copied.
    pub(super) fn add_block(&mut self, number: FileNumber, region: u32, spec: BlockSpec) {
        let Some(file) = self.files.get_mut(&number) else { return };
        let Some(Region { entry, missing_bytes, state: RegionState::Listed { blocks }, .. }) =
            file.regions.get_mut(region as usize)
        else {
            return;
        };
        let entry = *entry;
        *missing_bytes += spec.missing_bytes;
        blocks.push(Block::new(spec));
        if spec.missing_bytes > 0 {
            file.entries[entry as usize].open_blocks.insert((region, blocks.len() as u32 - 1));
        }
        self.change_missing(number, entry, 0, spec.missing_bytes);
        self.shelve((number, entry));
    }

    /// Something is written. Returns the requests that nobody needs any more, and how many bytes it were; nothing if it
    /// was written before.
    pub(super) fn finish(&mut self, number: FileNumber, what: Finished) -> Option<(Vec<RequestNumber>, u64)> {
        let file = self.files.get_mut(&number)?;
        let (region, Finished::Region(at) | Finished::Block(at, _)) = (what, what);
        let here = file.regions.get_mut(at as usize)?;
        let (entry, mut needless) = (here.entry, Vec::new());
        let bytes = match (region, &mut here.state) {
            (Finished::Region(_), RegionState::Unlisted { claims }) => {
                needless.extend(claims.take());
                let entry = &mut file.entries[entry as usize];
                entry.open_lists.remove(&at);
                entry.unlisted -= u32::from(here.missing_bytes > 0);
                here.missing_bytes
            }
            (Finished::Block(_, block), RegionState::Listed { blocks }) => {
                let there = blocks.get_mut(block as usize).filter(|block| !block.is_done)?;
                there.is_done = true;
                needless.extend(there.claims.take());
                file.entries[entry as usize].open_blocks.remove(&(at, block));
                there.missing_bytes
            }
            // A list has come meanwhile, which says what is missing.
            _ => return None,
        };
        here.missing_bytes -= bytes;
        let there = &mut file.entries[entry as usize];
        there.is_begun = true;
        self.change_missing(number, entry, bytes, 0);
        let there = self.entry_mut((number, entry))?;
        if there.missing_bytes == 0 {
            needless.extend(there.stream);
            needless.extend(there.whole.map(|claim| claim.request));
        }
        self.shelve((number, entry));
        Some((needless, bytes))
    }

    fn change_missing(&mut self, number: FileNumber, entry: u32, before: u64, after: u64) {
        let Some(file) = self.files.get_mut(&number) else { return };
        for count in [&mut file.entries[entry as usize].missing_bytes, &mut file.missing_bytes, &mut self.missing_bytes]
        {
            *count = *count + after - before;
        }
    }

    /// Somebody is asked for something.
    pub(super) fn claim(&mut self, number: FileNumber, what: What, request: RequestNumber) {
        match what {
            What::Entry(entry) => {
                if let Some(entry) = self.entry_mut((number, entry)) {
                    entry.stream = Some(request);
                }
            }
            What::Whole(entry) => self.claim_whole(number, entry, request),
            What::List(_) | What::Block(..) => {
                if let Some(claims) = self.claims_mut(number, what) {
                    claims.add(request);
                }
            }
        }
        self.reopen(number, what);
    }

    /// Claims every entry of the same xorb.
    fn claim_whole(&mut self, number: FileNumber, entry: u32, request: RequestNumber) {
        let Some(xorb) = self.entry((number, entry)).map(|entry| entry.xorb) else { return };
        for entry in self.entries_of(number, xorb) {
            if let Some(here) = self.entry_mut((number, entry)) {
                here.whole = Some(Claim { request, is_late: false });
                here.is_begun = true;
            }
            self.shelve((number, entry));
        }
    }

    fn entries_of(&self, number: FileNumber, xorb: XorbHash) -> Vec<u32> {
        let entries = self.files.get(&number).map_or(&[][..], |file| &file.entries);
        let same = (0..).zip(entries).filter(|(_, entry)| entry.xorb == xorb);
        same.map(|(at, _)| at).collect()
    }

    /// A request brings nothing more, or is `late`: others may be asked.
    pub(super) fn release(&mut self, number: FileNumber, what: What, request: RequestNumber, late: bool) {
        let to = late.then_some(Claim { request, is_late: true });
        match what {
            What::Entry(entry) => {
                let here = self.entry_mut((number, entry)).filter(|entry| entry.stream == Some(request) && !late);
                if let Some(entry) = here {
                    entry.stream = None;
                }
            }
            What::Whole(entry) => {
                let Some(xorb) = self.entry((number, entry)).map(|entry| entry.xorb) else { return };
                for entry in self.entries_of(number, xorb) {
                    let Some(here) = self.entry_mut((number, entry)) else { continue };
                    if here.whole.is_some_and(|claim| claim.request == request) {
                        here.whole = to;
                    }
                    self.shelve((number, entry));
                }
            }
            What::List(_) | What::Block(..) => {
                if let Some(claims) = self.claims_mut(number, what) {
                    claims.change(request, to);
                }
            }
        }
        self.reopen(number, what);
    }

    fn claims_mut(&mut self, number: FileNumber, what: What) -> Option<&mut Claims> {
        let regions = &mut self.files.get_mut(&number)?.regions;
        match what {
            What::List(region) => match &mut regions.get_mut(region as usize)?.state {
                RegionState::Unlisted { claims } => Some(claims),
                RegionState::Listed { .. } => None,
            },
            What::Block(region, block) => match &mut regions.get_mut(region as usize)?.state {
                RegionState::Listed { blocks } => Some(&mut blocks.get_mut(block as usize)?.claims),
                RegionState::Unlisted { .. } => None,
            },
            What::Entry(_) | What::Whole(_) => None,
        }
    }

    /// Requests that a unit is claimed by.
    pub(super) fn claims_of(&self, number: FileNumber, what: What) -> Vec<RequestNumber> {
        let Some(file) = self.files.get(&number) else { return Vec::new() };
        let state = |region: u32| file.regions.get(region as usize).map(|region| &region.state);
        let claims = match what {
            What::Entry(_) => None,
            What::Whole(entry) => {
                return file
                    .entries
                    .get(entry as usize)
                    .and_then(|entry| entry.whole)
                    .map(|c| c.request)
                    .into_iter()
                    .collect();
            }
            What::List(region) => match state(region) {
                Some(RegionState::Unlisted { claims }) => Some(claims),
                _ => None,
            },
            What::Block(region, block) => match state(region) {
                Some(RegionState::Listed { blocks }) => blocks.get(block as usize).map(|block| &block.claims),
                _ => None,
            },
        };
        claims.into_iter().flat_map(Claims::iter).map(|claim| claim.request).collect()
    }

    /// Finds out anew whether a unit is open.
    fn reopen(&mut self, number: FileNumber, what: What) {
        let Some(file) = self.files.get_mut(&number) else { return };
        let entry = match what {
            What::Entry(entry) | What::Whole(entry) => entry,
            What::List(region) | What::Block(region, _) => {
                let Some(here) = file.regions.get(region as usize) else { return };
                let entry = &mut file.entries[here.entry as usize];
                entry.is_begun = true;
                match (&here.state, what) {
                    (RegionState::Unlisted { claims }, What::List(_)) => {
                        put(&mut entry.open_lists, region, claims.are_open() && here.missing_bytes > 0);
                    }
                    (RegionState::Listed { blocks }, What::Block(_, at)) => {
                        let Some(block) = blocks.get(at as usize) else { return };
                        put(&mut entry.open_blocks, (region, at), block.claims.are_open() && !block.is_done);
                    }
                    _ => {}
                }
                here.entry
            }
        };
        self.shelve((number, entry));
    }

    /// Puts an entry where it belongs after something has changed.
    fn shelve(&mut self, key: EntryKey) {
        let Some(entry) = self.files.get_mut(&key.0).and_then(|file| file.entries.get_mut(key.1 as usize)) else {
            return;
        };
        let shelf = if !entry.has_open() {
            None
        } else if entry.stream.is_some() {
            Some(Shelf::Streamed)
        } else if entry.is_begun {
            Some(Shelf::Begun)
        } else {
            Some(Shelf::Untouched)
        };
        let before = std::mem::replace(&mut entry.shelf, shelf);
        if before != shelf {
            if let Some(before) = before {
                self.shelves[before as usize].remove(&key);
            }
            if let Some(shelf) = shelf {
                self.shelves[shelf as usize].insert(key);
            }
        }
    }

    /// The last open block of an entry, from the back.
    pub(super) fn last_open_block(&self, key: EntryKey) -> Option<What> {
        let (region, block) = self.entry(key)?.open_blocks.last()?;
        Some(What::Block(*region, *block))
    }

    /// How many blocks of an entry are open.
    pub(super) fn open_blocks(&self, key: EntryKey) -> usize {
        self.entry(key).map_or(0, |entry| entry.open_blocks.len())
    }

    /// The last region of an entry whose list is open.
    pub(super) fn last_open_list(&self, key: EntryKey) -> Option<What> {
        self.entry(key)?.open_lists.last().map(|region| What::List(*region))
    }

    /// Where a unit begins and ends in what the origin streams of its entry.
    pub(super) fn stretch(&self, number: FileNumber, what: What) -> Option<(u64, u64)> {
        let file = self.files.get(&number)?;
        match what {
            What::Entry(entry) | What::Whole(entry) => {
                let (first, end) = file.entries.get(entry as usize)?.regions;
                let last = file.regions[first as usize..end as usize].last()?;
                Some((0, last.start + last.bytes))
            }
            What::List(region) => {
                let region = file.regions.get(region as usize)?;
                Some((region.start, region.start + region.bytes))
            }
            What::Block(region, block) => {
                let region = file.regions.get(region as usize)?;
                let RegionState::Listed { blocks } = &region.state else { return None };
                let block = blocks.get(block as usize)?;
                Some((region.start + block.start, region.start + block.start + block.bytes))
            }
        }
    }

    /// Bytes that a unit brings.
    pub(super) fn bytes(&self, number: FileNumber, what: What) -> u64 {
        match what {
            What::List(_) => 0,
            What::Whole(entry) => self.entry((number, entry)).map_or(0, |entry| entry.xorb_bytes),
            What::Entry(entry) => self.entry((number, entry)).map_or(0, |entry| entry.missing_bytes),
            What::Block(..) => self.stretch(number, what).map_or(0, |(start, end)| end - start),
        }
    }

    /// The entry that a unit is of.
    pub(super) fn entry_of(&self, number: FileNumber, what: What) -> Option<u32> {
        match what {
            What::Entry(entry) | What::Whole(entry) => Some(entry),
            What::List(region) | What::Block(region, _) => {
                Some(self.files.get(&number)?.regions.get(region as usize)?.entry)
            }
        }
    }

    /// Where a place in a region is in what the origin streams of its entry.
    pub(super) fn position(&self, number: FileNumber, region: u32, offset: u64) -> Option<u64> {
        Some(self.files.get(&number)?.regions.get(region as usize)?.start + offset)
    }

    /// Whether so many bytes behind a place in a region are written, and something after them is not.
    pub(super) fn is_stored_behind(&self, number: FileNumber, region: u32, offset: u64, bytes: u64) -> bool {
        let Some(file) = self.files.get(&number) else { return false };
        let Some(entry) = file.regions.get(region as usize).and_then(|region| file.entries.get(region.entry as usize))
        else {
            return false;
        };
        let (mut offset, mut stored) = (offset, 0);
        for region in file.regions.get(region as usize..entry.regions.1 as usize).unwrap_or_default() {
            let written = region.written_from(offset);
            stored += written;
            if stored >= bytes {
                return entry.missing_bytes > 0;
            }
            if offset + written < region.bytes {
                return false;
            }
            offset = 0;
        }
        false
    }

    /// Whether peers are at everything behind this position of an entry.
    pub(super) fn is_met(&self, key: EntryKey, position: u64) -> bool {
        let ends_before = |what| self.stretch(key.0, what).is_none_or(|(_, end)| end <= position);
        let Some(entry) = self.entry(key) else { return false };
        entry.unlisted == 0 && self.last_open_block(key).is_none_or(ends_before)
            || entry.whole.is_some_and(|claim| !claim.is_late)
    }

    /// Requests of data that peers are at behind this position of an entry, from the front: each with where its unit begins.
    /// Of a whole xorb nothing can be left out.
    pub(super) fn claims_behind(&self, key: EntryKey, position: u64) -> Vec<(u64, RequestNumber)> {
        let Some(file) = self.files.get(&key.0) else { return Vec::new() };
        let Some(entry) = file.entries.get(key.1 as usize) else { return Vec::new() };
        let mut behind: Vec<_> = entry.whole.map(|claim| (u64::MAX, claim.request)).into_iter().collect();
        for region in &file.regions[entry.regions.0 as usize..entry.regions.1 as usize] {
            if region.start + region.bytes <= position {
                continue;
            }
            let RegionState::Listed { blocks } = &region.state else { continue };
            for block in blocks.iter().filter(|block| region.start + block.start + block.bytes > position) {
                behind.extend(block.claims.iter().map(|claim| (region.start + block.start, claim.request)));
            }
        }
        behind
    }
}

impl Region {
    /// Bytes that are written from a place on, as far as is known.
    fn written_from(&self, offset: u64) -> u64 {
        if self.missing_bytes == 0 {
            return self.bytes.saturating_sub(offset);
        }
        let RegionState::Listed { blocks } = &self.state else { return 0 };
        let behind = blocks.iter().skip_while(|block| block.start + block.bytes <= offset);
        let end = behind.take_while(|block| block.is_done).map(|block| block.start + block.bytes).last();
        end.map_or(0, |end| end.saturating_sub(offset))
    }
}

impl Entry {
    pub(super) fn has_open(&self) -> bool {
        let is_open = !self.open_lists.is_empty() || !self.open_blocks.is_empty();
        is_open && self.whole.is_none_or(|claim| claim.is_late)
    }
}

fn put<T: Ord>(set: &mut BTreeSet<T>, value: T, is_in: bool) {
    if is_in {
        set.insert(value);
    } else {
        set.remove(&value);
    }
}
