//! Decides for every chunk whether it is stored or was found elsewhere, which xorb it goes to, and what the
//! terms of each file are. Pure: takes hashes and lengths, never bytes.
//!
//! A xorb is closed by the raw length of its chunks, so that its name is known before anything is compressed.

use std::collections::{HashMap, VecDeque};

use crate::dedup::{FragmentationGuard, Index};
use crate::shard::{ShardFile, ShardXorb};
use crate::{ChunkHash, ChunkRange, FileHash, Leaf, RangeHash, RootBuilder, Term, XorbHash, xorb};

/// What follows from a run of chunks, in the order in which it has to be done.
#[derive(Debug)]
pub(crate) enum Step {
    /// The chunk of this number is appended to the open xorb.
    Store(usize),
    /// The open xorb is complete.
    Cut(ShardXorb),
    /// A file whose every xorb has a name by now.
    File(PackedFile),
}

impl Step {
    /// The chunk that is stored, if one is.
    pub(crate) fn stored(&self) -> Option<usize> {
        match self {
            Self::Store(chunk) => Some(*chunk),
            _ => None,
        }
    }
}

/// A file, as the shard and the commit name it.
#[derive(Debug, Clone)]
pub(crate) struct PackedFile {
    /// Which file: the caller's own number.
    pub(crate) number: usize,
    pub(crate) shard_file: ShardFile,
}

/// The packer of one publication.
pub(crate) struct Packer {
    index: Index,
    xorb_raw_bytes_max: u64,
    open: OpenXorb,
    file: OpenFile,
    /// Files that have ended, the last terms of which lie in the open xorb.
    waiting: VecDeque<EndedFile>,
    unique_bytes: u64,
}

#[derive(Default)]
struct OpenXorb {
    leaves: Vec<Leaf>,
    raw_bytes: u64,
    /// Where each chunk of it is; the first of equal ones.
    places: HashMap<ChunkHash, u32>,
}

struct OpenFile {
    root: RootBuilder,
    guard: FragmentationGuard,
    terms: Vec<Term>,
    verification: Vec<RangeHash>,
    /// The last term, which the next chunk may prolong.
    last: Option<OpenTerm>,
    /// The first of `terms` that lies in the open xorb; all behind it do, or lie in named ones.
    unnamed: Vec<usize>,
}

struct EndedFile {
    packed: PackedFile,
    unnamed: Vec<usize>,
}

struct OpenTerm {
    /// `None`: the open xorb.
    xorb: Option<XorbHash>,
    chunks: ChunkRange,
    unpacked_length: u64,
    hashes: Vec<ChunkHash>,
}

/// A run of chunks that is stored already.
struct Run {
    xorb: Option<XorbHash>,
    chunks: ChunkRange,
}

impl Packer {
    /// Finds chunks again in `index`, and closes xorbs at so many raw bytes.
    pub(crate) fn new(index: Index, xorb_raw_bytes_max: u64) -> Self {
        Self {
            index,
            xorb_raw_bytes_max: xorb_raw_bytes_max.min(xorb::RAW_BYTES_MAX),
            open: OpenXorb::default(),
            file: OpenFile::new(),
            waiting: VecDeque::new(),
            unique_bytes: 0,
        }
    }

    /// What was found elsewhere, for the next lookups.
    pub(crate) fn index_mut(&mut self) -> &mut Index {
        &mut self.index
    }

    /// Whether this chunk would be found.
    pub(crate) fn knows(&self, chunk: ChunkHash) -> bool {
        self.open.places.contains_key(&chunk) || self.index.find(&[chunk]).is_some()
    }

    /// The terms of the current file that will not change any more, from its first on.
    pub(crate) fn settled_terms(&self) -> &[Term] {
        &self.file.terms[..self.file.unnamed.first().copied().unwrap_or(self.file.terms.len())]
    }

    /// Bytes of the chunks that were stored.
    pub(crate) fn unique_bytes(&self) -> u64 {
        self.unique_bytes
    }

