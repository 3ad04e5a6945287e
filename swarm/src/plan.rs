//! Which bytes go where: from a reconstruction to the places of every chunk of every entry.
//!
//! Pure: no I/O, no clock. An entry's chunks arrive in order; a [`Cursor`] tells for each where in the
//! file it belongs.

use std::sync::Arc;

use xet_cas::proof::Outline;
use xet_cas::{ByteRange, ChunkRange, Error as FormatError, FetchEntry, Reconstruction, Term, XorbHash};

use crate::present::Present;

/// Bytes that must be saved by asking the CAS for a part of an entry in place of fetching all of it.
const SAVED_BYTES_MIN: u64 = 1024 * 1024;
/// Such questions about one file, at most: each costs a round trip.
pub(crate) const PARTS_MAX: usize = 64;

/// How one file is fetched.
#[derive(Debug)]
pub(crate) struct FilePlan {
    /// What to fetch, each once.
    pub(crate) entries: Vec<EntryPlan>,
    /// Where its terms end, by which a list of its chunks can be told from a list of something else.
    pub(crate) outline: Outline,
    /// Runs of the file that may be whole xorbs: all chunks of an entry from the first on. Whether they are is
    /// told by their hash.
    pub(crate) xorb_candidates: Vec<(XorbHash, ByteRange)>,
    /// What the file is made of, in its order.
    pub(crate) runs: Arc<[TermRun]>,
    /// The CAS gives entries of parts of a file, as far as is known.
    pub(crate) gives_parts: bool,
}

/// A term, or several that follow each other in their xorb too: a run of a xorb's chunks, and where it is in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TermRun {
    pub(crate) xorb: XorbHash,
    /// Chunks of the xorb.
    pub(crate) chunks: ChunkRange,
    /// Which chunk of the file is the first of them.
    pub(crate) first_chunk: u32,
}

impl TermRun {
    /// Of a whole file. What lies beyond 2^32 chunks is left out.
    fn of(terms: &[Term]) -> Arc<[Self]> {
        let (mut runs, mut first_chunk) = (Vec::<Self>::new(), 0_u32);
        for Term { xorb, chunks, .. } in terms {
            let Some(end) = first_chunk.checked_add(chunks.count()) else { break };
            match runs.last_mut() {
                Some(last) if last.xorb == *xorb && last.chunks.end == chunks.start => last.chunks.end = chunks.end,
                _ => runs.push(Self { xorb: *xorb, chunks: *chunks, first_chunk }),
            }
            first_chunk = end;
        }
        runs.into()
    }

    /// Which chunk of the file is the first after them.
    pub(crate) fn end_chunk(&self) -> u64 {
        u64::from(self.first_chunk) + u64::from(self.chunks.count())
    }
}

/// One fetch entry and the terms of the file that it serves.
#[derive(Debug, Clone)]
pub(crate) struct EntryPlan {
    pub(crate) entry: FetchEntry,
    /// Bytes of the file that the CAS was asked for to get it: the same question brings a newer URL.
    pub(crate) asked: ByteRange,
    /// By ascending first chunk.
    uses: Vec<Use>,
}

/// A term, seen from its entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Use {
    pub(crate) chunks: ChunkRange,
    pub(crate) unpacked_length: u32,
    /// Where the term begins in the file, bytes.
    pub(crate) file_offset: u64,
}

impl Use {
    /// Its bytes of the file.
    pub(crate) fn file_range(&self) -> ByteRange {
        ByteRange { start: self.file_offset, end: self.file_offset + u64::from(self.unpacked_length) }
    }
}

/// What of an entry is to be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Need {
    Nothing,
    Whole,
    /// These bytes of the file only; the CAS has to be asked for entries of them.
    Parts(Vec<ByteRange>),
}

