//! What to fetch for a range of a file, in which order it is needed, and until when. Pure.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::{ByteRange, CHUNK_BYTES_MAX, Error, FetchEntry, Reconstruction, Term, xorb};

/// Ranges in one request at most: signed URLs get too long beyond.
const RANGES_MAX: usize = 500;

/// How a range of a file is put together.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) terms: Vec<PlannedTerm>,
    pub(super) units: Vec<Unit>,
    /// Bytes of the first term that lie before the range.
    pub(super) skip: u64,
}

/// A term, and which entry of which unit holds it.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlannedTerm {
    pub(super) term: Term,
    pub(super) unit: usize,
    pub(super) entry: usize,
}

/// What is fetched with one request: an entry, or several that have one URL.
#[derive(Debug, Clone)]
pub(super) struct Unit {
    pub(super) entries: Vec<FetchEntry>,
    /// The last term that names a chunk, by entry and chunk. There may be far more chunks that no term names.
    last_uses: HashMap<(usize, u32), u32>,
    /// The terms that need it, ascending.
    uses: Vec<u32>,
}

impl Plan {
    /// Plans exactly this range, which is not empty. Entries that have one URL are fetched together if `multi_range`.
    ///
    /// # Errors
    /// If the answer is not about this range, or what [`Reconstruction::check_exactly`] finds.
    pub(super) fn new(mut answer: Reconstruction, asked: ByteRange, multi_range: bool) -> Result<Self, Error> {
        let inconsistent = |reason: &str| Err(Error::Reconstruction { reason: reason.to_owned() });
        let skip = std::mem::take(&mut answer.offset_into_first_term);
        let held: u64 = answer.terms.iter().map(|term| u64::from(term.unpacked_length)).sum();
        let entry_of_term = answer.check_exactly(held)?;
        let (Some(first), Some(last)) = (answer.terms.first(), answer.terms.last()) else {
            return inconsistent("the answer holds nothing of the range");
        };
        if skip >= first.unpacked_length.into() {
            return inconsistent("the range begins behind the first term");
        }
        let Some(surplus) = (held - skip).checked_sub(asked.length()) else {
            return inconsistent("the terms end before the range does");
        };
        if surplus >= last.unpacked_length.into() {
            return inconsistent("the last term lies behind the range");
        }
        // Chunks of the last term that lie behind it may be there: a server need not cut them off.
        let (mut units, place_of_entry) = units(answer.entries, multi_range);
        let mut terms = Vec::with_capacity(answer.terms.len());
        for (index, (term, entry)) in (0_u32..).zip(answer.terms.iter().zip(entry_of_term)) {
            let (unit, entry) = place_of_entry[entry];
            units[unit].add_use(index, entry, term);
            terms.push(PlannedTerm { term: *term, unit, entry });
        }
        Ok(Self { terms, units, skip })
    }
}

/// Groups entries, and tells where each has come to.
fn units(entries: Vec<FetchEntry>, multi_range: bool) -> (Vec<Unit>, Vec<(usize, usize)>) {
    let mut urls: HashMap<Arc<str>, Vec<usize>> = HashMap::new();
    for (index, entry) in entries.iter().enumerate() {
        urls.entry(entry.url.clone()).or_default().push(index);
    }
    // Only what can be one request: ranges of one xorb, ascending, none overlapping another.
    let are_apart = |sharing: &[usize]| {
        sharing.windows(2).all(|pair| {
            let (one, two) = (&entries[pair[0]], &entries[pair[1]]);
            one.xorb == two.xorb && one.bytes.end <= two.bytes.start && one.chunks.end <= two.chunks.start
        })
    };
    let is_shared = |sharing: &[usize]| multi_range && (2..=RANGES_MAX).contains(&sharing.len()) && are_apart(sharing);
    // Once for each URL: an answer may have a million entries, all with the same.
    let shared: HashSet<&str> =
        urls.iter().filter(|(_, sharing)| is_shared(sharing)).map(|(url, _)| url.as_ref()).collect();
    let (mut units, mut places) = (Vec::<Unit>::new(), Vec::with_capacity(entries.len()));
    let mut unit_of_url: HashMap<&str, usize> = HashMap::new();
    for entry in &entries {
        let new = units.len();
        let unit = if shared.contains(&*entry.url) { *unit_of_url.entry(&entry.url).or_insert(new) } else { new };
        if unit == new {
            units.push(Unit { entries: Vec::new(), last_uses: HashMap::new(), uses: Vec::new() });
        }
        let unit_entries = &mut units[unit];
        places.push((unit, unit_entries.entries.len()));
        unit_entries.entries.push(entry.clone());
    }
    (units, places)
}

