//! Data: RANGE_REQUEST and CHUNK.

use bytes::{BufMut, Bytes, BytesMut};
use nom::Parser;
use nom::number::complete::{be_u32, u8 as byte};
use xet_cas::xorb::{RAW_BYTES_MAX, RecordHeader};
use xet_cas::{CHUNK_BYTES_TARGET, ChunkRange, Scheme};

use crate::object::object;
use crate::wire::{Parsed, bounds, check};
use crate::{Limits, ManifestForm, Object, ObjectKind};

const URGENT: u8 = 1;
const WITH_MANIFEST: u8 = 2;

/// Asks for chunks. Answered with a [`Manifest`](crate::Manifest) if it is asked for, [`Chunk`]s, and an END.
///
/// # Wire shape
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 4 | id |
/// | 4 | 33 | [`Object`] |
/// | 37 | 1 | unit |
/// | 38 | 8 | start |
/// | 46 | 8 | end |
/// | 54 | 4 | accepted schemes: bit n is scheme n |
/// | 58 | 1 | flags: bit 0 urgent, bit 1 list or proof first |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RangeRequest {
    /// The request.
    pub id: u32,
    /// What is asked for.
    pub range: Range,
}

impl RangeRequest {
    pub(super) const BYTES: usize = 4 + Object::BYTES + 1 + 8 + 8 + 4 + 1;

    pub(super) fn put(&self, out: &mut BytesMut) {
        let Range { object, unit, start, end, accept, urgent, with_manifest } = self.range;
        out.put_u32(self.id);
        object.put(out);
        out.put_u8(unit.to_byte());
        out.put_u64(start);
        out.put_u64(end);
        out.put_u32(accept.bits());
        out.put_u8(if urgent { URGENT } else { 0 } | if with_manifest { WITH_MANIFEST } else { 0 });
    }
}

/// `<id><object><unit><start><end><accept><flags>`
pub(super) fn request(body: &[u8]) -> Parsed<'_, RangeRequest> {
    let (rest, (id, object, unit, (start, end), accept, flags)) =
        (be_u32, object, byte, bounds, be_u32, byte).parse(body)?;
    let range = Range {
        object,
        unit: Unit::from_byte(unit),
        start,
        end,
        accept: Schemes::from_bits(accept),
        urgent: flags & URGENT != 0,
        with_manifest: flags & WITH_MANIFEST != 0,
    };
    Ok((rest, RangeRequest { id, range }))
}

/// A range of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Range {
    /// Of what.
    pub object: Object,
    /// What `start` and `end` count.
    pub unit: Unit,
    /// First chunk or byte.
    pub start: u64,
    /// One past the last.
    pub end: u64,
    /// Compression schemes that the asking side can read.
    pub accept: Schemes,
    /// Whether a file waits for this.
    pub urgent: bool,
    /// Whether the list (of a xorb) or proof (of a run of a file) is to come first, under the same id.
    pub with_manifest: bool,
}

impl Range {
    /// Chunks of a xorb or a file, in any scheme, without list.
    pub fn chunks(object: Object, chunks: ChunkRange) -> Self {
        Self {
            object,
            unit: Unit::Chunks,
            start: chunks.start.into(),
            end: chunks.end.into(),
            accept: Schemes::ALL,
            urgent: false,
            with_manifest: false,
        }
    }

    /// All chunks that hold these bytes of a file, in any scheme, without proof.
    pub fn file_bytes(object: Object, start: u64, end: u64) -> Self {
        Self { unit: Unit::FileBytes, start, end, ..Self::chunks(object, ChunkRange { start: 0, end: 0 }) }
    }

    /// What the range takes of a window, bytes. Both sides compute it from the request alone: its bytes, or 64 KiB
    /// a chunk, which is what chunks have on average; at most 64 MiB for chunks of one object.
    pub fn window_bytes(&self) -> u64 {
        let count = self.end.saturating_sub(self.start);
        match self.unit {
            Unit::Chunks => chunks_window_bytes(count),
            Unit::FileBytes | Unit::Unknown(_) => count,
        }
    }

