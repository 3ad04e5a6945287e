//! What of one file is there, and who is fetching the rest. Pure: no I/O, no clock.
//!
//! The file is divided into *regions*: one for each run of chunks that a fetch entry serves. The origin
//! streams an entry from its front; peers are given *blocks* of its regions from the back; they meet.
//! Before blocks can be cut, a peer has to prove the region's chunk list, so that every chunk of a peer
//! is checked before it is written.

mod of_xorbs;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use xet_cas::{ByteRange, ChunkRange, Leaf, XorbHash};

pub(crate) use self::of_xorbs::XorbTask;

use crate::plan::FilePlan;
use crate::present::Present;

/// Bytes asked of a peer at once. Large enough that a request costs little beside its data, small enough
/// that a slow peer holds up little and that several peers share a region.
pub(crate) const BLOCK_BYTES: u64 = 2 * 1024 * 1024;
/// Fetches of the same block at once: the first peer, and one that takes over when it is late.
pub(crate) const CLAIMS_MAX: usize = 2;

/// A run of chunks that are elsewhere in the file too is copied from there if it is as long as this; a shorter
/// one is not worth asking for what is around it in two parts.
const COPIED_BYTES_MIN: u64 = 256 * 1024;

/// Number of a peer session within a pull.
pub(crate) type PeerNumber = usize;

/// Where bytes came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Lan,
    Wan,
    Origin,
    /// It was on this machine.
    Local,
}

/// The state of one file.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// Chunks that are written or being written, by offset.
    leaves: BTreeMap<u64, Written>,
    missing_bytes: u64,
    /// By entry, of its regions.
    missing_bytes_of_entries: Vec<u64>,
    regions: Vec<Region>,
    /// Where regions and their copies begin: which region, and whether it is the region itself.
    starts: BTreeMap<u64, (usize, bool)>,
    /// Where a chunk of a known list is first, by the beginning of its hash.
    first_places: HashMap<[u8; 8], u64>,
    /// Where a chunk belongs besides, and is in no block.
    recurrences: HashMap<u64, Vec<u64>>,
    /// Peers that are asked for whole xorbs.
    xorb_claims: HashMap<XorbHash, Vec<PeerNumber>>,
    /// Bytes by source: LAN, WAN, origin, local.
    by_source: [u64; 4],
}

/// A chunk that is written, and belongs to another place too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recurrence {
    pub(crate) leaf: Leaf,
    pub(crate) written_at: u64,
    pub(crate) offset: u64,
}

#[derive(Debug, Clone, Copy)]
struct Written {
    leaf: Leaf,
    /// Where it came from, once it is written.
    source: Option<Source>,
}

impl Written {
    fn is_done(&self) -> bool {
        self.source.is_some()
    }
}

#[derive(Debug)]
struct Region {
    entry: usize,
    range: ByteRange,
    /// The same as chunks of a xorb.
    xorb: XorbHash,
    chunks: ChunkRange,
    /// Where the same chunks recur in the file.
    copies: Vec<u64>,
    missing_bytes: u64,
    list: List,
}

/// What is known of a region's chunks.
#[derive(Debug)]
enum List {
    Unknown { asked: Vec<PeerNumber> },
    Known { leaves: Arc<[(u64, Leaf)]>, blocks: Vec<Block> },
}

#[derive(Debug)]
struct Block {
    /// Indices into the region's chunk list.
    first: usize,
    end: usize,
    range: ByteRange,
    missing_bytes: u64,
    claims: Vec<PeerNumber>,
}

/// Whether a chunk may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reserved {
    /// By whoever asked.
    Yours,
    /// It is written, or another source is just writing it.
    Taken,
    /// It is not the chunk that was proved to belong there.
    Differs,
}

/// What a peer is to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Task {
    /// Prove the chunk list of these bytes of the file.
    List(ByteRange),
    /// Send the chunks of these bytes.
    Block(BlockTask),
    /// Send all of a xorb.
    Xorb(XorbTask),
}

impl Task {
    /// What it claims.
    pub(crate) fn claim(&self) -> Claim {
        match self {
            Self::List(range) => Claim::Range(*range),
            Self::Block(block) => Claim::Range(block.range),
            Self::Xorb(task) => Claim::Xorb(task.xorb),
        }
    }
}

/// What a peer is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// The list of these bytes of the file, or their chunks.
    Range(ByteRange),
    /// A xorb.
    Xorb(XorbHash),
}

