//! Prints the tables of docs/benchmarks.md. `ROUNDS=N` sets the rounds (15), `ONLY=text` the inputs or jobs whose
//! names contain that.

mod inputs;
mod measure;
mod publish;

use std::io::Cursor;

use bytes::Bytes;
use xet_cas::xorb::{Builder, Footer, RecordHeader, Records};
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
    println!("| input | job | stored / raw | ours, MB/s | xet-core, MB/s | ours / xet-core |");
    println!("|---|---|---|---|---|---|");
    for input in inputs() {
        for (name, stored, job) in jobs(&input) {
            if !input.name.contains(&only) && !name.contains(&only) {
                continue;
            }
            let figures = measure(job(), rounds);
            let speed = |seconds: f64| input.bytes.len() as f64 / 1e6 / seconds;
            let stored =
                stored.map_or(String::new(), |stored| format!("{:.3}", stored as f64 / input.bytes.len() as f64));
            println!(
                "| {} | {name} | {stored} | {:.0} | {:.0} | **{:.2}** |",
                input.name,
                speed(figures.our_seconds),
                speed(figures.rival_seconds),
                figures.ratio
            );
        }
    }
    println!();
    publish::table(&only);
}

type NamedJob<'a> = (String, Option<usize>, Box<dyn Fn() -> Job<'a> + 'a>);

fn jobs(input: &Input) -> Vec<NamedJob<'_>> {
    let mut jobs: Vec<NamedJob<'_>> =
        vec![("chunk and hash".to_owned(), None, Box::new(|| chunk_and_hash(&input.bytes)))];
    for (name, policy, scheme) in SCHEMES {
        let stored = build(&input.bytes, policy).records.len();
        jobs.push((format!("build, {name}"), Some(stored), Box::new(move || build_job(&input.bytes, policy, scheme))));
    }
    for (name, policy, _) in &SCHEMES[..3] {
        jobs.push((format!("read, {name}"), None, Box::new(|| read_job(&input.bytes, *policy))));
        jobs.push((format!("validate, {name}"), None, Box::new(|| validate_job(&input.bytes, *policy))));
    }
    jobs
}

fn chunk_and_hash(file: &[u8]) -> Job<'_> {
    let rival_file = Bytes::copy_from_slice(file);
    Job::new(
        move || chunks(file).map(Leaf::of).collect::<Vec<_>>(),
        move || Chunker::default().next_block_bytes(&rival_file, true),
    )
}

/// From chunks whose hashes are known to records and the xorb's name.
fn build_job(file: &[u8], policy: CompressionPolicy, scheme: CompressionScheme) -> Job<'_> {
    let cut: Vec<(Leaf, &[u8])> = chunks(file).map(|chunk| (Leaf::of(chunk), chunk)).collect();
    let rival_cut: Vec<Chunk> = Chunker::default().next_block_bytes(&Bytes::copy_from_slice(file), true);
    let ours = move || {
        let mut builder = Builder::with_capacity(policy, file.len());
        for (leaf, chunk) in &cut {
            builder.push(*leaf, chunk).expect("it is half a xorb");
        }
        builder.finish()
    };
    let rival = move || {
        let xorb = RawXorbData::from_chunks(&rival_cut, vec![0]);
        SerializedXorbObject::from_xorb_with_compression(xorb, scheme, false, RETEST_INTERVAL)
            .expect("it is half a xorb")
    };
    let (built, rival_built) = (ours(), rival());
    assert_eq!(built.hash().as_bytes(), rival_built.hash.as_bytes());
    assert!(built.records.len() as f64 <= rival_built.serialized_data.len() as f64 * 1.01, "it is to be as small");
    Job::new(ours, rival)
}

/// All bytes of the chunks, one after the other, in a buffer that is there.
fn read_job(file: &[u8], policy: CompressionPolicy) -> Job<'_> {
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
fn validate_job(file: &[u8], policy: CompressionPolicy) -> Job<'_> {
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

fn build(file: &[u8], policy: CompressionPolicy) -> xet_cas::xorb::Serialized {
    let mut builder = Builder::with_capacity(policy, file.len());
    for chunk in chunks(file) {
        builder.push(Leaf::of(chunk), chunk).expect("it is half a xorb");
    }
    builder.finish()
}
