//! Byte grouping by 4: the bytes at positions 0, 4, 8, … first, then those at 1, 5, 9, …, and so on.
//! Exponents of neighbouring f32 values end up side by side, where LZ4 finds them.

/// Grouping must promise at least this divergence between byte positions to be chosen.
const DIVERGENCE_MIN: f64 = 0.02;

/// Lengths of the four groups of `n` bytes: n/4, and one more for the first n%4.
fn group_lengths(n: usize) -> [usize; 4] {
    std::array::from_fn(|group| n / 4 + usize::from(group < n % 4))
}

/// Replaces `grouped` by the bytes of `raw` in groups.
pub(super) fn group_into(raw: &[u8], grouped: &mut Vec<u8>) {
    grouped.resize(raw.len(), 0);
    let [a, b, c, _] = group_lengths(raw.len());
    let (first, rest) = grouped.split_at_mut(a);
    let (second, rest) = rest.split_at_mut(b);
    let (third, fourth) = rest.split_at_mut(c);
    let quads = raw.chunks_exact(4);
    let remainder = quads.remainder();
    for ((((quad, a), b), c), d) in quads.zip(&mut *first).zip(&mut *second).zip(&mut *third).zip(&mut *fourth) {
        [*a, *b, *c, *d] = [quad[0], quad[1], quad[2], quad[3]];
    }
    let whole = fourth.len();
    for (byte, group) in remainder.iter().zip([first, second, third]) {
        group[whole] = *byte;
    }
}

/// Inverts [`group_into`]. Both slices have the same length.
pub(super) fn ungroup_into(grouped: &[u8], out: &mut [u8]) {
    let [a, b, c, _] = group_lengths(grouped.len());
    let (first, rest) = grouped.split_at(a);
    let (second, rest) = rest.split_at(b);
    let (third, fourth) = rest.split_at(c);
    let mut quads = out.chunks_exact_mut(4);
    for ((((quad, a), b), c), d) in (&mut quads).zip(first).zip(second).zip(third).zip(fourth) {
        quad.copy_from_slice(&[*a, *b, *c, *d]);
    }
    let whole = fourth.len();
    for (byte, group) in quads.into_remainder().iter_mut().zip([first, second, third]) {
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
    let mut histograms = [[0_u32; 9]; 4];
    for (i, byte) in chunk.iter().enumerate() {
        histograms[i % 4][byte.count_ones() as usize] += 1;
    }
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

#[cfg(test)]
mod tests {
    use super::{divergence, group_into, ungroup_into};

    #[test]
    fn given_any_length_when_grouped_and_ungrouped_then_same() {
        for n in 0..100_u8 {
            let raw: Vec<u8> = (0..n).collect();

            let mut out = vec![0; raw.len()];
            ungroup_into(&group(&raw), &mut out);

            assert_eq!(raw, out);
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
