use std::io::Write;

use lz4_flex::frame::FrameEncoder;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Value;
use xet_cas::xorb::{
    Builder, CHUNKS_MAX, Footer, RAW_BYTES_MAX, Record, RecordHeader, Records, Serialized, complete_records_bytes,
};
use xet_cas::{
    CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, ChunkHash, ChunkRange, CompressionPolicy, Compressor, Error, Leaf, RangeHash,
    Scheme, SchemeChooser, XorbHash,
};

use super::samples::{config, contents, f32_ramp, splitmix};
use super::vectors::{cases, hash, hashes, hex, input, number, numbers, section, text};

#[test]
fn given_a_xorb_under_each_policy_when_decoded_then_its_chunks_come_back() {
    let chunks = vector_chunks();
    for_each_policy(|policy, case| {
        let decoded = decode(&hex(&case["upload_form_hex"])).unwrap();

        assert_eq!(chunks, decoded.iter().map(|(_, chunk)| chunk.clone()).collect::<Vec<_>>(), "{policy:?}");
        let named: Vec<ChunkHash> = decoded.iter().map(|(leaf, _)| leaf.hash).collect();
        assert_eq!(hashes::<ChunkHash>(&section("xorb")["chunk_hashes"]), named, "{policy:?}");
        assert_eq!(hash::<RangeHash>(&case["range_hash_1_4"]), RangeHash::of(&named[1..4]), "{policy:?}");
    });
}

#[test]
fn given_a_xorb_under_each_policy_when_validated_then_the_footer_is_byte_for_byte_the_deployed_one() {
    for_each_policy(|policy, case| {
        let (upload_form, expected) = (hex(&case["upload_form_hex"]), hex(&case["footer_v1_hex"]));

        let footer = Footer::validate(hash(&case["xorb_hash"]), &upload_form).unwrap();

        assert_eq!(expected, footer.encode(), "{policy:?}");
        assert_eq!(Ok(&footer), Footer::decode_from_end(&expected).as_ref(), "{policy:?}");
        assert_eq!(
            Ok(&footer),
            Footer::decode_from_end(&[&upload_form[..], &expected].concat()).as_ref(),
            "{policy:?}"
        );
        assert_eq!(expected.len() as u64, Footer::tail_bytes(*expected.last_chunk().unwrap()), "{policy:?}");
        assert_eq!(number(&case["info_length"]) + 4, expected.len() as u64, "{policy:?}");
        assert_eq!(upload_form.len() as u64, footer.serialized_bytes(), "{policy:?}");
        assert_eq!(numbers(&case["chunk_boundary_offsets"]), record_ends(&footer), "{policy:?}");
        assert_eq!(numbers(&case["unpacked_chunk_offsets"]), raw_ends(footer.leaves()), "{policy:?}");
    });
}

#[test]
fn given_a_stored_xorb_with_footer_when_validated_then_as_without() {
    for_each_policy(|policy, case| {
        let (name, upload_form) = (hash(&case["xorb_hash"]), hex(&case["upload_form_hex"]));
        let stored = [upload_form.clone(), hex(&case["footer_v1_hex"])].concat();

        assert_eq!(Footer::validate(name, &upload_form), Footer::validate(name, &stored), "{policy:?}");
    });
}

#[test]
fn given_the_same_chunks_when_built_under_each_policy_then_the_same_hash_and_the_deployed_schemes() {
    for_each_policy(|policy, case| {
        let built = build(policy, &vector_chunks(), &numbers(&section("xorb")["file_boundaries_for_auto"]));

        assert_eq!(hash::<XorbHash>(&case["xorb_hash"]), built.hash(), "{policy:?}");
        assert_eq!(schemes(&hex(&case["upload_form_hex"])), schemes(&built.records), "{policy:?}");
        if policy == CompressionPolicy::Always(Scheme::None) {
            assert_eq!(hex(&case["upload_form_hex"]), built.records);
            assert_eq!(hex(&case["footer_v1_hex"]), built.footer.encode());
        }
    });
}