/// Chunks that are asked of a peer, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BlockTask {
    pub(crate) range: ByteRange,
    leaves: Arc<[(u64, Leaf)]>,
    first: usize,
    end: usize,
}

impl BlockTask {
    /// Offset, hash and length of each chunk.
    pub(crate) fn chunks(&self) -> &[(u64, Leaf)] {
        &self.leaves[self.first..self.end]
    }
}

impl Block {
    fn of_one(leaves: &[(u64, Leaf)], index: usize, missing_bytes: u64) -> Self {
        let (offset, leaf) = leaves[index];
        let range = ByteRange { start: offset, end: offset + u64::from(leaf.length) };
        Self { first: index, end: index + 1, range, missing_bytes, claims: Vec::new() }
    }
}

impl Ledger {
    /// `present`: what is in the partial file already.
    pub(crate) fn new(plan: &FilePlan, file_bytes: u64, present: &Present) -> Self {
        let written =
            present.iter().map(|(offset, leaf)| (*offset, Written { leaf: *leaf, source: Some(Source::Local) }));
        let mut ledger = Self {
            leaves: written.collect(),
            missing_bytes: file_bytes.saturating_sub(present.bytes()),
            missing_bytes_of_entries: vec![0; plan.entries.len()],
            regions: Vec::new(),
            starts: BTreeMap::new(),
            first_places: HashMap::new(),
            recurrences: HashMap::new(),
            xorb_claims: HashMap::new(),
            by_source: [0, 0, 0, present.bytes()],
        };
        for (entry, plan) in plan.entries.iter().enumerate() {
            // Terms of the same chunks are one region and its copies, if nothing of them is there: what is missing is
            // then missing everywhere.
            let mut by_chunks: BTreeMap<_, usize> = BTreeMap::new();
            for (chunks, range) in plan.file_ranges() {
                let next = ledger.regions.len();
                let is_absent = present.bytes_in(range) == 0;
                let number = if is_absent { *by_chunks.entry(chunks).or_insert(next) } else { next };
                let is_first = number == ledger.regions.len();
                ledger.starts.insert(range.start, (number, is_first));
                if is_first {
                    let missing_bytes = range.length().saturating_sub(present.bytes_in(range));
                    ledger.missing_bytes_of_entries[entry] += missing_bytes;
                    let list = List::Unknown { asked: Vec::new() };
                    let (xorb, copies) = (plan.entry.xorb, Vec::new());
                    ledger.regions.push(Region { entry, range, xorb, chunks, copies, missing_bytes, list });
                } else {
                    ledger.regions[number].copies.push(range.start);
                }
            }
        }
        ledger
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.missing_bytes == 0
    }

    /// Bytes of the file that nobody has brought.
    pub(crate) fn missing_bytes(&self) -> u64 {
        self.missing_bytes
    }

    pub(crate) fn is_entry_complete(&self, entry: usize) -> bool {
        self.missing_bytes_of_entries.get(entry).is_none_or(|missing_bytes| *missing_bytes == 0)
    }

    /// Bytes that came from LAN, WAN and origin, and that were here.
    pub(crate) fn by_source(&self) -> [u64; 4] {
        self.by_source
    }

    /// Gives away all chunks in file order; `None` unless they follow each other from the beginning of the file to
    /// its end. Nothing is written into a complete file any more, so they need not be kept twice.
    pub(crate) fn take_leaves(&mut self) -> Option<Vec<Leaf>> {
        let mut end = 0;
        for (offset, written) in &self.leaves {
            if *offset != end || !written.is_done() {
                return None;
            }
            end += u64::from(written.leaf.length);
        }
        self.is_complete().then(|| std::mem::take(&mut self.leaves).into_values().map(|written| written.leaf).collect())
    }

    /// Takes the right to write a chunk. A chunk that differs from the one that was proved to belong there gets
    /// none, and nothing does any more once the file is complete.
    pub(crate) fn reserve(&mut self, offset: u64, leaf: Leaf) -> Reserved {
        if !self.agrees(offset, leaf) {
            return Reserved::Differs;
        }
        if self.missing_bytes == 0 || self.leaves.get(&offset).is_some_and(|there| there.leaf == leaf) {
            return Reserved::Taken;
        }
        if self.reaches_into_others(offset, leaf) {
            // Chunks are written once and not read again, so none may reach into another. Of a proved list the other
            // one is wrong, and nobody is to blame for this one.
            return if self.listed_at(offset).is_some() { Reserved::Taken } else { Reserved::Differs };
        }
        self.leaves.insert(offset, Written { leaf, source: None });
        Reserved::Yours
    }

