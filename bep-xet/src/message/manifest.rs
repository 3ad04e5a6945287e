//! Lists of chunk hashes and their proofs: MANIFEST_REQUEST and MANIFEST.

use bytes::{BufMut, BytesMut};
use nom::Parser;
use nom::combinator::map;
use nom::number::complete::{be_u32, be_u64, u8 as byte};
use xet_cas::{CHUNK_BYTES_MAX, ChunkHash, Leaf};

use crate::object::object;
use crate::wire::{Parsed, bounds, check, fail, hash, list};
use crate::{Error, Limits, Object};

/// Hash and length.
const LEAF_BYTES: usize = 32 + 4;
/// Hash and size.
const SIBLING_BYTES: usize = 32 + 8;
/// Number of siblings on each side.
const LEVEL_BYTES_MIN: usize = 2;

/// Asks for the list of an object's chunks. Answered with a [`Manifest`] and an END.
///
/// # Wire shape
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 4 | id |
/// | 4 | 33 | [`Object`] |
/// | 37 | 1 | form |
/// | 38 | 8 | start |
/// | 46 | 8 | end |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ManifestRequest {
    /// The request.
    pub id: u32,
    /// Which list.
    pub query: ManifestQuery,
}

impl ManifestRequest {
    pub(super) const BYTES: usize = 4 + Object::BYTES + 1 + 8 + 8;

    pub(super) fn put(&self, out: &mut BytesMut) {
        out.put_u32(self.id);
        self.query.object.put(out);
        out.put_u8(self.query.form.to_byte());
        out.put_u64(self.query.start);
        out.put_u64(self.query.end);
    }
}

/// `<id><object><form><start><end>`
pub(super) fn request(body: &[u8]) -> Parsed<'_, ManifestRequest> {
    let (rest, (id, object, form, (start, end))) = (be_u32, object, byte, bounds).parse(body)?;
    let query = ManifestQuery { object, form: ManifestForm::from_byte(form), start, end };
    Ok((rest, ManifestRequest { id, query }))
}

/// Which list is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ManifestQuery {
    /// Of what.
    pub object: Object,
    /// In which form.
    pub form: ManifestForm,
    /// First byte of the file; 0 for a whole list.
    pub start: u64,
    /// One past the last byte of the file; 0 for a whole list.
    pub end: u64,
}

impl ManifestQuery {
    /// The list of a xorb.
    pub fn whole(object: Object) -> Self {
        Self { object, form: ManifestForm::Whole, start: 0, end: 0 }
    }

    /// The chunks that hold these bytes of a file, and what proves them.
    pub fn run(object: Object, start: u64, end: u64) -> Self {
        Self { object, form: ManifestForm::Run, start, end }
    }
}

/// Form of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ManifestForm {
    /// 0: the whole list of a xorb, which is its own proof.
    Whole,
    /// 1: a run of a file's list with a [`Proof`].
    Run,
    /// A form that is not known: the raw byte, never one of those above.
    Unknown(u8),
}

impl ManifestForm {
    pub(crate) fn from_byte(byte: u8) -> Self {
        match byte {
            0 => Self::Whole,
            1 => Self::Run,
            byte => Self::Unknown(byte),
        }
    }

    fn to_byte(self) -> u8 {
        match self {
            Self::Whole => 0,
            Self::Run => 1,
            Self::Unknown(byte) => byte,
        }
    }
}

/// A list of chunks, not checked against anything.
///
/// # Wire shape
/// | size | field |
/// |---|---|
/// | 4 | id |
/// | 1 | form |
/// | 4 | total |
/// | 4 | first |
/// | 4 | n, 1 to 8,192 |
/// | n × 36 | hash 32, length 4 |
/// | | form 1: [`Proof`] |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The request.
    pub id: u32,
    /// Chunks of the whole object. A hint.
    pub total: u32,
    /// Index of the first chunk of the list in the object. No proof binds it for a file.
    pub first: u32,
    /// Hash and length, bytes, of each chunk. Lengths are 1 to 131,072.
    pub leaves: Vec<Leaf>,
    /// What ties a run to the file. Without one the list is whole.
    pub proof: Option<Proof>,
}

impl Manifest {
    /// Its form.
    pub fn form(&self) -> ManifestForm {
        if self.proof.is_some() { ManifestForm::Run } else { ManifestForm::Whole }
    }

    pub(super) fn put(&self, out: &mut BytesMut) {
        out.put_u32(self.id);
        out.put_u8(self.form().to_byte());
        out.put_u32(self.total);
        out.put_u32(self.first);
        out.put_u32(u32::try_from(self.leaves.len()).expect("the caller keeps to the limit"));
        for leaf in &self.leaves {
            out.put_slice(leaf.hash.as_bytes());
            out.put_u32(leaf.length);
        }
        if let Some(proof) = &self.proof {
            proof.put(out);
        }
    }

