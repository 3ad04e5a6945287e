//! From bytes to xorbs, on a thread that may block.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use sha2::{Digest as _, Sha256};

use super::{Arrival, Piece};
use crate::dedup::{Index, QueryRule};
use crate::pack::{PackedFile, Packer, Step};
use crate::server::store::{Store, StoreError};
use crate::shard::{ShardFile, ShardXorb};
use crate::xorb::{Builder, RecordHeader};
use crate::{CHUNK_BYTES_TARGET, ChunkHash, Chunker, CompressionPolicy, Leaf};

/// Raw bytes at which a xorb is closed, as when publishing: what is held in memory of a file, and what a reader who
/// follows is behind.
const XORB_RAW_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Room for the headers of the records of an average xorb twice over, bytes.
const XORB_HEADER_BYTES: usize = 2 * XORB_RAW_BYTES_MAX as usize / CHUNK_BYTES_TARGET * RecordHeader::BYTES;
/// Chunks that are remembered of what is stored elsewhere, and of this file: 16 GiB of average chunks, in some 11 MB.
const KNOWN_CHUNKS_MAX: usize = 1 << 18;
/// Bytes behind the last settled term that are kept for who follows. Repeated chunks fill no xorb, so this has to be
/// more than one holds; then it is closed as it is.
const UNSETTLED_BYTES_MAX: u64 = 2 * XORB_RAW_BYTES_MAX;

/// One file, as far as it has come.
pub(super) struct Packing {
    store: Arc<Store>,
    cutter: Cutter,
    packer: Packer,
    questions: Questions,
    sha256: Sha256,
    builder: Builder,
    size: u64,
    packed: Option<PackedFile>,
    arrival: Option<Arc<Arrival>>,
}

impl Packing {
    pub(super) fn new(store: Arc<Store>, arrival: Option<Arc<Arrival>>) -> Self {
        Self {
            store,
            cutter: Cutter::default(),
            packer: Packer::new(Index::with_chunks_max(KNOWN_CHUNKS_MAX), XORB_RAW_BYTES_MAX),
            questions: Questions::default(),
            sha256: Sha256::new(),
            builder: Builder::new(CompressionPolicy::Auto),
            size: 0,
            packed: None,
            arrival,
        }
    }

    /// The next bytes of the file.
    pub(super) fn push(&mut self, batch: Vec<Piece>) -> Result<(), StoreError> {
        let mut chunks = Vec::new();
        for piece in batch {
            self.cutter.push(piece, &mut chunks);
        }
        self.take(chunks)
    }

    /// There is no more. The file, which nothing names yet, and its size in bytes.
    pub(super) fn finish(mut self) -> Result<(ShardFile, u64), StoreError> {
        let mut rest = Vec::new();
        self.cutter.finish(&mut rest);
        self.take(rest)?;
        let mut steps = Vec::new();
        self.packer.end_file(0, &mut steps);
        self.packer.finish(&mut steps);
        self.follow(steps, &[])?;
        // Closing the last xorb names the last file, and there is one.
        let mut file = self.packed.ok_or(StoreError::GivenUp)?.shard_file;
        file.sha256 = Some(self.sha256.finalize().into());
        Ok((file, self.size))
    }

    fn take(&mut self, chunks: Vec<Cut>) -> Result<(), StoreError> {
        let sha256 = &mut self.sha256;
        let leaves: Vec<Leaf> = std::thread::scope(|scope| {
            // One file has one SHA-256, which takes about as long as all the rest.
            let hashed = (chunks.len() > 1).then(|| scope.spawn(|| hash(sha256, &chunks)));
            let leaves = chunks.iter().map(|cut| cut.leaf.unwrap_or_else(|| Leaf::of(&cut.bytes))).collect();
            match hashed.map(std::thread::ScopedJoinHandle::join) {
                Some(Err(panic)) => std::panic::resume_unwind(panic),
                Some(Ok(())) | None => leaves,
            }
        });
        if let [only] = chunks.as_slice() {
            self.sha256.update(&only.bytes);
        }
        self.size += leaves.iter().map(|leaf| u64::from(leaf.length)).sum::<u64>();
        self.questions.ask(&self.store, &mut self.packer, &leaves);
        let mut steps = Vec::new();
        self.packer.push(0, &leaves, &mut steps);
        let chunks: Vec<(Leaf, Bytes)> = leaves.into_iter().zip(chunks.into_iter().map(|cut| cut.bytes)).collect();
        self.follow(steps, &chunks)?;
        self.tell(chunks)
    }