    /// Whether a chunk would be written over others.
    fn reaches_into_others(&self, offset: u64, leaf: Leaf) -> bool {
        let end = offset + u64::from(leaf.length);
        let before = self.leaves.range(..end).next_back();
        before.is_some_and(|(other, written)| other + u64::from(written.leaf.length) > offset)
    }

    /// Whether a chunk is the one that was proved to belong at this offset; true also if nothing was proved.
    fn agrees(&self, offset: u64, leaf: Leaf) -> bool {
        let Some((region, _)) = self.region_at(offset) else { return false };
        matches!(region.list, List::Unknown { .. }) || self.listed_at(offset) == Some(leaf)
    }

    /// The chunk that was proved to belong at this offset.
    fn listed_at(&self, offset: u64) -> Option<Leaf> {
        let (region, start) = self.region_at(offset)?;
        let List::Known { leaves, .. } = &region.list else { return None };
        let at = region.range.start + (offset - start);
        leaves.binary_search_by_key(&at, |(offset, _)| *offset).ok().map(|found| leaves[found].1)
    }

    /// Gives a reservation back: the chunk could not be written.
    pub(crate) fn take_back(&mut self, offset: u64) {
        if self.leaves.get(&offset).is_some_and(|written| !written.is_done()) {
            self.leaves.remove(&offset);
        }
    }

    /// Where a chunk belongs besides its own offset.
    pub(crate) fn copies_of(&self, offset: u64) -> Vec<u64> {
        let recurrences = self.recurrences.get(&offset).map_or(&[][..], Vec::as_slice);
        let mut copies = recurrences.to_vec();
        for place in recurrences.iter().chain([&offset]) {
            if let Some((region, start)) = self.region_at(*place) {
                copies.extend(region.copies.iter().map(|copy| copy + (place - start)));
            }
        }
        copies
    }

    /// Notes that a reserved chunk was written.
    pub(crate) fn written(&mut self, offset: u64, source: Source) {
        let Some(written) = self.leaves.get_mut(&offset).filter(|written| !written.is_done()) else { return };
        written.source = Some(source);
        let length = u64::from(written.leaf.length);
        self.missing_bytes = self.missing_bytes.saturating_sub(length);
        self.by_source[source as usize] += length;
        let Some((_, (number, true))) = self.starts.range(..=offset).next_back() else { return };
        let region = &mut self.regions[*number];
        if offset >= region.range.end {
            return;
        }
        region.missing_bytes = region.missing_bytes.saturating_sub(length);
        let of_entry = &mut self.missing_bytes_of_entries[region.entry];
        *of_entry = of_entry.saturating_sub(length);
        if let List::Known { blocks, .. } = &mut region.list {
            let after = blocks.partition_point(|block| block.range.start <= offset);
            let block = after.checked_sub(1).and_then(|at| blocks.get_mut(at));
            if let Some(block) = block.filter(|block| offset < block.range.end) {
                block.missing_bytes = block.missing_bytes.saturating_sub(length);
            }
        }
    }

    /// The next thing that `peer`, which has the whole file, can do; `None` if there is nothing left that
    /// others are not doing. Works from the back.
    /// `claims_max`: take nothing that so many are doing; [`CLAIMS_MAX`] is for when all else is done.
    pub(crate) fn claim(&mut self, peer: PeerNumber, claims_max: usize) -> Option<Task> {
        self.claim_what(peer, claims_max, true)
    }

    /// The same for a peer that cannot prove lists: something whose list others have proved.
    pub(crate) fn claim_listed(&mut self, peer: PeerNumber, claims_max: usize) -> Option<Task> {
        self.claim_what(peer, claims_max, false)
    }