impl Unit {
    fn add_use(&mut self, index: u32, entry: usize, term: &Term) {
        self.last_uses.extend(term.chunks.indices().map(|chunk| ((entry, chunk), index)));
        if self.uses.last() != Some(&index) {
            self.uses.push(index);
        }
    }

    /// Whether a chunk of an entry is needed for this term or a later one.
    pub(super) fn is_needed(&self, entry: usize, chunk: u32, term: usize) -> bool {
        self.last_uses.get(&(entry, chunk)).is_some_and(|last| *last as usize >= term)
    }

    /// The first term from this one on that needs it.
    pub(super) fn next_use(&self, term: usize) -> Option<usize> {
        let at = self.uses.partition_point(|index| (*index as usize) < term);
        self.uses.get(at).map(|index| *index as usize)
    }

    /// Its chunks.
    pub(super) fn chunk_count(&self) -> usize {
        self.entries.iter().map(|entry| entry.chunks.count() as usize).sum()
    }

    /// Uncompressed bytes of its chunks at most: they are of one xorb, and each is in one entry only.
    pub(super) fn raw_bytes_max(&self) -> u64 {
        (self.chunk_count() as u64 * CHUNK_BYTES_MAX as u64).min(xorb::RAW_BYTES_MAX)
    }

    /// For messages.
    pub(super) fn what(&self) -> String {
        let Some((first, last)) = self.entries.first().zip(self.entries.last()) else { return "nothing".to_owned() };
        format!("chunks {}..{} of xorb {}", first.chunks.start, last.chunks.end, first.xorb)
    }
}

#[cfg(test)]
mod tests {
    use super::Plan;
    use crate::{ByteRange, ChunkRange, FetchEntry, Reconstruction, Term, XorbHash};

    const XORB: XorbHash = XorbHash::from_bytes([7; 32]);

    fn term(start: u32, end: u32, unpacked_length: u32) -> Term {
        Term { xorb: XORB, chunks: ChunkRange { start, end }, unpacked_length }
    }

    fn entry(start: u32, end: u32, url: &str) -> FetchEntry {
        let bytes = ByteRange { start: u64::from(start) * 100, end: u64::from(end) * 100 };
        FetchEntry { xorb: XORB, chunks: ChunkRange { start, end }, bytes, url: url.into() }
    }

    fn plan(offset: u64, terms: Vec<Term>, asked: u64, multi_range: bool) -> Result<Plan, crate::Error> {
        let entries = vec![entry(0, 4, "a"), entry(5, 6, "b"), entry(8, 9, "a")];
        let answer = Reconstruction { offset_into_first_term: offset, terms, entries };
        Plan::new(answer, ByteRange { start: 1_000, end: 1_000 + asked }, multi_range)
    }

    #[test]
    fn given_terms_that_are_not_the_range_when_planned_then_refused() {
        let terms = || vec![term(0, 2, 30), term(5, 6, 20)];
        for (offset, asked) in [(0, 31), (0, 50), (29, 2), (29, 21)] {
            assert!(plan(offset, terms(), asked, false).is_ok(), "{offset}, {asked}");
        }
        for (offset, asked) in [(0, 51), (0, 30), (30, 1), (29, 22), (u64::MAX, 1)] {
            assert!(plan(offset, terms(), asked, false).is_err(), "{offset}, {asked}");
        }
        assert!(plan(0, Vec::new(), 1, false).is_err());
    }

