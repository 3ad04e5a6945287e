use proptest::collection::vec;
use proptest::prelude::*;
use xet_cas::dedup::{Found, FragmentationGuard, INDEX_KEYS_MAX, Index, QueryRule};
use xet_cas::shard::{Shard, ShardXorb};
use xet_cas::{ChunkHash, ChunkRange, Leaf, XorbHash, xorb};

use super::samples::config;
use super::vectors::{cases, leaf, number, section};

const KEY: [u8; 32] = [9; 32];

#[test]
fn given_a_run_that_a_xorb_holds_when_looked_up_then_found_as_far_as_it_goes() {
    let mut index = Index::new();
    index.insert_xorb(&xorb_of(1, 0..10));

    assert_eq!(found(1, 3, 7), index.find(&hashes(3..7)));
    assert_eq!(found(1, 7, 10), index.find(&hashes(7..20)), "to the end of the xorb");
    assert_eq!(found(1, 3, 4), index.find(&[hashes(3..4), hashes(5..9)].concat()), "to the first that differs");
    assert_eq!(None, index.find(&hashes(10..20)));
    assert_eq!(None, index.find(&[]));
}

#[test]
fn given_chunks_in_several_xorbs_when_looked_up_then_the_longest_run_of_one_of_them() {
    let mut index = Index::new();
    index.insert_xorb(&xorb_of(1, 0..6));
    index.insert_xorb(&xorb_of(2, 2..10));
    index.insert_xorb(&xorb_of(3, 2..4));

    assert_eq!(found(2, 0, 8), index.find(&hashes(2..12)));
    assert_eq!(found(1, 0, 6), index.find(&hashes(0..12)), "a run does not go on in another xorb");
}

#[test]
fn given_equal_runs_when_looked_up_then_the_newest() {
    let mut index = Index::new();
    for xorb in 1..=20 {
        index.insert_xorb(&xorb_of(xorb, 0..3));
    }

    assert_eq!(found(20, 0, 3), index.find(&hashes(0..3)));
}

#[test]
fn given_a_xorb_of_one_chunk_over_and_over_when_looked_up_then_as_far_as_asked() {
    let zeros = ShardXorb { hash: name(1), leaves: vec![leaf(0); 5000] };
    let mut index = Index::new();
    index.insert_xorb(&zeros);

    let run = index.find(&[leaf(0).hash; 5]).unwrap();

    assert_eq!(5, run.chunks.count());
}

#[test]
fn given_a_keyed_shard_when_looked_up_with_plain_hashes_then_found() {
    let mut index = Index::new();
    index.insert_shard(&keyed(&[xorb_of(1, 0..10)], &KEY), Some(KEY));

    assert_eq!(found(1, 3, 7), index.find(&hashes(3..7)));
    assert_eq!(None, index.find(&[leaf(3).hash.keyed(&KEY)]), "the hashes that it lists are not those of chunks");
}

#[test]
fn given_a_key_of_zeros_when_inserted_then_the_hashes_are_plain() {
    let mut index = Index::new();
    index.insert_shard(&Shard { files: vec![], xorbs: vec![xorb_of(1, 0..10)] }, Some([0; 32]));

    assert_eq!(found(1, 3, 7), index.find(&hashes(3..7)));
}

#[test]
fn given_the_same_chunks_plain_and_under_a_key_when_looked_up_then_plain_ones_go_first() {
    let mut index = Index::new();
    index.insert_xorb(&xorb_of(1, 0..3));
    index.insert_shard(&keyed(&[xorb_of(2, 0..10)], &KEY), Some(KEY));

    assert_eq!(found(1, 0, 3), index.find(&hashes(0..10)));
    assert_eq!(found(2, 3, 10), index.find(&hashes(3..10)));
}

