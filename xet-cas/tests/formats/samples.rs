//! Contents for chunks and files: what random numbers, floats, text and emptiness look like.

use std::iter;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

/// `n` bytes of the SplitMix64 stream.
pub(super) fn splitmix(seed: u64, n: usize) -> Vec<u8> {
    let mut state = seed;
    let words = iter::repeat_with(|| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    });
    words.flat_map(u64::to_le_bytes).take(n).collect()
}

/// `n` bytes of slowly rising floats, as weights have them: byte grouping pays.
pub(super) fn f32_ramp(n: usize) -> Vec<u8> {
    (0_u32..).flat_map(|i| (i as f32 / 1024.0 + 1.0).to_le_bytes()).take(n).collect()
}

/// Contents of one kind or another, between 1 and `bytes_max` long.
pub(super) fn contents(bytes_max: usize) -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![3 => 1..=64_usize.min(bytes_max), 3 => 1..=4096_usize.min(bytes_max), 1 => 1..=bytes_max];
    (0..5, any::<u64>(), length).prop_map(|(kind, seed, n)| match kind {
        0 => vec![seed as u8; n],
        1 => splitmix(seed, n),
        2 => f32_ramp(n),
        3 => b"one fish, two fish; ".iter().copied().cycle().skip(seed as usize % 20).take(n).collect(),
        // Half noise, half repetition.
        _ => [splitmix(seed, n.div_ceil(2)), vec![7; n / 2]].concat(),
    })
}

/// This many cases, and failures kept beside the test so that they run again first.
pub(super) fn config(cases: u32) -> ProptestConfig {
    let failures = FileFailurePersistence::WithSource("failures");
    ProptestConfig { cases, failure_persistence: Some(Box::new(failures)), ..ProptestConfig::default() }
}
