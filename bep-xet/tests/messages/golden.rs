//! Bytes written by hand from the tables of the specification, one message each.

use bep_xet::{
    Chunk, End, Have, HaveEntry, HaveQuery, HaveState, Limits, Manifest, ManifestForm, ManifestQuery, ManifestRequest,
    Message, Object, ObjectKind, Proof, ProofLevel, Range, RangeRequest, Schemes, Sibling, Status, Unit,
};
use bytes::Bytes;
use xet_cas::{ChunkHash, ChunkRange, FileHash, Leaf, XorbHash};

use super::{encode, hex};

const XORB: &str = "00 1111111111111111111111111111111111111111111111111111111111111111";
const FILE: &str = "01 2222222222222222222222222222222222222222222222222222222222222222";
const CHUNK: &str = "02 3333333333333333333333333333333333333333333333333333333333333333";
const OTHER: &str = "13 4444444444444444444444444444444444444444444444444444444444444444";

fn xorb() -> Object {
    Object::xorb(XorbHash::from_bytes([0x11; 32]))
}

fn file() -> Object {
    Object::file(FileHash::from_bytes([0x22; 32]))
}

fn leaf(byte: u8, length: u32) -> Leaf {
    Leaf { hash: ChunkHash::from_bytes([byte; 32]), length }
}

/// Both ways; bytes behind the body are passed over where the body ends by itself, and none may be missing.
fn check(bytes: &str, message: Message, ends_by_itself: bool) {
    let (bytes, limits) = (hex(bytes), Limits::default());

    assert_eq!(Ok(&message), Message::decode(bytes.clone(), &limits).as_ref());
    assert_eq!(bytes, encode(&message));
    assert_eq!(bytes.len(), message.encoded_bytes());
    if ends_by_itself {
        let longer = Bytes::from([&bytes[..], b"more"].concat());
        assert_eq!(Ok(&message), Message::decode(longer, &limits).as_ref());
        for end in 0..bytes.len() {
            let cut = Message::decode(bytes.slice(..end), &limits);
            assert!(cut.as_ref().is_err_and(bep_xet::Error::is_peer_fault), "{end}: {cut:?}");
        }
    }
}

#[test]
fn given_a_have_query_when_coded_then_the_bytes_are_those_of_the_table() {
    let other = Object { kind: ObjectKind::Unknown(0x13), hash: [0x44; 32] };
    let chunk = Object::chunk(ChunkHash::from_bytes([0x33; 32]));
    let query = HaveQuery { id: 0x0102_0304, subscribe: true, objects: vec![xorb(), file(), chunk, other] };

    check(&format!("10 01020304 01 0004 {XORB} {FILE} {CHUNK} {OTHER}"), Message::HaveQuery(query), true);
    check("10 00000007 00 0000", Message::HaveQuery(HaveQuery { id: 7, subscribe: false, objects: vec![] }), true);
}

#[test]
fn given_a_have_when_coded_then_the_bytes_are_those_of_the_table() {
    let run = |start, end| ChunkRange { start, end };
    let entry = |state| HaveEntry { object: xorb(), state };
    let runs = [run(0, 2), run(5, 0x0001_0000)].into_iter().collect();
    let claimed = HaveState::Claimed { eta_ms: 1_500, runs: [run(3, 4)].into_iter().collect() };
    let unknown = HaveState::Unknown { state: 9, bytes: Bytes::from_static(b"xyz") };
    let states = [HaveState::None, HaveState::All, HaveState::Runs(runs), claimed, unknown];

    check(
        &format!(
            "11 00000000 0005
             {XORB} 00 0000
             {XORB} 01 0000
             {XORB} 02 0010 00000000 00000002 00000005 00010000
             {XORB} 03 000c 000005dc 00000003 00000004
             {XORB} 09 0003 78797a"
        ),
        Message::Have(Have { id: 0, entries: states.map(entry).to_vec() }),
        true,
    );
}

#[test]
fn given_a_manifest_request_when_coded_then_the_bytes_are_those_of_the_table() {
    let check = |bytes: &str, query| {
        check(bytes, Message::ManifestRequest(ManifestRequest { id: 5, query }), true);
    };

    check(&format!("12 00000005 {XORB} 00 0000000000000000 0000000000000000"), ManifestQuery::whole(xorb()));
    check(&format!("12 00000005 {FILE} 01 0000000000100000 0000000180000000"), {
        ManifestQuery::run(file(), 0x10_0000, 0x1_8000_0000)
    });
    check(&format!("12 00000005 {FILE} 07 0000000000000001 0000000000000002"), {
        ManifestQuery { form: ManifestForm::Unknown(7), ..ManifestQuery::run(file(), 1, 2) }
    });
}

