//! Packs chunks into a xorb.

use super::{CHUNKS_MAX, Footer, RAW_BYTES_MAX, RecordHeader};
use crate::{
    CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, CompressionPolicy, Compressor, Error, Leaf, Scheme, SchemeChooser, XorbHash,
};

/// Builds one xorb, chunk by chunk. Holds the compressed records, so up to 64 MiB.
#[derive(Debug)]
pub struct Builder {
    schemes: SchemeChooser,
    compressor: Compressor,
    records: Vec<u8>,
    leaves: Vec<Leaf>,
    record_ends: Vec<u32>,
    raw_bytes: u64,
}

impl Builder {
    /// Starts an empty xorb.
    pub fn new(policy: CompressionPolicy) -> Self {
        Self::with_capacity(policy, 0)
    }

    /// Starts an empty xorb with room for so many raw bytes, or a full xorb if they are more, even if nothing
    /// compresses. The records of files of at least [`CHUNK_BYTES_MIN`] are never copied to make room then.
    pub fn with_capacity(policy: CompressionPolicy, raw_bytes: usize) -> Self {
        let raw_bytes = raw_bytes.min(RAW_BYTES_MAX as usize);
        let chunks = raw_bytes.div_ceil(CHUNK_BYTES_MIN).min(CHUNKS_MAX);
        Self::with_buffer(policy, Vec::with_capacity(raw_bytes + chunks * RecordHeader::BYTES))
    }

    /// Starts an empty xorb whose records replace what is in `records`: those of a xorb that was sent, say. Memory
    /// that is used again need not be cleared by the system, which takes longer than to store a chunk as it is.
    pub fn with_buffer(policy: CompressionPolicy, mut records: Vec<u8>) -> Self {
        records.clear();
        Self {
            schemes: SchemeChooser::new(policy),
            compressor: Compressor::new(),
            records,
            leaves: Vec::new(),
            record_ends: Vec::new(),
            raw_bytes: 0,
        }
    }

    /// Whether a chunk of this length still fits.
    pub fn fits(&self, raw_length: usize) -> bool {
        self.leaves.len() < CHUNKS_MAX && self.raw_bytes + raw_length as u64 <= RAW_BYTES_MAX
    }

    /// Says that the next chunk begins another file, so that its scheme is chosen anew.
    pub fn begin_file(&mut self) {
        self.schemes.begin_run();
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
        let scheme = self.schemes.choose(chunk);
        let (scheme, stored) = self.compressor.compress(scheme, chunk);
        append_record(&mut self.records, scheme, stored, leaf.length);
        Ok(self.appended(leaf))
    }

    /// Appends a chunk that [`Compressor::compress`] has compressed, and returns its index. The caller vouches
    /// that `stored` decodes to the chunk of `leaf`: only lengths are checked.
    ///
    /// # Errors
    /// [`Error::XorbFull`] if it does not fit (see [`fits`](Self::fits)); [`Error::OutOfBounds`] if the
    /// chunk is empty or longer than [`CHUNK_BYTES_MAX`], or stored in more bytes than it has;
    /// [`Error::Mismatch`] if one that is stored as it is has another length than `leaf` says.
    pub fn push_stored(&mut self, leaf: Leaf, scheme: Scheme, stored: &[u8]) -> Result<u32, Error> {
        let (raw_length, stored_length) = (u64::from(leaf.length), stored.len() as u64);
        Error::check_bounds("length of a chunk", raw_length, 1, CHUNK_BYTES_MAX as u64)?;
        if scheme == Scheme::None {
            Error::check_equal("stored length of a chunk and its length", stored_length, raw_length)?;
        }
        Error::check_bounds("stored length of a chunk", stored_length, 1, raw_length)?;
        if !self.fits(leaf.length as usize) {
            return Err(Error::XorbFull);
        }
        append_record(&mut self.records, scheme, stored, leaf.length);
        Ok(self.appended(leaf))
    }

    /// Notes the chunk whose record is the last; returns its index.
    fn appended(&mut self, leaf: Leaf) -> u32 {
        self.record_ends.push(self.records.len() as u32);
        self.leaves.push(leaf);
        self.raw_bytes += u64::from(leaf.length);
        self.leaves.len() as u32 - 1
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

fn append_record(records: &mut Vec<u8>, scheme: Scheme, stored: &[u8], raw_length: u32) {
    let header = RecordHeader { scheme, stored_length: stored.len() as u32, raw_length };
    records.extend_from_slice(&header.encode());
    records.extend_from_slice(stored);
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