#[test]
fn given_a_new_file_or_32_chunks_when_auto_then_the_scheme_is_chosen_anew() {
    let text = b"one fish, two fish, ".repeat(20);
    let are_grouped = |texts_before: usize, file_starts: &[u64]| {
        let chunks = [vec![text.clone(); texts_before], vec![f32_ramp(65_536)]].concat();
        let schemes = schemes(&build(CompressionPolicy::Auto, &chunks, file_starts).records);
        assert_eq!(vec![Scheme::Lz4; texts_before], schemes[..texts_before]);
        schemes[texts_before] == Scheme::Bg4Lz4
    };

    assert!(are_grouped(0, &[]), "floats are what grouping is for");
    assert!(!are_grouped(1, &[]), "they follow text in its run of chunks");
    assert!(are_grouped(1, &[0, 1]), "they begin a file");
    assert!(!are_grouped(31, &[]), "they end a run of 32 chunks");
    assert!(are_grouped(32, &[]), "they begin the next");
}

#[test]
fn given_a_xorb_in_pieces_when_complete_records_are_counted_then_those_whose_end_arrived() {
    for_each_policy(|policy, case| {
        let upload_form = hex(&case["upload_form_hex"]);
        for arrived in 0..=upload_form.len() {
            let ends = numbers(&case["chunk_boundary_offsets"]);
            let complete: Vec<&u64> = ends.iter().filter(|end| **end <= arrived as u64).collect();

            let counted = complete_records_bytes(&upload_form[..arrived]);

            let end = complete.last().map_or(0, |end| **end as usize);
            assert_eq!(Ok((end, complete.len())), counted, "{policy:?}: {arrived} bytes");
        }
    });
}

#[test]
fn given_a_malformed_header_in_pieces_when_it_has_arrived_then_refused_before_its_payload() {
    let record = build(CompressionPolicy::Auto, &[b"chunk".to_vec()], &[]).records;
    let bad_header = [9; RecordHeader::BYTES];

    assert_eq!(Ok((record.len(), 1)), complete_records_bytes(&[&record[..], &bad_header[..7]].concat()));
    assert_eq!(Err(Error::RecordVersion { version: 9 }), complete_records_bytes(&[&record[..], &bad_header].concat()));
}

#[test]
fn given_a_nonce_in_the_footer_when_read_then_ignored() {
    let vector = &section("xorb")["nonce"];
    let case = policy_case(vector["policy"].as_str().unwrap());
    let mut stored = [hex(&case["upload_form_hex"]), hex(&case["footer_v1_hex"])].concat();
    let without = Footer::validate(hash(&case["xorb_hash"]), &stored).unwrap();
    for (at, byte) in numbers(&vector["changed_byte_offsets"]).iter().zip(hex(&vector["nonce_raw"])) {
        stored[*at as usize] = byte;
    }

    assert_eq!(number(&vector["total_len"]), stored.len() as u64);
    assert_eq!(Ok(without), Footer::validate(hash(&case["xorb_hash"]), &stored));
}

#[test]
fn given_whole_records_of_the_deployed_client_when_decoded_then_their_chunks() {
    for case in cases(section("chunk_serialize_auto")) {
        if let Some(name) = case["serialized_chunk_hex"].as_str().map(|_| text(&case["name"])) {
            let (record, raw) = (hex(&case["serialized_chunk_hex"]), input(&case["input"]));

            let decoded = decode(&record);

            // The deployed reader takes empty chunks, which no writer produces; we do not.
            match raw.as_slice() {
                [] => assert!(matches!(decoded, Err(Error::OutOfBounds { .. })), "{name}"),
                raw => assert_eq!(Ok(vec![(Leaf::of(raw), raw.to_vec())]), decoded, "{name}"),
            }
        }
    }
}

#[test]
fn given_a_xorb_and_another_name_when_validated_then_refused() {
    let built = build(CompressionPolicy::Auto, &vector_chunks(), &[]);

    let refused = Footer::validate(XorbHash::ZERO, &built.records);

    assert_eq!(Err(Error::XorbHash { claimed: XorbHash::ZERO, actual: built.hash() }), refused);
}

#[test]
fn given_a_xorb_without_chunks_when_validated_then_refused() {
    let empty = Builder::new(CompressionPolicy::Auto).finish();

    assert!(matches!(Footer::validate(XorbHash::ZERO, &[]), Err(Error::OutOfBounds { .. })));
    assert!(matches!(Footer::validate(empty.hash(), &empty.footer.encode()), Err(Error::OutOfBounds { .. })));
    assert!(matches!(Footer::decode_from_end(&empty.footer.encode()), Err(Error::OutOfBounds { .. })));
}

