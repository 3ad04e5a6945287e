//! Copying what other files on this machine hold: chunks of the same xorbs, by the terms that both files are made of,
//! and chunks of the same hash, once a file's chunk list is proved. Every chunk is read and hashed on the way.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use xet_cas::{ByteRange, ChunkHash, FileHash, Leaf, XorbHash};

use crate::Error;
use crate::ledger::Source;
use crate::plan::FilePlan;
use crate::present::Present;
use crate::store::{FileRecord, Identity, Index, Partial};
use crate::verified::{HashedChunk, chunk_offsets};
use crate::work::FileWork;

/// Files that are copied from, at most: each is open, and its chunk list was read.
const SOURCES_MAX: usize = 64;

/// Files on this machine that may be copied from: those of the same Hub. Another Hub, which names a xorb or a chunk, would
/// learn from what is not fetched that it is here.
#[derive(Debug, Clone)]
pub(crate) struct LocalFiles {
    index: Index,
    endpoint: Arc<str>,
}

impl LocalFiles {
    pub(crate) fn new(index: Index, endpoint: &str) -> Self {
        Self { index, endpoint: endpoint.into() }
    }

    /// Copies what there is of the plan into the partial file, and adds it to what is `present`. Trouble with the index or
    /// with a source means that there is nothing to copy.
    pub(crate) fn copy(&self, partial: &Partial, plan: &FilePlan, present: &mut Present) -> Result<(), Error> {
        let held = Held::look(plan, self);
        let mut buffer = Vec::new();
        for (xorb, term) in plan.terms_of_xorbs() {
            let Some(chunks) = held.chunks.get(&xorb) else { continue };
            // Where a chunk belongs is known from the lengths of all before it, or of all behind it. What reaches out of
            // the term is not of this xorb, whatever some CAS has said.
            let range = term.file_range();
            let mut start = range.start;
            for held_chunk in term.chunks.indices().map_while(|chunk| chunks.get(&chunk)) {
                let end = start + u64::from(held_chunk.leaf.length);
                if end > range.end {
                    break;
                }
                held.copy(held_chunk, ByteRange { start, end }, partial, present, &mut buffer)?;
                start = end;
            }
            let mut end = range.end;
            for held_chunk in term.chunks.indices().rev().map_while(|chunk| chunks.get(&chunk)) {
                let start = end.checked_sub(held_chunk.leaf.length.into()).filter(|start| *start >= range.start);
                let Some(start) = start else { break };
                held.copy(held_chunk, ByteRange { start, end }, partial, present, &mut buffer)?;
                end = start;
            }
        }
        Ok(())
    }

    /// Copies what there is of a proved list, by the hashes of its chunks. Returns the bytes written.
    pub(crate) fn copy_listed(&self, work: &FileWork, list: &[(u64, Leaf)]) -> Result<u64, Error> {
        let missing: Vec<(u64, Leaf)> = {
            let ledger = work.ledger();
            list.iter().filter(|(offset, _)| !ledger.is_written(*offset)).copied().collect()
        };
        let hashes: Vec<ChunkHash> = missing.iter().map(|(_, leaf)| leaf.hash).collect();
        let mut by_file: BTreeMap<[u8; 32], Vec<(u64, Leaf, u32)>> = BTreeMap::new();
        for ((offset, leaf), places) in missing.into_iter().zip(self.index.find_chunks(&hashes)) {
            if let Some((file, at)) = places.first() {
                by_file.entry(*file.as_bytes()).or_default().push((offset, leaf, *at));
            }
        }
        let files: Vec<FileHash> = by_file.keys().map(|hash| FileHash::from_bytes(*hash)).take(SOURCES_MAX).collect();
        let records = self.index.records_of(&files).unwrap_or_else(|error| {
            tracing::info!(%error, "nothing can be copied from other files");
            Vec::new()
        });
        let (mut bytes, mut buffer) = (0, Vec::new());
        for (record, wanted) in records.iter().zip(by_file.into_values()) {
            let Some((file, leaves)) = record.as_ref().and_then(|record| self.open(record)) else { continue };
            let offsets = chunk_offsets(&leaves);
            for (offset, leaf, at) in wanted {
                let from = leaves.get(at as usize).zip(offsets.get(at as usize)).filter(|(held, _)| **held == leaf);
                let Some((_, from)) = from else { continue };
                buffer.resize(leaf.length as usize, 0);
                let read = file.read_exact_at(&mut buffer, *from);
                let chunk = HashedChunk::new(&buffer);
                if read.is_ok() && chunk.leaf() == leaf {
                    bytes += work.write(&chunk, offset, Source::Local)?.unwrap_or_default();
                }
            }
        }
        Ok(bytes)
    }