    /// Form of the list that comes first, if one does.
    pub(crate) fn manifest(&self) -> Option<ManifestForm> {
        self.with_manifest.then_some(match self.object.kind {
            ObjectKind::File => ManifestForm::Run,
            ObjectKind::Xorb | ObjectKind::Chunk | ObjectKind::Unknown(_) => ManifestForm::Whole,
        })
    }
}

/// What chunks take of a window where their length is not known to both sides.
pub(crate) fn chunks_window_bytes(count: u64) -> u64 {
    count.saturating_mul(CHUNK_BYTES_TARGET as u64).min(RAW_BYTES_MAX)
}

/// What the bounds of a [`Range`] count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    /// 0: chunks of the object.
    Chunks,
    /// 1: bytes of the file.
    FileBytes,
    /// A unit that is not known: the raw byte, never one of those above.
    Unknown(u8),
}

impl Unit {
    fn from_byte(byte: u8) -> Self {
        match byte {
            0 => Self::Chunks,
            1 => Self::FileBytes,
            byte => Self::Unknown(byte),
        }
    }

    fn to_byte(self) -> u8 {
        match self {
            Self::Chunks => 0,
            Self::FileBytes => 1,
            Self::Unknown(byte) => byte,
        }
    }
}

/// A set of compression schemes. Bits of schemes that are not known are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Schemes(u32);

impl Schemes {
    /// All that this crate knows.
    pub const ALL: Self = Self(1 << Scheme::None as u32 | 1 << Scheme::Lz4 as u32 | 1 << Scheme::Bg4Lz4 as u32);
    /// Chunks as they are.
    pub const RAW: Self = Self(1 << Scheme::None as u32);

    /// Reads the bits on the wire: bit n is scheme n.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The bits on the wire.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether the scheme is in the set.
    pub const fn contains(self, scheme: Scheme) -> bool {
        self.0 >> scheme.id() & 1 == 1
    }
}

/// One chunk, not checked against anything.
///
/// # Wire shape
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 4 | id |
/// | 4 | 4 | index |
/// | 8 | rest | chunk record: [`RecordHeader`] and payload, at most 262,152 bytes |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The request.
    pub id: u32,
    /// Index of the chunk in the object.
    pub index: u32,
    /// Header and payload, as they stand in a xorb.
    pub record: Bytes,
}

impl Chunk {
    /// Reads the header, and checks that the payload has the length that it says.
    ///
    /// # Errors
    /// What a chunk record must not be.
    pub fn header(&self) -> Result<RecordHeader, xet_cas::Error> {
        let cut = |needed: usize| xet_cas::Error::Truncated {
            what: "chunk record",
            needed: needed as u64,
            available: self.record.len() as u64,
        };
        let header = self.record.first_chunk().ok_or_else(|| cut(RecordHeader::BYTES))?;
        let header = RecordHeader::decode(header)?;
        if header.record_bytes() > self.record.len() {
            return Err(cut(header.record_bytes()));
        }
        if header.record_bytes() < self.record.len() {
            let (left, right) = (header.record_bytes() as u64, self.record.len() as u64);
            return Err(xet_cas::Error::Mismatch { what: "length of a chunk record and of its message", left, right });
        }
        Ok(header)
    }

    pub(super) fn put(&self, out: &mut BytesMut) {
        out.put_u32(self.id);
        out.put_u32(self.index);
        out.put_slice(&self.record);
    }

    pub(crate) fn encoded_bytes(&self) -> usize {
        4 + 4 + self.record.len()
    }
}

/// `<id><index><record>`
pub(super) fn chunk<'a>(body: &'a [u8], payload: &Bytes, limits: &Limits) -> Parsed<'a, Chunk> {
    let (rest, (id, index)) = (be_u32, be_u32).parse(body)?;
    let (min, max) = (RecordHeader::BYTES as u64 + 1, limits.record_bytes_max as u64);
    check("length of a chunk record", rest.len() as u64, min, max)?;
    Ok((&[], Chunk { id, index, record: payload.slice_ref(rest) }))
}