#[test]
fn given_anything_between_records_and_footer_when_validated_then_refused() {
    let built = build(CompressionPolicy::Auto, &vector_chunks(), &[]);
    let footer = built.footer.encode();

    for between in [&b"XETBLOB"[..], &footer, &footer[..footer.len() - 4]] {
        let refused = Footer::validate(built.hash(), &[&built.records, between, &footer].concat());

        assert!(refused.is_err(), "{} bytes between", between.len());
    }
}

#[test]
fn given_a_footer_of_another_xorb_when_validated_then_refused() {
    let ours = build(CompressionPolicy::Always(Scheme::None), &[b"chunk".to_vec()], &[]);
    let others = [&b"other"[..], b"longer"].map(|chunk| build(CompressionPolicy::Auto, &[chunk.to_vec()], &[]));

    for other in others {
        let refused = Footer::validate(ours.hash(), &[&ours.records[..], &other.footer.encode()].concat());

        assert!(matches!(refused, Err(Error::Mismatch { .. })), "{refused:?}");
    }
}

#[test]
fn given_a_footer_with_the_offsets_of_another_encoder_when_validated_then_refused() {
    let [raw, compressed] =
        [Scheme::None, Scheme::Lz4].map(|scheme| build(CompressionPolicy::Always(scheme), &[vec![7; 100]], &[]));

    let refused = Footer::validate(raw.hash(), &[raw.records, compressed.footer.encode()].concat());

    assert!(matches!(refused, Err(Error::Mismatch { .. })), "{refused:?}");
}

#[test]
fn given_a_footer_whose_chunk_is_longer_than_a_chunk_can_be_when_decoded_then_refused() {
    let footer = build(CompressionPolicy::Always(Scheme::None), &[vec![1; 100]], &[]).footer.encode();
    let raw_end_at = footer.len() - 4 - 16 - 12 - 4;
    let with_raw_end = |end: usize| {
        let mut footer = footer.clone();
        footer[raw_end_at..raw_end_at + 4].copy_from_slice(&(end as u32).to_le_bytes());
        Footer::decode_from_end(&footer)
    };

    assert_eq!(Ok(CHUNK_BYTES_MAX as u64), with_raw_end(CHUNK_BYTES_MAX).map(|footer| footer.raw_bytes()));
    assert!(matches!(with_raw_end(CHUNK_BYTES_MAX + 1), Err(Error::OutOfBounds { .. })));
}

#[test]
fn given_a_footer_whose_record_is_longer_than_a_record_can_be_when_decoded_then_refused() {
    let footer = build(CompressionPolicy::Always(Scheme::None), &[vec![1; 100]], &[]).footer.encode();
    let record_end_at = footer.len() - 4 - 16 - 12 - 8;
    let with_record_end = |end: usize| {
        let mut footer = footer.clone();
        footer[record_end_at..record_end_at + 4].copy_from_slice(&(end as u32).to_le_bytes());
        Footer::decode_from_end(&footer)
    };
    let longest = RecordHeader::BYTES + 2 * CHUNK_BYTES_MAX;

    assert_eq!(Ok(longest as u64), with_record_end(longest).map(|footer| footer.serialized_bytes()));
    assert!(matches!(with_record_end(longest + 1), Err(Error::OutOfBounds { .. })));
    assert!(matches!(with_record_end(RecordHeader::BYTES), Err(Error::OutOfBounds { .. })));
}

#[test]
fn given_8192_chunks_when_one_more_is_added_then_it_does_not_fit_and_a_reader_refuses_it() {
    let chunks = vec![vec![7]; CHUNKS_MAX];
    let mut builder = Builder::new(CompressionPolicy::Always(Scheme::None));
    for chunk in &chunks {
        builder.push(Leaf::of(chunk), chunk).unwrap();
    }

    assert!(!builder.fits(1));
    assert_eq!(Err(Error::XorbFull), builder.push(Leaf::of(&[7]), &[7]));
    let full = builder.finish();
    let mut overfull = full.records.clone();
    overfull.extend_from_slice(&full.records[..9]);
    assert_eq!(Ok(full.footer.clone()), Footer::validate(full.hash(), &full.records));
    assert_eq!(Ok(full.footer.clone()), Footer::decode_from_end(&full.footer.encode()));
    assert!(matches!(Footer::validate(full.hash(), &overfull), Err(Error::OutOfBounds { .. })));
}

