//! Messages between peers, and recipes for them.

use bep_xet::{
    Chunk, ChunkError, ChunkNotFound, ChunkRequest, ChunkResponse, End, Have, HaveEntry, HaveQuery, HaveState, Limits,
    Manifest, ManifestForm, ManifestQuery, ManifestRequest, Message, NodeId, Object, ObjectKind, Proof, ProofLevel,
    Range, RangeRequest, Schemes, Sibling, Status, Unit, XetHandshake,
};
use bytes::{Bytes, BytesMut};
use xet_cas::xorb::RecordHeader;
use xet_cas::{ChunkHash, ChunkRange, FileHash, Leaf, Scheme, XorbHash};

use super::{CHANGED_BYTE, LOST_END, NO_DAMAGE, Seed};

/// Names as they are asked for by the other side of the laws, so that answers meet their requests.
fn xorb() -> Object {
    Object::xorb(XorbHash::ZERO)
}

fn file() -> Object {
    Object::file(FileHash::ZERO)
}

pub(super) fn messages() -> Vec<Seed> {
    let encode = |message: Message| {
        let mut out = BytesMut::new();
        message.encode(&mut out);
        out.to_vec()
    };
    let mut seeds: Vec<Seed> = vec![
        ("have_query", encode(have_query())),
        ("have", encode(have())),
        ("manifest_request", encode(manifest_request(ManifestQuery::run(file(), 0, 9)))),
        ("manifest_request_of_unknown_form", {
            let form = ManifestForm::Unknown(9);
            encode(manifest_request(ManifestQuery { form, ..ManifestQuery::whole(xorb()) }))
        }),
        ("manifest", encode(manifest(2, None))),
        ("manifest_with_proof", encode(manifest(3, Some(proof())))),
        ("range_request", encode(range_request(Range::file_bytes(file(), 0, 99)))),
        ("range_request_of_unknown_unit", encode(range_request(unknown_range()))),
        ("chunk", encode(chunk())),
        ("end", encode(Message::End(End { detail: Bytes::from_static(b"why"), ..End::new(4, Status::Done) }))),
        ("end_busy", encode(Message::End(End { retry_ms: u32::MAX, ..End::new(4, Status::Busy) }))),
        ("end_of_unknown_status", encode(Message::End(End::new(4, Status::Unknown(99))))),
        ("cancel", encode(Message::Cancel { id: 4 })),
        ("ping", encode(Message::Ping { nonce: 4 })),
        ("pong", encode(Message::Pong { nonce: 1 })),
        ("unknown_request", encode(Message::UnknownRequest { kind: 0x80, id: 7, body: Bytes::from_static(b"any") })),
        ("unknown", encode(Message::Unknown { kind: 0x40, body: Bytes::from_static(b"any") })),
        ("handshake", {
            let mut handshake = XetHandshake::new(&Limits::default(), Some(NodeId::from_bytes([7; 32])));
            handshake.features.insert("claims".to_owned());
            bencode::encode(&handshake.to_value()).expect("a dictionary of lists")
        }),
    ];
    let chunks = Some(ChunkRange { start: 0, end: 9 });
    let request = |chunks| encode(Message::ChunkRequest(ChunkRequest { id: 1, hash: [0; 32], chunks }));
    let response = |chunk_offset, data: Vec<u8>| {
        let (length, data) = (data.len() as u32, data.into());
        encode(Message::ChunkResponse(ChunkResponse { id: 2, chunk_offset, length, data }))
    };
    let known = vec![7; 100];
    let header = RecordHeader { scheme: Scheme::None, stored_length: 100, raw_length: 100 };
    let not_found = |hash| encode(Message::ChunkNotFound(ChunkNotFound { id: 1, hash }));
    let error = |text| encode(Message::ChunkError(ChunkError { id: 1, code: 404, text: Bytes::from_static(text) }));
    seeds.extend([
        ("base_request", request(None)),
        ("ranged_request", request(chunks)),
        ("base_response", response(None, known.clone())),
        ("ranged_response", response(Some(0), [&header.encode()[..], &known].concat().repeat(2))),
        ("legacy_not_found", not_found(Some([0; 32]))),
        ("legacy_not_found_without_hash", not_found(None)),
        ("legacy_error", error(b"gone")),
        ("legacy_error_without_text", error(b"")),
    ]);
    let proof = encode(manifest(3, Some(self::proof())));
    seeds.push(("cut_inside_a_proof", proof[..proof.len() - 9].to_vec()));
    seeds
}

