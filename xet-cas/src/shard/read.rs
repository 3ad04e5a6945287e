//! Reads the sections of a shard, which are all that the upload form has.

use super::{
    BOOKEND, CHUNK_IN_GLOBAL_DEDUP, ENTRY_BYTES, FILE_HAS_METADATA, FILE_HAS_VERIFICATION, HEADER_BYTES,
    SHARD_BYTES_MAX, Shard, ShardFile, ShardXorb, StoredXorb, TAG,
};
use crate::hash::swap_groups;
use crate::{CHUNK_BYTES_MAX, ChunkHash, ChunkRange, Error, FileHash, Leaf, RangeHash, Term, XorbHash, xorb};

impl Shard {
    /// Reads the upload form. Also takes a full shard and ignores what follows its xorb section.
    ///
    /// Counts are checked against the bytes that are there before anything is allocated for them. The
    /// hashes are not recomputed: that takes the xorbs.
    ///
    /// # Errors
    /// A wrong tag, entries cut short, or counts, lengths and ranges outside their bounds.
    pub fn decode_upload(data: &[u8]) -> Result<Self, Error> {
        Error::check_bounds("bytes of a shard", data.len() as u64, 0, SHARD_BYTES_MAX as u64)?;
        let Sections { files, xorbs, .. } = Sections::read(data)?;
        let verified = files.iter().filter(|file| file.verification.is_some()).count();
        if verified != 0 {
            Error::check_equal("files of a shard and files with verification", files.len() as u64, verified as u64)?;
        }
        Ok(Self { files, xorbs: xorbs.into_iter().map(|stored| stored.xorb).collect() })
    }
}

/// What all forms have.
#[derive(Debug)]
pub(super) struct Sections {
    pub(super) files: Vec<ShardFile>,
    pub(super) xorbs: Vec<StoredXorb>,
    /// Where the xorb section begins.
    pub(super) xorbs_start: usize,
    /// Where it ends.
    pub(super) end: usize,
}

impl Sections {
    pub(super) fn read(data: &[u8]) -> Result<Self, Error> {
        let (header, entries) = data
            .split_at_checked(HEADER_BYTES)
            .ok_or_else(|| Error::truncated("shard header", HEADER_BYTES, data.len()))?;
        if header[..32] != TAG {
            return Err(Error::Marker { what: "shard" });
        }
        let mut entries = Entries { rest: entries };
        let (mut files, mut xorbs) = (Vec::new(), Vec::new());
        while let Some(file) = read_file(&mut entries)? {
            files.push(file);
        }
        let xorbs_start = data.len() - entries.rest.len();
        while let Some(xorb) = read_xorb(&mut entries)? {
            xorbs.push(xorb);
        }
        Ok(Self { files, xorbs, xorbs_start, end: data.len() - entries.rest.len() })
    }
}

/// One 48-byte entry: a hash and four words.
struct Entry {
    hash: [u8; 32],
    words: [u32; 4],
}

struct Entries<'a> {
    rest: &'a [u8],
}

impl Entries<'_> {
    fn next(&mut self) -> Result<Entry, Error> {
        let (entry, rest) = self
            .rest
            .split_first_chunk::<ENTRY_BYTES>()
            .ok_or_else(|| Error::truncated("shard entry", ENTRY_BYTES, self.rest.len()))?;
        self.rest = rest;
        let word = |i: usize| u32::from_le_bytes(std::array::from_fn(|byte| entry[32 + 4 * i + byte]));
        Ok(Entry { hash: std::array::from_fn(|i| entry[i]), words: std::array::from_fn(word) })
    }

    /// The header of the next block, and `count` checked to fit into what is left; `None` at the bookend.
    fn header(&mut self) -> Result<Option<Entry>, Error> {
        let entry = self.next()?;
        Ok((entry.hash != BOOKEND).then_some(entry))
    }

    fn check_count(&self, what: &'static str, count: u32, max: u64) -> Result<(), Error> {
        let fit = (self.rest.len() / ENTRY_BYTES) as u64;
        Error::check_bounds(what, count.into(), 0, max.min(fit))
    }
}

fn read_file(entries: &mut Entries<'_>) -> Result<Option<ShardFile>, Error> {
    let Some(Entry { hash, words: [flags, count, ..] }) = entries.header()? else { return Ok(None) };
    entries.check_count("terms of a file", count, u64::MAX)?;
    let terms = (0..count).map(|_| read_term(entries)).collect::<Result<Vec<_>, _>>()?;
    let mut verification = None;
    if flags & FILE_HAS_VERIFICATION != 0 {
        entries.check_count("verification entries of a file", count, u64::MAX)?;
        let hashes = (0..count).map(|_| entries.next().map(|entry| RangeHash::from_bytes(entry.hash)));
        verification = Some(hashes.collect::<Result<Vec<_>, _>>()?);
    }
    let mut sha256 = None;
    if flags & FILE_HAS_METADATA != 0 {
        sha256 = Some(swap_groups(&entries.next()?.hash));
    }
    Ok(Some(ShardFile { hash: FileHash::from_bytes(hash), terms, verification, sha256 }))
}

fn read_term(entries: &mut Entries<'_>) -> Result<Term, Error> {
    let Entry { hash, words: [_, unpacked_length, start, end] } = entries.next()?;
    Error::check_bounds("last chunk of a term", end.into(), u64::from(start) + 1, xorb::CHUNKS_MAX as u64)?;
    Error::check_bounds("unpacked length of a term", unpacked_length.into(), 1, xorb::RAW_BYTES_MAX)?;
    Ok(Term { xorb: XorbHash::from_bytes(hash), chunks: ChunkRange { start, end }, unpacked_length })
}

fn read_xorb(entries: &mut Entries<'_>) -> Result<Option<StoredXorb>, Error> {
    let Some(Entry { hash, words: [_, count, raw_bytes, serialized_bytes] }) = entries.header()? else {
        return Ok(None);
    };
    entries.check_count("chunks of a xorb", count, xorb::CHUNKS_MAX as u64)?;
    let mut leaves = Vec::with_capacity(count as usize);
    let mut global_dedup_chunks = Vec::new();
    let mut offset = 0_u64;
    for chunk in 0..count {
        let Entry { hash, words: [at, length, flags, _] } = entries.next()?;
        Error::check_bounds("length of a chunk", length.into(), 1, CHUNK_BYTES_MAX as u64)?;
        Error::check_equal("offset of a chunk and lengths before it", at.into(), offset)?;
        offset += u64::from(length);
        if flags & CHUNK_IN_GLOBAL_DEDUP != 0 {
            global_dedup_chunks.push(chunk);
        }
        leaves.push(Leaf { hash: ChunkHash::from_bytes(hash), length });
    }
    Error::check_equal("raw bytes of a xorb and of its chunks", raw_bytes.into(), offset)?;
    Error::check_bounds("raw bytes of a xorb", offset, 0, xorb::RAW_BYTES_MAX)?;
    let xorb = ShardXorb { hash: XorbHash::from_bytes(hash), leaves };
    Ok(Some(StoredXorb { xorb, serialized_bytes, global_dedup_chunks }))
}