#[test]
fn given_64_mib_when_one_more_byte_is_added_then_it_does_not_fit_and_a_reader_refuses_it() {
    let chunk = vec![0; CHUNK_BYTES_MAX];
    let leaf = Leaf::of(&chunk);
    let mut builder = Builder::new(CompressionPolicy::Always(Scheme::Lz4));
    while builder.fits(chunk.len()) {
        builder.push(leaf, &chunk).unwrap();
    }

    assert_eq!(RAW_BYTES_MAX, builder.raw_bytes());
    assert_eq!(Err(Error::XorbFull), builder.push(Leaf::of(&[7]), &[7]));
    let full = builder.finish();
    let mut overfull = full.records.clone();
    overfull.extend_from_slice(&build(CompressionPolicy::Auto, &[vec![7]], &[]).records);
    assert_eq!(Ok(full.footer.clone()), Footer::validate(full.hash(), &full.records));
    assert!(matches!(Footer::validate(full.hash(), &overfull), Err(Error::OutOfBounds { .. })));
}

#[test]
fn given_a_chunk_that_is_empty_or_too_long_or_not_its_leaf_when_added_then_refused() {
    let mut builder = Builder::new(CompressionPolicy::Auto);
    let too_long = vec![0; CHUNK_BYTES_MAX + 1];

    assert!(matches!(builder.push(Leaf::of(&[]), &[]), Err(Error::OutOfBounds { .. })));
    assert!(matches!(builder.push(Leaf::of(&too_long), &too_long), Err(Error::OutOfBounds { .. })));
    assert!(matches!(builder.push(Leaf::of(&[1]), &[1, 2]), Err(Error::Mismatch { .. })));
    assert!(builder.is_empty());
}

#[test]
fn given_stored_chunks_whose_lengths_cannot_be_when_added_then_refused() {
    let mut builder = Builder::new(CompressionPolicy::Auto);
    let leaf = Leaf::of(&[7; 100]);
    let too_long = Leaf { length: CHUNK_BYTES_MAX as u32 + 1, ..leaf };

    assert!(matches!(builder.push_stored(leaf, Scheme::None, &[7; 99]), Err(Error::Mismatch { .. })));
    assert!(matches!(builder.push_stored(leaf, Scheme::None, &[7; 101]), Err(Error::Mismatch { .. })));
    for scheme in [Scheme::Lz4, Scheme::Bg4Lz4] {
        assert!(matches!(builder.push_stored(leaf, scheme, &[]), Err(Error::OutOfBounds { .. })));
        assert!(matches!(builder.push_stored(leaf, scheme, &[0; 101]), Err(Error::OutOfBounds { .. })));
    }
    assert!(matches!(builder.push_stored(too_long, Scheme::Lz4, &[0; 50]), Err(Error::OutOfBounds { .. })));
    assert!(matches!(builder.push_stored(Leaf::of(&[]), Scheme::None, &[]), Err(Error::OutOfBounds { .. })));
    assert!(builder.is_empty());
}

#[test]
fn given_a_full_xorb_when_a_stored_chunk_is_added_then_it_does_not_fit() {
    let leaf = Leaf::of(&[7]);
    let mut builder = Builder::new(CompressionPolicy::Auto);
    for i in 0..CHUNKS_MAX as u32 {
        assert_eq!(Ok(i), builder.push_stored(leaf, Scheme::None, &[7]));
    }

    assert_eq!(Err(Error::XorbFull), builder.push_stored(leaf, Scheme::None, &[7]));
}