    /// The next chunks of the current file, which are numbered from `first` on.
    pub(crate) fn push(&mut self, first: usize, leaves: &[Leaf], steps: &mut Vec<Step>) {
        let hashes: Vec<ChunkHash> = leaves.iter().map(|leaf| leaf.hash).collect();
        let mut at = 0;
        while at < leaves.len() {
            let found = self.find(&hashes[at..]);
            let count = found.as_ref().map_or(1, |run| run.chunks.count() as usize);
            let run = &leaves[at..at + count];
            match found.filter(|run| self.accepts(run)) {
                Some(found) => {
                    for (leaf, index) in run.iter().zip(found.chunks.indices()) {
                        self.file.append(found.xorb, index, *leaf);
                    }
                }
                None => run.iter().zip(first + at..).for_each(|(leaf, number)| self.store(number, *leaf, steps)),
            }
            at += count;
        }
    }

    /// The current file is complete; another one begins.
    pub(crate) fn end_file(&mut self, number: usize, steps: &mut Vec<Step>) {
        let file = std::mem::replace(&mut self.file, OpenFile::new());
        let ended = file.end(number);
        if ended.unnamed.is_empty() {
            steps.push(Step::File(ended.packed));
        } else {
            self.waiting.push_back(ended);
        }
    }

    /// Closes the open xorb, if anything is in it. More chunks may follow.
    pub(crate) fn finish(&mut self, steps: &mut Vec<Step>) {
        if !self.open.leaves.is_empty() {
            self.cut(steps);
        }
    }

    /// The longest run of these chunks that is stored somewhere: in what is known, else in the open xorb.
    fn find(&self, hashes: &[ChunkHash]) -> Option<Run> {
        if let Some(found) = self.index.find(hashes) {
            return Some(Run { xorb: Some(found.xorb), chunks: found.chunks });
        }
        let start = *self.open.places.get(&hashes[0])?;
        let stored = self.open.leaves[start as usize..].iter();
        let same = stored.zip(hashes).take_while(|(leaf, hash)| leaf.hash == **hash).count() as u32;
        Some(Run { xorb: None, chunks: ChunkRange { start, end: start + same } })
    }

    fn accepts(&mut self, run: &Run) -> bool {
        self.file.guard.accepts(run.xorb, run.chunks)
    }

    fn store(&mut self, number: usize, leaf: Leaf, steps: &mut Vec<Step>) {
        let is_full = self.open.raw_bytes + u64::from(leaf.length) > self.xorb_raw_bytes_max
            || self.open.leaves.len() == xorb::CHUNKS_MAX;
        if is_full && !self.open.leaves.is_empty() {
            self.cut(steps);
        }
        steps.push(Step::Store(number));
        self.unique_bytes += u64::from(leaf.length);
        let index = self.open.leaves.len() as u32;
        self.open.places.entry(leaf.hash).or_insert(index);
        self.open.raw_bytes += u64::from(leaf.length);
        self.open.leaves.push(leaf);
        self.file.append(None, index, leaf);
    }

    /// Names the open xorb, and with it the terms that lie in it.
    fn cut(&mut self, steps: &mut Vec<Step>) {
        let OpenXorb { leaves, .. } = std::mem::take(&mut self.open);
        let hash = Leaf::xorb_hash(&leaves);
        let xorb = ShardXorb { hash, leaves };
        self.index.insert_xorb(&xorb);
        steps.push(Step::Cut(xorb));
        self.file.name(hash);
        for mut ended in self.waiting.drain(..) {
            for term in ended.unnamed {
                ended.packed.shard_file.terms[term].xorb = hash;
            }
            steps.push(Step::File(ended.packed));
        }
    }
}

impl OpenFile {
    fn new() -> Self {
        Self {
            root: RootBuilder::new(),
            guard: FragmentationGuard::new(),
            terms: Vec::new(),
            verification: Vec::new(),
            last: None,
            unnamed: Vec::new(),
        }
    }

