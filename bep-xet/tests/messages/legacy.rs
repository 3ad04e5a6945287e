//! The messages of the legacy dialects: whole frames by hand, what is refused, and payloads in pieces.

use bep_xet::{ChunkError, ChunkNotFound, ChunkRequest, ChunkResponse, Decoder, Dialect, Error, Limits, Message};
use bytes::{BufMut, Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use xet_cas::ChunkRange;

use super::{encode, hex};

const HASH: &str = "1122334455667788 1122334455667788 1122334455667788 1122334455667788";
const LEGACY: [Dialect; 2] = [Dialect::Base, Dialect::Ranged];

fn hash() -> [u8; 32] {
    hex(HASH)[..].try_into().unwrap()
}

/// With the head that BEP 3 and BEP 10 put before it: length, message id 20, extension id.
fn frame(message: &Message, extension_id: u8) -> Bytes {
    let mut out = BytesMut::new();
    let payload_bytes = message.payload_bytes().expect("it begins a payload");
    out.put_u32(u32::try_from(payload_bytes).unwrap() + Message::FRAME_BYTES as u32);
    out.put_slice(&[20, extension_id]);
    message.encode(&mut out);
    out.freeze()
}

/// Both ways; none of the first `min_bytes` of the payload may be missing, and nothing behind it matters.
fn check(dialects: &[Dialect], bytes: &str, extension_id: u8, min_bytes: usize, message: Message) {
    let frame_bytes = hex(bytes);
    let payload = frame_bytes.slice(6..);

    assert_eq!(frame_bytes, frame(&message, extension_id));
    for dialect in dialects {
        let decode = |payload: Bytes| Message::decode_in(*dialect, payload, &Limits::default());
        assert_eq!(Ok(&message), decode(payload.clone()).as_ref());
        for end in 0..min_bytes {
            let cut = decode(payload.slice(..end));
            assert!(cut.as_ref().is_err_and(Error::is_peer_fault), "{end}: {cut:?}");
        }
    }
}

#[test]
fn given_a_request_when_coded_then_the_frame_is_that_of_its_dialect() {
    let base = ChunkRequest { id: 0x0102_0304, hash: hash(), chunks: None };
    let ranged = ChunkRequest { chunks: Some(ChunkRange { start: 5, end: 0x0001_0000 }), ..base };

    check(
        &[Dialect::Ranged],
        &format!("0000002f 14 01 01 01020304 {HASH} 00000005 00010000"),
        1,
        45,
        Message::ChunkRequest(ranged),
    );
    check(&[Dialect::Base], &format!("00000027 14 07 01 01020304 {HASH}"), 7, 37, Message::ChunkRequest(base));
}

#[test]
fn given_a_response_when_coded_then_the_frame_is_that_of_its_dialect() {
    let data = Bytes::from_static(b"hello");
    let base = ChunkResponse { id: 9, chunk_offset: None, length: 5, data };
    let ranged = ChunkResponse { chunk_offset: Some(3), ..base.clone() };

    check(
        &[Dialect::Ranged],
        "00000014 14 03 02 00000009 00000003 00000005 68656c6c6f",
        3,
        18,
        Message::ChunkResponse(ranged),
    );
    check(&[Dialect::Base], "00000010 14 03 02 00000009 00000005 68656c6c6f", 3, 14, Message::ChunkResponse(base));
}

#[test]
fn given_answers_without_data_when_coded_then_hash_and_text_may_be_absent() {
    let not_found = |hash| Message::ChunkNotFound(ChunkNotFound { id: 9, hash });
    let error = |text| Message::ChunkError(ChunkError { id: 9, code: 404, text: Bytes::from_static(text) });

    check(&LEGACY, &format!("00000027 14 01 03 00000009 {HASH}"), 1, 5, not_found(Some(hash())));
    check(&LEGACY, "00000007 14 01 03 00000009", 1, 5, not_found(None));
    check(&LEGACY, "0000000e 14 01 04 00000009 00000194 676f6e", 1, 9, error(b"gon"));
    check(&LEGACY, "0000000b 14 01 04 00000009 00000194", 1, 9, error(b""));
}

#[test]
fn given_bytes_behind_a_message_when_decoded_then_they_are_passed_over() {
    for (dialect, bytes) in [
        (Dialect::Base, format!("01 00000001 {HASH}")),
        (Dialect::Ranged, format!("01 00000001 {HASH} 00000005 00000006")),
        (Dialect::Base, "02 00000001 00000001 61".to_owned()),
        (Dialect::Ranged, "02 00000001 00000000 00000001 61".to_owned()),
        (Dialect::Base, format!("03 00000001 {HASH}")),
    ] {
        let decode = |payload| Message::decode_in(dialect, payload, &Limits::default());

        let expected = decode(hex(&bytes)).unwrap();

        assert_eq!(Ok(expected), decode(hex(&format!("{bytes} 6d6f7265"))), "{dialect} {bytes}");
    }
}

#[test]
fn given_kinds_of_other_dialects_when_decoded_then_they_are_unknown_and_never_an_error() {
    // Base peers use 0x10 to 0x31 for messages of their own, which are none of version 2.
    for dialect in LEGACY {
        for kind in (0..=0xff).filter(|kind| !(1..=4).contains(kind)) {
            let decoded = Message::decode_in(dialect, Bytes::from(vec![kind]), &Limits::default());
            assert_eq!(Ok(Message::Unknown { kind, body: Bytes::new() }), decoded);
        }
    }
    for kind in 1..=4 {
        let decoded = Message::decode_in(Dialect::V2, Bytes::from(vec![kind, 0]), &Limits::default());
        assert_eq!(Ok(Message::Unknown { kind, body: Bytes::from_static(&[0]) }), decoded);
    }
}

#[test]
fn given_a_length_that_lies_when_decoded_then_it_is_refused_before_anything_is_buffered() {
    for (dialect, head) in [(Dialect::Base, "02 00000009"), (Dialect::Ranged, "02 00000009 00000000")] {
        for length in ["00000006", "03ffffff"] {
            let bytes = hex(&format!("{head} {length} 68656c6c6f"));
            let whole = Message::decode_in(dialect, bytes.clone(), &Limits::default());
            assert!(matches!(whole, Err(Error::Truncated { .. })), "{dialect} {length}: {whole:?}");

            let mut decoder = Decoder::new(dialect, Limits::default());
            decoder.begin(bytes.len() as u64).unwrap();
            let in_pieces = decoder.decode(bytes.slice(..bytes.len() - 4));
            assert!(matches!(in_pieces, Err(Error::Truncated { .. })), "{dialect} {length}: {in_pieces:?}");
        }
        let beyond = Message::decode_in(dialect, hex(&format!("{head} ffffffff")), &Limits::default());
        assert!(matches!(beyond, Err(Error::OutOfBounds { .. })), "{dialect}: {beyond:?}");
    }
}

#[test]
fn given_a_long_payload_that_is_no_response_when_its_first_byte_comes_then_it_is_refused() {
    for (dialect, kind) in [(Dialect::Base, 3), (Dialect::Ranged, 0x40), (Dialect::V2, 2), (Dialect::V2, 0x15)] {
        let mut decoder = Decoder::new(dialect, Limits::default());
        decoder.begin(2 << 20).unwrap();

        let refused = decoder.decode(Bytes::from(vec![kind]));

        assert_eq!(Err(Error::MessageTooLarge { bytes: 2 << 20, max: (1 << 20) - 2 }), refused);
    }
}

#[test]
fn given_pieces_that_are_none_when_decoded_then_that_is_our_mistake() {
    let mut decoder = Decoder::new(Dialect::Base, Limits::default());
    assert!(decoder.begin(0).is_err_and(|error| error.is_peer_fault()), "no payload is empty");

    decoder.begin(5).unwrap();
    let refused = [decoder.begin(5), decoder.decode(Bytes::from_static(b"longer")).map(drop)];

    for refused in refused {
        assert!(matches!(refused, Err(Error::Misuse { .. })), "{refused:?}");
    }
    assert!(decoder.is_inside());
}

/// What the pieces say in all, with the data of a response joined to its front.
fn decode_in_pieces(dialect: Dialect, payload: &Bytes, piece_bytes: usize) -> Result<Option<Message>, Error> {
    let mut decoder = Decoder::new(dialect, Limits::default());
    let mut decoded: Option<Message> = None;
    decoder.begin(payload.len() as u64)?;
    for start in (0..payload.len()).step_by(piece_bytes) {
        let piece = payload.slice(start..payload.len().min(start + piece_bytes));
        match (decoder.decode(piece)?, &mut decoded) {
            (Some(Message::ChunkData(more)), Some(Message::ChunkResponse(response))) => {
                response.data = [&response.data[..], &more].concat().into();
            }
            (Some(message), None) => decoded = Some(message),
            (None, _) => {}
            (message, decoded) => panic!("{message:?} behind {decoded:?}"),
        }
    }
    assert!(!decoder.is_inside());
    Ok(decoded)
}

fn dialect() -> impl Strategy<Value = Dialect> {
    prop::sample::select(vec![Dialect::Base, Dialect::Ranged, Dialect::V2])
}

fn bytes(length: impl Into<prop::collection::SizeRange>) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), length).prop_map(Bytes::from)
}

