//! Byte grouping by 4: the bytes at positions 0, 4, 8, … first, then those at 1, 5, 9, …, and so on.
//! Exponents of neighbouring f32 values end up side by side, where LZ4 finds them.

/// Grouping must promise at least this divergence between byte positions to be chosen.
const DIVERGENCE_MIN: f64 = 0.02;

/// Lengths of the four groups of `n` bytes: n/4, and one more for the first n%4.
fn group_lengths(n: usize) -> [usize; 4] {
    std::array::from_fn(|group| n / 4 + usize::from(group < n % 4))
}

/// Bytes that [`group_into`] takes at once, a quarter to each group: the compiler makes vector instructions of them.
const STRIDE_BYTES: usize = 64;
const STRIDE_GROUP_BYTES: usize = STRIDE_BYTES / 4;

/// Replaces `grouped` by the bytes of `raw` in groups.
pub(super) fn group_into(raw: &[u8], grouped: &mut Vec<u8>) {
    grouped.resize(raw.len(), 0);
    let [a, b, c, _] = group_lengths(raw.len());
    let (first, rest) = grouped.split_at_mut(a);
    let (second, rest) = rest.split_at_mut(b);
    let (third, fourth) = rest.split_at_mut(c);
    let mut groups = [first, second, third, fourth];
    let (strides, rest) = raw.as_chunks::<STRIDE_BYTES>();
    for (stride, at) in strides.iter().zip((0..).step_by(STRIDE_GROUP_BYTES)) {
        let quads = stride.as_chunks::<4>().0;
        let words: [u32; STRIDE_GROUP_BYTES] = std::array::from_fn(|i| u32::from_le_bytes(quads[i]));
        for (group, position) in groups.iter_mut().zip(0..) {
            let bytes = words.map(|word| (word >> (8 * position)) as u8);
            group[at..at + STRIDE_GROUP_BYTES].copy_from_slice(&bytes);
        }
    }
    let done = strides.len() * STRIDE_GROUP_BYTES;
    for (i, byte) in rest.iter().enumerate() {
        groups[i % 4][done + i / 4] = *byte;
    }
}

/// Inverts [`group_into`]. Both slices have the same length.
pub(super) fn ungroup_into(grouped: &[u8], out: &mut [u8]) {
    let [a, b, c, _] = group_lengths(grouped.len());
    let (first, rest) = grouped.split_at(a);
    let (second, rest) = rest.split_at(b);
    let (third, fourth) = rest.split_at(c);
    let whole = fourth.len();
    let (quads, remainder) = out.split_at_mut(4 * whole);
    for ((((quad, a), b), c), d) in quads.chunks_exact_mut(4).zip(first).zip(second).zip(third).zip(fourth) {
        quad.copy_from_slice(&[*a, *b, *c, *d]);
    }
    for (byte, group) in remainder.iter_mut().zip([first, second, third]) {
        *byte = group[whole];
    }
}

/// Whether the four byte positions differ enough in their popcounts for grouping to pay.
pub(super) fn pays(chunk: &[u8]) -> bool {
    divergence(chunk) > DIVERGENCE_MIN
}

/// Largest Kullback-Leibler divergence of one byte position's popcount histogram from that of all.
///
/// A position in which some popcount never occurs yields 0·ln 0, which is NaN in floating point, and
/// the deployed client's maximum passes over NaN. So does this, to make the same choices.
fn divergence(chunk: &[u8]) -> f64 {
    let histograms = popcounts(chunk);
    let all: [u32; 9] = std::array::from_fn(|popcount| histograms.iter().map(|h| h[popcount]).sum());
    let total = chunk.len() as f64;
    histograms
        .iter()
        .map(|histogram| {
            let positions = f64::from(histogram.iter().sum::<u32>());
            let term = |j: usize| {
                let p = f64::from(histogram[j]) / positions;
                let q = (1.0 + f64::from(all[j])) / total;
                p * (p / q).ln()
            };
            (0..9).map(term).sum::<f64>()
        })
        .fold(0.0, f64::max)
}