    fn claim_what(&mut self, peer: PeerNumber, claims_max: usize, can_list: bool) -> Option<Task> {
        let Self { regions, xorb_claims, .. } = self;
        for region in regions.iter_mut().rev().filter(|region| region.missing_bytes > 0) {
            let of_xorb = xorb_claims.get(&region.xorb).map_or(0, Vec::len);
            let claims_max = claims_max.saturating_sub(of_xorb);
            match &mut region.list {
                List::Unknown { .. } if !can_list => {}
                List::Unknown { asked } => {
                    if asked.len() < claims_max && !asked.contains(&peer) {
                        asked.push(peer);
                        return Some(Task::List(region.range));
                    }
                }
                List::Known { leaves, blocks } => {
                    let is_open = |block: &&mut Block| {
                        block.missing_bytes > 0 && block.claims.len() < claims_max && !block.claims.contains(&peer)
                    };
                    if let Some(block) = blocks.iter_mut().rev().find(is_open) {
                        block.claims.push(peer);
                        let Block { range, first, end, .. } = *block;
                        return Some(Task::Block(BlockTask { range, leaves: leaves.clone(), first, end }));
                    }
                }
            }
        }
        None
    }

    /// Gives back everything that a peer claimed: it is gone, or too late.
    pub(crate) fn release_all(&mut self, peer: PeerNumber) {
        self.xorb_claims.values_mut().for_each(|claims| claims.retain(|claim| *claim != peer));
        for region in &mut self.regions {
            match &mut region.list {
                List::Unknown { asked } => asked.retain(|claim| *claim != peer),
                List::Known { blocks, .. } => blocks.iter_mut().for_each(|block| block.claims.retain(|c| *c != peer)),
            }
        }
    }

    /// Gives back one claim.
    pub(crate) fn release(&mut self, peer: PeerNumber, claim: Claim) {
        let range = match claim {
            Claim::Range(range) => range,
            Claim::Xorb(xorb) => return self.release_xorb(peer, xorb),
        };
        let Some((_, (number, _))) = self.starts.range(..=range.start).next_back() else { return };
        match &mut self.regions[*number].list {
            List::Unknown { asked } => asked.retain(|claim| *claim != peer),
            List::Known { blocks, .. } => {
                let same = blocks.iter_mut().filter(|block| block.range == range);
                same.for_each(|block| block.claims.retain(|claim| *claim != peer));
            }
        }
    }

    /// Takes a proved chunk list of a region: offset and leaf of each chunk. `None` if it is not exactly that of
    /// the region, as the plan has it. Returns what is already elsewhere in the file, for the caller to copy, or
    /// else to [give up](Self::cannot_copy).
    pub(crate) fn take_list(&mut self, range: ByteRange, leaves: Vec<(u64, Leaf)>) -> Option<Vec<Recurrence>> {
        let (number, true) = self.starts.get(&range.start).copied()? else { return None };
        let region = &mut self.regions[number];
        let end = leaves.last().map_or(range.start, |(offset, leaf)| offset + u64::from(leaf.length));
        if region.range != range || leaves.first().is_none_or(|(offset, _)| *offset != range.start) || end != range.end
        {
            return None;
        }
        if let List::Known { .. } = region.list {
            return Some(Vec::new());
        }
        self.forget_what_differs(range, &leaves);
        let leaves: Arc<[(u64, Leaf)]> = leaves.into();
        self.regions[number].list = List::Known { leaves: leaves.clone(), blocks: Vec::new() };
        let elsewhere = self.find_elsewhere(&leaves);
        let mut recurrences = Vec::new();
        let mut blocks: Vec<Block> = Vec::new();
        for (index, (offset, leaf)) in leaves.iter().enumerate() {
            if let Some(written_at) = elsewhere[index] {
                self.recurrences.entry(written_at).or_default().push(*offset);
                if self.is_written(written_at) && !self.is_written(*offset) {
                    recurrences.push(Recurrence { leaf: *leaf, written_at, offset: *offset });
                }
                continue;
            }
            let length = u64::from(leaf.length);
            let missing = if self.is_written(*offset) { 0 } else { length };
            match blocks.last_mut() {
                Some(block) if block.end == index && block.range.length() + length <= BLOCK_BYTES => {
                    block.end = index + 1;
                    block.range.end += length;
                    block.missing_bytes += missing;
                }
                _ => blocks.push(Block::of_one(&leaves, index, missing)),
            }
        }
        self.regions[number].list = List::Known { leaves, blocks };
        Some(recurrences)
    }

