use std::collections::HashSet;
use std::io::Read;

use lz4_flex::frame::FrameDecoder;
use xet_cas::xorb::{
    Builder, CHUNKS_MAX, Footer, RAW_BYTES_MAX, Record, RecordHeader, Records, Serialized, Validator,
    complete_records_bytes,
};
use xet_cas::{
    CHUNK_BYTES_MAX, ChunkRange, CompressionPolicy, Compressor, Decompressor, Error, Leaf, Scheme, XorbHash,
};

use crate::Recipe;

/// Chunks of one input that are decoded; 300 KB of records may announce more than 4 GiB.
const RAW_BYTES_DECODED_MAX: u64 = 4 * 1024 * 1024;
/// What a recipe builds at most, so that an execution takes milliseconds.
const RAW_BYTES_BUILT_MAX: usize = 128 * 1024;
const CHUNKS_BUILT_MAX: usize = 100;

/// The bytes are a stored xorb, or a slice of one, or its footer.
pub fn xorb(data: &[u8]) {
    if let Ok(footer) = Footer::decode_from_end(data) {
        check_footer(&footer);
    }
    if let Ok(footer) = Footer::decode_stored(data) {
        check_footer(&footer);
        assert_eq!(footer.hash(), Leaf::xorb_hash(footer.leaves()));
        assert!(footer.serialized_bytes() < data.len() as u64);
    }
    let mut records = Records::new(data);
    let headers = check_records(&mut records, data);
    check_complete_records(data, headers.as_deref());
    match headers {
        None => check_malformed(data),
        Some(headers)
            if headers.iter().map(|header| u64::from(header.raw_length)).sum::<u64>() <= RAW_BYTES_DECODED_MAX =>
        {
            check_body(data, records.rest());
        }
        Some(_) => {}
    }
}

/// Walks the records and compares each with what it encodes to. `None` if one is malformed.
fn check_records(records: &mut Records<'_>, data: &[u8]) -> Option<Vec<RecordHeader>> {
    let (mut headers, mut end) = (Vec::new(), 0);
    for record in records {
        let record = record.ok()?;
        let encoded = [&record.header.encode(), record.payload].concat();
        assert_eq!(encoded.len(), record.header.record_bytes());
        assert_eq!(encoded, data[end..][..encoded.len()]);
        end += encoded.len();
        headers.push(record.header);
    }
    Some(headers)
}

/// A reader that gets the xorb in pieces finds the same records as one that has all of it.
fn check_complete_records(data: &[u8], headers: Option<&[RecordHeader]>) {
    if let Ok((end, count)) = complete_records_bytes(data) {
        let complete: Option<Vec<_>> = Records::new(&data[..end]).map(Result::ok).collect();
        assert_eq!(Some(count), complete.map(|records| records.len()));
        assert!(headers.is_none_or(|headers| headers.len() == count));
    }
}

fn check_body(data: &[u8], behind_records: &[u8]) {
    let mut scratch = Vec::new();
    let mut leaves = Vec::new();
    for record in Records::new(data).map_while(Result::ok) {
        let Ok(chunk) = record.decode(&mut scratch) else {
            check_malformed(data);
            return;
        };
        assert_eq!(record.header.raw_length as usize, chunk.len());
        check_scheme(record.header.scheme, record.payload, chunk);
        leaves.push(Leaf::of(chunk));
    }
    let validated = Footer::validate(Leaf::xorb_hash(&leaves), data);
    assert_eq!(validated, validate_in_pieces(Leaf::xorb_hash(&leaves), data));
    if behind_records.is_empty() {
        assert_eq!((1..=CHUNKS_MAX).contains(&leaves.len()), validated.is_ok(), "{validated:?}");
    }
    if let Ok(footer) = validated {
        assert_eq!(leaves, footer.leaves());
        assert_eq!((data.len() - behind_records.len()) as u64, footer.serialized_bytes());
        if !behind_records.is_empty() {
            assert_eq!(Ok(&footer), Footer::decode_stored(data).as_ref());
        }
        check_footer(&footer);
    }
}

fn check_malformed(data: &[u8]) {
    let refused = Footer::validate(XorbHash::ZERO, data);
    assert!(refused.is_err());
    assert_eq!(refused, validate_in_pieces(XorbHash::ZERO, data));
}