/// How often each popcount occurs at each of the four byte positions.
fn popcounts(chunk: &[u8]) -> [[u32; 9]; 4] {
    /// Strides after which a count could exceed a byte.
    const STRIDES_COUNTED_MAX: usize = u8::MAX as usize;
    let mut histograms = [[0; 9]; 4];
    let (strides, rest) = chunk.as_chunks::<STRIDE_BYTES>();
    for strides in strides.chunks(STRIDES_COUNTED_MAX) {
        // One count for each popcount at each place of a stride: additions side by side in place of a histogram's
        // one after the other.
        let mut counts = [[0_u8; STRIDE_BYTES]; 9];
        for stride in strides {
            let popcounts = stride.map(|byte| byte.count_ones() as u8);
            for (counts, popcount) in counts.iter_mut().zip(0..) {
                for (count, actual) in counts.iter_mut().zip(popcounts) {
                    *count += u8::from(actual == popcount);
                }
            }
        }
        for (popcount, counts) in counts.iter().enumerate() {
            for (place, count) in counts.iter().enumerate() {
                histograms[place % 4][popcount] += u32::from(*count);
            }
        }
    }
    for (place, byte) in rest.iter().enumerate() {
        histograms[place % 4][byte.count_ones() as usize] += 1;
    }
    histograms
}

#[cfg(test)]
mod tests {
    use super::{divergence, group_into, popcounts, ungroup_into};
    use crate::CHUNK_BYTES_MAX;

    #[test]
    fn given_any_length_when_grouped_and_ungrouped_then_same() {
        for n in (0..300).chain([CHUNK_BYTES_MAX - 1, CHUNK_BYTES_MAX]) {
            let raw: Vec<u8> = (0..n).map(|i| (i % 251) as u8).collect();

            let grouped = group(&raw);
            let mut out = vec![0xaa; raw.len()];
            ungroup_into(&grouped, &mut out);

            let positions = (0..4).flat_map(|position| raw.iter().skip(position).step_by(4));
            assert!(positions.eq(&grouped), "{n} bytes");
            assert_eq!(raw, out);
        }
    }

    #[test]
    fn given_any_length_when_popcounts_are_counted_then_as_one_by_one() {
        for n in (0..300).chain([255 * 64 - 1, 255 * 64, 255 * 64 + 65, CHUNK_BYTES_MAX]) {
            for chunk in [vec![0xff; n], (0..n).map(|i| (i * i % 257) as u8).collect()] {
                let mut expected = [[0; 9]; 4];
                for (i, byte) in chunk.iter().enumerate() {
                    expected[i % 4][byte.count_ones() as usize] += 1;
                }

                assert_eq!(expected, popcounts(&chunk), "{n} bytes");
            }
        }
    }

    #[test]
    fn given_the_vectors_when_grouped_then_as_the_deployed_client_does() {
        let vectors: serde_json::Value = serde_json::from_str(include_str!("../../tests/vectors/xet.json")).unwrap();
        for case in vectors["bg4"].as_array().unwrap() {
            assert_eq!(unhex(&case["out"]), group(&unhex(&case["in"])));
        }
    }

    #[test]
    fn given_a_regular_chunk_when_predicted_then_missing_popcounts_are_passed_over() {
        assert_eq!(0.0, divergence(&[0, 1, 2, 3].repeat(1000)));
    }

    /// In a buffer that held something else.
    fn group(raw: &[u8]) -> Vec<u8> {
        let mut grouped = vec![0xaa; 50];
        group_into(raw, &mut grouped);
        grouped
    }

    fn unhex(value: &serde_json::Value) -> Vec<u8> {
        let digits = value.as_str().unwrap().as_bytes();
        digits.chunks(2).map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap()).collect()
    }
}
