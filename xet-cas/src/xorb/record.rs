//! One chunk as it is stored in a xorb: an 8-byte header and the payload.

use crate::compression::decompress_into;
use crate::{CHUNK_BYTES_MAX, Error, Scheme};

/// Marks the start of a footer, where a record could stand.
pub(super) const FOOTER_MARKER: &[u8; 7] = b"XETBLOB";
/// Largest stored payload that is accepted: what the deployed reader accepts. Writers never exceed the
/// raw length.
pub(super) const STORED_BYTES_MAX: u64 = 2 * CHUNK_BYTES_MAX as u64;

/// Header of a chunk record.
///
/// # Wire shape
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 1 | version, 0 |
/// | 1 | 3 | stored length, little-endian |
/// | 4 | 1 | compression scheme |
/// | 5 | 3 | raw length, little-endian |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHeader {
    /// How the payload is compressed.
    pub scheme: Scheme,
    /// Length of the payload that follows, bytes: 1 to 262,144.
    pub stored_length: u32,
    /// Length of the chunk, bytes: 1 to 131,072.
    pub raw_length: u32,
}

impl RecordHeader {
    /// Size of a header, bytes.
    pub const BYTES: usize = 8;

    /// Reads a header.
    ///
    /// # Errors
    /// An unknown version or scheme, or a length out of bounds. Empty chunks never arise and are refused.
    pub fn decode(bytes: &[u8; Self::BYTES]) -> Result<Self, Error> {
        let [version, s0, s1, s2, scheme, r0, r1, r2] = *bytes;
        if version != 0 {
            return Err(Error::RecordVersion { version });
        }
        let stored_length = u32::from_le_bytes([s0, s1, s2, 0]);
        let raw_length = u32::from_le_bytes([r0, r1, r2, 0]);
        let scheme = Scheme::from_id(scheme)?;
        Error::check_bounds("stored length of a chunk", stored_length.into(), 1, STORED_BYTES_MAX)?;
        Error::check_bounds("raw length of a chunk", raw_length.into(), 1, CHUNK_BYTES_MAX as u64)?;
        Ok(Self { scheme, stored_length, raw_length })
    }

    /// Writes a header.
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let [s0, s1, s2, _] = self.stored_length.to_le_bytes();
        let [r0, r1, r2, _] = self.raw_length.to_le_bytes();
        [0, s0, s1, s2, self.scheme.id(), r0, r1, r2]
    }

    /// Header and payload together, bytes.
    pub fn record_bytes(&self) -> usize {
        Self::BYTES + self.stored_length as usize
    }
}

/// A chunk record in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its header.
    pub header: RecordHeader,
    /// The stored payload.
    pub payload: &'a [u8],
}

impl Record<'_> {
    /// The chunk's bytes: the payload itself where it is stored as it is, else decoded into the front of
    /// `scratch`, which grows to twice the largest chunk seen and can be used again.
    ///
    /// # Errors
    /// [`Error::Payload`] if the payload does not decode to the announced length.
    pub fn decode<'s>(&'s self, scratch: &'s mut Vec<u8>) -> Result<&'s [u8], Error> {
        let (scheme, raw_length) = (self.header.scheme, self.header.raw_length as usize);
        if scheme == Scheme::None && self.payload.len() == raw_length {
            return Ok(self.payload);
        }
        let room = if scheme == Scheme::Bg4Lz4 { 2 * raw_length } else { raw_length };
        if scratch.len() < room {
            scratch.resize(room, 0);
        }
        let (chunk, grouped) = scratch.split_at_mut(raw_length);
        decompress_into(scheme, self.payload, chunk, grouped)?;
        Ok(chunk)
    }
}

/// Walks the records of a xorb or of a slice of one, up to the end of the data or to a footer.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    /// Begins at a record boundary.
    pub fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }

    /// What has not been walked: empty, or beginning with a footer, once the iterator is at its end.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() || self.rest.starts_with(FOOTER_MARKER) {
            return None;
        }
        let record = read_record(self.rest).map(|(record, rest)| {
            self.rest = rest;
            record
        });
        if record.is_err() {
            self.rest = &[];
        }
        Some(record)
    }
}

fn read_record(data: &[u8]) -> Result<(Record<'_>, &[u8]), Error> {
    let (header, rest) = data
        .split_first_chunk::<{ RecordHeader::BYTES }>()
        .ok_or_else(|| Error::truncated("chunk header", RecordHeader::BYTES, data.len()))?;
    let header = RecordHeader::decode(header)?;
    let (payload, rest) = rest
        .split_at_checked(header.stored_length as usize)
        .ok_or_else(|| Error::truncated("chunk payload", header.stored_length as usize, rest.len()))?;
    Ok((Record { header, payload }, rest))
}

/// How many bytes at the front of `data` are complete records, for readers that receive a xorb in pieces.
/// Returns also how many records that is.
///
/// # Errors
/// A malformed header, as soon as it has arrived.
pub fn complete_records_bytes(data: &[u8]) -> Result<(usize, usize), Error> {
    let (mut end, mut count) = (0, 0);
    while let Some(header) = data.get(end..).and_then(|rest| rest.first_chunk::<{ RecordHeader::BYTES }>()) {
        let next = end + RecordHeader::decode(header)?.record_bytes();
        if next > data.len() {
            break;
        }
        (end, count) = (next, count + 1);
    }
    Ok((end, count))
}