    /// For each chunk, where else it is to be had from, if it is one of a run that is worth copying.
    fn find_elsewhere(&mut self, leaves: &[(u64, Leaf)]) -> Vec<Option<u64>> {
        let mut elsewhere = Vec::with_capacity(leaves.len());
        for (offset, leaf) in leaves {
            let mut key = [0; 8];
            key.copy_from_slice(&leaf.hash.as_bytes()[..8]);
            let first = *self.first_places.entry(key).or_insert(*offset);
            elsewhere.push((first != *offset && self.listed_at(first) == Some(*leaf)).then_some(first));
        }
        let mut index = 0;
        for run in elsewhere.chunk_by_mut(|left, right| left.is_some() == right.is_some()) {
            let chunks = &leaves[index..index + run.len()];
            index += run.len();
            if chunks.iter().map(|(_, leaf)| u64::from(leaf.length)).sum::<u64>() < COPIED_BYTES_MIN {
                run.fill(None);
            }
        }
        elsewhere
    }

    /// Chunks that could not be copied are left to peers after all.
    pub(crate) fn cannot_copy(&mut self, recurrences: &[Recurrence]) {
        for Recurrence { offset, .. } in recurrences {
            let Some((number, true)) = self.starts.range(..=offset).next_back().map(|(_, region)| *region) else {
                continue;
            };
            let is_missing = !self.is_written(*offset);
            let List::Known { leaves, blocks } = &mut self.regions[number].list else { continue };
            let Ok(index) = leaves.binary_search_by_key(offset, |(offset, _)| *offset) else { continue };
            let missing = if is_missing { leaves[index].1.length.into() } else { 0 };
            let at = blocks.partition_point(|block| block.range.start <= *offset);
            blocks.insert(at, Block::of_one(leaves, index, missing));
        }
    }

    /// Whether the chunk that begins at this offset is there.
    pub(crate) fn is_written(&self, offset: u64) -> bool {
        self.leaves.get(&offset).is_some_and(Written::is_done)
    }

    /// Takes back what the origin wrote before the list was proved and that is not of it, so that it is fetched
    /// again. What is just being written is left to the check of the whole file.
    fn forget_what_differs(&mut self, range: ByteRange, list: &[(u64, Leaf)]) {
        let is_listed = |offset: &u64, leaf: &Leaf| {
            list.binary_search_by_key(offset, |(offset, _)| *offset).is_ok_and(|found| list[found].1 == *leaf)
        };
        let written = self.leaves.range(range.start..range.end);
        let wrong = written.filter(|(offset, written)| !is_listed(offset, &written.leaf));
        let wrong: Vec<_> = wrong
            .filter_map(|(offset, written)| Some((*offset, u64::from(written.leaf.length), written.source?)))
            .collect();
        for (offset, length, source) in wrong {
            self.leaves.remove(&offset);
            self.missing_bytes += length;
            self.by_source[source as usize] -= length;
            if let Some((number, true)) = self.starts.get(&range.start) {
                let region = &mut self.regions[*number];
                region.missing_bytes += length;
                self.missing_bytes_of_entries[region.entry] += length;
            }
        }
    }

    /// The region that holds an offset, and where that region, or the copy of it, begins.
    fn region_at(&self, offset: u64) -> Option<(&Region, u64)> {
        let (start, (number, _)) = self.starts.range(..=offset).next_back()?;
        let region = &self.regions[*number];
        (offset - start < region.range.length()).then_some((region, *start))
    }
}

#[cfg(test)]
mod tests {
    use xet_cas::{ByteRange, ChunkHash, ChunkRange, FetchEntry, Leaf, Reconstruction, Term, XorbHash};

    use super::{BLOCK_BYTES, CLAIMS_MAX, Claim, Ledger, Recurrence, Reserved, Source, Task};
    use crate::plan::FilePlan;
    use crate::present::Present;

    const XORB: XorbHash = XorbHash::from_bytes([7; 32]);
    const CHUNK: u32 = 100_000;

    fn leaf(index: u32) -> Leaf {
        Leaf { hash: ChunkHash::of(&index.to_le_bytes()), length: CHUNK }
    }

    /// A file of one entry with these runs of chunks, all of the same length.
    fn ledger(runs: &[(u32, u32)]) -> Ledger {
        ledger_with(runs, &Present::default())
    }

