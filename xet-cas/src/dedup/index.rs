//! Finds runs of chunks in known xorbs.

use std::collections::VecDeque;
use std::{iter, mem};

use crate::shard::{Shard, ShardXorb};
use crate::{ChunkHash, ChunkRange, XorbHash, xorb};

/// Chunks that an index holds unless told otherwise: 256 GiB of average chunks, in up to 190 MB of memory.
pub const INDEX_CHUNKS_MAX: usize = 1 << 22;
/// Keys under which chunks are looked up at most; the oldest is forgotten first. Each costs a hash per lookup that
/// found nothing: 32 of them a quarter of what hashing the chunk itself costs.
pub const INDEX_KEYS_MAX: usize = 32;

/// Places at which a run may begin that are looked at, the newest first: a chunk of zeros is everywhere.
const CANDIDATES_MAX: usize = 8;
/// Chunks with the same place in the table that are looked at. By chance there are hardly ever ten; many copies of a
/// chunk may hide an older one behind them, which then is stored once more.
const STEPS_MAX: usize = 64;

/// A run of chunks that a xorb holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Found {
    /// The xorb.
    pub xorb: XorbHash,
    /// Chunks of it, at least one.
    pub chunks: ChunkRange,
}

/// Knows the chunks of xorbs and finds runs of them, in memory that is bounded: when it is full, the older half
/// is forgotten.
///
/// Holds 32 bytes for the hash of a chunk and 8 to 12 to find it. Lookups and insertions take constant time for a
/// chunk (logarithmic in the number of xorbs).
#[derive(Debug, Clone)]
pub struct Index {
    /// What is added to.
    young: Generation,
    /// What was full before.
    old: Generation,
    generation_chunks_max: usize,
    /// The newest last.
    keys: VecDeque<(KeyId, [u8; 32])>,
    next_key: KeyId,
}

/// Names a key inside an index; never used again for another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct KeyId(u64);

impl KeyId {
    /// Hashes are what they are.
    const NONE: Self = Self(0);
}

impl Index {
    /// Starts empty, for up to [`INDEX_CHUNKS_MAX`] chunks.
    pub fn new() -> Self {
        Self::with_chunks_max(INDEX_CHUNKS_MAX)
    }

    /// Starts empty, for up to so many chunks; at least two xorbs' worth.
    pub fn with_chunks_max(chunks_max: usize) -> Self {
        let generation_chunks_max = (chunks_max / 2).clamp(xorb::CHUNKS_MAX, Generation::CHUNKS_MAX);
        Self {
            young: Generation::default(),
            old: Generation::default(),
            generation_chunks_max,
            keys: VecDeque::new(),
            next_key: KeyId(1),
        }
    }

    /// Adds the chunks of a xorb that is stored: one uploaded in this session, or one out of a shard that is not keyed.
    /// More chunks than a xorb can have are ignored.
    pub fn insert_xorb(&mut self, xorb: &ShardXorb) {
        self.insert(xorb, KeyId::NONE);
    }

    /// Adds the xorbs of a shard. `key` is the one of its footer, under which its chunks are listed; no key and a key
    /// of zeros both mean that the hashes are plain. Whether a key has expired is for the caller to see.
    pub fn insert_shard(&mut self, shard: &Shard, key: Option<[u8; 32]>) {
        let key = key.filter(|key| *key != [0; 32]).map_or(KeyId::NONE, |key| self.key_id(key));
        for xorb in &shard.xorbs {
            self.insert(xorb, key);
        }
    }

    /// Finds the chunks with which `chunks` begins: of all places that hold the first one, the one at which most of the
    /// others follow. Places of plain hashes go before those under a key. What is found was compared in full.
    ///
    /// The run may be as long as `chunks` and no longer, so pass as many as are known.
    pub fn find(&self, chunks: &[ChunkHash]) -> Option<Found> {
        self.find_under(KeyId::NONE, |at| chunks.get(at).copied()).or_else(|| {
            self.keys.iter().rev().find_map(|(id, key)| {
                let mut keyed = Vec::new();
                self.find_under(*id, |at| {
                    // They are asked for in order, for every candidate anew.
                    if at == keyed.len() {
                        keyed.push(chunks.get(at)?.keyed(key));
                    }
                    keyed.get(at).copied()
                })
            })
        })
    }

    /// Chunks it holds, copies counted.
    pub fn chunks(&self) -> usize {
        self.young.chunks + self.old.chunks
    }

