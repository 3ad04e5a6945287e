//! Files to xorbs, on all cores: while one batch is read, the batch before it is hashed and compressed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use rayon::ThreadPool;
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use super::batch::{Batch, Reader};
use super::buffers::Buffers;
use super::folder::LocalFile;
use crate::client::Error;
use crate::dedup::QueryRule;
use crate::pack::{PackedFile, Packer, Step};
use crate::shard::ShardXorb;
use crate::xorb::RecordHeader;
use crate::{ChunkHash, CompressionPolicy, Compressor, Leaf};

/// Chunks that are compressed one after the other, with the scheme that the first of them asks for: 1 MiB, so that
/// a batch keeps several cores busy.
const RUN_CHUNKS: usize = 16;
/// Chunks that are hashed one after the other at least: 512 KiB, so that sharing costs little beside hashing.
const HASHED_CHUNKS_MIN: usize = 8;
/// Threads at most: beyond them reading and SHA-256, which one file allows only one of, are what is waited for.
const THREADS_MAX: usize = 8;

/// What comes out.
pub(super) enum Output {
    /// A complete xorb.
    Xorb(PackedXorb),
    /// A file that lies in xorbs which came before.
    File(PackedFile),
}

pub(super) struct PackedXorb {
    pub(super) content: ShardXorb,
    /// The records, without footer.
    pub(super) records: Bytes,
}

/// Asks elsewhere who has these chunks, and makes them known to the packer's index. Blocks.
pub(super) trait Ask: Send {
    fn ask(&mut self, chunks: &[ChunkHash], packer: &mut Packer);
}

/// Takes what comes out.
pub(super) trait Receiver {
    /// Whether nobody wants any more.
    fn is_gone(&self) -> bool;

    /// Blocks until there is room for it.
    fn take(&self, output: Output);
}

/// The threads that hash and compress; no others are used.
pub(super) fn threads() -> Result<ThreadPool, Error> {
    let count = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(count).thread_name(|n| format!("publish-{n}")).build();
    pool.map_err(|error| Error::LocalFile { path: "threads".into(), source: Arc::new(std::io::Error::other(error)) })
}

/// From files to xorbs.
pub(super) struct Pipeline<A> {
    packer: Packer,
    ask: A,
    buffers: Arc<Buffers>,
    /// The open xorb's records.
    records: Option<Vec<u8>>,
    open: OpenFile,
    /// Digests of files that have ended and were not handed out.
    digests: HashMap<usize, [u8; 32]>,
}

/// The file that a batch leaves open.
#[derive(Default)]
struct OpenFile {
    sha256: Sha256,
    questions: Questions,
}

/// What the CAS is asked about the open file.
#[derive(Default)]
struct Questions {
    rule: QueryRule,
    /// Chunks of the file so far.
    chunks: u64,
}

/// A batch that was hashed and compressed.
struct Worked {
    steps: Vec<Step>,
    /// The chunks that the steps store, in order.
    stored: Vec<StoredRun>,
}

/// Chunks as they are stored, one behind the other.
struct StoredRun {
    headers: Vec<RecordHeader>,
    payloads: Vec<u8>,
}

impl<A: Ask> Pipeline<A> {
    pub(super) fn new(packer: Packer, ask: A, buffers: Arc<Buffers>) -> Self {
        Self { packer, ask, buffers, records: None, open: OpenFile::default(), digests: HashMap::new() }
    }

    /// Reads all files and hands on what comes out of them. Returns the bytes of the chunks that were stored.
    pub(super) fn run(
        mut self,
        pool: &ThreadPool,
        files: Arc<Vec<LocalFile>>,
        receiver: &impl Receiver,
    ) -> Result<u64, Error> {
        let mut reader = Reader::new(files);
        let (mut current, mut next) = (Batch::default(), Batch::default());
        let mut is_more = reader.read(&mut current)?;
        while is_more {
            let (read, worked) = pool.join(|| reader.read(&mut next), || self.work(&current));
            self.hand_out(worked, receiver)?;
            is_more = read?;
            std::mem::swap(&mut current, &mut next);
        }
        let mut steps = Vec::new();
        self.packer.finish(&mut steps);
        self.hand_out(Worked { steps, stored: Vec::new() }, receiver)?;
        Ok(self.packer.unique_bytes())
    }

    /// Everything that takes time, on the threads of the pool that this runs in.
    fn work(&mut self, batch: &Batch) -> Worked {
        let mut digests: Vec<Sha256> = batch.parts.iter().map(|_| Sha256::new()).collect();
        if let Some(first) = digests.first_mut() {
            *first = std::mem::take(&mut self.open.sha256);
        }
        let digest = || {
            let parts = digests.par_iter_mut().zip(&batch.parts);
            parts.for_each(|(sha256, part)| sha256.update(batch.bytes(part)));
        };
        let (packer, ask, questions) = (&mut self.packer, &mut self.ask, &mut self.open.questions);
        let (worked, ()) = rayon::join(|| pack(packer, ask, questions, batch), digest);
        for (part, sha256) in batch.parts.iter().zip(digests) {
            match part.ends {
                Some(number) => drop(self.digests.insert(number, sha256.finalize().into())),
                None => self.open.sha256 = sha256,
            }
        }
        worked
    }

