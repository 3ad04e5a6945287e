//! The `xet` dictionary.

use std::collections::BTreeSet;

use bencode::OwnedValue;
use bep_xet::{Error, Limits, NodeId, XetHandshake};
use proptest::prelude::*;

fn read(text: &[u8]) -> Result<XetHandshake, Error> {
    let value = bencode::decode(text).unwrap().root().into_owned().unwrap();
    XetHandshake::from_value(&value, &Limits::default())
}

#[test]
fn given_our_handshake_when_encoded_then_the_bytes_are_those_of_the_table() {
    let node_id = NodeId::from_bytes([b'n'; 32]);
    let mut handshake = XetHandshake::new(&Limits::default(), Some(node_id));
    handshake.features.insert("claims".to_owned());

    let encoded = bencode::encode(&handshake.to_value()).unwrap();

    let expected =
        format!("d1:fl6:claimse2:htli0ee2:id32:{}3:mini2e2:mmi1048576e2:rqi67108864e1:vi2ee", "n".repeat(32));
    assert_eq!(expected, String::from_utf8(encoded.clone()).unwrap());
    assert_eq!(Ok(&handshake), read(&encoded).as_ref());
    assert!(handshake.speaks_v2());
}

#[test]
fn given_only_a_version_when_read_then_the_rest_is_careful() {
    let handshake = read(b"d1:vi2ee").unwrap();

    let expected = XetHandshake {
        v: 2,
        min: 1,
        features: BTreeSet::new(),
        outstanding_bytes: 4 * 1024 * 1024,
        frame_bytes_max: 1024 * 1024,
        node_id: None,
        hash_types: BTreeSet::from([0]),
    };
    assert_eq!(expected, handshake);
    assert!(handshake.speaks_v2());
}

#[test]
fn given_other_versions_when_read_then_whether_v2_is_spoken_is_known() {
    for (text, spoken) in [
        (&b"d1:vi1ee"[..], false),
        (b"d3:mini1e1:vi3ee", true),
        (b"d3:mini3e1:vi4ee", false),
        (b"d1:vi99999999999ee", true),
        (b"d2:htli1ee1:vi2ee", false),
        (b"d2:htli1ei0ei999ee1:vi2e4:what5:othere", true),
    ] {
        assert_eq!(spoken, read(text).unwrap().speaks_v2(), "{}", String::from_utf8_lossy(text));
    }
}

#[test]
fn given_values_of_the_wrong_kind_when_read_then_each_is_an_error_of_the_peer() {
    let many = format!("d1:fl{}e1:vi2ee", "1:a".repeat(65));
    let long = format!("d1:fl65:{}e1:vi2ee", "a".repeat(65));
    for text in [
        &b"i2e"[..],
        b"de",
        b"d1:v1:2e",
        b"d1:vi-1ee",
        b"d3:min0:1:vi2ee",
        b"d2:rqi-5e1:vi2ee",
        b"d2:mmle1:vi2ee",
        b"d1:f1:a1:vi2ee",
        b"d1:fli1ee1:vi2ee",
        b"d1:fl1:\xffe1:vi2ee",
        b"d2:ht1:a1:vi2ee",
        b"d2:htl1:ae1:vi2ee",
        b"d2:id3:abc1:vi2ee",
        b"d2:idi1e1:vi2ee",
        many.as_bytes(),
        long.as_bytes(),
    ] {
        let error = read(text).expect_err(&String::from_utf8_lossy(text));
        assert!(matches!(error, Error::Handshake { .. }) && error.is_peer_fault(), "{error}");
    }
}

#[test]
fn given_a_node_id_when_printed_then_the_text_reads_back() {
    let id = NodeId::from_bytes(std::array::from_fn(|i| (i * 7) as u8));

    assert_eq!(Ok(id), id.to_string().parse());
    assert_eq!("NodeId(00070e15…)", format!("{id:?}"));
    for text in ["", "00", &"g".repeat(64), &"é".repeat(32)] {
        assert!(text.parse::<NodeId>().is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn given_any_handshake_when_encoded_then_it_decodes_to_the_same(
        v: u32,
        min: u32,
        features in prop::collection::btree_set("[a-z_]{0,64}", 0..=64),
        outstanding_bytes in 0..=i64::MAX as u64,
        frame_bytes_max: u32,
        node_id: Option<[u8; 32]>,
        hash_types in prop::collection::btree_set(0..16_u8, 0..=16),
    ) {
        let node_id = node_id.map(NodeId::from_bytes);
        let handshake = XetHandshake { v, min, features, outstanding_bytes, frame_bytes_max, node_id, hash_types };
        let encoded = bencode::encode(&handshake.to_value()).unwrap();
        prop_assert_eq!(Ok(handshake), read(&encoded));
    }

    #[test]
    fn given_any_dictionary_when_read_then_nothing_panics(
        pairs in prop::collection::vec((prop::sample::select(vec!["v", "min", "f", "rq", "mm", "id", "ht"]), -5..5_i64), 0..9)
    ) {
        let value = OwnedValue::dict(pairs.into_iter().map(|(key, value)| (key, value.into())));
        let _ = XetHandshake::from_value(&value, &Limits::default());
    }
}
