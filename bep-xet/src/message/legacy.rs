//! The messages of the legacy dialects: CHUNK_REQUEST, CHUNK_RESPONSE, CHUNK_NOT_FOUND and CHUNK_ERROR.

use bytes::{BufMut, Bytes, BytesMut};
use nom::Parser;
use nom::combinator::{cond, map, opt};
use nom::number::complete::be_u32;
use xet_cas::{ChunkRange, xorb};

use crate::wire::{Fault, Parsed, check, hash};
use crate::{Dialect, Limits};

/// What a footer takes for each chunk, and beside that, bytes.
const FOOTER_CHUNK_BYTES: u64 = 40;
const FOOTER_BYTES: u64 = 128;

/// Asks for a chunk, or for chunks of a xorb. Answered with one [`ChunkResponse`], [`ChunkNotFound`] or
/// [`ChunkError`].
///
/// # Wire shape
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 4 | id |
/// | 4 | 32 | hash: base of the chunk, ranged of the xorb |
/// | 36 | 4 | ranged: first chunk |
/// | 40 | 4 | ranged: one past the last chunk |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkRequest {
    /// The request.
    pub id: u32,
    /// Name of a chunk, or of a xorb if there are `chunks`. Raw bytes.
    pub hash: [u8; 32],
    /// Ranged: which chunks. Any two numbers: nothing holds a peer to order.
    pub chunks: Option<ChunkRange>,
}

impl ChunkRequest {
    pub(super) fn put(&self, out: &mut BytesMut) {
        out.put_u32(self.id);
        out.put_slice(&self.hash);
        if let Some(chunks) = self.chunks {
            out.put_u32(chunks.start);
            out.put_u32(chunks.end);
        }
    }

    pub(super) fn encoded_bytes(&self) -> usize {
        4 + 32 + if self.chunks.is_some() { 8 } else { 0 }
    }
}

/// `<id><hash>`, and ranged `<start><end>`.
pub(super) fn request(body: &[u8], dialect: Dialect) -> Parsed<'_, ChunkRequest> {
    let chunks = map((be_u32, be_u32), |(start, end)| ChunkRange { start, end });
    let (rest, (id, hash, chunks)) = (be_u32, hash, cond(dialect == Dialect::Ranged, chunks)).parse(body)?;
    Ok((rest, ChunkRequest { id, hash, chunks }))
}

/// The answer with data, and its end: a request has one answer.
///
/// # Wire shape
/// | size | field |
/// |---|---|
/// | 4 | id |
/// | 4 | ranged: index of the first chunk of the data |
/// | 4 | length |
/// | length | data: base one chunk as it is, ranged chunk records as they stand in a xorb |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkResponse {
    /// The request.
    pub id: u32,
    /// Ranged: index of the first chunk of the data, says the peer. Often 0, whatever was asked for.
    pub chunk_offset: Option<u32>,
    /// Length of the data, bytes.
    pub length: u32,
    /// The data as far as it is here. What is missing follows as [`Message::ChunkData`](crate::Message::ChunkData).
    pub data: Bytes,
}

impl ChunkResponse {
    /// The longest data there is, bytes: a whole xorb, every chunk stored as it is, with the footer that servers keep
    /// behind it.
    pub const DATA_BYTES_MAX: u64 =
        xorb::SERIALIZED_BYTES_MAX + FOOTER_CHUNK_BYTES * xorb::CHUNKS_MAX as u64 + FOOTER_BYTES;

    /// What stands before the data, bytes, the kind of message included.
    pub(crate) const fn head_bytes(dialect: Dialect) -> usize {
        match dialect {
            Dialect::Ranged => 1 + 4 + 4 + 4,
            Dialect::Base | Dialect::V2 => 1 + 4 + 4,
        }
    }

    pub(super) fn put(&self, out: &mut BytesMut) {
        out.put_u32(self.id);
        if let Some(chunk_offset) = self.chunk_offset {
            out.put_u32(chunk_offset);
        }
        out.put_u32(self.length);
        out.put_slice(&self.data);
    }

    pub(super) fn encoded_bytes(&self) -> usize {
        4 + if self.chunk_offset.is_some() { 4 } else { 0 } + 4 + self.data.len()
    }

    /// Data that is not here yet, bytes.
    pub(crate) fn missing_bytes(&self) -> u64 {
        u64::from(self.length).saturating_sub(self.data.len() as u64)
    }
}

/// `<id>`, ranged `<chunk offset>`, `<length>`, and the front of the data. `missing_bytes` of the payload are yet to
/// come.
pub(super) fn response<'a>(
    body: &'a [u8],
    payload: &Bytes,
    missing_bytes: u64,
    dialect: Dialect,
) -> Parsed<'a, ChunkResponse> {
    let (rest, (id, chunk_offset, length)) = (be_u32, cond(dialect == Dialect::Ranged, be_u32), be_u32).parse(body)?;
    check("length of the data of a response", length.into(), 0, ChunkResponse::DATA_BYTES_MAX)?;
    if u64::from(length) > rest.len() as u64 + missing_bytes {
        return Err(nom::Err::Error(Fault::cut_short()));
    }
    let data = &rest[..rest.len().min(length as usize)];
    Ok((&rest[data.len()..], ChunkResponse { id, chunk_offset, length, data: payload.slice_ref(data) }))
}

/// The answer that there is nothing.
///
/// # Wire shape
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 4 | id |
/// | 4 | 32 | hash that was asked for; some peers leave it out |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkNotFound {
    /// The request.
    pub id: u32,
    /// What was asked for, raw bytes. Always sent: peers of the ranged dialect refuse a message without.
    pub hash: Option<[u8; 32]>,
}

impl ChunkNotFound {
    pub(super) fn put(&self, out: &mut BytesMut) {
        out.put_u32(self.id);
        if let Some(hash) = &self.hash {
            out.put_slice(hash);
        }
    }

    pub(super) fn encoded_bytes(&self) -> usize {
        4 + if self.hash.is_some() { 32 } else { 0 }
    }
}

/// `<id>`, and the hash if it is there.
pub(super) fn not_found(body: &[u8]) -> Parsed<'_, ChunkNotFound> {
    map((be_u32, opt(hash)), |(id, hash)| ChunkNotFound { id, hash }).parse(body)
}

/// The answer that something went wrong.
///
/// # Wire shape
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 4 | id |
/// | 4 | 4 | code |
/// | 8 | rest | text for people, if there is any |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkError {
    /// The request.
    pub id: u32,
    /// A number that means something to whoever sent it. Ours is that of the [`Status`](crate::Status).
    pub code: u32,
    /// More about it; of an incoming one only the first bytes are kept.
    pub text: Bytes,
}

impl ChunkError {
    pub(super) fn put(&self, out: &mut BytesMut) {
        out.put_u32(self.id);
        out.put_u32(self.code);
        out.put_slice(&self.text);
    }

    pub(super) fn encoded_bytes(&self) -> usize {
        4 + 4 + self.text.len()
    }
}

/// `<id><code>` and maybe more. The text is copied, as it must not keep a whole buffer alive.
pub(super) fn error<'a>(body: &'a [u8], limits: &Limits) -> Parsed<'a, ChunkError> {
    let (rest, (id, code)) = (be_u32, be_u32).parse(body)?;
    let text = Bytes::copy_from_slice(&rest[..rest.len().min(limits.detail_bytes_max)]);
    Ok((&[], ChunkError { id, code, text }))
}
