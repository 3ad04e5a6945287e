//! Xorbs that are checked while they arrive.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use xet_cas::xorb::{Builder, CHUNKS_MAX, Footer, RecordHeader, Records, Serialized, Validator};
use xet_cas::{CompressionPolicy, Error, Leaf, Scheme, XorbHash};

use super::samples::{config, contents, splitmix};

#[test]
fn given_a_stored_xorb_when_it_arrives_byte_by_byte_then_the_footer_of_its_builder() {
    let built = build(CompressionPolicy::Auto, &[splitmix(1, 5000), vec![7; 3000], b"x".to_vec()]);
    let stored = [&built.records[..], &built.footer.encode()].concat();

    for body in [&built.records, &stored] {
        assert_eq!(Ok(built.footer.clone()), in_pieces(built.hash(), body, &[1]));
    }
}

#[test]
fn given_a_record_that_cannot_be_when_its_header_has_arrived_then_refused_and_for_good() {
    let good = build(CompressionPolicy::Auto, &[b"chunk".to_vec()]);
    let mut validator = Validator::new();
    validator.push(&good.records).unwrap();
    validator.push(&[9; RecordHeader::BYTES - 1]).unwrap();
    let refused = Err(Error::RecordVersion { version: 9 });

    assert_eq!(refused, validator.push(&[9]));
    assert_eq!(refused, validator.push(&[]));
    assert_eq!(refused, validator.push(&good.records));
    assert_eq!(refused.map(|()| good.footer.clone()), validator.finish(good.hash()));
}

#[test]
fn given_a_damaged_payload_when_it_has_arrived_then_refused_before_the_end() {
    let mut records = build(CompressionPolicy::Always(Scheme::Lz4), &[vec![7; 5000]]).records;
    records[RecordHeader::BYTES] ^= 1;

    assert!(matches!(Validator::new().push(&records), Err(Error::Payload { .. })));
}

#[test]
fn given_one_chunk_too_many_when_it_arrives_then_refused_before_the_end() {
    let full = build(CompressionPolicy::Always(Scheme::None), &vec![vec![7]; CHUNKS_MAX]);
    let mut validator = Validator::new();
    validator.push(&full.records).unwrap();

    assert_eq!(full.records.len() as u64, validator.serialized_bytes());
    assert!(matches!(validator.push(&full.records[..9]), Err(Error::OutOfBounds { .. })));
}

#[test]
fn given_more_behind_the_records_than_any_footer_has_when_it_arrives_then_refused_before_the_end() {
    let built = build(CompressionPolicy::Auto, &[b"chunk".to_vec()]);
    let mut validator = Validator::new();
    validator.push(&[&built.records[..], b"XETBLOB"].concat()).unwrap();
    let piece = vec![0; Footer::BYTES_MAX / 4];
    let refused = (0..8).find_map(|_| validator.push(&piece).err());

    assert!(matches!(refused, Some(Error::OutOfBounds { what: "bytes behind the records", .. })), "{refused:?}");
    let full = build(CompressionPolicy::Always(Scheme::None), &vec![vec![7]; CHUNKS_MAX]);
    let stored = [&full.records[..], &full.footer.encode()].concat();
    assert_eq!(Footer::BYTES_MAX, full.footer.encode().len());
    assert_eq!(Ok(full.footer.clone()), in_pieces(full.hash(), &stored, &[100_000]));
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn given_a_xorb_whole_or_damaged_when_it_arrives_in_any_pieces_then_the_answer_of_one_piece_and_of_the_plain_rules(
        policy in select(vec![
            CompressionPolicy::Auto,
            CompressionPolicy::Always(Scheme::None),
            CompressionPolicy::Always(Scheme::Bg4Lz4),
        ]),
        chunks in vec(contents(20_000), 0..12),
        with_footer: bool,
        cut in prop::option::of(any::<Index>()),
        flips in vec((any::<Index>(), 1..=255_u8), 0..2),
        pieces in vec(prop_oneof![0..20_usize, 0..5_000_usize, 0..100_000_usize], 1..20),
    ) {
        let built = build(policy, &chunks);
        let mut body = built.records.clone();
        if with_footer {
            body.extend(built.footer.encode());
        }
        if let Some(cut) = cut {
            body.truncate(cut.index(body.len() + 1));
        }
        if !body.is_empty() {
            flips.into_iter().for_each(|(at, flip)| *at.get_mut(&mut body) ^= flip);
        }

        for claimed in [built.hash(), XorbHash::ZERO] {
            let answer = in_pieces(claimed, &body, &pieces);

            prop_assert_eq!(Footer::validate(claimed, &body), answer.clone());
            prop_assert_eq!(plainly(claimed, &body), answer.ok());
        }
    }
}

/// Pieces of these lengths, again and again. At least one of them must not be 0.
fn in_pieces(claimed: XorbHash, mut body: &[u8], lengths: &[usize]) -> Result<Footer, Error> {
    let mut validator = Validator::new();
    for length in lengths.iter().map(|length| length + usize::from(lengths.iter().all(|length| *length == 0))).cycle() {
        let (piece, rest) = body.split_at(length.min(body.len()));
        validator.push(piece)?;
        body = rest;
        if body.is_empty() {
            break;
        }
    }
    validator.finish(claimed)
}

/// The rules written down a second time, for a xorb within its limits: what the records hold has this name, and a footer
/// behind them is the one that they have.
fn plainly(claimed: XorbHash, body: &[u8]) -> Option<Footer> {
    let mut records = Records::new(body);
    let mut builder = Builder::new(CompressionPolicy::Auto);
    let mut scratch = Vec::new();
    for record in &mut records {
        let record = record.ok()?;
        let leaf = Leaf::of(record.decode(&mut scratch).ok()?);
        builder.push_stored(leaf, record.header.scheme, record.payload).ok()?;
    }
    let footer =
        Some(builder.finish().footer).filter(|footer| footer.hash() == claimed && !footer.leaves().is_empty())?;
    (records.rest().is_empty() || Footer::decode_stored(body).as_ref() == Ok(&footer)).then_some(footer)
}

fn build(policy: CompressionPolicy, chunks: &[Vec<u8>]) -> Serialized {
    let mut builder = Builder::new(policy);
    for chunk in chunks {
        builder.push(Leaf::of(chunk), chunk).unwrap();
    }
    builder.finish()
}