#[test]
fn given_room_for_what_comes_when_incompressible_chunks_are_added_then_the_records_are_not_moved() {
    for raw_bytes in [1, CHUNK_BYTES_MAX, 3 * CHUNK_BYTES_MAX + 1] {
        let file = splitmix(5, raw_bytes);
        let mut builder = Builder::with_capacity(CompressionPolicy::Always(Scheme::None), raw_bytes);
        for chunk in file.chunks(CHUNK_BYTES_MIN) {
            builder.push(Leaf::of(chunk), chunk).unwrap();
        }

        let records = builder.finish().records;
        assert_eq!(raw_bytes + file.chunks(CHUNK_BYTES_MIN).len() * RecordHeader::BYTES, records.len());
        assert_eq!(records.len(), records.capacity());
    }
}

#[test]
fn given_a_header_with_each_field_out_of_bounds_when_decoded_then_refused_with_the_reason() {
    let decode = RecordHeader::decode;
    let good = RecordHeader { scheme: Scheme::Lz4, stored_length: 0x04_0000, raw_length: 0x02_0000 };

    assert_eq!([0, 0, 0, 4, 1, 0, 0, 2], good.encode());
    assert_eq!(Ok(good), decode(&good.encode()));
    assert_eq!(Err(Error::RecordVersion { version: 1 }), decode(&[1, 1, 0, 0, 0, 1, 0, 0]));
    assert_eq!(Err(Error::UnknownScheme { scheme: 99 }), decode(&[0, 1, 0, 0, 99, 1, 0, 0]));
    for bad in [[0, 0, 0, 0, 0, 1, 0, 0], [0, 1, 0, 4, 0, 1, 0, 0], [0, 1, 0, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 1, 0, 2]]
    {
        assert!(matches!(decode(&bad), Err(Error::OutOfBounds { .. })), "{bad:?}");
    }
}

#[test]
fn given_a_frame_that_decodes_to_far_more_than_announced_when_decoded_then_refused_and_no_room_made_for_it() {
    let mut encoder = FrameEncoder::new(Vec::new());
    encoder.write_all(&vec![0; 32 << 20]).unwrap();
    let frame = encoder.finish().unwrap();
    assert!(frame.len() < 2 * CHUNK_BYTES_MAX);
    for raw_length in [1, CHUNK_BYTES_MAX as u32] {
        let header = RecordHeader { scheme: Scheme::Lz4, stored_length: frame.len() as u32, raw_length };
        let body = [&header.encode()[..], &frame].concat();
        let record = Records::new(&body).next().unwrap().unwrap();
        let mut scratch = Vec::new();

        assert!(matches!(record.decode(&mut scratch), Err(Error::Payload { .. })));
        assert!(scratch.capacity() <= CHUNK_BYTES_MAX);
        assert!(matches!(Footer::validate(XorbHash::ZERO, &body), Err(Error::Payload { .. })));
    }
}

#[test]
fn given_a_stored_xorb_when_any_single_byte_is_changed_then_an_error_or_the_same_value() {
    for_each_policy(|policy, case| {
        let name = hash(&case["xorb_hash"]);
        let stored = [hex(&case["upload_form_hex"]), hex(&case["footer_v1_hex"])].concat();
        let expected = Footer::validate(name, &stored).unwrap();
        for at in 0..stored.len() {
            for flip in [0x01, 0x10, 0x80, 0xff] {
                let mut changed = stored.clone();
                changed[at] ^= flip;

                let validated = Footer::validate(name, &changed);

                assert!(validated.is_err() || validated.as_ref() == Ok(&expected), "{policy:?}: byte {at} ^ {flip}");
            }
        }
    });
}

#[test]
fn given_a_stored_xorb_when_cut_anywhere_then_refused_unless_only_the_footer_is_missing() {
    for_each_policy(|policy, case| {
        let name = hash(&case["xorb_hash"]);
        let upload_form = hex(&case["upload_form_hex"]);
        let stored = [upload_form.clone(), hex(&case["footer_v1_hex"])].concat();
        for length in 0..stored.len() {
            let validated = Footer::validate(name, &stored[..length]);

            assert_eq!(length == upload_form.len(), validated.is_ok(), "{policy:?} cut to {length} bytes");
        }
    });
}

