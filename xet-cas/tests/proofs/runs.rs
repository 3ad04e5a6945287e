use proptest::collection::vec;
use proptest::prelude::*;
use xet_cas::proof::{Outline, RUN_LEAVES_MAX, Standing, Tree};
use xet_cas::{ByteRange, CHUNK_BYTES_MAX, ChunkHash, ChunkRange, Error, Leaf};

use super::plain::{Plain, Sample, bytes, file_bytes, run, samples, terms};
use super::samples::config;

/// How many chunks the runs have that begin at each start, besides the one that reaches the end.
const COUNTS: [usize; 5] = [1, 2, 3, 8, 100];

#[test]
fn given_any_run_of_the_vectors_when_proved_then_it_verifies_at_its_offset() {
    for Sample { leaves, file } in samples() {
        let tree = Tree::new(leaves.clone()).unwrap();
        assert_eq!((file, Leaf::xorb_hash(&leaves)), (tree.file_hash(), tree.xorb_hash()));
        for start in 0..leaves.len() {
            let rest = leaves.len() - start;
            let to_the_end = (start.is_multiple_of(leaves.len().div_ceil(300))).then_some(rest);
            for count in COUNTS.into_iter().filter(|count| *count < rest).chain(to_the_end) {
                check(&tree, run(start, count));
            }
        }
    }
}

#[test]
fn given_any_run_of_the_vectors_when_proved_then_its_siblings_are_those_of_the_plain_rule() {
    for Sample { leaves, .. } in samples().into_iter().filter(|sample| sample.leaves.len() <= 300) {
        let (tree, plain) = (Tree::new(leaves.clone()).unwrap(), Plain::new(&leaves));
        for start in 0..leaves.len() {
            let rest = leaves.len() - start;
            for count in COUNTS.into_iter().filter(|count| *count < rest).chain([rest]) {
                let run = run(start, count);

                assert_eq!(plain.proof(run).unwrap(), tree.run_proof(run).unwrap());
            }
        }
    }
}

#[test]
fn given_any_byte_of_the_vectors_when_looked_up_then_the_chunk_that_holds_it() {
    for Sample { leaves, .. } in samples() {
        let tree = Tree::new(leaves.clone()).unwrap();
        assert_eq!(file_bytes(&leaves), tree.bytes());
        for start in 0..leaves.len() {
            let one = run(start, 1);
            let pair = ChunkRange { start: one.start, end: (one.end + 1).min(leaves.len() as u32) };
            let held = tree.bytes_of(one).unwrap();

            assert_eq!(Some(one), tree.chunks_in(held));
            assert_eq!(Some(one), tree.chunks_in(ByteRange { end: held.start + 1, ..held }));
            assert_eq!(Some(one), tree.chunks_in(ByteRange { start: held.end - 1, ..held }));
            assert_eq!(Some(pair), tree.chunks_in(ByteRange { start: held.end - 1, end: held.end + 1 }));
        }
        let whole = run(0, leaves.len());
        assert_eq!(Some(bytes(&leaves, whole)), tree.bytes_of(whole));
        assert_eq!(Some(whole), tree.chunks_in(ByteRange { start: 0, end: u64::MAX }));
    }
}

#[test]
fn given_the_range_that_an_outline_asks_for_when_proved_then_it_is_settled() {
    for Sample { leaves, file } in samples() {
        let tree = Tree::new(leaves.clone()).unwrap();
        for term_chunks in [1, 2, 5, leaves.len()] {
            let outline = Outline::new(&terms(&leaves, leaves.chunks(term_chunks).map(<[Leaf]>::len)));
            for start in (0..leaves.len()).step_by(leaves.len().div_ceil(50)).chain([leaves.len() - 1]) {
                let wanted = bytes(&leaves, run(start, 1));

                let range = outline.settling(wanted);

                assert!(range.start <= wanted.start && wanted.end <= range.end);
                let proof = tree.run_proof(tree.chunks_in(range).unwrap()).unwrap();
                let settled = proof.verify(file, tree.bytes()).unwrap().under(&outline);
                assert!(matches!(settled, Ok(Standing::Verified(_))));
            }
        }
    }
}

#[test]
fn given_what_no_file_has_when_a_tree_is_built_then_refused() {
    let of_length = |length| vec![Leaf { hash: ChunkHash::ZERO, length }];

    assert!(matches!(Tree::new(Vec::new()), Err(Error::OutOfBounds { .. })));
    assert!(matches!(Tree::new(of_length(0)), Err(Error::OutOfBounds { .. })));
    assert!(matches!(Tree::new(of_length(CHUNK_BYTES_MAX as u32 + 1)), Err(Error::OutOfBounds { .. })));
    assert!(Tree::new(of_length(CHUNK_BYTES_MAX as u32)).is_ok());
}

#[test]
fn given_a_range_that_is_not_there_when_asked_for_then_none() {
    let tree = Tree::new(made(20_000, 1, 0)).unwrap();
    let too_long = run(0, RUN_LEAVES_MAX + 1);

    for range in [run(5, 0), run(19_999, 2), run(20_000, 1), ChunkRange { start: 7, end: 6 }, too_long] {
        assert!(matches!(tree.run_proof(range), Err(Error::OutOfBounds { .. })), "{range:?}");
    }
    assert_eq!(None, tree.bytes_of(run(19_999, 2)));
    assert_eq!(None, tree.bytes_of(ChunkRange { start: 7, end: 6 }));
    assert_eq!(None, tree.chunks_in(ByteRange { start: tree.bytes(), end: u64::MAX }));
    assert_eq!(None, tree.chunks_in(ByteRange { start: 7, end: 7 }));
}