impl Need {
    /// What has to be fetched of these ranges of the file when some of it is there, in `parts_max` parts at most.
    pub(crate) fn of(ranges: &[ByteRange], present: &Present, parts_max: usize) -> Self {
        let parts: Vec<_> = ranges.iter().flat_map(|range| join_close(present.missing_in(*range))).collect();
        if parts.is_empty() {
            return Self::Nothing;
        }
        let asked: u64 = parts.iter().map(ByteRange::length).sum();
        let bytes: u64 = ranges.iter().map(ByteRange::length).sum();
        if bytes - asked.min(bytes) < SAVED_BYTES_MIN || parts.len() > parts_max {
            return Self::Whole;
        }
        Self::Parts(parts)
    }
}

impl FilePlan {
    /// Plans a whole file of `file_bytes`.
    ///
    /// # Errors
    /// What [`Reconstruction::check_whole_file`] finds.
    pub(crate) fn new(reconstruction: Reconstruction, file_bytes: u64) -> Result<Self, FormatError> {
        let outline = Outline::new(&reconstruction.terms);
        let runs = TermRun::of(&reconstruction.terms);
        let entries = plan_entries(reconstruction, ByteRange { start: 0, end: file_bytes })?;
        let from_the_first = entries.iter().filter(|plan| plan.entry.chunks.start == 0);
        let candidates = from_the_first.flat_map(|plan| {
            let whole = plan.file_ranges().find(|(chunks, _)| *chunks == plan.entry.chunks);
            whole.map(|(_, range)| (plan.entry.xorb, range))
        });
        let xorb_candidates = candidates.collect();
        Ok(Self { entries, outline, xorb_candidates, runs, gives_parts: true })
    }

    /// The parts of the file that are described by terms, in file order: where chunks certainly begin and end.
    pub(crate) fn terms(&self) -> Vec<ByteRange> {
        let mut terms: Vec<_> =
            self.entries.iter().flat_map(|plan| plan.file_ranges().map(|(_, range)| range)).collect();
        terms.sort_by_key(|range| range.start);
        terms
    }

    /// All terms, each with its xorb.
    pub(crate) fn terms_of_xorbs(&self) -> impl Iterator<Item = (XorbHash, Use)> {
        self.entries.iter().flat_map(|plan| plan.uses.iter().map(|term| (plan.entry.xorb, *term)))
    }

    /// What has to be fetched of each entry when some of the file is there.
    pub(crate) fn needs(&self, present: &Present) -> Vec<Need> {
        let mut parts_left = PARTS_MAX;
        let mut need = |plan: &EntryPlan| {
            let ranges: Vec<_> = plan.file_ranges().map(|(_, range)| range).collect();
            let need = Need::of(&ranges, present, parts_left);
            if let Need::Parts(parts) = &need {
                parts_left -= parts.len();
            }
            need
        };
        self.entries.iter().map(&mut need).collect()
    }
}

/// Plans the entries of an answer about exactly these bytes of the file.
///
/// # Errors
/// What [`Reconstruction::check_exactly`] finds.
pub(crate) fn plan_entries(reconstruction: Reconstruction, asked: ByteRange) -> Result<Vec<EntryPlan>, FormatError> {
    let entry_of_term = reconstruction.check_exactly(asked.length())?;
    let plan = |entry| EntryPlan { entry, asked, uses: Vec::new() };
    let mut entries: Vec<EntryPlan> = reconstruction.entries.into_iter().map(plan).collect();
    let mut file_offset = asked.start;
    for (term, entry) in reconstruction.terms.iter().zip(entry_of_term) {
        let unpacked_length = term.unpacked_length;
        entries[entry].uses.push(Use { chunks: term.chunks, unpacked_length, file_offset });
        file_offset += u64::from(unpacked_length);
    }
    entries.retain(|entry| !entry.uses.is_empty());
    for entry in &mut entries {
        entry.uses.sort_by_key(|term| term.chunks.start);
    }
    Ok(entries)
}

