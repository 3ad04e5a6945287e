use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use xet_cas::shard::{SHARD_BYTES_MAX, Shard, ShardFile, ShardXorb};
use xet_cas::{CHUNK_BYTES_MAX, ChunkHash, ChunkRange, Error, FileHash, Leaf, RangeHash, Term, XorbHash, xorb};

use super::samples::config;
use super::vectors::{cases, hash, hashes, hex, hex32, input, number, section};

/// Bytes of an entry, and of the header.
const ENTRY: usize = 48;
/// Where the words of an entry stand in it.
const WORDS: [usize; 4] = [32, 36, 40, 44];

#[test]
fn given_the_upload_form_when_decoded_then_what_it_describes() {
    let vector = section("shard");
    let upload_form = hex(&vector["upload_form_hex"]);

    let shard = Shard::decode_upload(&upload_form).unwrap();

    assert_eq!(described(), shard);
    let materialized: u32 = shard.files.iter().flat_map(|file| &file.terms).map(|term| term.unpacked_length).sum();
    assert_eq!(number(&vector["footer_fields_of_local_full"]["materialized_bytes"]), u64::from(materialized));
    assert_eq!(
        hashes::<FileHash>(&vector["file_order_in_shard"]),
        shard.files.iter().map(|file| file.hash).collect::<Vec<_>>()
    );
}

#[test]
fn given_files_in_any_order_when_encoded_then_the_upload_form_byte_for_byte() {
    let mut shard = described();

    let encoded = shard.encode_upload();
    shard.files.reverse();
    let encoded_reversed = shard.encode_upload();

    assert_eq!(hex(&section("shard")["upload_form_hex"]), encoded);
    assert_eq!(encoded, encoded_reversed);
    assert_eq!(encoded.len(), shard.upload_bytes());
}

#[test]
fn given_the_full_form_of_the_client_when_decoded_then_its_tables_and_footer_are_ignored() {
    let full = hex(&section("shard")["local_full_hex"]);
    let end_of_xorbs = number(&section("shard")["footer_fields_of_local_full"]["file_lookup_offset"]) as usize;
    let garbled_tail = [&full[..end_of_xorbs], &[0xab; 100]].concat();

    assert_eq!(Ok(described()), Shard::decode_upload(&full));
    assert_eq!(Ok(described()), Shard::decode_upload(&garbled_tail));
}

#[test]
fn given_a_sha256_when_stored_then_every_group_of_eight_is_reversed() {
    let vector = &section("shard")["file_a"];
    let upload_form = hex(&section("shard")["upload_form_hex"]);

    let shard = Shard::decode_upload(&upload_form).unwrap();

    assert_eq!(Some(hex32(&vector["sha256_hex"])), shard.files[0].sha256);
    assert_eq!(hex(&vector["sha256_field_raw"]), upload_form[entry_at(SHA256_A)..][..32]);
}

#[test]
fn given_an_empty_shard_when_decoded_and_encoded_then_two_bookends() {
    let full = hex(&section("shard")["empty_shard_hex"]);

    let shard = Shard::decode_upload(&full).unwrap();
    let encoded = shard.encode_upload();

    assert_eq!(Shard::default(), shard);
    assert_eq!(3 * ENTRY, encoded.len());
    assert_eq!(full[ENTRY..3 * ENTRY], encoded[ENTRY..]);
}

#[test]
fn given_an_upload_form_when_cut_anywhere_then_refused() {
    let upload_form = hex(&section("shard")["upload_form_hex"]);
    for length in 0..upload_form.len() {
        let refused = Shard::decode_upload(&upload_form[..length]);

        assert!(
            matches!(refused, Err(Error::Truncated { .. } | Error::OutOfBounds { .. })),
            "cut to {length}: {refused:?}"
        );
    }
}

#[test]
fn given_another_tag_when_decoded_then_refused() {
    for at in 0..32 {
        let mut changed = hex(&section("shard")["upload_form_hex"]);
        changed[at] ^= 1;

        assert_eq!(Err(Error::Marker { what: "shard" }), Shard::decode_upload(&changed));
    }
}

#[test]
fn given_a_shard_above_64_mib_when_decoded_then_refused() {
    let mut shard = Shard::default().encode_upload();
    shard.resize(SHARD_BYTES_MAX, 0);
    let largest = Shard::decode_upload(&shard);
    shard.push(0);

    assert_eq!(Ok(Shard::default()), largest);
    assert!(matches!(Shard::decode_upload(&shard), Err(Error::OutOfBounds { .. })));
}

// Entries of the upload form: 0 is the header of file A (2 terms, 2 verifications, SHA-256), 6 that of file B
// (1 term, 1 verification), 10 that of the xorb (5 chunks); the constants below name them.
const FILE_A: usize = 0;
const TERM_A1: usize = 1;
const SHA256_A: usize = 5;
const FILE_B: usize = 6;
const XORB: usize = 10;
const CHUNK_2: usize = 12;