    /// Appends a chunk to the last term, or begins another one.
    fn append(&mut self, xorb: Option<XorbHash>, index: u32, leaf: Leaf) {
        let chunks = ChunkRange { start: index, end: index + 1 };
        self.guard.push(xorb, chunks);
        self.root.push(&leaf);
        let fits = |term: &&mut OpenTerm| {
            let continues = term.xorb == xorb && term.chunks.end == index;
            continues && term.unpacked_length + u64::from(leaf.length) <= xorb::RAW_BYTES_MAX
        };
        if let Some(term) = self.last.as_mut().filter(fits) {
            term.chunks.end += 1;
            term.unpacked_length += u64::from(leaf.length);
            term.hashes.push(leaf.hash);
        } else {
            self.close_term();
            let unpacked_length = leaf.length.into();
            self.last = Some(OpenTerm { xorb, chunks, unpacked_length, hashes: vec![leaf.hash] });
        }
    }

    fn close_term(&mut self) {
        let Some(OpenTerm { xorb, chunks, unpacked_length, hashes }) = self.last.take() else { return };
        if xorb.is_none() {
            self.unnamed.push(self.terms.len());
        }
        let xorb = xorb.unwrap_or_default();
        // At most the raw bytes of a xorb.
        self.terms.push(Term { xorb, chunks, unpacked_length: unpacked_length as u32 });
        self.verification.push(RangeHash::of(&hashes));
    }

    /// The open xorb has this name.
    fn name(&mut self, hash: XorbHash) {
        self.guard.name_pending(hash);
        // What is at the end of a xorb cannot be prolonged.
        if self.last.as_ref().is_some_and(|last| last.xorb.is_none()) {
            self.close_term();
        }
        for term in self.unnamed.drain(..) {
            self.terms[term].xorb = hash;
        }
    }