fn have_query() -> Message {
    let unknown = Object { kind: ObjectKind::Unknown(0x13), hash: [3; 32] };
    let chunk = Object::chunk(ChunkHash::ZERO);
    Message::HaveQuery(HaveQuery { id: 7, subscribe: true, objects: vec![xorb(), file(), chunk, unknown] })
}

fn have() -> Message {
    let runs = || [ChunkRange { start: 0, end: 2 }, ChunkRange { start: 5, end: 9 }].into_iter().collect();
    let states = [
        HaveState::None,
        HaveState::All,
        HaveState::Runs(runs()),
        HaveState::Claimed { eta_ms: 500, runs: runs() },
        HaveState::Unknown { state: 9, bytes: Bytes::from_static(b"any") },
    ];
    let entry = |state| HaveEntry { object: xorb(), state };
    Message::Have(Have { id: 0, entries: states.map(entry).to_vec() })
}

fn manifest_request(query: ManifestQuery) -> Message {
    Message::ManifestRequest(ManifestRequest { id: 7, query })
}

fn manifest(id: u32, proof: Option<Proof>) -> Message {
    let leaves = vec![Leaf { hash: ChunkHash::from_bytes([5; 32]), length: 65_536 }; 3];
    Message::Manifest(Manifest { id, total: 9, first: 0, leaves, proof })
}

fn proof() -> Proof {
    let sibling = Sibling { hash: [6; 32], size: 65_536 };
    let level = ProofLevel { left: vec![sibling; 2], right: vec![sibling] };
    Proof { offset: 131_072, levels: vec![level, ProofLevel::default()] }
}

fn range_request(range: Range) -> Message {
    Message::RangeRequest(RangeRequest { id: 7, range: Range { urgent: true, with_manifest: true, ..range } })
}

fn unknown_range() -> Range {
    let chunks = Range::chunks(xorb(), ChunkRange { start: 0, end: 9 });
    Range { unit: Unit::Unknown(9), accept: Schemes::RAW, ..chunks }
}

fn chunk() -> Message {
    let header = RecordHeader { scheme: Scheme::None, stored_length: 5, raw_length: 5 };
    Message::Chunk(Chunk { id: 4, index: 0, record: [&header.encode()[..], b"chunk"].concat().into() })
}