#[test]
fn given_counts_beyond_the_data_when_decoded_then_refused_before_room_is_made_for_them() {
    let entries_behind = |entry| (hex(&section("shard")["upload_form_hex"]).len() - entry_at(entry)) / ENTRY - 1;
    for (entry, what) in [(FILE_A, "terms of a file"), (FILE_B, "terms of a file"), (XORB, "chunks of a xorb")] {
        let max = entries_behind(entry) as u64;
        for count in [max as u32 + 1, u32::MAX] {
            let refused = Shard::decode_upload(&change(entry, 1, count));

            assert_eq!(Err(Error::OutOfBounds { what, value: count.into(), min: 0, max }), refused);
        }
    }
}

#[test]
fn given_more_verification_entries_than_there_is_data_when_decoded_then_refused_before_room_is_made_for_them() {
    const HAS_VERIFICATION: u8 = 0x80;
    let term = described().files[0].terms[0];
    let file = ShardFile { hash: FileHash::ZERO, terms: vec![term; 3], verification: None, sha256: None };
    let mut encoded = Shard { files: vec![file], xorbs: vec![] }.encode_upload();
    encoded[entry_at(0) + WORDS[0] + 3] = HAS_VERIFICATION;

    let refused = Shard::decode_upload(&encoded);

    assert_eq!(Err(Error::OutOfBounds { what: "verification entries of a file", value: 3, min: 0, max: 2 }), refused);
}

#[test]
fn given_a_term_with_no_chunks_or_chunks_past_a_xorb_when_decoded_then_refused() {
    // Chunks [0, 2).
    check_refused(TERM_A1, 2, 2);
    check_refused(TERM_A1, 2, u32::MAX);
    check_refused(TERM_A1, 3, 0);
    check_refused(TERM_A1, 3, xorb::CHUNKS_MAX as u32 + 1);
}

#[test]
fn given_a_term_with_no_bytes_or_more_than_a_xorb_when_decoded_then_refused() {
    check_refused(TERM_A1, 1, 0);
    check_refused(TERM_A1, 1, xorb::RAW_BYTES_MAX as u32 + 1);
}

#[test]
fn given_chunks_whose_offsets_or_lengths_do_not_add_up_when_decoded_then_refused() {
    check_refused(CHUNK_2, 0, 11);
    check_refused(CHUNK_2, 1, 301);
    check_refused(CHUNK_2, 1, 0);
    check_refused(CHUNK_2, 1, CHUNK_BYTES_MAX as u32 + 1);
    check_refused(XORB, 2, 1609);
}

#[test]
fn given_a_xorb_of_more_than_64_mib_when_decoded_then_refused() {
    let leaf = Leaf { hash: ChunkHash::of(b"chunk"), length: CHUNK_BYTES_MAX as u32 };
    let of =
        |chunks| Shard { files: vec![], xorbs: vec![ShardXorb { hash: XorbHash::ZERO, leaves: vec![leaf; chunks] }] };

    assert!(Shard::decode_upload(&of(512).encode_upload()).is_ok());
    assert!(matches!(Shard::decode_upload(&of(513).encode_upload()), Err(Error::OutOfBounds { .. })));
}

#[test]
fn given_verification_on_some_files_only_when_decoded_then_refused() {
    let mut shard = described();
    shard.files[1].verification = None;

    let refused = Shard::decode_upload(&shard.encode_upload());

    assert!(matches!(refused, Err(Error::Mismatch { .. })));
}

#[test]
fn given_fields_that_are_the_servers_to_fill_in_when_set_then_the_same_value() {
    let chunk_eligible_for_dedup = change(CHUNK_2, 2, 1 << 31);
    let serialized_bytes_of_the_xorb = change(XORB, 3, 1648);
    let mut footer_bytes_in_the_header = hex(&section("shard")["upload_form_hex"]);
    footer_bytes_in_the_header[40] = 200;

    for changed in [chunk_eligible_for_dedup, serialized_bytes_of_the_xorb, footer_bytes_in_the_header] {
        assert_eq!(Ok(described()), Shard::decode_upload(&changed));
    }
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn given_any_shard_when_encoded_and_decoded_then_the_same_in_hash_order(shard in shard()) {
        let encoded = shard.encode_upload();

        let decoded = Shard::decode_upload(&encoded);

        prop_assert_eq!(shard.upload_bytes(), encoded.len());
        prop_assert_eq!(Ok(in_hash_order(shard)), decoded);
    }

    #[test]
    fn given_any_shard_when_damaged_then_an_error_or_a_value_that_encodes_and_decodes_to_itself(
        shard in shard(),
        cut in prop::option::of(any::<Index>()),
        flips in vec((any::<Index>(), 1..=255_u8), 0..4),
    ) {
        let mut encoded = shard.encode_upload();
        if let Some(cut) = cut {
            encoded.truncate(cut.index(encoded.len()) + 1);
        }
        for (at, flip) in flips {
            *at.get_mut(&mut encoded) ^= flip;
        }

        if let Ok(decoded) = Shard::decode_upload(&encoded) {
            prop_assert_eq!(Ok(in_hash_order(decoded.clone())), Shard::decode_upload(&decoded.encode_upload()));
        }
    }

    #[test]
    fn given_any_entries_behind_the_header_when_decoded_then_no_panic(entries in vec(any::<u8>(), 0..600)) {
        let header = &hex(&section("shard")["upload_form_hex"])[..ENTRY];

        let _ = Shard::decode_upload(&[header, &entries[..]].concat());
    }
}