#[test]
fn given_more_keys_than_may_be_when_inserted_then_the_oldest_are_forgotten_and_plain_hashes_are_not() {
    let mut index = Index::new();
    index.insert_xorb(&xorb_of(1, 0..3));
    for key in 1..=INDEX_KEYS_MAX as u8 + 1 {
        let chunks = 1000 * u64::from(key);
        index.insert_shard(&keyed(&[xorb_of(key, chunks..chunks + 10)], &[key; 32]), Some([key; 32]));
    }

    assert_eq!(None, index.find(&hashes(1000..1010)));
    assert_eq!(found(2, 0, 10), index.find(&hashes(2000..2010)));
    assert_eq!(found(1, 0, 3), index.find(&hashes(0..3)));
}

#[test]
fn given_more_chunks_than_may_be_when_inserted_then_the_oldest_are_forgotten() {
    const MAX: usize = 2 * xorb::CHUNKS_MAX;
    let mut index = Index::with_chunks_max(MAX);
    for xorb in 0..30_u8 {
        let chunks = 1000 * u64::from(xorb);
        index.insert_xorb(&xorb_of(xorb, chunks..chunks + 1000));

        assert!(index.chunks() <= MAX);
        let newest = found(xorb, 0, 10);
        assert_eq!(newest, index.find(&hashes(chunks..chunks + 10)));
        let half_way_back = xorb.saturating_sub(7);
        let chunks = 1000 * u64::from(half_way_back);
        assert_eq!(found(half_way_back, 0, 10), index.find(&hashes(chunks..chunks + 10)), "{xorb}");
    }
    assert_eq!(None, index.find(&hashes(0..10)));
}

#[test]
fn given_a_xorb_again_when_inserted_then_it_takes_no_room() {
    let mut index = Index::new();
    for _ in 0..3 {
        index.insert_xorb(&xorb_of(1, 0..10));
    }

    assert_eq!(10, index.chunks());
}

#[test]
fn given_a_xorb_without_chunks_or_with_too_many_when_inserted_then_nothing() {
    let mut index = Index::new();
    index.insert_xorb(&xorb_of(1, 0..0));
    index.insert_xorb(&ShardXorb { hash: name(1), leaves: vec![leaf(0); xorb::CHUNKS_MAX + 1] });

    assert_eq!(0, index.chunks());
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn given_any_xorbs_when_looked_up_then_a_run_that_is_there_and_as_long_as_any(
        plain in vec(vec(0..40_u64, 1..30), 0..8),
        under_key in vec(vec(0..40_u64, 1..30), 0..8),
        wanted in vec(0..40_u64, 1..20),
    ) {
        let to_xorb = |(at, chunks): (usize, &Vec<u64>)| ShardXorb {
            hash: name(at as u8),
            leaves: chunks.iter().copied().map(leaf).collect(),
        };
        let plain: Vec<ShardXorb> = plain.iter().enumerate().map(to_xorb).collect();
        let under_key: Vec<ShardXorb> = under_key.iter().enumerate().map(to_xorb).collect();
        let mut index = Index::new();
        plain.iter().for_each(|xorb| index.insert_xorb(xorb));
        index.insert_shard(&keyed(&under_key, &KEY), Some(KEY));
        let wanted: Vec<ChunkHash> = wanted.into_iter().map(|i| leaf(i).hash).collect();

        let found = index.find(&wanted);

        let runs = |xorbs: &[ShardXorb]| {
            xorbs.iter().flat_map(|xorb| {
                (0..xorb.leaves.len()).map(|at| {
                    xorb.leaves[at..].iter().zip(&wanted).take_while(|(leaf, chunk)| leaf.hash == **chunk).count()
                })
            }).collect::<Vec<usize>>()
        };
        let has_plain = runs(&plain).iter().any(|count| *count > 0);
        let among = if has_plain { &plain } else { &under_key };
        let is_there = |found: &Found| among.iter().any(|xorb| {
            let chunks = &xorb.leaves[..].get(found.chunks.start as usize..found.chunks.end as usize);
            xorb.hash == found.xorb
                && chunks.is_some_and(|chunks| chunks.iter().zip(&wanted).all(|(leaf, chunk)| leaf.hash == *chunk))
        });
        prop_assert!(found.is_none_or(|found| is_there(&found)));
        let counts = runs(among);
        let count = found.map_or(0, |found| found.chunks.count() as usize);
        prop_assert_eq!(counts.iter().any(|count| *count > 0), count > 0);
        // A chunk that is everywhere is not tried everywhere.
        if counts.iter().filter(|count| **count > 0).count() <= 8 {
            prop_assert_eq!(counts.into_iter().max().unwrap_or(0), count);
        }
    }

    #[test]
    fn given_any_terms_when_a_run_is_offered_then_accepted_as_by_the_plain_rule(
        steps in vec((any::<bool>(), 1..=14_u32, 0..8_u8), 0..600),
    ) {
        let (mut guard, mut plain) = (FragmentationGuard::new(), PlainRule::default());
        for (is_new, count, kind) in steps {
            let (xorb, start) = match (kind, plain.end) {
                (0, Some(end)) => end,
                _ => (Some(name(kind)), 1_000_000),
            };
            let chunks = ChunkRange { start, end: start + count };
            let accepted = guard.accepts(xorb, chunks);
            prop_assert_eq!(plain.accepts(xorb, chunks), accepted);
            let (xorb, chunks) = if accepted && !is_new {
                (xorb, chunks)
            } else {
                let start = plain.end.filter(|(xorb, _)| xorb.is_none()).map_or(0, |(_, end)| end);
                (None, ChunkRange { start, end: start + 1 })
            };
            guard.push(xorb, chunks);
            plain.push(xorb, chunks);
        }
    }
}