    fn ledger_with(runs: &[(u32, u32)], present: &Present) -> Ledger {
        let term = |(start, end): &(u32, u32)| Term {
            xorb: XORB,
            chunks: ChunkRange { start: *start, end: *end },
            unpacked_length: (end - start) * CHUNK,
        };
        let terms: Vec<Term> = runs.iter().map(term).collect();
        let bytes = terms.iter().map(|term| u64::from(term.unpacked_length)).sum();
        let chunks = ChunkRange { start: 0, end: runs.iter().map(|run| run.1).max().unwrap() };
        let entry = FetchEntry { xorb: XORB, chunks, bytes: ByteRange { start: 0, end: 1 }, url: String::new() };
        let reconstruction = Reconstruction { offset_into_first_term: 0, terms, entries: vec![entry] };
        Ledger::new(&FilePlan::new(reconstruction, bytes).unwrap(), bytes, present)
    }

    fn list(range: ByteRange, first: u32) -> Vec<(u64, Leaf)> {
        let count = (range.length() / u64::from(CHUNK)) as u32;
        (0..count).map(|i| (range.start + u64::from(i * CHUNK), leaf(first + i))).collect()
    }

    fn write(ledger: &mut Ledger, offset: u64, leaf: Leaf, source: Source) {
        if ledger.reserve(offset, leaf) == Reserved::Yours {
            ledger.written(offset, source);
        }
    }

    #[test]
    fn given_origin_and_peer_when_they_meet_then_every_byte_counts_once() {
        let mut ledger = ledger(&[(0, 100)]);
        let Some(Task::List(range)) = ledger.claim(1, CLAIMS_MAX) else { panic!("no list was wanted") };
        assert_eq!(Some(Vec::new()), ledger.take_list(range, list(range, 0)));

        let mut from_front = 0;
        while let Some(Task::Block(block)) = ledger.claim(1, CLAIMS_MAX) {
            for (offset, leaf) in block.chunks() {
                write(&mut ledger, *offset, *leaf, Source::Lan);
            }
            for _ in 0..30 {
                if from_front < 100 {
                    write(&mut ledger, u64::from(from_front * CHUNK), leaf(from_front), Source::Origin);
                    from_front += 1;
                }
            }
        }

        assert!(ledger.is_complete() && ledger.is_entry_complete(0));
        let [lan, wan, origin, _] = ledger.by_source();
        assert_eq!(100 * u64::from(CHUNK), lan + wan + origin);
        assert!(lan > 0 && origin > 0 && wan == 0);
        assert_eq!(Some((0..100).map(leaf).collect::<Vec<_>>()), ledger.take_leaves());
    }

    #[test]
    fn given_a_run_that_is_there_and_missing_elsewhere_when_begun_then_its_entry_is_not_complete() {
        // A pull was killed between writing a run and writing its copies.
        let runs = [(0, 3), (3, 5), (0, 3), (0, 3)];
        let mut present = Present::default();
        (0..3).for_each(|index| present.insert(u64::from(index * CHUNK), leaf(index)));
        present.insert(u64::from(9 * CHUNK), leaf(1));
        let mut ledger = ledger_with(&runs, &present);

        assert!(!ledger.is_entry_complete(0));
        let mut asked = 0;
        while let Some(task) = ledger.claim(1, CLAIMS_MAX) {
            match task {
                Task::List(range) => {
                    let first = if range.start == u64::from(3 * CHUNK) { 3 } else { 0 };
                    for copy in ledger.take_list(range, list(range, first)).unwrap() {
                        write(&mut ledger, copy.offset, copy.leaf, Source::Local);
                    }
                }
                Task::Xorb(task) => panic!("nobody asked for xorbs: {task:?}"),
                Task::Block(block) => {
                    for (offset, leaf) in block.chunks() {
                        asked += 1;
                        for place in ledger.copies_of(*offset).into_iter().chain([*offset]) {
                            write(&mut ledger, place, *leaf, Source::Lan);
                        }
                    }
                }
            }
        }

        assert!(ledger.is_complete() && ledger.is_entry_complete(0) && asked > 0);
        let order = [0, 1, 2, 3, 4, 0, 1, 2, 0, 1, 2].map(leaf);
        assert_eq!(Some(order.to_vec()), ledger.take_leaves());
    }