proptest! {
    #![proptest_config(config(64))]

    #[test]
    fn given_any_chunks_when_built_and_read_back_then_the_same_chunks((policy, chunks) in xorb()) {
        let built = build(policy, &chunks, &[]);

        let decoded = decode(&built.records).unwrap();

        prop_assert_eq!(chunks.iter().map(|chunk| Leaf::of(chunk)).collect::<Vec<_>>(), built.footer.leaves());
        prop_assert_eq!(Leaf::xorb_hash(built.footer.leaves()), built.hash());
        prop_assert_eq!(chunks, decoded.into_iter().map(|(_, chunk)| chunk).collect::<Vec<_>>());
    }

    #[test]
    fn given_any_chunks_when_compressed_elsewhere_then_the_same_xorb((policy, chunks) in xorb()) {
        let (mut schemes, mut compressor) = (SchemeChooser::new(policy), Compressor::new());
        let mut builder = Builder::with_capacity(policy, 50_000);
        for chunk in &chunks {
            let (scheme, stored) = compressor.compress(schemes.choose(chunk), chunk);
            builder.push_stored(Leaf::of(chunk), scheme, stored).unwrap();
        }

        let (whole, stored) = (build(policy, &chunks, &[]), builder.finish());

        prop_assert_eq!(whole.records, stored.records);
        prop_assert_eq!(whole.footer, stored.footer);
    }

    #[test]
    fn given_the_buffer_of_another_xorb_when_built_in_it_then_nothing_of_that_is_left(
        (policy, chunks) in xorb(),
        left_over in vec(any::<u8>(), 0..50_000),
    ) {
        let mut builder = Builder::with_buffer(policy, left_over);
        for chunk in &chunks {
            builder.push(Leaf::of(chunk), chunk).unwrap();
        }

        let (whole, reused) = (build(policy, &chunks, &[]), builder.finish());

        prop_assert_eq!(whole.records, reused.records);
        prop_assert_eq!(whole.footer, reused.footer);
    }

    #[test]
    fn given_any_xorb_when_validated_encoded_and_decoded_then_the_footer_of_its_builder((policy, chunks) in xorb()) {
        let built = build(policy, &chunks, &[]);
        let encoded = built.footer.encode();

        let stored = [&built.records[..], &encoded].concat();

        let footers = [
            Footer::validate(built.hash(), &built.records),
            Footer::validate(built.hash(), &stored),
            Footer::decode_from_end(&stored),
        ];

        footers.into_iter().for_each(|footer| assert_eq!(Ok(&built.footer), footer.as_ref()));
        prop_assert_eq!(Footer::tail_bytes(*encoded.last_chunk().unwrap()), encoded.len() as u64);
    }

    #[test]
    fn given_any_run_of_chunks_when_its_bytes_are_taken_then_they_hold_exactly_that_run(
        (policy, chunks) in xorb(),
        (a, b) in (any::<Index>(), any::<Index>()),
    ) {
        let built = build(policy, &chunks, &[]);
        let (a, b) = (a.index(chunks.len()) as u32, b.index(chunks.len()) as u32);
        let run = ChunkRange { start: a.min(b), end: a.max(b) + 1 };

        let bytes = built.footer.byte_range(run).unwrap();
        let decoded = decode(&built.records[bytes.start as usize..bytes.end as usize]).unwrap();

        let expected = &chunks[run.start as usize..run.end as usize];
        prop_assert_eq!(expected, decoded.into_iter().map(|(_, chunk)| chunk).collect::<Vec<_>>());
    }

    #[test]
    fn given_a_run_that_is_empty_or_goes_past_the_end_when_its_bytes_are_asked_for_then_none(
        (policy, chunks) in xorb(),
        (start, past) in (0..50_u32, 1..u32::MAX - 50),
    ) {
        let footer = build(policy, &chunks, &[]).footer;
        let count = chunks.len() as u32;

        prop_assert_eq!(None, footer.byte_range(ChunkRange { start, end: start }));
        prop_assert_eq!(None, footer.byte_range(ChunkRange { start, end: start.saturating_sub(1) }));
        prop_assert_eq!(None, footer.byte_range(ChunkRange { start, end: count + past }));
    }

    #[test]
    fn given_any_xorb_when_damaged_then_an_error_or_the_same_value(
        (policy, chunks) in xorb(),
        with_footer: bool,
        cut in prop::option::of(any::<Index>()),
        flips in vec((any::<Index>(), 1..=255_u8), 0..3),
    ) {
        let built = build(policy, &chunks, &[]);
        let mut body = built.records.clone();
        if with_footer {
            body.extend(built.footer.encode());
        }
        if let Some(cut) = cut {
            body.truncate(cut.index(body.len()) + 1);
        }
        for (at, flip) in flips {
            *at.get_mut(&mut body) ^= flip;
        }

        if let Ok(validated) = Footer::validate(built.hash(), &body) {
            prop_assert_eq!(&built.footer, &validated);
        }
    }

    #[test]
    fn given_any_footer_when_damaged_then_an_error_or_a_value_that_encodes_and_decodes_to_itself(
        (policy, chunks) in xorb(),
        cut in prop::option::of(any::<Index>()),
        flips in vec((any::<Index>(), 1..=255_u8), 0..3),
    ) {
        let mut footer = build(policy, &chunks, &[]).footer.encode();
        if let Some(cut) = cut {
            footer.drain(..cut.index(footer.len()));
        }
        for (at, flip) in flips {
            *at.get_mut(&mut footer) ^= flip;
        }

        if let Ok(decoded) = Footer::decode_from_end(&footer) {
            let again = Footer::decode_from_end(&decoded.encode());
            prop_assert_eq!(Ok(decoded), again);
        }
    }

    #[test]
    fn given_any_bytes_when_read_as_a_xorb_then_no_panic(bytes in vec(any::<u8>(), 0..400)) {
        let _ = decode(&bytes);
        let _ = Footer::validate(XorbHash::ZERO, &bytes);
        let _ = Footer::decode_from_end(&bytes);
        let _ = complete_records_bytes(&bytes);
    }
}