    /// A file of this Hub that is as it was when it was verified, and its chunks.
    fn open(&self, record: &FileRecord) -> Option<(File, Vec<Leaf>)> {
        if record.provenance.endpoint != *self.endpoint {
            return None;
        }
        let file = File::open(&record.path).ok()?;
        if Identity::of_file(&file).ok()? != record.identity {
            return None;
        }
        let hash: FileHash = record.xet_hash.as_ref()?.parse().ok()?;
        Some((file, self.index.leaves(hash)?))
    }
}

/// What other files hold of the xorbs of a plan.
#[derive(Default)]
struct Held {
    sources: Vec<File>,
    /// Per xorb, by index of the chunk.
    chunks: HashMap<XorbHash, BTreeMap<u32, HeldChunk>>,
}

struct HeldChunk {
    source: usize,
    offset: u64,
    leaf: Leaf,
}

impl Held {
    fn look(plan: &FilePlan, files: &LocalFiles) -> Self {
        let mut xorbs: Vec<XorbHash> = plan.runs.iter().map(|run| run.xorb).collect();
        xorbs.sort_unstable_by_key(|xorb| *xorb.as_bytes());
        xorbs.dedup();
        let runs = files.index.xorb_runs(&xorbs).unwrap_or_else(|error| {
            tracing::info!(%error, "nothing can be copied from other files");
            Vec::new()
        });
        let mut by_file = BTreeMap::new();
        for (xorb, run) in
            xorbs.into_iter().zip(runs).flat_map(|(xorb, runs)| runs.into_iter().map(move |run| (xorb, run)))
        {
            by_file.entry(run.file.path.clone()).or_insert_with(Vec::new).push((xorb, run));
        }
        let mut held = Self::default();
        for runs in by_file.into_values().take(SOURCES_MAX) {
            let Some((file, leaves)) = runs.first().and_then(|(_, run)| files.open(&run.file)) else { continue };
            let (source, offsets) = (held.sources.len(), chunk_offsets(&leaves));
            for (xorb, run) in runs {
                let of_xorb = held.chunks.entry(xorb).or_default();
                let of_file = leaves.iter().zip(&offsets).skip(run.first_chunk as usize);
                for (chunk, (leaf, offset)) in run.chunks.indices().zip(of_file) {
                    of_xorb.entry(chunk).or_insert(HeldChunk { source, offset: *offset, leaf: *leaf });
                }
            }
            held.sources.push(file);
        }
        held
    }

