use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use xet_cas::dedup::{Found, Index as DedupIndex};
use xet_cas::shard::{LookupTables, NEVER_EXPIRES, STORED_SHARD_BYTES_MAX, Shard, ShardFile, StoredShard};
use xet_cas::{ChunkHash, ChunkRange, Error, RangeHash, ShardHash};

use super::samples::config;
use super::shard::{described, in_hash_order, shard};
use super::vectors::{hash, hex, hex32, number, section};

const FOOTER: usize = 200;

/// A form of a shard in the vectors: its bytes, what it holds, and its tables.
fn forms() -> Vec<(&'static str, Vec<u8>, StoredShard, LookupTables)> {
    let vector = section("shard");
    let mut keyed = StoredShard::from(described());
    keyed.apply_key(hex32(&vector["keyed"]["key_raw"])).unwrap();
    keyed.key_expiry = 0;
    let mut answer = served();
    answer.files.clear();
    (answer.created, answer.key_expiry) = (1_900_000_000, 2_000_000_000);
    let all = LookupTables::ALL;
    vec![
        ("client's own", hex(&vector["local_full_hex"]), StoredShard::from(described()), all),
        ("empty", hex(&vector["empty_shard_hex"]), StoredShard::from(Shard::default()), all),
        ("keyed", hex(&vector["keyed"]["with_file_info_xorb_and_chunk_lookup_hex"]), keyed, all),
        ("answer", hex(&vector["dedup_response_expiry2e9_created1_9e9_hex"]), answer, LookupTables::NONE),
    ]
}

/// As a server keeps what it was sent.
fn served() -> StoredShard {
    let mut shard = StoredShard::from(described());
    shard.mark_file_starts();
    shard.key_expiry = 0;
    shard
}

#[test]
fn given_each_form_of_the_vectors_when_encoded_then_byte_for_byte() {
    for (name, bytes, shard, tables) in forms() {
        assert_eq!(bytes, shard.encode(tables), "{name}");
    }
}

#[test]
fn given_each_form_of_the_vectors_when_decoded_then_what_it_describes() {
    for (name, bytes, shard, _) in forms() {
        assert_eq!(Ok(shard), StoredShard::decode(&bytes), "{name}");
    }
}

#[test]
fn given_an_upload_when_the_server_writes_it_anew_then_as_the_simulation_server_does() {
    let vector = section("shard");
    let with_verification = served().encode(LookupTables::NONE);
    let mut without = served();
    without.files.iter_mut().for_each(|file| file.verification = None);
    let without = without.encode(LookupTables::NONE);

    let tail = hex(&vector["server_reserialized_with_verification_hex_tail"]);
    assert_eq!(number(&vector["server_reserialized_with_verification_len"]), with_verification.len() as u64);
    assert!(with_verification.ends_with(&tail));
    assert_eq!(
        hash::<ShardHash>(&vector["server_reserialized_with_verification_hash"]),
        ShardHash::of(&with_verification)
    );
    assert_eq!(number(&vector["server_reserialized_without_verification_len"]), without.len() as u64);
    assert_eq!(hash::<ShardHash>(&vector["server_reserialized_without_verification_hash"]), ShardHash::of(&without));
}

#[test]
fn given_the_clients_own_form_when_hashed_then_its_name() {
    let vector = section("shard");

    assert_eq!(hash::<ShardHash>(&vector["local_full_shard_hash"]), ShardHash::of(&hex(&vector["local_full_hex"])));
}

#[test]
fn given_a_keyed_shard_when_looked_up_with_plain_hashes_then_the_run() {
    let vector = section("shard");
    let stored = StoredShard::decode(&hex(&vector["keyed"]["with_file_info_xorb_and_chunk_lookup_hex"])).unwrap();
    let chunks: Vec<ChunkHash> = described().xorbs[0].leaves.iter().map(|leaf| leaf.hash).collect();
    let key = stored.key;
    let mut index = DedupIndex::new();
    index.insert_shard(&stored.into_shard(), key);

    let found = index.find(&chunks[2..4]);

    let xorb = described().xorbs[0].hash;
    assert_eq!(Some(Found { xorb, chunks: ChunkRange { start: 2, end: 4 } }), found);
}

