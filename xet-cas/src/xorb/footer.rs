//! The footer that a server keeps behind the records of a xorb: hashes and offsets of its chunks.

mod v0;

use std::ops::Range;

use nom::bytes::complete::take;
use nom::number::complete::{le_u32, u8 as byte};
use nom::{IResult, Parser};

use v0::FooterV0;

use super::record::{FOOTER_MARKER, STORED_BYTES_MAX};
use super::{CHUNKS_MAX, RAW_BYTES_MAX, RecordHeader, Records, SERIALIZED_BYTES_MAX, Validator};
use crate::{ByteRange, CHUNK_BYTES_MAX, ChunkHash, ChunkRange, Error, Leaf, XorbHash};

const FOOTER_VERSION: u8 = 1;
const HASHES_MARKER: &[u8; 7] = b"XBLBHSH";
const HASHES_VERSION: u8 = 0;
const BOUNDARIES_MARKER: &[u8; 7] = b"XBLBBND";
const BOUNDARIES_VERSION: u8 = 1;
/// Marker, version and hash that precede the hash section.
const PREFIX_BYTES: usize = 7 + 1 + 32;
/// A nonce and zeros; ignored by readers.
const RESERVED_BYTES: usize = 16;
/// The nonce at the front of that.
const NONCE_BYTES: usize = 4;
/// All of a footer but what it has for each chunk.
const FIXED_BYTES: usize = 92;
/// Hash, end of the record and end of the chunk.
const BYTES_OF_A_CHUNK: usize = 32 + 4 + 4;
/// The footer's own length, behind it, not counted in it.
const LENGTH_BYTES: usize = 4;

/// What there is to know about a xorb without its data. In a file it stands behind the records, followed by its
/// length as u32. Version 1 is written, versions 1 and 0 are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footer {
    hash: XorbHash,
    leaves: Vec<Leaf>,
    /// Where each record ends, bytes from the start of the xorb.
    record_ends: Vec<u32>,
}

impl Footer {
    /// Largest footer in a file, bytes, its length included.
    pub const BYTES_MAX: usize = FIXED_BYTES + BYTES_OF_A_CHUNK * CHUNKS_MAX + LENGTH_BYTES;

    /// Recomputes everything from the records and checks it against the name under which the xorb was
    /// sent. A footer behind the records must say the same; anything else there is refused.
    ///
    /// # Errors
    /// What does not decode, exceeds the limits of a xorb, or does not agree.
    pub fn validate(claimed: XorbHash, body: &[u8]) -> Result<Self, Error> {
        let mut validator = Validator::new();
        validator.push(body)?;
        validator.finish(claimed)
    }

    /// What stands behind the records is nothing, or a footer that says the same.
    pub(super) fn check_behind_records(&self, behind: &[u8]) -> Result<(), Error> {
        let lengths = self.leaves.iter().map(|leaf| leaf.length);
        if !behind.is_empty() && Self::decode_behind_records(behind, lengths)? != *self {
            return Err(Error::Mismatch { what: "xorb footer and records", left: 0, right: 0 });
        }
        Ok(())
    }

    pub(super) fn from_parts(hash: XorbHash, leaves: Vec<Leaf>, record_ends: Vec<u32>) -> Self {
        Self { hash, leaves, record_ends }
    }

    /// The xorb's name.
    pub fn hash(&self) -> XorbHash {
        self.hash
    }

    /// Hash and length of every chunk.
    pub fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    /// Serialized bytes of all records.
    pub fn serialized_bytes(&self) -> u64 {
        self.record_ends.last().copied().unwrap_or(0).into()
    }

    /// Uncompressed bytes of all chunks.
    pub fn raw_bytes(&self) -> u64 {
        self.leaves.iter().map(|leaf| u64::from(leaf.length)).sum()
    }