fn message(dialect: Dialect) -> impl Strategy<Value = Message> {
    let is_ranged = dialect == Dialect::Ranged;
    prop_oneof![
        any::<(u32, [u8; 32], u32, u32)>().prop_map(move |(id, hash, start, end)| Message::ChunkRequest(
            ChunkRequest { id, hash, chunks: is_ranged.then_some(ChunkRange { start, end }) }
        )),
        (any::<(u32, u32)>(), bytes(0..2_000)).prop_map(move |((id, offset), data)| {
            let (chunk_offset, length) = (is_ranged.then_some(offset), data.len() as u32);
            Message::ChunkResponse(ChunkResponse { id, chunk_offset, length, data })
        }),
        any::<(u32, Option<[u8; 32]>)>().prop_map(|(id, hash)| Message::ChunkNotFound(ChunkNotFound { id, hash })),
        (any::<(u32, u32)>(), bytes(0..=256)).prop_map(|((id, code), text)| Message::ChunkError(ChunkError {
            id,
            code,
            text
        })),
        (5..=255_u8, bytes(0..99)).prop_map(|(kind, body)| Message::Unknown { kind, body }),
    ]
}

proptest! {
    #[test]
    fn given_any_legacy_message_when_encoded_then_it_decodes_to_the_same(
        (dialect, message) in prop::sample::select(&LEGACY[..]).prop_flat_map(|dialect| (Just(dialect), message(dialect))),
    ) {
        let encoded = encode(&message);
        prop_assert_eq!(encoded.len(), message.encoded_bytes());
        prop_assert_eq!(Some(encoded.len() as u64), message.payload_bytes());
        prop_assert_eq!(Ok(message), Message::decode_in(dialect, encoded, &Limits::default()));
    }

    #[test]
    fn given_any_payload_when_it_comes_in_pieces_then_it_says_what_it_says_as_a_whole(
        dialect in dialect(), kind in 0..32_u8, rest in bytes(0..300), piece_bytes in 1..40_usize,
    ) {
        let payload = Bytes::from([&[kind][..], &rest].concat());
        let whole = Message::decode_in(dialect, payload.clone(), &Limits::default());
        let in_pieces = decode_in_pieces(dialect, &payload, piece_bytes);
        // How much had come is not the same where something is cut short.
        prop_assert_eq!(whole.map(Some).ok(), in_pieces.ok());
    }

    #[test]
    fn given_any_legacy_message_when_it_comes_in_pieces_then_it_is_the_same(
        (dialect, message) in prop::sample::select(&LEGACY[..]).prop_flat_map(|dialect| (Just(dialect), message(dialect))),
        piece_bytes in 1..40_usize,
    ) {
        prop_assert_eq!(Ok(Some(message.clone())), decode_in_pieces(dialect, &encode(&message), piece_bytes));
    }
}