    #[test]
    fn given_chunks_that_overlap_when_offered_then_only_the_first_is_written() {
        let long = Leaf { length: 2 * CHUNK, ..leaf(7) };
        let mut ledger = ledger(&[(0, 10)]);
        write(&mut ledger, u64::from(CHUNK), leaf(1), Source::Origin);

        assert_eq!(Reserved::Differs, ledger.reserve(0, long));
        assert_eq!(Reserved::Differs, ledger.reserve(u64::from(CHUNK), leaf(2)));
        assert_eq!(Reserved::Taken, ledger.reserve(u64::from(CHUNK), leaf(1)));
        assert_eq!(Reserved::Differs, ledger.reserve(u64::from(CHUNK + CHUNK / 2), leaf(1)));
        assert_eq!(Reserved::Yours, ledger.reserve(0, leaf(0)));
        assert_eq!(Reserved::Yours, ledger.reserve(u64::from(2 * CHUNK), long));
    }

    #[test]
    fn given_two_peers_when_they_claim_then_from_the_back_and_not_the_same_until_the_end() {
        let mut ledger = ledger(&[(0, 100)]);
        let Some(Task::List(range)) = ledger.claim(1, CLAIMS_MAX) else { panic!("no list was wanted") };
        assert_eq!(Some(Vec::new()), ledger.take_list(range, list(range, 0)));

        let mut claimed = Vec::new();
        for peer in [1, 2].into_iter().cycle() {
            let Some(Task::Block(block)) = ledger.claim(peer, 1) else { break };
            if claimed.contains(&block.range) {
                break;
            }
            assert!(block.range.length() <= BLOCK_BYTES);
            claimed.push(block.range);
        }

        assert!(claimed.windows(2).all(|pair| pair[0].start == pair[1].end), "{claimed:?}");
        assert_eq!(range.length(), claimed.iter().map(ByteRange::length).sum::<u64>());
    }

    #[test]
    fn given_a_peer_that_leaves_when_released_then_others_get_its_blocks() {
        let mut ledger = ledger(&[(0, 10)]);
        let Some(Task::List(range)) = ledger.claim(1, CLAIMS_MAX) else { panic!("no list was wanted") };
        ledger.release_all(1);
        assert_eq!(Some(Task::List(range)), ledger.claim(2, CLAIMS_MAX));
        assert_eq!(Some(Vec::new()), ledger.take_list(range, list(range, 0)));
        let Some(Task::Block(block)) = ledger.claim(2, CLAIMS_MAX) else { panic!("no block was wanted") };

        ledger.release(2, Claim::Range(block.range));

        assert_eq!(Some(Task::Block(block)), ledger.claim(3, CLAIMS_MAX));
    }

    #[test]
    fn given_a_list_of_another_range_when_taken_then_refused() {
        let mut ledger = ledger(&[(0, 10), (20, 30)]);
        let Some(Task::List(range)) = ledger.claim(1, CLAIMS_MAX) else { panic!("no list was wanted") };
        let short = ByteRange { start: range.start, end: range.end - u64::from(CHUNK) };

        assert_eq!(None, ledger.take_list(range, list(short, 0)));
        assert_eq!(None, ledger.take_list(short, list(short, 0)));
        assert_eq!(None, ledger.take_list(ByteRange { start: range.start + 1, ..range }, list(range, 0)));
        assert_eq!(None, ledger.take_list(range, Vec::new()));
        assert_eq!(Some(Vec::new()), ledger.take_list(range, list(range, 0)));
    }

    #[test]
    fn given_chunks_that_recur_when_a_peer_sends_them_once_then_they_go_everywhere() {
        let mut ledger = ledger(&[(0, 5), (5, 6), (0, 5), (5, 6), (5, 6)]);
        let mut peer_bytes = 0;
        while let Some(task) = ledger.claim(1, CLAIMS_MAX) {
            match task {
                Task::List(range) => {
                    let first = if range.length() == u64::from(CHUNK) { 5 } else { 0 };
                    assert!(ledger.take_list(range, list(range, first)).is_some());
                }
                Task::Block(block) => {
                    for (offset, leaf) in block.chunks() {
                        peer_bytes += u64::from(leaf.length);
                        for copy in ledger.copies_of(*offset).into_iter().chain([*offset]) {
                            write(&mut ledger, copy, *leaf, Source::Wan);
                        }
                    }
                }
                Task::Xorb(task) => panic!("nobody asked for xorbs: {task:?}"),
            }
        }

        assert!(ledger.is_complete());
        assert_eq!(6 * u64::from(CHUNK), peer_bytes);
        let order = (0..6).chain(0..6).chain([5]).map(leaf).collect::<Vec<_>>();
        assert_eq!(Some(order), ledger.take_leaves());
    }