#[test]
fn given_the_longest_run_when_proved_then_it_verifies_and_a_longer_one_is_refused() {
    let leaves = made(RUN_LEAVES_MAX + 1, 1, 0);
    let tree = Tree::new(leaves.clone()).unwrap();
    check(&tree, run(1, RUN_LEAVES_MAX));

    let mut longer = tree.run_proof(run(1, RUN_LEAVES_MAX)).unwrap();
    longer.offset = 0;
    longer.leaves.insert(0, leaves[0]);
    longer.levels[0].left.clear();

    assert!(matches!(longer.verify(tree.file_hash(), tree.bytes()), Err(Error::OutOfBounds { .. })));
}

#[test]
fn given_a_verified_run_when_bytes_are_looked_up_then_its_chunks_and_nothing_beside_them() {
    let leaves = made(100, 1, 0);
    let tree = Tree::new(leaves.clone()).unwrap();

    let proof = tree.run_proof(run(10, 3)).unwrap();
    let verified = proof.verify(tree.file_hash(), tree.bytes()).unwrap().at_depth(tree.depth()).unwrap();

    let held = bytes(&leaves, run(10, 3));
    assert_eq!((held, held.start, tree.depth()), (verified.bytes(), verified.offset(), verified.depth()));
    assert_eq!((tree.file_hash(), &leaves[10..13]), (verified.file(), verified.leaves()));
    assert_eq!(Some((held.start, &leaves[10])), verified.leaf_at(held.start));
    assert_eq!(verified.get(2), verified.leaf_at(held.end - 1));
    assert_eq!(None, verified.leaf_at(held.start - 1));
    assert_eq!(None, verified.leaf_at(held.end));
    assert_eq!(None, verified.get(3));
}

proptest! {
    #![proptest_config(config(24))]

    #[test]
    fn given_any_list_when_any_run_is_proved_then_it_verifies_and_a_changed_one_does_not(
        (leaves, starts) in (leaf_list(), vec(any::<prop::sample::Index>(), 30)),
        count in prop_oneof![3 => 1..20_usize, 1 => 1..RUN_LEAVES_MAX],
        changed: prop::sample::Index,
    ) {
        let tree = Tree::new(leaves).unwrap();
        prop_assert_eq!(Leaf::file_hash(tree.leaves()), tree.file_hash());
        for start in starts {
            let start = start.index(tree.leaves().len());
            let run = run(start, count.min(tree.leaves().len() - start));
            check(&tree, run);

            let mut other = tree.run_proof(run).unwrap();
            let changed = changed.index(other.leaves.len());
            other.leaves[changed].length ^= 1;
            prop_assert!(other.verify(tree.file_hash(), tree.bytes()).is_err());
        }
    }

    #[test]
    fn given_any_range_when_widened_by_the_outline_then_its_proof_is_settled_by_it(
        leaves in leaf_list(),
        term_chunks in prop_oneof![1..5_usize, 1..2000_usize],
        at: prop::sample::Index,
        length in 1..100_000_u64,
    ) {
        let leaves = &leaves[..leaves.len().min(10_000)];
        let tree = Tree::new(leaves.to_vec()).unwrap();
        let counts = leaves.chunks(term_chunks).map(<[Leaf]>::len);
        let outline = Outline::new(&terms(leaves, counts));
        prop_assert_eq!((tree.bytes(), leaves.len() as u64), (outline.bytes(), outline.chunks()));
        let start = at.index(tree.bytes() as usize) as u64;
        let wanted = ByteRange { start, end: tree.bytes().min(start + length) };

        let range = outline.settling(wanted);

        prop_assert!(range.start <= wanted.start && wanted.end <= range.end);
        let proof = tree.run_proof(tree.chunks_in(range).unwrap()).unwrap();
        let settled = proof.verify(tree.file_hash(), tree.bytes()).unwrap().under(&outline);
        prop_assert!(matches!(settled, Ok(Standing::Verified(_))));
    }
}

/// Proves a run to somebody who knows the file's depth.
fn check(tree: &Tree, run: ChunkRange) {
    let proof = tree.run_proof(run).unwrap();

    let candidate = proof.verify(tree.file_hash(), tree.bytes()).unwrap();
    let verified = candidate.at_depth(tree.depth()).unwrap();

    assert_eq!(&tree.leaves()[run.start as usize..run.end as usize], verified.leaves());
    assert_eq!(tree.bytes_of(run), Some(verified.bytes()));
}

/// As many leaves, 1 byte to 128 KiB long. By shape, some, all or none of them may end a group.
fn made(count: usize, seed: u64, shape: u8) -> Vec<Leaf> {
    let leaf = |i: u64| {
        let mut hash = *ChunkHash::of(&(seed ^ i << 32).to_le_bytes()).as_bytes();
        let length = u32::from_le_bytes([hash[0], hash[1], hash[2] & 1, 0]) + 1;
        match shape {
            0 => {}
            1 => hash[24] &= !3,
            _ => hash[24] |= 1,
        }
        Leaf { hash: ChunkHash::from_bytes(hash), length }
    };
    (0..count as u64).map(leaf).collect()
}

fn leaf_list() -> impl Strategy<Value = Vec<Leaf>> {
    let count = prop_oneof![3 => 1..100_usize, 2 => 100..5000_usize, 1 => 5000..=100_000_usize];
    (count, any::<u64>(), 0..3_u8).prop_map(|(count, seed, shape)| made(count, seed, shape))
}