/// Joins ranges with little between them: it is cheaper to fetch that again than to ask once more.
fn join_close(ranges: Vec<ByteRange>) -> Vec<ByteRange> {
    let mut joined: Vec<ByteRange> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start < last.end + SAVED_BYTES_MIN => last.end = range.end,
            _ => joined.push(range),
        }
    }
    joined
}

impl EntryPlan {
    /// For messages.
    pub(crate) fn what(&self) -> String {
        let entry = &self.entry;
        format!("chunks {}..{} of xorb {}", entry.chunks.start, entry.chunks.end, entry.xorb)
    }

    /// Takes the URL of the same entry from a newer answer.
    ///
    /// # Errors
    /// [`FormatError::Reconstruction`] if that answer has no such entry.
    pub(crate) fn renew_url(&mut self, newer: &Reconstruction) -> Result<(), FormatError> {
        let ours = &mut self.entry;
        let same =
            |entry: &&FetchEntry| entry.xorb == ours.xorb && entry.chunks == ours.chunks && entry.bytes == ours.bytes;
        let Some(entry) = newer.entries.iter().find(same) else {
            return Err(FormatError::Reconstruction { reason: "the file is split in another way than before".into() });
        };
        ours.url.clone_from(&entry.url);
        Ok(())
    }

    /// Which runs of the entry's chunks are which bytes of the file.
    pub(crate) fn file_ranges(&self) -> impl Iterator<Item = (ChunkRange, ByteRange)> {
        self.uses.iter().map(|term| (term.chunks, term.file_range()))
    }

    /// Begins to place the entry's chunks, the first of them first.
    pub(crate) fn cursor(&self) -> Cursor {
        Cursor {
            uses: self.uses.clone(),
            next_use: 0,
            active: Vec::new(),
            chunk: self.entry.chunks.start,
            end: self.entry.chunks.end,
        }
    }
}

/// Walks an entry's chunks in order.
#[derive(Debug)]
pub(crate) struct Cursor {
    uses: Vec<Use>,
    next_use: usize,
    /// Terms that hold the next chunk, and how much of each has been placed.
    active: Vec<ActiveUse>,
    chunk: u32,
    end: u32,
}

#[derive(Debug, Clone, Copy)]
struct ActiveUse {
    term: Use,
    placed_bytes: u32,
}

impl Cursor {
    /// Whether all chunks have been placed.
    pub(crate) fn is_complete(&self) -> bool {
        self.chunk == self.end
    }

    /// Finds the places of the next chunk, of `length` bytes: appends its offsets in the file to `offsets`. It
    /// stays the next one until [`Self::advance`].
    ///
    /// # Errors
    /// [`FormatError::OutOfBounds`] or [`FormatError::Mismatch`] if there are more chunks or bytes than
    /// the plan has, or fewer bytes.
    pub(crate) fn place(&mut self, length: u32, offsets: &mut Vec<u64>) -> Result<(), FormatError> {
        let chunk = self.chunk;
        if chunk >= self.end {
            return Err(FormatError::OutOfBounds {
                what: "chunk of an entry",
                value: chunk.into(),
                min: 0,
                max: self.end.into(),
            });
        }
        while let Some(term) = self.uses.get(self.next_use).filter(|term| term.chunks.start == chunk) {
            self.active.push(ActiveUse { term: *term, placed_bytes: 0 });
            self.next_use += 1;
        }
        for ActiveUse { term, placed_bytes } in &self.active {
            let (placed, limit) = (u64::from(*placed_bytes) + u64::from(length), term.unpacked_length.into());
            if placed > limit || (placed != limit && chunk + 1 == term.chunks.end) {
                return Err(FormatError::Mismatch {
                    what: "bytes of a term and of its chunks",
                    left: placed,
                    right: limit,
                });
            }
        }
        offsets.extend(self.active.iter().map(|active| active.term.file_offset + u64::from(active.placed_bytes)));
        Ok(())
    }

