//! Footers in both versions, behind their records.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use xet_cas::xorb::{Builder, CHUNKS_MAX, Footer};
use xet_cas::{ChunkHash, CompressionPolicy, Error, Leaf, Scheme, XorbHash};

use super::samples::{config, contents};
use super::vectors::{cases, hash, hex, number, section};

/// The records of the vectors that are stored as they are, and their name.
fn records() -> (XorbHash, Vec<u8>) {
    let case = &cases(&section("xorb")["serialized"])[0];
    (hash(&case["xorb_hash"]), hex(&case["upload_form_hex"]))
}

/// Both versions behind the records.
fn stored() -> [Vec<u8>; 2] {
    let (_, records) = records();
    let v0 = hex(&section("xorb")["footer_v0_hex_policy_none"]);
    let v1 = hex(&cases(&section("xorb")["serialized"])[0]["footer_v1_hex"]);
    [v0, v1].map(|footer| [records.clone(), footer].concat())
}

#[test]
fn given_a_footer_of_either_version_when_read_with_its_records_then_the_same() {
    let (name, records) = records();
    let computed = Footer::validate(name, &records).unwrap();
    for stored in stored() {
        assert_eq!(Ok(&computed), Footer::decode_stored(&stored).as_ref());
        assert_eq!(Ok(&computed), Footer::validate(name, &stored).as_ref());
    }
}

#[test]
fn given_a_footer_of_version_0_when_read_without_its_records_then_refused() {
    let [v0, _] = stored();

    assert!(matches!(Footer::decode_from_end(&v0), Err(Error::Truncated { .. } | Error::Marker { .. })));
}

#[test]
fn given_records_without_a_footer_when_their_footer_is_read_then_refused() {
    assert!(matches!(Footer::decode_stored(&records().1), Err(Error::Truncated { .. })));
    assert!(matches!(Footer::decode_stored(&[]), Err(Error::Truncated { .. })));
}

#[test]
fn given_a_footer_of_more_or_fewer_chunks_than_records_when_read_then_refused() {
    let [v0, v1] = stored();
    let first_record_bytes = 20;
    for stored in [v0, v1] {
        let footer = &stored[records().1.len()..];
        let one_less = &stored[first_record_bytes..];
        let one_more = [&stored[..first_record_bytes], &records().1, footer].concat();

        assert!(matches!(Footer::decode_stored(one_less), Err(Error::Mismatch { .. })));
        assert!(matches!(Footer::decode_stored(&one_more), Err(Error::Mismatch { .. })));
    }
}

#[test]
fn given_a_footer_said_to_hold_chunks_that_are_not_there_when_read_then_refused_before_room_is_made_for_them() {
    let (_, records) = records();
    for stored in stored() {
        let version_0 = stored[records.len() + 7] == 0;
        let count_at = records.len() + if version_0 { 40 } else { 48 };
        for count in [0, 4, 6, CHUNKS_MAX as u32 + 1, u32::MAX] {
            let mut changed = stored.clone();
            changed[count_at..count_at + 4].copy_from_slice(&count.to_le_bytes());

            assert!(Footer::decode_stored(&changed).is_err(), "{count}");
        }
    }
}

#[test]
fn given_a_stored_xorb_of_either_version_when_any_byte_is_changed_then_an_error_or_the_same() {
    let (name, records) = records();
    let right = Footer::validate(name, &records).unwrap();
    for stored in stored() {
        for at in 0..stored.len() {
            let mut changed = stored.clone();
            changed[at] ^= 0x41;

            let validated = Footer::validate(name, &changed);
            assert!(validated.as_ref().map_or(true, |footer| *footer == right), "{at}: {validated:?}");
            // Payloads are not looked at.
            let read = Footer::decode_stored(&changed);
            assert!(read.as_ref().map_or(true, |footer| *footer == right), "{at}: {read:?}");
        }
    }
}

