//! Every message there is decodes to what was encoded.

use bep_xet::{
    Chunk, End, Have, HaveEntry, HaveQuery, HaveState, Limits, Manifest, ManifestForm, ManifestQuery, ManifestRequest,
    Message, Object, ObjectKind, Proof, ProofLevel, Range, RangeRequest, Runs, Schemes, Sibling, Status, Unit,
};
use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use xet_cas::{ChunkHash, ChunkRange, Leaf};

use super::encode;

fn bytes(length: impl Into<prop::collection::SizeRange>) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), length).prop_map(Bytes::from)
}

fn object() -> impl Strategy<Value = Object> {
    (any::<u8>(), any::<[u8; 32]>()).prop_map(|(kind, hash)| Object { kind: ObjectKind::from_byte(kind), hash })
}

fn runs() -> impl Strategy<Value = Runs> {
    vec(any::<(u32, u32)>(), 0..20)
        .prop_map(|runs| runs.into_iter().map(|(start, end)| ChunkRange { start, end }).collect())
}

fn entry() -> impl Strategy<Value = HaveEntry> {
    let state = prop_oneof![
        Just(HaveState::None),
        Just(HaveState::All),
        runs().prop_map(HaveState::Runs),
        (any::<u32>(), runs()).prop_map(|(eta_ms, runs)| HaveState::Claimed { eta_ms, runs }),
        (4..=255_u8, bytes(0..99)).prop_map(|(state, bytes)| HaveState::Unknown { state, bytes }),
    ];
    (object(), state).prop_map(|(object, state)| HaveEntry { object, state })
}

fn proof() -> impl Strategy<Value = Proof> {
    let sibling = (any::<[u8; 32]>(), any::<u64>()).prop_map(|(hash, size)| Sibling { hash, size });
    let level = (vec(sibling.clone(), 0..=8), vec(sibling, 0..=8)).prop_map(|(left, right)| ProofLevel { left, right });
    (any::<u64>(), vec(level, 0..=32)).prop_map(|(offset, levels)| Proof { offset, levels })
}

fn manifest() -> impl Strategy<Value = Manifest> {
    let leaf = (any::<[u8; 32]>(), 1..=131_072_u32)
        .prop_map(|(hash, length)| Leaf { hash: ChunkHash::from_bytes(hash), length });
    (any::<[u32; 3]>(), vec(leaf, 1..100), prop::option::of(proof()))
        .prop_map(|([id, total, first], leaves, proof)| Manifest { id, total, first, leaves, proof })
}

fn manifest_request() -> impl Strategy<Value = ManifestRequest> {
    let form =
        prop_oneof![Just(ManifestForm::Whole), Just(ManifestForm::Run), (2..=255_u8).prop_map(ManifestForm::Unknown)];
    (any::<(u32, u64, u64)>(), object(), form).prop_map(|((id, start, end), object, form)| ManifestRequest {
        id,
        query: ManifestQuery { object, form, start, end },
    })
}

fn range_request() -> impl Strategy<Value = RangeRequest> {
    let unit = prop_oneof![Just(Unit::Chunks), Just(Unit::FileBytes), (2..=255_u8).prop_map(Unit::Unknown)];
    (any::<(u32, u64, u64, u32, bool, bool)>(), object(), unit).prop_map(
        |((id, start, end, accept, urgent, with_manifest), object, unit)| {
            let accept = Schemes::from_bits(accept);
            RangeRequest { id, range: Range { object, unit, start, end, accept, urgent, with_manifest } }
        },
    )
}

fn status() -> impl Strategy<Value = Status> {
    use Status::{Busy, Cancelled, Done, Error, NotFound, Refused, TooLarge, Unknown, Unsupported};
    prop_oneof![
        prop::sample::select(vec![Done, NotFound, Busy, Refused, Error, Cancelled, Unsupported, TooLarge]),
        (8..=255_u8).prop_map(Unknown)
    ]
}