/// As it may arrive: short pieces and long ones, of lengths that the input decides.
fn validate_in_pieces(claimed: XorbHash, mut data: &[u8]) -> Result<Footer, Error> {
    let mut lengths = noise(data.iter().fold(0, |seed, byte| seed ^ byte));
    let mut length = || match lengths.next() {
        Some(short @ 0..128) => usize::from(short) / 8,
        Some(long) => usize::from(long) << 6,
        None => 1,
    };
    let mut validator = Validator::new();
    while !data.is_empty() {
        let (piece, rest) = data.split_at(length().min(data.len()));
        validator.push(piece)?;
        data = rest;
    }
    validator.finish(claimed)
}

/// What we decode, the frame reader of the deployed client decodes to the same, and our own encoder too.
fn check_scheme(scheme: Scheme, stored: &[u8], raw: &[u8]) {
    if scheme != Scheme::None {
        let mut decoded = Vec::new();
        FrameDecoder::new(stored).read_to_end(&mut decoded).expect("the deployed client reads the frame");
        assert_eq!(raw.len(), decoded.len());
        assert!(scheme != Scheme::Lz4 || raw == decoded);
    }
    let mut again = vec![0xaa; raw.len()];
    let mut compressor = Compressor::new();
    let (stored_as, stored) = compressor.compress(scheme, raw);
    Decompressor::new().decompress_into(stored_as, stored, &mut again).expect("we read what we wrote");
    assert_eq!(raw, again);
}

fn check_footer(footer: &Footer) {
    let encoded = footer.encode();
    let all = ChunkRange { start: 0, end: footer.leaves().len() as u32 };
    assert_eq!(Ok(footer), Footer::decode_from_end(&encoded).as_ref());
    assert_eq!(encoded.last_chunk().map(|last| Footer::tail_bytes(*last)), Some(encoded.len() as u64));
    assert_eq!(footer.byte_range(all).map(|bytes| (bytes.start, bytes.end)), Some((0, footer.serialized_bytes())));
    assert!(footer.raw_bytes() <= RAW_BYTES_MAX);
}

/// The bytes are a recipe for a xorb and for what happens to it on the way.
pub fn xorb_there_and_back(data: &[u8]) {
    let recipe = XorbRecipe::read(data);
    let built = recipe.build();
    if recipe.chunks.is_empty() {
        assert_eq!(XorbHash::ZERO, built.hash());
        return;
    }
    let stored = [&built.records[..], &built.footer.encode()].concat();
    let all = ChunkRange { start: 0, end: recipe.chunks.len() as u32 };

    assert_eq!(recipe.chunks.iter().map(|chunk| Leaf::of(chunk)).collect::<Vec<_>>(), built.footer.leaves());
    assert_eq!(Ok(&built.footer), Footer::validate(built.hash(), &built.records).as_ref());
    assert_eq!(Ok(&built.footer), Footer::validate(built.hash(), &stored).as_ref());
    assert_eq!(Ok(&built.footer), Footer::decode_from_end(&stored).as_ref());
    assert_eq!(Ok(&built.footer), Footer::decode_stored(&stored).as_ref());
    check_footer(&built.footer);
    for run in [all, recipe.run] {
        let bytes = built.footer.byte_range(run).expect("the run is not empty and in the xorb");
        let chunks = &recipe.chunks[run.start as usize..run.end as usize];
        assert_eq!(chunks, decode(&built.records[bytes.start as usize..bytes.end as usize]));
    }

    let damaged = recipe.damage.apply(stored);
    if let Ok(footer) = Footer::validate(built.hash(), &damaged) {
        assert_eq!(built.footer, footer);
    }
    if let Ok(footer) = Footer::decode_stored(&damaged) {
        assert_eq!(built.footer, footer);
    }
    if let Ok(footer) = Footer::decode_from_end(&damaged) {
        check_footer(&footer);
    }
}

fn decode(records: &[u8]) -> Vec<Vec<u8>> {
    let mut scratch = Vec::new();
    let mut decode = |record: Record<'_>| record.decode(&mut scratch).map(<[u8]>::to_vec);
    Records::new(records).map(|record| decode(record?)).collect::<Result<_, Error>>().expect("we read what we wrote")
}