#[test]
fn given_a_stored_xorb_of_either_version_when_cut_anywhere_then_refused() {
    for stored in stored() {
        for length in 0..stored.len() {
            assert!(Footer::decode_stored(&stored[..length]).is_err(), "{length}");
        }
    }
}

#[test]
fn given_a_nonce_when_encoded_then_where_the_deployed_code_puts_it_and_nowhere_else() {
    let vector = &section("xorb")["nonce"];
    let (name, records) = records();
    let footer = Footer::validate(name, &records).unwrap();
    let nonce: [u8; 4] = hex(&vector["nonce_raw"]).try_into().unwrap();

    let [plain, with_nonce] = [[0; 4], nonce].map(|nonce| [&records[..], &footer.encode_with_nonce(nonce)].concat());

    assert_eq!(number(&vector["total_len"]), with_nonce.len() as u64);
    let changed: Vec<u64> = (0..plain.len()).filter(|at| plain[*at] != with_nonce[*at]).map(|at| at as u64).collect();
    assert_eq!(super::vectors::numbers(&vector["changed_byte_offsets"]), changed);
    let range = Footer::nonce_range(plain.len() as u64).unwrap();
    assert_eq!(changed, range.clone().collect::<Vec<_>>());
    assert_eq!(nonce, with_nonce[range.start as usize..range.end as usize]);
    assert_eq!(None, Footer::nonce_range(19));
    assert_eq!(Ok(footer), Footer::decode_stored(&with_nonce));
}

proptest! {
    #![proptest_config(config(128))]

    #[test]
    fn given_any_xorb_when_stored_with_either_footer_and_read_then_the_footer_of_its_builder(
        chunks in vec(contents(4096), 1..20), nonce: [u8; 4],
    ) {
        let mut builder = Builder::new(CompressionPolicy::Always(Scheme::Lz4));
        for chunk in &chunks {
            builder.push(Leaf::of(chunk), chunk).unwrap();
        }
        let built = builder.finish();
        let footer = &built.footer;

        let v1 = [&built.records[..], &footer.encode_with_nonce(nonce)].concat();
        let v0 = [&built.records[..], &encode_v0(footer, &built.records)].concat();

        for stored in [v1, v0] {
            prop_assert_eq!(Ok(footer.clone()), Footer::decode_stored(&stored));
            prop_assert_eq!(Ok(footer.clone()), Footer::validate(built.hash(), &stored));
        }
    }

    #[test]
    fn given_any_damage_when_a_stored_xorb_is_read_then_no_panic(
        version in 0..2_usize, cut in any::<Index>(), flips in vec((any::<Index>(), any::<u8>()), 0..6),
    ) {
        let mut stored = stored()[version].clone();
        stored.truncate(cut.index(stored.len() * 2).min(stored.len()).max(1));
        for (at, flip) in flips {
            *at.get_mut(&mut stored) ^= flip;
        }

        if let Ok(footer) = Footer::decode_stored(&stored) {
            let encoded = footer.encode();
            prop_assert_eq!(Ok(footer), Footer::decode_from_end(&encoded));
        }
        let _ = Footer::validate(records().0, &stored);
    }
}

/// As servers wrote it once.
fn encode_v0(footer: &Footer, records: &[u8]) -> Vec<u8> {
    let count = footer.leaves().len() as u32;
    let chunks = |end| xet_cas::ChunkRange { start: 0, end };
    let ends = (1..=count).map(|end| footer.byte_range(chunks(end)).unwrap().end as u32);
    let hashes = footer.leaves().iter().flat_map(|leaf: &Leaf| *ChunkHash::as_bytes(&leaf.hash));
    let mut out = b"XETBLOB\0".to_vec();
    out.extend_from_slice(footer.hash().as_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    out.extend(ends.flat_map(u32::to_le_bytes));
    out.extend(hashes);
    out.extend_from_slice(&[0; 16]);
    out.extend_from_slice(&(60 + 36 * count).to_le_bytes());
    assert_eq!(footer.serialized_bytes(), records.len() as u64);
    out
}