    pub(crate) fn encoded_bytes(&self) -> usize {
        4 + 1 + 4 + 4 + 4 + self.leaves.len() * LEAF_BYTES + self.proof.as_ref().map_or(0, Proof::encoded_bytes)
    }
}

/// `<id><form><total><first><n><n leaves>`, then the proof of form 1.
pub(super) fn manifest<'a>(body: &'a [u8], limits: &Limits) -> Parsed<'a, Manifest> {
    let (rest, (id, form, total, first, count)) = (be_u32, byte, be_u32, be_u32, be_u32).parse(body)?;
    check("entries of a list", count.into(), 1, limits.leaves_max as u64)?;
    let (rest, leaves) = list(count as usize, LEAF_BYTES, leaf)(rest)?;
    let (rest, proof) = match ManifestForm::from_byte(form) {
        ManifestForm::Whole => (rest, None),
        ManifestForm::Run => map(|input| proof(input, limits), Some).parse(rest)?,
        ManifestForm::Unknown(form) => return Err(fail(Error::UnknownForm { form })),
    };
    Ok((rest, Manifest { id, total, first, leaves, proof }))
}

/// `<hash><length u32>`
fn leaf(input: &[u8]) -> Parsed<'_, Leaf> {
    let (rest, (hash, length)) = (hash, be_u32).parse(input)?;
    check("length of a chunk in a list", length.into(), 1, CHUNK_BYTES_MAX as u64)?;
    Ok((rest, Leaf { hash: ChunkHash::from_bytes(hash), length }))
}

/// What ties a run of chunks to the file that it is from, not checked against anything.
///
/// # Wire shape
/// | size | field |
/// |---|---|
/// | 8 | offset |
/// | 1 | number of levels |
/// | levels × | nl 1, nr 1, (nl + nr) × (hash 32, size 8) |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Offset of the run in the file, bytes.
    pub offset: u64,
    /// From the leaves up.
    pub levels: Vec<ProofLevel>,
}

impl Proof {
    fn put(&self, out: &mut BytesMut) {
        let count = |count: usize| u8::try_from(count).expect("the caller keeps to the limit");
        out.put_u64(self.offset);
        out.put_u8(count(self.levels.len()));
        for level in &self.levels {
            out.put_u8(count(level.left.len()));
            out.put_u8(count(level.right.len()));
            for sibling in level.left.iter().chain(&level.right) {
                out.put_slice(&sibling.hash);
                out.put_u64(sibling.size);
            }
        }
    }

    fn encoded_bytes(&self) -> usize {
        let siblings = self.levels.iter().map(|level| level.left.len() + level.right.len()).sum::<usize>();
        8 + 1 + self.levels.len() * LEVEL_BYTES_MIN + siblings * SIBLING_BYTES
    }
}

/// `<offset u64><depth u8><depth levels>`
fn proof<'a>(input: &'a [u8], limits: &Limits) -> Parsed<'a, Proof> {
    let (rest, (offset, depth)) = (be_u64, byte).parse(input)?;
    check("levels of a proof", depth.into(), 0, limits.levels_max as u64)?;
    let (rest, levels) = list(depth.into(), LEVEL_BYTES_MIN, |input| level(input, limits))(rest)?;
    Ok((rest, Proof { offset, levels }))
}

/// `<nl u8><nr u8><nl + nr siblings>`
fn level<'a>(input: &'a [u8], limits: &Limits) -> Parsed<'a, ProofLevel> {
    let (rest, (left, right)) = (byte, byte).parse(input)?;
    for count in [left, right] {
        check("siblings in a level of a proof", count.into(), 0, limits.siblings_max as u64)?;
    }
    let (rest, left) = list(left.into(), SIBLING_BYTES, sibling)(rest)?;
    let (rest, right) = list(right.into(), SIBLING_BYTES, sibling)(rest)?;
    Ok((rest, ProofLevel { left, right }))
}

/// `<hash><size u64>`
fn sibling(input: &[u8]) -> Parsed<'_, Sibling> {
    map((hash, be_u64), |(hash, size)| Sibling { hash, size }).parse(input)
}

/// One level of a [`Proof`]: the nodes beside the run, within the groups at its ends.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProofLevel {
    /// To the left of the run, from left to right.
    pub left: Vec<Sibling>,
    /// To the right of the run, from left to right.
    pub right: Vec<Sibling>,
}

/// A node of the tree beside a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sibling {
    /// Its hash, raw bytes.
    pub hash: [u8; 32],
    /// Bytes of the file below it.
    pub size: u64,
}