    /// Where the records of a run of chunks lie in the xorb; `None` if the run is empty or goes past
    /// the end.
    pub fn byte_range(&self, chunks: ChunkRange) -> Option<ByteRange> {
        let start = match chunks.start.checked_sub(1) {
            Some(before) => *self.record_ends.get(before as usize)?,
            None => 0,
        };
        let end = *self.record_ends.get(chunks.end.checked_sub(1)? as usize)?;
        (start < end).then(|| ByteRange { start: start.into(), end: end.into() })
    }

    /// The footer as it stands in a file, length included.
    pub fn encode(&self) -> Vec<u8> {
        self.encode_with_nonce([0; NONCE_BYTES])
    }

    /// [`encode`](Self::encode) with bytes that make this copy of the xorb differ from others, wherever it is stored. They are
    /// no part of the xorb: readers ignore them, and they may be [overwritten in place](Self::nonce_range).
    pub fn encode_with_nonce(&self, nonce: [u8; NONCE_BYTES]) -> Vec<u8> {
        let count = (self.leaves.len() as u32).to_le_bytes();
        let mut out = Vec::with_capacity(self.encoded_bytes());
        out.extend_from_slice(FOOTER_MARKER);
        out.push(FOOTER_VERSION);
        out.extend_from_slice(self.hash.as_bytes());
        let hashes_start = out.len();
        out.extend_from_slice(HASHES_MARKER);
        out.push(HASHES_VERSION);
        out.extend_from_slice(&count);
        for leaf in &self.leaves {
            out.extend_from_slice(leaf.hash.as_bytes());
        }
        let boundaries_start = out.len();
        out.extend_from_slice(BOUNDARIES_MARKER);
        out.push(BOUNDARIES_VERSION);
        out.extend_from_slice(&count);
        for end in &self.record_ends {
            out.extend_from_slice(&end.to_le_bytes());
        }
        let mut raw_end = 0_u32;
        for leaf in &self.leaves {
            raw_end += leaf.length;
            out.extend_from_slice(&raw_end.to_le_bytes());
        }
        out.extend_from_slice(&count);
        let length = out.len() + 8 + RESERVED_BYTES;
        out.extend_from_slice(&((length - hashes_start) as u32).to_le_bytes());
        out.extend_from_slice(&((length - boundaries_start) as u32).to_le_bytes());
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&[0; RESERVED_BYTES - NONCE_BYTES]);
        out.extend_from_slice(&(length as u32).to_le_bytes());
        out
    }

    /// Where the nonce stands in a stored xorb of so many bytes, footer (version 1) included; `None` if there is no room for
    /// a footer.
    pub fn nonce_range(stored_bytes: u64) -> Option<Range<u64>> {
        let start = stored_bytes.checked_sub((RESERVED_BYTES + LENGTH_BYTES) as u64)?;
        Some(start..start + NONCE_BYTES as u64)
    }

    fn encoded_bytes(&self) -> usize {
        FIXED_BYTES + BYTES_OF_A_CHUNK * self.leaves.len() + LENGTH_BYTES
    }

    /// Reads the footer of a whole stored xorb, in version 1 or 0. Checks that it lists the records that are there, and that
    /// the chunks in the list reduce to the name of the xorb. Takes all of the xorb because a footer of version 0 does not say
    /// how long the chunks are.
    ///
    /// # Errors
    /// What [`decode_from_end`](Self::decode_from_end) finds wrong, malformed record headers, other records than the footer
    /// lists, or another name. Payloads are not decoded; [`validate`](Self::validate) does that.
    pub fn decode_stored(xorb: &[u8]) -> Result<Self, Error> {
        let mut records = Records::new(xorb);
        let (mut lengths, mut record_ends, mut end) = (Vec::new(), Vec::new(), 0_u64);
        for record in &mut records {
            let header = record?.header;
            end += header.record_bytes() as u64;
            Error::check_bounds("serialized bytes of a xorb", end, 1, SERIALIZED_BYTES_MAX)?;
            lengths.push(header.raw_length);
            record_ends.push(end as u32);
            Error::check_bounds("chunks of a xorb", lengths.len() as u64, 1, CHUNKS_MAX as u64)?;
        }
        let footer = Self::decode_behind_records(records.rest(), lengths.iter().copied())?;
        Error::check_bounds("raw bytes of a xorb", footer.raw_bytes(), 1, RAW_BYTES_MAX)?;
        if footer.record_ends != record_ends || !footer.leaves.iter().map(|leaf| &leaf.length).eq(&lengths) {
            return Err(Error::Mismatch { what: "xorb footer and records", left: 0, right: 0 });
        }
        let actual = Leaf::xorb_hash(&footer.leaves);
        if actual != footer.hash {
            return Err(Error::XorbHash { claimed: footer.hash, actual });
        }
        Ok(footer)
    }

    /// Reads what stands behind the records of chunks of these lengths, and is a footer in either version and nothing else.
    fn decode_behind_records(behind: &[u8], lengths: impl ExactSizeIterator<Item = u32>) -> Result<Self, Error> {
        let (footer, length) = behind
            .split_last_chunk::<LENGTH_BYTES>()
            .ok_or_else(|| Error::truncated("xorb footer", LENGTH_BYTES, behind.len()))?;
        Error::check_equal(
            "bytes behind the records and of their footer",
            footer.len() as u64,
            u32::from_le_bytes(*length).into(),
        )?;
        if footer.starts_with(FOOTER_MARKER) && footer.get(FOOTER_MARKER.len()) == Some(&v0::VERSION) {
            return FooterV0::decode(footer)?.complete(lengths);
        }
        Self::decode(footer)
    }

    /// Reads the footer at the end of a stored xorb. `tail` is any suffix of it that holds the footer, which must be of
    /// version 1: one of version 0 makes sense only [with its records](Self::decode_stored).
    ///
    /// # Errors
    /// A missing or malformed footer, or one whose statements about itself disagree. Its hashes are not
    /// checked against data; [`validate`](Self::validate) does that.
    pub fn decode_from_end(tail: &[u8]) -> Result<Self, Error> {
        let (rest, length) = tail
            .split_last_chunk::<LENGTH_BYTES>()
            .ok_or_else(|| Error::truncated("xorb footer", LENGTH_BYTES, tail.len()))?;
        let length = u32::from_le_bytes(*length) as usize;
        let start =
            rest.len().checked_sub(length).ok_or_else(|| Error::truncated("xorb footer", length, rest.len()))?;
        Self::decode(&rest[start..])
    }

    /// Bytes that [`decode_from_end`](Self::decode_from_end) needs, told by the last four of the file.
    pub fn tail_bytes(last: [u8; 4]) -> u64 {
        u64::from(u32::from_le_bytes(last)) + LENGTH_BYTES as u64
    }

    fn decode(footer: &[u8]) -> Result<Self, Error> {
        let Ok((_, raw)) = raw_footer(footer) else {
            return Err(Error::truncated("xorb footer", footer.len() + 1, footer.len()));
        };
        let count = raw.hashes.len() as u64 / 32;
        let expect = |what, marker: (&[u8], u8), expected: (&[u8], u8)| {
            if marker == expected { Ok(()) } else { Err(Error::Marker { what }) }
        };
        expect("xorb footer", raw.marker, (FOOTER_MARKER, FOOTER_VERSION))?;
        expect("hash section of a xorb footer", raw.hashes_marker, (HASHES_MARKER, HASHES_VERSION))?;
        expect("boundary section of a xorb footer", raw.boundaries_marker, (BOUNDARIES_MARKER, BOUNDARIES_VERSION))?;
        Error::check_bounds("chunks of a xorb", count, 1, CHUNKS_MAX as u64)?;
        Error::check_equal("chunk counts of a xorb footer", count, raw.boundaries_count.into())?;
        Error::check_equal("chunk counts of a xorb footer", count, raw.final_count.into())?;
        Error::check_equal(
            "footer length and its fields",
            footer.len() as u64,
            FIXED_BYTES as u64 + BYTES_OF_A_CHUNK as u64 * count,
        )?;
        Error::check_equal(
            "offset of the hash section",
            raw.hashes_distance.into(),
            footer.len() as u64 - PREFIX_BYTES as u64,
        )?;
        Error::check_equal("offset of the boundary section", raw.boundaries_distance.into(), 40 + 8 * count)?;

        let (record_ends, raw_ends) = (words(raw.record_ends), words(raw.raw_ends));
        let mut leaves = Vec::with_capacity(raw_ends.len());
        let (mut record_end, mut raw_end) = (0, 0);
        for ((hash, next_record), next_raw) in raw.hashes.chunks_exact(32).zip(&record_ends).zip(&raw_ends) {
            let ascending = |what, from: u32, to: u32, headers: u64, max: u64| {
                let length = u64::from(to).saturating_sub(from.into());
                Error::check_bounds(what, length, headers + 1, headers + max).map(|()| length as u32)
            };
            let header = RecordHeader::BYTES as u64;
            ascending("record length in a xorb footer", record_end, *next_record, header, STORED_BYTES_MAX)?;
            let length = ascending("chunk length in a xorb footer", raw_end, *next_raw, 0, CHUNK_BYTES_MAX as u64)?;
            leaves.push(Leaf { hash: ChunkHash::from_bytes(std::array::from_fn(|i| hash[i])), length });
            (record_end, raw_end) = (*next_record, *next_raw);
        }
        Error::check_bounds("raw bytes of a xorb", raw_end.into(), 1, RAW_BYTES_MAX)?;
        Error::check_bounds("serialized bytes of a xorb", record_end.into(), 1, SERIALIZED_BYTES_MAX)?;
        Ok(Self { hash: raw.hash, leaves, record_ends })
    }
}

