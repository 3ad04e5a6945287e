use proptest::prelude::*;
use proptest::sample::Index;
use xet_cas::{Error, FileHash, Leaf, MerkleHashSubtree, XorbHash};

use super::merkle::leaf_list;
use super::samples::config;
use super::vectors::{hash, leaf, section};

fn leaves(range: std::ops::Range<u64>) -> Vec<Leaf> {
    range.map(leaf).collect()
}

#[test]
fn given_the_runs_of_the_vectors_when_merged_then_the_root_of_the_deployed_client() {
    let expected: XorbHash = hash(&section("merkle_subtree")["final_hash"]);
    let mut subtree = MerkleHashSubtree::of(&leaves(0..13), true, false);
    let mut rest = MerkleHashSubtree::of(&leaves(13..29), false, false);

    rest.append(&MerkleHashSubtree::of(&leaves(29..40), false, true)).unwrap();
    subtree.append(&rest).unwrap();

    assert_eq!(Some(expected), subtree.xorb_hash());
    assert_eq!(Some(Leaf::file_hash(&leaves(0..40))), subtree.file_hash());
}

#[test]
fn given_no_leaves_when_summarized_then_the_zero_hashes() {
    let mut subtree = MerkleHashSubtree::of(&[], true, false);
    subtree.append(&MerkleHashSubtree::of(&[], false, true)).unwrap();

    assert_eq!((Some(XorbHash::ZERO), Some(FileHash::ZERO)), (subtree.xorb_hash(), subtree.file_hash()));
}

#[test]
fn given_a_run_that_is_not_the_whole_list_when_asked_for_a_root_then_none() {
    for (at_start, at_end) in [(true, false), (false, true), (false, false)] {
        let subtree = MerkleHashSubtree::of(&leaves(0..100), at_start, at_end);

        assert_eq!((None, None), (subtree.xorb_hash(), subtree.file_hash()));
    }
}

#[test]
fn given_runs_that_cannot_be_neighbours_when_merged_then_refused_and_unchanged() {
    let whole = MerkleHashSubtree::of(&leaves(0..100), true, true);
    let middle = MerkleHashSubtree::of(&leaves(0..100), false, false);
    for (before, behind) in [(&whole, &middle), (&middle, &whole)] {
        let mut merged = before.clone();

        assert!(matches!(merged.append(behind), Err(Error::Subtree { .. })));
        assert_eq!(before, &merged);
    }
}

#[test]
fn given_a_long_run_when_summarized_then_it_takes_little_room() {
    let subtree = MerkleHashSubtree::of(&leaves(0..100_000), false, false);

    let nodes = format!("{subtree:?}").matches("Node ").count();

    assert!((10..1_000).contains(&nodes), "{nodes}");
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn given_any_leaves_when_cut_anywhere_and_merged_in_any_order_then_the_root_of_the_list(
        leaves in leaf_list(),
        cuts in prop::collection::vec(any::<Index>(), 0..8),
        order in prop::collection::vec(any::<Index>(), 8),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|at| at.index(leaves.len() + 1)).collect();
        cuts.extend([0, leaves.len()]);
        cuts.sort_unstable();
        let runs = cuts.len() - 1;
        let mut subtrees: Vec<MerkleHashSubtree> = cuts
            .windows(2)
            .enumerate()
            .map(|(at, cut)| MerkleHashSubtree::of(&leaves[cut[0]..cut[1]], at == 0, at == runs - 1))
            .collect();

        for at in order {
            if subtrees.len() > 1 {
                let at = at.index(subtrees.len() - 1);
                let next = subtrees.remove(at + 1);
                prop_assert_eq!(Ok(()), subtrees[at].append(&next));
            }
        }

        prop_assert_eq!(1, subtrees.len());
        prop_assert_eq!(Some(Leaf::xorb_hash(&leaves)), subtrees[0].xorb_hash());
        prop_assert_eq!(Some(Leaf::file_hash(&leaves)), subtrees[0].file_hash());
    }
}

#[cfg(feature = "api")]
mod json {
    use std::sync::LazyLock;

    use serde_json::{Value, json};
    use xet_cas::ChunkHash;

    use super::*;