    #[test]
    fn given_runs_that_overlap_when_peers_bring_them_then_what_they_share_is_asked_once() {
        // Chunks 0 to 19, and 5 to 24 of the same xorb behind them.
        let mut ledger = ledger(&[(0, 20), (5, 25)]);
        let (first, second) = (ByteRange { start: 0, end: 2_000_000 }, ByteRange { start: 2_000_000, end: 4_000_000 });
        assert_eq!(Some(Vec::new()), ledger.take_list(first, list(first, 0)));
        write(&mut ledger, 500_000, leaf(5), Source::Lan);

        let copies = ledger.take_list(second, list(second, 5)).unwrap();
        assert_eq!([Recurrence { leaf: leaf(5), written_at: 500_000, offset: 2_000_000 }], copies[..]);
        assert_eq!([2_100_000], ledger.copies_of(600_000)[..]);
        write(&mut ledger, 2_000_000, leaf(5), Source::Lan);
        let mut peer_bytes = 0;
        while let Some(Task::Block(block)) = ledger.claim(1, CLAIMS_MAX) {
            for (offset, leaf) in block.chunks() {
                peer_bytes += u64::from(leaf.length);
                for place in ledger.copies_of(*offset).into_iter().chain([*offset]) {
                    write(&mut ledger, place, *leaf, Source::Lan);
                }
            }
        }

        assert!(ledger.is_complete());
        // All of the first run, whose block holds the chunk that was there already, and five of the second.
        assert_eq!(25 * u64::from(CHUNK), peer_bytes);
    }

    #[test]
    fn given_chunks_that_could_not_be_copied_when_said_then_peers_are_asked_for_them() {
        let mut ledger = ledger(&[(0, 5), (1, 5)]);
        let (first, second) = (ByteRange { start: 0, end: 500_000 }, ByteRange { start: 500_000, end: 900_000 });
        ledger.take_list(first, list(first, 0)).unwrap();
        (0..5).for_each(|index| write(&mut ledger, u64::from(index * CHUNK), leaf(index), Source::Lan));
        let copies = ledger.take_list(second, list(second, 1)).unwrap();
        assert_eq!((4, None), (copies.len(), ledger.claim(1, CLAIMS_MAX)));

        ledger.cannot_copy(&copies[1..3]);

        let claimed: Vec<_> = std::iter::from_fn(|| ledger.claim(1, CLAIMS_MAX)).map(|task| task.claim()).collect();
        let expected = [700_000, 600_000].map(|start| Claim::Range(ByteRange { start, end: start + 100_000 }));
        assert_eq!(expected, claimed[..]);
    }

    #[test]
    fn given_a_proved_list_when_the_origin_differs_then_it_shows() {
        let mut ledger = ledger(&[(0, 10)]);
        write(&mut ledger, 0, leaf(9), Source::Origin);
        let Some(Task::List(range)) = ledger.claim(1, CLAIMS_MAX) else { panic!("no list was wanted") };
        assert_eq!(Some(Vec::new()), ledger.take_list(range, list(range, 0)));

        // What was written before is forgotten, what comes later is refused.
        assert_eq!(10 * u64::from(CHUNK), ledger.missing_bytes());
        assert_eq!([0; 4], ledger.by_source());
        assert_eq!(Reserved::Differs, ledger.reserve(0, leaf(9)));
        assert_eq!(Reserved::Yours, ledger.reserve(0, leaf(0)));
    }

    #[test]
    fn given_a_chunk_that_could_not_be_written_when_given_back_then_another_source_may_write_it() {
        let mut ledger = ledger(&[(0, 1)]);
        assert_eq!(Reserved::Yours, ledger.reserve(0, leaf(0)));
        assert_eq!(Reserved::Taken, ledger.reserve(0, leaf(0)));

        ledger.take_back(0);

        assert_eq!(Reserved::Yours, ledger.reserve(0, leaf(0)));
        ledger.written(0, Source::Lan);
        ledger.take_back(0);
        assert_eq!(Reserved::Taken, ledger.reserve(0, leaf(0)));
        assert!(ledger.is_complete());
        assert_eq!(Reserved::Taken, ledger.reserve(u64::from(CHUNK) / 2, leaf(3)), "written into a complete file");
    }
}