    /// Copies a chunk, if it is still what it was and nothing is there yet.
    fn copy(
        &self,
        HeldChunk { source, offset: from, leaf }: &HeldChunk,
        to: ByteRange,
        partial: &Partial,
        present: &mut Present,
        buffer: &mut Vec<u8>,
    ) -> Result<(), Error> {
        // Not even a part: what is present was hashed, and is not read again.
        if present.overlaps(to) {
            return Ok(());
        }
        buffer.resize(leaf.length as usize, 0);
        let read = self.sources[*source].read_exact_at(buffer, *from);
        let chunk = HashedChunk::new(buffer);
        if read.is_ok() && chunk.leaf() == *leaf {
            partial.write_chunk(&chunk, to.start)?;
            partial.note(to.start, *leaf);
            present.insert(to.start, *leaf);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use xet_cas::{ByteRange, ChunkRange, FetchEntry, FileHash, Leaf, Reconstruction, Term, XorbHash};

    use super::LocalFiles;
    use crate::plan::{FilePlan, TermRun};
    use crate::present::Present;
    use crate::store::{FileRecord, Identity, Index, Partial, Provenance};
    use crate::verified::HashedChunk;

    const XORBS: [XorbHash; 2] = [XorbHash::from_bytes([1; 32]), XorbHash::from_bytes([2; 32])];

    /// A plan of terms: which xorb, how many of its chunks from the first on, and their bytes.
    fn plan(terms: &[(XorbHash, u32, u32)]) -> FilePlan {
        let term = |(xorb, end, unpacked_length): &(XorbHash, u32, u32)| Term {
            xorb: *xorb,
            chunks: ChunkRange { start: 0, end: *end },
            unpacked_length: *unpacked_length,
        };
        let entry = |(xorb, end, _): &(XorbHash, u32, u32)| FetchEntry {
            xorb: *xorb,
            chunks: ChunkRange { start: 0, end: *end },
            bytes: ByteRange { start: 0, end: 1 },
            url: "".into(),
        };
        let (terms, entries): (Vec<_>, Vec<_>) = terms.iter().map(|given| (term(given), entry(given))).unzip();
        let bytes = terms.iter().map(|term| u64::from(term.unpacked_length)).sum();
        FilePlan::new(Reconstruction { offset_into_first_term: 0, terms, entries }, bytes).unwrap()
    }

    /// An index that knows one file of these chunks, which are those of a xorb as some CAS has said.
    fn index_of(folder: &tempfile::TempDir, chunks: &[&[u8]], xorb: XorbHash) -> Index {
        let path = folder.path().join("held");
        std::fs::write(&path, chunks.concat()).unwrap();
        let leaves: Vec<Leaf> = chunks.iter().map(|chunk| Leaf::of(chunk)).collect();
        let hash: FileHash = Leaf::file_hash(&leaves);
        let index = Index::new(folder.path().join("zest"));
        index.store_leaves(hash, &leaves).unwrap();
        let run = TermRun { xorb, chunks: ChunkRange { start: 0, end: chunks.len() as u32 }, first_chunk: 0 };
        let [endpoint, repo_type, repo, commit] = ["http://hub", "model", "a/b", "c"].map(str::to_owned);
        let provenance = Provenance { endpoint, repo_type, repo, commit, path: "held".into() };
        let record = FileRecord {
            identity: Identity::of(&path).unwrap(),
            path,
            etag: None,
            xet_hash: Some(hash.to_string()),
            xorbs: Vec::new(),
            runs: [run].into(),
            provenance,
        };
        index.record(&[record]).unwrap();
        index
    }

    #[test]
    fn given_a_held_chunk_that_is_not_of_its_xorb_when_copied_then_what_is_present_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        // The second xorb has chunks of 1000 bytes each; what is held has a longer first one, which would reach into
        // what is before it.
        let (right, last, wrong) = (vec![1; 2_000], vec![2; 1_000], vec![9; 1_500]);
        let index = index_of(&folder, &[&wrong, &last], XORBS[1]);
        let plan = plan(&[(XORBS[0], 1, 2_000), (XORBS[1], 2, 2_000)]);
        let partial = Partial::create(folder.path(), "etag", 4_000).unwrap();
        partial.write_chunk(&HashedChunk::new(&right), 0).unwrap();
        let mut present = Present::default();
        present.insert(0, Leaf::of(&right));

        LocalFiles::new(index, "http://hub").copy(&partial, &plan, &mut present).unwrap();

        for (offset, leaf) in present.iter() {
            let mut there = vec![0; leaf.length as usize];
            partial.read(&mut there, *offset).unwrap();
            assert!(Leaf::of(&there) == *leaf, "the chunk at byte {offset} was written over");
        }
        assert_eq!(4_000, partial.file().metadata().unwrap().len());
    }

    #[test]
    fn given_held_chunks_when_copied_then_they_are_where_the_plan_has_them() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (vec![1; 1_000], vec![2; 700]);
        let index = index_of(&folder, &[&one, &two], XORBS[1]);
        let plan = plan(&[(XORBS[0], 1, 500), (XORBS[1], 2, 1_700)]);
        let partial = Partial::create(folder.path(), "etag", 2_200).unwrap();
        let mut present = Present::default();

        LocalFiles::new(index, "http://hub").copy(&partial, &plan, &mut present).unwrap();

        let found: Vec<_> = present.iter().map(|(offset, leaf)| (*offset, *leaf)).collect();
        assert_eq!([(500, Leaf::of(&one)), (1_500, Leaf::of(&two))], found[..]);
        let mut there = vec![0; 1_700];
        partial.read(&mut there, 500).unwrap();
        assert_eq!([one, two].concat(), there);
    }

    #[test]
    fn given_files_of_another_hub_when_copied_then_none_is_looked_at() {
        for (endpoint, copied) in [("http://hub", 1_000), ("http://elsewhere", 0)] {
            let folder = tempfile::tempdir().unwrap();
            let index = index_of(&folder, &[&vec![3; 1_000]], XORBS[0]);
            let plan = plan(&[(XORBS[0], 1, 1_000)]);
            let partial = Partial::create(folder.path(), "etag", 1_000).unwrap();
            let mut present = Present::default();

            LocalFiles::new(index, endpoint).copy(&partial, &plan, &mut present).unwrap();

            assert_eq!(copied, present.bytes(), "{endpoint}");
        }
    }
}