    #[test]
    fn given_runs_of_the_vectors_when_written_as_json_then_as_the_deployed_client_writes_them() {
        let vectors = section("merkle_subtree");
        let runs = [
            ("left_0_13", 0..13, true, false),
            ("mid_13_29", 13..29, false, false),
            ("right_29_40", 29..40, false, true),
        ];
        for (name, run, at_start, at_end) in runs {
            let subtree = MerkleHashSubtree::of(&leaves(run), at_start, at_end);

            assert_eq!(vectors[name], serde_json::to_value(&subtree).unwrap());
            assert_eq!(subtree, serde_json::from_value(vectors[name].clone()).unwrap());
        }
    }

    static LONG: LazyLock<Value> =
        LazyLock::new(|| serde_json::from_str(include_str!("../vectors/merkle_subtree.json")).unwrap());

    const LONG_RUNS: [(&str, std::ops::Range<u64>, bool, bool); 4] = [
        ("left_0_300", 0..300, true, false),
        ("mid_300_800", 300..800, false, false),
        ("mid_800_804", 800..804, false, false),
        ("right_804_1100", 804..1100, false, true),
    ];

    #[test]
    fn given_runs_that_are_reduced_when_written_as_json_then_as_the_deployed_client_writes_them() {
        for (name, run, at_start, at_end) in LONG_RUNS {
            let subtree = MerkleHashSubtree::of(&leaves(run), at_start, at_end);

            assert_eq!(LONG[name], serde_json::to_value(&subtree).unwrap());
            assert_eq!(subtree, serde_json::from_value(LONG[name].clone()).unwrap());
            assert!(subtree.xorb_hash().is_none());
        }
    }

    #[test]
    fn given_runs_that_the_deployed_client_merged_when_read_then_as_if_merged_here() {
        let mut merged = MerkleHashSubtree::of(&leaves(300..800), false, false);
        merged.append(&MerkleHashSubtree::of(&leaves(800..804), false, false)).unwrap();
        let read: MerkleHashSubtree = serde_json::from_value(LONG["mid_300_804_merged"].clone()).unwrap();

        assert_eq!(merged, read);

        let mut whole: MerkleHashSubtree = serde_json::from_value(LONG["left_0_300"].clone()).unwrap();
        whole.append(&read).unwrap();
        whole.append(&serde_json::from_value(LONG["right_804_1100"].clone()).unwrap()).unwrap();
        assert_eq!(Some(hash(&LONG["final_hash"])), whole.xorb_hash());
        assert_eq!(Some(Leaf::xorb_hash(&leaves(0..1100))), whole.xorb_hash());
    }

    #[test]
    fn given_json_whose_counts_do_not_fit_its_nodes_when_read_then_refused() {
        let node = json!({"hash": ChunkHash::ZERO.to_string(), "size": 1});
        for levels in
            [json!([]), json!([[1, 0]]), json!([[1, 2]]), json!([[u64::MAX, u64::MAX]]), json!([[0, 0], [3, 0]])]
        {
            let subtree = json!({"nodes": [node, node], "levels": levels, "at_start": false, "at_end": false});

            assert!(serde_json::from_value::<MerkleHashSubtree>(subtree).is_err(), "{levels}");
        }
        let levels = vec![[0, 0]; 65];
        let subtree = json!({"nodes": [], "levels": levels, "at_start": false, "at_end": false});
        assert!(serde_json::from_value::<MerkleHashSubtree>(subtree).is_err());
    }

    #[test]
    fn given_json_that_says_it_is_a_whole_list_and_has_no_root_when_read_then_refused() {
        let node = json!({"hash": ChunkHash::ZERO.to_string(), "size": 1});
        for levels in [json!([[2, 0]]), json!([[1, 1]]), json!([[1, 0], [1, 0]])] {
            let subtree = json!({"nodes": [node, node], "levels": levels, "at_start": true, "at_end": true});

            assert!(serde_json::from_value::<MerkleHashSubtree>(subtree).is_err(), "{levels}");
        }
    }

    proptest! {
        #![proptest_config(config(128))]

        #[test]
        fn given_any_run_when_written_as_json_and_read_then_the_same(
            leaves in leaf_list(), at_start: bool, at_end: bool,
        ) {
            let subtree = MerkleHashSubtree::of(&leaves, at_start, at_end);

            let json: Value = serde_json::to_value(&subtree).unwrap();

            prop_assert_eq!(subtree, serde_json::from_value(json).unwrap());
        }
    }
}