/// The order of instructions is that of `MessagesRecipe::read`.
pub(super) fn recipes() -> Vec<Seed> {
    let in_dialect =
        |dialect: u8, damage: &[u8], messages: &[Vec<u8>]| [damage, &[dialect], &messages.concat()].concat();
    let with = |damage: &[u8], messages: &[Vec<u8>]| in_dialect(0, damage, messages);
    let [ranged, base] = [legacy_messages(1), legacy_messages(2)];
    let number = |number: u32| number.to_le_bytes().to_vec();
    let run = [number(2), number(9)].concat();
    // Objects of every kind.
    let have_query = [&[0, 7, 1, 4][..], &[0, 1, 1, 2, 2, 3, 0x13, 4]].concat();
    // Entries of every state.
    let have =
        [&[1, 0, 5][..], &[0, 0, 0], &[0, 0, 1], &[0, 0, 2, 1], &run, &[0, 0, 3], &number(500), &[1], &run].concat();
    let have = [&have[..], &[0, 0, 9, 3], b"any"].concat();
    let manifest_request = |form: u8| [&[2, 8 + form, 1, 0, form][..], &run].concat();
    let leaf = [&[5][..], &number(65_535)].concat();
    let manifest = [&[3, 2, 0][..], &number(9), &number(0), &leaf, &[2], &leaf, &leaf].concat();
    let sibling = [&[6][..], &number(65_536)].concat();
    let level = [&[1][..], &sibling, &[2], &sibling, &sibling].concat();
    let with_proof = [&[3, 3, 1][..], &number(9), &number(0), &leaf, &[0], &number(7), &[1], &level].concat();
    let range_request = |unit: u8| [&[4, 11 + unit, 1, 0, unit][..], &run, &number(7), &[1, 1]].concat();
    let chunk = |index: u32, kind: u8| [&[5, 4][..], &number(index), &[kind], &number(99)].concat();
    let no_chunk = [&[5, 4][..], &number(5), &[3, 3], b"any"].concat();
    let end = |id: u8, status: u8| [&[6, id, status][..], &number(0), &number(9_999), &[3], b"why"].concat();
    let ends = (1..7).map(|id| end(id, id - 1)).chain([end(9, 6), end(9, 7), end(9, 8)]);
    let cancel = vec![7, 11];
    let nonces = [vec![8, 0, 0, 0, 0, 0, 0, 0, 0, 1], vec![9, 0, 0, 0, 0, 0, 0, 0, 0, 1]].concat();
    let unknown = [&[10, 20, 1, 3][..], b"any", &[11, 0, 1, 3], b"any"].concat();
    let asking = [have_query, manifest_request(0), manifest_request(1), manifest_request(2)];
    let ranges = [range_request(0), range_request(1), range_request(2), cancel, nonces, unknown];
    let answers = [have, manifest, with_proof, chunk(0, 0), chunk(1, 1), chunk(2, 2), no_chunk];
    let all = [&asking[..], &ranges[..], &answers[..]].concat();
    vec![
        ("asking", with(&NO_DAMAGE, &[&asking[..], &ranges[..]].concat())),
        ("answers", with(&NO_DAMAGE, &answers)),
        ("ends", with(&NO_DAMAGE, &ends.collect::<Vec<_>>())),
        ("everything", with(&NO_DAMAGE, &all)),
        ("a_changed_byte", with(&CHANGED_BYTE, &answers)),
        ("a_lost_end", with(&LOST_END, &answers)),
        ("silence", with(&NO_DAMAGE, &vec![vec![11, 0, 0, 0]; 99])),
        ("ranged", in_dialect(1, &NO_DAMAGE, &ranged)),
        ("ranged_with_a_changed_byte", in_dialect(1, &CHANGED_BYTE, &ranged[1..])),
        ("base", in_dialect(2, &NO_DAMAGE, &base)),
        ("base_with_a_lost_end", in_dialect(2, &LOST_END, &base[1..])),
        ("nothing", NO_DAMAGE.to_vec()),
    ]
}

/// What a peer of the ranged (1) or base (2) dialect may send, such that answers meet their requests.
fn legacy_messages(dialect: u8) -> Vec<Vec<u8>> {
    let requests = [vec![0, 0, 1, 3, 9], vec![0, 1, 1, 0, 0]];
    let answers = if dialect == 1 {
        // The whole of a known xorb in one piece; a listed range in two; the front of something else, and its rest.
        vec![vec![1, 2, 0, 2, 0], vec![1, 3, 1, 1, 216], vec![2, 0, 2], vec![1, 1, 0, 10, 3, 1, 2, 3, 5]]
    } else {
        // The known chunk.
        vec![vec![1, 2, 0, 0, 0]]
    };
    let others = [vec![3, 1, 1], vec![3, 1, 0], vec![4, 1, 7, 2, 111, 104], vec![4, 9, 0, 0], vec![5, 0, 11, 1, 0]];
    [&requests[..], &answers, &[vec![2, 0, 10, 1, 7]], &others].concat()
}