fn words(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]])).collect()
}

struct RawFooter<'a> {
    marker: (&'a [u8], u8),
    hash: XorbHash,
    hashes_marker: (&'a [u8], u8),
    hashes: &'a [u8],
    boundaries_marker: (&'a [u8], u8),
    boundaries_count: u32,
    record_ends: &'a [u8],
    raw_ends: &'a [u8],
    final_count: u32,
    hashes_distance: u32,
    boundaries_distance: u32,
}

/// `<marker><hash> <marker><n><n hashes> <marker><n><n record ends><n raw ends> <n><distances><reserved>`
fn raw_footer(input: &[u8]) -> IResult<&[u8], RawFooter<'_>> {
    let marker = |input| (take(7_usize), byte).parse(input);
    let table = |count: u32, width: usize| take((count as usize).saturating_mul(width));
    let (input, first) = marker(input)?;
    let (input, hash) = take(32_usize).parse(input)?;
    let (input, hashes_marker) = marker(input)?;
    let (input, count) = le_u32(input)?;
    let (input, hashes) = table(count, 32).parse(input)?;
    let (input, boundaries_marker) = marker(input)?;
    let (input, boundaries_count) = le_u32(input)?;
    let (input, record_ends) = table(boundaries_count, 4).parse(input)?;
    let (input, raw_ends) = table(boundaries_count, 4).parse(input)?;
    let (input, (final_count, hashes_distance, boundaries_distance, _)) =
        (le_u32, le_u32, le_u32, take(RESERVED_BYTES)).parse(input)?;
    let raw = RawFooter {
        marker: first,
        hash: XorbHash::from_bytes(std::array::from_fn(|i| hash[i])),
        hashes_marker,
        hashes,
        boundaries_marker,
        boundaries_count,
        record_ends,
        raw_ends,
        final_count,
        hashes_distance,
        boundaries_distance,
    };
    Ok((input, raw))
}
