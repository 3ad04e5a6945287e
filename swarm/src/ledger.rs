//! What of one file is there, and what is to be had together. Pure: no I/O, no clock.
//!
//! The file is divided into *regions*: one for each run of chunks that a fetch entry serves, and each of them into
//! *blocks*, which is what peers are asked for. Before blocks can be cut, a peer has to prove the region's chunk list, so
//! that every chunk of a peer is checked before it is written. Who is asked for what the
//! [scheduler](crate::schedule) decides; here is what comes of it.

mod of_xorbs;

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use xet_cas::{ByteRange, ChunkRange, Leaf, XorbHash};

pub(crate) use self::of_xorbs::XorbTask;

use crate::plan::{FilePlan, Need, PARTS_MAX};
use crate::present::Present;
use crate::schedule::{BLOCK_BYTES, BlockSpec, EntrySpec, Finished, What};

/// A run of chunks that are elsewhere in the file too is copied from there if it is as long as this; a shorter
/// one is not worth asking for what is around it in two parts.
const COPIED_BYTES_MIN: u64 = 256 * 1024;

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
    regions: Vec<Region>,
    /// By entry: where its regions are among all.
    entries: Vec<Range<usize>>,
    /// Where regions and their copies begin: which region, and whether it is the region itself.
    starts: BTreeMap<u64, (usize, bool)>,
    /// Where a chunk of a known list is first, by the beginning of its hash.
    first_places: HashMap<[u8; 8], u64>,
    /// Where a chunk belongs besides, and is in no block.
    recurrences: HashMap<u64, Vec<u64>>,
    /// What was written whole since that was last asked.
    finished: Vec<Finished>,
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
    Unknown,
    Known {
        leaves: Arc<[(u64, Leaf)]>,
        blocks: Vec<Block>,
        /// Which block begins where.
        by_start: BTreeMap<u64, u32>,
    },
}

#[derive(Debug)]
struct Block {
    /// Indices into the region's chunk list.
    first: usize,
    end: usize,
    range: ByteRange,
    missing_bytes: u64,
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
        Self { first: index, end: index + 1, range, missing_bytes }
    }

    /// Of a region that begins at `start`.
    fn spec(&self, start: u64) -> BlockSpec {
        let (bytes, missing_bytes) = (self.range.length(), self.missing_bytes);
        BlockSpec { start: self.range.start - start, bytes, missing_bytes }
    }
}

/// A list that was taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TakenList {
    /// Number of the region.
    pub(crate) region: u32,
    pub(crate) blocks: Vec<BlockSpec>,
    /// What is already elsewhere in the file, for the caller to copy, or else to [give up](Ledger::cannot_copy).
    pub(crate) recurrences: Vec<Recurrence>,
}