fn message() -> impl Strategy<Value = Message> {
    let ignorable = prop_oneof![0..0x10_u8, 0x1a..0x80_u8];
    prop_oneof![
        (any::<(u32, bool)>(), vec(object(), 0..50))
            .prop_map(|((id, subscribe), objects)| Message::HaveQuery(HaveQuery { id, subscribe, objects })),
        (any::<u32>(), vec(entry(), 0..20)).prop_map(|(id, entries)| Message::Have(Have { id, entries })),
        manifest_request().prop_map(Message::ManifestRequest),
        manifest().prop_map(Message::Manifest),
        range_request().prop_map(Message::RangeRequest),
        (any::<[u32; 2]>(), bytes(9..1_000)).prop_map(|([id, index], record)| Message::Chunk(Chunk {
            id,
            index,
            record
        })),
        (any::<(u32, u64, u32)>(), status(), bytes(0..=256)).prop_map(|((id, next, retry_ms), status, detail)| {
            Message::End(End { id, status, next, retry_ms, detail })
        }),
        any::<u32>().prop_map(|id| Message::Cancel { id }),
        any::<u64>().prop_map(|nonce| Message::Ping { nonce }),
        any::<u64>().prop_map(|nonce| Message::Pong { nonce }),
        (0x80..=0xff_u8, any::<u32>(), bytes(0..99)).prop_map(|(kind, id, body)| Message::UnknownRequest {
            kind,
            id,
            body
        }),
        (ignorable, bytes(0..99)).prop_map(|(kind, body)| Message::Unknown { kind, body }),
    ]
}

proptest! {
    #[test]
    fn given_any_message_when_encoded_then_it_decodes_to_the_same(message in message()) {
        let encoded = encode(&message);
        prop_assert_eq!(encoded.len(), message.encoded_bytes());
        let mut head = BytesMut::new();
        let data = message.encode_head(&mut head);
        prop_assert_eq!(&encoded, &[&head[..], &data[..]].concat());
        prop_assert_eq!(Ok(message), Message::decode(encoded, &Limits::default()));
    }

    #[test]
    fn given_any_message_when_changed_then_it_decodes_to_what_encodes_to_the_same_or_not_at_all(
        message in message(), at: prop::sample::Index, flip in 1..=255_u8, end: prop::sample::Index,
    ) {
        let mut bytes = encode(&message).to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        bytes.truncate(1 + end.index(bytes.len()));
        if let Ok(decoded) = Message::decode(bytes.into(), &Limits::default()) {
            let again = Message::decode(encode(&decoded), &Limits::default());
            prop_assert_eq!(Ok(decoded), again);
        }
    }

    #[test]
    fn given_any_bytes_when_decoded_then_nothing_panics(bytes in bytes(0..2_000)) {
        let _ = Message::decode(bytes, &Limits::default());
    }
}

#[test]
fn given_the_largest_messages_when_encoded_then_they_fit_the_limits() {
    let leaf = Leaf { hash: ChunkHash::from_bytes([1; 32]), length: 131_072 };
    let level = ProofLevel { left: vec![Sibling { hash: [2; 32], size: 3 }; 8], right: vec![] };
    let level = ProofLevel { right: level.left.clone(), ..level };
    let proof = Proof { offset: 0, levels: vec![level; 32] };
    let object = Object { kind: ObjectKind::Xorb, hash: [4; 32] };
    let manifest = Manifest { id: 1, total: 8_192, first: 0, leaves: vec![leaf; 8_192], proof: Some(proof) };
    let query = HaveQuery { id: 1, subscribe: true, objects: vec![object; 1_024] };
    let chunk = Chunk { id: 1, index: 0, record: vec![0; 262_152].into() };

    for message in [Message::Manifest(manifest), Message::HaveQuery(query), Message::Chunk(chunk)] {
        let encoded = encode(&message);
        assert!(Message::decode(encoded, &Limits::default()).as_ref() == Ok(&message));
    }
}