#[test]
fn given_a_keyed_shard_when_looked_up_under_another_key_or_none_then_nothing() {
    let vector = section("shard");
    let stored = StoredShard::decode(&hex(&vector["keyed"]["with_file_info_xorb_and_chunk_lookup_hex"])).unwrap();
    let chunks: Vec<ChunkHash> = described().xorbs[0].leaves.iter().map(|leaf| leaf.hash).collect();
    let mut other = stored.key.unwrap();
    other[31] ^= 1;
    let shard = stored.into_shard();
    for key in [None, Some([0; 32]), Some(other)] {
        let mut index = DedupIndex::new();
        index.insert_shard(&shard, key);

        assert_eq!(None, index.find(&chunks), "{key:?}");
    }
}

#[test]
fn given_a_shard_under_a_key_when_keyed_again_then_refused_and_zeros_change_nothing() {
    let mut shard = StoredShard::from(described());
    assert_eq!(Ok(()), shard.apply_key([0; 32]));
    assert_eq!(StoredShard::from(described()), shard);

    assert_eq!(Ok(()), shard.apply_key([1; 32]));
    let keyed = shard.clone();
    for key in [[1; 32], [0; 32]] {
        assert_eq!(Err(Error::Keyed), shard.apply_key(key));
        assert_eq!(keyed, shard);
    }
}

#[test]
fn given_each_form_when_cut_anywhere_then_refused() {
    for (name, bytes, ..) in forms() {
        for length in 0..bytes.len() {
            let refused = StoredShard::decode(&bytes[..length]);

            assert!(refused.is_err(), "{name} cut to {length}: {refused:?}");
        }
    }
}

#[test]
fn given_each_form_when_any_byte_is_changed_then_an_error_or_a_value_that_encodes_and_decodes_to_itself() {
    for (name, bytes, _, tables) in forms() {
        for at in 0..bytes.len() {
            for flip in [0x01, 0x40, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] ^= flip;

                if let Ok(read) = StoredShard::decode(&changed) {
                    let again = StoredShard::decode(&read.encode(tables));
                    assert_eq!(Ok(sorted(read)), again, "{name}: byte {at} ^ {flip}");
                }
            }
        }
    }
}

#[test]
fn given_each_form_with_bytes_behind_or_between_when_decoded_then_refused() {
    for (name, bytes, ..) in forms() {
        let footer = bytes.len() - FOOTER;
        for extra in [1, 12, 48, 200] {
            let behind = [&bytes[..], &vec![0; extra]].concat();
            let between = [&bytes[..footer], &vec![0; extra], &bytes[footer..]].concat();

            assert!(StoredShard::decode(&behind).is_err(), "{name}");
            assert!(StoredShard::decode(&between).is_err(), "{name}");
        }
    }
}

#[test]
fn given_a_shard_above_the_limit_when_decoded_then_refused_unread() {
    let huge = vec![0; STORED_SHARD_BYTES_MAX + 1];

    assert!(matches!(StoredShard::decode(&huge), Err(Error::OutOfBounds { what: "bytes of a shard", .. })));
}

// The traps of the footer.

#[test]
fn given_no_tables_when_encoded_then_their_offsets_are_the_end_of_the_xorbs() {
    let encoded = StoredShard::from(described()).encode(LookupTables::NONE);

    let end = (encoded.len() - FOOTER) as u64;
    assert_eq!([end, 0, end, 0, end, 0], [24, 32, 40, 48, 56, 64].map(|at| word(&encoded, at)));
}

#[test]
fn given_a_table_of_files_said_to_be_elsewhere_when_decoded_then_refused() {
    for tables in [LookupTables::NONE, LookupTables::ALL] {
        for offset in [0, 48, u64::MAX] {
            let mut encoded = StoredShard::from(described()).encode(tables);
            set_word(&mut encoded, 24, offset);

            assert!(matches!(StoredShard::decode(&encoded), Err(Error::Mismatch { .. })), "{offset}");
        }
    }
}

