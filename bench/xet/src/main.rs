//! Prints the tables of docs/benchmarks.md. `ROUNDS=N` sets the rounds (15), `ONLY=text` the inputs or tables whose
//! names contain that.

mod inputs;
mod measure;
mod publish;

use std::io::Cursor;

use bytes::Bytes;
use xet_cas::xorb::{Builder, Footer, RecordHeader, Records, Serialized};
use xet_cas::{CompressionPolicy, Decompressor, Leaf, Scheme, chunks};
use xet_core_structures::xorb_object::{
    Chunk, CompressionScheme, RawXorbData, SerializedXorbObject, XorbObject, deserialize_chunks_to_writer,
};
use xet_data::deduplication::Chunker;

use crate::inputs::{Input, inputs};
use crate::measure::{Job, measure};

/// Chunks between predictions: the default of the deployed client.
const RETEST_INTERVAL: usize = 32;

const SCHEMES: [(&str, CompressionPolicy, CompressionScheme); 4] = [
    ("none", CompressionPolicy::Always(Scheme::None), CompressionScheme::None),
    ("LZ4", CompressionPolicy::Always(Scheme::Lz4), CompressionScheme::LZ4),
    ("BG4+LZ4", CompressionPolicy::Always(Scheme::Bg4Lz4), CompressionScheme::ByteGrouping4LZ4),
    ("auto", CompressionPolicy::Auto, CompressionScheme::Auto),
];

fn main() {
    let rounds = std::env::var("ROUNDS").map_or(15, |rounds| rounds.parse().expect("a number"));
    let only = std::env::var("ONLY").unwrap_or_default();
    let inputs = inputs();
    for (what, columns) in tables() {
        let is_wanted = |input: &Input| what.contains(&only) || input.name.contains(&only);
        if !inputs.iter().any(is_wanted) {
            continue;
        }
        println!("| {what}: ours, MB/s (/ xet-core) | {} |", columns.names().join(" | "));
        println!("|---{}|", "|---".repeat(columns.0.len()));
        for input in inputs.iter().filter(|input| is_wanted(input)) {
            let cells = columns.0.iter().map(|(_, job)| {
                let figures = measure(job(&input.bytes), rounds);
                format!("{:.0} (**{:.2}**)", input.bytes.len() as f64 / 1e6 / figures.our_seconds, figures.ratio)
            });
            println!("| {} | {} |", input.name, cells.collect::<Vec<_>>().join(" | "));
        }
        println!();
    }
    publish::table(&only);
}

type MakeJob = Box<dyn Fn(&[u8]) -> Job<'_>>;

struct Columns(Vec<(&'static str, MakeJob)>);

impl Columns {
    fn names(&self) -> Vec<&'static str> {
        self.0.iter().map(|(name, _)| *name).collect()
    }
}

fn tables() -> [(&'static str, Columns); 5] {
    let columns = |schemes: &[(&'static str, CompressionPolicy, CompressionScheme)], job: SchemeJob| {
        let column = |(name, policy, scheme): &(_, _, _)| -> (_, MakeJob) {
            let (policy, scheme) = (*policy, *scheme);
            (*name, Box::new(move |file| job(file, policy, scheme)))
        };
        Columns(schemes.iter().map(column).collect())
    };
    [
        ("chunk and hash", Columns(vec![("", Box::new(chunk_and_hash))])),
        ("build a xorb", columns(&SCHEMES, build_job)),
        ("build a xorb in the buffer of the last", columns(&SCHEMES, build_again_job)),
        ("read a xorb", columns(&SCHEMES[..3], read_job)),
        ("validate a xorb", columns(&SCHEMES[..3], validate_job)),
    ]
}

type SchemeJob = for<'a> fn(&'a [u8], CompressionPolicy, CompressionScheme) -> Job<'a>;

fn chunk_and_hash(file: &[u8]) -> Job<'_> {
    let rival_file = Bytes::copy_from_slice(file);
    Job::new(
        move || chunks(file).map(Leaf::of).collect::<Vec<_>>(),
        move || Chunker::default().next_block_bytes(&rival_file, true),
    )
}

/// From chunks whose hashes are known to records and the xorb's name.
fn build_job(file: &[u8], policy: CompressionPolicy, scheme: CompressionScheme) -> Job<'_> {
    let cut = cut(file);
    let ours = move || push_all(Builder::with_capacity(policy, file.len()), &cut);
    let rival = rival_build(file, scheme);
    let (built, rival_built) = (ours(), rival());
    assert_eq!(built.hash().as_bytes(), rival_built.hash.as_bytes());
    assert!(built.records.len() as f64 <= rival_built.serialized_data.len() as f64 * 1.01, "it is to be as small");
    Job::new(ours, rival)
}