    fn find_under(&self, key: KeyId, mut chunk: impl FnMut(usize) -> Option<ChunkHash>) -> Option<Found> {
        let first = chunk(0)?;
        let mut longest: Option<Found> = None;
        let candidates = [&self.young, &self.old].into_iter().flat_map(|generation| generation.places(&first));
        for (segment, at) in candidates.filter(|(segment, _)| segment.key == key).take(CANDIDATES_MAX) {
            let following = segment.hashes[at..].iter();
            let count = following.enumerate().take_while(|(i, hash)| chunk(*i).as_ref() == Some(*hash)).count();
            if longest.is_none_or(|found| found.chunks.count() < count as u32) {
                let chunks = ChunkRange { start: at as u32, end: (at + count) as u32 };
                longest = Some(Found { xorb: segment.xorb, chunks });
            }
        }
        longest
    }

    fn insert(&mut self, xorb: &ShardXorb, key: KeyId) {
        let Some(first) = xorb.leaves.first().filter(|_| xorb.leaves.len() <= xorb::CHUNKS_MAX) else { return };
        let is_there = |(segment, at): (&Segment, usize)| at == 0 && segment.xorb == xorb.hash && segment.key == key;
        if self.young.places(&first.hash).any(is_there) {
            return;
        }
        if self.young.chunks + xorb.leaves.len() > self.generation_chunks_max {
            self.old = mem::take(&mut self.young);
            let is_used = |id| self.old.segments.iter().any(|segment| segment.key == id);
            self.keys.retain(|(id, _)| *id == key || is_used(*id));
        }
        self.young.push(xorb, key);
    }

    fn key_id(&mut self, key: [u8; 32]) -> KeyId {
        if let Some((id, _)) = self.keys.iter().find(|(_, known)| *known == key) {
            return *id;
        }
        if self.keys.len() == INDEX_KEYS_MAX {
            self.keys.pop_front();
        }
        let id = self.next_key;
        self.next_key = KeyId(id.0 + 1);
        self.keys.push_back((id, key));
        id
    }
}

impl Default for Index {
    fn default() -> Self {
        Self::new()
    }
}

/// Xorbs that are forgotten together.
#[derive(Debug, Clone, Default)]
struct Generation {
    segments: Vec<Segment>,
    /// Chunks of all segments; each is known by its number, counted over all of them.
    chunks: usize,
    /// The newest chunk of each bucket, or [`NO_CHUNK`]. A power of two, at least as many as there are chunks.
    newest: Vec<u32>,
}

/// The chunks of one xorb.
#[derive(Debug, Clone)]
struct Segment {
    xorb: XorbHash,
    key: KeyId,
    /// Number of its first chunk.
    first: u32,
    hashes: Box<[ChunkHash]>,
    /// For each chunk the one before it in its bucket, or [`NO_CHUNK`].
    before: Box<[u32]>,
}

/// Stands for no chunk where a number is expected.
const NO_CHUNK: u32 = u32::MAX;

impl Generation {
    /// Chunks whose numbers fit, whatever the machine.
    const CHUNKS_MAX: usize = 1 << 30;

    fn push(&mut self, xorb: &ShardXorb, key: KeyId) {
        let hashes: Box<[ChunkHash]> = xorb.leaves.iter().map(|leaf| leaf.hash).collect();
        let before = vec![NO_CHUNK; hashes.len()].into();
        let first = self.chunks as u32;
        self.chunks += hashes.len();
        self.segments.push(Segment { xorb: xorb.hash, key, first, hashes, before });
        let unlinked = if self.chunks > self.newest.len() {
            self.newest = vec![NO_CHUNK; self.chunks.next_power_of_two()];
            &mut self.segments[..]
        } else {
            self.segments.last_mut().map_or(&mut [][..], std::slice::from_mut)
        };
        for segment in unlinked {
            segment.link(&mut self.newest);
        }
    }

    /// Where this chunk is, the newest place first.
    fn places<'a>(&'a self, hash: &'a ChunkHash) -> impl Iterator<Item = (&'a Segment, usize)> {
        let mut next = if self.newest.is_empty() { NO_CHUNK } else { self.newest[bucket(hash, self.newest.len())] };
        let in_bucket = iter::from_fn(move || {
            let segment = self.segments.partition_point(|segment| segment.first <= next).checked_sub(1)?;
            let segment = self.segments.get(segment).filter(|_| next != NO_CHUNK)?;
            let at = (next - segment.first) as usize;
            next = segment.before[at];
            Some((segment, at))
        });
        in_bucket.take(STEPS_MAX).filter(|(segment, at)| segment.hashes[*at] == *hash)
    }
}

impl Segment {
    fn link(&mut self, newest: &mut [u32]) {
        for ((number, hash), before) in (self.first..).zip(&self.hashes).zip(&mut self.before) {
            *before = mem::replace(&mut newest[bucket(hash, newest.len())], number);
        }
    }
}

/// `buckets` is a power of two. Hashes spread by themselves; whoever makes some up that do not only hides them.
fn bucket(hash: &ChunkHash, buckets: usize) -> usize {
    let [a, b, c, d, ..] = *hash.as_bytes();
    u32::from_le_bytes([a, b, c, d]) as usize & (buckets - 1)
}