    /// Does what the packer says.
    fn follow(&mut self, steps: Vec<Step>, chunks: &[(Leaf, Bytes)]) -> Result<(), StoreError> {
        for step in steps {
            match step {
                Step::Store(number) => {
                    if let Some((leaf, chunk)) = chunks.get(number) {
                        self.builder.push(*leaf, chunk)?;
                    }
                }
                Step::Cut(expected) => self.store_xorb(&expected)?,
                Step::File(file) => self.packed = Some(file),
            }
        }
        Ok(())
    }

    fn store_xorb(&mut self, expected: &ShardXorb) -> Result<(), StoreError> {
        let empty = Builder::new(CompressionPolicy::Auto);
        let xorb = std::mem::replace(&mut self.builder, empty).finish();
        if xorb.hash() != expected.hash {
            let reason = format!("xorb {} was packed as {}", expected.hash, xorb.hash());
            return Err(crate::Error::Reconstruction { reason }.into());
        }
        self.store.put_built_xorb(&xorb)?;
        let mut records = xorb.records;
        records.reserve(XORB_RAW_BYTES_MAX as usize + XORB_HEADER_BYTES);
        self.builder = Builder::with_buffer(CompressionPolicy::Auto, records);
        Ok(())
    }

    /// Lets who follows have what there is by now.
    fn tell(&mut self, chunks: Vec<(Leaf, Bytes)>) -> Result<(), StoreError> {
        let Some(arrival) = self.arrival.clone() else { return Ok(()) };
        arrival.grow(self.packer.settled_terms(), chunks.into_iter().map(|(_, chunk)| chunk));
        if arrival.unsettled_bytes() > UNSETTLED_BYTES_MAX {
            let mut steps = Vec::new();
            self.packer.finish(&mut steps);
            self.follow(steps, &[])?;
            arrival.grow(self.packer.settled_terms(), std::iter::empty());
        }
        Ok(())
    }
}

fn hash(sha256: &mut Sha256, chunks: &[Cut]) {
    for cut in chunks {
        sha256.update(&cut.bytes);
    }
}

/// A chunk, and its hash if that is known.
struct Cut {
    bytes: Bytes,
    leaf: Option<Leaf>,
}

/// Finds the ends of chunks, or takes those that are given.
#[derive(Default)]
struct Cutter {
    chunker: Chunker,
    /// A chunk whose end has not come.
    begun: BytesMut,
}

impl Cutter {
    fn push(&mut self, piece: Piece, chunks: &mut Vec<Cut>) {
        let bytes = match piece {
            Piece::Chunk(bytes, leaf) if self.begun.is_empty() => {
                if !bytes.is_empty() {
                    chunks.push(Cut { bytes, leaf: Some(leaf) });
                }
                return;
            }
            Piece::Chunk(bytes, _) | Piece::Bytes(bytes) => bytes,
        };
        let mut rest = &bytes[..];
        while let Some(end) = self.chunker.next_boundary(rest) {
            let (ends, after) = rest.split_at(end);
            self.begun.extend_from_slice(ends);
            chunks.push(Cut { bytes: self.begun.split().freeze(), leaf: None });
            rest = after;
        }
        self.begun.extend_from_slice(rest);
    }

    fn finish(&mut self, chunks: &mut Vec<Cut>) {
        if !self.begun.is_empty() {
            chunks.push(Cut { bytes: self.begun.split().freeze(), leaf: None });
        }
    }
}

/// Which chunks the store was asked about.
#[derive(Default)]
struct Questions {
    rule: QueryRule,
    /// Chunks of the file so far.
    chunks: u64,
}

impl Questions {
    /// Makes known to the packer what the store has about the chunks that stand for their surroundings.
    fn ask(&mut self, store: &Store, packer: &mut Packer, leaves: &[Leaf]) {
        for leaf in leaves {
            if !packer.knows(leaf.hash)
                && self.rule.asks(self.chunks, &leaf.hash)
                && let Err(error) = learn(store, packer, leaf.hash)
            {
                tracing::warn!(%error, "a file is stored without looking for its chunks");
            }
            self.chunks += 1;
        }
    }
}

fn learn(store: &Store, packer: &mut Packer, chunk: ChunkHash) -> Result<(), StoreError> {
    for xorb in store.xorbs_about(chunk)?.unwrap_or_default() {
        // To ask is to note a use: it stays until the file is there that needs it.
        if store.has_xorb(xorb)? {
            let leaves = store.footer(xorb)?.leaves().to_vec();
            packer.index_mut().insert_xorb(&ShardXorb { hash: xorb, leaves });
        }
    }
    Ok(())
}