    /// Passes on to the chunk after the one that was [placed](Self::place), of `length` bytes.
    pub(crate) fn advance(&mut self, length: u32) {
        self.active.iter_mut().for_each(|active| active.placed_bytes += length);
        self.chunk += 1;
        self.active.retain(|active| active.term.chunks.end > self.chunk);
    }
}

#[cfg(test)]
mod tests {
    use xet_cas::{ByteRange, ChunkRange, FetchEntry, Reconstruction, Term, XorbHash};

    use super::{FilePlan, TermRun};

    const XORB: XorbHash = XorbHash::from_bytes([7; 32]);

    fn term(start: u32, end: u32, unpacked_length: u32) -> Term {
        Term { xorb: XORB, chunks: ChunkRange { start, end }, unpacked_length }
    }

    fn plan(terms: Vec<Term>, chunks: ChunkRange) -> FilePlan {
        let total = terms.iter().map(|term| u64::from(term.unpacked_length)).sum();
        let entry = FetchEntry { xorb: XORB, chunks, bytes: ByteRange { start: 0, end: 1 }, url: "".into() };
        let reconstruction = Reconstruction { offset_into_first_term: 0, terms, entries: vec![entry] };
        FilePlan::new(reconstruction, total).unwrap()
    }

    #[test]
    fn given_overlapping_terms_when_chunks_arrive_then_each_goes_everywhere_it_belongs() {
        // Chunks 2, 3, 4 of 10, 20 and 30 bytes; the file is [2,4) [3,5) [3,4).
        let plan = plan(vec![term(2, 4, 30), term(3, 5, 50), term(3, 4, 20)], ChunkRange { start: 2, end: 5 });
        let mut cursor = plan.entries[0].cursor();
        let mut place = |length| {
            let mut offsets = Vec::new();
            cursor.place(length, &mut offsets).unwrap();
            let first = std::mem::take(&mut offsets);
            cursor.place(length, &mut offsets).unwrap();
            assert_eq!(first, offsets, "a chunk may be offered again");
            cursor.advance(length);
            offsets
        };

        assert_eq!([0], place(10)[..]);
        assert_eq!([10, 30, 80], place(20)[..]);
        assert_eq!([50], place(30)[..]);
        assert!(cursor.is_complete());
    }

    #[test]
    fn given_terms_when_planned_then_their_runs_are_kept_with_their_place_in_the_file() {
        let plan =
            plan(vec![term(2, 4, 30), term(4, 5, 20), term(0, 1, 7), term(3, 4, 9)], ChunkRange { start: 0, end: 5 });

        let run = |start, end, first_chunk| TermRun { xorb: XORB, chunks: ChunkRange { start, end }, first_chunk };
        assert_eq!([run(2, 5, 0), run(0, 1, 3), run(3, 4, 4)], plan.runs[..]);
    }

    #[test]
    fn given_chunks_that_do_not_fill_their_term_when_placed_then_refused() {
        let plan = plan(vec![term(0, 2, 30)], ChunkRange { start: 0, end: 2 });

        for lengths in [[10, 10], [10, 21], [31, 1]] {
            let mut cursor = plan.entries[0].cursor();
            let results = lengths.map(|length| {
                cursor.place(length, &mut Vec::new())?;
                cursor.advance(length);
                Ok::<_, xet_cas::Error>(())
            });
            assert!(results.iter().any(Result::is_err), "{lengths:?}");
        }
    }

    #[test]
    fn given_more_chunks_than_the_entry_when_placed_then_refused() {
        let plan = plan(vec![term(0, 1, 5)], ChunkRange { start: 0, end: 1 });
        let mut cursor = plan.entries[0].cursor();

        cursor.place(5, &mut Vec::new()).unwrap();
        cursor.advance(5);

        assert!(cursor.place(5, &mut Vec::new()).is_err());
    }
}
