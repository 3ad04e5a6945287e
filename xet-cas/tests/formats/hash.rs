use proptest::prelude::*;
use xet_cas::{ChunkHash, Error, FileHash, Leaf, RangeHash, XorbHash};

use super::samples::config;
use super::vectors::{cases, hash, hex32, input, leaf, number, section, text};

#[test]
fn given_raw_bytes_when_printed_and_parsed_then_every_group_of_eight_is_reversed() {
    for case in cases(section("hash_string")) {
        let raw = hex32(&case["raw"]);

        let printed = ChunkHash::from_bytes(raw).to_string();
        let parsed: ChunkHash = hash(&case["string"]);
        let parsed_upper: ChunkHash = text(&case["string"]).to_uppercase().parse().unwrap();

        assert_eq!(text(&case["string"]), printed);
        assert_eq!(&raw, parsed.as_bytes());
        assert_eq!(parsed, parsed_upper);
    }
}

#[test]
fn given_a_hash_when_debugged_then_the_kind_and_the_first_word_of_the_text_form() {
    for case in cases(section("hash_string")) {
        let raw = hex32(&case["raw"]);

        let debug = format!("{:?}", XorbHash::from_bytes(raw));

        assert_eq!(format!("XorbHash({}…)", &text(&case["string"])[..16]), debug);
    }
}

#[test]
fn given_text_that_is_not_64_hex_digits_when_parsed_then_refused() {
    let digit = "0".repeat(63);
    let tests =
        ["".into(), digit.clone(), digit.clone() + "g", digit.clone() + "00", " ".to_owned() + &digit, "ä".repeat(32)];

    for test in tests {
        let refused = test.parse::<FileHash>();

        assert_eq!(Err(Error::HashText { len: test.len() }), refused);
    }
}

#[test]
fn given_the_published_keys_when_hashing_then_each_kind_of_hash_uses_its_own() {
    let keys = section("keys_raw");
    let key = |name: &str| hex32(&keys[name]);
    let keyed = |name: &str, data: &[u8]| <[u8; 32]>::from(blake3::keyed_hash(&key(name), data));
    let (a, b) = (leaf(0), leaf(1));
    let node = format!("{} : {}\n{} : {}\n", a.hash, a.length, b.hash, b.length);

    assert_eq!(&keyed("data_key", b"abc"), ChunkHash::of(b"abc").as_bytes());
    assert_eq!(&keyed("internal_node_key", node.as_bytes()), Leaf::xorb_hash(&[a, b]).as_bytes());
    assert_eq!(&keyed("verification_key", a.hash.as_bytes()), RangeHash::of([&a.hash]).as_bytes());
    assert_eq!(&keyed("file_salt_default", a.hash.as_bytes()), Leaf::file_hash(&[a]).as_bytes());
}

#[test]
fn given_chunk_bytes_when_hashed_then_as_the_deployed_client_does() {
    for case in cases(section("chunk_hash")) {
        let data = input(&case["input"]);

        let leaf = Leaf::of(&data);

        assert_eq!(hash::<ChunkHash>(&case["hash"]), leaf.hash);
        assert_eq!(&hex32(&case["hash_raw"]), leaf.hash.as_bytes());
        assert_eq!(data.len() as u32, leaf.length);
    }
}

#[test]
fn given_a_shard_key_when_a_chunk_hash_is_keyed_then_as_keyed_shards_list_it() {
    for case in cases(section("keyed_chunk_hash")) {
        let keyed = leaf(number(&case["leaf"])).hash.keyed(&hex32(&case["key_raw"]));

        assert_eq!(hash::<ChunkHash>(&case["keyed"]), keyed);
    }
}

#[test]
fn given_runs_of_chunks_when_range_hashed_then_as_the_deployed_client_does() {
    for case in cases(section("range_hash")) {
        let leaves: Vec<Leaf> = (number(&case["leaf_start"])..number(&case["leaf_end"])).map(leaf).collect();

        let range_hash = RangeHash::of(leaves.iter().map(|leaf| &leaf.hash));

        assert_eq!(hash::<RangeHash>(&case["hash"]), range_hash);
    }
}

#[test]
fn given_chunk_hashes_when_asked_for_global_dedup_then_one_in_1024_is_eligible() {
    let vectors = section("global_dedup_eligible");
    for (list, expected) in [("eligible_leaves", true), ("not_eligible_leaves", false)] {
        for case in cases(&vectors[list]) {
            let named: ChunkHash = hash(&case[1]);

            assert_eq!(leaf(number(&case[0])).hash, named);
            assert_eq!(expected, named.is_global_dedup_eligible());
        }
    }

    let eligible = (0..10_000).filter(|i| leaf(*i).hash.is_global_dedup_eligible()).count();

    assert_eq!(cases(&vectors["eligible_leaves"]).len(), eligible);
}

#[test]
fn given_the_examples_of_the_draft_when_hashed_then_as_printed_there() {
    let draft = section("draft_vectors");
    let node = &draft["internal_node"];
    let children: Vec<Leaf> = cases(&node["children"])
        .iter()
        .map(|child| Leaf { hash: hash(&child[0]), length: number(&child[1]) as u32 })
        .collect();
    let range: Vec<ChunkHash> =
        cases(&draft["range_hash"]["chunks_raw"]).iter().map(|raw| ChunkHash::from_bytes(hex32(raw))).collect();

    assert_eq!(hash::<ChunkHash>(&draft["chunk_hash_hello_world_bang"]), ChunkHash::of(b"Hello World!"));
    assert_eq!(hash::<XorbHash>(&node["hash"]), Leaf::xorb_hash(&children));
    assert_eq!(hash::<RangeHash>(&draft["range_hash"]["hash"]), RangeHash::of(&range));
}

#[test]
fn given_an_empty_file_when_named_then_all_zeros_and_not_what_the_draft_says() {
    let of_the_draft: FileHash = hash(&section("draft_vectors")["draft_only_empty_file_hash"]);

    let empty = Leaf::file_hash(&[]);
    let one_zero_hash = Leaf::file_hash(&[Leaf { hash: ChunkHash::ZERO, length: 0 }]);

    assert_eq!(FileHash::ZERO, empty);
    assert_eq!(of_the_draft, one_zero_hash);
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn given_any_two_hashes_when_compared_then_ordered_as_their_text(a: [u8; 32], b: [u8; 32]) {
        let (a, b) = (XorbHash::from_bytes(a), XorbHash::from_bytes(b));

        prop_assert_eq!(a.to_string().cmp(&b.to_string()), a.cmp(&b));
        prop_assert_eq!(Ok(a), a.to_string().parse());
    }
}