    fn end(mut self, number: usize) -> EndedFile {
        self.close_term();
        let hash: FileHash = self.root.finish_file();
        let shard_file = ShardFile { hash, terms: self.terms, verification: Some(self.verification), sha256: None };
        EndedFile { packed: PackedFile { number, shard_file }, unnamed: self.unnamed }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::{Index, PackedFile, Packer, Step};
    use crate::shard::ShardXorb;
    use crate::{ChunkHash, Leaf, RangeHash, XorbHash};

    /// Raw bytes of a xorb in these tests: a dozen chunks.
    const XORB_BYTES: u64 = 1_000;

    /// A chunk by its number; equal numbers are equal chunks.
    fn leaf(number: u16) -> Leaf {
        let length = 50 + u32::from(number % 67);
        Leaf { hash: ChunkHash::of(&number.to_le_bytes()), length }
    }

    struct Packed {
        files: Vec<PackedFile>,
        xorbs: HashMap<XorbHash, Vec<Leaf>>,
    }

    /// Packs files, passing the chunks in batches of this many, as if each batch were numbered from 0.
    fn pack(files: &[Vec<u16>], batch: usize, known: &[ShardXorb]) -> Packed {
        let mut index = Index::new();
        known.iter().for_each(|xorb| index.insert_xorb(xorb));
        let mut packer = Packer::new(index, XORB_BYTES);
        let mut packed = Packed { files: vec![], xorbs: HashMap::new() };
        packed.xorbs.extend(known.iter().map(|xorb| (xorb.hash, xorb.leaves.clone())));
        let mut open = Vec::new();
        for (number, file) in files.iter().enumerate() {
            let leaves: Vec<Leaf> = file.iter().map(|chunk| leaf(*chunk)).collect();
            for batch in leaves.chunks(batch) {
                let mut steps = Vec::new();
                packer.push(7, batch, &mut steps);
                packed.take(steps, |number| batch[number - 7], &mut open);
            }
            let mut steps = Vec::new();
            packer.end_file(number, &mut steps);
            packed.take(steps, |_| unreachable!("ending a file stores nothing"), &mut open);
        }
        let mut steps = Vec::new();
        packer.finish(&mut steps);
        packed.take(steps, |_| unreachable!("nothing is stored at the end"), &mut open);
        assert!(open.is_empty());
        packed
    }

    impl Packed {
        /// Does what the steps say. `open` are the chunks that were stored since the last cut.
        fn take(&mut self, steps: Vec<Step>, chunk: impl Fn(usize) -> Leaf, open: &mut Vec<Leaf>) {
            for step in steps {
                match step {
                    Step::Store(number) => open.push(chunk(number)),
                    Step::Cut(xorb) => {
                        let stored = std::mem::take(open);
                        assert_eq!(stored, xorb.leaves, "what was stored is not what the xorb is said to hold");
                        assert_eq!(Leaf::xorb_hash(&stored), xorb.hash);
                        assert!(stored.iter().map(|leaf| u64::from(leaf.length)).sum::<u64>() <= XORB_BYTES);
                        self.xorbs.insert(xorb.hash, stored);
                    }
                    Step::File(file) => {
                        self.check(&file);
                        self.files.push(file);
                    }
                }
            }
        }

        /// When a file comes, all of its xorbs have come, and its terms are true.
        fn check(&self, file: &PackedFile) {
            let verification = file.shard_file.verification.as_ref().unwrap();
            assert_eq!(file.shard_file.terms.len(), verification.len());
            for (term, range_hash) in file.shard_file.terms.iter().zip(verification) {
                let leaves = &self.xorbs[&term.xorb][term.chunks.start as usize..term.chunks.end as usize];
                assert_eq!(term.unpacked_length, leaves.iter().map(|leaf| leaf.length).sum::<u32>());
                assert_eq!(*range_hash, RangeHash::of(leaves.iter().map(|leaf| &leaf.hash)));
            }
        }

        fn leaves(&self, file: &PackedFile) -> Vec<Leaf> {
            let terms = file.shard_file.terms.iter();
            let of_term = |term: &crate::Term| {
                self.xorbs[&term.xorb][term.chunks.start as usize..term.chunks.end as usize].to_vec()
            };
            terms.flat_map(of_term).collect()
        }
    }

    proptest! {
        /// Few numbers, so that chunks recur within files, between them, and in what is known.
        #[test]
        fn any_files_are_put_together_from_their_terms(
            files in prop::collection::vec(prop::collection::vec(0..60_u16, 0..80), 0..6),
            batch in 1..40_usize,
            known in prop::collection::vec(prop::collection::vec(0..60_u16, 1..12), 0..3),
        ) {
            let known: Vec<ShardXorb> = known.iter().map(|chunks| {
                let leaves: Vec<Leaf> = chunks.iter().map(|chunk| leaf(*chunk)).collect();
                ShardXorb { hash: Leaf::xorb_hash(&leaves), leaves }
            }).collect();

            let packed = pack(&files, batch, &known);

            prop_assert_eq!(files.len(), packed.files.len());
            for file in &packed.files {
                let expected: Vec<Leaf> = files[file.number].iter().map(|chunk| leaf(*chunk)).collect();
                prop_assert_eq!(Leaf::file_hash(&expected), file.shard_file.hash);
                prop_assert_eq!(expected, packed.leaves(file));
            }
        }
    }

    #[test]
    fn given_chunks_that_recur_when_packed_then_stored_once_and_in_long_terms() {
        let file: Vec<u16> = (0..100).chain(0..100).collect();

        let packed = pack(&[file.clone(), file], 16, &[]);

        let stored: usize = packed.xorbs.values().map(Vec::len).sum();
        assert_eq!(100, stored);
        assert!(packed.files[1].shard_file.terms.len() <= 40, "{}", packed.files[1].shard_file.terms.len());
    }

    #[test]
    fn given_single_chunks_scattered_over_what_is_known_when_packed_then_stored_again_in_long_terms() {
        // Runs of three chunks of the file, then every chunk in a xorb of its own beside others that are not in it.
        let runs = (0..200_u16).map(|n| vec![3 * n, 3 * n + 1, 3 * n + 2]);
        let singles = (600..3_000).map(|n| vec![10_000 + n, n, 20_000 + n]);
        let known: Vec<ShardXorb> = runs
            .chain(singles)
            .map(|chunks| {
                let leaves: Vec<Leaf> = chunks.into_iter().map(leaf).collect();
                ShardXorb { hash: Leaf::xorb_hash(&leaves), leaves }
            })
            .collect();
        let file: Vec<u16> = (0..3_000).collect();

        let packed = pack(&[file], 64, &known);

        let terms = packed.files[0].shard_file.terms.len();
        assert!((200..600).contains(&terms), "{terms}");
    }
}
