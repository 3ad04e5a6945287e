use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;
use xet_cas::{ChunkHash, FileHash, Leaf, RangeHash, RootBuilder, XorbHash};

use super::naive::{self, Node};
use super::samples::config;
use super::vectors::{cases, hash, hex32, leaf, number, numbers, section, text};

#[test]
fn given_lists_of_leaves_when_reduced_then_xorb_file_and_range_are_named_as_by_the_deployed_client() {
    let vectors = section("merkle");
    let salt = hex32(&vectors["salt0_raw"]);
    for case in cases(&vectors["cases"]) {
        let nodes = nodes(case);
        // A leaf's length is u32; one case says its chunks are 8 GiB long, which only the plain rule can take.
        let Some(leaves) = leaves(&nodes) else {
            assert!(nodes.iter().any(|(_, size)| *size > u64::from(u32::MAX)));
            continue;
        };

        assert_eq!(hash::<XorbHash>(&case["xorb_hash"]), Leaf::xorb_hash(&leaves));
        assert_eq!(hash::<FileHash>(&case["file_hash"]), Leaf::file_hash(&leaves));
        if case["file_hash_salt0"].is_string() {
            assert_eq!(hash::<FileHash>(&case["file_hash_salt0"]), Leaf::file_hash_salted(&leaves, Some(&salt)));
        }
        if case["range_hash"].is_string() {
            assert_eq!(hash::<RangeHash>(&case["range_hash"]), RangeHash::of(leaves.iter().map(|leaf| &leaf.hash)));
        }
    }
}

#[test]
fn given_lists_of_leaves_when_reduced_by_the_plain_rule_then_groups_and_roots_are_those_of_the_deployed_client() {
    for case in cases(&section("merkle")["cases"]) {
        let nodes = nodes(case);

        let root = naive::root(&nodes).map_or_else(|| ChunkHash::ZERO.to_string(), |(root, _)| root);
        let levels = naive::levels(&nodes);

        assert_eq!(text(&case["xorb_hash"]), root);
        if let Some(expected) = case["group_sizes"].as_array() {
            assert_eq!(
                expected.iter().map(numbers).collect::<Vec<_>>(),
                levels.iter().map(|groups| group_sizes(groups)).collect::<Vec<_>>()
            );
        }
        if let Some(expected) = case["levels"].as_array() {
            assert_eq!(expected.len(), levels.len());
            for (expected, groups) in expected.iter().zip(&levels) {
                let parents: Vec<Node> = cases(&expected["nodes"]).iter().map(pair).collect();

                assert_eq!(numbers(&expected["group_sizes"]), group_sizes(groups));
                assert_eq!(parents, groups.iter().map(|group| naive::parent(group)).collect::<Vec<_>>());
            }
        }
    }
}

#[test]
fn given_two_leaves_when_reduced_then_the_node_text_is_the_one_of_the_draft() {
    let vector = &section("draft_vectors")["internal_node"];
    let children: Vec<Node> = cases(&vector["children"]).iter().map(pair).collect();

    let text_of_node: String = children.iter().map(|(hash, size)| format!("{hash} : {size}\n")).collect();

    assert_eq!(text(&vector["text"]), text_of_node);
    assert_eq!(Some(text(&vector["hash"]).to_owned()), naive::root(&children).map(|(root, _)| root));
}

#[test]
fn given_the_leaf_rule_of_the_vectors_when_applied_then_it_gives_their_leaves() {
    let vectors = section("merkle");

    assert_eq!(hash::<ChunkHash>(&vectors["leaf0"]), leaf(0).hash);
    assert_eq!(hash::<ChunkHash>(&vectors["leaf1"]), leaf(1).hash);
}

#[test]
fn given_the_same_hashes_with_other_lengths_when_reduced_then_another_root() {
    let leaves: Vec<Leaf> = (0..20).map(leaf).collect();
    let mut longer = leaves.clone();
    longer[7].length += 1;

    assert_ne!(Leaf::xorb_hash(&leaves), Leaf::xorb_hash(&longer));
}

proptest! {
    #![proptest_config(config(128))]

    #[test]
    fn given_any_leaves_when_reduced_as_they_come_then_the_root_is_that_of_the_plain_rule(leaves in leaf_list()) {
        let mut builder = RootBuilder::new();
        leaves.iter().for_each(|leaf| builder.push(leaf));

        let (xorb, file) = (builder.clone().finish_xorb(), builder.finish_file());

        let nodes: Vec<Node> = leaves.iter().map(naive::node).collect();
        prop_assert_eq!(naive::root(&nodes).map_or(XorbHash::ZERO, |(root, _)| root.parse().unwrap()), xorb);
        prop_assert_eq!((xorb, file), (Leaf::xorb_hash(&leaves), Leaf::file_hash(&leaves)));
    }

    #[test]
    fn given_any_leaf_when_encoded_and_decoded_then_same(hash: [u8; 32], length: u32) {
        let leaf = Leaf { hash: ChunkHash::from_bytes(hash), length };

        let encoded = leaf.encode();

        prop_assert_eq!([&hash[..], &length.to_le_bytes()].concat(), encoded.to_vec());
        prop_assert_eq!(leaf, Leaf::decode(&encoded));
    }
}

/// Up to some thousands of leaves. A share of them is made to end a group or not to, so that trees of
/// all shapes come up: the last digit of the text form decides.
pub(super) fn leaf_list() -> impl Strategy<Value = Vec<Leaf>> {
    let count = prop_oneof![3 => 0..100_usize, 2 => 0..1000_usize, 1 => 1000..5000_usize];
    (count, any::<u64>(), 0..3).prop_flat_map(|(count, seed, shape)| {
        let leaf = move |(i, length): (usize, u32)| {
            let mut hash = *ChunkHash::of(&(seed ^ i as u64).to_le_bytes()).as_bytes();
            match shape {
                0 => {}
                1 => hash[24] &= !3,
                _ => hash[24] |= 1,
            }
            Leaf { hash: ChunkHash::from_bytes(hash), length }
        };
        vec(any::<u32>(), count).prop_map(move |lengths| lengths.into_iter().enumerate().map(leaf).collect())
    })
}

fn nodes(case: &Value) -> Vec<Node> {
    if let Some(pairs) = case["pairs"].as_array() {
        return pairs.iter().map(pair).collect();
    }
    let indices = if case["leaf_indices"].is_array() {
        numbers(&case["leaf_indices"])
    } else {
        let first = number(&case["leaves"]["first"]);
        (first..first + number(&case["leaves"]["count"])).collect()
    };
    indices.into_iter().map(|i| naive::node(&leaf(i))).collect()
}

fn pair(value: &Value) -> Node {
    (text(&value[0]).into(), number(&value[1]))
}

fn leaves(nodes: &[Node]) -> Option<Vec<Leaf>> {
    nodes
        .iter()
        .map(|(hash, size)| Some(Leaf { hash: hash.parse().ok()?, length: u32::try_from(*size).ok()? }))
        .collect()
}

fn group_sizes(groups: &[Vec<Node>]) -> Vec<u64> {
    groups.iter().map(|group| group.len() as u64).collect()
}