/// The rule as the deployed client states it: an average in floating point over a list of all terms.
#[derive(Default)]
struct PlainRule {
    terms: Vec<u32>,
    is_high: bool,
    end: Option<(Option<XorbHash>, u32)>,
}

impl PlainRule {
    fn accepts(&mut self, xorb: Option<XorbHash>, chunks: ChunkRange) -> bool {
        if self.end == Some((xorb, chunks.start)) || self.terms.len() < 128 {
            return true;
        }
        let average = self.terms.iter().rev().take(128).sum::<u32>() as f32 / 128.0;
        if average < if self.is_high { 8.0 } else { 4.0 } {
            if (chunks.count() as f32) < average {
                self.is_high = true;
                return false;
            }
        } else {
            self.is_high = false;
        }
        true
    }

    fn push(&mut self, xorb: Option<XorbHash>, chunks: ChunkRange) {
        match self.terms.last_mut() {
            Some(last) if self.end == Some((xorb, chunks.start)) => *last += chunks.count(),
            _ => self.terms.push(chunks.count()),
        }
        self.end = Some((xorb, chunks.end));
    }
}

/// A guard that has seen 128 terms of so many chunks each.
fn guard_after_terms_of(chunks: u32) -> FragmentationGuard {
    let mut guard = FragmentationGuard::new();
    (0..128).for_each(|i| guard.push(Some(name(i)), ChunkRange { start: 0, end: chunks }));
    guard
}

/// Whether a run of so many chunks somewhere else is accepted.
fn accepts(guard: &mut FragmentationGuard, chunks: u32) -> bool {
    guard.accepts(Some(name(200)), ChunkRange { start: 77, end: 77 + chunks })
}

#[test]
fn given_fewer_than_128_terms_when_a_run_is_offered_then_accepted() {
    let mut guard = FragmentationGuard::new();
    for i in 0..127 {
        guard.push(Some(name(i)), ChunkRange { start: 0, end: 3 });
        assert!(accepts(&mut guard, 1));
    }
    guard.push(None, ChunkRange { start: 0, end: 3 });

    assert!(!accepts(&mut guard, 1));
}

