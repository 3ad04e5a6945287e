//! Packs chunks into a xorb.

use super::{CHUNKS_MAX, Footer, RAW_BYTES_MAX, RecordHeader};
use crate::{CHUNK_BYTES_MAX, CompressionPolicy, Error, Leaf, Scheme, XorbHash};

/// The scheme is chosen anew after this many chunks, as in the deployed client: neighbours in a file
/// are alike, and the prediction costs a pass over the chunk.
const RUN_CHUNKS: usize = 32;

/// Builds one xorb, chunk by chunk. Holds the compressed records, so up to 64 MiB.
#[derive(Debug)]
pub struct Builder {
    policy: CompressionPolicy,
    /// Scheme of the current run, and how many chunks of the run are left.
    run: Option<(Scheme, usize)>,
    records: Vec<u8>,
    leaves: Vec<Leaf>,
    record_ends: Vec<u32>,
    raw_bytes: u64,
}

impl Builder {
    /// Starts an empty xorb.
    pub fn new(policy: CompressionPolicy) -> Self {
        Self { policy, run: None, records: Vec::new(), leaves: Vec::new(), record_ends: Vec::new(), raw_bytes: 0 }
    }

    /// Whether a chunk of this length still fits.
    pub fn fits(&self, raw_length: usize) -> bool {
        self.leaves.len() < CHUNKS_MAX && self.raw_bytes + raw_length as u64 <= RAW_BYTES_MAX
    }

    /// Says that the next chunk begins another file, so that its scheme is chosen anew.
    pub fn begin_file(&mut self) {
        self.run = None;
    }

    /// Appends a chunk and returns its index. `leaf` is what [`Leaf::of`] gives for `chunk`.
    ///
    /// # Errors
    /// [`Error::XorbFull`] if it does not fit (see [`fits`](Self::fits)); [`Error::OutOfBounds`] if the
    /// chunk is empty or longer than [`CHUNK_BYTES_MAX`].
    pub fn push(&mut self, leaf: Leaf, chunk: &[u8]) -> Result<u32, Error> {
        Error::check_bounds("length of a chunk", chunk.len() as u64, 1, CHUNK_BYTES_MAX as u64)?;
        Error::check_equal("length of a chunk and of its leaf", chunk.len() as u64, leaf.length.into())?;
        if !self.fits(chunk.len()) {
            return Err(Error::XorbFull);
        }
        let (run_scheme, left) = match self.run {
            Some((scheme, left)) if left > 0 => (scheme, left),
            _ => (self.policy.choose(chunk), RUN_CHUNKS),
        };
        self.run = Some((run_scheme, left - 1));
        let (scheme, payload) = CompressionPolicy::compress(run_scheme, chunk);
        let header = RecordHeader { scheme, stored_length: payload.len() as u32, raw_length: leaf.length };
        self.records.extend_from_slice(&header.encode());
        self.records.extend_from_slice(&payload);
        self.record_ends.push(self.records.len() as u32);
        self.leaves.push(leaf);
        self.raw_bytes += u64::from(leaf.length);
        Ok(self.leaves.len() as u32 - 1)
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.leaves.is_empty()
    }

    /// Uncompressed bytes added so far.
    pub fn raw_bytes(&self) -> u64 {
        self.raw_bytes
    }

    /// Names the xorb. An empty one has the zero hash and must not be sent.
    pub fn finish(self) -> Serialized {
        let hash = Leaf::xorb_hash(&self.leaves);
        Serialized { records: self.records, footer: Footer::from_parts(hash, self.leaves, self.record_ends) }
    }
}

/// A finished xorb.
#[derive(Debug, Clone)]
pub struct Serialized {
    /// The records, which is what a client uploads: without footer.
    pub records: Vec<u8>,
    /// What the records hold.
    pub footer: Footer,
}

impl Serialized {
    /// The xorb's name.
    pub fn hash(&self) -> XorbHash {
        self.footer.hash()
    }
}
