//! What is chunked and packed, generated: nothing depends on chance.

/// A file.
pub struct Input {
    pub name: &'static str,
    pub bytes: Vec<u8>,
}

/// Of each file: half a xorb, so that a round is long enough to be measured and short enough to be repeated.
const FILE_BYTES: usize = 32 * 1024 * 1024;

pub fn inputs() -> [Input; 5] {
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let weights: Vec<f32> = (0..FILE_BYTES / 4).map(|_| noise.normal() * 0.02).collect();
    [
        Input { name: "random", bytes: (0..FILE_BYTES / 8).flat_map(|_| noise.next().to_le_bytes()).collect() },
        Input { name: "text", bytes: text(&mut noise) },
        Input { name: "f32 weights", bytes: weights.iter().flat_map(|weight| weight.to_le_bytes()).collect() },
        Input {
            name: "f32 weights of bf16 precision",
            bytes: weights.iter().flat_map(|weight| (weight.to_bits() & 0xffff_0000).to_le_bytes()).collect(),
        },
        Input { name: "zeros", bytes: vec![0; FILE_BYTES] },
    ]
}

/// xorshift64.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        ((self.next() >> 32) * end) >> 32
    }

    /// A sum of twelve is near enough to a normal distribution.
    fn normal(&mut self) -> f32 {
        (0..12).map(|_| (self.next() >> 40) as f32 / (1_u32 << 24) as f32).sum::<f32>() - 6.0
    }
}

/// A vocabulary as tokenizers keep theirs in JSON: words of syllables, numbered.
fn text(noise: &mut Noise) -> Vec<u8> {
    const SYLLABLES: [&str; 24] = [
        "an", "be", "con", "de", "er", "fi", "gra", "hi", "in", "ka", "li", "mo", "ne", "or", "pre", "qui", "re", "st",
        "ti", "un", "ver", "wa", "xe", "y",
    ];
    let mut out = Vec::with_capacity(FILE_BYTES + 64);
    for number in 0_u32.. {
        if out.len() >= FILE_BYTES {
            break;
        }
        out.extend_from_slice(b"    \"");
        for _ in 0..1 + noise.below(4) {
            out.extend_from_slice(SYLLABLES[noise.below(24) as usize].as_bytes());
        }
        out.extend_from_slice(format!("\": {number},\n").as_bytes());
    }
    out.truncate(FILE_BYTES);
    out
}