#[test]
fn given_short_terms_when_a_run_is_offered_then_accepted_if_it_is_no_shorter_than_they_are() {
    let mut guard = guard_after_terms_of(3);

    assert!(!accepts(&mut guard, 2));
    assert!(accepts(&mut guard, 3));
    assert!(guard.accepts(Some(name(127)), ChunkRange { start: 3, end: 4 }), "it continues the last term");
}

#[test]
fn given_terms_of_middling_length_when_a_run_is_offered_then_what_was_refused_before_decides() {
    let mut guard = guard_after_terms_of(4);
    assert!(accepts(&mut guard, 1), "the low mark holds");

    // One chunk less on average below 4, and back above it.
    guard.push(Some(name(128)), ChunkRange { start: 0, end: 3 });
    assert!(!accepts(&mut guard, 3), "a refusal");
    guard.push(Some(name(129)), ChunkRange { start: 0, end: 400 });
    assert!(!accepts(&mut guard, 1), "7 on average is not enough any more");
    guard.push(Some(name(130)), ChunkRange { start: 0, end: 200 });
    assert!(accepts(&mut guard, 1), "8 is");
    guard.push(Some(name(131)), ChunkRange { start: 0, end: 1 });
    (0..126).for_each(|i| guard.push(Some(name(i)), ChunkRange { start: 0, end: 4 }));
    assert!(accepts(&mut guard, 1), "the low mark holds again");
}

#[test]
fn given_a_xorb_that_gets_its_name_when_a_run_continues_it_then_accepted() {
    let mut guard = guard_after_terms_of(2);
    guard.push(None, ChunkRange { start: 5, end: 6 });
    let next = ChunkRange { start: 6, end: 7 };

    assert!(guard.accepts(None, next));
    guard.name_pending(name(9));
    assert!(guard.accepts(Some(name(9)), next));
    assert!(!guard.accepts(None, next), "what is built from here on is another one");
}

#[test]
fn given_chunks_of_a_file_when_not_found_then_the_first_and_eligible_ones_are_asked_about_256_apart() {
    let eligible = leaf(number(&cases(&section("global_dedup_eligible")["eligible_leaves"])[0][0])).hash;
    let other = leaf(0).hash;

    let mut rule = QueryRule::new();
    let asked: Vec<u64> = (0..600).filter(|index| rule.asks(*index, &eligible)).collect();
    assert_eq!(vec![0, 256, 512], asked);

    let mut rule = QueryRule::new();
    let asked: Vec<u64> = (0..600).filter(|index| rule.asks(*index, &other)).collect();
    assert_eq!(vec![0], asked);

    // The first chunk was found, so nothing was asked yet.
    let mut rule = QueryRule::new();
    assert!(rule.asks(5, &eligible));
    assert!(!rule.asks(260, &eligible));
    assert!(rule.asks(261, &eligible));
}

fn name(i: u8) -> XorbHash {
    XorbHash::from_bytes([i; 32])
}

fn xorb_of(i: u8, chunks: std::ops::Range<u64>) -> ShardXorb {
    ShardXorb { hash: name(i), leaves: chunks.map(leaf).collect() }
}

fn hashes(chunks: std::ops::Range<u64>) -> Vec<ChunkHash> {
    chunks.map(|i| leaf(i).hash).collect()
}

fn found(xorb: u8, start: u32, end: u32) -> Option<Found> {
    Some(Found { xorb: name(xorb), chunks: ChunkRange { start, end } })
}

fn keyed(xorbs: &[ShardXorb], key: &[u8; 32]) -> Shard {
    let leaf = |leaf: &Leaf| Leaf { hash: leaf.hash.keyed(key), length: leaf.length };
    let xorb = |xorb: &ShardXorb| ShardXorb { hash: xorb.hash, leaves: xorb.leaves.iter().map(leaf).collect() };
    Shard { files: vec![], xorbs: xorbs.iter().map(xorb).collect() }
}
