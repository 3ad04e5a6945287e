//! What it costs to know a million chunks and to look some up, beside hashing the data that they stand for (64 GB; one
//! chunk of it is hashed here).

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a bench reads the clock and prints")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use xet_cas::dedup::Index;
use xet_cas::shard::{Shard, ShardXorb};
use xet_cas::{CHUNK_BYTES_TARGET, ChunkHash, Leaf, XorbHash};

const CHUNKS: u32 = 1_000_000;
const CHUNKS_OF_A_XORB: usize = 1_000;
const LOOKUPS: u32 = 100_000;

fn main() {
    let leaves: Vec<Leaf> =
        (0..CHUNKS).map(|i| Leaf { hash: ChunkHash::of(&i.to_le_bytes()), length: 65_536 }).collect();
    let unknown: Vec<ChunkHash> = (CHUNKS..CHUNKS + LOOKUPS).map(|i| ChunkHash::of(&i.to_le_bytes())).collect();
    let xorbs: Vec<ShardXorb> = leaves
        .chunks(CHUNKS_OF_A_XORB)
        .map(|leaves| ShardXorb { hash: XorbHash::from_bytes(*leaves[0].hash.as_bytes()), leaves: leaves.to_vec() })
        .collect();

    let data = vec![7; CHUNK_BYTES_TARGET];
    let (hashing, _) = timed(|| (0..100).for_each(|_| _ = black_box(ChunkHash::of(black_box(&data)))));
    println!("hash a chunk of 64 KiB {:>9} ns", (hashing / 100).as_nanos());

    let mut index = Index::new();
    let (insert, ()) = timed(|| xorbs.iter().for_each(|xorb| index.insert_xorb(xorb)));
    println!(
        "insert a chunk         {:>9} ns ({:.0} ms for all)",
        per_chunk(insert, CHUNKS),
        insert.as_secs_f64() * 1e3
    );
    report("look one up that is there", &index, &leaves.iter().map(|leaf| leaf.hash).collect::<Vec<_>>());
    report("look one up that is not", &index, &unknown);

    let none = Shard::default();
    (1..=32_u8).for_each(|key| index.insert_shard(&none, Some([key; 32])));
    report("the same with 32 keys", &index, &unknown);
}

fn report(what: &str, index: &Index, chunks: &[ChunkHash]) {
    // Far apart, as chunks of other files are.
    let at = |i: u32| (i as usize).wrapping_mul(7919) % chunks.len();
    let (took, found) = timed(|| (0..LOOKUPS).filter(|i| index.find(&chunks[at(*i)..][..1]).is_some()).count());
    println!("{what:<26} {:>5} ns ({found} of {LOOKUPS} found)", per_chunk(took, LOOKUPS));
}

fn per_chunk(took: Duration, chunks: u32) -> u128 {
    (took / chunks).as_nanos()
}

fn timed<T>(run: impl FnOnce() -> T) -> (Duration, T) {
    let begun = Instant::now();
    let made = run();
    (begun.elapsed(), made)
}