#[test]
fn given_a_manifest_when_coded_then_the_bytes_are_those_of_the_table() {
    let leaves = vec![leaf(0xaa, 1), leaf(0xbb, 0x0002_0000)];
    let aa = "aa".repeat(32);
    let bb = "bb".repeat(32);
    let sibling = |byte: u8, size| Sibling { hash: [byte; 32], size };
    let levels = vec![
        ProofLevel { left: vec![sibling(1, 65_536)], right: vec![sibling(2, 7), sibling(3, 8)] },
        ProofLevel::default(),
    ];
    let proof = Proof { offset: 0x1_0000_0000, levels };

    check(
        &format!("13 00000005 00 00000002 00000000 00000002 {aa} 00000001 {bb} 00020000"),
        Message::Manifest(Manifest { id: 5, total: 2, first: 0, leaves: leaves.clone(), proof: None }),
        true,
    );
    check(
        &format!(
            "13 00000005 01 00000064 00000009 00000002 {aa} 00000001 {bb} 00020000
             0000000100000000 02
             01 02 {} 0000000000010000 {} 0000000000000007 {} 0000000000000008
             00 00",
            "01".repeat(32),
            "02".repeat(32),
            "03".repeat(32),
        ),
        Message::Manifest(Manifest { id: 5, total: 100, first: 9, leaves, proof: Some(proof) }),
        true,
    );
}

#[test]
fn given_a_range_request_when_coded_then_the_bytes_are_those_of_the_table() {
    let check = |bytes: &str, range| check(bytes, Message::RangeRequest(RangeRequest { id: 6, range }), true);
    let chunks = Range::chunks(xorb(), ChunkRange { start: 1, end: 17 });
    let bytes = Range::file_bytes(file(), 0, 0x10_0000);

    check(&format!("14 00000006 {XORB} 00 0000000000000001 0000000000000011 00000007 00"), chunks);
    check(&format!("14 00000006 {FILE} 01 0000000000000000 0000000000100000 00000001 03"), {
        Range { accept: Schemes::RAW, urgent: true, with_manifest: true, ..bytes }
    });
    check(&format!("14 00000006 {FILE} 05 0000000000000000 0000000000100000 80000000 02"), {
        Range { unit: Unit::Unknown(5), accept: Schemes::from_bits(1 << 31), with_manifest: true, ..bytes }
    });
}

#[test]
fn given_a_chunk_when_coded_then_the_bytes_are_those_of_the_table_and_not_copied() {
    let bytes = hex("15 00000006 00000011 00 050000 00 050000 68656c6c6f");
    let record = bytes.slice(9..);
    let chunk = Chunk { id: 6, index: 17, record: record.clone() };

    let decoded = Message::decode(bytes.clone(), &Limits::default()).unwrap();

    let Message::Chunk(Chunk { record: decoded, .. }) = decoded else { panic!("not a chunk: {decoded:?}") };
    assert_eq!(record.as_ptr(), decoded.as_ptr());
    assert_eq!(5, chunk.header().unwrap().raw_length);
    check("15 00000006 00000011 00 050000 00 050000 68656c6c6f", Message::Chunk(chunk), false);
}

#[test]
fn given_an_end_when_coded_then_the_bytes_are_those_of_the_table() {
    let statuses = [
        ("00", Status::Done),
        ("01", Status::NotFound),
        ("02", Status::Busy),
        ("03", Status::Refused),
        ("04", Status::Error),
        ("05", Status::Cancelled),
        ("06", Status::Unsupported),
        ("07", Status::TooLarge),
        ("c8", Status::Unknown(200)),
    ];

    for (byte, status) in statuses {
        let end = End { id: 6, status, next: 0x1_0000_0002, retry_ms: 250, detail: Bytes::from_static(b"why") };
        check(&format!("16 00000006 {byte} 0000000100000002 000000fa 776879"), Message::End(end), false);
    }
    check("16 00000006 00 0000000000000000 00000000", Message::End(End::new(6, Status::Done)), false);
}

#[test]
fn given_small_messages_when_coded_then_the_bytes_are_those_of_the_table() {
    check("17 0000000a", Message::Cancel { id: 10 }, true);
    check("18 0102030405060708", Message::Ping { nonce: 0x0102_0304_0506_0708 }, true);
    check("19 0102030405060708", Message::Pong { nonce: 0x0102_0304_0506_0708 }, true);
}

#[test]
fn given_unknown_messages_when_coded_then_they_are_kept_and_requests_among_them_have_an_id() {
    for kind in (0x00..0x10).chain(0x1a..0x80) {
        let message = Message::Unknown { kind, body: Bytes::from_static(b"any") };
        check(&format!("{kind:02x} 616e79"), message, false);
    }
    for kind in 0x80..=0xff {
        let message = Message::UnknownRequest { kind, id: 11, body: Bytes::from_static(b"any") };
        check(&format!("{kind:02x} 0000000b 616e79"), message, false);
        let without_id = Message::Unknown { kind, body: Bytes::from_static(b"\0\0\x0b") };
        check(&format!("{kind:02x} 00000b"), without_id, false);
    }
}

#[test]
fn given_every_message_when_sorted_into_lanes_then_what_ends_a_request_stays_behind_its_data() {
    let data = ["13 00000005 00 00000001 00000000 00000001".to_owned() + &"aa".repeat(32) + "00000001"];
    let data = data
        .iter()
        .map(String::as_str)
        .chain(["15 00000006 00000011 00 050000 00 050000 68656c6c6f", "16 00000006 00 0000000000000000 00000000"]);
    let control =
        ["10 00000007 00 0000", "11 00000000 0000", "17 0000000a", "18 0102030405060708", "80 00000001", "40"];

    let is_control = |bytes: &str| Message::decode(hex(bytes), &Limits::default()).unwrap().is_control();

    assert!(!data.into_iter().any(is_control));
    assert!(control.into_iter().all(is_control));
}
