//! What is cut, packed and described.

use crate::noise::Noise;

/// A file.
pub struct File {
    pub name: String,
    pub bytes: Vec<u8>,
}

/// Around everything that the chunker, the blocks of LZ4 and the vectors of either side count.
const LENGTHS: [usize; 22] = [
    0, 1, 2, 3, 4, 5, 63, 64, 65, 8_126, 8_127, 8_191, 8_192, 8_193, 65_535, 65_536, 65_537, 131_071, 131_072, 131_073,
    262_143, 262_145,
];
/// Of each kind, besides, of lengths that are drawn.
const DRAWN: usize = 4;
const DRAWN_BYTES_MAX: usize = 3_000_000;
/// One of each kind: some dozens of chunks, so several groups of a tree and more than one run of one scheme.
const LONG_BYTES: usize = 6_000_000;

type Kind = (&'static str, fn(&mut Noise, usize) -> Vec<u8>);

const KINDS: [Kind; 8] = [
    ("random", |noise, length| noise.bytes(length)),
    ("zeros", |_, length| vec![0; length]),
    ("text", text),
    ("f32", |noise, length| f32s(noise, length, u32::MAX)),
    ("f32 of bf16 precision", |noise, length| f32s(noise, length, 0xffff_0000)),
    ("repeated", repeated),
    ("a random part repeated", |noise, length| {
        let part = noise.between(1, 200_000);
        cycle(noise.bytes(part), length)
    }),
    ("stretches of all kinds", stretches),
];

pub fn files(seed: u64) -> Vec<File> {
    let mut noise = Noise::new(seed);
    let mut files = Vec::new();
    for (kind, generate) in KINDS {
        let drawn: Vec<usize> = (0..DRAWN).map(|_| noise.between(1, DRAWN_BYTES_MAX)).collect();
        for length in LENGTHS.into_iter().chain(drawn).chain([LONG_BYTES]) {
            files.push(File { name: format!("{length} bytes, {kind}"), bytes: generate(&mut noise, length) });
        }
    }
    files
}

fn text(noise: &mut Noise, length: usize) -> Vec<u8> {
    const WORDS: [&str; 12] =
        ["the ", "of ", "model", "weights ", "layer.", "attention.", "norm", "\n", "bias ", "0.", "1", "embedding "];
    let mut text = Vec::with_capacity(length + 16);
    while text.len() < length {
        text.extend_from_slice(WORDS[noise.between(0, WORDS.len())].as_bytes());
    }
    text.truncate(length);
    text
}

/// Sums of uniform ones, of which `mask` keeps some bits.
fn f32s(noise: &mut Noise, length: usize, mask: u32) -> Vec<u8> {
    let mut value = || {
        let [a, b] = [noise.next(), noise.next()].map(|word| (word >> 40) as f32 / (1 << 24) as f32);
        ((a + b - 1.0).to_bits() & mask).to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..length.div_ceil(4)).flat_map(|_| value()).collect();
    bytes.truncate(length);
    bytes
}

fn repeated(noise: &mut Noise, length: usize) -> Vec<u8> {
    let period = noise.between(1, 300);
    cycle(noise.bytes(period), length)
}

fn cycle(part: Vec<u8>, length: usize) -> Vec<u8> {
    part.into_iter().cycle().take(length).collect()
}

fn stretches(noise: &mut Noise, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let (_, generate) = KINDS[noise.between(0, KINDS.len() - 1)];
        let stretch = noise.between(1, 300_000).min(length - bytes.len());
        bytes.extend(generate(noise, stretch));
    }
    bytes
}