/// The same, but the records go where those of the round before were, which the rival has no way to do.
fn build_again_job(file: &[u8], policy: CompressionPolicy, scheme: CompressionScheme) -> Job<'_> {
    let (cut, mut buffer) = (cut(file), Vec::new());
    let ours = move || {
        buffer = push_all(Builder::with_buffer(policy, std::mem::take(&mut buffer)), &cut).records;
    };
    Job::new(ours, rival_build(file, scheme))
}

fn cut(file: &[u8]) -> Vec<(Leaf, &[u8])> {
    chunks(file).map(|chunk| (Leaf::of(chunk), chunk)).collect()
}

fn push_all(mut builder: Builder, cut: &[(Leaf, &[u8])]) -> Serialized {
    for (leaf, chunk) in cut {
        builder.push(*leaf, chunk).expect("it is half a xorb");
    }
    builder.finish()
}

fn rival_build(file: &[u8], scheme: CompressionScheme) -> impl Fn() -> SerializedXorbObject + use<> {
    let cut: Vec<Chunk> = Chunker::default().next_block_bytes(&Bytes::copy_from_slice(file), true);
    move || {
        let xorb = RawXorbData::from_chunks(&cut, vec![0]);
        let built = SerializedXorbObject::from_xorb_with_compression(xorb, scheme, false, RETEST_INTERVAL);
        built.expect("it is half a xorb")
    }
}

/// All bytes of the chunks, one after the other, in a buffer that is there.
fn read_job(file: &[u8], policy: CompressionPolicy, _: CompressionScheme) -> Job<'_> {
    let records = build(file, policy).records;
    let rival_records = records.clone();
    let (mut out, mut rival_out) = (vec![0; file.len()], Vec::with_capacity(file.len()));
    let mut decompressor = Decompressor::new();
    let ours = move || {
        let mut end = 0;
        for record in Records::new(&records) {
            let record = record.expect("we wrote it");
            let begin = end;
            end += record.header.raw_length as usize;
            let RecordHeader { scheme, .. } = record.header;
            decompressor.decompress_into(scheme, record.payload, &mut out[begin..end]).expect("we wrote it");
        }
        assert_eq!(out.len(), end);
    };
    let rival = move || {
        rival_out.clear();
        deserialize_chunks_to_writer(&mut Cursor::new(&rival_records), &mut rival_out).expect("we wrote it");
        assert_eq!(rival_out.capacity(), rival_out.len());
    };
    Job::new(ours, rival)
}

/// What a server does with an upload that has a footer: decode, hash, compare.
fn validate_job(file: &[u8], policy: CompressionPolicy, _: CompressionScheme) -> Job<'_> {
    let built = build(file, policy);
    let name = built.hash();
    let rival_name = (*name.as_bytes()).into();
    let stored = [built.records, built.footer.encode()].concat();
    let rival_stored = stored.clone();
    Job::new(
        move || Footer::validate(name, &stored).expect("we wrote it"),
        move || {
            let validated = XorbObject::validate_xorb_object(&mut Cursor::new(&rival_stored), &rival_name);
            validated.expect("we wrote it").expect("we wrote it")
        },
    )
}

fn build(file: &[u8], policy: CompressionPolicy) -> Serialized {
    push_all(Builder::with_capacity(policy, file.len()), &cut(file))
}