/// A policy and some chunks.
fn xorb() -> impl Strategy<Value = (CompressionPolicy, Vec<Vec<u8>>)> {
    (select(policies().map(|(_, policy)| policy).to_vec()), vec(contents(20_000), 1..40))
}

fn policies() -> [(&'static str, CompressionPolicy); 4] {
    [
        ("none", CompressionPolicy::Always(Scheme::None)),
        ("lz4", CompressionPolicy::Always(Scheme::Lz4)),
        ("bg4-lz4", CompressionPolicy::Always(Scheme::Bg4Lz4)),
        ("auto", CompressionPolicy::Auto),
    ]
}

fn for_each_policy(check: impl Fn(CompressionPolicy, &Value)) {
    for (name, policy) in policies() {
        check(policy, policy_case(name));
    }
}

fn policy_case(name: &str) -> &'static Value {
    cases(&section("xorb")["serialized"]).iter().find(|case| case["policy"] == name).unwrap()
}

fn vector_chunks() -> Vec<Vec<u8>> {
    cases(&section("xorb")["chunks"]).iter().map(input).collect()
}

/// A xorb of these chunks; `file_starts` are the indices of chunks at which a file begins.
fn build(policy: CompressionPolicy, chunks: &[Vec<u8>], file_starts: &[u64]) -> Serialized {
    let mut builder = Builder::new(policy);
    for (i, chunk) in chunks.iter().enumerate() {
        if file_starts.contains(&(i as u64)) {
            builder.begin_file();
        }
        assert_eq!(Ok(i as u32), builder.push(Leaf::of(chunk), chunk));
    }
    builder.finish()
}

fn decode(records: &[u8]) -> Result<Vec<(Leaf, Vec<u8>)>, Error> {
    let mut scratch = b"left over from another chunk".to_vec();
    let mut decode_one =
        |record: Record<'_>| record.decode(&mut scratch).map(|chunk| (Leaf::of(chunk), chunk.to_vec()));
    Records::new(records).map(|record| decode_one(record?)).collect()
}

fn schemes(records: &[u8]) -> Vec<Scheme> {
    Records::new(records).map(|record| record.unwrap().header.scheme).collect()
}

fn record_ends(footer: &Footer) -> Vec<u64> {
    (1..=footer.leaves().len() as u32).map(|end| footer.byte_range(ChunkRange { start: 0, end }).unwrap().end).collect()
}

fn raw_ends(leaves: &[Leaf]) -> Vec<u64> {
    (1..=leaves.len()).map(|end| leaves[..end].iter().map(|leaf| u64::from(leaf.length)).sum()).collect()
}