/// A xorb to build, and what happens to it on the way.
#[derive(Debug)]
pub struct XorbRecipe {
    /// How to compress it.
    pub policy: CompressionPolicy,
    /// Its chunks.
    pub chunks: Vec<Vec<u8>>,
    /// Indices of chunks with which a file begins.
    file_starts: HashSet<usize>,
    /// Some chunks of it.
    run: ChunkRange,
    damage: Damage,
}

impl XorbRecipe {
    /// Policy, damage and run, then chunks until all bytes are read or the xorb is as large as may be.
    pub fn read(bytes: &[u8]) -> Self {
        let mut recipe = Recipe::new(bytes);
        let policy = match recipe.byte() % 4 {
            0 => CompressionPolicy::Auto,
            1 => CompressionPolicy::Always(Scheme::None),
            2 => CompressionPolicy::Always(Scheme::Lz4),
            _ => CompressionPolicy::Always(Scheme::Bg4Lz4),
        };
        let damage = Damage::read(&mut recipe);
        let run: [u32; 2] = std::array::from_fn(|_| recipe.up_to(u32::MAX));
        let (mut chunks, mut file_starts, mut raw_bytes) = (Vec::new(), HashSet::new(), 0);
        while !recipe.is_done() && chunks.len() < CHUNKS_BUILT_MAX && raw_bytes < RAW_BYTES_BUILT_MAX {
            if recipe.flag() {
                file_starts.insert(chunks.len());
            }
            let chunk = read_chunk(&mut recipe);
            raw_bytes += chunk.len();
            chunks.push(chunk);
        }
        let [a, b] = run.map(|at| at.checked_rem(chunks.len() as u32).unwrap_or_default());
        Self { policy, chunks, file_starts, run: ChunkRange { start: a.min(b), end: a.max(b) + 1 }, damage }
    }

    /// Builds it.
    pub fn build(&self) -> Serialized {
        let mut builder = Builder::new(self.policy);
        for (i, chunk) in self.chunks.iter().enumerate() {
            if self.file_starts.contains(&i) {
                builder.begin_file();
            }
            assert_eq!(Ok(i as u32), builder.push(Leaf::of(chunk), chunk));
        }
        builder.finish()
    }
}

/// Kind, length, and what that kind needs.
fn read_chunk(recipe: &mut Recipe<'_>) -> Vec<u8> {
    let kind = recipe.byte();
    let length = 1 + match kind >> 4 & 3 {
        0 | 1 => usize::from(recipe.byte()),
        2 => usize::from(u16::from_le_bytes(recipe.array())),
        _ => recipe.up_to(CHUNK_BYTES_MAX as u32 - 1) as usize,
    };
    let pattern_bytes = match kind & 7 {
        0..=2 => length,
        3 => 1,
        4 => 4,
        5 => 250,
        _ => 0,
    };
    let pattern = recipe.literal(pattern_bytes);
    match pattern {
        [] if kind & 7 == 6 => (1..).flat_map(|i: u32| (i as f32).to_le_bytes()).take(length).collect(),
        [] => noise(recipe.byte()).take(length).collect(),
        pattern => pattern.iter().copied().cycle().take(length).collect(),
    }
}

/// Bytes that do not compress (xorshift).
fn noise(seed: u8) -> impl Iterator<Item = u8> {
    let mut state = u64::from(seed) + 1;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    })
}

/// What may happen to bytes on the way: one byte is changed, the end is lost.
#[derive(Debug)]
pub(crate) struct Damage {
    at: u32,
    flip: u8,
    /// Bytes that are lost; none in half of all cases.
    lost: u32,
}

impl Damage {
    pub(crate) fn read(recipe: &mut Recipe<'_>) -> Self {
        let (at, flip) = (recipe.up_to(u32::MAX), recipe.byte());
        let lost = if recipe.flag() { recipe.up_to(u32::MAX) } else { 0 };
        Self { at, flip, lost }
    }

    pub(crate) fn apply(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        let at = self.at as usize % bytes.len();
        bytes[at] ^= self.flip;
        bytes.truncate(bytes.len() - self.lost as usize % bytes.len());
        bytes
    }
}