    #[test]
    fn given_chunks_that_recur_when_planned_then_needed_up_to_their_last_term() {
        let plan = plan(0, vec![term(0, 3, 30), term(5, 6, 20), term(1, 2, 10)], 60, false).unwrap();
        let unit = &plan.units[0];

        assert!(unit.is_needed(0, 0, 0) && !unit.is_needed(0, 0, 1));
        assert!(unit.is_needed(0, 1, 2) && !unit.is_needed(0, 1, 3));
        assert!(!unit.is_needed(0, 3, 0) && !unit.is_needed(0, 4, 0) && !unit.is_needed(1, 0, 0));
        assert_eq!([Some(0), Some(2), Some(2), None], [0, 1, 2, 3].map(|term| unit.next_use(term)));
    }

    #[test]
    fn given_entries_of_one_url_when_planned_then_one_request_only_if_wanted() {
        let terms = || vec![term(0, 3, 30), term(5, 6, 20), term(8, 9, 10)];

        let places = |multi| {
            let plan = plan(0, terms(), 60, multi).unwrap();
            plan.terms.iter().map(|term| (term.unit, term.entry)).collect::<Vec<_>>()
        };

        assert_eq!([(0, 0), (1, 0), (2, 0)], places(false)[..]);
        assert_eq!([(0, 0), (1, 0), (0, 1)], places(true)[..]);
    }

    #[test]
    fn given_entries_that_no_term_uses_when_planned_then_nothing_is_remembered_of_them() {
        let mut entries = vec![entry(0, 8_192, "a"); 10_000];
        entries.push(FetchEntry { xorb: XorbHash::from_bytes([8; 32]), ..entry(0, 8_192, "b") });
        let terms = vec![Term { xorb: XorbHash::from_bytes([8; 32]), ..term(4, 6, 20) }];
        let answer = Reconstruction { offset_into_first_term: 0, terms, entries };

        let plan = Plan::new(answer, ByteRange { start: 0, end: 20 }, true).unwrap();

        assert_eq!(2, plan.units.iter().map(|unit| unit.last_uses.len()).sum::<usize>());
    }

    #[test]
    fn given_very_many_entries_of_one_url_when_planned_then_soon() {
        let entry = |at: u64| {
            let bytes = ByteRange { start: at, end: at + 1 };
            FetchEntry { xorb: XORB, chunks: ChunkRange { start: 0, end: 1 }, bytes, url: "a".into() }
        };
        for multi_range in [false, true] {
            let entries = (0..200_000).map(entry).collect();
            let answer = Reconstruction { offset_into_first_term: 0, terms: vec![term(0, 1, 10)], entries };
            let (sender, planned) = std::sync::mpsc::channel();
            std::thread::spawn(move || {
                let plan = Plan::new(answer, ByteRange { start: 0, end: 10 }, multi_range).unwrap();
                sender.send(plan.units.len()).unwrap();
            });

            assert_eq!(Ok(200_000), planned.recv_timeout(std::time::Duration::from_secs(60)), "it takes too long");
        }
    }

    #[test]
    fn given_entries_that_share_chunks_when_planned_then_not_one_request() {
        let range = |start, end, at| {
            let bytes = ByteRange { start: at, end: at + 100 };
            FetchEntry { xorb: XORB, chunks: ChunkRange { start, end }, bytes, url: "a".into() }
        };
        for (second, expected) in [(range(3, 8, 100), 2), (range(4, 8, 100), 1), (range(4, 8, 99), 2)] {
            let entries = vec![range(0, 4, 0), second];
            let answer = Reconstruction { offset_into_first_term: 0, terms: vec![term(0, 1, 10)], entries };

            let plan = Plan::new(answer, ByteRange { start: 0, end: 10 }, true).unwrap();

            assert_eq!(expected, plan.units.len());
        }
    }

    #[test]
    fn given_several_entries_when_their_memory_is_told_then_no_more_than_a_xorb_holds() {
        let answer = Reconstruction {
            offset_into_first_term: 0,
            terms: vec![term(0, 1, 10)],
            entries: vec![entry(0, 4_000, "a"), entry(4_000, 8_000, "a")],
        };

        let plan = Plan::new(answer, ByteRange { start: 0, end: 10 }, true).unwrap();

        assert_eq!((1, crate::xorb::RAW_BYTES_MAX), (plan.units.len(), plan.units[0].raw_bytes_max()));
    }
}