impl Ledger {
    /// `present`: what is in the partial file already.
    pub(crate) fn new(plan: &FilePlan, file_bytes: u64, present: &Present) -> Self {
        let written =
            present.iter().map(|(offset, leaf)| (*offset, Written { leaf: *leaf, source: Some(Source::Local) }));
        let mut ledger = Self {
            leaves: written.collect(),
            missing_bytes: file_bytes.saturating_sub(present.bytes()),
            regions: Vec::new(),
            entries: Vec::with_capacity(plan.entries.len()),
            starts: BTreeMap::new(),
            first_places: HashMap::new(),
            recurrences: HashMap::new(),
            finished: Vec::new(),
            by_source: [0, 0, 0, present.bytes()],
        };
        for plan in &plan.entries {
            let first = ledger.regions.len();
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
                    let (xorb, copies, list) = (plan.entry.xorb, Vec::new(), List::Unknown);
                    ledger.regions.push(Region { range, xorb, chunks, copies, missing_bytes, list });
                } else {
                    ledger.regions[number].copies.push(range.start);
                }
            }
            ledger.entries.push(first..ledger.regions.len());
        }
        ledger
    }

    /// What there is to fetch.
    pub(crate) fn specs(&self) -> Vec<EntrySpec> {
        let spec = |regions: &Range<usize>| {
            let regions = &self.regions[regions.clone()];
            let first = regions.first();
            EntrySpec {
                regions: regions.iter().map(|region| (region.range.length(), region.missing_bytes)).collect(),
                xorb: first.map_or(XorbHash::from_bytes([0; 32]), |region| region.xorb),
                xorb_bytes: first.map_or(0, |region| self.xorb_bytes(region.xorb)),
            }
        };
        self.entries.iter().map(spec).collect()
    }

    /// What was written whole since this was last asked.
    pub(crate) fn take_finished(&mut self) -> Vec<Finished> {
        std::mem::take(&mut self.finished)
    }

    /// Which region a place in the file is in, and where in it.
    pub(crate) fn place(&self, offset: u64) -> Option<(u32, u64)> {
        let (start, (number, _)) = self.starts.range(..=offset).next_back()?;
        Some((*number as u32, offset - start))
    }

    /// What is to be asked of a peer; `None` if all of it is there.
    pub(crate) fn task(&self, what: What) -> Option<Task> {
        match what {
            What::Entry(_) => None,
            What::Whole(entry) => self.xorb_task(entry),
            What::List(region) => {
                let region = self.regions.get(region as usize).filter(|region| region.missing_bytes > 0)?;
                matches!(region.list, List::Unknown).then_some(Task::List(region.range))
            }
            What::Block(region, block) => self.block_task(region, block).map(Task::Block),
        }
    }

    /// A block, from the first to the last chunk that is missing.
    fn block_task(&self, region: u32, block: u32) -> Option<BlockTask> {
        let List::Known { leaves, blocks, .. } = &self.regions.get(region as usize)?.list else { return None };
        let Block { first, end, .. } = *blocks.get(block as usize)?;
        let is_missing = |at: &usize| !self.is_written(leaves[*at].0);
        let (first, last) = ((first..end).find(is_missing)?, (first..end).rfind(is_missing)?);
        let (offset, leaf) = leaves[last];
        let range = ByteRange { start: leaves[first].0, end: offset + u64::from(leaf.length) };
        Some(BlockTask { range, leaves: leaves.clone(), first, end: last + 1 })
    }

    /// What of an entry is to be fetched. What belongs elsewhere too is fetched once.
    pub(crate) fn need(&self, entry: u32) -> Need {
        let regions = self.entries.get(entry as usize).cloned().unwrap_or_default();
        let ranges: Vec<_> = self.regions[regions].iter().map(|region| region.range).collect();
        let mut present = Present::default();
        for range in &ranges {
            let there = self.leaves.range(range.start..range.end).filter(|(_, written)| written.is_done());
            there.for_each(|(offset, written)| present.insert(*offset, written.leaf));
        }
        Need::of(&ranges, &present, PARTS_MAX)
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.missing_bytes == 0
    }

    /// Bytes of the file that nobody has brought.
    pub(crate) fn missing_bytes(&self) -> u64 {
        self.missing_bytes
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
        matches!(region.list, List::Unknown) || self.listed_at(offset) == Some(leaf)
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
        match &mut region.list {
            List::Unknown if region.missing_bytes == 0 => self.finished.push(Finished::Region(*number as u32)),
            List::Unknown => {}
            List::Known { blocks, by_start, .. } => {
                let Some((_, at)) = by_start.range(..=offset).next_back() else { return };
                let block = &mut blocks[*at as usize];
                if offset < block.range.end {
                    block.missing_bytes = block.missing_bytes.saturating_sub(length);
                    if block.missing_bytes == 0 {
                        self.finished.push(Finished::Block(*number as u32, *at));
                    }
                }
            }
        }
    }

    /// Takes a proved chunk list of a region: offset and leaf of each chunk. `None` if it is not exactly that of
    /// the region, as the plan has it; nothing is in what is returned if it was known before.
    pub(crate) fn take_list(&mut self, range: ByteRange, leaves: Vec<(u64, Leaf)>) -> Option<Option<TakenList>> {
        let (number, true) = self.starts.get(&range.start).copied()? else { return None };
        let region = &mut self.regions[number];
        let end = leaves.last().map_or(range.start, |(offset, leaf)| offset + u64::from(leaf.length));
        if region.range != range || leaves.first().is_none_or(|(offset, _)| *offset != range.start) || end != range.end
        {
            return None;
        }
        if let List::Known { .. } = region.list {
            return Some(None);
        }
        self.forget_what_differs(range, &leaves);
        let leaves: Arc<[(u64, Leaf)]> = leaves.into();
        let (blocks, by_start) = (Vec::new(), BTreeMap::new());
        self.regions[number].list = List::Known { leaves: leaves.clone(), blocks, by_start };
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
        let specs = blocks.iter().map(|block| block.spec(range.start)).collect();
        let by_start = (0..).zip(&blocks).map(|(at, block)| (block.range.start, at)).collect();
        self.regions[number].list = List::Known { leaves, blocks, by_start };
        Some(Some(TakenList { region: number as u32, blocks: specs, recurrences }))
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

    /// Chunks that could not be copied are left to peers after all. Returns their blocks, each with its region.
    pub(crate) fn cannot_copy(&mut self, recurrences: &[Recurrence]) -> Vec<(u32, BlockSpec)> {
        let mut added = Vec::new();
        for Recurrence { offset, .. } in recurrences {
            let Some((number, true)) = self.starts.range(..=offset).next_back().map(|(_, region)| *region) else {
                continue;
            };
            let is_missing = !self.is_written(*offset);
            let region = &mut self.regions[number];
            let List::Known { leaves, blocks, by_start } = &mut region.list else { continue };
            let Ok(index) = leaves.binary_search_by_key(offset, |(offset, _)| *offset) else { continue };
            let block = Block::of_one(leaves, index, if is_missing { leaves[index].1.length.into() } else { 0 });
            added.push((number as u32, block.spec(region.range.start)));
            by_start.insert(block.range.start, blocks.len() as u32);
            blocks.push(block);
        }
        added
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
                self.regions[*number].missing_bytes += length;
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
mod tests;