/// The shard of the vectors, put together from what they say about it: the five chunks of section `xorb`; file
/// A is all of them in terms [0, 2) and [2, 5); file B is [1, 3).
pub(super) fn described() -> Shard {
    let vector = section("shard");
    let leaves: Vec<Leaf> = cases(&section("xorb")["chunks"]).iter().map(|chunk| Leaf::of(&input(chunk))).collect();
    let name: XorbHash = hash(&vector["xorb_hash"]);
    let file = |hash, runs: &[(u32, u32)], sha256| {
        let leaves_of = |(start, end): (u32, u32)| &leaves[start as usize..end as usize];
        let term = |run: (u32, u32)| Term {
            xorb: name,
            chunks: ChunkRange { start: run.0, end: run.1 },
            unpacked_length: leaves_of(run).iter().map(|leaf| leaf.length).sum(),
        };
        let verification = |run| RangeHash::of(leaves_of(run).iter().map(|leaf| &leaf.hash));
        ShardFile {
            hash,
            terms: runs.iter().copied().map(term).collect(),
            verification: Some(runs.iter().copied().map(verification).collect()),
            sha256,
        }
    };
    let sha256 = hex32(&vector["file_a"]["sha256_hex"]);
    Shard {
        files: vec![
            file(hash(&vector["file_a"]["file_hash"]), &[(0, 2), (2, 5)], Some(sha256)),
            file(hash(&vector["file_b"]["file_hash"]), &[(1, 3)], None),
        ],
        xorbs: vec![ShardXorb { hash: name, leaves }],
    }
}

/// The upload form of the vectors with one word of an entry replaced.
fn change(entry: usize, word: usize, value: u32) -> Vec<u8> {
    let mut changed = hex(&section("shard")["upload_form_hex"]);
    let at = entry_at(entry) + WORDS[word];
    changed[at..at + 4].copy_from_slice(&value.to_le_bytes());
    changed
}

fn check_refused(entry: usize, word: usize, value: u32) {
    let refused = Shard::decode_upload(&change(entry, word, value));

    assert!(
        matches!(refused, Err(Error::OutOfBounds { .. } | Error::Mismatch { .. })),
        "word {word} of entry {entry}: {refused:?}"
    );
}

/// Entries are counted from behind the header.
fn entry_at(index: usize) -> usize {
    ENTRY * (1 + index)
}

pub(super) fn in_hash_order(mut shard: Shard) -> Shard {
    shard.files.sort_by_key(|file| file.hash);
    shard.xorbs.sort_by_key(|xorb| xorb.hash);
    shard
}

pub(super) fn shard() -> impl Strategy<Value = Shard> {
    any::<bool>().prop_flat_map(|verified| {
        (vec(file(verified), 0..5), vec(xorb(), 0..4)).prop_map(|(files, xorbs)| Shard { files, xorbs })
    })
}

fn file(verified: bool) -> impl Strategy<Value = ShardFile> {
    let parts = (name(), vec((term(), any::<[u8; 32]>()), 0..6), any::<Option<[u8; 32]>>());
    parts.prop_map(move |(hash, terms, sha256)| {
        let (terms, hashes): (Vec<Term>, Vec<[u8; 32]>) = terms.into_iter().unzip();
        let verification = verified.then(|| hashes.into_iter().map(RangeHash::from_bytes).collect());
        ShardFile { hash: FileHash::from_bytes(hash), terms, verification, sha256 }
    })
}

fn term() -> impl Strategy<Value = Term> {
    let chunks = (0..xorb::CHUNKS_MAX as u32).prop_flat_map(|start| (Just(start), start + 1..=xorb::CHUNKS_MAX as u32));
    (any::<[u8; 32]>(), chunks, 1..=xorb::RAW_BYTES_MAX as u32).prop_map(|(hash, (start, end), unpacked_length)| Term {
        xorb: XorbHash::from_bytes(hash),
        chunks: ChunkRange { start, end },
        unpacked_length,
    })
}

fn xorb() -> impl Strategy<Value = ShardXorb> {
    let leaf = (any::<[u8; 32]>(), 1..=CHUNK_BYTES_MAX as u32)
        .prop_map(|(hash, length)| Leaf { hash: ChunkHash::from_bytes(hash), length });
    (name(), vec(leaf, 0..20)).prop_map(|(hash, leaves)| ShardXorb { hash: XorbHash::from_bytes(hash), leaves })
}

/// Any hash but all ones, which closes a section.
fn name() -> impl Strategy<Value = [u8; 32]> {
    any::<[u8; 32]>().prop_filter("a bookend", |hash| *hash != [0xff; 32])
}
