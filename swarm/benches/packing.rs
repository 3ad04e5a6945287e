//! What it costs to compress chunks for a peer, and what it saves: `cargo bench -p zest-swarm --bench packing`.
//!
//! Kinds of files that models are made of, in memory, cut into chunks; on one thread, as a worker does it: for every
//! batch of a quarter of a megabyte one choice of the scheme, then every chunk compressed. The best of a few rounds each.

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a bench prints and reads the clock")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use xet_cas::{CompressionPolicy, Compressor, Decompressor, Scheme, chunks};

const BYTES: usize = 64 << 20;
const BATCH_CHUNKS: usize = 4;
const ROUNDS: usize = 5;

fn main() {
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    println!("| content | stored / raw | grouped | compress, MB/s | chunks/s | decode, MB/s | copy, MB/s |");
    println!("|---|---|---|---|---|---|---|");
    let words = BYTES / 4;
    for (name, content) in [
        ("weights, f32", (0..words).flat_map(|_| noise.normal().to_le_bytes()).collect::<Vec<u8>>()),
        ("weights, f32 of bf16 precision", (0..words).flat_map(|_| bf16(noise.normal())).collect()),
        ("weights, bf16", (0..2 * words).flat_map(|_| noise.normal().to_le_bytes()[2..].to_vec()).collect()),
        ("weights, 8 bit", (0..4 * words).map(|_| (noise.normal() * 1_500.0) as i8 as u8).collect()),
        ("random bytes (4 bit, packed)", (0..words).flat_map(|_| (noise.next() as u32).to_le_bytes()).collect()),
        ("JSON of a tokenizer", json(&mut noise)),
        ("zeros", vec![0; BYTES]),
    ] {
        measure(name, &content);
    }
}

fn measure(name: &str, content: &[u8]) {
    let cut: Vec<&[u8]> = chunks(content).collect();
    let mut packed: Vec<(Scheme, Vec<u8>)> = Vec::new();
    let (mut compress, mut decode, mut copy) = (Duration::MAX, Duration::MAX, Duration::MAX);
    let (mut compressor, mut decompressor) = (Compressor::new(), Decompressor::new());
    let mut out = vec![0; xet_cas::CHUNK_BYTES_MAX];
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        packed.clear();
        for batch in cut.chunks(BATCH_CHUNKS) {
            let scheme = CompressionPolicy::Auto.choose(batch[0]);
            packed.extend(batch.iter().map(|chunk| {
                let (scheme, stored) = compressor.compress(scheme, chunk);
                (scheme, stored.to_vec())
            }));
        }
        compress = compress.min(begun.elapsed());
        let begun = Instant::now();
        for ((scheme, stored), chunk) in packed.iter().zip(&cut) {
            decompressor.decompress_into(*scheme, stored, &mut out[..chunk.len()]).expect("it was just compressed");
            black_box(&out);
        }
        decode = decode.min(begun.elapsed());
        let begun = Instant::now();
        cut.iter().for_each(|chunk| drop(black_box(chunk.to_vec())));
        copy = copy.min(begun.elapsed());
    }
    let stored: usize = packed.iter().map(|(_, stored)| stored.len()).sum();
    let grouped = packed.iter().filter(|(scheme, _)| *scheme == Scheme::Bg4Lz4).count();
    let speed = |time: Duration| content.len() as f64 / 1e6 / time.as_secs_f64();
    println!(
        "| {name} | {:.3} | {:.0} % | {:.0} | {:.0} | {:.0} | {:.0} |",
        stored as f64 / content.len() as f64,
        100.0 * grouped as f64 / cut.len() as f64,
        speed(compress),
        cut.len() as f64 / compress.as_secs_f64(),
        speed(decode),
        speed(copy),
    );
}

/// An f32 whose lower half is empty.
fn bf16(value: f32) -> [u8; 4] {
    (value.to_bits() & 0xffff_0000).to_le_bytes()
}

fn json(noise: &mut Noise) -> Vec<u8> {
    let mut text = String::with_capacity(BYTES + 100);
    while text.len() < BYTES {
        let word = noise.next() % 50_000;
        text.push_str(&format!("    \"token{:x}\": {},\n", word.wrapping_mul(2_654_435_761) % 65_536, word));
    }
    text.into_bytes()
}

/// xorshift64: the same content each time.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// As weights are spread: around 0, with a deviation of 0.02.
    fn normal(&mut self) -> f32 {
        let uniform = |bits: u64| (bits % (1 << 24)) as f32 / (1 << 24) as f32 - 0.5;
        // Of four, which is near enough.
        let sum: f32 = (0..4).map(|_| uniform(self.next())).sum();
        0.02 * sum / (4.0_f32 / 12.0).sqrt()
    }
}