#[test]
fn given_an_expiry_when_asked_then_never_for_ever_and_zero_is_long_ago() {
    let mut shard = StoredShard::from(described());
    assert_eq!(NEVER_EXPIRES, shard.key_expiry);
    assert!(!shard.is_expired(u64::MAX));

    shard.key_expiry = 0;
    assert!(shard.is_expired(1_800_000_000));

    shard.key_expiry = 1_800_000_000;
    assert!(!shard.is_expired(1_800_000_000));
    assert!(shard.is_expired(1_800_000_001));
}

#[test]
fn given_the_same_content_when_encoded_then_the_same_name_unless_a_time_is_given() {
    let encode = |created| {
        let mut shard = served();
        shard.created = created;
        ShardHash::of(&shard.encode(LookupTables::NONE))
    };

    assert_eq!(0, served().created);
    assert_eq!(encode(0), encode(0));
    assert_ne!(encode(0), encode(1));
}

#[test]
fn given_no_footer_or_another_version_or_wrong_offsets_when_decoded_then_refused() {
    let encoded = StoredShard::from(described()).encode(LookupTables::ALL);
    let upload = described().encode_upload();
    assert!(matches!(StoredShard::decode(&upload), Err(Error::Truncated { what: "shard footer", .. })));
    for (at, value) in [(0, 0), (0, 2), (8, 0), (16, 0), (16, 529), (192, 0), (192, 981)] {
        let mut changed = encoded.clone();
        set_word(&mut changed, at, value);

        let refused = StoredShard::decode(&changed);
        assert!(matches!(refused, Err(Error::OutOfBounds { .. } | Error::Mismatch { .. })), "{at}: {refused:?}");
    }
}

#[test]
fn given_more_rows_than_there_are_bytes_or_entries_when_decoded_then_refused() {
    let encoded = StoredShard::from(described()).encode(LookupTables::ALL);
    for at in [32, 48, 64] {
        for rows in [0, 1, 3, 6, u64::MAX / 12, u64::MAX] {
            let mut changed = encoded.clone();
            if word(&changed, at) == rows {
                continue;
            }
            set_word(&mut changed, at, rows);

            assert!(StoredShard::decode(&changed).is_err(), "{rows} at {at}");
        }
    }
}

#[test]
fn given_a_table_that_points_elsewhere_or_descends_when_decoded_then_refused() {
    let encoded = StoredShard::from(described()).encode(LookupTables::ALL);
    let tables = word(&encoded, 24) as usize..encoded.len() - FOOTER;
    for at in tables {
        let mut changed = encoded.clone();
        changed[at] ^= 1;

        assert!(StoredShard::decode(&changed).is_err(), "{at}");
    }
    let mut swapped = encoded.clone();
    let first = word(&encoded, 24) as usize;
    swapped[first..first + 24].rotate_left(12);
    assert!(matches!(StoredShard::decode(&swapped), Err(Error::OutOfBounds { .. })));
}

#[test]
fn given_files_that_start_outside_of_their_xorbs_when_marked_then_nothing() {
    let mut shard = StoredShard::from(described());
    let chunks = shard.xorbs[0].xorb.leaves.len() as u32;
    shard.files[0].terms[0].chunks = ChunkRange { start: chunks, end: chunks + 1 };
    shard.files.truncate(1);

    shard.mark_file_starts();

    assert!(shard.xorbs[0].global_dedup_chunks.is_empty());
}

#[test]
fn given_two_shards_when_merged_then_each_thing_once_and_in_hash_order() {
    let shard = described();
    let of = |file: &ShardFile| Shard { files: vec![file.clone()], xorbs: shard.xorbs.clone() };
    let [a, b] = [of(&shard.files[1]), of(&shard.files[0])];

    assert_eq!(shard, a.clone().merge(b.clone()));
    assert_eq!(shard, b.merge(a).merge(shard.clone()));
}

