use proptest::prelude::*;
use proptest::sample::Index;
use xet_cas::{chunks, next_stable_chunk_boundary};

use super::samples::{config, splitmix};
use super::vectors::{cases, number, numbers, section};

#[test]
fn given_the_boundaries_of_the_vectors_when_searched_then_the_answers_of_the_deployed_client() {
    for case in cases(&section("misc")["next_stable_chunk_boundary"]) {
        let found = next_stable_chunk_boundary(number(&case["start"]), &numbers(&case["boundaries"]));

        assert_eq!(case["result"].as_u64(), found, "{case}");
    }
}

#[test]
fn given_chunks_of_any_size_when_searched_then_two_of_16_kib_up_to_120_kib_are_needed() {
    for (first, second, is_stable) in [
        (16_384, 16_384, true),
        (16_383, 16_384, false),
        (16_384, 16_383, false),
        (122_879, 122_879, true),
        (122_880, 122_879, false),
        (122_879, 122_880, false),
    ] {
        let end = 8192 + first + second;

        let found = next_stable_chunk_boundary(8192, &[8192, 8192 + first, end]);

        assert_eq!(is_stable.then_some(end), found, "{first} and {second}");
    }
}

#[test]
fn given_few_or_no_chunks_when_searched_then_none() {
    assert_eq!(None, next_stable_chunk_boundary(0, &[]));
    assert_eq!(None, next_stable_chunk_boundary(0, &[20_000, 40_000]));
    assert_eq!(None, next_stable_chunk_boundary(u64::MAX, &[20_000, 40_000, 60_000]));
    assert_eq!(None, next_stable_chunk_boundary(0, &[3, 2, 1]), "boundaries that descend are nonsense and no panic");
}

proptest! {
    #![proptest_config(config(64))]

    #[test]
    fn given_any_file_when_anything_before_a_place_is_changed_then_the_same_cuts_from_the_restart_point_on(
        file in file(),
        at in any::<Index>(),
        instead in (any::<u64>(), prop_oneof![0..64_usize, 0..400_000_usize]),
    ) {
        let at = at.index(file.len());
        let Some(restart) = next_stable_chunk_boundary(at as u64, &ends(&file)) else { return Ok(()) };

        let edited = [splitmix(instead.0, instead.1).as_slice(), &file[at..]].concat();

        let from_restart = |file: &[u8], restart: u64| {
            ends(file).iter().filter_map(|end| end.checked_sub(restart)).collect::<Vec<_>>()
        };
        let moved = restart - at as u64 + instead.1 as u64;
        prop_assert_eq!(from_restart(&file, restart), from_restart(&edited, moved));
    }

    #[test]
    fn given_any_file_when_cut_in_two_pieces_at_once_then_joined_at_the_restart_point(
        file in file(),
        at in any::<Index>(),
    ) {
        let at = at.index(file.len());
        let of_piece = ends(&file[at..]);
        let Some(restart) = next_stable_chunk_boundary(0, &of_piece) else { return Ok(()) };

        let behind = of_piece.into_iter().filter(|end| *end > restart).map(|end| at as u64 + end);
        let before = ends(&file[..at + restart as usize]);

        prop_assert_eq!(ends(&file), before.into_iter().chain(behind).collect::<Vec<_>>());
    }
}

/// Noise, runs of zeros, and content that repeats, in which cuts are rare or regular.
fn file() -> impl Strategy<Value = Vec<u8>> {
    let part = (0..3_u8, any::<u64>(), 1..400_000_usize).prop_map(|(kind, seed, n)| match kind {
        0 => splitmix(seed, n),
        1 => vec![seed as u8; n],
        _ => splitmix(seed, 100_000).into_iter().cycle().take(n).collect(),
    });
    prop::collection::vec(part, 1..6).prop_map(|parts| parts.concat())
}

fn ends(file: &[u8]) -> Vec<u64> {
    let mut end = 0;
    chunks(file)
        .map(|chunk| {
            end += chunk.len() as u64;
            end
        })
        .collect()
}