    fn hand_out(&mut self, worked: Worked, receiver: &impl Receiver) -> Result<(), Error> {
        let given_up = || Error::Transport { what: "upload".into(), reason: "it was given up".into() };
        let mut stored = worked.stored.iter().flat_map(StoredRun::records);
        for step in worked.steps {
            let output = match step {
                Step::Store(_) => {
                    let records = match &mut self.records {
                        Some(records) => records,
                        empty => empty.insert(self.buffers.take()?),
                    };
                    // As many are stored as there are steps that say so.
                    if let Some((header, payload)) = stored.next() {
                        records.extend_from_slice(&header.encode());
                        records.extend_from_slice(payload);
                    }
                    continue;
                }
                Step::Cut(content) => {
                    let records = self.buffers.lend(self.records.take().unwrap_or_default());
                    Output::Xorb(PackedXorb { content, records })
                }
                Step::File(mut file) => {
                    file.shard_file.sha256 = self.digests.remove(&file.number);
                    Output::File(file)
                }
            };
            receiver.take(output);
        }
        if receiver.is_gone() { Err(given_up()) } else { Ok(()) }
    }
}

/// Names the chunks of a batch, decides which are stored, and compresses those.
fn pack(packer: &mut Packer, ask: &mut impl Ask, questions: &mut Questions, batch: &Batch) -> Worked {
    let chunks: Vec<&[u8]> = batch.chunks().collect();
    let leaves: Vec<Leaf> = chunks.par_iter().with_min_len(HASHED_CHUNKS_MIN).map(|chunk| Leaf::of(chunk)).collect();
    ask_for_unknown(packer, ask, questions, batch, &leaves);

    let (mut steps, mut runs, mut at) = (Vec::new(), Vec::new(), 0);
    for part in &batch.parts {
        let from = steps.len();
        packer.push(at, &leaves[at..at + part.chunks.len()], &mut steps);
        let stored: Vec<usize> = steps[from..].iter().filter_map(Step::stored).collect();
        runs.extend(stored.chunks(RUN_CHUNKS).map(<[usize]>::to_vec));
        at += part.chunks.len();
        if let Some(number) = part.ends {
            packer.end_file(number, &mut steps);
        }
    }
    let stored = runs.par_iter().map_init(Compressor::new, |compressor, run| StoredRun::new(compressor, run, &chunks));
    Worked { stored: stored.collect(), steps }
}

/// Asks for the chunks that stand for their surroundings and are not known.
fn ask_for_unknown(packer: &mut Packer, ask: &mut impl Ask, open: &mut Questions, batch: &Batch, leaves: &[Leaf]) {
    let (mut unknown, mut seen, mut at) = (Vec::new(), HashSet::new(), 0);
    for part in &batch.parts {
        for leaf in &leaves[at..at + part.chunks.len()] {
            // Files that begin alike ask the same.
            if !packer.knows(leaf.hash) && open.rule.asks(open.chunks, &leaf.hash) && seen.insert(leaf.hash) {
                unknown.push(leaf.hash);
            }
            open.chunks += 1;
        }
        at += part.chunks.len();
        if part.ends.is_some() {
            *open = Questions::default();
        }
    }
    if !unknown.is_empty() {
        ask.ask(&unknown, packer);
    }
}

impl StoredRun {
    fn new(compressor: &mut Compressor, run: &[usize], chunks: &[&[u8]]) -> Self {
        let raw_bytes = run.iter().map(|chunk| chunks[*chunk].len()).sum();
        let mut stored = Self { headers: Vec::with_capacity(run.len()), payloads: Vec::with_capacity(raw_bytes) };
        let wanted = CompressionPolicy::Auto.choose(run.first().map_or(&[], |first| chunks[*first]));
        for chunk in run {
            let raw = chunks[*chunk];
            let (scheme, payload) = compressor.compress(wanted, raw);
            let (stored_length, raw_length) = (payload.len() as u32, raw.len() as u32);
            stored.headers.push(RecordHeader { scheme, stored_length, raw_length });
            stored.payloads.extend_from_slice(payload);
        }
        stored
    }

    fn records(&self) -> impl Iterator<Item = (&RecordHeader, &[u8])> {
        let mut rest = self.payloads.as_slice();
        self.headers.iter().map(move |header| {
            let (payload, after) = rest.split_at(header.stored_length as usize);
            rest = after;
            (header, payload)
        })
    }
}