#[test]
fn given_a_file_in_both_shards_when_merged_then_completed_from_the_other() {
    let whole = described();
    let of = |verification: Option<Vec<RangeHash>>, sha256| Shard {
        files: vec![ShardFile { verification, sha256, ..whole.files[0].clone() }],
        xorbs: vec![],
    };
    let (verification, sha256) = (whole.files[0].verification.clone(), whole.files[0].sha256);

    let merged = of(verification.clone(), None).merge(of(None, sha256));
    assert_eq!(of(verification.clone(), sha256), merged);

    let mut other_terms = of(verification, sha256);
    other_terms.files[0].terms.reverse();
    let merged = of(None, None).merge(other_terms);
    assert_eq!(of(None, sha256), merged, "the verification is of other terms");
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn given_any_shard_when_encoded_in_any_form_and_decoded_then_the_same(stored in stored(), tables in tables()) {
        let encoded = stored.encode(tables);

        let decoded = StoredShard::decode(&encoded);

        prop_assert_eq!(Ok(sorted(stored.clone())), decoded);
        prop_assert_eq!(Ok(in_hash_order(stored.into_shard())), Shard::decode_upload(&encoded));
    }

    #[test]
    fn given_any_shard_when_damaged_then_an_error_or_a_value_that_encodes_and_decodes_to_itself(
        stored in stored(), tables in tables(), cut in prop::option::of(any::<Index>()),
        flips in vec((any::<Index>(), 1..=255_u8), 0..4),
    ) {
        let mut encoded = stored.encode(tables);
        if let Some(cut) = cut {
            encoded.truncate(cut.index(encoded.len()) + 1);
        }
        for (at, flip) in flips {
            *at.get_mut(&mut encoded) ^= flip;
        }

        if let Ok(read) = StoredShard::decode(&encoded) {
            let again = StoredShard::decode(&read.encode(tables));
            prop_assert_eq!(Ok(sorted(read)), again);
        }
    }

    #[test]
    fn given_any_shards_when_merged_then_in_order_and_in_any_association_the_same(
        a in shard(), b in shard(), c in shard(),
    ) {
        let left = a.clone().merge(b.clone()).merge(c.clone());
        let right = a.clone().merge(b.merge(c));

        prop_assert_eq!(&left, &in_hash_order(left.clone()));
        prop_assert_eq!(&left, &right);
        prop_assert_eq!(in_hash_order(a.clone()).xorbs, a.clone().merge(a).xorbs);
    }
}

fn stored() -> impl Strategy<Value = StoredShard> {
    let parts =
        (shard(), any::<Option<[u8; 32]>>(), any::<(u64, u64)>(), vec((any::<u32>(), vec(any::<Index>(), 0..5)), 4));
    parts.prop_map(|(shard, key, (created, key_expiry), notes)| {
        let mut stored = StoredShard::from(shard);
        (stored.created, stored.key_expiry) = (created, key_expiry);
        stored.key = key.filter(|key| *key != [0; 32]);
        for (xorb, (serialized_bytes, chunks)) in stored.xorbs.iter_mut().zip(notes) {
            xorb.serialized_bytes = serialized_bytes;
            let count = xorb.xorb.leaves.len();
            xorb.global_dedup_chunks =
                chunks.iter().filter(|_| count > 0).map(|chunk| chunk.index(count) as u32).collect();
            xorb.global_dedup_chunks.sort_unstable();
            xorb.global_dedup_chunks.dedup();
        }
        stored
    })
}

fn tables() -> impl Strategy<Value = LookupTables> {
    any::<(bool, bool, bool)>().prop_map(|(files, xorbs, chunks)| LookupTables { files, xorbs, chunks })
}

fn sorted(mut shard: StoredShard) -> StoredShard {
    shard.files.sort_by_key(|file| file.hash);
    shard.xorbs.sort_by_key(|stored| stored.xorb.hash);
    shard
}

/// A word of the footer.
fn word(encoded: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*encoded[encoded.len() - FOOTER + at..].first_chunk().unwrap())
}

fn set_word(encoded: &mut [u8], at: usize, value: u64) {
    let at = encoded.len() - FOOTER + at;
    encoded[at..at + 8].copy_from_slice(&value.to_le_bytes());
}
